"""The state of one replica, the questions a driver asks of it, and the small steps all transitions share."""

from __future__ import annotations

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
from consensus.votes import EPOCH, Evidence, accepted_key, committing_key, evidence_key, payload_key


class State:
    """Everything one validator (votes) or observer (follows without voting) knows."""

    def __init__(self, rules: Rules, signer: Signer, head: Head) -> None:
        """Start at the ledger's head in view 0, with no votes."""
        self.rules, self.signer, self.me = rules, signer, signer.public
        self.epoch = rules.epoch(certificate_height(head.certificate) + 1)
        """The validators of the next height to be certified: views are theirs, and begin at 0 with them."""
        self.view, self.active = 0, True
        self.good_view = 0
        """View of the last delivery: timeouts grow with the views wasted since."""
        self.certificate = head.certificate
        self.top = rules.last_together(self.certified + 1)
        """The last height that may be in flight: W above the certified one, never past the epoch's end."""
        self.headers = dict(head.headers)
        """Header hashes executed here, from the last 2W heights."""
        self.executed = self.delivered = max(self.certified, *self.headers, 0)
        self.slots: dict[int, Slot] = {}
        self.retired: dict[int, Slot] = {}
        """Slots of the last W certified heights, for those who are a moment late."""
        self.checkpoints: dict[int, dict[bytes, Checkpoint]] = {}
        self.recent: dict[int, Certificate] = dict(head.certificates)
        """Certificates of the last 2W heights, for those who lack one."""
        if head.certificate is not None:
            self.recent[self.certified] = head.certificate
        self.target: Certificate | None = None
        """The highest certificate above what we executed: catch up to it."""
        self.view_changes: dict[bytes, ViewChange] = {}
        """The latest of each sender."""
        self.new_view: NewView | None = None
        self.reproposals: dict[int, bytes] = {}
        self.base = self._below_epoch()
        """The height above which this view began: certified for all who entered it."""
        self.fresh_from = 1
        """First height that this view leaves to fresh proposals."""
        self.future: dict[tuple[bytes, str, int], Proposal | Prepare | Commit] = {}
        """What comes too early, one per sender, kind and height up to 2W ahead."""
        self.pending = False
        self.muted: int | None = None
        """First height of the epoch that votes were lost in: in it and before, none is cast any more."""
        self.heard: set[bytes] | None = None
        """While starting without memory: who showed us lately that it stands where we do."""
        self.nonce = b""
        """What this run asks for statuses with: an answer that shows it is no older than this start."""
        self.accused: set[bytes] = set()
        self.halted = ""
        self.out = Effects()

    # --- questions --------------------------------------------------------------------------------

    @property
    def certified(self) -> int:
        """The last certified height."""
        return certificate_height(self.certificate)

    @property
    def highest(self) -> Certificate | None:
        """The highest certificate known here, of an executed height or not."""
        return self.certificate if self.target is None else self.target

    @property
    def behind(self) -> Certificate | None:
        """A certificate above everything delivered here, if one is known: blocks were missed."""
        return self.target if self.target is not None and self.target.height > self.delivered else None

    @property
    def listening(self) -> bool:
        """Whether this validator hears others before it votes, since it has lost its memory."""
        return self.heard is not None and self.me in self.epoch.validators

    def votes_on(self, height: int) -> bool:
        """Tell whether this replica may vote on a height."""
        if self.heard is not None or not self.rules.is_validator(self.me, height):
            return False
        return self.muted is None or self.rules.epoch(height).first > self.muted

    def waiting(self) -> Wait | None:
        """Return what others owe us now, or None: then no timer runs."""
        height = min(self.delivered + 1, self.top)
        if self.halted or self.behind is not None or not self.votes_on(height):
            return None
        if not self.active:
            asked = sum(change.view >= self.view for change in self.asking())
            enough = asked >= self.rules.quorum(self.certified + 1)
            return Wait("new-view", self.view, self.delivered) if enough else None
        full = self.delivered >= self.top
        if not full and (self.pending or any(self.in_flight(slot) for slot in self.slots.values())):
            return Wait("progress", self.view, self.delivered)
        if self.certified < self.executed == self.delivered:
            # Others have not decided what we executed, and perhaps cannot in this view: too few are in it.
            return Wait("certificate", self.view, self.certified)
        return None

    def turn(self) -> Turn | None:
        """Return the height that this replica may propose now, or None."""
        if self.halted or not self.active or self.behind is not None:
            return None
        height = max(self.delivered + 1, self.fresh_from)
        while (slot := self.slots.get(height)) is not None and slot.digest is not None:
            height += 1
        if height > self.top or not self.votes_on(height):
            return None
        decided = slot is not None and slot.committed is not None
        if decided or self.rules.primary(self.view, height) != self.me:
            return None
        parents = self.parents(height)
        ahead = height - 1 - self.delivered
        return None if parents is None else Turn(height, self.view, parents, ahead, self.base)

    def asking(self) -> list[ViewChange]:
        """Return the latest view change of each validator of this epoch that sent one."""
        return [change for change in self.view_changes.values() if change.epoch == self.epoch.first]

    def is_news(self, message: NewView) -> bool:
        """Tell whether a NEW-VIEW leads on from where we are."""
        here = message.epoch == self.epoch.first
        return here and (message.view > self.view or (message.view == self.view and not self.active))

    def wants(self) -> tuple[tuple[int, bytes], ...]:
        """Return (height, digest) of payloads to fetch: re-proposed or committed, and unknown here."""
        return tuple((slot.height, item) for slot in self.slots.values() for item in slot.wanted())

    def gaps(self) -> list[int]:
        """Return the heights below the certified one that are still without their certificate here."""
        return sorted(at for at in self.headers if at < self.certified and at not in self.recent)

    def in_flight(self, slot: Slot) -> bool:
        """Tell whether a height is being decided, as far as one faulty replica cannot pretend it."""
        known = slot.digest is not None or slot.voices() > self.rules.faults(slot.height)
        return slot.height > self.delivered and known

    def is_proposed(self, height: int) -> bool:
        """Tell whether what its primary wants there is known here, or what was decided."""
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
        """Return the slot of a height inside the window, or None outside it."""
        if not self.certified < height <= self.top:
            return None
        return self.slots.setdefault(height, Slot(height))

    def sign(self, message: S) -> S:
        """Return the message signed by this replica."""
        return sign(message, self.signer, self.rules.chain_id)

    def send(self, message: Message, to: bytes | None = None) -> None:
        """Add a message to this step's effects; None sends it to every peer."""
        self.out.send.append((to, message))

    def store_payload(self, slot: Slot, digest: bytes) -> None:
        """Make the payload of our vote durable together with the vote."""
        if digest not in slot.stored:
            slot.stored.add(digest)
            self.out.put[payload_key(slot.height, digest)] = slot.payloads[digest]

    def forget(self, height: int, payloads: set[bytes]) -> None:
        """Let go of the durable votes of a certified height."""
        self.out.delete += [accepted_key(height), committing_key(height)]
        self.out.delete += [payload_key(height, digest) for digest in sorted(payloads)]

    def follow_epoch(self) -> None:
        """After certifying a height: find what is next, and start afresh where other validators take over.

        The certificate that ends an epoch becomes durable with the first vote of the next one: the votes
        that follow it belong to the new set, and must be known as such after a crash.
        """
        epoch = self.rules.epoch(self.certified + 1)
        self.top = self.rules.last_together(self.certified + 1)
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
        """Move to a view; what was proposed in the one before is void unless it was prepared."""
        self.view, self.active = view, active
        self.reproposals = {}
        for slot in self.slots.values():
            slot.leave_view()

    def hold(self, sender: bytes, message: Proposal | Prepare | Commit) -> None:
        """Keep what comes too early: per sender, one of each kind and height, up to 2W ahead."""
        view, height = view_and_height(message)
        if self.certified < height <= self.certified + 2 * self.rules.window:
            key = (sender, tag_of(type(message)), height)
            known = self.future.get(key)
            if known is None or view >= view_and_height(known)[0]:
                self.future[key] = message

    def accuse(self, first: Signed, second: Signed) -> None:
        """Keep evidence if one replica contradicts itself: the first per sender and kind."""
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
    """Return the slot that a message speaks of."""
    about = message.pre_prepare if isinstance(message, Proposal) else message
    return about.view, about.height
