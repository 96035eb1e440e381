"""Salted commitments to a dataset's rows, to a job's inputs and to a result, and their openings.

A row's salt is derived from one secret seed per dataset version, so the owner stores 32 bytes and can open
any row alone. Commitments prove consistency, never that the committed rows are true.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from chain.primitives import merkle
from chain.primitives.codec import U64, Bound, Hash, record
from chain.primitives.crypto import digest
from chain.primitives.errors import ProofInvalid
from chain.primitives.values import Value, encode_value

SEED_BYTES = 32
ROW_BYTES_MAX = 1_048_576
SIZE_BUCKETS = (10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)


@record("row-opening", max_bytes=ROW_BYTES_MAX + 4_096)
class RowOpening:
    """One row shown to an auditor: the row, its salt, and its path to the registered root."""

    index: U64
    count: U64
    """Rows in the dataset version."""
    salt: Hash
    row: Annotated[bytes, Bound(1, ROW_BYTES_MAX)]
    path: Annotated[tuple[Hash, ...], Bound(0, merkle.DEPTH_MAX)]


@dataclass(frozen=True, slots=True)
class RowCommitment:
    """Merkle root (32 bytes, RFC 6962) over H(salt ‖ row), with the leaves that opening a row needs."""

    root: bytes
    leaves: tuple[bytes, ...]


def row_salt(seed: bytes, index: int) -> bytes:
    """Return the 32-byte salt of row `index` under a dataset version's secret 32-byte seed."""
    return digest("assent/row-salt", seed, index.to_bytes(8, "big"))


def commit_rows(seed: bytes, rows: Sequence[bytes]) -> RowCommitment:
    """Commit to canonical row bytes in order (RFC 6962 tree)."""
    leaves = tuple(merkle.leaf_hash(row_salt(seed, index) + row) for index, row in enumerate(rows))
    return RowCommitment(merkle.root(leaves), leaves)


def open_row(seed: bytes, rows: Sequence[bytes], commitment: RowCommitment, index: int) -> RowOpening:
    """Return the opening of row `index`; raises IndexError outside the dataset."""
    path = merkle.proof(commitment.leaves, index)
    return RowOpening(index, len(rows), row_salt(seed, index), rows[index], path)


def check_opening(root: bytes, opening: RowOpening) -> None:
    """Raise ProofInvalid unless the opened row lies under this dataset root."""
    leaf = merkle.leaf_hash(opening.salt + opening.row)
    if not merkle.verify(root, leaf, opening.index, opening.count, opening.path):
        raise ProofInvalid(
            f"row {opening.index}: the opening does not lead to the dataset root {root.hex()[:16]}"
        )


def challenged_rows(challenge: bytes, count: int, wanted: int) -> list[int]:
    """Return distinct row numbers that an auditor's challenge selects: the owner cannot choose them."""
    moved: dict[int, int] = {}  # a Fisher–Yates shuffle that stores only what it moved
    chosen = []
    for position in range(min(wanted, count)):
        draw = digest("assent/row-challenge", challenge, position.to_bytes(8, "big"))
        other = position + int.from_bytes(draw, "big") % (count - position)
        chosen.append(moved.get(other, other))
        moved[other] = moved.get(position, position)
    return chosen


def input_commitment(nonce: bytes, root: bytes, columns: Sequence[str], filter_text: str, rows: int) -> bytes:
    """Return H(nonce ‖ root ‖ columns ‖ filter ‖ n): what an owner binds before any traffic."""
    return digest("assent/input", encode_value([nonce, root, list(columns), filter_text, rows]))


def result_commitment(salt: bytes, shares: bytes, result: Value) -> bytes:
    """Return H(salt ‖ shares ‖ canonical result), which goes on chain; `salt` is 32 secret bytes.

    `shares` (32 bytes) is the hash of the commitments to the shares that the result was opened from.
    """
    return digest("assent/result", salt, shares, encode_value(result))


def size_bucket(rows: int) -> str:
    """Return the coarse size that a registration tells: the least power of ten that holds the rows."""
    for bound in SIZE_BUCKETS:
        if rows <= bound:
            return f"<={bound}"
    return f">{SIZE_BUCKETS[-1]}"


def bucket_rows(bucket: str) -> tuple[int, int] | None:
    """Return the fewest and the most rows of a coarse size; None for a text, of anybody, that is none."""
    for less, bound in zip((0, *SIZE_BUCKETS), SIZE_BUCKETS, strict=False):
        if bucket == f"<={bound}":
            return less + 1, bound
    return None
