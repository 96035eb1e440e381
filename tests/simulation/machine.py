"""One simulated machine: a production core on virtual time, its disk, and what a crash does to both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chain.ledger.block import DecodedTransaction
from chain.ledger.ledger import Ledger
from chain.network.frame import FrameReader, Kind, encode_frame
from chain.node.core import NodeCore
from chain.node.ports import Ports
from chain.node.signedskips import SignedSkips
from chain.primitives.errors import AssentError
from consensus.settings import Timing
from tests.simulation.chain_under_test import BOUNDS
from tests.simulation.clockwork import EPOCH_MS, Violation
from tests.simulation.costs import Costs
from tests.simulation.disk import Disk, MemoryMarker
from tests.simulation.genuine import Seen
from tests.simulation.shortcuts import RUNTIME, Key

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster


class Machine:
    """A node: what survives a crash (disk, marker, key) and what does not (core)."""

    def __init__(self, cluster: Cluster, index: int, key: Key, timing: Timing) -> None:
        self.cluster, self.index, self.key, self.timing = cluster, index, key, timing
        self.disk = Disk(cluster.origin)
        self.marker = MemoryMarker()
        self.signed: SignedSkips | None = None
        """What the key signed of skips; None for a key that never did."""
        self.core: NodeCore | None = None
        self.honest = True
        self.twin = 0
        """Which of the processes of one key this is."""
        self.hears: frozenset[int] | None = None
        """For a twin: the nodes it exchanges frames with; None means all."""
        self.life = 0
        self.skew_ms = 0
        self.paused_until = 0
        self.settled_height = 0
        """Certified height that clients were told of; survives everything but a wipe."""
        self.checked_height = 0
        self.seen = Seen()
        self.costs = Costs(self)
        self._wake_at: int | None = None
        self._failure: BaseException | None = None

    def __str__(self) -> str:
        return f"node {self.index}" + (f" (twin {self.twin})" if self.twin else "")

    @property
    def up(self) -> bool:
        return self.core is not None

    @property
    def ledger(self) -> Ledger:
        assert self.core is not None
        return self.core.ledger

    # --- life -------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start the process on what the disk holds."""
        self.life += 1
        self.paused_until, self._wake_at, self._failure = 0, None, None
        self.seen = Seen()
        self.costs = Costs(self)
        ports = Ports(self, Wire(self), self, self, self.marker, self.cluster.random.randbytes)
        try:
            ledger = Ledger(self.disk, self.cluster.genesis, RUNTIME)
            core = NodeCore(
                ledger,
                self.key,
                ports,
                timing=self.timing,
                bounds=BOUNDS,
                snapshot_lag=self.cluster.shape.snapshot_lag,
                signed=self.signed,
            )
        except AssentError as error:
            self.cluster.refused_to_start(self, error)
            return
        self.core = core
        self.cluster.checks.booted(self)
        self.enter(core.start)
        self.cluster.network.booted(self)

    def crash(self, *, power: bool) -> None:
        """Kill the process; with `power`, the disk also loses some of its unsynced tail."""
        self.core = None
        self.life += 1
        if power:
            self.disk.crash(kept=self.cluster.random.randint(0, self.disk.unsynced))
            self.marker.lose(self.cluster.random.randint(0, 2))
        self.cluster.network.died(self)

    def wipe(self) -> None:
        """Lose the disk but not the key and its marker."""
        self.disk = Disk(self.cluster.origin)
        self.settled_height = self.checked_height = 0
        self.cluster.checks.wiped(self)
        self.cluster.forgets(self)

    def enter(self, call: Callable[..., None], *args: Any) -> None:
        """Call the core, then see what came of it; whatever it raises stops it, as in production."""
        core = self.core
        if core is None:
            return
        try:
            call(*args)
        except Exception as error:
            self.failed(error)
        self._look(core)

    def _look(self, core: NodeCore) -> None:
        if core is not self.core:
            return
        if self._failure is not None:
            self.cluster.stopped(self, self._failure)
            return
        if self.honest:
            self.cluster.checks.look(self, core)
        due = core.next_deadline()
        if self._wake_at is None or due < self._wake_at:
            self._wake_at = max(due, self.cluster.now + 1)
            self.cluster.after(self._wake_at - self.cluster.now, self._wake, self.life, self._wake_at)

    def _wake(self, life: int, due: int) -> None:
        if life != self.life or due != self._wake_at or self.core is None:
            return
        if self.cluster.now < self.paused_until:
            self._wake_at = self.paused_until
            self.cluster.after(self.paused_until - self.cluster.now, self._wake, life, self.paused_until)
            return
        self._wake_at = None
        self.enter(self.core.on_time)

    def later(self, delay_ms: int, call: Callable[..., None], *args: Any) -> None:
        """Call something of this life after a while, unless it has ended; a pause puts it off."""
        self.cluster.after(delay_ms, self._due, self.life, call, args)

    def _due(self, life: int, call: Callable[..., None], args: tuple[Any, ...]) -> None:
        if life != self.life or self.core is None:
            return
        if self.cluster.now < self.paused_until:
            self.cluster.after(self.paused_until - self.cluster.now, self._due, life, call, args)
            return
        self.enter(call, *args)

    # --- frames -----------------------------------------------------------------------------------

    def receive(self, life: int, source: int, epoch: int, frame: bytes) -> None:
        """Take one frame of a link, as the link layer would hand it on."""
        cluster = self.cluster
        if life != self.life or self.core is None:
            return
        if cluster.now < self.paused_until:
            cluster.after(self.paused_until - cluster.now, self.receive, life, source, epoch, frame)
            return
        if cluster.network.linked.get((self.index, source)) != epoch:
            return
        cluster.note(b"%d>%d " % (source, self.index))
        cluster.note(frame)
        for kind, body in FrameReader().feed(frame):
            if not self.honest:
                cluster.liar(self).hear(source, kind, body)
            self.costs.receive(source, kind, body)

    def handle(self, source: int, kind: Kind, body: bytes) -> bool:
        """Let the core handle a frame; tell whether it was of any use to it."""
        cluster, core, useful = self.cluster, self.core, True
        if core is None:
            return True
        try:
            useful = core.on_frame(cluster.keys[source].public, kind, body)
        except AssentError as error:
            cluster.breached(self, source, kind, error)
        except Exception as error:
            self.failed(error)
        self._look(core)
        return useful

    # --- chain.node.ports.Clock, Workers, Host ------------------------------------------------------

    def now_ms(self) -> int:
        return self.cluster.now

    def wall_ms(self) -> int:
        return EPOCH_MS + self.cluster.now + self.skew_ms

    def verify(
        self, candidates: Sequence[DecodedTransaction], done: Callable[[Sequence[bool]], None]
    ) -> None:
        held = [candidate.signature_holds for candidate in candidates]
        self.later(1, done, held)

    def execute(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """A crash may find the height written and nobody told, or not written."""
        chance = self.cluster.random
        if chance.random() < 0.5:
            result = self._work(work)
            if self._failure is None:
                self.later(chance.randint(1, 4), done, result)
        else:
            self.later(chance.randint(1, 4), self._work_and_tell, work, done)

    def _work_and_tell(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        result = self._work(work)
        if self._failure is None:
            done(result)

    def _work(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as error:
            self.failed(error)
            return None

    def failed(self, error: BaseException) -> None:
        if isinstance(error, Violation):
            raise error
        if self._failure is None:
            self._failure = error

    def certified(self) -> None:
        pass  # the checks look at the ledger after every event

    def membership_changed(self) -> None:
        pass  # the network is told by set_members


class Wire:
    """`chain.node.ports.Network` of one life of a machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._network = machine, machine.cluster.network

    @property
    def connected(self) -> tuple[bytes, ...]:
        keys = self._machine.cluster.keys
        return tuple([keys[peer].public for peer in self._network.peers(self._machine)])

    def send(self, peer: bytes, kind: Kind, body: bytes) -> bool:
        return self.multicast((peer,), kind, body) == 1

    def broadcast(self, kind: Kind, body: bytes) -> int:
        return self._out(self._network.peers(self._machine), kind, body)

    def multicast(self, peers: Iterable[bytes], kind: Kind, body: bytes) -> int:
        index, connected = self._machine.cluster.index, self._network.peers(self._machine)
        return self._out([index[peer] for peer in peers if index[peer] in connected], kind, body)

    def set_members(self, members: Mapping[bytes, str]) -> None:
        index = self._machine.cluster.index
        self._network.accept(self._machine, {index[key] for key in members if key in index})

    def charge(self, peer: bytes, name: str, ms: float, *, blamed: bool) -> None:
        self._machine.costs.charge(self._machine.cluster.index[peer], name, ms, blamed=blamed)

    def disconnect(self, peer: bytes, reason: str) -> None:
        self._machine.cluster.disconnects(self._machine, self._machine.cluster.index[peer], reason)

    def _out(self, targets: Sequence[int], kind: Kind, body: bytes) -> int:
        machine = self._machine
        if machine.honest:
            if kind is Kind.CONSENSUS:
                machine.cluster.checks.said(machine, body)
            frame = encode_frame(kind, body)
            for target in targets:
                self._network.transmit(machine, target, frame)
            return len(targets)
        for target in targets:
            for told in machine.cluster.liar(machine).lie(target, kind, body):
                self._network.transmit(machine, target, told)
        return len(targets)
