"""Changes of the state tree: a block's changes rise from the leaves to the root, each node made once.

The form of nodes and their hashes is `chain.ledger.statenode`'s and `chain.ledger.statebucket`'s.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from chain.ledger.faults import DataDamaged
from chain.ledger.recent import Recent
from chain.ledger.records import REMEDY, Records
from chain.ledger.statebucket import (
    BUCKET_LEAVES,
    Leaf,
    hash_of_bucket,
    index_in,
    leaf_in,
    leaves_of,
    pack_bucket,
    place_held,
    set_leaf,
)
from chain.ledger.statedelta import DELTAS_MAX, bucket_entry, child_entry, delta_record, full_record
from chain.ledger.statenode import (
    DELTAS_AT,
    DEPTH_MAX,
    LEAVES_AT,
    NIBBLE,
    Load,
    Ref,
    child_of,
    children_of,
    hash_of_node,
    leaves_fit,
    pack_node,
    set_child,
    with_children,
)

CACHE_BYTES_MAX = 134_217_728
"""Of nodes in the cache: about those of a million small entries."""
_NODE_EXTRA = 300
"""What Python adds to the bytes of a node in the cache."""
_WARM_ROOM = 1_048_576
"""Room that warming leaves."""
_DIGITS = [bytes([digit]) for digit in b"0123456789abcdef"]

Leaves = Mapping[bytes, tuple[bytes | None, bytes]]
"""Key hash -> (value hash or None to delete, what is held of the entry: see `chain.ledger.statebucket`)."""
_Level = dict[bytes, Ref | None]
"""What stands now at the changed paths of one depth."""


@dataclass(slots=True)
class TreeUpdate:
    """What one block does to the tree."""

    root: Ref | None
    stale_nodes: list[bytes] = field(default_factory=list)
    """Places of the last records of nodes that the new tree does not use, nor the records before them."""
    stale_values: list[bytes] = field(default_factory=list)
    """Places of value records that the new tree does not use."""
    added: list[bytes] = field(default_factory=list)
    """Hashes of keys that were not there before."""
    made: dict[bytes, bytearray] = field(default_factory=dict)
    """Path -> new node."""
    grown: int = 0
    """By how many bytes changed nodes became longer."""
    removed: list[bytes] = field(default_factory=list)
    """Paths at which no node stands any more."""


class StateTree:
    """The newest tree: finds leaves and applies blocks; keeps nodes lately used. For one writing thread.

    An update changes the nodes that are kept, so until `keep` says that it is stored they are of no height;
    if it never does, they are forgotten.
    """

    __slots__ = ("_cache", "_changed", "_depth", "_load")

    def __init__(self, load: Load) -> None:
        """`load` reads stored nodes."""
        self._load = load
        self._cache: Recent[bytes, bytearray] = Recent(CACHE_BYTES_MAX, _NODE_EXTRA)
        """path -> node, of the tree that was kept last: whatever is found here is in use."""
        self._changed = False
        self._depth = 0
        """Of the node found last: the next one likely stands as deep."""

    def update(self, root: Ref | None, leaves: Leaves, records: Records) -> TreeUpdate:
        """Return what a block's changes do to the tree kept last; the nodes made are added to `records`."""
        self._settle()
        self._changed = True
        result = TreeUpdate(root)
        writer = _Writer(leaves, records, result)
        keys = sorted(leaves)
        if root is None:
            result.root = writer.build(b"", writer.new_leaves(keys))
        elif keys:
            result.root = self._rise(root, writer, self._change_lowest(root, writer, keys))
        return result

    def keep(self, update: TreeUpdate) -> None:
        """Take over an update whose records are stored now."""
        self._cache.discard(update.removed)
        self._cache.grow(update.grown)
        self._cache.update(update.made)
        self._changed = False

    def _settle(self) -> None:
        """Forget what an update changed that was not kept."""
        if self._changed:
            self._cache.clear()
            self._changed = False

    def leaf(self, root: Ref | None, key_hash: bytes) -> Leaf | None:
        """Return the leaf of a key in the tree kept last, whose root this is; None when it has none."""
        if root is None:
            return None
        self._settle()
        digits = hexlify(key_hash)
        node = self._cache.get(digits[: self._depth])
        if node is None or not node[LEAVES_AT]:
            node = self.lowest(root, digits)[1]
        return leaf_in(node, key_hash) if node[LEAVES_AT] else None

    def warm(self, root: Ref | None, more: Callable[[], bool]) -> None:
        """Read the nodes of the tree kept last, upper ones first, while there is room and `more` says so."""
        level = [] if root is None else [(b"", root)]
        while level:
            below: list[tuple[bytes, Ref]] = []
            for path, ref in level:
                if self._cache.room < _WARM_ROOM or not more():
                    return
                node = self._loaded(ref, path)
                if not node[LEAVES_AT]:
                    below += [(path + _DIGITS[nibble], child) for nibble, child in children_of(node).items()]
            level = below

    def lowest(self, root: Ref, digits: bytes) -> tuple[int, bytearray]:
        """Return (depth, node) of the lowest node on the way to a key, or at a path."""
        cache = self._cache
        depth = min(self._depth, len(digits))
        while (node := cache.get(digits[:depth])) is None and depth:
            depth -= 1
        if node is None:
            node = self._loaded(root, b"")
        while not node[LEAVES_AT] and depth < len(digits):
            ref = child_of(node, NIBBLE[digits[depth]])
            if ref is None:
                break
            depth += 1
            path = digits[:depth]
            node = cache.get(path) or self._loaded(ref, path)
        self._depth = depth
        return depth, node

    def _loaded(self, ref: Ref, path: bytes) -> bytearray:
        node = self._load(ref[1], path, ref[0])
        self._cache.add(path, node)
        return node

    def _change_lowest(self, root: Ref, writer: _Writer, keys: list[bytes]) -> list[_Level]:
        """Apply the changes of keys, sorted, where their ways end; return by depth what stands there now."""
        levels: list[_Level] = [{} for _ in range(DEPTH_MAX + 1)]
        ways, cached = list(map(hexlify, keys)), self._cache.get
        start, end, depth = 0, len(keys), self._depth
        while start < end:
            digits = ways[start]
            path = digits[:depth]
            node = cached(path)
            if node is None or not node[LEAVES_AT]:
                depth, node = self.lowest(root, digits)
                path = digits[:depth] if node[LEAVES_AT] else digits[: depth + 1]  # nothing stands there yet
            stop = start + 1
            while stop < end and ways[stop].startswith(path):
                stop += 1
            if node[LEAVES_AT]:
                writer.change(levels[depth], path, node, keys[start:stop])
            elif added := writer.new_leaves(keys[start:stop]):
                levels[depth + 1][path] = writer.build(path, added)
                writer.reshaped.add(path[:-1])
            start = stop
        return levels

    def _rise(self, root: Ref, writer: _Writer, levels: list[_Level]) -> Ref | None:
        """Rewrite inner nodes from the lowest up, each once with all its new children; return the root."""
        cache = self._cache
        for depth in range(DEPTH_MAX, 0, -1):
            if not levels[depth]:
                continue
            parents: dict[bytes, dict[int, Ref | None]] = {}
            for path, new in levels[depth].items():
                parents.setdefault(path[:-1], {})[NIBBLE[path[-1]]] = new
            level = levels[depth - 1]
            for path, edits in parents.items():
                node = cache.get(path) or self.lowest(root, path)[1]
                if path not in writer.reshaped:
                    level[path] = writer.change_node(node, edits)
                    continue
                changed = writer.reshape(node, edits)
                if leaves_fit(changed, BUCKET_LEAVES):
                    level[path] = self._merge(root, writer, path, changed)
                else:
                    level[path] = writer.store(path, changed, hash_of_node(changed), 0)
        return levels[0].get(b"", root)

    def _merge(self, root: Ref, writer: _Writer, path: bytes, node: bytearray) -> Ref | None:
        """Put the leaves of the buckets below an inner node into one bucket in its place."""
        leaves: list[Leaf] = []
        for nibble, (_, _, count) in children_of(node).items():
            below = path + _DIGITS[nibble]
            bucket = writer.taken_back(below) or self._cache.get(below) or self.lowest(root, below)[1]
            if bucket[LEAVES_AT] != count:
                raise DataDamaged(
                    f"state tree: the node above path {below.decode()} says another number of leaves than "
                    f"stand there{REMEDY}"
                )
            writer.removed(below, bucket)
            leaves += leaves_of(bucket)
        writer.reshaped.add(path[:-1])
        return writer.bucket(path, leaves)


def build_subtree(path: bytes, leaves: Leaves, records: Records) -> Ref | None:
    """Return what stands at `path` when these are all leaves below it; its nodes are added to `records`."""
    writer = _Writer(leaves, records, TreeUpdate(None))
    return writer.build(path, writer.new_leaves(sorted(leaves)))


class _Writer:
    """Makes the nodes of one update."""

    __slots__ = ("_deleted", "_leaves", "_records", "_result", "reshaped")

    def __init__(self, leaves: Leaves, records: Records, result: TreeUpdate) -> None:
        self._leaves, self._records, self._result = leaves, records, result
        self._deleted = {key for key, (value, _) in leaves.items() if value is None}
        self.reshaped: set[bytes] = set()
        """Paths of inner nodes that get or lose children, or lose leaves."""

    def store(self, path: bytes, node: bytearray, hashed: bytes, leaves: int) -> Ref:
        """Store a new node that stands at `path` now."""
        where = self._records.add(full_record(node))
        node[:DELTAS_AT] = where
        self._result.made[path] = node
        return hashed, where, leaves

    def _store_change(self, node: bytearray, entries: bytes) -> bytes:
        """Store a node of which some entries changed; return where its record will stand."""
        deltas = node[DELTAS_AT] + 1
        if deltas > DELTAS_MAX or 2 * len(entries) > len(node):
            self._result.stale_nodes.append(bytes(node[:DELTAS_AT]))
            where = self._records.add(full_record(node))
        else:
            where = self._records.add(delta_record(node, deltas, entries))
        node[:DELTAS_AT] = where
        return where

    def change(self, level: _Level, path: bytes, bucket: bytearray, keys: list[bytes]) -> None:
        """Put into `level` what a bucket becomes by the changes of keys, sorted, below it."""
        indexes = [index_in(bucket, key) for key in keys]
        if -1 in indexes or not self._deleted.isdisjoint(keys):
            self._change_shape(level, path, bucket, keys)
            return
        result, entries = self._result, b""
        for key, index in zip(keys, indexes, strict=True):
            hashed, held = self._leaves[key]
            assert hashed is not None  # it is not deleted
            former = set_leaf(bucket, index, hashed, held)
            if former[0]:
                result.stale_values.append(bytes(former[1:]))
            if len(held) != len(former):
                result.grown += len(held) - len(former)
            entries += bucket_entry(key, hashed, held)
        level[path] = hash_of_bucket(bucket), self._store_change(bucket, entries), bucket[LEAVES_AT]

    def change_node(self, node: bytearray, edits: Mapping[int, Ref | None]) -> Ref:
        """Return what an inner node becomes by other children in the place of some that are there."""
        entries = b""
        for nibble, child in edits.items():
            assert child is not None  # else its bucket lost leaves: see `reshaped`
            set_child(node, nibble, child)
            entries += child_entry(nibble, child)
        return hash_of_node(node), self._store_change(node, entries), 0

    def _change_shape(self, level: _Level, path: bytes, bucket: bytearray, keys: list[bytes]) -> None:
        """Do what `change` does when keys come or go."""
        kept = {leaf[0]: leaf for leaf in leaves_of(bucket)}
        former = [kept.pop(key) for key in keys if key in kept]
        new = self.new_leaves(keys, {leaf[0] for leaf in former})
        if not former and not new:
            return
        places = [place_held(held) for _, _, held in former]
        self._result.stale_nodes.append(bytes(bucket[:DELTAS_AT]))
        self._result.stale_values += [where for where in places if where is not None]
        level[path] = self.build(path, sorted([*kept.values(), *new]))
        if len(new) < len(former):
            self.reshaped.add(path[:-1])

    def new_leaves(self, keys: list[bytes], known: Collection[bytes] = ()) -> list[Leaf]:
        """Return the leaves that keys get, and note those that come; `known` are there already."""
        found = [
            (key, value, held) for key in keys for value, held in [self._leaves[key]] if value is not None
        ]
        self._result.added += [key for key, _, _ in found if key not in known]
        return found

    def reshape(self, node: bytearray, edits: Mapping[int, Ref | None]) -> bytearray:
        """Return an inner node with new children, some of which come or go; the former one is stale."""
        self._result.stale_nodes.append(bytes(node[:DELTAS_AT]))
        return with_children(node, edits)

    def build(self, path: bytes, leaves: list[Leaf]) -> Ref | None:
        """Make the subtree of these leaves, sorted; None when there are none."""
        if len(leaves) <= BUCKET_LEAVES:
            return self.bucket(path, leaves)
        depth = len(path)
        children: dict[int, Ref] = {}
        for digit, below in groupby(leaves, key=lambda leaf: hexlify(leaf[0])[depth]):
            child = self.build(path + _DIGITS[NIBBLE[digit]], list(below))
            assert child is not None  # a group is not empty
            children[NIBBLE[digit]] = child
        node = pack_node(children)
        return self.store(path, node, hash_of_node(node), 0)

    def bucket(self, path: bytes, leaves: list[Leaf]) -> Ref | None:
        """Make the bucket of these leaves, sorted and few enough; None when there are none."""
        if not leaves:
            self._result.removed.append(path)
            return None
        bucket = pack_bucket(leaves)
        return self.store(path, bucket, hash_of_bucket(bucket), len(leaves))

    def taken_back(self, path: bytes) -> bytearray | None:
        """Return the new node of this update at a path, which it does not keep; None when there is none."""
        return self._result.made.pop(path, None)

    def removed(self, path: bytes, node: bytearray) -> None:
        """Note that a node no longer stands at its path."""
        self._result.stale_nodes.append(bytes(node[:DELTAS_AT]))
        self._result.removed.append(path)
