"""A whole cluster on virtual time: machines, network, clients and checks under one seed."""

from __future__ import annotations

from chain.ledger import passing
from chain.ledger.block import DecodedTransaction
from chain.ledger.store.faults import StorageFailed
from chain.mempool.refusals import TransactionRefused
from chain.network.bans import FIRST_S
from chain.network.frame import Kind
from chain.node.core import IN_FLIGHT_MAX
from chain.node.membership import accepted
from chain.primitives.certificate import fault_bound
from chain.primitives.errors import AssentError
from consensus.settings import Timing
from tests.simulation import shortcuts
from tests.simulation.byzantine import Liar
from tests.simulation.chain_under_test import (
    CLIENTS,
    TIMEOUT_MAX_MS,
    TIMEOUTS_MS,
    Shape,
    addition,
    founded,
    node_name,
)
from tests.simulation.checks import Checks
from tests.simulation.clockwork import Clockwork, Violation
from tests.simulation.governance import Governance
from tests.simulation.machine import Machine
from tests.simulation.network import Network
from tests.simulation.overheard import Overheard
from tests.simulation.schemes import Schemer
from tests.simulation.strategies import STRATEGIES, Strategy

WAYS = ("tactics", "schemes", "schemes", "schemes", "strategy", "strategy")
"""What the liars of a cluster do: alter what twins say, assemble messages, or keep up a strategy."""


class Cluster(Clockwork):
    """The nodes by index: founders first, then spares; a Byzantine node is two processes of one key."""

    def __init__(
        self,
        seed: int,
        shape: Shape,
        *,
        byzantine: int = 0,
        tactics: int = 3,
        strategy: type[Strategy] | None = None,
    ) -> None:
        """`strategy`: the one of all liars, who are otherwise of any kind."""
        shortcuts.install()
        super().__init__(seed)
        if byzantine > fault_bound(shape.validators):
            raise ValueError(f"{byzantine} Byzantine of {shape.validators}: more than tolerated")
        self.shape = shape
        passing.PASSED_OVER_HEIGHTS = shape.passed_over
        self.genesis, self.origin = founded(shape)
        self.keys = [shortcuts.key(node_name(i)) for i in range(shape.validators + shape.spares)]
        self.index = {key.public: i for i, key in enumerate(self.keys)}
        self.checks = Checks(self)
        self.network = Network(self)
        self.processes = [[Machine(self, i, key, self._timing())] for i, key in enumerate(self.keys)]
        self._liars: dict[int, Liar] = {}
        self._corrupt(byzantine, tactics, strategy)
        self.machines = [process for processes in self.processes for process in processes]
        self.honest = [machine for machine in self.machines if machine.honest]
        self.sent: list[DecodedTransaction] = []
        self.admitted: dict[bytes, DecodedTransaction] = {}
        """Transactions that an honest machine took."""
        self.refusals: dict[str, int] = {}
        self._forgetful: dict[int, int] = {}
        """Wiped node -> first height of the last epoch in which its key may have voted before."""
        self.governance = Governance(self)
        self.stops: dict[str, int] = {}
        """Machines that stopped by themselves, by reason."""

    def _timing(self) -> Timing:
        timeout = self.random.choice(TIMEOUTS_MS)
        return Timing(
            timeout_ms=timeout,
            timeout_max_ms=TIMEOUT_MAX_MS,
            status_ms=self.random.choice([200, 400]),
            heartbeat_ms=self.random.choice([2_000, 5_000]),
            batch_interval_ms=self.random.choice([5, 20, 50]),
            in_flight_max=self.random.choice([1, IN_FLIGHT_MAX, 4]),
        )

    def _corrupt(self, count: int, tactics: int, named: type[Strategy] | None) -> None:
        """Make validators Byzantine: twins that each hear about half of the others, or one that hears all."""
        known = Overheard(self.genesis.chain_id)
        chosen = sorted(self.random.sample(range(self.shape.validators), count))
        way = self.random.choice(WAYS) if named is None else "strategy"
        for index in chosen:
            self._liars[index] = liar = Liar(self, index, tactics, known)
            if way == "tactics" or (way == "schemes" and self.random.random() < 0.5):
                self._split(index)
            else:
                self.processes[index][0].honest = False
            if way == "schemes":
                liar.schemer = Schemer(liar)
                liar.schemer.begin()
        if way == "strategy" and chosen:
            liars = list(self._liars.values())
            strategy = (named or self.random.choice(STRATEGIES))(liars, known)
            for liar in liars:
                liar.strategy = strategy

    def _split(self, index: int) -> None:
        """Let two processes have one key, each hearing about half of the others."""
        others = [i for i in range(len(self.processes)) if i != index]
        left = {i for i in others if self.random.random() < 0.6}
        right = {i for i in others if i not in left or self.random.random() < 0.2}
        first, second = self.processes[index][0], Machine(self, index, self.keys[index], self._timing())
        second.twin = 1
        for process, hears in ((first, left), (second, right)):
            process.honest, process.hears = False, frozenset(hears)
            process.skew_ms = self.random.randint(-2_000, 2_000)
        self.processes[index].append(second)

    def is_liar(self, index: int) -> bool:
        """Tell whether a node is Byzantine."""
        return index in self._liars

    def liar(self, machine: Machine) -> Liar:
        """Return who rewrites what a Byzantine node says."""
        return self._liars[machine.index]

    def start(self) -> None:
        """Boot every machine, one after another within half a second."""
        for machine in self.machines:
            self.after(self.random.randint(0, 500), self.boot_if_down, machine)

    def boot_if_down(self, machine: Machine) -> None:
        """Start a machine, unless it runs."""
        if not machine.up:
            machine.boot()

    # --- what machines report ---------------------------------------------------------------------

    def stopped(self, machine: Machine, error: BaseException) -> None:
        """A core stopped itself: right only when its disk failed, or when it is a liar's."""
        reason = type(error).__name__
        self.stops[reason] = self.stops.get(reason, 0) + 1
        self.note(f"stop {machine.index} {reason}".encode())
        planted = isinstance(error, StorageFailed) and machine.disk.failures > 0
        if machine.honest and not planted:
            raise Violation(f"{machine} stopped itself: {reason}: {error}") from error
        machine.crash(power=planted and machine.disk.power_cut)
        machine.disk.mend()
        self.after(self.random.randint(200, 3_000), self.boot_if_down, machine)

    def refused_to_start(self, machine: Machine, error: AssentError) -> None:
        """A node does not start on its disk: no crash is a reason for that."""
        if machine.honest and not isinstance(error, StorageFailed):
            raise Violation(f"{machine} refuses to start: {error}") from error
        self.after(1_000, self.boot_if_down, machine)

    def breached(self, machine: Machine, source: int, kind: Kind, error: AssentError) -> None:
        """A frame was refused: its sender must be a liar."""
        if machine.honest and source not in self._liars:
            raise Violation(
                f"{machine} finds honest node {source} at fault for a {kind.name} frame: {error}"
            ) from error
        if (liar := self._liars.get(source)) is not None and liar.schemer is not None:
            liar.schemer.caught(machine.index)
        self.network.disconnect(machine.index, source, int(FIRST_S * 1000))

    def disconnects(self, machine: Machine, peer: int, reason: str) -> None:
        """A core drops a peer: it must be a liar."""
        if machine.honest and peer not in self._liars:
            raise Violation(f"{machine} drops honest node {peer}: {reason}")
        self.network.disconnect(machine.index, peer, int(FIRST_S * 1000))

    # --- clients ----------------------------------------------------------------------------------

    def submit(self, machine: Machine, count: int = 1) -> None:
        """Send new transactions to one node."""
        height = max(self.checks.headers, default=0)
        batch = []
        for _ in range(count):
            client = self.random.choice(CLIENTS)
            ahead = self.random.choice([1, 2, 4, 30, 100]) if self.random.random() < 0.3 else 200
            amount = self.random.randint(0, 9)  # 0 reverts
            until = height + min(ahead, self.shape.validity)
            batch.append(addition(self.genesis.chain_id, len(self.sent), client, amount, until))
            self.sent.append(batch[-1])
        self.give(machine, batch)

    def give(self, machine: Machine, batch: list[DecodedTransaction]) -> None:
        """Send transactions, new ones or again, to one node."""
        if machine.core is None or machine.paused_until > self.now or not batch:
            return

        def answered(results: list[DecodedTransaction | TransactionRefused]) -> None:
            for candidate, result in zip(batch, results, strict=True):
                if isinstance(result, TransactionRefused):
                    self.refusals[result.code] = self.refusals.get(result.code, 0) + 1
                elif machine.honest:
                    self.admitted[candidate.id] = candidate

        machine.enter(machine.core.submit, [candidate.raw for candidate in batch], answered)

    # --- who matters --------------------------------------------------------------------------------

    @property
    def leader(self) -> Machine | None:
        """The honest machine that is furthest."""
        up = [machine for machine in self.honest if machine.up]
        return max(up, key=lambda machine: (machine.settled_height, -machine.index), default=None)

    def members(self) -> list[Machine]:
        """Return the honest machines that the chain counts among its nodes now."""
        leader = self.leader
        known = accepted(leader.ledger) if leader is not None else {}
        return [machine for machine in self.honest if machine.key.public in known]

    @property
    def tolerated(self) -> int:
        """How many faulty validators the smallest set tolerates that is in force or may come into force."""
        return self.governance.tolerated

    @property
    def faulty(self) -> int:
        """Liars, and nodes that lost their memory: their keys count as faulty until the epoch ends."""
        leader = self.leader
        if leader is not None and self._forgetful:
            epoch = leader.ledger.epoch_at(leader.ledger.certified_height + 1).first
            self._forgetful = {node: first for node, first in self._forgetful.items() if first >= epoch}
        return len(self._liars) + len(self._forgetful)

    def may_forget(self, machine: Machine) -> bool:
        """Tell whether a disk may be lost: its node counts as faulty already, or one more may be."""
        return machine.index in self._forgetful or self.faulty < self.tolerated

    def has_forgotten(self, key: bytes) -> bool:
        """Tell whether a key counts as faulty because its votes are lost."""
        return self.index.get(key) in self._forgetful

    def forgets(self, machine: Machine) -> None:
        """Count a node whose disk is lost among the faulty ones."""
        known = [item.ledger for item in self.honest if item.up]
        self._forgetful[machine.index] = max(
            (ledger.epoch_at(ledger.certified_height + 1).first for ledger in known), default=2**63
        )

    def open_transactions(self) -> list[DecodedTransaction]:
        """Return what an honest machine admitted and no ledger has settled."""
        return [item for item in self.admitted.values() if item.id not in self.checks.told]
