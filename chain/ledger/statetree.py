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
from typing import Annotated

from chain.ledger.recent import Recent
from chain.ledger.records import Records
from chain.primitives.codec import Bound, Hash, record
from chain.primitives.crypto import ZERO_HASH

DEPTH_MAX = 64
CACHE_BYTES_MAX = 67_108_864
"""Of nodes in each generation of the cache: about the inner nodes of a million keys in both."""
_NODE_WEIGHT = 200
"""What Python adds to the bytes of a node in the cache."""

Ref = tuple[bytes, bytes, bytes | None]
"""A child: (hash, where the record of the node or value stands: 8 bytes, key hash if it is a leaf)."""
Load = Callable[[bytes, bytes, bytes], bytes]
"""Returns the inner node at (place of its record, path in ASCII hex digits, hash), checked."""
Change = tuple[bytes, bytes, bytes | None, bytes]
"""(path of the key in ASCII hex digits, key hash, new leaf hash or None to delete, place of its value)."""
Edit = tuple[int, bool, Ref | None]
"""(nibble, whether the child stays what it was: a leaf of the same key, or an inner node; new child)."""

_KEY = b"assent/state-key\0"
_VALUE = b"assent/state-value\0"
_LEAF = b"assent/state-leaf\0"
_NODE = b"assent/state-node\0"
_NIBBLE = {digit: value for value, digit in enumerate(b"0123456789abcdef")}
_DIGITS = [bytes([digit]) for digit in b"0123456789abcdef"]
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
# own place: 8 | leaf mask: 2 | mask: 2 | n hashes: 32 n | n places: 8 n | m leaf keys: 32 m
# The own place is where the record stood first; it tells versions of a node apart, and is not hashed.

_HEAD = 12
_FULL = b"\0\0\xff\xff"
"""Masks of a node with sixteen inner nodes below it."""
_FULL_PLACES = _HEAD + 16 * 32


@lru_cache(maxsize=512)
def _layout(children: int, leaves: int) -> struct.Struct:
    return struct.Struct(">8sHH" + "32s" * children + "8s" * children + "32s" * leaves)


def _child(node: bytes, nibble: int) -> Ref | None:
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


def _edited(node: bytes, edits: list[Edit], where: bytes) -> bytes:
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
    made: list[tuple[bytes, bytes]] = field(default_factory=list)
    """(path, node)."""
    removed: list[bytes] = field(default_factory=list)
    """Paths at which no node stands any more."""


class StateTree:
    """The newest tree: finds leaves and applies blocks; keeps nodes lately used. For one writing thread."""

    __slots__ = ("_cache", "_load")

    def __init__(self, load: Load) -> None:
        """`load` reads stored nodes."""
        self._load = load
        self._cache: Recent[bytes, bytes] = Recent(CACHE_BYTES_MAX)
        """path -> node, of the tree that was kept last: whatever is found here is in use."""

    def update(self, root: Ref | None, leaves: Leaves, records: Records) -> TreeUpdate:
        """Return what a block's changes do to the tree kept last; the nodes made are added to `records`."""
        changes = _changes(leaves)
        result = TreeUpdate(root)
        if changes:
            writer = _Writer(records, result)
            if root is None or root[2] is not None:
                result.root = writer.apply(root, b"", changes)
            else:
                result.root = self._rise(root, writer, self._lowest_edits(root, writer, changes))
        return result

    def keep(self, update: TreeUpdate) -> None:
        """Take over an update whose records are stored now."""
        self._cache.discard(update.removed)
        put = self._cache.put
        for path, node in update.made:
            put(path, node, len(node) + _NODE_WEIGHT)

    def leaf(self, root: Ref | None, key_hash: bytes) -> Ref | None:
        """Return the leaf of a key in the tree kept last, whose root this is; None when it has none."""
        found = root
        if root is not None and root[2] is None:
            digits = hexlify(key_hash)
            depth, node = self._lowest(root, digits)
            found = _child(node, _NIBBLE[digits[depth]])
        return found if found is not None and found[2] == key_hash else None

    def _lowest(self, root: Ref, digits: bytes) -> tuple[int, bytes]:
        """Return (depth, node) of the lowest inner node on the way to a key, or at a path."""
        cache = self._cache
        depth = min((len(cache).bit_length() + 3) // 4, len(digits))  # where most nodes above leaves stand
        while (node := cache.get(digits[:depth])) is None and depth:
            depth -= 1
        if node is None:
            node = self._loaded(root, b"")
        while depth < len(digits):
            ref = _child(node, _NIBBLE[digits[depth]])
            if ref is None or ref[2] is not None:
                break
            depth += 1
            path = digits[:depth]
            node = cache.get(path) or self._loaded(ref, path)
        return depth, node

    def _loaded(self, ref: Ref, path: bytes) -> bytes:
        node = self._load(ref[1], path, ref[0])
        self._cache.put(path, node, len(node) + _NODE_WEIGHT)
        return node

    def _lowest_edits(self, root: Ref, writer: _Writer, changes: list[Change]) -> list[_Edits]:
        """Apply changes where their ways end; return by depth what that does to the nodes there."""
        levels: list[_Edits] = [{} for _ in range(DEPTH_MAX)]
        start, end = 0, len(changes)
        while start < end:
            digits = changes[start][0]
            depth, node = self._lowest(root, digits)
            stem = digits[: depth + 1]
            stop = start + 1
            while stop < end and changes[stop][0].startswith(stem):
                stop += 1
            nibble = _NIBBLE[digits[depth]]
            old = _child(node, nibble)
            new = writer.apply(old, stem, changes[start:stop])
            if new is not old:
                same = old is not None and new is not None and old[2] == new[2]
                levels[depth].setdefault(stem[:-1], []).append((nibble, same, new))
            start = stop
        return levels

    def _rise(self, root: Ref, writer: _Writer, levels: list[_Edits]) -> Ref | None:
        """Rewrite nodes from the lowest up, each once with all its edits; return the new root."""
        cache = self._cache
        above: Ref | None = root
        for depth in range(DEPTH_MAX - 1, -1, -1):
            higher = levels[depth - 1]
            for path, edits in levels[depth].items():
                node = cache.get(path) or self._lowest(root, path)[1]
                if len(edits) == 1 and edits[0][1]:
                    above = writer.splice(path, node, edits[0])
                else:
                    above = writer.rewrite(path, node, edits)
                if depth:
                    edit = (_NIBBLE[path[-1]], above is not None and above[2] is None, above)
                    over = higher.get(path[:-1])
                    if over is None:
                        higher[path[:-1]] = [edit]
                    else:
                        over.append(edit)
        return above


_Edits = dict[bytes, list[Edit]]
"""Path of a node -> its edits."""


def build_subtree(path: bytes, leaves: Leaves, records: Records) -> Ref | None:
    """Return what stands at `path` when these are all leaves below it; its nodes are added to `records`."""
    return _Writer(records, TreeUpdate(None)).apply(None, path, _changes(leaves))


class _Writer:
    """Makes the nodes of one update."""

    __slots__ = ("_records", "_result")

    def __init__(self, records: Records, result: TreeUpdate) -> None:
        self._records = records
        self._result = result

    def apply(self, ref: Ref | None, path: bytes, changes: list[Change]) -> Ref | None:
        """Return what stands at `path`, where a leaf or nothing stood, after these changes, sorted."""
        if ref is None:
            return self._build(path, [change for change in changes if change[2] is not None])
        if len(changes) == 1 and changes[0][1] == ref[2]:  # the usual case: a new value for the same key
            self._replace(ref)
            _, key, new, where = changes[0]
            return None if new is None else (new, where, key)
        kept = [change for change in changes if change[2] is not None]
        if any(change[1] == ref[2] for change in changes):
            self._replace(ref)
            return self._build(path, kept)
        if not kept:
            return ref
        assert ref[2] is not None
        return self._build(path, sorted([*kept, (hexlify(ref[2]), ref[2], ref[0], ref[1])]))

    def _replace(self, leaf: Ref) -> None:
        _, where, key = leaf
        assert key is not None
        self._result.stale.append(where)
        self._result.replaced.add(key)

    def splice(self, path: bytes, node: bytes, edit: Edit) -> Ref:
        """Do what `rewrite` does for one edit that keeps the node's shape: most edits of a large tree."""
        nibble, _, new = edit
        assert new is not None
        if node[8:_HEAD] == _FULL:
            end, at, place = _FULL_PLACES, _HEAD + 32 * nibble, _FULL_PLACES + 8 * nibble
        else:
            mask = node[10] << 8 | node[11]
            index = (mask & (1 << nibble) - 1).bit_count()
            end = _HEAD + 32 * mask.bit_count()
            at, place = _HEAD + 32 * index, end + 8 * index
        records, result = self._records, self._result
        where = records.place()
        changed = b"".join((where, node[8:at], new[0], node[at + 32 : place], new[1], node[place + 8 :]))
        records.add(changed)
        result.stale.append(node[:8])
        result.made.append((path, changed))
        return sha256(_NODE + changed[10:end]).digest(), where, None

    def rewrite(self, path: bytes, node: bytes, edits: list[Edit]) -> Ref | None:
        """Return what a node becomes by edits of its children."""
        self._result.stale.append(node[:8])
        return self._keep(path, _edited(node, edits, self._records.place()))

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
        return self._keep(path, pack_node(self._records.place(), children))

    def _leaf(self, leaf: Change) -> Ref:
        _, key, hashed, where = leaf
        assert hashed is not None
        return hashed, where, key

    def _keep(self, path: bytes, node: bytes) -> Ref | None:
        """Store a node; one left with a single leaf is that leaf, and one without children is nothing."""
        mask = mask_of(node)
        if mask & (mask - 1) == 0:
            alone = _child(node, mask.bit_length() - 1) if mask else None
            if alone is None or alone[2] is not None:
                self._result.removed.append(path)
                return alone
        self._records.add(node)
        self._result.made.append((path, node))
        return sha256(_NODE + node[10 : _HEAD + 32 * mask.bit_count()]).digest(), node[:8], None


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
        mask, hashes = mask_of(node), hashes_of(node)
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
