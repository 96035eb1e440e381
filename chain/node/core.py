"""One node without its edges: joins pool, consensus, execution, gossip, catch-up and ledger.

No clock, socket, thread or disk of its own: frames and time come in, and everything that leaves goes through
the ports (`chain.node.ports`). The production node (`chain.node.node`) and the simulator run this same code.
All methods are called by one thread. After each call the keeper arms one timer for `next_deadline()`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from chain.ledger.block import DecodedTransaction, header_hash
from chain.ledger.history.snapshot import StateLoad
from chain.ledger.ledger import Ledger
from chain.ledger.store.faults import DataDamaged, StorageFailed
from chain.ledger.writer import LedgerDiverged
from chain.mempool.mempool import Mempool, PoolBounds
from chain.mempool.refusals import TransactionRefused
from chain.network.effects import Drop, Send
from chain.network.frame import Kind
from chain.network.gossip import WANTED_MAX, Gossip, GossipEffects
from chain.network.prices import AVOIDABLE_MS, REFUSED_MS
from chain.network.serving import REQUEST_KINDS
from chain.network.statesync import STATE_KINDS, StateSync
from chain.network.sync import BlockSync
from chain.network.syncstate import SyncEffects
from chain.node.execution_queue import ExecutionQueue, Ordered
from chain.node.halt import ValidatorHalted
from chain.node.intake import AdmissionOutcome, Intake, is_avoidable, is_forged
from chain.node.membership import accepted
from chain.node.orderer import Orderer
from chain.node.ports import GossipPool, PeerTransport, Ports, StateLoads, SyncChain
from chain.node.signedskips import SignedSkips
from chain.node.upkeep import Upkeep
from chain.node.votes import DurableVotes
from chain.primitives.certificate import Certificate
from chain.primitives.crypto import Signer
from consensus.driver import Driver
from consensus.events import Candidate, Head
from consensus.messages import NONCE_BYTES
from consensus.rules import Rules
from consensus.settings import Timing

log = logging.getLogger("assent.node")

T = TypeVar("T")
TICK_MS = 100
LEAVE_MS = 2_000
"""How long a removed node stays connected after the set without it is in force: it learns that by then."""
FLUSH_MS = 3
IN_FLIGHT_MAX = 2
"""Heights proposed before the first is delivered: more would cut a loaded chain into small blocks."""
OWN_TROUBLE = (StorageFailed, DataDamaged, LedgerDiverged)
"""What a frame may bring to light and no peer is at fault for."""
TRANSACTION_KINDS = frozenset({Kind.TXS, Kind.TX_IDS, Kind.TX_REQUEST, Kind.TX_ANSWER})
SYNC_KINDS = REQUEST_KINDS | STATE_KINDS | {Kind.STATUS, Kind.BLOCKS}


class NodeCore:
    """A validator or observer over an open ledger."""

    def __init__(
        self,
        ledger: Ledger,
        signer: Signer,
        ports: Ports,
        *,
        timing: Timing,
        bounds: PoolBounds,
        snapshot_lag: int = 0,
        upkeep: Upkeep | None = None,
        signed: SignedSkips | None = None,
    ) -> None:
        """Join the parts and read the durable votes; raise VotesDamaged. Nothing is sent until `start`.

        A node more than `snapshot_lag` heights behind fetches a state instead of blocks; with 0, never.
        `upkeep` prunes between blocks. `signed` is what the signer's key signed of skips.
        """
        self.ledger, self._signer, self._timing = ledger, signer, timing
        self._clock, self._network, self._host = ports.clock, ports.network, ports.host
        genesis = ledger.genesis
        self.pool = Mempool(genesis.chain_id, ledger.limits, ledger.signer_refusal, ledger.is_final, bounds)
        self._votes = DurableVotes(ledger.store, signer.public, ports.marker)
        for candidate in self._votes.pinned():
            self.pool.hold(candidate, verified=True)
        self._wanted: set[bytes] = set()
        self._wanted_dropped = 0
        self._orderer = Orderer(signer.public, ledger, self.pool, self._votes, self._clock.wall_ms, self)
        self.admission = Intake(
            self.pool, lambda: ledger.head.height, self._wanted.__contains__, self._decided, ports.workers
        )
        self._upkeep = upkeep
        promised = {} if signed is None else signed.above(ledger.head.height)
        self._executor = ExecutionQueue(ledger, self.pool, self, ports.workers, self._clock.now_ms, promised)
        self.gossip = Gossip(GossipPool(self.pool, ledger))
        self.sync = BlockSync(
            SyncChain(ledger),
            genesis.chain_id,
            follow=not self.votes,
            states=StateSync(StateLoads(ledger), genesis) if snapshot_lag else None,
            snapshot_lag=snapshot_lag,
        )
        self._members: dict[bytes, str] = {}
        self._screened_by = (ledger.limits, ledger.members_revision)
        """Limits and keys that the pool was screened by last."""
        self._membership = (0, 0)
        """What the membership was last derived from."""
        self._leave_at: int | None = None
        self.driver = self._make_driver(ports.entropy(NONCE_BYTES))
        self._tick_at = 0
        self._flush_at: int | None = None

    @property
    def votes(self) -> bool:
        """Whether this node is a validator at the next height to be certified."""
        return self._signer.public in self.ledger.epoch_at(self.ledger.certified_height + 1).validators

    def _make_driver(self, nonce: bytes) -> Driver:
        genesis, limits = self.ledger.genesis, self.ledger.genesis.limits
        return Driver(
            rules=Rules(
                genesis.chain_id,
                self.ledger.epoch_at,
                lambda: self.ledger.settled_height,
                limits.consensus_window,
                limits.rotation,
                self.ledger.passed_over_at,
            ),
            signer=self._signer,
            timing=self._timing,
            store=self._votes,
            transport=PeerTransport(self._network),
            application=self._orderer,
            head=self._head(2 * limits.consensus_window),
            first_start=self._votes.first_start,
            nonce=nonce,
        )

    def _head(self, back: int) -> Head:
        """Return where the ledger stands, with what consensus remembers of the `back` heights below."""
        certified, top = self.ledger.certified_height, self.ledger.head.height
        found = {
            h: self.ledger.read.certificate(h) for h in range(max(1, certified - back + 1), certified + 1)
        }
        held = {height: item for height, item in found.items() if item is not None}
        # a snapshot brought no headers further down, and no other certificates
        lacking = [height for height in found.keys() - held.keys() if self.ledger.read.header(height)]
        open_heights = [*lacking, *range(certified + 1, top + 1)]
        return Head(
            held.get(certified),
            {height: self._header_hash(height) for height in open_heights},
            held,
            {height: self._payload(height) for height in range(certified + 1, top + 1)},
        )

    def _payload(self, height: int) -> bytes:
        payload = self.ledger.read.payload(height)
        if payload is None:
            raise DataDamaged(f"ledger: the batch of height {height} is missing; run `assent node rebuild`")
        return payload

    def _header_hash(self, height: int) -> bytes:
        header = self.ledger.read.header(height)
        if header is None:
            raise DataDamaged(f"ledger: header {height} is missing; run `assent node rebuild`")
        return header_hash(header)

    # --- time -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin: say where we stand to whoever is connected already."""
        if self.unfinished:
            log.critical("%s", self.unfinished)
        self._tick_at = self._clock.now_ms() + TICK_MS
        self._follow_membership()
        self._drive(self.driver.start)

    def next_deadline(self) -> int:
        """Return when `on_time` is due at the latest, in milliseconds of the monotonic clock."""
        due = min(self._tick_at, self.driver.next_deadline())
        if self._flush_at is not None and self._flush_at < due:
            due = self._flush_at
        asks = self._executor.next_deadline()
        return due if asks is None or asks > due else asks

    def on_time(self) -> None:
        """Do what is due by the clock: gossip, catch-up, pruning, timers; call at `next_deadline`."""
        now = self._clock.now_ms()
        if self._flush_at is not None and now >= self._flush_at:
            self._flush_at = None
            self._perform_gossip(self.gossip.flush())
        if now >= self._tick_at:
            self._tick_at = now + TICK_MS
            self._perform_gossip(self.gossip.tick(now))
            self._perform_sync(self.sync.tick(now))
            self._let_go(now)
            if self._upkeep is not None:
                self._executor.tend(self._upkeep)
        self._executor.on_time(now)
        if now >= self.driver.next_deadline():
            self._drive(self.driver.on_tick)

    # --- consensus (chain.node.orderer.Node) ------------------------------------------------------

    def _drive(self, step: Callable[..., T], *args: Any) -> T | None:
        """Call the driver with the time; its own trouble stops the node, a peer's is raised."""
        try:
            return step(*args, self._clock.now_ms())
        except Exception as error:
            if not self.driver.status(self._clock.now_ms())["halted"]:
                raise
            self._host.failed(error)
            return None

    def want(self, tx_ids: Sequence[bytes], source: bytes) -> None:
        """Fetch transactions that a proposal names."""
        if len(self._wanted) + len(tx_ids) > WANTED_MAX:
            self._wanted_dropped += len(self._wanted)
            self._wanted.clear()  # named by proposals that came to nothing; live ones ask again
        self._wanted.update(tx_ids)
        self._perform_gossip(self.gossip.want(tx_ids, (source,) if source else (), self._clock.now_ms()))

    def forward(self, encoded: Sequence[bytes], primary: bytes, *, widely: bool) -> None:
        """Send transactions to the primary, which seems to lack them, or to everyone."""
        self._perform_gossip(self.gossip.forward(encoded, primary, widely=widely))

    def execute(self, height: int, payload: bytes) -> None:
        """Queue a delivered payload."""
        self._executor.put(Ordered(height, payload))

    def certified(self, certificate: Certificate) -> None:
        """Keep a certificate and tell those who wait for it."""
        self.ledger.certify(certificate)
        log.debug("height %d is certified", certificate.height)
        self._host.certified()
        self._follow_membership()

    def behind(self, certificate: Certificate) -> None:
        """Ask peers for the blocks up to a certified height."""
        for peer in self._network.connected:
            self.sync.claim(peer, certificate.height)
        self._perform_sync(self.sync.tick(self._clock.now_ms()))

    def judged(self, candidate: Candidate, valid: bool) -> None:
        """Pass a late judgement to consensus."""
        self._drive(self.driver.checked, candidate, valid)

    def accused(self, key: bytes, kind: str) -> None:
        """End the connection of a validator that contradicted itself: it is not heard for a while."""
        if key != self._signer.public:
            self._network.disconnect(key, f"signed two conflicting {kind} messages")

    def halted(self, reason: str) -> None:
        """Stop: a validator that cannot trust its own votes must not go on."""
        self._host.failed(ValidatorHalted(f"this validator stopped itself: {reason}"))

    # --- execution (chain.node.execution_queue.Listener) ------------------------------------------------

    def executed(self, height: int, header_hash: bytes, decided: Sequence[bytes]) -> None:
        """Clear the pool of what a height decided and tell consensus."""
        self._drop_decided(decided)
        self._orderer.arrived(decided)
        self._orderer.executed()
        self._drive(self.driver.executed, height, header_hash)

    def applied(self, certificate: Certificate | None, decided: Sequence[bytes]) -> None:
        """Tell catch-up that a block is on the ledger, and consensus, once one with a certificate is."""
        self._drop_decided(decided)
        self._orderer.arrived(decided)
        if certificate is not None:
            self._drive(self.driver.on_synced, certificate)
            self._host.certified()
        self._perform_sync(self.sync.applied(self._clock.now_ms()))

    def rejected(self, height: int, reason: str) -> None:
        """Drop the peer that served a bad block."""
        log.warning("block %d was refused: %s", height, reason)
        self._perform_sync(self.sync.rejected(height, self._clock.now_ms()))

    def installed(self, load: StateLoad) -> None:
        """Go on above a state that took the place of the ledger's."""
        log.info("the state of height %d is installed", load.height)
        known = [*self.pool.ids(), *self._votes.pinned_ids()]
        final = [tx_id for tx_id in known if self.ledger.is_final(tx_id)]
        self._drop_decided(final)
        self._orderer.arrived(final)
        self._drive(self.driver.on_synced, load.anchor.certificate)
        self._host.certified()
        self._perform_sync(self.sync.installed(self._clock.now_ms()))

    def _drop_decided(self, decided: Sequence[bytes]) -> None:
        lapsed = self._votes.executed(decided, self.ledger.certified_height)
        self._follow_membership()
        if unpinned := self.pool.not_waiting(lapsed):  # held for batches that came to nothing
            named = self._executor.named() | self._orderer.named()
            decided = [*decided, *[tx_id for tx_id in unpinned if tx_id not in named]]
        self.pool.remove_committed(decided, self.ledger.head.height, self._votes)
        rules = (self.ledger.limits, self.ledger.members_revision)
        if rules != self._screened_by:
            self._screened_by = rules
            self.pool.rescreen(self.ledger.head.height, self._votes)
        self._wanted.difference_update(decided)

    def lacking(self) -> list[bytes]:
        """Return the transactions that batches name and that are not here."""
        return list(dict.fromkeys([*self._executor.lacking(), *self._orderer.lacking()]))

    @property
    def unfinished(self) -> str:
        """What height earlier processes of this node began and never finished, and what to do; else empty."""
        return self._executor.says()

    @property
    def unpruned(self) -> str:
        """Why nothing is pruned though there is something to prune; empty while all is well."""
        return "" if self._upkeep is None else self._upkeep.trouble

    @property
    def skews_ms(self) -> Mapping[bytes, int]:
        """Proposer -> how far its last proposal was ahead of our clock, in milliseconds."""
        return self._orderer.skews_ms

    def drops(self) -> dict[str, int]:
        """Return how much each bounded queue has given up so far; outboxes count their own."""
        return {
            "verify": self.admission.dropped,
            "pool_held": self.pool.dropped_held,
            "gossip": self.gossip.dropped,
            "proposals": self._orderer.dropped,
            "wanted": self._wanted_dropped,
            "consensus_answers": self.driver.dropped_answers,
            "consensus_deletes": self.driver.dropped_deletes,
        }

    # --- membership -------------------------------------------------------------------------------

    def _follow_membership(self) -> None:
        """Take up what the ledger says of nodes and limits; asked at every height, mostly nothing changed."""
        ledger = self.ledger
        self.pool.limits = ledger.limits
        seen = (ledger.schedule.revision, ledger.epoch_at(ledger.certified_height + 1).first)
        if seen == self._membership:
            return
        self._membership = seen
        self.sync.follow = not self.votes
        wanted = {key: node.address for key, node in accepted(ledger).items()}
        leaving = self._members.keys() - wanted.keys()
        self._leave_at = self._clock.now_ms() + LEAVE_MS if leaving else None
        self._network.set_members({**dict.fromkeys(leaving, ""), **wanted})
        self._members = wanted
        self._host.membership_changed()

    def _let_go(self, now: int) -> None:
        """Close the connections of removed nodes, once they had time to hear that they are out."""
        if self._leave_at is not None and now >= self._leave_at:
            self._leave_at = None
            self._network.set_members(self._members)

    # --- transactions -----------------------------------------------------------------------------

    def submit(
        self,
        encoded: Sequence[bytes],
        answer: Callable[[list[DecodedTransaction | TransactionRefused]], None],
    ) -> None:
        """Take transactions of a client into the pool; `answer` hears each, or why it was refused."""
        self.admission.submit(encoded, answer)

    def _decided(self, verdicts: Sequence[AdmissionOutcome]) -> None:
        now = self._clock.now_ms()
        taken = [verdict for verdict in verdicts if verdict.refusal is None]
        own = [(item.candidate.id, item.candidate.raw) for item in taken if item.peer is None]
        if own:
            self._perform_gossip(self.gossip.submitted(own, now))
            if self.gossip.unflushed and self._flush_at is None:
                self._flush_at = now + FLUSH_MS
        self.gossip.admitted([item.candidate.id for item in taken if item.peer is not None], now)
        for verdict in verdicts:
            if verdict.refusal is not None and verdict.peer is not None:
                blamed = is_avoidable(verdict.refusal)
                cost = AVOIDABLE_MS if blamed else REFUSED_MS
                self._network.charge(verdict.peer, Kind.TXS.name, cost, blamed=blamed)
                forged = is_forged(verdict.refusal)
                self._perform_gossip(self.gossip.refused(verdict.candidate.id, now, forged=forged))
        if taken:
            self._orderer.arrived([item.candidate.id for item in taken])
            self._executor.arrived()
            self._drive(self.driver.requests_pending)

    # --- peers ------------------------------------------------------------------------------------

    def on_connected(self, peer: bytes) -> None:
        """Greet a peer: where we stand in consensus and blocks."""
        self.gossip.connected(peer)
        self._perform_sync(self.sync.connected(peer, self._clock.now_ms()))
        self._drive(self.driver.on_connected, peer)

    def on_disconnected(self, peer: bytes) -> None:
        """Forget a peer."""
        self.gossip.disconnected(peer)
        self.sync.disconnected(peer)

    def on_frame(self, peer: bytes, kind: Kind, body: bytes) -> bool:
        """Hand a frame to the part it is for; tell whether it was of any use.

        Raises an AssentError when the peer is at fault.
        """
        try:
            return self._take_frame(peer, kind, body)
        except OWN_TROUBLE as error:
            self._host.failed(error)
            return True

    def _take_frame(self, peer: bytes, kind: Kind, body: bytes) -> bool:
        if kind is Kind.CONSENSUS:
            return self._drive(self.driver.on_message, peer, body) is not False
        if kind in TRANSACTION_KINDS:
            effects = self.gossip.on_frame(peer, kind, body, self._clock.now_ms())
            self._perform_gossip(effects)
            return kind is not Kind.TXS or bool(effects.received)
        if kind in SYNC_KINDS:
            self._perform_sync(self.sync.on_frame(peer, kind, body, self._clock.now_ms()))
        return True

    def _perform_gossip(self, effects: GossipEffects) -> None:
        self._send(effects.send)
        if effects.received:
            self.admission.take([(item.candidate, item.peer) for item in effects.received])
        self._drop(effects.drop)

    def _perform_sync(self, effects: SyncEffects) -> None:
        self._send(effects.send)
        for block in effects.apply:
            self._executor.put(block)
        if effects.install is not None:
            self._executor.install(effects.install)
        self._drop(effects.drop)

    def _send(self, sends: Iterable[Send]) -> None:
        for send in sends:
            self._network.multicast(send.peers, send.kind, send.body)

    def _drop(self, drops: Iterable[Drop]) -> None:
        for drop in drops:
            self._network.disconnect(drop.peer, drop.reason)
