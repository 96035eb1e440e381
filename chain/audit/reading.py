"""Reads an audit package once, from front to back, and checks each record when it comes.

So a file costs what it proves: the first records that prove nothing end the reading, whatever the file claims
of itself. What is kept in memory is bounded by `ENTRIES_MAX`, `STATES_MAX` and `KEPT_BYTES_MAX`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from chain.audit.container import PackageMalformed, RecordReader
from chain.audit.evidence import caused_by
from chain.audit.records import (
    ENTRIES_MAX,
    KEPT_BYTES_MAX,
    PACKAGE_VERSION,
    STATES_MAX,
    Caused,
    Contents,
    ExecutedProof,
    OrderedProof,
    PackageHead,
    RecordKind,
    SetProof,
    SkipSigned,
    Span,
    Stated,
    StateRow,
    TransactionRow,
)
from chain.audit.skips import check_skip
from chain.ledger import schedule
from chain.ledger.block import (
    EventEntry,
    Header,
    Receipt,
    Skip,
    SkipDecision,
    Transaction,
    entry_hash,
    header_hash,
    rolling_hash,
    signature_holds,
    transaction_id,
)
from chain.ledger.genesis import Genesis
from chain.ledger.proof.proofs import HEADERS_MAX, HeaderProof
from chain.ledger.proof.verifier import ProofVerifier, check_state_proof
from chain.ledger.state.proof import StateProof
from chain.ledger.subjects import NAMESPACE, log_key, read_log
from chain.primitives import merkle
from chain.primitives.certificate import Certificate, quorum
from chain.primitives.codec import decode, encode
from chain.primitives.errors import DecodeError, ProofInvalid
from chain.primitives.runtimeport import map_key

TRANSACTIONS_MAX = 2 * ENTRIES_MAX
"""Those that caused entries, and those by which keys saw what was done."""
Check = Callable[[str, Callable[[], object]], bool]


class ForeignPackage(ProofInvalid):
    """A package of another chain than the genesis that was given: name that chain's genesis."""

    code = "package_foreign"


class Unreadable(ProofInvalid):
    """Reading ended: too much of a package is broken, or its order is."""


@dataclass(frozen=True, slots=True)
class Proved:
    """What is used of a proved header."""

    batch_root: bytes
    receipts_root: bytes
    state_root: bytes
    header: Header | None
    """The header itself where it names a skip decision."""


class PackageReading:
    """One reading of a package against a genesis."""

    def __init__(self, file: BinaryIO, genesis: Genesis, check: Check) -> None:
        """`check` runs a check under the name of a part, counts it, and tells whether it holds.

        Raises PackageDamaged.
        """
        self._records = RecordReader(file)
        self._genesis, self._check = genesis, check
        self._verifier = ProofVerifier(genesis)
        self._headers: dict[int, Proved] = {}
        self._used: set[int] = set()
        self._order: tuple[Any, ...] = (-1,)
        self._log = (0, bytes(32))
        self._kept = 0
        self.certified = 0
        """The highest height that a certificate of the package is over."""
        self.statements: list[Stated] = []
        self.log_shown: set[int] = set()
        """Heights at which the state of the subject's log was shown."""
        self.loose: set[bytes] = set()
        """Transactions that caused no entry of the range."""

    def run(self) -> Contents:
        """Return what the package says; raise PackageMalformed, ForeignPackage, or what `check` raises."""
        contents = self._head()
        genesis = self._records.take(RecordKind.GENESIS, Genesis)
        self._check("genesis", lambda: self._same_genesis(genesis))
        contents.spans.append(Span(0, self._genesis.validators))
        while self._records.peek() is RecordKind.VALIDATORS:
            self._set(contents, self._records.take(RecordKind.VALIDATORS, SetProof))
        while self._records.peek() is RecordKind.STATEMENT:
            contents.statements.append(self._records.take(RecordKind.STATEMENT, Stated))
        while self._records.peek() in (RecordKind.HEADER, RecordKind.LINK):
            self._run(contents)
        while self._records.peek() is not None:
            self._height(contents)
        contents.content_hash = self._records.content_hash
        return contents

    def _head(self) -> Contents:
        head = self._records.take(RecordKind.HEAD, PackageHead)
        if head.version != PACKAGE_VERSION:
            raise PackageMalformed(f"package version {head.version}: this Assent reads {PACKAGE_VERSION}")
        if head.chain_id != self._genesis.chain_id:
            raise ForeignPackage(
                f"it is of chain {head.chain_id.hex()}, the genesis given has {self._genesis.chain_id.hex()}"
            )
        if head.first > head.last or head.first == 1:
            raise PackageMalformed(
                f"heights {head.first}..{head.last}: not a range; one that begins at 1 begins at 0"
            )
        return Contents(head.subject, head.first, head.last, self._genesis)

    def _same_genesis(self, genesis: Genesis) -> None:
        if encode(genesis) != encode(self._genesis):
            raise ProofInvalid("the package's genesis is not the one given")

    # --- who certifies

    def _set(self, contents: Contents, item: SetProof) -> None:
        if not self._check("validators", lambda: self._follow(item)):
            raise Unreadable("no later height can be proved without it")
        nodes = decode(schedule.ValidatorSet, item.nodes).validators
        contents.spans.append(Span(item.change.first, nodes))

    def _follow(self, item: SetProof) -> None:
        change, what = item.change, f"validators from height {item.change.first}"
        certificate = change.header.certificate
        self._check_quorum(certificate)
        self._verifier.follow(change)
        root = change.header.headers[0].state_root
        key = map_key(schedule.SETS, change.first.to_bytes(8, "big"))
        check_state_proof(what, root, schedule.NAMESPACE, key, item.nodes, item.proof)
        nodes = decode(schedule.ValidatorSet, item.nodes).validators
        if tuple([node.public_key for node in nodes]) != change.validators:
            raise ProofInvalid(f"{what}: the state entry that names their nodes has other keys")

    def _check_quorum(self, certificate: Certificate) -> None:
        needed = quorum(len(self._verifier.validators_at(certificate.height)))
        if len(certificate.signatures) != needed:
            raise ProofInvalid(
                f"certificate of height {certificate.height}: {len(certificate.signatures)} signatures, "
                f"expected a quorum, {needed}, and no more"
            )

    def validators_at(self, height: int) -> tuple[bytes, ...]:
        """Return who certifies a height."""
        return self._verifier.validators_at(height)

    def check_sets(self) -> None:
        """Raise ProofInvalid for a validator set that no header of the package needs."""
        top = self.certified + self._verifier.consensus_window
        if self._verifier.followed > top:
            raise ProofInvalid(f"validators from height {self._verifier.followed}: nothing here needs them")

    def _run(self, contents: Contents) -> None:
        """Take headers that follow one another up to a certified one."""
        if self._records.peek() is RecordKind.LINK:
            raise PackageMalformed("a link that no header leads to")
        headers: list[Header] = []
        shown: list[Header] = []
        while (kind := self._records.peek()) in (RecordKind.HEADER, RecordKind.LINK):
            if len(headers) == HEADERS_MAX:
                raise PackageMalformed(f"more than {HEADERS_MAX} headers up to a certificate")
            assert kind is not None
            headers.append(self._records.take(kind, Header))
            if kind is RecordKind.HEADER:
                shown.append(headers[-1])
        certificate = self._records.take(RecordKind.CERTIFICATE, Certificate)
        if headers[0].height <= self.certified and self._headers:
            raise PackageMalformed(f"header {headers[0].height}: out of order, or there twice")
        if self._check("headers", lambda: self._check_run(headers, certificate)):
            self.certified = headers[-1].height
            contents.hashes |= {header.height: header_hash(header) for header in headers}
            for header in shown:
                contents.times[header.height] = header.time
                self._headers[header.height] = Proved(
                    header.batch_root,
                    header.receipts_root,
                    header.state_root,
                    header if header.skip else None,
                )

    def _check_run(self, headers: list[Header], certificate: Certificate) -> None:
        self._verifier.check_header(HeaderProof(tuple(headers), certificate))
        self._check_quorum(certificate)

    # --- what is under the headers

    def _height(self, contents: Contents) -> None:
        kind = self._records.peek()
        if kind is RecordKind.ENTRY:
            self._entry(contents)
        elif kind is RecordKind.TRANSACTION:
            self._transaction(contents)
        elif kind is RecordKind.SKIP:
            self._skip(contents)
        elif kind is RecordKind.STATE:
            self._state(contents)
        else:
            raise PackageMalformed(f"{'nothing' if kind is None else kind.name.lower()} does not belong here")

    def _next(self, height: int, *place: Any) -> Proved | None:
        """Return the header under which a record stands; raise PackageMalformed if it is out of order."""
        order = (height, *place)
        if not order > self._order:
            raise PackageMalformed(f"a record of height {height}: out of order, or there twice")
        self._order = order
        found = self._headers.get(height)
        if found is None:
            self._check("headers", lambda: self._no_header(height))
        self._used.add(height)
        return found

    def _no_header(self, height: int) -> None:
        raise ProofInvalid(f"the package holds no proved header of height {height}")

    def _keep(self, size: int, entries: int, states: int) -> None:
        self._kept += size
        if self._kept > KEPT_BYTES_MAX or entries > ENTRIES_MAX or states > STATES_MAX:
            raise PackageMalformed(
                f"more than {ENTRIES_MAX} events, {STATES_MAX} state entries, or {KEPT_BYTES_MAX} bytes"
            )

    def _add_entry(self, contents: Contents, entry: EventEntry) -> None:
        size = len(entry.event.fields) + sum(len(name) for name in entry.event.subjects)
        contents.entries.append(entry)
        self._keep(size, len(contents.entries), 0)
        count, rolling = self._log
        self._log = count + 1, rolling_hash(rolling, entry_hash(entry), entry.height)

    def _entry(self, contents: Contents) -> None:
        entry = self._records.take(RecordKind.ENTRY, EventEntry)
        if entry.height or contents.first:
            raise PackageMalformed(f"an entry of height {entry.height}: only those of genesis stand alone")
        if self._order > (0, 0, len(contents.entries)):
            raise PackageMalformed("an entry of height 0: out of order")
        self._order = (0, 0, len(contents.entries))
        if contents.subject not in entry.event.subjects:
            raise PackageMalformed("an entry that does not name the subject")
        self._used.add(0)
        self._add_entry(contents, entry)

    def _transaction(self, contents: Contents) -> None:
        row = self._records.take(RecordKind.TRANSACTION, TransactionRow)
        ordered = self._records.take(RecordKind.ORDERED, OrderedProof)
        receipt = self._records.take(RecordKind.RECEIPT, Receipt)
        executed = self._records.take(RecordKind.EXECUTED, ExecutedProof)
        header = self._next(row.height, 1, row.index)
        if header is None:
            return
        tx_id = transaction_id(row.body)
        if not self._check("transactions", lambda: self._check_ordered(row, tx_id, ordered, header)):
            return
        if not self._check("receipts", lambda: self._check_executed(row, tx_id, receipt, executed, header)):
            return
        if executed.count != ordered.count:
            raise PackageMalformed(
                f"height {row.height}: as many receipts as transactions, but the counts differ"
            )
        contents.caused[tx_id] = caused_by(row.body, receipt)
        if len(contents.caused) > TRANSACTIONS_MAX:
            raise PackageMalformed(f"more than {TRANSACTIONS_MAX} transactions")
        self._derive(contents, contents.caused[tx_id], tx_id, receipt)

    def _derive(self, contents: Contents, caused: Caused, tx_id: bytes, receipt: Receipt) -> None:
        """Take the entries that a transaction caused: its events that name the subject."""
        here = contents.first <= caused.height <= contents.last
        before = len(contents.entries)
        for index, event in enumerate(receipt.events if here else ()):
            if contents.subject in event.subjects:
                self._add_entry(contents, EventEntry(caused.height, tx_id, index, event))
        if len(contents.entries) == before:
            self.loose.add(tx_id)

    def _check_ordered(
        self, row: TransactionRow, tx_id: bytes, ordered: OrderedProof, header: Proved
    ) -> None:
        what = f"transaction {tx_id.hex()[:16]} at height {row.height}"
        if row.body.chain_id != self._genesis.chain_id:
            raise ProofInvalid(f"{what}: signed for another chain")
        if not signature_holds(Transaction(row.body, ordered.signature), tx_id):
            raise ProofInvalid(f"{what}: the sender's signature does not hold")
        _check_path(what, header.batch_root, tx_id, row.index, ordered.count, ordered.path)

    def _check_executed(
        self, row: TransactionRow, tx_id: bytes, receipt: Receipt, executed: ExecutedProof, header: Proved
    ) -> None:
        what = f"receipt of {receipt.tx_id.hex()[:16]} at height {row.height}"
        if (receipt.tx_id, receipt.height, receipt.index) != (tx_id, row.height, row.index):
            raise ProofInvalid(f"{what}: of another transaction, height or position")
        _check_path(what, header.receipts_root, encode(receipt), row.index, executed.count, executed.path)

    def _skip(self, contents: Contents) -> None:
        skip = self._records.take(RecordKind.SKIP, Skip)
        signed = self._records.take(RecordKind.SKIP_SIGNED, SkipSigned)
        proved = self._next(skip.height, 2)
        decision = SkipDecision(skip, signed.signatures)
        header = None if proved is None else proved.header
        if self._check("skips", lambda: self._check_skip(header, decision)):
            contents.skips.append(decision)

    def _check_skip(self, header: Header | None, decision: SkipDecision) -> None:
        height = decision.skip.height
        if header is None:
            raise ProofInvalid(f"skip decision of height {height}: no header here names one")
        check_skip(header, self._verifier, decision)
        needed = quorum(len(self._verifier.validators_at(height)))
        if len(decision.signatures) != needed:
            raise ProofInvalid(f"skip decision of height {height}: a package has {needed} signatures of it")

    def _state(self, contents: Contents) -> None:
        row = self._records.take(RecordKind.STATE, StateRow)
        proof = self._records.take(RecordKind.STATE_PROVED, StateProof)
        header = self._next(row.height, 3, row.namespace.encode(), row.key)
        if header is None:
            return
        what = f"state of {row.namespace} at height {row.height}"

        def holds() -> None:
            check_state_proof(what, header.state_root, row.namespace, row.key, row.value, proof)

        if not self._check("states", holds):
            return
        contents.states[row.height, row.namespace, row.key] = row.value
        self._keep(len(row.key) + len(row.value or b""), 0, len(contents.states))
        if (row.namespace, row.key) == (NAMESPACE, log_key(contents.subject)):
            self._check("history", lambda: self._log_state(contents, row))

    def _log_state(self, contents: Contents, row: StateRow) -> None:
        what = f"history of {contents.subject} at heights {contents.first}..{contents.last}"
        try:
            shown = read_log(row.value)
        except DecodeError:
            raise ProofInvalid(f"{what}: the log's state is malformed") from None
        self.log_shown.add(row.height)
        if row.height == contents.last and shown != self._log:
            raise ProofInvalid(f"{what}: entries are missing, added, changed or out of order")
        if row.height == contents.first - 1:
            self._log = shown

    # --- at the end

    def check_used(self, contents: Contents) -> None:
        """Raise ProofInvalid for a header under which nothing stands, or whose skip decision is not there."""
        unused = sorted(set(self._headers) - self._used)
        if unused:
            raise ProofInvalid(f"header {unused[0]}: nothing here needs it")
        named = sorted([height for height, one in self._headers.items() if one.header is not None])
        held = sorted([decision.skip.height for decision in contents.skips])
        if named != held:
            raise ProofInvalid(
                f"headers name skip decisions of heights {named}, the package has those of {held}"
            )


def _check_path(what: str, root: bytes, leaf: bytes, index: int, count: int, path: tuple[bytes, ...]) -> None:
    if not merkle.verify(root, merkle.leaf_hash(leaf), index, count, path):
        raise ProofInvalid(f"{what}: the Merkle path does not lead to the header's root")
