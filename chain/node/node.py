"""One node at its edges: sockets, threads, clocks, signals and RPC around a core (`chain.node.core`)."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from chain.api.accesslog import AccessLog
from chain.api.lane import Lane
from chain.api.methods.table import method_table
from chain.api.metrics import Metrics
from chain.api.port_tls import rpc_tls
from chain.api.principals import Everybody, KnownPrincipals, Principals, write_operator_token
from chain.api.server import RpcServer
from chain.api.sessions import MemberSessions
from chain.api.streams import Streams
from chain.api.tokens import TokenFile
from chain.api.waits import Waits
from chain.config import CONNECTIONS_MIN, NodeConfig, NodeFiles
from chain.ledger.block import DecodedTransaction, header_hash
from chain.ledger.genesis import Genesis
from chain.ledger.ledger import Ledger
from chain.ledger.store.leveldb import LevelStore
from chain.mempool.mempool import PoolBounds
from chain.mempool.refusals import TransactionRefused
from chain.network.frame import Kind
from chain.network.manager import PeerManager
from chain.network.messages import Hello
from chain.node.budget import LOWER, descriptor_parts
from chain.node.core import IN_FLIGHT_MAX, NodeCore
from chain.node.keys import KeyRing, marker_of
from chain.node.marker import FileMarker
from chain.node.membership import accepted
from chain.node.ports import Ports
from chain.node.signedskips import SignedSkips
from chain.node.status import NodeStatus
from chain.node.threads import ThreadWorkers
from chain.node.traffic import NODE_PRICES
from chain.node.upkeep import Upkeep, check_archive
from chain.primitives.certificate import fault_bound
from chain.primitives.crypto import ZERO_HASH
from chain.primitives.descriptors import budget_descriptors
from chain.primitives.errors import AssentError
from chain.primitives.headstatement import head_to_json, sign_head
from chain.primitives.reopening import also_reopen
from consensus.settings import Timing
from contracts.runtime import ContractRuntime
from contracts.selfcheck import self_check

log = logging.getLogger("assent.node")
T = TypeVar("T")

OBSERVE_S = 0.5
"""How often a node looks at itself; at 0.1, that was more than a quarter of what an idle one did."""
TIMER_SLACK_S = 0.001
YOUNG_OBJECTS = 20_000
SPARE_RETRY_MS = 60_000
"""A spare key that could not be made (a full disk, a full folder) is tried again so often."""
WARM_S = 3.0
"""Reading the state into memory at the start takes no longer."""


def _introducer(text: str) -> tuple[bytes, str]:
    key, _, address = text.partition("@")
    return bytes.fromhex(key), address


class MachineClock:
    """`chain.node.ports.Clock` of this machine."""

    def now_ms(self) -> int:
        """Return milliseconds of the monotonic clock."""
        return time.monotonic_ns() // 1_000_000

    def wall_ms(self) -> int:
        """Return milliseconds since the epoch."""
        return time.time_ns() // 1_000_000


class Node:
    """A validator or observer; everything in it runs in one event loop, but for two worker threads."""

    def __init__(
        self,
        config: NodeConfig,
        files: NodeFiles,
        genesis: Genesis,
        *,
        keys: KeyRing | None = None,
        peers: type[PeerManager] = PeerManager,
    ) -> None:
        """Open the ledger and join the parts; nothing listens or connects until `run`.

        `keys` remembers which of the node's keys this process has tried; a first node of a process has none.
        """
        self_check()
        check_archive(files.archive_dir)
        self._keys, self._genesis = keys or KeyRing(files), genesis
        cache = config.cache
        self._store = LevelStore(
            files.data_dir, cache_mib=cache.leveldb_mib, write_buffer_mib=cache.leveldb_write_buffer_mib
        )
        self.metrics = Metrics()
        self.runtime = ContractRuntime()
        self.ledger = Ledger(self._store, genesis, self.runtime)
        parts = descriptor_parts(config, len(accepted(self.ledger)))
        budget_descriptors(parts, LOWER, config.rpc.max_connections - CONNECTIONS_MIN)
        start = time.monotonic()
        self.ledger.warm(lambda: time.monotonic() < start + WARM_S)
        self.streams, self.lane = Streams(self.ledger), Lane()
        self.waits = Waits(config.rpc.max_connections)
        self._clock = MachineClock()
        self._identity = self._keys.choose(self.ledger)
        self._key = key = self._identity.key
        self._marker = FileMarker(marker_of(self._identity.file), key.public)
        self._workers = ThreadWorkers(self._enter, self._fail, self.metrics.execution.observe)
        self._peers = self._make_peers(config, peers)
        self._core = self._make_core(config, files)
        self.pool = self._core.pool
        data, clock = files.data_dir, self._clock.now_ms
        self.status = NodeStatus(
            key.public, self._core, self._peers, clock, str(data), lambda: shutil.disk_usage(data).free,
            self._keys.says, self._keys.all,
        )  # fmt: skip
        self._lonely_since = self._clock.now_ms()
        self._forget_hangups: Callable[[], None] = _nothing
        self.sessions: MemberSessions | None = None
        tls, certificate = (
            rpc_tls(files.rpc_pair, key, self._clock.wall_ms()) if config.rpc.tls else (None, b"")
        )
        principals = self._make_principals(config, files, certificate)
        self._rpc = RpcServer(
            config.rpc, method_table(self), self.streams, self.status.why_not_ready, self.metrics,
            principals=principals, tls=tls, head=self._say_head, access=self._make_access_log(config, files),
        )  # fmt: skip
        self._timer: asyncio.Handle | None = None
        self._timer_due = 0.0
        self._stop: asyncio.Event = asyncio.Event()
        self._failure: BaseException | None = None
        self._spare_at = 0
        self._again = False
        """Whether to go on under another key."""

    def _make_peers(self, config: NodeConfig, peers: type[PeerManager]) -> PeerManager:
        """Return the links to other nodes, which know whom the ledger accepts."""
        return peers(
            self._key,
            self._genesis.chain_id,
            config.network.listen,
            {node.public_key: node.address for node in accepted(self.ledger).values()},
            self,
            head=lambda: self.ledger.certified_height,
            source=random.Random(os.urandom(16)),
            introducers=dict(map(_introducer, config.network.introducers)),
            queue_bytes=config.network.send_queue_bytes,
            prices=NODE_PRICES,
        )

    def _make_core(self, config: NodeConfig, files: NodeFiles) -> NodeCore:
        pace, bounds = config.consensus, config.mempool
        return NodeCore(
            self.ledger,
            self._key,
            Ports(self._clock, self._peers, self._workers, self, self._marker, os.urandom),
            timing=Timing(
                timeout_ms=pace.view_timeout_ms,
                timeout_max_ms=pace.view_timeout_max_ms,
                batch_interval_ms=pace.batch_interval_ms,
                in_flight_max=IN_FLIGHT_MAX,
            ),
            bounds=PoolBounds(bounds.max_transactions, bounds.max_bytes, bounds.max_per_sender),
            snapshot_lag=config.sync.snapshot_blocks,
            upkeep=Upkeep(self.ledger, config.storage.keep_blocks, files.archive_dir),
            signed=SignedSkips(self._identity.file),
        )

    def _say_head(self) -> dict[str, Any]:
        """Say and sign which certified header this node has, and when."""
        height = self.ledger.certified_height
        header = self.ledger.read.header(height)
        hashed = ZERO_HASH if header is None else header_hash(header)
        chain, now = self._genesis.chain_id, self._clock.wall_ms()
        return head_to_json(sign_head(self._key, chain, height, hashed, now))

    def _make_access_log(self, config: NodeConfig, files: NodeFiles) -> AccessLog | None:
        """Return the log of who asks what, if one is wanted, which a hangup opens anew."""
        if files.access_log is None:
            return None
        made = AccessLog(
            files.access_log,
            config.rpc.access_lines_per_second,
            shared=config.rpc.principals,
            now=time.monotonic,
            wall_ms=self._clock.wall_ms,
            lost=self.metrics.dropped.labels("rpc_access_log").inc,
        )
        self._forget_hangups = also_reopen(made.reopen)
        return made

    def _make_principals(self, config: NodeConfig, files: NodeFiles, certificate: bytes) -> Principals:
        """Return who may ask; `certificate` is what the port shows in TLS, in DER, if it does."""
        if not config.rpc.principals:
            return Everybody()
        wall_ms = self._clock.wall_ms
        self.sessions = MemberSessions(self.ledger, self._key.public, config.rpc.members, wall_ms)
        if certificate:
            self.sessions.certificate = sha256(certificate).digest()
        tokens = TokenFile(files.tokens)
        return KnownPrincipals(tokens, write_operator_token(files.operator_token), self.sessions, wall_ms)

    # --- running ----------------------------------------------------------------------------------

    async def run(self) -> bool:
        """Serve until SIGINT or SIGTERM; raise what made the node stop by itself.

        Tells whether the node shall begin again at once under another key: another node then takes over the
        ledger, so nothing of what one key said and knew is left when the other begins to speak.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        tasks = []
        try:
            await self._rpc.start()
            await self._peers.start()
            tasks = [asyncio.create_task(self._guard(self._observe_for_ever()))]
            self._enter(self._core.start)
            _tune_collector()
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
        if not self._again:
            log.info("stopped at height %d", self.ledger.certified_height)
        return self._again

    async def _close(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        self._forget_hangups()
        await self._rpc.stop()
        await self._peers.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        self.lane.close()
        self._workers.close()
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

    async def _observe_for_ever(self) -> None:
        while True:
            await asyncio.sleep(OBSERVE_S)
            self.status.observe(self.metrics)
            self._try_other_key()
            self._ready_spare()

    # --- which key --------------------------------------------------------------------------------

    def membership_changed(self) -> None:
        """Go on under the key that the ledger moved this node's seat to."""
        chosen = self._keys.knows_better(self.ledger, self._key.public)
        if chosen is not None:
            self._go_on_under(chosen)

    def _try_other_key(self) -> None:
        """With nobody who talks to us under this key, try another of ours.

        Our seat may have moved while we were away, or before our data was lost: then everyone knows it but
        our own ledger.
        """
        now = self._clock.now_ms()
        validators = self.ledger.epoch_at(self.ledger.certified_height + 1).validators
        if self._peers.connected:
            self._keys.taken()
        if self._peers.connected or validators == (self._key.public,):
            self._lonely_since = now
            return
        refused = len(self._peers.refused_by) > fault_bound(len(validators))
        if now - self._lonely_since > self._keys.wait_ms(refused=refused):
            self._lonely_since = now
            other = self._keys.not_taken(self._key.public, refused=refused)
            if other is not None:
                self._go_on_under(other)

    def _ready_spare(self) -> None:
        """Make the key that shall take our seat, once it is certain that it is ours and its votes are lost.

        Before, a node with an empty directory knows neither which of its keys holds the seat nor which are
        dead. Where the seat moves to one of our keys already, that one is all it needs.
        """
        ledger, driver, me = self.ledger, self._core.driver, self._key.public
        settled = ledger.head.height == ledger.certified_height
        if not driver.muted or self.status.spare is not None or not settled:
            return
        now = self._clock.now_ms()
        if now < self._spare_at or any(key in accepted(ledger) for key in self._keys.all() if key != me):
            return
        try:
            self.status.spare = self._keys.spare(self._identity.file, ledger.schedule.never_again)
        except (AssentError, OSError) as error:
            self._spare_at = now + SPARE_RETRY_MS
            log.error("no spare key for the seat of this node: %s", error)

    def _go_on_under(self, public: bytes) -> None:
        log.info("going on under the key %s", public.hex()[:16])
        self._again = True
        self._stop.set()

    # --- around the core --------------------------------------------------------------------------

    def _enter(self, call: Callable[..., T], *args: Any) -> T:
        """Call the core, then arm the timer for what it waits for now."""
        try:
            return call(*args)
        finally:
            self._arm_timer()

    def _arm_timer(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + max(0.0, (self._core.next_deadline() - self._clock.now_ms()) / 1000)
        if self._timer is not None:
            if self._timer_due <= due + TIMER_SLACK_S:
                return
            self._timer.cancel()
        self._timer, self._timer_due = loop.call_at(due, self._on_timer), due

    def _on_timer(self) -> None:
        self._timer = None
        try:
            self._enter(self._core.on_time)
        except Exception as error:
            self._fail(error)

    async def submit(self, encoded: Sequence[bytes]) -> list[DecodedTransaction | TransactionRefused]:
        """Take transactions of a client into the pool; return each, or why it was refused."""
        answer: asyncio.Future[list[DecodedTransaction | TransactionRefused]] = (
            asyncio.get_running_loop().create_future()
        )

        def decided(results: list[DecodedTransaction | TransactionRefused]) -> None:
            if not answer.done():
                answer.set_result(results)

        self._enter(self._core.submit, encoded, decided)
        return await answer

    # --- chain.node.ports.Host --------------------------------------------------------------------

    def failed(self, error: BaseException) -> None:
        """Stop the node: its core cannot go on."""
        self._fail(error)

    def certified(self) -> None:
        """Tell those who wait for new blocks."""
        self.streams.advance()

    # --- peers (chain.network.registry.Handler) ---------------------------------------------------

    def on_connected(self, peer: bytes, hello: Hello) -> None:
        """Tell the core of a peer."""
        log.info("connected to %s at height %d", self.status.name_of(peer), hello.height)
        self._enter(self._core.on_connected, peer)

    def on_disconnected(self, peer: bytes, reason: str) -> None:
        """Tell the core that a peer is gone."""
        if not self._stop.is_set():
            log.info("disconnected from %s: %s", self.status.name_of(peer), reason)
        self._core.on_disconnected(peer)

    def on_frame(self, peer: bytes, kind: Kind, body: bytes) -> bool:
        """Hand a frame to the core; tell whether it was of any use."""
        return self._enter(self._core.on_frame, peer, kind, body)


def _nothing() -> None:
    """Do nothing, where there is nothing to forget."""


def _tune_collector() -> None:
    """Let the cycle collector look seldom, and only at what is new: 10 µs a transaction less."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
