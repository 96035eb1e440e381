"""Proofs that anyone with the genesis can check, as codec records: of headers, receipts, state, histories.

A header is proved by a certificate over it, or over a later header that follows from it by parent hashes.
Everything else is proved by a Merkle path to a proved header.
"""

from __future__ import annotations

from typing import Annotated

from chain.ledger.block import EventEntry, Header, Receipt, Transaction
from chain.ledger.state.proof import StateProof
from chain.primitives import merkle
from chain.primitives.certificate import VALIDATORS_MAX, Certificate
from chain.primitives.codec import U64, Bound, Hash, Name, PublicKey, record

HEADERS_MAX = 64
STATE_KEY_BYTES_MAX = 131_072
STATE_VALUE_BYTES_MAX = 1_048_576
HISTORY_ENTRIES_MAX = 1_000_000

Subject = Annotated[str, Bound(3, 145)]


@record("header-proof", max_bytes=65_536)
class HeaderProof:
    """A header, the headers that follow it up to a certified one, and that one's certificate."""

    headers: Annotated[tuple[Header, ...], Bound(1, HEADERS_MAX)]
    certificate: Certificate


@record("set-change", max_bytes=131_072)
class SetChange:
    """A validator set and the header that names it: certified by the set before, W heights earlier."""

    first: U64
    """The height from which the set is in force."""
    validators: Annotated[tuple[PublicKey, ...], Bound(1, VALIDATORS_MAX)]
    header: HeaderProof


@record("merkle-path", max_bytes=2_048)
class MerklePath:
    """The position of a leaf in a list under a root, and the hashes that lead to the root."""

    index: U64
    count: U64
    path: Annotated[tuple[Hash, ...], Bound(0, merkle.DEPTH_MAX)]


@record("proved-receipt", max_bytes=3_145_728)
class ProvedReceipt:
    """A receipt and its path to the receipts root of a proved header."""

    receipt: Receipt
    path: MerklePath
    header: HeaderProof


@record("proved-transaction", max_bytes=262_144)
class ProvedTransaction:
    """A transaction and its path to the batch root of a proved header."""

    transaction: Transaction
    path: MerklePath
    header: HeaderProof


@record("proved-state", max_bytes=2_097_152)
class ProvedState:
    """The value of one state entry, or its absence, under the state root of a proved header."""

    namespace: Name
    key: Annotated[bytes, Bound(0, STATE_KEY_BYTES_MAX)]
    value: Annotated[bytes, Bound(0, STATE_VALUE_BYTES_MAX)] | None
    proof: StateProof
    header: HeaderProof


@record("proved-history", max_bytes=1_073_741_824)
class ProvedHistory:
    """All entries of a subject's log at heights first..last, with the log's state before and after."""

    subject: Subject
    first: U64
    last: U64
    before: ProvedState | None
    """The log's entry at height first - 1; None when the history starts at height 0."""
    after: ProvedState
    entries: Annotated[tuple[EventEntry, ...], Bound(0, HISTORY_ENTRIES_MAX)]
