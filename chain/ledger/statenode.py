"""The authenticated state: a 16-way radix tree over key hashes whose lowest nodes are buckets of leaves.

Everything below a path is one *bucket* while that is at most `BUCKET_LEAVES` keys, and else an *inner node*;
hence the shape, and so the root, depends on the keys and values alone, never on the order in which they
came. An empty tree has the root of 32 zeros.

    bucket hash = H("assent/state-bucket", number of keys: 1 byte, key hashes in order, their value hashes)
    inner hash  = H("assent/state-node", mask of present children: 2 bytes, their hashes in nibble order)

Nodes are records (`chain.ledger.records`): a block adds some and changes none, so the tree of every height
that was not pruned can be read. A parent names its children by where their records stand. What a block made
stale is a list that pruning works off. This file is about inner nodes, `chain.ledger.statebucket` is about
buckets, `chain.ledger.statedelta` about records that say only what changed in a node.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256

DEPTH_MAX = 64

Ref = tuple[bytes, bytes, int]
"""A node: (hash, where its record stands: 8 bytes, number of leaves if it is a bucket, else 0).

The hash is checked; the number, which no hash covers, only says when buckets may be merged.
"""
Load = Callable[[bytes, bytes, bytes], bytearray]
"""Returns the node at (place of its record, path in ASCII hex digits, hash), checked, a new object."""

NIBBLE = {digit: value for value, digit in enumerate(b"0123456789abcdef")}
"""ASCII hex digit -> its value."""
_KEY = b"assent/state-key\0"
_VALUE = b"assent/state-value\0"
_NODE = b"assent/state-node\0"


def node_hash(mask: int, children: bytes) -> bytes:
    """Return the hash of an inner node from its 16-bit mask and its children's hashes, joined."""
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
# own place: 8 | deltas: 1 | 0 | mask: 2 | n hashes: 32 n | n places: 8 n | n numbers of leaves: n
# The own place is where the record stands that made it this version of the node. Neither it nor the number
# of deltas since the last full record is hashed. The zero is where a bucket has the number of its leaves.

DELTAS_AT, LEAVES_AT = 8, 9
"""Where a node, of either kind, has the number of deltas, and that of leaves: 0 in an inner node."""
_HEAD = 12
_FULL = 0xFFFF
_FULL_PLACES = _HEAD + 16 * 32
_FULL_COUNTS = _HEAD + 16 * 40
_HASHING = sha256(_NODE)


@lru_cache(maxsize=32)
def _layout(children: int) -> struct.Struct:
    return struct.Struct(">10xH" + "32s" * children + "8s" * children + "B" * children)


def mask_of(node: bytes | bytearray) -> int:
    """Return the mask of present children of an inner node."""
    return node[10] << 8 | node[11]


def _offsets(mask: int, nibble: int) -> tuple[int, int, int]:
    """Return where a child's hash, place and number of leaves stand in a node with this mask."""
    count, index = mask.bit_count(), (mask & (1 << nibble) - 1).bit_count()
    return _HEAD + 32 * index, _HEAD + 32 * count + 8 * index, _HEAD + 40 * count + index


def child_of(node: bytes | bytearray, nibble: int) -> Ref | None:
    """Return one child of an inner node without reading the others."""
    mask = node[10] << 8 | node[11]
    if not mask >> nibble & 1:
        return None
    at, place, leaves = _offsets(mask, nibble)
    return bytes(node[at : at + 32]), bytes(node[place : place + 8]), node[leaves]


def hashes_of(node: bytes | bytearray) -> list[bytes]:
    """Return the hashes of the children of an inner node, in nibble order."""
    end = _HEAD + 32 * mask_of(node).bit_count()
    return [bytes(node[at : at + 32]) for at in range(_HEAD, end, 32)]


def leaves_fit(node: bytes | bytearray, most: int) -> bool:
    """Tell whether at most so many leaves stand below an inner node, all in buckets."""
    counts = node[_HEAD + 40 * mask_of(node).bit_count() :]
    return 0 not in counts and sum(counts) <= most


def children_of(node: bytes | bytearray) -> dict[int, Ref]:
    """Return the children of an inner node by nibble."""
    mask = mask_of(node)
    count = mask.bit_count()
    fields = _layout(count).unpack(node)
    places = [nibble for nibble in range(16) if mask >> nibble & 1]
    return {
        nibble: (fields[1 + i], fields[1 + count + i], fields[1 + 2 * count + i])
        for i, nibble in enumerate(places)
    }


def pack_node(children: Mapping[int, Ref]) -> bytearray:
    """Return the inner node with these children, by nibble, that has no place yet."""
    mask = sum(1 << nibble for nibble in children)
    below = [children[nibble] for nibble in sorted(children)]
    hashes, places, counts = zip(*below, strict=True) if below else ((), (), ())
    return bytearray(_layout(len(below)).pack(mask, *hashes, *places, *counts))


def is_node(node: bytes | bytearray) -> bool:
    """Tell whether bytes have the form of an inner node."""
    return len(node) >= _HEAD and node[LEAVES_AT] == 0 and len(node) == _HEAD + 41 * mask_of(node).bit_count()


def hash_of_node(node: bytes | bytearray) -> bytes:
    """Return the hash of an inner node."""
    hashing = _HASHING.copy()
    hashing.update(memoryview(node)[10 : _HEAD + 32 * (node[10] << 8 | node[11]).bit_count()])
    return hashing.digest()


def set_child(node: bytearray, nibble: int, child: Ref) -> None:
    """Put a child of an inner node in the place of one that is there."""
    mask = node[10] << 8 | node[11]
    if mask == _FULL:
        at, place, leaves = _HEAD + 32 * nibble, _FULL_PLACES + 8 * nibble, _FULL_COUNTS + nibble
    else:
        at, place, leaves = _offsets(mask, nibble)
    node[at : at + 32], node[place : place + 8], node[leaves] = child


def with_children(node: bytes | bytearray, edits: Mapping[int, Ref | None]) -> bytearray:
    """Return an inner node with children, by nibble, replaced, added, or removed (None); without a place."""
    children: dict[int, Ref | None] = {**children_of(node), **edits}
    return pack_node({nibble: child for nibble, child in children.items() if child is not None})
