"""One node: the composition root that joins network, pool, consensus, execution, ledger and RPC."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from chain.api.methods import method_table
from chain.api.metrics import Metrics
from chain.api.rpc import RpcServer
from chain.api.streams import Streams
from chain.config import NodeConfig, NodeFiles
from chain.ledger.block import Candidate, header_hash
from chain.ledger.genesis import Genesis
from chain.ledger.ledger import Ledger, LedgerDiverged
from chain.ledger.leveldb import LevelStore
from chain.ledger.mempool import Mempool, PoolBounds
from chain.ledger.refusals import Refused
from chain.ledger.store import DataDamaged, StorageFailed
from chain.network.frame import Kind
from chain.network.gossip import WANTED_MAX, Gossip, GossipEffects
from chain.network.manager import PeerManager
from chain.network.messages import Hello
from chain.network.sync import Sync, SyncEffects
from chain.node.admission import Admission, Verdict, is_forged
from chain.node.execution import Executor, Ordered
from chain.node.marker import FileMarker
from chain.node.orderer import Orderer
from chain.node.ports import GossipPool, PeerTransport, SyncChain
from chain.node.status import NodeStatus
from chain.node.votes import DurableVotes
from chain.primitives.certificate import Certificate
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import AssentError
from consensus.driver import Driver, Timing
from consensus.events import Candidate as Proposal
from consensus.events import Head
from consensus.rules import Rules
from contracts.runtime import ContractRuntime
from contracts.selfcheck import self_check

log = logging.getLogger("assent.node")

TICK_S = 0.1
FLUSH_S = 0.003
TIMER_SLACK_S = 0.001
IN_FLIGHT_MAX = 2
"""Heights proposed before the first is delivered: more would cut a loaded chain into small blocks."""
TRANSACTION_KINDS = frozenset({Kind.TXS, Kind.TX_IDS, Kind.TX_REQUEST, Kind.TX_ANSWER})
SYNC_KINDS = frozenset({Kind.STATUS, Kind.BLOCKS_REQUEST, Kind.BLOCKS})


class ValidatorHalted(AssentError):
    """Consensus stopped itself here because it cannot trust its memory: read the log, then restart."""

    code = "validator_halted"


def wall_ms() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def now_ms() -> int:
    """Return milliseconds of the monotonic clock."""
    return time.monotonic_ns() // 1_000_000


class Node:
    """A validator or observer; everything in it runs in one event loop, but for two worker threads."""

    def __init__(self, config: NodeConfig, files: NodeFiles, genesis: Genesis, key: PrivateKey) -> None:
        """Open the ledger and join the parts; nothing listens or connects until `run`."""
        self_check()
        self._config, self._files, self._genesis, self._key = config, files, genesis, key
        cache = config.cache
        self._store = LevelStore(
            files.data_dir, cache_mib=cache.leveldb_mib, write_buffer_mib=cache.leveldb_write_buffer_mib
        )
        self.metrics = Metrics()
        self.runtime = ContractRuntime()
        self.ledger = Ledger(self._store, genesis, self.runtime)
        bounds = config.mempool
        self.pool = Mempool(
            genesis.chain_id,
            genesis.limits,
            self.ledger.is_member,
            self.ledger.read.is_final,
            PoolBounds(bounds.max_transactions, bounds.max_bytes, bounds.max_per_sender),
        )
        self._marker = FileMarker(files.key.with_suffix(".voted"))
        self._votes = DurableVotes(self._store, self._marker)
        for candidate in self._votes.promised():
            self.pool.hold(candidate, verified=True)
        self._wanted: set[bytes] = set()
        self._orderer = Orderer(
            key.public, self.ledger, genesis.limits, self.pool, self._votes, wall_ms, self
        )
        self._admission = Admission(
            self.pool, lambda: self.ledger.head.height, self._wanted.__contains__, self._decided, self.metrics
        )
        self._executor = Executor(self.ledger, self.pool, self, self.metrics)
        self._gossip = Gossip(GossipPool(self.pool, self.ledger))
        self._sync = Sync(
            SyncChain(self.ledger), genesis.chain_id, follow=key.public not in genesis.validator_keys
        )
        self._peers = PeerManager(
            key,
            genesis.chain_id,
            config.network.listen,
            {validator.public_key: validator.address for validator in genesis.validators},
            self,
            head=lambda: self.ledger.certified_height,
            source=random.Random(os.urandom(16)),
            queue_bytes=config.network.send_queue_bytes,
        )
        self._driver = self._make_driver()
        self.streams = Streams(self.ledger)
        self.status = NodeStatus(
            genesis, key.public, self.ledger, self.pool, self._peers, self._sync, self._driver
        )
        self._rpc = RpcServer(
            config.rpc, method_table(self), self.streams, self.status.why_not_ready, self.metrics
        )
        self._timer: asyncio.Handle | None = None
        self._timer_due = 0.0
        self._flush: asyncio.TimerHandle | None = None
        self._stop: asyncio.Event = asyncio.Event()
        self._failure: BaseException | None = None

    def _make_driver(self) -> Driver:
        limits, pace = self._genesis.limits, self._config.consensus
        rules = Rules(
            self._genesis.chain_id, self.ledger.validator_keys_at, limits.consensus_window, limits.rotation
        )
        timing = Timing(
            timeout_ms=pace.view_timeout_ms,
            timeout_max_ms=max(pace.view_timeout_max_ms, pace.view_timeout_ms),
            batch_interval_ms=pace.batch_interval_ms,
            in_flight_max=IN_FLIGHT_MAX,
        )
        return Driver(
            rules=rules,
            signer=self._key,
            timing=timing,
            store=self._votes,
            transport=PeerTransport(self._peers),
            application=self._orderer,
            head=self._head(2 * limits.consensus_window),
            first_start=self._votes.first_start,
        )

    def _head(self, back: int) -> Head:
        """Return where the ledger stands, with what consensus remembers of the `back` heights below."""
        certified, top = self.ledger.certified_height, self.ledger.head.height
        found = {
            h: self.ledger.read.certificate(h) for h in range(max(1, certified - back + 1), certified + 1)
        }
        held = {height: item for height, item in found.items() if item is not None}
        open_heights = [*(found.keys() - held.keys()), *range(certified + 1, top + 1)]
        return Head(held.get(certified), {height: self._header_hash(height) for height in open_heights}, held)

    def _header_hash(self, height: int) -> bytes:
        header = self.ledger.read.header(height)
        if header is None:
            raise DataDamaged(f"ledger: header {height} is missing; run `assent node rebuild`")
        return header_hash(header)

    # --- running ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until SIGINT or SIGTERM; raise what made the node stop by itself."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        tasks = []
        try:
            await self._rpc.start()
            await self._peers.start()
            work = (self._admission.run(), self._executor.run(), self._tick_for_ever())
            tasks = [asyncio.create_task(self._guard(item)) for item in work]
            self._drive(self._driver.start)
            log.info(
                "node %s of chain %s (%s) at height %d; RPC on %s, peers on %s",
                self._key.public.hex()[:16], self._genesis.chain_name, self._genesis.chain_id.hex()[:16],
                self.ledger.certified_height, self._rpc.address, self._peers.listen,
            )  # fmt: skip
            await self._stop.wait()
        finally:
            await self._close(tasks)
        if self._failure is not None:
            raise self._failure
        log.info("stopped at height %d", self.ledger.certified_height)

    async def _close(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        await self._rpc.stop()
        await self._peers.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._admission.close()
        self._executor.close()
        self._marker.close()
        self._store.close()

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # a part that fails stops the node: it must not go on half alive
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            log.critical("the node stops: %s", error, exc_info=not isinstance(error, AssentError))
            self._failure = error
        self._stop.set()

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = now_ms()
            self._perform_gossip(self._gossip.tick(now))
            self._perform_sync(self._sync.tick(now))
            self.status.observe(self.metrics)

    # --- consensus --------------------------------------------------------------------------------

    def _drive(self, step: Callable[..., None], *args: Any) -> None:
        """Call the driver with the time; its own trouble stops the node, a peer's is raised."""
        try:
            step(*args, now_ms())
        except (StorageFailed, DataDamaged, LedgerDiverged) as error:
            self._fail(error)
            return
        self._arm_timer()

    def _arm_timer(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + max(0.0, (self._driver.next_deadline() - now_ms()) / 1000)
        if self._timer is not None:
            if self._timer_due <= due + TIMER_SLACK_S:
                return
            self._timer.cancel()
        self._timer, self._timer_due = loop.call_at(due, self._on_timer), due

    def _on_timer(self) -> None:
        self._timer = None
        self._drive(self._driver.on_tick)

    def want(self, tx_ids: Sequence[bytes], source: bytes) -> None:
        """Fetch transactions that a proposal names."""
        if len(self._wanted) + len(tx_ids) > WANTED_MAX:
            self._wanted.clear()  # named by proposals that came to nothing; live ones ask again
        self._wanted.update(tx_ids)
        self._perform_gossip(self._gossip.want(tx_ids, (source,) if source else (), now_ms()))

    def execute(self, height: int, payload: bytes) -> None:
        """Queue a delivered payload."""
        self._executor.put(Ordered(height, payload))

    def certified(self, certificate: Certificate) -> None:
        """Keep a certificate and tell those who wait for it."""
        self.ledger.certify(certificate)
        self.streams.advance()

    def behind(self, certificate: Certificate) -> None:
        """Ask peers for the blocks up to a certified height."""
        for peer in self._peers.connected:
            self._sync.claim(peer, certificate.height)
        self._perform_sync(self._sync.tick(now_ms()))

    def judged(self, candidate: Proposal, valid: bool) -> None:
        """Pass a late judgement to consensus."""
        self._drive(self._driver.checked, candidate, valid)

    def halted(self, reason: str) -> None:
        """Stop: a validator that cannot trust its own votes must not go on."""
        self._fail(ValidatorHalted(f"this validator stopped itself: {reason}"))

    # --- execution --------------------------------------------------------------------------------

    def executed(self, height: int, header_hash: bytes, settled: Sequence[bytes]) -> None:
        """Clear the pool of what a height settled and tell consensus."""
        self._settle(settled)
        self._drive(self._driver.executed, height, header_hash)

    def applied(self, certificate: Certificate, settled: Sequence[bytes]) -> None:
        """Tell consensus and catch-up that a block is on the ledger."""
        self._settle(settled)
        self._drive(self._driver.on_synced, certificate)
        self.streams.advance()
        self._perform_sync(self._sync.applied(now_ms()))

    def rejected(self, height: int, reason: str) -> None:
        """Drop the peer that served a bad block."""
        log.warning("block %d was refused: %s", height, reason)
        self._perform_sync(self._sync.rejected(height, now_ms()))

    def _settle(self, settled: Sequence[bytes]) -> None:
        self.pool.remove_committed(settled, self.ledger.head.height)
        self._votes.executed(settled)
        self._wanted.difference_update(settled)

    # --- transactions -----------------------------------------------------------------------------

    async def submit(self, encoded: Sequence[bytes]) -> list[Candidate | Refused]:
        """Take transactions of a client into the pool; return each, or why it was refused."""
        return await self._admission.submit(encoded)

    def _decided(self, verdicts: Sequence[Verdict]) -> None:
        now = now_ms()
        taken = [verdict for verdict in verdicts if verdict.refusal is None]
        own = [(item.candidate.id, item.candidate.raw) for item in taken if item.peer is None]
        if own:
            self._perform_gossip(self._gossip.submitted(own, now))
            if self._gossip.unflushed and self._flush is None:
                self._flush = asyncio.get_running_loop().call_later(FLUSH_S, self._flush_gossip)
        self._gossip.admitted([item.candidate.id for item in taken if item.peer is not None], now)
        for verdict in verdicts:
            if verdict.refusal is not None and verdict.peer is not None:
                forged = is_forged(verdict.refusal)
                self._perform_gossip(self._gossip.refused(verdict.candidate.id, now, forged=forged))
        if taken:
            self._orderer.arrived([item.candidate.id for item in taken])
            self._executor.arrived()
            self._drive(self._driver.requests_pending)

    def _flush_gossip(self) -> None:
        self._flush = None
        self._perform_gossip(self._gossip.flush())

    # --- peers (chain.network.registry.Handler) ---------------------------------------------------

    def on_connected(self, peer: bytes, hello: Hello) -> None:
        """Greet a peer: where we stand in consensus and blocks."""
        log.info("connected to %s at height %d", self.status.name_of(peer), hello.height)
        self._gossip.connected(peer)
        self._perform_sync(self._sync.connected(peer, now_ms()))
        self._drive(self._driver.on_connected, peer)

    def on_disconnected(self, peer: bytes, reason: str) -> None:
        """Forget a peer."""
        log.info("disconnected from %s: %s", self.status.name_of(peer), reason)
        self._gossip.disconnected(peer)
        self._sync.disconnected(peer)

    def on_frame(self, peer: bytes, kind: Kind, body: bytes) -> None:
        """Hand a frame to the part it is for."""
        if kind is Kind.CONSENSUS:
            self._drive(self._driver.on_message, peer, body)
        elif kind in TRANSACTION_KINDS:
            self._perform_gossip(self._gossip.on_frame(peer, kind, body, now_ms()))
        elif kind in SYNC_KINDS:
            self._perform_sync(self._sync.on_frame(peer, kind, body, now_ms()))

    def _perform_gossip(self, effects: GossipEffects) -> None:
        for send in effects.send:
            self._peers.multicast(send.peers, send.kind, send.body)
        for item in effects.received:
            self._admission.take(item.candidate, item.peer)
        for drop in effects.drop:
            self._peers.disconnect(drop.peer, drop.reason)

    def _perform_sync(self, effects: SyncEffects) -> None:
        for send in effects.send:
            self._peers.multicast(send.peers, send.kind, send.body)
        for block in effects.apply:
            self._executor.put(block)
        for drop in effects.drop:
            self._peers.disconnect(drop.peer, drop.reason)
