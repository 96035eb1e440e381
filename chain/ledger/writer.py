"""Ledger writer: executes the next height and stores it in one write; its memory follows the store.

It knows no certificates and no locks: `chain.ledger.ledger` shuts out a second caller and decides whose
result counts, `chain.ledger.history.rebuild` drives it over heights that are stored already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chain.ledger.batch_executor import BatchContext, ChainRuntime, execute_batch, execute_genesis
from chain.ledger.batches import BatchInvalid, batch_time, read_batch_of
from chain.ledger.block import DecodedTransaction, Header, SkipDecision, skip_digest
from chain.ledger.blockcheck import check_next
from chain.ledger.blockrows import Step, block_rows, next_head
from chain.ledger.genesis import Genesis
from chain.ledger.header import make_header
from chain.ledger.passing import pass_over
from chain.ledger.queries import Queries
from chain.ledger.recent_ids import RecentIds
from chain.ledger.replay_protection import was_decided
from chain.ledger.schedule import Schedule, announce, founding, put_passed
from chain.ledger.signers import signer_in
from chain.ledger.skiprows import Skips
from chain.ledger.state.node import Ref
from chain.ledger.state.state import CachedState, NewestState, TreeState, node_loader
from chain.ledger.state.tree import StateTree
from chain.ledger.store import rows
from chain.ledger.store.port import Store
from chain.ledger.store.records import Row
from chain.ledger.store.rows import LedgerHead
from chain.ledger.validity_window import summary_of, summary_writes
from chain.primitives.boundedcache import BoundedCache
from chain.primitives.certificate import validators_hash
from chain.primitives.codec import encode
from chain.primitives.contractrecords import ORGS
from chain.primitives.errors import AssentError, Exit
from chain.primitives.runtimeport import UNKNOWN_SENDER

SENDERS_MAX = 10_000
"""Senders whose standing is remembered."""


class LedgerDiverged(AssentError):
    """This node computed something other than a quorum certified: stop it and compare versions and disks."""

    code = "ledger_diverged"
    exit = Exit.DAMAGED


@dataclass(frozen=True, slots=True)
class Tip:
    """Newest height; replaced as a whole, so that readers in other threads see one moment."""

    head: LedgerHead
    header: Header
    root: Ref | None
    decided_ids: list[bytes]
    """Ids whose fate this height decided."""


class LedgerWriter:
    """Executes and stores one height after another, in one thread at a time; any thread reads `tip`."""

    def __init__(self, store: Store, genesis: Genesis, runtime: ChainRuntime, *, empty: bool) -> None:
        """Stand at the head of a store whose parts agree, or make height 0 in an `empty` one."""
        self.store, self.genesis = store, genesis
        self.read = Queries(store)
        self.schedule = Schedule(store)
        self.skips = Skips(store, genesis.chain_id)
        self._runtime = runtime
        self.members_revision = 0
        """Grows with every height that may have changed who may sign."""
        self._start_state(None)
        if empty:
            self.put(self._founding(), [(rows.GENESIS_KEY, encode(genesis))])
        else:
            self.reopen()

    def reopen(self) -> None:
        """Stand at the head of the store, whatever stood there before (`chain.ledger.history.recovery`)."""
        head = self.read.head()
        header = self.read.header(head.height)
        assert header is not None  # whoever opens the store compared it with the head
        root = self.read.tree_root(head.height)
        self._start_state(root, head.height)
        self.tip = Tip(head, header, root, self.read.decided_ids(head.height))
        self.members_revision += 1
        self.schedule.load()
        self.skips.load(head.height)

    def _start_state(self, root: Ref | None, head: int = -1) -> None:
        self.recent_ids = RecentIds.of(TreeState(self.store, root), head)
        self._tree = StateTree(node_loader(self.store))
        self._state = CachedState(self.store, self._tree, root)
        self._refusals: BoundedCache[bytes, str] = BoundedCache(SENDERS_MAX)

    def warm(self, more: Callable[[], bool]) -> None:
        """Read the newest state into memory while there is room and `more` says so; raise DataDamaged."""
        self._tree.warm(self.tip.root, more)

    @property
    def settled_height(self) -> int:
        """The highest height whose validators and limits are known for good: head + consensus window."""
        return self.tip.head.height + self.genesis.limits.consensus_window

    def is_final(self, tx_id: bytes) -> bool:
        """Tell whether a transaction was decided in the validity window; older ones have expired."""
        return was_decided(tx_id, self.recent_ids, self.read.is_final)

    def signer_refusal(self, public_key: bytes) -> str:
        """Return why a key may not sign now, a code, "" when it may; kept until `orgs` changes."""
        return self._refusals.get_or_make(public_key, self._refusal_now)

    def _refusal_now(self, public_key: bytes) -> str:
        signer = signer_in(NewestState(self.store), public_key)
        return UNKNOWN_SENDER if signer is None else signer.refusal

    def _founding(self) -> Step:
        """Make height 0 from the genesis."""
        genesis = self.genesis
        execution = execute_genesis(self._runtime, genesis)
        entry = summary_of(0, None, execution)
        announced = founding(genesis)
        writes = {**execution.writes, **summary_writes(0, entry), **announced.entries}
        change = self._state.change(0, writes, self.store.records())
        header = make_header(
            genesis.chain_id,
            None,
            0,
            genesis.time,
            None,
            execution,
            change.root,
            validators_hash(genesis.validator_keys),
            genesis.protocol_version,
        )
        return Step(header, b"", (), execution, change, next_head(header, entry), announced)

    def execute(
        self,
        height: int,
        payload: bytes,
        transactions: Sequence[DecodedTransaction],
        skip: SkipDecision | None = None,
    ) -> Step:
        """Execute the next height without storing anything; `skip` was checked against this batch.

        Raises NotNext, BatchInvalid (transactions are not the batch's).
        """
        tip = self.tip
        check_next(height, tip.head.height)
        batch = read_batch_of(payload, height)
        if (batch.tx_ids if batch else ()) != tuple([tx.id for tx in transactions]):
            raise BatchInvalid(f"batch of height {height}: these are not its transactions, in its order")
        time = batch_time(batch, tip.header.time)
        context = BatchContext(height, time, self.schedule.limits_at(height), self.is_final)
        if skip is not None:
            ids = frozenset(skip.skip.tx_ids)
            context = replace(context, skipped=ids, skip_reason=skip.skip.reason)
        execution = execute_batch(self._runtime, self._state, context, transactions)
        entry = summary_of(height, tip.head, execution)
        announced = announce(self.schedule, self.genesis, height, execution.writes)
        founded = self.genesis.limits
        window, rotation = founded.consensus_window, founded.rotation
        if passed := pass_over(self.schedule, height, tip.header, batch, window, rotation):
            put_passed(announced, passed)
        named = announced.sets[0] if announced.sets else self.schedule.set_at(self.settled_height + 1)
        writes = {**execution.writes, **summary_writes(height, entry), **announced.entries}
        change = self._state.change(height, writes, self.store.records())
        header = make_header(
            tip.head.header_hash,
            tip.header,
            height,
            time,
            batch,
            execution,
            change.root,
            validators_hash(named.keys),
            self.genesis.protocol_version,
            skip_digest(self.genesis.chain_id, skip.skip) if skip else None,
        )
        head = next_head(header, entry)
        return Step(header, payload, transactions, execution, change, head, announced, skip)

    def put(self, step: Step, more: Sequence[Row] = (), *, sync: bool = True) -> None:
        """Store an executed height, and more rows, in one write, and stand there."""
        change, height = step.change, step.header.height
        puts, gone = self.skips.rows_of(height, step.skip)
        self.store.write(
            [*more, *puts, *block_rows(step)], [*change.deletes, *gone], records=change.records, sync=sync
        )
        self.skips.executed(height)
        self.recent_ids.add(step.execution.final)
        self._state.remember(step.execution.writes, change)
        self.schedule.extend(step.announced)
        self.tip = Tip(step.head, step.header, change.root, step.execution.decided_ids)
        if any(namespace == ORGS for namespace, _ in step.execution.writes):
            self._refusals = BoundedCache(
                SENDERS_MAX
            )  # who reads the former state meanwhile fills the former
            self.members_revision += 1
