"""The authenticated state: a 16-way radix tree over key hashes (after Diem's Jellyfish Merkle Tree).

A *leaf* stands at the shallowest place where its path is its own, so paths are compressed at their lower
end; an inner node holds at least two keys, hence the shape, and so the root, depends on the keys and values
alone, never on the order in which they came. An empty tree has the root of 32 zeros.

    leaf hash  = H("assent/state-leaf", key hash, value hash)
    inner hash = H("assent/state-node", mask of present children: 2 bytes, their hashes in nibble order)

Inner nodes are records (`chain.ledger.records`): a block adds some and changes none, so the tree of every
height that was not pruned can be read. A parent names its children by where their records stand: an inner
node's own, or for a leaf, whose key the parent holds, the record of its value. What a block made stale is a
list that pruning works off.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from hashlib import sha256

DEPTH_MAX = 64

Ref = tuple[bytes, bytes, bytes | None]
"""A child: (hash, where the record of the node or value stands: 8 bytes, key hash if it is a leaf)."""
Load = Callable[[bytes, bytes, bytes], bytes]
"""Returns the inner node at (place of its record, path in ASCII hex digits, hash), checked."""
Edit = tuple[int, bool, Ref | None]
"""(nibble, whether the child stays what it was: a leaf of the same key, or an inner node; new child)."""

NIBBLE = {digit: value for value, digit in enumerate(b"0123456789abcdef")}
"""ASCII hex digit -> its value."""
_KEY = b"assent/state-key\0"
_VALUE = b"assent/state-value\0"
_LEAF = b"assent/state-leaf\0"
_NODE = b"assent/state-node\0"


def leaf_hash(key_hash: bytes, value_hash: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(_LEAF + key_hash + value_hash).digest()


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


# --- stored nodes ---------------------------------------------------------------------------------
# own place: 8 | leaf mask: 2 | mask: 2 | n hashes: 32 n | n places: 8 n | m leaf keys: 32 m
# The own place is where the record stood first; it tells versions of a node apart, and is not hashed.

_HEAD = 12
_FULL = b"\0\0\xff\xff"
"""Masks of a node with sixteen inner nodes below it."""
_FULL_PLACES = _HEAD + 16 * 32


@lru_cache(maxsize=512)
def _layout(children: int, leaves: int) -> struct.Struct:
    return struct.Struct(">8sHH" + "32s" * children + "8s" * children + "32s" * leaves)


def child_of(node: bytes, nibble: int) -> Ref | None:
    """Return one child of a stored node without reading the others."""
    if node[8:_HEAD] == _FULL:
        at, place = _HEAD + 32 * nibble, _FULL_PLACES + 8 * nibble
        return node[at : at + 32], node[place : place + 8], None
    bit = 1 << nibble
    mask = node[10] << 8 | node[11]
    if not mask & bit:
        return None
    leaves = node[8] << 8 | node[9]
    count, index = mask.bit_count(), (mask & (bit - 1)).bit_count()
    at = _HEAD + 32 * index
    place = _HEAD + 32 * count + 8 * index
    key = None
    if leaves & bit:
        start = _HEAD + 40 * count + 32 * (leaves & (bit - 1)).bit_count()
        key = node[start : start + 32]
    return node[at : at + 32], node[place : place + 8], key


def mask_of(node: bytes) -> int:
    """Return the mask of present children of a stored node."""
    return node[10] << 8 | node[11]


def hashes_of(node: bytes) -> list[bytes]:
    """Return the hashes of the children of a stored node, in nibble order."""
    return [node[at : at + 32] for at in range(_HEAD, _HEAD + 32 * mask_of(node).bit_count(), 32)]


def children_of(node: bytes) -> dict[int, Ref]:
    """Return the children of a stored node by nibble."""
    leaves, mask = node[8] << 8 | node[9], mask_of(node)
    count = mask.bit_count()
    fields = _layout(count, leaves.bit_count()).unpack(node)
    keys = iter(fields[3 + 2 * count :])
    places = [nibble for nibble in range(16) if mask >> nibble & 1]
    return {
        nibble: (fields[3 + i], fields[3 + count + i], next(keys) if leaves >> nibble & 1 else None)
        for i, nibble in enumerate(places)
    }


def pack_node(where: bytes, children: Mapping[int, Ref]) -> bytes:
    """Return the stored node with these children, by nibble, for a record that will stand at `where`."""
    mask = leaves = 0
    hashes, places, keys = [], [], []
    for nibble in sorted(children):
        child_hash, place, key = children[nibble]
        mask |= 1 << nibble
        hashes.append(child_hash)
        places.append(place)
        if key is not None:
            leaves |= 1 << nibble
            keys.append(key)
    return _layout(len(hashes), len(keys)).pack(where, leaves, mask, *hashes, *places, *keys)


def is_node(record: bytes, where: bytes) -> bool:
    """Tell whether bytes have the form of an inner node that stood at a place first."""
    if len(record) < _HEAD or record[:8] != where:
        return False
    leaves, mask = record[8] << 8 | record[9], mask_of(record)
    return leaves & ~mask == 0 and len(record) == _HEAD + 40 * mask.bit_count() + 32 * leaves.bit_count()


def stored_hash(node: bytes) -> bytes:
    """Return the hash of a stored inner node."""
    return sha256(_NODE + node[10 : _HEAD + 32 * mask_of(node).bit_count()]).digest()


def with_child(node: bytes, where: bytes, nibble: int, child: Ref) -> tuple[bytes, bytes]:
    """Return (node, its hash) with one child replaced by one of the same kind, as `edited` does."""
    if node[8:_HEAD] == _FULL:
        end, at, place = _FULL_PLACES, _HEAD + 32 * nibble, _FULL_PLACES + 8 * nibble
    else:
        mask = node[10] << 8 | node[11]
        index = (mask & (1 << nibble) - 1).bit_count()
        end = _HEAD + 32 * mask.bit_count()
        at, place = _HEAD + 32 * index, end + 8 * index
    changed = b"".join((where, node[8:at], child[0], node[at + 32 : place], child[1], node[place + 8 :]))
    return changed, sha256(_NODE + changed[10:end]).digest()


def edited(node: bytes, edits: list[Edit], where: bytes) -> bytes:
    """Return a stored node with children replaced; most edits keep its shape and are spliced in."""
    if not all(same for _, same, _ in edits):
        children = children_of(node)
        for nibble, _, changed in edits:
            if changed is None:
                children.pop(nibble, None)
            else:
                children[nibble] = changed
        return pack_node(where, children)
    mask = mask_of(node)
    count = mask.bit_count()
    data = bytearray(node)
    data[:8] = where
    for nibble, _, new in edits:
        assert new is not None
        index = (mask & (1 << nibble) - 1).bit_count()
        at, place = _HEAD + 32 * index, _HEAD + 32 * count + 8 * index
        data[at : at + 32] = new[0]
        data[place : place + 8] = new[1]
    return bytes(data)
