"""Bucket of the state tree: up to `BUCKET_LEAVES` leaves under one path.

A *leaf* is (key hash, value hash, what the bucket holds of the entry). A bucket holds a small entry itself,
packed (`pack_entry`, whose first byte is zero). Of a larger one it holds `ELSEWHERE` and the address of the
record that is the packed entry.

In memory, behind what every node begins with (`chain.ledger.state.node`), for n leaves:

    last bytes of n keys: 32 | n lengths: 32 | n: 1 | hash of the keys: 32 | n value hashes: 32 n |
    n key hashes: 32 n | what is held of n entries

A key is found by its last byte. What finding a key reads stands together at the front, because no processor
cache holds a large state. Last bytes, the second n and the hash of the keys are not stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from struct import Struct

from chain.ledger.state.node import ADDRESS_BYTES, HEAD_BYTES, LEAVES_AT, Node

BUCKET_LEAVES = 32
HELD_BYTES_MAX = 160
"""A packed entry of more bytes stands elsewhere."""
ELSEWHERE = b"\1"

Leaf = tuple[bytes, bytes, bytes]
"""(key hash, value hash, what is held: the packed entry itself, or `ELSEWHERE` and its address)."""

_BUCKET = b"assent/state-bucket\0"
_KEYS = b"assent/state-keys\0"
_HASHING = sha256(_BUCKET)
_SLOTS = 32
"""Slots for last bytes, and for lengths."""
_LASTS = HEAD_BYTES
_LENGTHS = _LASTS + _SLOTS
_HASHED = _LENGTHS + _SLOTS
_VALUES = _HASHED + 1 + 32
"""Offsets of the last bytes, of the lengths, of what is hashed, and of the value hashes, which end it."""
_PUT = [Struct(f"{size}s").pack_into for size in range(256)]
_TAKE = [Struct(f"{size}s").unpack_from for size in range(256)]
"""By length: bytes go into and out of a bytearray without the second copy that a slice makes."""


def bucket_hash(keys: bytes, values: bytes) -> bytes:
    """Return the hash of a bucket from the hashes of its keys, ascending, and of their values, joined."""
    return sha256(_BUCKET + bytes([len(keys) // 32]) + _hash_of_keys(keys) + values).digest()


def _hash_of_keys(keys: bytes) -> bytes:
    return sha256(_KEYS + keys).digest()


def pack_bucket(leaves: Iterable[Leaf]) -> Node:
    """Return the bucket of leaves, in order, that has no address yet."""
    keys, values, held = zip(*leaves, strict=True)
    record = b"".join((b"\0", bytes([len(keys)]), *values, *keys, bytes(map(len, held)), *held))
    return bucket_of_record(bytes(ADDRESS_BYTES), record)


def bucket_of_record(address: bytes, record: bytes) -> Node:
    """Return the bucket whose full record (`is_bucket_record`) stands at an address."""
    count = record[1]
    values, lengths = 2 + 32 * count, 2 + 64 * count
    keys = record[values:lengths]
    held = lengths + count
    parts = (
        address,
        record[:2],
        keys[31::32].ljust(_SLOTS, b"\0"),
        record[lengths:held].ljust(_SLOTS, b"\0"),
        record[1:2],
        _hash_of_keys(keys),
        record[2:lengths],
        record[held:],
    )
    return Node(bytearray().join(parts))


def record_of_bucket(bucket: Node) -> bytes:
    """Return the full record of a bucket."""
    count = bucket[LEAVES_AT]
    held = _VALUES + 64 * count
    lengths = bucket[_LENGTHS : _LENGTHS + count]
    return b"".join((b"\0", bucket[_HASHED : _HASHED + 1], bucket[_VALUES:held], lengths, bucket[held:]))


def hash_of_bucket(bucket: Node) -> bytes:
    """Return the hash of a bucket."""
    hashing = _HASHING.copy()
    hashing.update(bucket[_HASHED : _VALUES + 32 * bucket[LEAVES_AT]])
    return hashing.digest()


def is_bucket_record(record: bytes) -> bool:
    """Tell whether a full record has the form of a bucket's."""
    if len(record) < 2:
        return False
    count = record[1]
    lengths = record[2 + 64 * count : 2 + 65 * count]
    fits = 0 < count <= BUCKET_LEAVES and len(record) == 2 + 65 * count + sum(lengths)
    return fits and 0 not in lengths


def leaves_of(bucket: Node) -> Iterator[Leaf]:
    """Yield the leaves of a bucket, in the order of their keys."""
    copy = bytes(bucket)
    count = copy[LEAVES_AT]
    keys, at = _VALUES + 32 * count, _VALUES + 64 * count
    for index in range(count):
        key, value, end = keys + 32 * index, _VALUES + 32 * index, at + copy[_LENGTHS + index]
        yield copy[key : key + 32], copy[value : value + 32], copy[at:end]
        at = end


def index_in(bucket: Node, key: bytes) -> int:
    """Return the index of a key hash's leaf in a bucket, -1 when it has none."""
    last, count = key[31], bucket[LEAVES_AT]
    keys = _VALUES + 32 * count
    at = bucket.find(last, _LASTS, _LASTS + count)
    while at >= 0:
        if bucket.startswith(key, keys + 32 * (at - _LASTS)):
            return at - _LASTS
        at = bucket.find(last, at + 1, _LASTS + count)
    return -1


def look_up(bucket: Node, key: bytes) -> tuple[int, int, int] | None:
    """Return offsets for a key hash: of its value hash, of the start and the end of what is held; or None."""
    index = index_in(bucket, key)
    if index < 0:
        return None
    at = _VALUES + 64 * bucket[LEAVES_AT] + sum(bucket[_LENGTHS : _LENGTHS + index])
    return _VALUES + 32 * index, at, at + bucket[_LENGTHS + index]


def leaf_in(bucket: Node, key: bytes) -> Leaf | None:
    """Return the leaf of a key hash in a bucket, None when it has none."""
    found = look_up(bucket, key)
    if found is None:
        return None
    value, at, end = found
    return key, take(bucket, value, value + 32), take(bucket, at, end)


def take(bucket: Node, start: int, end: int) -> bytes:
    """Return the bytes between two offsets of a bucket, at most 255."""
    found: bytes = _TAKE[end - start](bucket, start)[0]
    return found


def set_leaf(bucket: Node, index: int, hashed: bytes, held: bytes) -> bytes | None:
    """Give a leaf another value; return the address of the former entry if it stands elsewhere."""
    length = _LENGTHS + index
    at = _VALUES + 64 * bucket[LEAVES_AT] + sum(bucket[_LENGTHS:length])
    former, size = bucket[length], len(held)
    stale = take(bucket, at + 1, at + former) if bucket[at] else None
    _PUT[32](bucket, _VALUES + 32 * index, hashed)
    if size == former:
        _PUT[size](bucket, at, held)
    else:
        bucket[length], bucket[at : at + former] = size, held
    return stale


def address_held(held: bytes) -> bytes | None:
    """Return the address of a leaf's packed entry when the bucket does not hold it itself."""
    return held[1:] if held[0] else None
