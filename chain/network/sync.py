"""Catching up by certified blocks, as a pure state machine: frames and time in, effects out; milliseconds.

A height is learnt from a certificate that the trusted validator set signed, never from a claim: a claim
that cannot be checked yet (its set lies ahead of us) only makes its claimant worth asking, for the very
next blocks and at its own expense, so a faked maximum blocks nothing (CometBFT 5801). Ranges are asked of
several peers at once; blocks that arrive out of order wait (sawtooth-pbft 166); each is checked against its
certificate before it is handed over, in order and once; whoever serves rubbish is dropped and the range is
asked of another. Requests always restart from the height that the ledger reports, so consensus and sync
may race (SmartBFT 570) and a laggard always catches up (hyperledger-archives/fabric 1454).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chain.ledger.block import Block, Header, header_hash
from chain.network.blockcheck import check_block
from chain.network.effects import Drop, Send
from chain.network.frame import Kind, ProtocolBreach
from chain.network.messages import Blocks, BlocksRequest, SyncStatus
from chain.primitives.certificate import Certificate, check_certificate, fault_bound
from chain.primitives.codec import decode, encode
from chain.primitives.errors import AssentError, ProofInvalid

RANGE_BLOCKS = 32
ANSWER_BYTES = 1_048_576
"""An answer ends with the block that reaches this."""
BUFFER_BLOCKS = 256
BUFFER_BYTES = 67_108_864
APPLY_BLOCKS = 32
"""Blocks handed over at once."""
REQUEST_TIMEOUT_MS = 5_000
STATUS_INTERVAL_MS = 200
GRACE_MS = 1_000
"""How long a validator leaves a small gap to consensus while the height stands still."""
FAR_BLOCKS = 8
"""A larger gap is fetched at once: consensus keeps no messages below its window."""
RETRY_MS, RETRY_MAX_MS = 250, 8_000
SERVED_PER_S = 128


class Chain(Protocol):
    """What sync needs of the ledger and the membership."""

    def height(self) -> int:
        """Return the certified height, 0 at genesis."""

    def head(self) -> tuple[Header, Certificate] | None:
        """Return the certified head, or None at genesis."""

    def validators(self, height: int) -> Sequence[bytes] | None:
        """Return the set that certifies a height, or None while that is not settled.

        It must be known for the height above `height()`.
        """

    def block(self, height: int) -> bytes | None:
        """Return the encoded block, with its certificate, or None when it is not held."""


@dataclass(frozen=True, slots=True)
class SyncEffects:
    """What the node shall do."""

    send: tuple[Send, ...] = ()
    apply: tuple[Block, ...] = ()
    """Checked blocks in order, each handed over once, the next lot only when the ledger has these. Skip what
    the ledger has already; at the end call `applied`, at the first failure `rejected` (and stop there)."""
    drop: tuple[Drop, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncReport:
    """Where catch-up stands, for operators."""

    height: int
    proved_height: int
    """Highest height that a peer proved by a certificate."""
    buffered_blocks: int
    requests: int
    trouble: str
    """Why it does not move; empty when nothing is known to be wrong."""


@dataclass(slots=True)
class _Peer:
    proved: int = 0
    claimed: int = 0
    first: int = 0
    """First height of the request under way, 0 for none."""
    count: int = 0
    answer_by: int = 0
    failures: int = 0
    not_before: int = 0
    served: int = 0
    served_since: int = 0

    @property
    def best(self) -> int:
        return max(self.proved, self.claimed)

    def fail(self, now: int) -> None:
        """Ask others for a while, and believe no claim until the next status."""
        self.failures = min(self.failures + 1, 16)
        self.not_before = now + min(RETRY_MAX_MS, RETRY_MS << (self.failures - 1))
        self.first = self.claimed = 0


@dataclass(slots=True)
class _Held:
    block: Block
    peer: bytes
    size: int
    checked: bool


@dataclass(slots=True)
class _Progress:
    """When the ledger's height last moved, and how far blocks were handed over."""

    height: int = -1
    moved_at: int = 0
    handed: int = 0
    served_by: dict[int, bytes] = field(default_factory=dict)
    rejected_by: set[bytes] = field(default_factory=set)


class Sync:
    """Fetches and serves blocks; `follow` is true on observers, which have no other way to learn blocks."""

    def __init__(self, chain: Chain, chain_id: bytes, *, follow: bool) -> None:
        self._chain, self._chain_id, self._follow = chain, chain_id, follow
        self._peers: dict[bytes, _Peer] = {}
        self._held: dict[int, _Held] = {}
        self._held_bytes = 0
        self._progress = _Progress()
        self._told_height, self._tell_at = 0, 0
        self._drops: list[Drop] = []
        self.dropped_serves = 0
        """Requests for blocks answered with none because their sender asked too often."""

    # --- events -------------------------------------------------------------------------------

    def connected(self, peer: bytes, now: int) -> SyncEffects:
        """Greet a new peer with our certified head."""
        self._peers[peer] = _Peer()
        status = self._status()
        return self._step(now, (Send((peer,), Kind.STATUS, status),) if status else ())

    def disconnected(self, peer: bytes) -> None:
        """Forget a peer; its range is asked of another at the next step. Checked blocks stay."""
        self._peers.pop(peer, None)

    def claim(self, peer: bytes, height: int) -> None:
        """Note that a peer speaks of a height (say in a consensus message): it may be worth asking."""
        if peer in self._peers:
            self._peers[peer].claimed = max(self._peers[peer].claimed, height)

    def on_frame(self, name: bytes, kind: Kind, body: bytes, now: int) -> SyncEffects:
        """Handle one of the sync frames; raise an AssentError when the peer is at fault."""
        peer = self._peers.get(name)
        if peer is None:
            return SyncEffects()
        if kind is Kind.STATUS:
            self._on_status(peer, decode(SyncStatus, body))
        elif kind is Kind.BLOCKS_REQUEST:
            return SyncEffects(send=(self._serve(name, peer, decode(BlocksRequest, body), now),))
        elif kind is Kind.BLOCKS:
            self._on_blocks(name, peer, decode(Blocks, body), now)
        else:
            raise ProtocolBreach(f"{kind.name} is not a sync frame")
        return self._step(now)

    def tick(self, now: int) -> SyncEffects:
        """Time requests out, announce a new head, fetch what is missing; call a few times a second."""
        for peer in self._peers.values():
            if peer.first and now >= peer.answer_by:
                peer.fail(now)
        send: tuple[Send, ...] = ()
        if self._chain.height() > self._told_height and now >= self._tell_at and self._peers:
            self._told_height, self._tell_at = self._chain.height(), now + STATUS_INTERVAL_MS
            status = self._status()
            send = (Send(tuple(self._peers), Kind.STATUS, status),) if status else ()
        return self._step(now, send)

    def applied(self, now: int) -> SyncEffects:
        """Go on after handed-over blocks were applied, or found on the ledger already."""
        return self._step(now)

    def rejected(self, height: int, now: int) -> SyncEffects:
        """Drop who served a block that does not execute to its certified header, and ask another.

        When more than f peers served it, the fault is here, not there: `report` says so.
        """
        progress = self._progress
        name = progress.served_by.get(height)
        progress.handed = self._chain.height()
        if name is not None:
            progress.rejected_by.add(name)
            self._release([at for at, held in self._held.items() if held.peer == name])
            if name in self._peers:
                self._peers[name].fail(now)
            if not self._diverged:
                self._drops.append(Drop(name, f"block {height} does not execute to its certified header"))
        return self._step(now)

    def report(self) -> SyncReport:
        """Return where catch-up stands."""
        proved = max((peer.proved for peer in self._peers.values()), default=0)
        trouble = ""
        if self._diverged:
            trouble = (
                f"block {self._chain.height() + 1} from {len(self._progress.rejected_by)} peers executes "
                "differently here: this node's release or disk differs; compare releases, then rebuild"
            )
        requests = sum(1 for peer in self._peers.values() if peer.first)
        return SyncReport(self._chain.height(), proved, len(self._held), requests, trouble)

    # --- frames -------------------------------------------------------------------------------

    def _on_status(self, peer: _Peer, status: SyncStatus) -> None:
        header, certificate = status.header, status.certificate
        if header.height != certificate.height or header_hash(header) != certificate.header_hash:
            raise ProofInvalid(f"status of height {header.height}: its certificate is of another header")
        if header.height <= peer.proved:
            return
        validators = self._chain.validators(header.height)
        if header.height > self._chain.height() and validators is None:
            peer.claimed = header.height
            return
        if header.height > self._chain.height() and validators is not None:
            check_certificate(certificate, self._chain_id, validators)
        peer.proved = header.height

    def _serve(self, name: bytes, peer: _Peer, request: BlocksRequest, now: int) -> Send:
        if now - peer.served_since >= 1_000:
            peer.served, peer.served_since = 0, now
        peer.served += 1
        blocks: list[bytes] = []
        size = 0
        allowed = min(request.count, RANGE_BLOCKS) if peer.served <= SERVED_PER_S else 0
        self.dropped_serves += not allowed
        for height in range(request.first, request.first + allowed):
            encoded = self._chain.block(height) if size < ANSWER_BYTES else None
            if encoded is None:
                break
            blocks.append(encoded)
            size += len(encoded)
        return Send((name,), Kind.BLOCKS, encode(Blocks(request.first, tuple(blocks))))

    def _on_blocks(self, name: bytes, peer: _Peer, answer: Blocks, now: int) -> None:
        if not peer.first or answer.first != peer.first or len(answer.blocks) > peer.count:
            return  # too late: the range was given to another peer
        if not answer.blocks:
            peer.fail(now)
            return
        peer.first = peer.failures = peer.not_before = 0
        for at, encoded in enumerate(answer.blocks):
            block = decode(Block, encoded)
            if block.header.height != answer.first + at:
                raise ProtocolBreach(f"block {block.header.height} where {answer.first + at} was asked for")
            self._hold(name, block, len(encoded))

    def _hold(self, name: bytes, block: Block, size: int) -> None:
        height = block.header.height
        if height <= self._base or height in self._held:
            return
        validators = self._chain.validators(height)
        if validators is not None:
            check_block(block, self._chain_id, validators)
        self._held[height] = _Held(block, name, size, checked=validators is not None)
        self._held_bytes += size

    # --- what to do next ----------------------------------------------------------------------

    @property
    def _base(self) -> int:
        """Everything up to here is on the ledger, or handed over."""
        return max(self._chain.height(), self._progress.handed)

    @property
    def _diverged(self) -> bool:
        validators = self._chain.validators(self._chain.height() + 1) or ()
        return len(self._progress.rejected_by) > fault_bound(len(validators))

    def _status(self) -> bytes | None:
        head = self._chain.head()
        return None if head is None else encode(SyncStatus(*head))

    def _step(self, now: int, send: tuple[Send, ...] = ()) -> SyncEffects:
        progress, height = self._progress, self._chain.height()
        if height != progress.height:
            progress.height, progress.moved_at = height, now
            progress.rejected_by.clear()
            progress.served_by = {at: name for at, name in progress.served_by.items() if at > height}
        self._release([at for at in self._held if at <= self._base])
        apply = self._ready()
        requests = self._requests(now)
        drops, self._drops = tuple(self._drops), []
        return SyncEffects(send + requests, apply, drops)

    def _ready(self) -> tuple[Block, ...]:
        """Take the checked blocks that follow on, once those handed over before are on the ledger."""
        ready: list[Block] = []
        if self._progress.handed > self._chain.height():
            return ()
        while len(ready) < APPLY_BLOCKS:
            held = self._held.get(self._base + 1)
            if held is None or not self._check_held(held):
                break
            height = held.block.header.height
            self._release([height])
            self._progress.handed = height
            self._progress.served_by[height] = held.peer
            ready.append(held.block)
        return tuple(ready)

    def _check_held(self, held: _Held) -> bool:
        """Check a block that came before its validator set was known."""
        if held.checked:
            return True
        validators = self._chain.validators(held.block.header.height)
        if validators is None:
            return False
        try:
            check_block(held.block, self._chain_id, validators)
        except AssentError as error:
            self._release([held.block.header.height])
            self._drops.append(Drop(held.peer, str(error)))
            self._peers.pop(held.peer, None)
            return False
        held.checked = True
        return True

    def _requests(self, now: int) -> tuple[Send, ...]:
        idle = [
            name
            for name, peer in self._peers.items()
            if not peer.first and now >= peer.not_before and peer.best > self._base
        ]
        if not idle or not self._behind(now):
            return ()
        idle.sort(key=lambda name: (self._peers[name].failures, -self._peers[name].proved))
        asked = {
            height
            for peer in self._peers.values()
            if peer.first
            for height in range(peer.first, peer.first + peer.count)
        }
        sends = []
        for name in idle:
            peer = self._peers[name]
            missing = self._missing(asked, peer.best)
            if missing:
                peer.first, peer.count, peer.answer_by = missing[0], len(missing), now + REQUEST_TIMEOUT_MS
                asked.update(missing)
                body = encode(BlocksRequest(peer.first, peer.count))
                sends.append(Send((name,), Kind.BLOCKS_REQUEST, body))
        return tuple(sends)

    def _behind(self, now: int) -> bool:
        """Tell whether to fetch: not while consensus is about to deliver the next heights itself."""
        if self._follow or self._progress.handed > self._chain.height():
            return True
        gap = max(peer.best for peer in self._peers.values()) - self._chain.height()
        return gap >= FAR_BLOCKS or now - self._progress.moved_at >= GRACE_MS

    def _missing(self, asked: set[int], best: int) -> range:
        """Return the first run of heights that nobody was asked for, within every bound."""
        top = min(best, self._base + BUFFER_BLOCKS)
        if self._held_bytes > BUFFER_BYTES:
            top = min(top, self._base + 1)  # only the block that lets the buffer drain
        first = next(
            (at for at in range(self._base + 1, top + 1) if at not in asked and at not in self._held), 0
        )
        end = first
        while first and end <= top and end - first < RANGE_BLOCKS and end not in asked | self._held.keys():
            end += 1
        return range(first, end)

    def _release(self, heights: Iterable[int]) -> None:
        for height in heights:
            held = self._held.pop(height, None)
            self._held_bytes -= held.size if held is not None else 0
