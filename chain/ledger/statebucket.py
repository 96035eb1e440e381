"""Buckets of the state tree: up to `BUCKET_LEAVES` leaves under one path.

A *leaf* is (key hash, value hash, what is held of the entry). A small entry is held in the bucket itself, as
its value record (`rows.value_record`, which begins with a zero), a larger one as `ELSEWHERE` and the place of
that record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256

from chain.ledger.statenode import LEAVES_AT

BUCKET_LEAVES = 32
HELD_BYTES_MAX = 160
"""A value record of more bytes stands elsewhere."""
ELSEWHERE = b"\1"

Leaf = tuple[bytes, bytes, bytes]
"""(key hash, value hash, what is held: the value record itself, or `ELSEWHERE` and its place)."""

_BUCKET = b"assent/state-bucket\0"
_HASHING = sha256(_BUCKET)
# As a node in memory (see `chain.ledger.statenode`):
# own place: 8 | deltas: 1 | leaves n: 1 | n key hashes: 32 n | n value hashes: 32 n | n lengths: n | n held
_HEAD = 10


def bucket_hash(keys: bytes, values: bytes) -> bytes:
    """Return the hash of a bucket from the hashes of its keys, ascending, and of their values, joined."""
    return sha256(_BUCKET + bytes([len(keys) // 32]) + keys + values).digest()


def pack_bucket(leaves: Iterable[Leaf]) -> bytearray:
    """Return the bucket of leaves, in order, that has no place yet."""
    keys, values, held = zip(*leaves, strict=True)
    return bytearray(b"").join((bytes(9), bytes([len(keys)]), *keys, *values, bytes(map(len, held)), *held))


def hash_of_bucket(bucket: bytes | bytearray) -> bytes:
    """Return the hash of a bucket."""
    hashing = _HASHING.copy()
    hashing.update(memoryview(bucket)[LEAVES_AT : _HEAD + 64 * bucket[LEAVES_AT]])
    return hashing.digest()


def is_bucket(node: bytes | bytearray) -> bool:
    """Tell whether bytes have the form of a bucket."""
    if len(node) < _HEAD:
        return False
    count = node[LEAVES_AT]
    lengths = node[_HEAD + 64 * count : _HEAD + 65 * count]
    fits = 0 < count <= BUCKET_LEAVES and len(node) == _HEAD + 65 * count + sum(lengths)
    return fits and 0 not in lengths


def leaves_of(bucket: bytes | bytearray) -> Iterator[Leaf]:
    """Yield the leaves of a bucket, in the order of their keys."""
    bucket = bytes(bucket)
    count = bucket[LEAVES_AT]
    values, lengths = _HEAD + 32 * count, _HEAD + 64 * count
    at = lengths + count
    for index in range(count):
        key, value, end = _HEAD + 32 * index, values + 32 * index, at + bucket[lengths + index]
        yield bucket[key : key + 32], bucket[value : value + 32], bucket[at:end]
        at = end


def index_in(bucket: bytes | bytearray, key: bytes) -> int:
    """Return which of its leaves, from 0, is that of a key hash, -1 when it has none."""
    end = _HEAD + 32 * bucket[LEAVES_AT]
    at = bucket.find(key, _HEAD, end)
    while at >= 0 and (at - _HEAD) & 31:  # across two others
        at = bucket.find(key, at + 1, end)
    return (at - _HEAD) >> 5


def leaf_in(bucket: bytes | bytearray, key: bytes) -> Leaf | None:
    """Return the leaf of a key hash in a bucket, None when it has none."""
    index = index_in(bucket, key)
    if index < 0:
        return None
    count = bucket[LEAVES_AT]
    value, lengths = _HEAD + 32 * (count + index), _HEAD + 64 * count
    at = lengths + count + sum(bucket[lengths : lengths + index])
    return key, bytes(bucket[value : value + 32]), bytes(bucket[at : at + bucket[lengths + index]])


def set_leaf(bucket: bytearray, index: int, hashed: bytes, held: bytes) -> bytearray:
    """Give a leaf another value; return what was held before."""
    count = bucket[LEAVES_AT]
    value, lengths = _HEAD + 32 * (count + index), _HEAD + 64 * count
    at = lengths + count + sum(bucket[lengths : lengths + index])
    end = at + bucket[lengths + index]
    former = bucket[at:end]
    bucket[value : value + 32], bucket[lengths + index], bucket[at:end] = hashed, len(held), held
    return former


def place_held(held: bytes | bytearray) -> bytes | None:
    """Return where the value record of a leaf stands when the bucket does not hold it itself."""
    return bytes(held[1:]) if held[0] else None
