"""What honest nodes said and wrote: no node contradicts it, hides it, or loses it in a crash.

A vote is a promise for ever: it is not contradicted (`said`), a view change shows what its sender committed
(`_shows_commits`), the disk holds it until the height is certified (`booted`), and its payload can be had
from some honest node (`fetchable`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chain.ledger.batches import batch_ids
from chain.ledger.store.rows import VOTES
from chain.primitives.certificate import quorum
from chain.primitives.codec import tag_of
from consensus import repair
from consensus.messages import (
    NULL_DIGEST,
    Checkpoint,
    Commit,
    Fetch,
    Message,
    NewView,
    Prepare,
    Proposal,
    ViewChange,
    certificate_height,
)
from consensus.votes import recall
from tests.simulation.clockwork import Violation

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.machine import Machine


class Said:
    """Every vote, view change and checkpoint that honest machines of a cluster ever sent or wrote."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._said: dict[tuple[Any, ...], bytes] = {}
        """(Machine, kind, slot) -> what it said there, wiped machines included."""
        self._left: dict[tuple[int, int], int] = {}
        """(Machine, epoch) -> view that it left all lower ones for."""
        self._voted: dict[int, int] = {}
        """Machine -> the last epoch in which it ever voted or asked for a view."""
        self._lost: dict[int, int] = {}
        """Wiped machine -> the last epoch in which it had voted before."""
        self._latest: dict[tuple[int, str], dict[int, int]] = {}
        """(Machine, prepare or commit) -> height -> view of its latest vote, since its disk was new."""
        self._promised: dict[int, dict[tuple[int, bytes], set[int]]] = {}
        """Height -> (view, payload digest) -> machines whose disk holds their PREPARE."""

    def said(self, machine: Machine, message: Message) -> None:
        """Judge one message that an honest machine sends."""
        match message:
            case Proposal():
                claim = message.pre_prepare
                self._votes_in(machine, machine.ledger.epoch_at(claim.height).first)
                self._remember(machine, "pre-prepare", (claim.view, claim.height), claim.payload_digest)
            case Prepare() | Commit():
                if self._voted_now(machine, message):
                    self._stays(machine, message)
                    if isinstance(message, Prepare):
                        self._executable(machine, message)
            case Checkpoint():
                self._remember(machine, "checkpoint", (message.height,), message.header_hash)
            case ViewChange() if message.sender == machine.key.public:
                self._asked(machine, message)
                self._shows_commits(machine, message)
            case NewView() if message.sender == machine.key.public:
                self._led(machine, message)
            case _:
                pass

    def holds(self, index: int, kind: str, slot: tuple[int, ...], content: bytes) -> bool:
        """Tell whether a machine said this: a liar may have said anything."""
        return self._cluster.is_liar(index) or self._said.get((index, kind, *slot)) == content

    def lost(self, machine: Machine) -> int:
        """Return the last epoch in which a machine voted before its disk was wiped; -1 if in none."""
        return self._lost.get(machine.index, -1)

    def wiped(self, machine: Machine) -> None:
        """Keep what a machine that lost its disk can no longer know."""
        index = machine.index
        self._lost[index] = self._voted.get(index, -1)
        self._latest = {place: votes for place, votes in self._latest.items() if place[0] != index}
        for promises in self._promised.values():
            for holders in promises.values():
                holders.discard(index)

    # --- one message after another ------------------------------------------------------------------

    def _votes_in(self, machine: Machine, epoch: int) -> None:
        """Who lost its votes gives none in an epoch in which it may have voted."""
        lost = self.lost(machine)
        if epoch <= lost:
            raise Violation(f"{machine} votes in epoch {epoch}, but lost its votes of epoch {lost}")
        self._voted[machine.index] = max(epoch, self._voted.get(machine.index, -1))

    def _remember(self, machine: Machine, kind: str, slot: tuple[int, ...], content: bytes) -> bool:
        size = len(self._said)
        if self._said.setdefault((machine.index, kind, *slot), content) != content:
            raise Violation(f"{machine} contradicts its {kind} of {slot}")
        return len(self._said) > size

    def _voted_now(self, machine: Machine, vote: Prepare | Commit) -> bool:
        """Remember a vote; tell whether it is new."""
        kind, height = tag_of(type(vote)), vote.height
        new = self._remember(machine, kind, (vote.view, height), vote.payload_digest)
        if new:
            latest = self._latest.setdefault((machine.index, kind), {})
            latest[height] = max(vote.view, latest.get(height, 0))
            self._votes_in(machine, machine.ledger.epoch_at(height).first)
            if isinstance(vote, Prepare) and vote.payload_digest != NULL_DIGEST:
                promises = self._promised.setdefault(height, {})
                promises.setdefault((vote.view, vote.payload_digest), set()).add(machine.index)
        return new

    def _stays(self, machine: Machine, vote: Prepare | Commit) -> None:
        """Nobody votes in a view below one that it asked for or voted in."""
        place = (machine.index, machine.ledger.epoch_at(vote.height).first)
        left = self._left.get(place, 0)
        if vote.view < left:
            raise Violation(f"{machine} votes in view {vote.view}, but has left it for {left}")
        self._left[place] = max(vote.view, left)

    def _asked(self, machine: Machine, change: ViewChange) -> None:
        self._votes_in(machine, change.epoch)
        self._remember(machine, "view-change", (change.epoch, change.view), change.signature)
        place = (machine.index, change.epoch)
        self._left[place] = max(change.view, self._left.get(place, 0))

    def _led(self, machine: Machine, message: NewView) -> None:
        self._remember(machine, "new-view", (message.epoch, message.view), message.signature)

    def _shows_commits(self, machine: Machine, change: ViewChange) -> None:
        """A view change shows what its sender committed above its certificate, or a later view's choice."""
        shown = {item.height: item.view for item in change.prepared}
        base = certificate_height(change.certificate)
        for height, view in self._latest.get((machine.index, "commit"), {}).items():
            if height > base and shown.get(height, -1) < view:
                raise Violation(
                    f"{machine} asks for view {change.view} above height {base} and hides that it committed "
                    f"height {height} in view {view}"
                )

    def _executable(self, machine: Machine, vote: Prepare) -> None:
        """Who votes for a batch holds its transactions, unless it is decided: those who decided it do."""
        slot = machine.core.driver._state.slots.get(vote.height) if machine.core is not None else None
        if machine.core is None or slot is None or slot.committed is not None:
            return
        payload = slot.payloads.get(vote.payload_digest)
        pool, ledger = machine.core.pool, machine.core.ledger
        for tx_id in batch_ids(payload) if payload else ():
            if tx_id not in pool and not ledger.read.is_final(tx_id):
                raise Violation(
                    f"{machine} votes on height {vote.height}, but lacks {tx_id.hex()[:16]} of it"
                )

    # --- disks ------------------------------------------------------------------------------------

    def booted(self, machine: Machine) -> None:
        """Every vote that was ever sent is on the disk, or the certificate of its height is.

        Votes that were written and perhaps never sent bind as well.
        """
        assert machine.core is not None
        prefix = VOTES + b"v" + machine.key.public
        rows = machine.ledger.store.iterate(prefix=prefix)
        memory = recall((key[len(prefix) :], value) for key, value in rows)
        state = machine.core.driver._state
        kept = {
            "prepare": {height: item.view for height, item in memory.prepares.items()},
            "commit": {height: item.commit.view for height, item in memory.commits.items()},
        }
        for kind, views in kept.items():
            for height, view in self._latest.get((machine.index, kind), {}).items():
                if height > state.certified and views.get(height, -1) < view:
                    raise Violation(
                        f"{machine} starts at certified height {state.certified} without its {kind} of "
                        f"height {height}, view {view}"
                    )
        for record in memory.prepares.values():
            self._voted_now(machine, record.prepare)
        for row in memory.commits.values():
            self._voted_now(machine, row.commit)
        if memory.view_change is not None:
            self._asked(machine, memory.view_change)
        if memory.new_view is not None and memory.new_view.sender == machine.key.public:
            self._led(machine, memory.new_view)

    def fetchable(self) -> None:
        """A payload that may have been prepared can be had from an honest node that is up.

        It may have been prepared if so many honest disks hold a PREPARE for it that the faulty could have
        made up the rest of a quorum.
        """
        cluster = self._cluster
        settled = max((machine.settled_height for machine in cluster.honest), default=0)
        for height in [height for height in self._promised if height <= settled]:
            del self._promised[height]
        up = [machine for machine in cluster.honest if machine.up]
        for height, promises in self._promised.items():
            for (view, digest), holders in promises.items():
                waking = [machine for machine in up if machine.index in holders]
                if not waking:
                    continue
                n = len(waking[0].ledger.validator_keys_at(height))
                if len(holders) >= quorum(n) - cluster.faulty and not any(
                    serves(machine, height, digest) for machine in up
                ):
                    raise Violation(
                        f"nobody serves a payload of height {height}, view {view}, that nodes "
                        f"{sorted(holders)} voted for"
                    )


def serves(machine: Machine, height: int, digest: bytes) -> bool:
    """Tell whether a machine would answer a fetch of this payload."""
    assert machine.core is not None
    driver = machine.core.driver
    return repair.answer_fetch(driver._state, Fetch(height, digest), driver._read_payload) is not None
