"""What an audit package holds. Proofs refer to headers by height, so each header is there once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from chain.ledger.block import EventEntry, Receipt, SkipDecision, Transaction
from chain.ledger.genesis import Genesis
from chain.ledger.proof.proofs import (
    STATE_KEY_BYTES_MAX,
    STATE_VALUE_BYTES_MAX,
    HeaderProof,
    MerklePath,
    ProvedReceipt,
    ProvedState,
    ProvedTransaction,
    SetChange,
)
from chain.ledger.state.proof import StateProof
from chain.primitives.certificate import VALIDATORS_MAX
from chain.primitives.codec import U64, Bound, Hash, Name, PublicKey, record
from chain.primitives.errors import ProofInvalid

PACKAGE_VERSION = 1
PARTS = (
    "genesis",
    "validators",
    "headers",
    "history",
    "entries",
    "transactions",
    "receipts",
    "states",
    "skips",
    "report",
)
"""The parts of a package, in the order in which they stand in the file."""


@record("audit-part", max_bytes=256)
class Part:
    """One part: its name, its size in bytes, its number of records, and the hash of its bytes."""

    name: Name
    size: U64
    records: U64
    hash: Hash


@record("audit-manifest", max_bytes=16_384)
class Manifest:
    """What the file holds; its own hash follows it in the file."""

    version: U64
    chain_id: Hash
    subject: Annotated[str, Bound(3, 145)]
    first: U64
    last: U64
    parts: Annotated[tuple[Part, ...], Bound(len(PARTS), len(PARTS))]


@record("audit-validators", max_bytes=8_192)
class ValidatorSpan:
    """Who certifies headers from a height on."""

    from_height: U64
    validators: Annotated[tuple[PublicKey, ...], Bound(1, VALIDATORS_MAX)]


@record("audit-state", max_bytes=2_097_152)
class StateAt:
    """One state entry, or its absence, at a height."""

    height: U64
    namespace: Name
    key: Annotated[bytes, Bound(0, STATE_KEY_BYTES_MAX)]
    value: Annotated[bytes, Bound(0, STATE_VALUE_BYTES_MAX)] | None
    proof: StateProof


@record("audit-history", max_bytes=65_536)
class LogStates:
    """State of the subject's log before and after the entries; `before` is None at height 0."""

    before: StateAt | None
    after: StateAt


@record("audit-transaction", max_bytes=262_144)
class TransactionAt:
    """A transaction and its position in the batch of a height."""

    height: U64
    transaction: Transaction
    path: MerklePath


@record("audit-receipt", max_bytes=3_145_728)
class ReceiptAt:
    """A receipt, which names its height, and its position under the receipts root."""

    receipt: Receipt
    path: MerklePath


@dataclass(slots=True)
class Contents:
    """A package, decoded. `report` is the text for people."""

    subject: str
    first: int
    last: int
    genesis: Genesis
    validators: tuple[ValidatorSpan, ...]
    headers: dict[int, HeaderProof]
    log: LogStates
    entries: tuple[EventEntry, ...]
    transactions: tuple[TransactionAt, ...]
    receipts: tuple[ReceiptAt, ...]
    states: tuple[StateAt, ...]
    skips: tuple[SkipDecision, ...]
    """Of every height in `headers` whose header names one."""
    report: str

    def set_changes(self) -> tuple[SetChange, ...]:
        """Return the validator sets after the founding one with the headers that name them."""
        window = self.genesis.limits.consensus_window
        return tuple(
            [
                SetChange(span.from_height, span.validators, self._naming(span, window))
                for span in self.validators[1:]
            ]
        )

    def _naming(self, span: ValidatorSpan, window: int) -> HeaderProof:
        what = f"validators from height {span.from_height}"
        if span.from_height < window:
            raise ProofInvalid(f"{what}: below the consensus window of {window}, where no set can begin")
        return self.header(span.from_height - window, what)

    def header(self, height: int, what: str) -> HeaderProof:
        """Return the header proof of a height; raise ProofInvalid naming what lacks it."""
        found = self.headers.get(height)
        if found is None:
            raise ProofInvalid(f"{what}: the package holds no header of height {height}")
        return found

    def proved_state(self, item: StateAt) -> ProvedState:
        """Return a state entry with its header."""
        header = self.header(item.height, f"state of {item.namespace} at height {item.height}")
        return ProvedState(item.namespace, item.key, item.value, item.proof, header)

    def proved_transaction(self, item: TransactionAt) -> ProvedTransaction:
        """Return a transaction with its header."""
        header = self.header(item.height, f"a transaction at height {item.height}")
        return ProvedTransaction(item.transaction, item.path, header)

    def proved_receipt(self, item: ReceiptAt) -> ProvedReceipt:
        """Return a receipt with its header."""
        header = self.header(item.receipt.height, f"a receipt at height {item.receipt.height}")
        return ProvedReceipt(item.receipt, item.path, header)


def strip_state(proved: ProvedState) -> StateAt:
    """Return a proved state entry without its header."""
    height = proved.header.headers[0].height
    return StateAt(height, proved.namespace, proved.key, proved.value, proved.proof)
