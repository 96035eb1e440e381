"""The ledger: executes what consensus ordered and keeps it, one synced write per height.

Writing: `execute` and `apply_block` run in whatever thread the node gives them, one at a time (a lock sees
to it); `certify` touches other rows and may run meanwhile. Reading: `read` and `prove` may be used from any
thread at any time; they see the last head that was written, never half a block.

Recovery: a height is one atomic write that includes the head row, so after kill -9 the ledger stands at some
height with all of its parts; opening checks that they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import TypeVar

from chain.ledger import rows
from chain.ledger.batches import BatchInvalid, BlockInvalid, batch_time, check_block, read_batch
from chain.ledger.block import Block, Candidate, Header, SkipDecision, header_hash, skip_digest
from chain.ledger.blockrows import Step, block_rows, make_header, next_head
from chain.ledger.executor import BatchContext, ChainRuntime, execute_batch, execute_genesis
from chain.ledger.finals import RecentIds
from chain.ledger.genesis import Genesis, Limits
from chain.ledger.passing import pass_over
from chain.ledger.prover import Prover
from chain.ledger.queries import Queries
from chain.ledger.rebuild import SYNC_EVERY, begin_rebuild, finish_rebuild, ordered
from chain.ledger.records import Row
from chain.ledger.recovery import check_directory, check_genesis_row
from chain.ledger.rows import Head
from chain.ledger.schedule import Announcement, Schedule, announce, founding, put_passed
from chain.ledger.skiprows import Skips
from chain.ledger.snapshot import complete_install
from chain.ledger.state import CachedState, NewestState, TreeState, member_of, node_loader
from chain.ledger.statenode import Ref
from chain.ledger.statetree import StateTree
from chain.ledger.store import Store, check_format
from chain.ledger.window import executed_at, window_writes
from chain.primitives.certificate import Certificate, Epoch, check_certificate, validators_hash
from chain.primitives.codec import encode
from chain.primitives.errors import AssentError, Exit
from chain.primitives.execution import UNKNOWN_SENDER

T = TypeVar("T")
SENDERS_MAX = 10_000


class LedgerDiverged(AssentError):
    """This node computed something other than a quorum certified: stop it and compare versions and disks."""

    code = "ledger_diverged"
    exit = Exit.DAMAGED


class NotNext(AssentError):
    """A height out of turn: the text says which one the ledger takes next."""

    code = "not_next"


@dataclass(frozen=True, slots=True)
class _Tip:
    """The newest height; replaced as a whole, so that readers in other threads see one moment."""

    head: Head
    header: Header
    root: Ref | None
    settled: list[bytes]
    """Ids whose fate this height decided."""


class Ledger:
    """One chain in one store."""

    def __init__(
        self, store: Store, genesis: Genesis, runtime: ChainRuntime, *, rebuilding: bool = False
    ) -> None:
        """Open the chain, or create it when the store is empty.

        With `rebuilding`, what `begin_rebuild` left is the start: a head without anything above it, or
        nothing, so that height 0 is made anew.
        Raises WrongGenesis, DataDamaged (parts disagree), DataNewer, and what the runtime raises.
        """
        self.genesis, self.store = genesis, store
        self.read = Queries(store)
        self.schedule = Schedule(store)
        self.prove = Prover(store, self.read, self.schedule)
        self.skips = Skips(store, genesis.chain_id)
        self._runtime = runtime
        self._refusals: dict[bytes, str] = {}
        """Whether keys may sign, as asked for since the contract `orgs` last wrote anything."""
        self.members_revision = 0
        """Grows with every height that may have changed who may sign."""
        self._start_state(None)
        self._executing = Lock()
        self._certifying = Lock()
        self._certified = 0
        self.replacing = False
        """Whether the state is being exchanged, so that reads may see half of each."""
        self.replaced = 0
        """How often that was done; a read that began before may miss what it looks for."""
        check_format(store)
        if not check_genesis_row(store, genesis) or (rebuilding and store.get(rows.HEAD_KEY) is None):
            self._create()
        elif rebuilding:
            self._stand_at(self.read.head())
        else:
            complete_install(store)
            self._open()

    def _open(self) -> None:
        head, _, self._certified = check_directory(self.store, self.read)
        self._stand_at(head)

    def _stand_at(self, head: Head) -> None:
        header = self.read.header(head.height)
        assert header is not None  # check_directory, or begin_rebuild, compared it with the head
        root = self.read.tree_root(head.height)
        self._start_state(root, head.height)
        self._tip = _Tip(head, header, root, self.read.settled(head.height))
        self._refusals = {}
        self.members_revision += 1
        self.schedule.load()
        self.skips.load(head.height)

    def _start_state(self, root: Ref | None, head: int = -1) -> None:
        self._recent = RecentIds.of(TreeState(self.store, root), head)
        self._tree = StateTree(node_loader(self.store))
        self._state = CachedState(self.store, self._tree, root)

    def warm(self, more: Callable[[], bool]) -> None:
        """Read the newest state into memory while there is room and `more` says so; raise DataDamaged."""
        self._tree.warm(self._tip.root, more)

    @classmethod
    def rebuild(
        cls,
        store: Store,
        genesis: Genesis,
        runtime: ChainRuntime,
        progress: Callable[[int, int], None] = lambda _height, _target: None,
    ) -> Ledger:
        """Derive state, receipts and indexes again from the stored batches; ends at the same headers.

        `progress` is told (height, last height). Raises DataDamaged when batches are missing, LedgerDiverged
        when a height executes to another header than before.
        """
        base, target = begin_rebuild(store, genesis)
        ledger = cls(store, genesis, runtime, rebuilding=True)
        for height in range(base + 1, target + 1):
            ledger._replay(height)
            progress(height, target)
        ledger._certified = finish_rebuild(store, target)
        return ledger

    # --- where it stands --------------------------------------------------------------------------

    @property
    def chain_id(self) -> bytes:
        """The 32 bytes that name the chain."""
        return self.genesis.chain_id

    @property
    def head(self) -> Head:
        """The newest executed height, its header hash, and totals."""
        return self._tip.head

    @property
    def head_header(self) -> Header:
        """The header of the newest executed height."""
        return self._tip.header

    def settled(self, height: int) -> list[bytes]:
        """Return the ids whose fate an executed height decided: what a pool may drop."""
        tip = self._tip
        return tip.settled if height == tip.head.height else self.read.settled(height)

    @property
    def certified_height(self) -> int:
        """The newest height with a certificate; 0 at the start."""
        return self._certified

    @property
    def settled_height(self) -> int:
        """The highest height whose validators and limits are known for good: head + consensus window."""
        return self._tip.head.height + self.genesis.limits.consensus_window

    @property
    def limits(self) -> Limits:
        """The limits of the next height."""
        return self.schedule.limits_at(self._tip.head.height + 1)

    @property
    def announced(self) -> bool:
        """Whether a change of validators or limits is announced and not in force at the next height yet."""
        return self.schedule.newest() > self._tip.head.height + 1

    def epoch_at(self, height: int) -> Epoch:
        """Return the validators of a height and since when they are in force; see `settled_height`."""
        return self.schedule.epoch_at(height)

    def passed_over_at(self, height: int) -> tuple[bytes, ...]:
        """Return who does not lead at a height though it validates, the latest charged last."""
        return self.schedule.passed_over(height)

    def validator_keys_at(self, height: int) -> tuple[bytes, ...]:
        """Return the public keys of those who certify a height, in primary order."""
        return self.schedule.set_at(height).keys

    def is_final(self, tx_id: bytes) -> bool:
        """Tell whether a transaction was decided in the last `WINDOW` heights; older ones have expired."""
        return tx_id in self._recent and self.read.is_final(tx_id)

    def signer_refusal(self, public_key: bytes) -> str:
        """Return why a key may not sign now (`SIGNER_REFUSALS`), "" when it may; what the pool asks."""
        known = self._refusals
        refusal = known.get(public_key)
        if refusal is None:
            member = member_of(NewestState(self.store), public_key)
            refusal = UNKNOWN_SENDER if member is None else member.refusal
            if len(known) >= SENDERS_MAX:
                known.clear()
            known[public_key] = refusal
        return refusal

    def replace(self, change: Callable[[], T]) -> T:
        """Let `change` exchange what the store holds, with every writer shut out, and open it anew.

        What it leaves must be a ledger again; see `chain.ledger.snapshot`.
        """
        with self._executing, self._certifying:
            self.replacing = True
            try:
                result = change()
            finally:
                self._open()
                self.replaced += 1
                self.replacing = False
        return result

    # --- executing --------------------------------------------------------------------------------

    def execute(self, height: int, payload: bytes, transactions: Sequence[Candidate]) -> Header:
        """Execute what consensus ordered at the next height and store it in one synced write.

        The transactions' signatures have been verified. A height that was executed before with the same
        payload answers with its header (a batch may arrive twice, from consensus and from catch-up).
        Raises NotNext, BatchInvalid (transactions are not the batch's), LedgerDiverged.
        """
        with self._executing:
            if height <= self._tip.head.height:
                return self._repeated(height, payload)
            skip = self.skips.of(height, payload, [candidate.id for candidate in transactions])
            step, announced = self._step(height, payload, transactions, skip)
            self._store(step, announced, [])
            return step.header

    def add_skip(self, decision: SkipDecision) -> bool:
        """Keep a skip decision until its height is executed; False if it was here; see `Skips.add`."""
        with self._executing:
            return self.skips.add(
                decision, self._tip.head.height, self.settled_height, self.validator_keys_at
            )

    def certify(self, certificate: Certificate) -> None:
        """Store a height's certificate; raise ProofInvalid, NotNext (not executed yet), LedgerDiverged."""
        height, head = certificate.height, self._tip.head.height
        if not 1 <= height <= head:
            raise NotNext(
                f"certificate of height {height}: the ledger has executed 1..{head}; execute it first"
            )
        with self._certifying:
            if self._replaced(height):
                return
            check_certificate(certificate, self.chain_id, self.validator_keys_at(height))
            self._check_own_hash(self.read.header(height), height, certificate.header_hash)
            self._put_certificate(certificate)

    def apply_block(self, block: Block, *, signatures_checked: bool = False) -> bool:
        """Check, execute and store a certified block of another node; return False if it was here already.

        `signatures_checked` says that the caller verified the transactions' signatures (in threads).
        Raises NotNext, ProofInvalid or BlockInvalid (the peer is at fault), LedgerDiverged (we are).
        """
        height = block.header.height
        with self._executing, self._certifying:
            if self._replaced(height):
                return False
            parent = self.read.header(height - 1) if height else None
            if parent is None:
                raise NotNext(f"block {height}: the ledger takes {self._tip.head.height + 1} next")
            if block.certificate.height > self.settled_height:
                raise BlockInvalid(
                    f"block {height}: its certificate is further above than heights are in flight"
                )
            validators = self.validator_keys_at(block.certificate.height)
            check_certificate(block.certificate, self.chain_id, validators)
            candidates = check_block(
                block,
                parent.time,
                chain_id=self.chain_id,
                validators=self.validator_keys_at(height),
                signatures_checked=signatures_checked,
            )
            if height <= self._tip.head.height:
                self._check_own_header(self.read.header(height), block.header)
                if not block.above:
                    self._put_certificate(block.certificate)
                return False
            step, announced = self._step(height, block.payload, candidates, block.skip)
            self._check_own_header(step.header, block.header)
            if block.above:  # nobody may ever have a certificate of this very height
                self._store(step, announced, [])
            else:
                self._store(step, announced, self._certificate_rows(block.certificate))
                self._certified = height
            return True

    def _replaced(self, height: int) -> bool:
        """Tell whether a state took the place of this height: whoever still brings it is not at fault."""
        return 0 < height <= self._tip.head.height and height < self.read.holding.now().blocks

    def _create(self) -> None:
        genesis = self.genesis
        execution = execute_genesis(self._runtime, genesis)
        entry = executed_at(0, None, execution)
        announced = founding(genesis)
        writes = {**execution.writes, **window_writes(0, entry), **announced.entries}
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
        step = Step(header, b"", (), execution, change, next_head(header, entry))
        self._store(step, announced, [(rows.GENESIS_KEY, encode(genesis))])

    def _replay(self, height: int) -> None:
        former = self.read.header(height)
        step, announced = self._step(height, *ordered(self.read, height, former))
        if former is not None and former != step.header:
            raise LedgerDiverged(
                f"height {height}: executes to {step.head.header_hash.hex()[:16]}, before it was "
                f"{header_hash(former).hex()[:16]}; install the Assent version that this chain runs"
            )
        self._store(step, announced, [], sync=height % SYNC_EVERY == 0)

    def _step(
        self, height: int, payload: bytes, candidates: Sequence[Candidate], skip: SkipDecision | None = None
    ) -> tuple[Step, Announcement]:
        """Execute the next height without storing anything; `skip` was checked against this batch."""
        tip = self._tip
        if height != tip.head.height + 1:
            raise NotNext(f"height {height}: the ledger takes {tip.head.height + 1} next")
        batch = read_batch(payload, height)
        if (batch.tx_ids if batch else ()) != tuple(candidate.id for candidate in candidates):
            raise BatchInvalid(f"batch of height {height}: these are not its transactions, in its order")
        time = batch_time(batch, tip.header.time)
        context = BatchContext(height, time, self.schedule.limits_at(height), self.is_final)
        if skip is not None:
            ids = frozenset(skip.skip.tx_ids)
            context = replace(context, skipped=ids, skip_reason=skip.skip.reason)
        execution = execute_batch(self._runtime, self._state, context, candidates)
        entry = executed_at(height, tip.head, execution)
        announced = announce(self.schedule, self.genesis, height, execution.writes)
        founded = self.genesis.limits
        window, rotation = founded.consensus_window, founded.rotation
        if passed := pass_over(self.schedule, height, tip.header, batch, window, rotation):
            put_passed(announced, passed)
        named = announced.sets[0] if announced.sets else self.schedule.set_at(self.settled_height + 1)
        writes = {**execution.writes, **window_writes(height, entry), **announced.entries}
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
            skip_digest(self.chain_id, skip.skip) if skip else None,
        )
        step = Step(header, payload, candidates, execution, change, next_head(header, entry), skip)
        return step, announced

    def _store(self, step: Step, announced: Announcement, more: list[Row], *, sync: bool = True) -> None:
        change, height = step.change, step.header.height
        puts, gone = self.skips.rows_of(height, step.skip)
        self.store.write(
            [*more, *puts, *block_rows(step)], [*change.deletes, *gone], records=change.records, sync=sync
        )
        self.skips.executed(height)
        self._recent.add(step.execution.final)
        self._state.remember(step.execution.writes, change)
        self.schedule.extend(announced)
        self._tip = _Tip(step.head, step.header, change.root, step.execution.settled)
        if any(namespace == "orgs" for namespace, _ in step.execution.writes):
            self._refusals = {}  # whoever reads the former state meanwhile fills the former dict
            self.members_revision += 1

    def _repeated(self, height: int, payload: bytes) -> Header:
        header = self.read.header(height)
        if header is None or self.read.payload(height) != payload:
            raise LedgerDiverged(
                f"height {height}: executed before with another batch; stop this node and compare its "
                "disk with its peers'"
            )
        return header

    # --- certificates -----------------------------------------------------------------------------

    def _check_own_header(self, own: Header | None, certified: Header) -> None:
        self._check_own_hash(own, certified.height, header_hash(certified))

    def _check_own_hash(self, header: Header | None, height: int, certified: bytes) -> None:
        if header is None or header_hash(header) != certified:
            own = "no header" if header is None else header_hash(header).hex()[:16]
            raise LedgerDiverged(
                f"height {height}: this node has {own}, a quorum certified "
                f"{certified.hex()[:16]}; stop this node. If the validators skipped transactions there, see "
                "docs/skip.md; else compare its version with the others' and run `assent node rebuild`"
            )

    def _put_certificate(self, certificate: Certificate) -> None:
        if self.read.certificate(certificate.height) is None:
            self.store.write(self._certificate_rows(certificate), sync=True)
            self._certified = max(self._certified, certificate.height)

    def _certificate_rows(self, certificate: Certificate) -> list[Row]:
        found = [(rows.at(rows.CERTIFICATE, certificate.height), encode(certificate))]
        if certificate.height > self._certified:
            found.append((rows.CERTIFIED_KEY, certificate.height.to_bytes(8, "big")))
        return found
