"""What an audit package is made of: the kinds of its records, and what a reader keeps of them.

What the ledger says stands in records of *content*; what proves it (signatures, paths, certificates) in
records of *evidence*. The ledger fixes the content of a range; of evidence nodes may hold other pieces.
docs/audit-package.md specifies both, byte by byte.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated

from chain.ledger.block import EventEntry, Header, Receipt, Skip, SkipDecision, Transaction, TransactionBody
from chain.ledger.genesis import Genesis, Validator
from chain.ledger.proof.proofs import (
    STATE_KEY_BYTES_MAX,
    STATE_VALUE_BYTES_MAX,
    HeaderProof,
    MerklePath,
    ProvedState,
    SetChange,
)
from chain.ledger.state.proof import StateProof
from chain.primitives import merkle
from chain.primitives.certificate import VALIDATORS_MAX, Certificate
from chain.primitives.codec import U64, Bound, Hash, Name, PublicKey, Signature, max_bytes_of, record
from chain.primitives.errors import ProofInvalid

PACKAGE_VERSION = 2
ENTRIES_MAX = 65_536
"""Events of one package; a longer history is exported in ranges of heights, a package each."""
STATES_MAX = 32_768
"""State entries of one package."""
KEPT_BYTES_MAX = 67_108_864
"""Bytes of events and state entries of one package, which its reader keeps in memory."""

Place = tuple[int, str, bytes]
"""A state entry: height, namespace, key."""


class RecordKind(IntEnum):
    """What a record of a package is; from 0x80 on it is evidence."""

    HEAD = 0x01
    GENESIS = 0x02
    HEADER = 0x03
    ENTRY = 0x04
    TRANSACTION = 0x05
    RECEIPT = 0x06
    SKIP = 0x07
    STATE = 0x08
    VALIDATORS = 0x81
    STATEMENT = 0x82
    LINK = 0x83
    CERTIFICATE = 0x84
    ORDERED = 0x85
    EXECUTED = 0x86
    SKIP_SIGNED = 0x87
    STATE_PROVED = 0x88


EVIDENCE = 0x80


@record("audit-head", max_bytes=512)
class PackageHead:
    """What a package is about."""

    version: U64
    chain_id: Hash
    subject: Annotated[str, Bound(3, 145)]
    first: U64
    last: U64


@record("audit-validators", max_bytes=327_680)
class SetProof:
    """A validator set, the header that names it, and whose nodes its keys are by that header's state."""

    change: SetChange
    nodes: Annotated[bytes, Bound(1, 131_072)]
    """State entry of the set, a `validator-set` record."""
    proof: StateProof


@record("audit-statement", max_bytes=256)
class Stated:
    """A validator's head statement: the chain id is the package's (chain/primitives/headstatement.py)."""

    node: PublicKey
    height: U64
    header_hash: Hash
    time: U64
    signature: Signature


@record("audit-transaction", max_bytes=max_bytes_of(Transaction))
class TransactionRow:
    """A transaction's body, and its place."""

    height: U64
    index: U64
    body: TransactionBody


@record("audit-ordered", max_bytes=2_048)
class OrderedProof:
    """What proves a transaction: its sender's signature, and the path to the batch root."""

    signature: Signature
    count: U64
    path: Annotated[tuple[Hash, ...], Bound(0, merkle.DEPTH_MAX)]


@record("audit-executed", max_bytes=2_048)
class ExecutedProof:
    """What proves a receipt: its path to the receipts root."""

    count: U64
    path: Annotated[tuple[Hash, ...], Bound(0, merkle.DEPTH_MAX)]


@record("audit-skip-signed", max_bytes=16_384)
class SkipSigned:
    """Who decided a skip."""

    signatures: Annotated[tuple[tuple[PublicKey, Signature], ...], Bound(1, VALIDATORS_MAX)]


@record("audit-state", max_bytes=2_097_152)
class StateRow:
    """One state entry, or its absence, at a height."""

    height: U64
    namespace: Name
    key: Annotated[bytes, Bound(0, STATE_KEY_BYTES_MAX)]
    value: Annotated[bytes, Bound(0, STATE_VALUE_BYTES_MAX)] | None


RECORDS: dict[RecordKind, type] = {
    RecordKind.HEAD: PackageHead,
    RecordKind.GENESIS: Genesis,
    RecordKind.HEADER: Header,
    RecordKind.ENTRY: EventEntry,
    RecordKind.TRANSACTION: TransactionRow,
    RecordKind.RECEIPT: Receipt,
    RecordKind.SKIP: Skip,
    RecordKind.STATE: StateRow,
    RecordKind.VALIDATORS: SetProof,
    RecordKind.STATEMENT: Stated,
    RecordKind.LINK: Header,
    RecordKind.CERTIFICATE: Certificate,
    RecordKind.ORDERED: OrderedProof,
    RecordKind.EXECUTED: ExecutedProof,
    RecordKind.SKIP_SIGNED: SkipSigned,
    RecordKind.STATE_PROVED: StateProof,
}
"""RecordKind -> the codec record that it holds."""


# --- what is exported


@dataclass(slots=True)
class TransactionAt:
    """A transaction, its receipt, and their places under a height's roots."""

    height: int
    transaction: Transaction
    path: MerklePath
    receipt: Receipt
    receipt_path: MerklePath


@dataclass(slots=True)
class StateAt:
    """A state entry with its proof."""

    row: StateRow
    proof: StateProof


@dataclass(slots=True)
class PackageParts:
    """All that a package is written from, proofs included; nothing here is verified."""

    subject: str
    first: int
    last: int
    genesis: Genesis
    sets: list[SetProof]
    statements: list[Stated]
    headers: dict[int, HeaderProof]
    entries: list[EventEntry]
    """Of height 0, which no transaction caused."""
    transactions: list[TransactionAt]
    states: list[StateAt]
    skips: list[SkipDecision]


def strip_state(proved: ProvedState) -> StateAt:
    """Return a proved state entry without its header."""
    height = proved.header.headers[0].height
    return StateAt(StateRow(height, proved.namespace, proved.key, proved.value), proved.proof)


# --- what a reader keeps


@dataclass(frozen=True, slots=True)
class Caused:
    """A transaction and what came of it, as far as an audit looks at it again."""

    height: int
    index: int
    sender: bytes
    contract: str
    method: str
    digest: bytes
    """`act_digest` of contract, method and arguments."""
    status: str
    code: str
    gas_used: int
    kinds: frozenset[tuple[str, str]]
    """(contract, name) of its events."""


@dataclass(frozen=True, slots=True)
class Span:
    """Who certifies headers from a height on."""

    first: int
    nodes: tuple[Validator, ...]


@dataclass(slots=True)
class Contents:
    """What a package says, each part proved where a reader made it; without the proofs."""

    subject: str
    first: int
    last: int
    genesis: Genesis
    spans: list[Span] = field(default_factory=list)
    statements: list[Stated] = field(default_factory=list)
    times: dict[int, int] = field(default_factory=dict)
    """Height -> time of its header, milliseconds since the epoch."""
    hashes: dict[int, bytes] = field(default_factory=dict)
    """Height -> hash of its header, of those that only lead to a certificate, too."""
    entries: list[EventEntry] = field(default_factory=list)
    caused: dict[bytes, Caused] = field(default_factory=dict)
    """Transaction id -> what it did; in order of their places."""
    states: dict[Place, bytes | None] = field(default_factory=dict)
    """In order of height, namespace and key."""
    skips: list[SkipDecision] = field(default_factory=list)
    content_hash: bytes = b""

    def time(self, height: int, what: str) -> int:
        """Return the time of a height; raise ProofInvalid naming what lacks its header."""
        found = self.times.get(height)
        if found is None:
            raise ProofInvalid(f"{what}: the package holds no header of height {height}")
        return found

    def at_last(self, namespace: str) -> dict[bytes, bytes | None]:
        """Return the state entries of a namespace at the last height, by key."""
        return {
            key: value
            for (height, name, key), value in self.states.items()
            if height == self.last and name == namespace
        }
