"""What honest nodes believe: an oracle that was not told by consensus/authenticity.py what to accept.

The simulator knows what every honest node said. So whatever an honest node keeps of others (view changes,
new views, certificates) is compared with that, rule by rule of "Genuine" in consensus/README.md: liars may
have said anything in their own names, and nothing in those of others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chain.node.core import NodeCore
from chain.primitives.certificate import Certificate, fault_bound
from consensus.messages import NewView, Prepared, ViewChange, certificate_height
from consensus.selection import choose_reproposals
from consensus.state import State
from tests.simulation.clockwork import Violation
from tests.simulation.said import Said

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.machine import Machine


@dataclass(slots=True)
class Seen:
    """What one life of a machine believed when it was looked at last."""

    new_view: NewView | None = None
    view_changes: dict[bytes, ViewChange] = field(default_factory=dict)
    target: Certificate | None = None
    reproposals: dict[int, bytes] | None = None
    accused: int = 0
    listened: bool = False


class Genuine:
    """Looks at what one machine after another believes."""

    def __init__(self, cluster: Cluster, said: Said) -> None:
        self._cluster, self._said = cluster, said

    def look(self, machine: Machine, core: NodeCore) -> None:
        """Check what the last event made this machine believe."""
        state, seen = core.driver._state, machine.seen
        if state.new_view is not seen.new_view:
            seen.new_view = state.new_view
            if state.new_view is not None:
                self._new_view(machine, core, state.new_view)
        for sender, change in state.view_changes.items():
            if seen.view_changes.get(sender) is not change:
                seen.view_changes[sender] = change
                self._view_change(machine, core, change)
        if state.target is not seen.target:
            seen.target = state.target
            if state.target is not None:
                self._certificate(machine, core, state.target)
        if len(state.accused) != seen.accused:
            seen.accused = len(state.accused)
            self._accused(machine, state)
        if not state.lost.listening and seen.listened:
            self._heard_enough(machine, state)
        seen.listened = state.lost.listening
        self._waits_with_reason(machine, core)
        self._proposes_again(machine, state)

    def commit_row(self, machine: Machine, height: int) -> None:
        """A COMMIT rests on a prepared proof."""
        if machine.core is None:
            return
        slot = machine.core.driver._state.slots.get(height)
        if slot is not None and slot.prepared is not None:
            self._prepared(machine, machine.core, slot.prepared)

    # --- messages of others ---------------------------------------------------------------------------

    def _new_view(self, machine: Machine, core: NodeCore, message: NewView) -> None:
        """A view is entered on the word of a quorum, which its leader did not twist."""
        where = f"{machine} entered view {message.view} of epoch {message.epoch}"
        base = max(certificate_height(change.certificate) for change in message.view_changes)
        senders = [change.sender for change in message.view_changes]
        n = len(core.ledger.validator_keys_at(base + 1))
        if len(senders) != _quorum(n) or len(set(senders)) != len(senders):
            raise Violation(f"{where} on the word of {len(set(senders))} of {n}")
        if any(
            (change.epoch, change.view) != (message.epoch, message.view) for change in message.view_changes
        ):
            raise Violation(f"{where} by view changes to other views")
        if message.sender != core.driver._state.rules.primary(message.view, base + 1):
            raise Violation(f"{where}, led by another than its leader")
        if message.reproposals != choose_reproposals(message.view_changes):
            raise Violation(f"{where}, whose re-proposals do not follow")
        self._holds(machine, message.sender, "new-view", message)
        for change in message.view_changes:
            self._view_change(machine, core, change)

    def _view_change(self, machine: Machine, core: NodeCore, change: ViewChange) -> None:
        base = certificate_height(change.certificate)
        where = f"{machine} believes a view change to {change.view}"
        window = core.ledger.genesis.limits.consensus_window
        self._holds(machine, change.sender, "view-change", change)
        if core.ledger.settled_height < base + 1:
            return  # its set is not known here: it is judged again where it is used
        if change.sender not in core.ledger.validator_keys_at(base + 1):
            raise Violation(f"{where} of a node that does not vote")
        if core.ledger.epoch_at(base + 1).first != change.epoch:
            raise Violation(f"{where} of epoch {change.epoch}, whose certificate is of height {base}")
        if change.certificate is not None:
            self._certificate(machine, core, change.certificate)
        heights = [item.height for item in change.prepared]
        if heights != sorted(set(heights)) or any(not base < height <= base + window for height in heights):
            raise Violation(f"{where} that shows heights {heights} above {base}")
        for item in change.prepared:
            if item.view >= change.view or core.ledger.epoch_at(item.height).first != change.epoch:
                raise Violation(f"{where} that was prepared in view {item.view}, height {item.height}")
            self._prepared(machine, core, item)

    def _holds(self, machine: Machine, sender: bytes, kind: str, message: ViewChange | NewView) -> None:
        index = self._cluster.index.get(sender)
        slot = (message.epoch, message.view)
        if index is None or not self._said.holds(index, kind, slot, message.signature):
            raise Violation(f"{machine} believes a {kind} of {slot} that node {index} never sent")

    def _prepared(self, machine: Machine, core: NodeCore, item: Prepared) -> None:
        slot = (item.view, item.height)
        signers = [signer for signer, _ in item.signatures]
        self._signed(machine, core, "prepare", slot, item.payload_digest, signers)

    def _certificate(self, machine: Machine, core: NodeCore, certificate: Certificate) -> None:
        """A height that is certified was executed by honest nodes: some of them know who votes there."""
        height, cores = (
            certificate.height,
            [item.core for item in self._cluster.honest if item.core is not None],
        )
        knowing = max(cores, key=lambda item: item.ledger.settled_height)
        if height > knowing.ledger.settled_height:
            raise Violation(f"{machine} believes a certificate of height {height}, which nobody reached")
        judge = core if height <= core.ledger.settled_height else knowing
        signers = [signer for signer, _ in certificate.signatures]
        self._signed(machine, judge, "checkpoint", (height,), certificate.header_hash, signers)

    def _signed(
        self, machine: Machine, core: NodeCore, kind: str, slot: tuple[int, ...], content: bytes,
        signers: list[bytes],
    ) -> None:  # fmt: skip
        """A certificate holds signatures of a quorum of the set of its height; honest ones were given."""
        cluster, height = self._cluster, slot[-1]
        validators = core.ledger.validator_keys_at(height)
        where = f"{machine} believes a certificate of {kind}s of {slot}"
        if len(set(signers)) != len(signers) or len(signers) < _quorum(len(validators)):
            raise Violation(f"{where} by {len(set(signers))} of {len(validators)}")
        for signer in signers:
            if signer not in validators:
                raise Violation(f"{where}, signed by a node that does not vote there")
            if not self._said.holds(cluster.index[signer], kind, slot, content):
                raise Violation(f"{where}, which node {cluster.index[signer]} never signed")

    # --- what follows for the machine itself ------------------------------------------------------------

    def _accused(self, machine: Machine, state: State) -> None:
        """No history of an honest node is evidence against it."""
        for key in state.accused:
            index = self._cluster.index[key[1:33]]
            if not self._cluster.is_liar(index):
                raise Violation(f"{machine} holds evidence against honest node {index}: {key[33:].decode()}")

    def _heard_enough(self, machine: Machine, state: State) -> None:
        """Who lost its votes listens until it knows in which epoch it gives none any more."""
        lost, muted = self._said.lost(machine), -1 if state.lost.muted is None else state.lost.muted
        if muted < lost:
            raise Violation(f"{machine} would vote above epoch {muted}, but lost its votes of epoch {lost}")

    def _waits_with_reason(self, machine: Machine, core: NodeCore) -> None:
        """The timer for progress runs for requests that wait here, or for what more than one liar says."""
        wait, state = core.driver._timers.wait, core.driver._state
        if wait is None or wait.kind != "progress" or state.pending:
            return
        for slot in state.slots.values():
            voters = slot.prepares.keys() | slot.commits.keys()
            few = len(voters) <= fault_bound(len(core.ledger.validator_keys_at(slot.height)))
            if slot.height > state.delivered and (slot.digest is not None or not few):
                return
        raise Violation(f"{machine} waits for progress on the word of one node")

    def _proposes_again(self, machine: Machine, state: State) -> None:
        """A view proposes again what its NEW-VIEW names, after a restart, too."""
        message = state.new_view
        if (
            message is None
            or not state.active
            or (message.epoch, message.view) != (state.epoch.first, state.view)
        ):
            return
        if state.reproposals is not machine.seen.reproposals:
            machine.seen.reproposals = state.reproposals
            if state.reproposals != dict(message.reproposals):
                raise Violation(f"{machine} is in view {state.view} without its re-proposals")


def _quorum(n: int) -> int:
    return (n + fault_bound(n)) // 2 + 1
