"""Ledger: executes what consensus ordered and keeps it, one synced write a height.

Writing: `execute` and `apply_block` run in whatever thread the node gives them, one at a time (a lock sees
to it); `certify` touches other rows and may run meanwhile. Reading: `read` and `prove` may be used from any
thread at any time; they see the last head that was written, never half a block.

Recovery: a height is one atomic write that includes the head row, so after kill -9 the ledger stands at some
height with all of its parts; opening checks that they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import TypeVar

from chain.ledger.batch_executor import ChainRuntime
from chain.ledger.block import Block, DecodedTransaction, Header, SkipDecision, header_hash
from chain.ledger.blockcheck import BlockInvalid, NotNext, check_certified, check_signatures, check_time
from chain.ledger.genesis import Genesis, Limits
from chain.ledger.history.recovery import check_directory, check_genesis_row
from chain.ledger.history.snapshot import complete_install
from chain.ledger.proof.prover import Prover
from chain.ledger.store import rows
from chain.ledger.store.port import Store, check_format
from chain.ledger.store.records import Row
from chain.ledger.store.rows import LedgerHead
from chain.ledger.writer import LedgerDiverged, LedgerWriter
from chain.primitives.certificate import Certificate, Epoch, check_certificate
from chain.primitives.codec import encode

T = TypeVar("T")


class Ledger:
    """One chain in one store."""

    def __init__(self, store: Store, genesis: Genesis, runtime: ChainRuntime) -> None:
        """Open the chain, or create it when the store is empty.

        Raises WrongGenesis, DataDamaged (parts disagree), DataNewer, and what the runtime raises.
        """
        self.genesis, self.store = genesis, store
        check_format(store)
        empty = not check_genesis_row(store, genesis)
        if not empty:
            complete_install(store)
        self._certified = 0 if empty else check_directory(store)
        self._writer = writer = LedgerWriter(store, genesis, runtime, empty=empty)
        self.read, self.schedule, self.skips = writer.read, writer.schedule, writer.skips
        self.prove = Prover(store, self.read, self.schedule)
        self._executing = Lock()
        self._certifying = Lock()
        self.replacing = False
        """Whether the state is being exchanged, so that reads may see half of each."""
        self.replaced = 0
        """How often that was done; a read that began before may miss what it looks for."""

    def warm(self, more: Callable[[], bool]) -> None:
        """Read the newest state into memory while there is room and `more` says so; raise DataDamaged."""
        self._writer.warm(more)

    # --- where it stands --------------------------------------------------------------------------

    @property
    def chain_id(self) -> bytes:
        """The 32 bytes that name the chain."""
        return self.genesis.chain_id

    @property
    def head(self) -> LedgerHead:
        """The newest executed height, its header hash, and totals."""
        return self._writer.tip.head

    @property
    def head_header(self) -> Header:
        """The header of the newest executed height."""
        return self._writer.tip.header

    def decided_ids(self, height: int) -> list[bytes]:
        """Return the ids whose fate an executed height decided: what a pool may drop."""
        tip = self._writer.tip
        return tip.decided_ids if height == tip.head.height else self.read.decided_ids(height)

    @property
    def certified_height(self) -> int:
        """The newest height with a certificate; 0 at the start."""
        return self._certified

    @property
    def settled_height(self) -> int:
        """The highest height whose validators and limits are known for good: head + consensus window."""
        return self._writer.settled_height

    @property
    def limits(self) -> Limits:
        """The limits of the next height."""
        return self.schedule.limits_at(self._writer.tip.head.height + 1)

    @property
    def announced(self) -> bool:
        """Whether a change of validators or limits is announced and not in force at the next height yet."""
        return self.schedule.newest() > self._writer.tip.head.height + 1

    def epoch_at(self, height: int) -> Epoch:
        """Return the validators of a height and since when they are in force; see `settled_height`."""
        return self.schedule.epoch_at(height)

    def passed_over_at(self, height: int) -> tuple[bytes, ...]:
        """Return who does not lead at a height though it validates, the latest charged last."""
        return self.schedule.passed_over(height)

    def validator_keys_at(self, height: int) -> tuple[bytes, ...]:
        """Return the public keys of those who certify a height, in primary order."""
        return self.schedule.set_at(height).keys

    @property
    def members_revision(self) -> int:
        """Grows with every height that may have changed who may sign."""
        return self._writer.members_revision

    def is_final(self, tx_id: bytes) -> bool:
        """Tell whether a transaction was decided in the validity window; older ones have expired."""
        return self._writer.is_final(tx_id)

    def signer_refusal(self, public_key: bytes) -> str:
        """Return why a key may not sign now (`SIGNER_REFUSALS`), "" when it may; what the pool asks."""
        return self._writer.signer_refusal(public_key)

    def replace(self, change: Callable[[], T]) -> T:
        """Let `change` exchange what the store holds, with every writer shut out, and open it anew.

        What it leaves must be a ledger again; see `chain.ledger.history.snapshot`.
        """
        with self._executing, self._certifying:
            self.replacing = True
            try:
                result = change()
            finally:
                self._certified = check_directory(self.store)
                self._writer.reopen()
                self.replaced += 1
                self.replacing = False
        return result

    # --- executing --------------------------------------------------------------------------------

    def execute(self, height: int, payload: bytes, transactions: Sequence[DecodedTransaction]) -> Header:
        """Execute what consensus ordered at the next height and store it in one synced write.

        The transactions' signatures have been verified. A height that was executed before with the same
        payload answers with its header (a batch may arrive twice, from consensus and from catch-up).
        Raises NotNext, BatchInvalid (transactions are not the batch's), LedgerDiverged.
        """
        with self._executing:
            if height <= self._writer.tip.head.height:
                return self._repeated(height, payload)
            skip = self.skips.of(height, payload, [tx.id for tx in transactions])
            step = self._writer.execute(height, payload, transactions, skip)
            self._writer.put(step)
            return step.header

    def add_skip(self, decision: SkipDecision) -> bool:
        """Keep a skip decision until its height is executed; False if it was here; see `Skips.add`."""
        with self._executing:
            return self.skips.add(
                decision, self._writer.tip.head.height, self.settled_height, self.validator_keys_at
            )

    def certify(self, certificate: Certificate) -> None:
        """Store a height's certificate; raise ProofInvalid, NotNext (not executed yet), LedgerDiverged."""
        height, head = certificate.height, self._writer.tip.head.height
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
        Raises NotNext, ProofInvalid (the peer is at fault; BlockInvalid is one), LedgerDiverged (we are).
        """
        height = block.header.height
        with self._executing, self._certifying:
            if self._replaced(height):
                return False
            parent = self.read.header(height - 1) if height else None
            if parent is None:
                raise NotNext(f"block {height}: the ledger takes {self._writer.tip.head.height + 1} next")
            if block.certificate.height > self.settled_height:
                raise BlockInvalid(
                    f"block {height}: its certificate is further above than heights are in flight"
                )
            certifiers = self.validator_keys_at(block.certificate.height)
            transactions = check_certified(block, self.chain_id, certifiers, self.validator_keys_at(height))
            check_time(block, parent.time)
            if not signatures_checked:
                check_signatures(height, transactions)
            if height <= self._writer.tip.head.height:
                self._check_own_header(self.read.header(height), block.header)
                if not block.above:
                    self._put_certificate(block.certificate)
                return False
            step = self._writer.execute(height, block.payload, transactions, block.skip)
            self._check_own_header(step.header, block.header)
            if block.above:  # nobody may ever have a certificate of this very height
                self._writer.put(step)
            else:
                self._writer.put(step, self._certificate_rows(block.certificate))
                self._certified = height
            return True

    def _replaced(self, height: int) -> bool:
        """Tell whether a fetched state replaced this height: whoever still brings it is not at fault."""
        return 0 < height <= self._writer.tip.head.height and height < self.read.pruned.below().blocks

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
