"""State of one replica, the questions that are asked of it, and the small steps that transitions share."""

from __future__ import annotations

from dataclasses import dataclass, field

from chain.primitives.certificate import Certificate
from chain.primitives.codec import encode, tag_of
from chain.primitives.crypto import Signer
from consensus.events import Effects, Head, Turn, Wait
from consensus.evidence import conflicting
from consensus.messages import (
    Checkpoint,
    Commit,
    Message,
    NewView,
    Prepare,
    Proposal,
    S,
    Signed,
    ViewChange,
    certificate_height,
    sign,
)
from consensus.rules import Rules
from consensus.slot import Check, Slot
from consensus.votes import EPOCH, Evidence, commit_key, evidence_key, payload_key, prepare_key


@dataclass(slots=True)
class LostVotes:
    """Lost votes of a replica whose store was wiped: whom it hears at first, then where it is muted."""

    listening: bool = False
    """Whether the replica started without memory and has not heard a quorum of its epoch yet."""
    heard: set[bytes] = field(default_factory=set)
    """Replicas that showed lately that they stand where this one does."""
    nonce: bytes = b""
    """What this start asks for statuses with: an answer that repeats it is no older than this start."""
    muted: int | None = None
    """First height of the epoch in which votes were lost: no vote is cast in it or before."""


class State:
    """What one replica knows: that of a validator, which votes, or of an observer, which follows."""

    def __init__(self, rules: Rules, signer: Signer, head: Head) -> None:
        """Start at the ledger's head in view 0, without votes."""
        self.rules, self.signer, self.me = rules, signer, signer.public
        # --- where it stands
        self.epoch = rules.epoch(certificate_height(head.certificate) + 1)
        """Epoch of the next height to be certified; its views begin at 0."""
        self.certificate = head.certificate
        self.high_watermark = rules.last_together(self.certified + 1)
        """The last height that may be in flight (PBFT, 4.3): W above the certified one, within its epoch."""
        self.headers = dict(head.headers)
        """Height -> hash of the header to which it was executed here, of the last 2W heights."""
        self.executed = self.delivered = max(self.certified, *self.headers, 0)
        self.target: Certificate | None = None
        """The highest certificate above what was executed here, to which block sync leads."""
        self.pending = False
        """Whether requests wait here to be ordered."""
        # --- its view
        self.view, self.active = 0, True
        self.good_view = 0
        """View of the last delivery; the view timeout grows with each view since."""
        self.view_changes: dict[bytes, ViewChange] = {}
        """Sender -> its latest VIEW-CHANGE."""
        self.new_view: NewView | None = None
        self.reproposals: dict[int, bytes] = {}
        """Height -> payload digest that the view proposes again."""
        self.base = self._below_epoch()
        """The height above which this view began; whoever entered it has seen the certificate."""
        self.fresh_from = 1
        """The first height that this view leaves to fresh proposals."""
        # --- proposals, votes, certificates
        self.slots: dict[int, Slot] = {}
        self.retired: dict[int, Slot] = {}
        """Slots of the last W certified heights, for replicas that are a moment late."""
        self.checkpoints: dict[int, dict[bytes, Checkpoint]] = {}
        self.recent: dict[int, Certificate] = dict(head.certificates)
        """Certificates of the last 2W heights, for replicas that miss one."""
        if head.certificate is not None:
            self.recent[self.certified] = head.certificate
        self.future: dict[tuple[bytes, str, int], Proposal | Prepare | Commit] = {}
        """Messages that came too early, one of each sender, kind and height, up to 2W ahead."""
        # --- faults, and what this step wants
        self.lost = LostVotes()
        self.accused: set[bytes] = set()
        """Keys of the rows of evidence in the vote store."""
        self.halted = ""
        """Why this replica stopped for good; empty while it goes on."""
        self.out = Effects()

    # --- questions --------------------------------------------------------------------------------

    @property
    def certified(self) -> int:
        """Return the last certified height; 0 is genesis."""
        return certificate_height(self.certificate)

    @property
    def highest(self) -> Certificate | None:
        """The highest certificate that is known here, whether its height was executed here or not."""
        return self.certificate if self.target is None else self.target

    @property
    def behind(self) -> Certificate | None:
        """A certificate above everything that was delivered here, if one is known: blocks were missed."""
        return self.target if self.target is not None and self.target.height > self.delivered else None

    @property
    def listening(self) -> bool:
        """Whether this validator listens to others and does not vote yet, since it lost its memory."""
        return self.lost.listening and self.me in self.epoch.validators

    def votes_on(self, height: int) -> bool:
        """Tell whether this replica may vote on a height."""
        if self.lost.listening or not self.rules.is_validator(self.me, height):
            return False
        return self.lost.muted is None or self.rules.epoch(height).first > self.lost.muted

    def waiting(self) -> Wait | None:
        """Return what others owe us now, or None: then no view timer runs."""
        height = min(self.delivered + 1, self.high_watermark)
        if self.halted or self.behind is not None or not self.votes_on(height):
            return None
        if not self.active:
            asked = sum(change.view >= self.view for change in self.asking())
            enough = asked >= self.rules.quorum(self.certified + 1)
            return Wait("new-view", self.view, self.delivered) if enough else None
        full = self.delivered >= self.high_watermark
        if not full and (self.pending or any(self.in_flight(slot) for slot in self.slots.values())):
            return Wait("progress", self.view, self.delivered)
        if self.certified < self.executed == self.delivered:
            # Others have not decided what we executed, and perhaps cannot in this view: too few are in it.
            return Wait("certificate", self.view, self.certified)
        return None

    def turn(self) -> Turn | None:
        """Return the turn of this replica to propose now, or None."""
        if self.halted or not self.active or self.behind is not None:
            return None
        height = max(self.delivered + 1, self.fresh_from)
        while (slot := self.slots.get(height)) is not None and slot.digest is not None:
            height += 1
        if height > self.high_watermark or not self.votes_on(height):
            return None
        decided = slot is not None and slot.committed is not None
        if decided or self.rules.primary(self.view, height) != self.me:
            return None
        parents = self.parents(height)
        ahead = height - 1 - self.delivered
        return None if parents is None else Turn(height, self.view, parents, ahead, self.base)

    def asking(self) -> list[ViewChange]:
        """Return the latest VIEW-CHANGE of each validator that sent one in this epoch."""
        return [change for change in self.view_changes.values() if change.epoch == self.epoch.first]

    def is_news(self, message: NewView) -> bool:
        """Tell whether a NEW-VIEW leads on from where we stand."""
        here = message.epoch == self.epoch.first
        return here and (message.view > self.view or (message.view == self.view and not self.active))

    def missing_payloads(self) -> tuple[tuple[int, bytes], ...]:
        """Return (height, digest) of each payload that is re-proposed or committed, and unknown here."""
        return tuple((slot.height, item) for slot in self.slots.values() for item in slot.missing_payloads())

    def uncertified(self) -> list[int]:
        """Return the heights below the certified one whose own certificate is missing here, in order."""
        return sorted(at for at in self.headers if at < self.certified and at not in self.recent)

    def in_flight(self, slot: Slot) -> bool:
        """Tell whether a height is being decided; f faulty replicas alone cannot pretend it."""
        known = slot.digest is not None or slot.voter_count() > self.rules.faults(slot.height)
        return slot.height > self.delivered and known

    def is_proposed(self, height: int) -> bool:
        """Tell whether the proposal of a height is known here, or what was decided there."""
        slot = self.slots.get(height)
        return slot is not None and (slot.digest is not None or slot.committed is not None)

    def parents(self, height: int) -> tuple[bytes, ...] | None:
        """Return the payloads above the executed block and below `height`; None if one is not valid yet."""
        payloads: list[bytes] = []
        for below in range(self.executed + 1, height):
            slot = self.slots.get(below)
            if slot is None or (slot.committed is None and slot.check is not Check.VALID):
                return None
            payload = slot.payload() if slot.committed is None else slot.decided()
            if payload is None:
                return None
            payloads.append(payload)
        return tuple(payloads)

    # --- small steps ------------------------------------------------------------------------------

    def slot(self, height: int) -> Slot | None:
        """Return the slot of a height within the consensus window, or None outside it."""
        if not self.certified < height <= self.high_watermark:
            return None
        return self.slots.setdefault(height, Slot(height))

    def sign(self, message: S) -> S:
        """Return the message with this replica's signature."""
        return sign(message, self.signer, self.rules.chain_id)

    def send(self, message: Message, to: bytes | None = None) -> None:
        """Add a message to this step's effects; without `to`, every peer gets it."""
        self.out.send.append((to, message))

    def store_payload(self, slot: Slot, digest: bytes) -> None:
        """Make the payload of our vote durable in the write that has the vote."""
        if digest not in slot.stored:
            slot.stored.add(digest)
            self.out.put[payload_key(slot.height, digest)] = slot.payloads[digest]

    def forget(self, height: int, payloads: set[bytes]) -> None:
        """Delete the durable votes of a certified height with a later write."""
        self.out.delete += [prepare_key(height), commit_key(height)]
        self.out.delete += [payload_key(height, digest) for digest in sorted(payloads)]

    def follow_epoch(self) -> None:
        """Move the high watermark after a certificate, and begin the next epoch where one begins.

        The certificate that ends an epoch becomes durable with the first vote of the next one: the votes that
        follow it belong to the new set, and must be known as such after a crash.
        """
        epoch = self.rules.epoch(self.certified + 1)
        self.high_watermark = self.rules.last_together(self.certified + 1)
        if epoch.first == self.epoch.first or self.certificate is None:
            return
        self.epoch = epoch
        self.leave_view(0, active=True)
        self.good_view, self.new_view, self.fresh_from = 0, None, self.certified + 1
        self.base = self._below_epoch()
        kept = {key: change for key, change in self.view_changes.items() if change.epoch >= epoch.first}
        self.view_changes = kept
        self.out.put[EPOCH] = encode(self.certificate)

    def _below_epoch(self) -> int:
        return max(self.epoch.first - 1, 0)

    def leave_view(self, view: int, *, active: bool) -> None:
        """Move to a view; a proposal of the view before is void unless it was prepared."""
        self.view, self.active = view, active
        self.reproposals = {}
        for slot in self.slots.values():
            slot.leave_view()

    def hold(self, sender: bytes, message: Proposal | Prepare | Commit) -> None:
        """Hold a message that came too early: one of each sender, kind and height, up to 2W ahead."""
        view, height = view_and_height(message)
        if self.certified < height <= self.certified + 2 * self.rules.consensus_window:
            key = (sender, tag_of(type(message)), height)
            known = self.future.get(key)
            if known is None or view >= view_and_height(known)[0]:
                self.future[key] = message

    def accuse(self, first: Signed, second: Signed) -> None:
        """Keep evidence of equivocation, the first of each sender and kind; do nothing if there is none."""
        key = evidence_key(first.sender, tag_of(type(first)))
        if conflicting(first, second) and key not in self.accused:
            self.accused.add(key)
            evidence = Evidence(encode(first), encode(second))
            self.out.put[key] = encode(evidence)
            self.out.evidence.append(evidence)

    def halt(self, reason: str) -> None:
        """Stop for good: this step and all later ones want nothing done."""
        self.halted = reason


def view_and_height(message: Proposal | Prepare | Commit) -> tuple[int, int]:
    """Return the slot (view, height) of a message."""
    about = message.pre_prepare if isinstance(message, Proposal) else message
    return about.view, about.height
