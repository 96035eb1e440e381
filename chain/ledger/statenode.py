"""The authenticated state: a radix tree over key hashes whose lowest nodes are buckets of leaves.

A path is the first bytes of a key hash. Everything below it is one *bucket* while that is at most
`BUCKET_LEAVES` keys, and else an *inner node* with a child for each next byte that occurs; hence the shape,
and so the root, depends on the keys and values alone, never on the order in which they came. An inner node
is hashed in two levels of sixteen, so that proofs stay short: the children of the same upper nibble are a
*group*. An empty tree has the root of 32 zeros.

    bucket hash = H("assent/state-bucket", number of keys: 1 byte, hash of the keys, their value hashes)
    hash of the keys of a bucket = H("assent/state-keys", key hashes in order)
    group hash  = H("assent/state-node", mask of present children: 2 bytes, their hashes in nibble order)
    inner hash  = H("assent/state-node", mask of present groups: 2 bytes, their hashes in nibble order)

Nodes are records (`chain.ledger.records`): a block adds some and changes none, so the tree of every height
that was not pruned can be read. A parent names its children by where their records stand. What a block made
stale is a list that pruning works off. This file is about inner nodes, `chain.ledger.statebucket` is about
buckets, `chain.ledger.statedelta` about records that say only what changed in a node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from struct import Struct
from typing import cast

DEPTH_MAX = 32
"""Bytes of a key hash."""

Ref = tuple[bytes, bytes, int]
"""A node: (hash, where its record stands: 8 bytes, number of leaves if it is a bucket, else 0).

The hash is checked; the number, which no hash covers, only says when buckets may be merged.
"""
Load = Callable[[bytes, bytes, bytes], bytearray]
"""Returns the node at (place of its record, path, hash), checked, a new object."""

_KEY = b"assent/state-key\0"
_VALUE = b"assent/state-value\0"
_NODE = b"assent/state-node\0"


def node_hash(mask: int, children: bytes) -> bytes:
    """Return the hash of a group, or of an inner node, from its 16-bit mask and the hashes below, joined."""
    return sha256(_NODE + mask.to_bytes(2, "big") + children).digest()


def state_key_hash(namespace: str, key: bytes) -> bytes:
    """Return the tree's key of a state entry: H(length of the namespace: 1 byte, namespace, key)."""
    name = namespace.encode()
    return hash_of_name(bytes([len(name)]) + name + key)


def hash_of_name(name: bytes) -> bytes:
    """Return the tree's key of a state entry from its name: length of the namespace, namespace, key."""
    return sha256(_KEY + name).digest()


def state_value_hash(value: bytes) -> bytes:
    """Return the hash that stands for a state entry's bytes."""
    return sha256(_VALUE + value).digest()


# --- nodes in memory ----------------------------------------------------------------------------------
# own place: 8 | deltas: 1 | 0 | mask: 32 | n hashes: 32 n | n places: 8 n | n numbers of leaves: n |
# hashes of its groups: 512
# The own place is where the record stands that made it this version of the node. Neither it nor the number
# of deltas since the last full record is hashed. The zero is where a bucket has the number of its leaves.
# The mask is little-endian: bit b says that there is a child for byte b. The groups' hashes are not stored:
# they are made when a node is loaded, and whoever sets children calls `hash_groups`.

DELTAS_AT, LEAVES_AT = 8, 9
"""Where a node, of either kind, has the number of deltas, and that of leaves: 0 in an inner node."""
GROUPS_BYTES = 512
"""At the end of an inner node in memory."""
_MASK, _HEAD = 10, 42
_FULL_BYTES = _HEAD + 256 * 41 + GROUPS_BYTES
_BELOW = [(1 << byte) - 1 for byte in range(256)]
_PUT_HASH, _PUT_PLACE = Struct("32s").pack_into, Struct("8s").pack_into
_HASHING = sha256(_NODE)
_HASHING_FULL = sha256(_NODE + b"\xff\xff")


def set_place(node: bytearray, where: bytes) -> None:
    """Note where the record stands that made a node, of either kind, this version of it."""
    _PUT_PLACE(node, 0, where)


def mask_of(node: bytes | bytearray) -> int:
    """Return the mask of present children of an inner node: bit b for byte b."""
    return int.from_bytes(node[_MASK:_HEAD], "little")


def child_of(node: bytes | bytearray, byte: int) -> Ref | None:
    """Return one child of an inner node without reading the others."""
    mask = mask_of(node)
    if not mask >> byte & 1:
        return None
    index, count = (mask & _BELOW[byte]).bit_count(), mask.bit_count()
    at, place = _HEAD + 32 * index, _HEAD + 32 * count + 8 * index
    return bytes(node[at : at + 32]), bytes(node[place : place + 8]), node[_HEAD + 40 * count + index]


def children_of(node: bytes | bytearray) -> dict[int, Ref]:
    """Return the children of an inner node by byte, in order."""
    node, mask = bytes(node), mask_of(node)
    places = _HEAD + 32 * mask.bit_count()
    counts = places + 8 * mask.bit_count()
    present = [byte for byte in range(256) if mask >> byte & 1]
    return {
        byte: (
            node[_HEAD + 32 * index : _HEAD + 32 * index + 32],
            node[places + 8 * index : places + 8 * index + 8],
            node[counts + index],
        )
        for index, byte in enumerate(present)
    }


def leaves_fit(node: bytes | bytearray, most: int) -> bool:
    """Tell whether at most so many leaves stand below an inner node, all in buckets."""
    counts = node[_HEAD + 40 * mask_of(node).bit_count() : -GROUPS_BYTES]
    return 0 not in counts and sum(counts) <= most


def pack_node(children: Mapping[int, Ref]) -> bytearray:
    """Return the inner node with these children, by byte, that has no place yet."""
    mask = sum(1 << byte for byte in children)
    below = [children[byte] for byte in sorted(children)]
    hashes, places, counts = zip(*below, strict=True) if below else ((), (), ())
    record = b"".join((bytes(2), mask.to_bytes(32, "little"), *hashes, *places, bytes(counts)))
    node = node_of_record(bytes(DELTAS_AT), record)
    hash_groups(node)
    return node


def node_of_record(where: bytes, record: bytes) -> bytearray:
    """Return the inner node whose full record, which has the form of one, stands at a place; not hashed."""
    return bytearray().join((where, record, bytes(GROUPS_BYTES)))


def is_node(record: bytes) -> bool:
    """Tell whether a full record has the form of an inner node's."""
    start = _HEAD - DELTAS_AT
    if len(record) < start or record[LEAVES_AT - DELTAS_AT]:
        return False
    return len(record) == start + 41 * int.from_bytes(record[start - 32 : start], "little").bit_count()


def kept_children(node: bytes | bytearray, edits: Mapping[int, Ref | None]) -> Mapping[int, Ref] | None:
    """Return children, by byte, if an inner node has them all and keeps them, else None."""
    if None in edits.values():
        return None
    if len(node) != _FULL_BYTES:
        mask = mask_of(node)
        if not all(mask >> byte & 1 for byte in edits):
            return None
    return cast("Mapping[int, Ref]", edits)


def set_children(node: bytearray, children: Mapping[int, Ref]) -> None:
    """Put children of an inner node, by byte, in the place of some that are there; see `hash_groups`."""
    full = len(node) == _FULL_BYTES
    mask = 0 if full else mask_of(node)
    count = 256 if full else mask.bit_count()
    places = _HEAD + 32 * count
    counts = places + 8 * count
    for byte, (hashed, where, leaves) in children.items():
        index = byte if full else (mask & _BELOW[byte]).bit_count()
        _PUT_HASH(node, _HEAD + 32 * index, hashed)
        _PUT_PLACE(node, places + 8 * index, where)
        node[counts + index] = leaves


def with_children(node: bytes | bytearray, edits: Mapping[int, Ref | None]) -> bytearray:
    """Return an inner node with children, by byte, replaced, added, or removed (None); without a place."""
    children: dict[int, Ref | None] = {**children_of(node), **edits}
    return pack_node({byte: child for byte, child in children.items() if child is not None})


# --- groups -------------------------------------------------------------------------------------------


def group_of(node: bytes | bytearray, nibble: int) -> tuple[int, list[bytes]]:
    """Return (mask, hashes) of the children in one group of an inner node."""
    mask, at, end = _group(node, nibble)
    return mask, [bytes(node[start : start + 32]) for start in range(at, end, 32)]


def groups_of(node: bytes | bytearray) -> tuple[int, list[bytes]]:
    """Return (mask, hashes) of the groups of an inner node."""
    masks, start = mask_of(node), len(node) - GROUPS_BYTES
    present = [nibble for nibble in range(16) if masks >> 16 * nibble & 0xFFFF]
    hashes = [bytes(node[start + 32 * nibble : start + 32 * nibble + 32]) for nibble in present]
    return sum(1 << nibble for nibble in present), hashes


def _group(node: bytes | bytearray, nibble: int) -> tuple[int, int, int]:
    """Return (mask, start, end) of the hashes of one group."""
    masks = mask_of(node)
    mask = masks >> 16 * nibble & 0xFFFF
    at = _HEAD + 32 * (masks & _BELOW[16 * nibble]).bit_count()
    return mask, at, at + 32 * mask.bit_count()


def hash_groups(node: bytearray, nibbles: Iterable[int] = range(16)) -> None:
    """Make the hashes of groups anew, of whose children some were set."""
    start = len(node) - GROUPS_BYTES
    if len(node) == _FULL_BYTES:
        for nibble in nibbles:
            hashing, at = _HASHING_FULL.copy(), _HEAD + 512 * nibble
            hashing.update(node[at : at + 512])
            _PUT_HASH(node, start + 32 * nibble, hashing.digest())
        return
    for nibble in nibbles:
        mask, at, end = _group(node, nibble)
        if mask:
            hashing = _HASHING.copy()
            hashing.update(mask.to_bytes(2, "big") + node[at:end])
            _PUT_HASH(node, start + 32 * nibble, hashing.digest())


def hash_of_node(node: bytes | bytearray) -> bytes:
    """Return the hash of an inner node from those of its groups."""
    if len(node) == _FULL_BYTES:
        hashing = _HASHING_FULL.copy()
        hashing.update(node[-GROUPS_BYTES:])
        return hashing.digest()
    mask, hashes = groups_of(node)
    return node_hash(mask, b"".join(hashes))
