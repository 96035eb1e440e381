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

from chain.ledger.block import Block, header_hash
from chain.ledger.blockcheck import check_certified
from chain.network.effects import Drop, Send
from chain.network.frame import Kind, ProtocolBreach
from chain.network.messages import Blocks, BlocksRequest, SyncStatus
from chain.network.serving import RANGE_BLOCKS, REQUEST_KINDS, Server
from chain.network.statesync import STATE_KINDS, StateSync
from chain.network.syncstate import BufferedBlock, Chain, Peer, Progress, SyncEffects, SyncReport
from chain.primitives.certificate import check_certificate, fault_bound
from chain.primitives.codec import decode, encode
from chain.primitives.errors import AssentError, ProofInvalid

BUFFER_BLOCKS = 256
BUFFER_BYTES = 67_108_864
APPLY_BLOCKS = 32
"""Blocks handed over at once."""
REQUEST_TIMEOUT_MS = 5_000
STATUS_INTERVAL_MS = 200
STATUS_REPEAT_MS = 5_000
"""A height that stands still is told again: the peer may have begun anew without our having noticed, and
the chain may stand still for want of it."""
GRACE_MS = 1_000
"""How long a validator leaves a small lag to consensus while the height stands still."""
FAR_BLOCKS = 8
"""A larger lag is fetched at once: consensus keeps no messages below the last certified height."""
FAILURES_MANY = 3
FETCHED_MAX = 20
SNAPSHOT_LAG_MIN = 2
"""A state is never fetched for less: its last block alone is as quick."""


class BlockSync:
    """Fetches and serves blocks, and states of far heights when it may."""

    def __init__(
        self,
        chain: Chain,
        chain_id: bytes,
        *,
        follow: bool,
        states: StateSync | None = None,
        snapshot_lag: int = 0,
    ) -> None:
        """`follow` is true on observers, which have no other way to learn blocks.

        With `states`, a node that is more than `snapshot_lag` heights behind fetches a state; so does one
        whose next block nobody holds any more, however near.
        """
        self._server, self._states = Server(chain), states
        self._snapshot_lag = max(snapshot_lag, SNAPSHOT_LAG_MIN)
        self._fetched = 0
        """States installed since this node was last near the others: each doubles the lag that warrants one
        more, or a chain that moves on meanwhile would have us fetch for ever."""
        self._chain, self._chain_id = chain, chain_id
        self.follow = follow
        """May change: a node becomes a validator, or ceases to be one, at some height."""
        self._peers: dict[bytes, Peer] = {}
        self._buffer: dict[int, BufferedBlock] = {}
        self._buffered_bytes = 0
        self._progress = Progress()
        self._told_height, self._tell_at, self._repeat_at = 0, 0, 0
        self._drops: list[Drop] = []

    # --- events -------------------------------------------------------------------------------

    def connected(self, peer: bytes, now: int) -> SyncEffects:
        """Greet a new peer with our certified head."""
        self._peers[peer] = Peer()
        if self._states is not None:
            self._states.connected(peer)
        status = self._status()
        return self._step(now, (Send((peer,), Kind.STATUS, status),) if status else ())

    def disconnected(self, peer: bytes) -> None:
        """Forget a peer; its range is asked of another at the next step. Checked blocks stay."""
        self._peers.pop(peer, None)
        if self._states is not None:
            self._states.disconnected(peer)

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
        elif kind in REQUEST_KINDS:
            return SyncEffects(send=(self._server.answer(name, kind, body),))
        elif kind in STATE_KINDS:
            if self._states is not None:
                self._states.on_frame(name, kind, body, now, self._chain.height() + self._least_gap)
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
        news = self._chain.height() > self._told_height and now >= self._tell_at
        if self._peers and (news or now >= self._repeat_at):
            self._told_height, self._tell_at = self._chain.height(), now + STATUS_INTERVAL_MS
            self._repeat_at = now + STATUS_REPEAT_MS
            status = self._status()
            send = (Send(tuple(self._peers), Kind.STATUS, status),) if status else ()
        return self._step(now, send)

    def applied(self, now: int) -> SyncEffects:
        """Go on after handed-over blocks were applied, or found on the ledger already."""
        return self._step(now)

    def installed(self, now: int) -> SyncEffects:
        """Go on after a state was installed, or was found not to be needed."""
        if self._states is not None:
            self._states.installed()
            self._fetched = min(self._fetched + 1, FETCHED_MAX)
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
            self._release([at for at, buffered in self._buffer.items() if buffered.peer == name])
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
        if self._states is None and self._cut_off:
            trouble = (
                f"no peer holds block {self._base + 1} any more: set sync.snapshot_blocks above 0 "
                "(node.toml) to fetch a state, or import the blocks from an archive"
            )
        requests = sum(1 for peer in self._peers.values() if peer.first)
        snapshot = self._states.progress if self._states is not None else None
        if self._states is not None and self._states.trouble:
            trouble = self._states.trouble
        sources = tuple([name for name, peer in self._peers.items() if peer.first])
        return SyncReport(
            self._chain.height(), proved, len(self._buffer), requests, snapshot, trouble, sources
        )

    # --- frames -------------------------------------------------------------------------------

    def _on_status(self, peer: Peer, status: SyncStatus) -> None:
        header, certificate = status.header, status.certificate
        if header.height != certificate.height or header_hash(header) != certificate.header_hash:
            raise ProofInvalid(f"status of height {header.height}: its certificate is of another header")
        peer.blocks_from = status.blocks_from
        if header.height <= peer.proved:
            return
        validators = self._chain.validators(header.height)
        if header.height > self._chain.height() and validators is None:
            peer.claimed = header.height
            return
        if header.height > self._chain.height() and validators is not None:
            check_certificate(certificate, self._chain_id, validators)
        peer.proved = header.height

    def _on_blocks(self, name: bytes, peer: Peer, answer: Blocks, now: int) -> None:
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
        if height <= self._base or height in self._buffer:
            return
        validators, own = self._validators_of(block)
        if validators is not None:
            check_certified(block, self._chain_id, validators, own)
        self._buffer[height] = BufferedBlock(block, name, size, checked=validators is not None)
        self._buffered_bytes += size

    def _validators_of(self, block: Block) -> tuple[Sequence[bytes] | None, Sequence[bytes]]:
        """Return who certifies the height of a block's certificate (None if not final), and the block's own.

        The latter is at or below the former, unless the block is wrong, which its check finds first.
        """
        own = self._chain.validators(block.header.height)
        return self._chain.validators(block.certificate.height), own if own is not None else ()

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
        return None if head is None else encode(SyncStatus(*head, self._chain.blocks_from()))

    def _step(self, now: int, send: tuple[Send, ...] = ()) -> SyncEffects:
        progress, height = self._progress, self._chain.height()
        if height != progress.height:
            progress.height, progress.moved_at = height, now
            progress.rejected_by.clear()
            progress.served_by = {at: name for at, name in progress.served_by.items() if at > height}
        self._release([at for at in self._buffer if at <= self._base])
        install = None
        if self._states is not None:
            asks, install = self._states.step(now, self._far_ahead())
            send += asks
        busy = self._states is not None and self._states.busy
        apply = () if busy else self._ready()
        requests = () if busy else self._requests(now)
        drops, self._drops = tuple(self._drops), []
        return SyncEffects(send + requests, apply, drops, install)

    @property
    def _least_gap(self) -> int:
        """How far above ours a height must be proved to be worth fetching its state."""
        return SNAPSHOT_LAG_MIN if self._cut_off else self._snapshot_lag << self._fetched

    @property
    def _cut_off(self) -> bool:
        """Whether somebody is ahead, but nobody says that it holds our next block."""
        above = self._base + 1
        ahead = [peer for peer in self._peers.values() if peer.best >= above]
        silent = [peer for peer in ahead if peer.blocks_from > above or peer.failures >= FAILURES_MANY]
        return len(silent) == len(ahead) and any(peer.blocks_from > above for peer in silent)

    def _far_ahead(self) -> list[bytes]:
        """Return the peers whose heights, if they are true, make a state worth fetching."""
        if all(peer.best <= self._base + FAR_BLOCKS for peer in self._peers.values()):
            self._fetched = 0
        least = self._chain.height() + self._least_gap
        return [name for name, peer in self._peers.items() if peer.best > least]

    def _ready(self) -> tuple[Block, ...]:
        """Take the checked blocks that follow on, once those handed over before are on the ledger."""
        ready: list[Block] = []
        if self._progress.handed > self._chain.height():
            return ()
        while len(ready) < APPLY_BLOCKS:
            buffered = self._buffer.get(self._base + 1)
            if buffered is None or not self._check_buffered(buffered):
                break
            height = buffered.block.header.height
            self._release([height])
            self._progress.handed = height
            self._progress.served_by[height] = buffered.peer
            ready.append(buffered.block)
        return tuple(ready)

    def _check_buffered(self, buffered: BufferedBlock) -> bool:
        """Check a block that came before its validator set was known."""
        if buffered.checked:
            return True
        block = buffered.block
        validators, own = self._validators_of(block)
        if validators is None and block.header.height > self._chain.height() + 1:
            return False
        try:
            if validators is None:  # they are known for all heights that can be in flight above the next one
                raise ProofInvalid(f"block {block.header.height}: its certificate lies above all in flight")
            check_certified(block, self._chain_id, validators, own)
        except AssentError as error:
            self._release([buffered.block.header.height])
            self._drops.append(Drop(buffered.peer, str(error)))
            self._peers.pop(buffered.peer, None)
            return False
        buffered.checked = True
        return True

    def _requests(self, now: int) -> tuple[Send, ...]:
        idle = [
            name
            for name, peer in self._peers.items()
            if not peer.first
            and now >= peer.not_before
            and peer.best > self._base
            and peer.blocks_from <= self._base + 1
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
        if self.follow or self._progress.handed > self._chain.height():
            return True
        lag = max(peer.best for peer in self._peers.values()) - self._chain.height()
        return lag >= FAR_BLOCKS or now - self._progress.moved_at >= GRACE_MS

    def _missing(self, asked: set[int], best: int) -> range:
        """Return the first run of heights that nobody was asked for, within every bound."""
        top = min(best, self._base + BUFFER_BLOCKS)
        if self._buffered_bytes > BUFFER_BYTES:
            top = min(top, self._base + 1)  # only the block that lets the buffer drain
        first = next(
            (at for at in range(self._base + 1, top + 1) if at not in asked and at not in self._buffer), 0
        )
        end = first
        while first and end <= top and end - first < RANGE_BLOCKS and end not in asked | self._buffer.keys():
            end += 1
        return range(first, end)

    def _release(self, heights: Iterable[int]) -> None:
        for height in heights:
            buffered = self._buffer.pop(height, None)
            self._buffered_bytes -= buffered.size if buffered is not None else 0
