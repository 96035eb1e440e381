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
_KEYS = b"assent/state-keys\0"
_HASHING = sha256(_BUCKET)
# As a node in memory (see `chain.ledger.statenode`):
# own place: 8 | deltas: 1 | leaves n: 1 | hash of the keys: 32 | n value hashes: 32 n |
# n last bytes of keys: n | n key hashes: 32 n | n lengths: n | n held
# The hash and the last bytes, by which a key is found, are not stored.
_VALUES = 42


def bucket_hash(keys: bytes, values: bytes) -> bytes:
    """Return the hash of a bucket from the hashes of its keys, ascending, and of their values, joined."""
    return sha256(_BUCKET + bytes([len(keys) // 32]) + _hash_of_keys(keys) + values).digest()


def _hash_of_keys(keys: bytes) -> bytes:
    return sha256(_KEYS + keys).digest()


def pack_bucket(leaves: Iterable[Leaf]) -> bytearray:
    """Return the bucket of leaves, in order, that has no place yet."""
    keys, values, held = zip(*leaves, strict=True)
    record = b"".join((b"\0", bytes([len(keys)]), *values, *keys, bytes(map(len, held)), *held))
    return bucket_of_record(bytes(8), record)


def bucket_of_record(where: bytes, record: bytes) -> bytearray:
    """Return the bucket whose full record, which has the form of one, stands at a place."""
    count = record[1]
    middle = 2 + 32 * count
    keys = record[middle : middle + 32 * count]
    return bytearray().join(
        (where, record[:2], _hash_of_keys(keys), record[2:middle], keys[31::32], record[middle:])
    )


def record_of_bucket(bucket: bytearray) -> bytes:
    """Return the full record of a bucket."""
    count = bucket[LEAVES_AT]
    last = _VALUES + 32 * count
    return b"".join((b"\0", bucket[LEAVES_AT : LEAVES_AT + 1], bucket[_VALUES:last], bucket[last + count :]))


def hash_of_bucket(bucket: bytes | bytearray) -> bytes:
    """Return the hash of a bucket."""
    hashing = _HASHING.copy()
    hashing.update(bucket[LEAVES_AT : _VALUES + 32 * bucket[LEAVES_AT]])
    return hashing.digest()


def is_bucket(record: bytes) -> bool:
    """Tell whether a full record has the form of a bucket's."""
    if len(record) < 2:
        return False
    count = record[1]
    lengths = record[2 + 64 * count : 2 + 65 * count]
    fits = 0 < count <= BUCKET_LEAVES and len(record) == 2 + 65 * count + sum(lengths)
    return fits and 0 not in lengths


def leaves_of(bucket: bytes | bytearray) -> Iterator[Leaf]:
    """Yield the leaves of a bucket, in the order of their keys."""
    bucket = bytes(bucket)
    count = bucket[LEAVES_AT]
    keys, lengths = _VALUES + 33 * count, _VALUES + 65 * count
    at = lengths + count
    for index in range(count):
        key, value, end = keys + 32 * index, _VALUES + 32 * index, at + bucket[lengths + index]
        yield bucket[key : key + 32], bucket[value : value + 32], bucket[at:end]
        at = end


def index_in(bucket: bytes | bytearray, key: bytes) -> int:
    """Return which of its leaves, from 0, is that of a key hash, -1 when it has none."""
    count = bucket[LEAVES_AT]
    first = _VALUES + 32 * count
    keys = first + count
    at = bucket.find(key[31], first, keys)
    while at >= 0:
        where = keys + 32 * (at - first)
        if bucket[where : where + 32] == key:
            return at - first
        at = bucket.find(key[31], at + 1, keys)
    return -1


def leaf_in(bucket: bytes | bytearray, key: bytes) -> Leaf | None:
    """Return the leaf of a key hash in a bucket, None when it has none."""
    index = index_in(bucket, key)
    if index < 0:
        return None
    count = bucket[LEAVES_AT]
    value, lengths = _VALUES + 32 * index, _VALUES + 65 * count
    at = lengths + count + sum(bucket[lengths : lengths + index])
    return key, bytes(bucket[value : value + 32]), bytes(bucket[at : at + bucket[lengths + index]])


def set_leaf(bucket: bytearray, index: int, hashed: bytes, held: bytes) -> bytearray:
    """Give a leaf another value; return what was held before."""
    count = bucket[LEAVES_AT]
    value, lengths = _VALUES + 32 * index, _VALUES + 65 * count
    at = lengths + count + sum(bucket[lengths : lengths + index])
    end = at + bucket[lengths + index]
    former = bucket[at:end]
    bucket[value : value + 32], bucket[lengths + index], bucket[at:end] = hashed, len(held), held
    return former


def place_held(held: bytes | bytearray) -> bytes | None:
    """Return where the value record of a leaf stands when the bucket does not hold it itself."""
    return bytes(held[1:]) if held[0] else None
