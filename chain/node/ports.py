"""What a node's core needs from around it (ports), and what its parts need of one another (adapters).

The production node gives the core sockets, threads and the clocks of the machine; the simulator gives it
virtual ones. Everything else, every byte that crosses, is the core's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from chain.ledger.block import DecodedTransaction, Header
from chain.ledger.history.snapshot import StateLoad
from chain.ledger.ledger import Ledger
from chain.ledger.proof.anchor import Anchor, TrustedSets, make_anchor
from chain.ledger.proof.proofs import SetChange
from chain.ledger.pruned import NotHeld, UnknownHeight
from chain.ledger.state.chunk import StateChunk, make_chunk
from chain.ledger.state.state import node_loader
from chain.mempool.mempool import Mempool
from chain.network.frame import Kind
from chain.node.marker import Marker
from chain.node.transactions import TransactionFinder
from chain.primitives.certificate import Certificate

T = TypeVar("T")


class Clock(Protocol):
    """Time."""

    def now_ms(self) -> int:
        """Return milliseconds of a clock that never goes back."""

    def wall_ms(self) -> int:
        """Return milliseconds since the epoch, as this machine believes."""


class PeerNetwork(Protocol):
    """The connected peers; frames may be lost with a connection, and are bounded by the network's queues."""

    @property
    def connected(self) -> tuple[bytes, ...]:
        """Keys of the connected peers."""

    def send(self, peer: bytes, kind: Kind, body: bytes) -> bool:
        """Queue one frame; False when the peer is not connected or its queue is full."""

    def broadcast(self, kind: Kind, body: bytes) -> int:
        """Queue one frame for every connected peer; return how many took it."""

    def multicast(self, peers: Iterable[bytes], kind: Kind, body: bytes) -> int:
        """Queue one frame for some peers; return how many took it."""

    def disconnect(self, peer: bytes, reason: str) -> None:
        """Close a peer's connection and refuse it for a while, longer each time."""

    def charge(self, peer: bytes, name: str, ms: float, *, blamed: bool) -> None:
        """Charge a peer for work that became known after its frame was handled (`chain.network.account`)."""

    def set_members(self, members: Mapping[bytes, str]) -> None:
        """Accept these keys from now on (key -> address, "" when unknown); close connections of others."""


class Workers(Protocol):
    """Does slow work beside the event loop; `done` is called in the loop, never from inside the call.

    What the work raises on its own behalf (a disk, the runtime) stops the node and `done` is not called.
    """

    def verify(
        self, candidates: Sequence[DecodedTransaction], done: Callable[[Sequence[bool]], None]
    ) -> None:
        """Verify signatures; one batch at a time is under way."""

    def execute(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Run work on the ledger; one at a time is under way."""


class CoreOwner(Protocol):
    """Who keeps the core."""

    def failed(self, error: BaseException) -> None:
        """The core cannot go on: stop the node."""

    def certified(self) -> None:
        """The certified height grew."""

    def membership_changed(self) -> None:
        """Other nodes are members or validators now, or this one is: see `chain.node.membership`."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that a core needs from outside."""

    clock: Clock
    network: PeerNetwork
    workers: Workers
    host: CoreOwner
    marker: Marker
    entropy: Callable[[int], bytes]
    """Returns so many random bytes that nobody can foresee."""


# --- adapters -----------------------------------------------------------------------------------------


class PeerTransport:
    """`consensus.ports.Transport` over the connected peers."""

    def __init__(self, network: PeerNetwork) -> None:
        self._network = network

    def send(self, to: bytes, data: bytes) -> None:
        """Send to one peer, if it is connected."""
        self._network.send(to, Kind.CONSENSUS, data)

    def broadcast(self, data: bytes) -> None:
        """Send to every connected peer."""
        self._network.broadcast(Kind.CONSENSUS, data)


class GossipPool:
    """`chain.network.gossip.Pool` over pool and ledger."""

    def __init__(self, pool: Mempool, ledger: Ledger) -> None:
        self._pool, self._ledger = pool, ledger
        self._transactions = TransactionFinder(pool, ledger)

    def has(self, tx_id: bytes) -> bool:
        """Tell whether it waits here or is final: nothing is missed without it."""
        return tx_id in self._pool or self._ledger.is_final(tx_id)

    def waits(self, tx_id: bytes) -> bool:
        """Tell whether it waits for a block."""
        return tx_id in self._pool

    def get(self, tx_id: bytes) -> bytes | None:
        """Return its encoding from the pool or the ledger."""
        return self._transactions.raw(tx_id)


class SyncChain:
    """`chain.network.sync.Chain` over the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def height(self) -> int:
        """Return the certified height."""
        return self._ledger.certified_height

    def head(self) -> tuple[Header, Certificate] | None:
        """Return the certified head, None at genesis."""
        height = self._ledger.certified_height
        header, certificate = self._ledger.read.header(height), self._ledger.read.certificate(height)
        return None if header is None or certificate is None else (header, certificate)

    def validators(self, height: int) -> Sequence[bytes] | None:
        """Return who certifies a height; None while that can still change."""
        return self._ledger.validator_keys_at(height) if height <= self._ledger.settled_height else None

    def block(self, height: int) -> bytes | None:
        """Return an encoded certified block."""
        try:
            return self._ledger.read.block_bytes(height)
        except NotHeld:
            return None  # pruned while it was read

    def blocks_from(self) -> int:
        """Return the lowest height whose block is held."""
        return self._ledger.read.pruned.below().blocks

    def set_changes(self, above: int, limit: int) -> tuple[SetChange, ...]:
        """Return proved validator sets."""
        return self._ledger.prove.set_changes(above, limit=limit)

    def anchor(self) -> Anchor | None:
        """Return what proves the certified height."""
        window = self._ledger.genesis.limits.consensus_window
        try:
            return make_anchor(self._ledger.read, self._ledger.certified_height, window)
        except UnknownHeight:
            return None

    def chunk(self, height: int, path: bytes) -> StateChunk | None:
        """Return a chunk of the state of a certified height."""
        read = self._ledger.read
        if height > self._ledger.certified_height:
            return None
        try:
            with read.reading_state(height):
                load = node_loader(self._ledger.store)
                return make_chunk(load, read.entry_at_leaf, read.tree_root(height), path)
        except (NotHeld, UnknownHeight):
            return None


class StateLoads:
    """`chain.network.statesync.Loads` over the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def begin(self, sets: TrustedSets, anchor: Anchor) -> StateLoad:
        """Start to load a state."""
        return self._ledger.replace(lambda: StateLoad.begin(self._ledger.store, sets, anchor))

    def resume(self) -> StateLoad | None:
        """Return what a former process began."""
        return StateLoad.resume(self._ledger.store)

    def abandon(self, load: StateLoad) -> None:
        """Forget what was fetched."""
        self._ledger.replace(load.abandon)
