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
from binascii import hexlify
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from typing import Annotated

from chain.ledger.records import Records
from chain.primitives.codec import Bound, Hash, record
from chain.primitives.crypto import ZERO_HASH

DEPTH_MAX = 64
CACHE_NODES_MAX = 65_536

Ref = tuple[bytes, bytes, bytes | None]
"""A child: (hash, where the record of the node or value stands: 8 bytes, key hash if it is a leaf)."""
Load = Callable[[bytes, bytes, bytes], bytes]
"""Returns the inner node at (place of its record, path in ASCII hex digits, hash), checked."""
Change = tuple[bytes, bytes, bytes | None, bytes]
"""(path of the key in ASCII hex digits, key hash, new leaf hash or None to delete, place of its value)."""
Edit = tuple[int, Ref | None, Ref | None]
"""(nibble, former child, new child)."""

_INNER: Ref = (b"", b"", None)
"""Stands for a former child that was an inner node, whichever."""
_KEY = b"assent/state-key\0"
_VALUE = b"assent/state-value\0"
_LEAF = b"assent/state-leaf\0"
_NODE = b"assent/state-node\0"
_NIBBLE = {digit: value for value, digit in enumerate(b"0123456789abcdef")}
_DIGITS = [bytes([digit]) for digit in b"0123456789abcdef"]
_Step = tuple[bytes, bytes, bytes, int, int, int]
"""On the way down: (path, where, node, nibble, offset of the child's hash, offset of its place)."""


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
# leaf mask: 2 | mask: 2 | n hashes: 32 n | n places: 8 n | m leaf keys: 32 m


@lru_cache(maxsize=512)
def _layout(children: int, leaves: int) -> struct.Struct:
    return struct.Struct(">HH" + "32s" * children + "8s" * children + "32s" * leaves)


def _child(node: bytes, nibble: int) -> Ref | None:
    """Return one child of a stored node without reading the others."""
    bit = 1 << nibble
    mask = node[2] << 8 | node[3]
    if not mask & bit:
        return None
    leaves = node[0] << 8 | node[1]
    count, index = mask.bit_count(), (mask & (bit - 1)).bit_count()
    at = 4 + 32 * index
    where = 4 + 32 * count + 8 * index
    key = None
    if leaves & bit:
        start = 4 + 40 * count + 32 * (leaves & (bit - 1)).bit_count()
        key = node[start : start + 32]
    return node[at : at + 32], node[where : where + 8], key


def children_of(node: bytes) -> dict[int, Ref]:
    """Return the children of a stored node by nibble."""
    leaves, mask = node[0] << 8 | node[1], node[2] << 8 | node[3]
    count = mask.bit_count()
    fields = _layout(count, leaves.bit_count()).unpack(node)
    keys = iter(fields[2 + 2 * count :])
    places = [nibble for nibble in range(16) if mask >> nibble & 1]
    return {
        nibble: (fields[2 + i], fields[2 + count + i], next(keys) if leaves >> nibble & 1 else None)
        for i, nibble in enumerate(places)
    }


def pack_node(children: Mapping[int, Ref]) -> bytes:
    """Return the stored node with these children, by nibble."""
    mask = leaves = 0
    hashes, places, keys = [], [], []
    for nibble in sorted(children):
        child_hash, where, key = children[nibble]
        mask |= 1 << nibble
        hashes.append(child_hash)
        places.append(where)
        if key is not None:
            leaves |= 1 << nibble
            keys.append(key)
    return _layout(len(hashes), len(keys)).pack(leaves, mask, *hashes, *places, *keys)


def is_node(record: bytes) -> bool:
    """Tell whether bytes have the form of a stored inner node."""
    if len(record) < 4:
        return False
    leaves, mask = record[0] << 8 | record[1], record[2] << 8 | record[3]
    return leaves & ~mask == 0 and len(record) == 4 + 40 * mask.bit_count() + 32 * leaves.bit_count()


def stored_hash(node: bytes) -> bytes:
    """Return the hash of a stored inner node."""
    count = (node[2] << 8 | node[3]).bit_count()
    return sha256(_NODE + node[2 : 4 + 32 * count]).digest()


def _edited(node: bytes, edits: list[Edit]) -> bytes:
    """Return a stored node with children replaced; most edits keep its shape and are spliced in."""
    for _, old, new in edits:
        if old is None or new is None or old[2] != new[2]:
            children = children_of(node)
            for nibble, _, changed in edits:
                if changed is None:
                    children.pop(nibble, None)
                else:
                    children[nibble] = changed
            return pack_node(children)
    mask = node[2] << 8 | node[3]
    count = mask.bit_count()
    data = bytearray(node)
    for nibble, _, new in edits:
        assert new is not None
        index = (mask & ((1 << nibble) - 1)).bit_count()
        data[4 + 32 * index : 36 + 32 * index] = new[0]
        where = 4 + 32 * count + 8 * index
        data[where : where + 8] = new[1]
    return bytes(data)


# --- update ---------------------------------------------------------------------------------------


Leaves = Mapping[bytes, tuple[bytes | None, bytes]]
"""Key hash -> (value hash or None to delete, place of the value's record)."""


def _changes(leaves: Leaves) -> list[Change]:
    return sorted(
        [
            (hexlify(key), key, None if value is None else sha256(_LEAF + key + value).digest(), where)
            for key, (value, where) in leaves.items()
        ]
    )


@dataclass(slots=True)
class TreeUpdate:
    """What one block does to the tree."""

    root: Ref | None
    stale: list[bytes] = field(default_factory=list)
    """Places of the nodes and values that the new tree no longer uses."""
    replaced: set[bytes] = field(default_factory=set)
    """Hashes of keys that were there before."""
    made: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)
    """(path, where, node)."""
    removed: list[bytes] = field(default_factory=list)
    """Paths at which no node stands any more."""


class StateTree:
    """The newest tree: finds leaves and applies blocks; keeps nodes lately used. For one writing thread."""

    __slots__ = ("_cache", "_load")

    def __init__(self, load: Load) -> None:
        """`load` reads stored nodes."""
        self._load = load
        self._cache: dict[bytes, tuple[bytes, bytes]] = {}
        """path -> (where, node); only of the tree that was kept last."""

    def update(self, root: Ref | None, leaves: Leaves, records: Records) -> TreeUpdate:
        """Return what a block's changes do; the nodes made are added to `records`."""
        changes = _changes(leaves)
        result = TreeUpdate(root)
        if changes:
            result.root = _Writer(self._node, records, result).apply(root, b"", changes)
        return result

    def keep(self, update: TreeUpdate) -> None:
        """Take over an update whose records are stored now."""
        cache = self._cache
        for path in update.removed:
            cache.pop(path, None)
        for path, where, node in update.made:
            cache[path] = (where, node)
        excess = len(cache) - CACHE_NODES_MAX
        if excess > 0:
            for path in list(islice(cache, excess + CACHE_NODES_MAX // 8)):
                del cache[path]

    def leaf(self, root: Ref | None, key_hash: bytes) -> Ref | None:
        """Return the leaf of a key in the tree kept last, whose root this is; None when it has none."""
        if root is None or root[2] is not None:
            return root if root is not None and root[2] == key_hash else None
        digits, cache = hexlify(key_hash), self._cache
        depth = (len(cache).bit_length() + 3) // 4  # about where the nodes above leaves stand
        while depth and digits[:depth] not in cache:
            depth -= 1
        path = digits[:depth]
        node = cache[path][1] if path in cache else self._node(root[1], path, root[0])
        while (ref := _child(node, _NIBBLE[digits[depth]])) is not None:
            if ref[2] is not None:
                return ref if ref[2] == key_hash else None
            depth += 1
            node = self._node(ref[1], digits[:depth], ref[0])
        return None

    def _node(self, where: bytes, path: bytes, expected: bytes) -> bytes:
        found = self._cache.get(path)
        if found is not None and found[0] == where:
            return found[1]
        node = self._load(where, path, expected)
        self._cache[path] = (where, node)
        return node


def build_subtree(path: bytes, leaves: Leaves, records: Records) -> Ref | None:
    """Return what stands at `path` when these are all leaves below it; its nodes are added to `records`."""
    return _Writer(_no_node, records, TreeUpdate(None)).apply(None, path, _changes(leaves))


def _no_node(*reference: bytes) -> bytes:
    raise KeyError(reference)


class _Writer:
    """One update: the recursion's shared arguments."""

    __slots__ = ("_load", "_records", "_result")

    def __init__(self, load: Load, records: Records, result: TreeUpdate) -> None:
        self._load = load
        self._records = records
        self._result = result

    def apply(self, ref: Ref | None, path: bytes, changes: list[Change]) -> Ref | None:
        """Return what stands at `path` after these sorted changes, all of which lie below it."""
        if ref is None:
            return self._build(path, [change for change in changes if change[2] is not None])
        if ref[2] is not None:
            return self._apply_to_leaf(ref, ref[2], path, changes)
        if len(changes) == 1:
            return self._apply_alone(ref, path, changes[0])
        return self._apply_to_node(ref, path, changes)

    def _apply_to_leaf(self, ref: Ref, key: bytes, path: bytes, changes: list[Change]) -> Ref | None:
        if len(changes) == 1 and changes[0][1] == key:  # the usual case: a new value for the same key
            self._replace(ref[1], key)
            _, _, new, where = changes[0]
            return None if new is None else (new, where, key)
        kept = [change for change in changes if change[2] is not None]
        if any(change[1] == key for change in changes):
            self._replace(ref[1], key)
            return self._build(path, kept)
        if not kept:
            return ref
        return self._build(path, sorted([*kept, (hexlify(key), key, ref[0], ref[1])]))

    def _replace(self, where: bytes, key: bytes) -> None:
        self._result.stale.append(where)
        self._result.replaced.add(key)

    def _apply_to_node(self, ref: Ref, path: bytes, changes: list[Change]) -> Ref | None:
        node = self._load(ref[1], path, ref[0])
        edits: list[Edit] = []
        for digit, below in _split(changes, len(path)):
            nibble = _NIBBLE[digit]
            old = _child(node, nibble)
            new = self.apply(old, path + _DIGITS[nibble], below)
            if new is not old:
                edits.append((nibble, old, new))
        if not edits:
            return ref
        self._result.stale.append(ref[1])
        return self._keep(path, _edited(node, edits))

    def _apply_alone(self, ref: Ref, path: bytes, change: Change) -> Ref | None:
        """Do the work of `_apply_to_node` for one change, without recursion: most nodes of a large tree.

        Goes down as long as the way exists; what the change does to the last node's child is spliced in on
        the way up, unless it takes the child away or turns it into a leaf.
        """
        digits, load = change[0], self._load
        steps: list[_Step] = []
        expected, where, leaves, bit = ref[0], ref[1], 0, 1
        while not leaves & bit:  # until the child is a leaf, or missing
            node = load(where, path, expected)
            nibble = _NIBBLE[digits[len(path)]]
            bit = 1 << nibble
            leaves, mask = node[0] << 8 | node[1], node[2] << 8 | node[3]
            index = (mask & bit - 1).bit_count()
            at, place = 4 + 32 * index, 4 + 32 * mask.bit_count() + 8 * index
            steps.append((path, where, node, nibble, at, place))
            path = digits[: len(path) + 1]
            if not mask & bit:
                break
            expected, where = node[at : at + 32], node[place : place + 8]
        old = _child(node, nibble)
        new = self.apply(old, path, [change])
        return ref if new is old else self._rise(steps, old, new)

    def _rise(self, steps: list[_Step], old: Ref | None, new: Ref | None) -> Ref | None:
        """Put a new child into the last of these nodes, and so on up to the first; return what it became."""
        add, made, stale = self._records.add, self._result.made, self._result.stale
        for path, where, node, nibble, at, place in reversed(steps):
            stale.append(where)
            if old is None or new is None or old[2] != new[2]:
                new = self._keep(path, _edited(node, [(nibble, old, new)]))
            else:
                changed = b"".join((node[:at], new[0], node[at + 32 : place], new[1], node[place + 8 :]))
                there = add(changed)
                made.append((path, there, changed))
                new = (stored_hash(changed), there, None)
            old = _INNER
        return new

    def _build(self, path: bytes, leaves: list[Change]) -> Ref | None:
        """Make the subtree of these leaves."""
        if len(leaves) < 2:
            return self._leaf(leaves[0]) if leaves else None
        children: dict[int, Ref] = {}
        for digit, below in _split(leaves, len(path)):
            nibble = _NIBBLE[digit]
            child = self._build(path + _DIGITS[nibble], below)
            assert child is not None
            children[nibble] = child
        return self._keep(path, pack_node(children))

    def _leaf(self, leaf: Change) -> Ref:
        _, key, hashed, where = leaf
        assert hashed is not None
        return hashed, where, key

    def _keep(self, path: bytes, node: bytes) -> Ref | None:
        """Store a node; one left with a single leaf is that leaf, and one without children is nothing."""
        mask = node[2] << 8 | node[3]
        if mask & (mask - 1) == 0:
            alone = _child(node, mask.bit_length() - 1) if mask else None
            if alone is None or alone[2] is not None:
                self._result.removed.append(path)
                return alone
        where = self._records.add(node)
        self._result.made.append((path, where, node))
        return stored_hash(node), where, None


def _split(changes: list[Change], depth: int) -> list[tuple[int, list[Change]]]:
    """Group sorted changes by their digit at this depth."""
    if len(changes) == 1:
        return [(changes[0][0][depth], changes)]
    groups = []
    start, end = 0, len(changes)
    while start < end:
        digit = changes[start][0][depth]
        stop = start + 1
        while stop < end and changes[stop][0][depth] == digit:
            stop += 1
        groups.append((digit, changes[start:stop]))
        start = stop
    return groups


# --- reading and proving --------------------------------------------------------------------------

Levels = tuple[tuple[int, tuple[bytes, ...]], ...]


@record("state-proof", max_bytes=65_536)
class StateProof:
    """The path of one key through the tree of a height: proves its value, or that it has none."""

    levels: Annotated[
        tuple[tuple[Annotated[int, Bound(0, 65_535)], Annotated[tuple[Hash, ...], Bound(0, 16)]], ...],
        Bound(0, DEPTH_MAX),
    ]
    """From the root down: mask of present children, and their hashes without the path's own."""
    leaf: tuple[Hash, Hash] | None
    """(key hash, value hash) at the path's end; None when nothing stands there."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the path of a key ends in one tree."""

    levels: Levels
    leaf: Ref | None


def find(load: Load, root: Ref | None, key_hash: bytes) -> Place:
    """Follow a key's path from a root; the leaf found may be another key's, which proves absence."""
    path = hexlify(key_hash)
    levels: list[tuple[int, tuple[bytes, ...]]] = []
    ref = root
    while ref is not None and ref[2] is None:
        depth = len(levels)
        node = load(ref[1], path[:depth], ref[0])
        nibble = _NIBBLE[path[depth]]
        mask = node[2] << 8 | node[3]
        hashes = [node[4 + 32 * i : 36 + 32 * i] for i in range(mask.bit_count())]
        ref = _child(node, nibble)
        if ref is not None:
            del hashes[(mask & ((1 << nibble) - 1)).bit_count()]
        levels.append((mask, tuple(hashes)))
    return Place(tuple(levels), ref)


def root_of(proof: StateProof, key_hash: bytes) -> bytes | None:
    """Return the root that a proof of this key leads to; None when the proof is malformed."""
    path = hexlify(key_hash)
    levels = proof.levels
    current: bytes | None = None
    if proof.leaf is not None:
        # another key's leaf proves absence only if it stands on this key's path
        if hexlify(proof.leaf[0])[: len(levels)] != path[: len(levels)]:
            return None
        current = leaf_hash(*proof.leaf)
    for depth in range(len(levels) - 1, -1, -1):
        mask, hashes = levels[depth]
        nibble = _NIBBLE[path[depth]]
        present = mask >> nibble & 1
        if bool(present) != (current is not None) or mask.bit_count() != len(hashes) + present:
            return None
        children = list(hashes)
        if current is not None:
            children.insert((mask & ((1 << nibble) - 1)).bit_count(), current)
        current = node_hash(mask, b"".join(children))
    return ZERO_HASH if current is None else current
