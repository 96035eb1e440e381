"""Changes of the state tree: a block's changes rise from the leaves to the root, each node made once.

The form of nodes and their hashes is `chain.ledger.statenode`'s.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Mapping
from dataclasses import dataclass, field

from chain.ledger.recent import Recent
from chain.ledger.records import Records
from chain.ledger.statenode import (
    DEPTH_MAX,
    NIBBLE,
    Edit,
    Load,
    Ref,
    child_of,
    edited,
    leaf_hash,
    mask_of,
    pack_node,
    stored_hash,
    with_child,
)

CACHE_BYTES_MAX = 67_108_864
"""Of nodes in each generation of the cache: about the inner nodes of a million keys in both."""
_NODE_WEIGHT = 200
"""What Python adds to the bytes of a node in the cache."""
_DIGITS = [bytes([digit]) for digit in b"0123456789abcdef"]

Change = tuple[bytes, bytes, bytes | None, bytes]
"""(path of the key in ASCII hex digits, key hash, new leaf hash or None to delete, place of its value)."""
Leaves = Mapping[bytes, tuple[bytes | None, bytes]]
"""Key hash -> (value hash or None to delete, place of the value's record)."""


def _changes(leaves: Leaves) -> list[Change]:
    return sorted(
        [
            (hexlify(key), key, None if value is None else leaf_hash(key, value), where)
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


def _weight(_path: bytes, node: bytes) -> int:
    return len(node) + _NODE_WEIGHT


class StateTree:
    """The newest tree: finds leaves and applies blocks; keeps nodes lately used. For one writing thread."""

    __slots__ = ("_cache", "_load")

    def __init__(self, load: Load) -> None:
        """`load` reads stored nodes."""
        self._load = load
        self._cache: Recent[bytes, bytes] = Recent(CACHE_BYTES_MAX, _weight)
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
            put(path, node)

    def leaf(self, root: Ref | None, key_hash: bytes) -> Ref | None:
        """Return the leaf of a key in the tree kept last, whose root this is; None when it has none."""
        found = root
        if root is not None and root[2] is None:
            digits = hexlify(key_hash)
            depth, node = self._lowest(root, digits)
            found = child_of(node, NIBBLE[digits[depth]])
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
            ref = child_of(node, NIBBLE[digits[depth]])
            if ref is None or ref[2] is not None:
                break
            depth += 1
            path = digits[:depth]
            node = cache.get(path) or self._loaded(ref, path)
        return depth, node

    def _loaded(self, ref: Ref, path: bytes) -> bytes:
        node = self._load(ref[1], path, ref[0])
        self._cache.put(path, node)
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
            nibble = NIBBLE[digits[depth]]
            old = child_of(node, nibble)
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
                    edit = (NIBBLE[path[-1]], above is not None and above[2] is None, above)
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
        records, result = self._records, self._result
        where = records.place()
        changed, hashed = with_child(node, where, nibble, new)
        records.add(changed)
        result.stale.append(node[:8])
        result.made.append((path, changed))
        return hashed, where, None

    def rewrite(self, path: bytes, node: bytes, edits: list[Edit]) -> Ref | None:
        """Return what a node becomes by edits of its children."""
        self._result.stale.append(node[:8])
        return self._keep(path, edited(node, edits, self._records.place()))

    def _build(self, path: bytes, leaves: list[Change]) -> Ref | None:
        """Make the subtree of these leaves."""
        if len(leaves) < 2:
            return self._leaf(leaves[0]) if leaves else None
        children: dict[int, Ref] = {}
        for digit, below in _split(leaves, len(path)):
            nibble = NIBBLE[digit]
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
            alone = child_of(node, mask.bit_length() - 1) if mask else None
            if alone is None or alone[2] is not None:
                self._result.removed.append(path)
                return alone
        self._records.add(node)
        self._result.made.append((path, node))
        return stored_hash(node), node[:8], None


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
