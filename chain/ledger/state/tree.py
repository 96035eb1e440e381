"""State tree: finds buckets, and applies a block's changes from the leaves to the root, each node made once.

`chain.ledger.state.node` says what the tree is; `inner.py` and `bucket.py` say what its nodes look like.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from chain.ledger.state.bucket import (
    BUCKET_LEAVES,
    Leaf,
    address_held,
    hash_of_bucket,
    index_in,
    leaves_of,
    pack_bucket,
    set_leaf,
)
from chain.ledger.state.cache import NodeCache
from chain.ledger.state.delta import (
    BUCKET_DELTAS_MAX,
    NODE_DELTAS_MAX,
    child_entry,
    delta_record,
    full_record,
    leaf_entry,
)
from chain.ledger.state.inner import (
    child_of,
    children_of,
    hash_groups,
    hash_of_inner,
    kept_children,
    leaves_fit,
    pack_inner,
    set_children,
    with_children,
)
from chain.ledger.state.node import DELTAS_AT, LEAVES_AT, Load, Node, Ref, address_of, set_address
from chain.ledger.store.faults import DataDamaged
from chain.ledger.store.records import REMEDY, PendingRecords

CACHE_BYTES_MAX = 134_217_728
"""Of nodes in the cache: about those of a million small entries."""
_WARM_ROOM = 1_048_576
"""Room that warming leaves."""
_BYTE = [bytes([byte]) for byte in range(256)]

Leaves = Mapping[bytes, tuple[bytes | None, bytes]]
"""Key hash -> (value hash or None to delete, what is held of the entry: see `chain.ledger.state.bucket`)."""


@dataclass(slots=True)
class TreeUpdate:
    """What one block does to the tree."""

    root: Ref | None
    stale_nodes: list[bytes] = field(default_factory=list)
    """Addresses of the last records of nodes that the new tree uses no more, nor the records before them."""
    stale_values: list[bytes] = field(default_factory=list)
    """Addresses of packed entries that the new tree uses no more."""
    added: list[bytes] = field(default_factory=list)
    """Hashes of keys that were not there before."""
    made: dict[bytes, Node] = field(default_factory=dict)
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

    __slots__ = ("_above", "_cache", "_changed", "_load")

    def __init__(self, load: Load) -> None:
        """`load` reads stored nodes."""
        self._load = load
        self._cache = NodeCache(CACHE_BYTES_MAX)
        """Of the tree that was kept last: whatever is found here is in use."""
        self._changed = False
        self._above = 0
        """Depth of the node above the bucket found last: the next one likely stands as deep."""

    def update(self, root: Ref | None, leaves: Leaves, records: PendingRecords) -> TreeUpdate:
        """Return what a block's changes do to the tree kept last; the nodes made are added to `records`."""
        self._settle()
        self._changed = True
        result = TreeUpdate(root)
        writer = _Writer(leaves, records, result)
        keys = sorted(leaves)
        if root is None:
            result.root = writer.build(b"", writer.new_leaves(keys))
        elif keys:
            result.root = self._change(writer, 0, self._node(root, b""), keys)
        return result

    def keep(self, update: TreeUpdate) -> None:
        """Take over an update whose records are stored now."""
        self._cache.update(update.made, update.removed, update.grown)
        self._changed = False

    def _settle(self) -> None:
        """Forget what an update changed that was not kept."""
        if self._changed:
            self._cache.clear()
            self._changed = False

    def bucket(self, root: Ref | None, key_hash: bytes) -> Node | None:
        """Return the bucket on the path of a key in the tree kept last, whose root this is; or None."""
        if self._changed:
            self._settle()
        depth = self._above
        nodes = self._cache.below(key_hash[:depth])
        node = None if nodes is None else nodes[key_hash[depth]]
        if node is not None and node[LEAVES_AT]:
            return node
        node = None if root is None else self._lowest(root, key_hash)
        return node if node is not None and node[LEAVES_AT] else None

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
                    below += [(path + _BYTE[byte], child) for byte, child in children_of(node).items()]
            level = below

    def _lowest(self, root: Ref, key: bytes) -> Node:
        """Return the lowest node on the way to a key."""
        node, depth = self._node(root, b""), 0
        while not node[LEAVES_AT]:
            path = key[: depth + 1]
            below = self._cache.get(path)
            if below is None:
                ref = child_of(node, key[depth])
                if ref is None:
                    break
                below = self._loaded(ref, path)
            node, depth = below, depth + 1
        self._above = max(depth - 1, 0)
        return node

    def _node(self, ref: Ref, path: bytes) -> Node:
        return self._cache.get(path) or self._loaded(ref, path)

    def _loaded(self, ref: Ref, path: bytes) -> Node:
        node = self._load(ref[1], path, ref[0])
        self._cache.add(path, node)
        return node

    def _change(self, writer: _Writer, depth: int, node: Node, keys: list[bytes]) -> Ref | None:
        """Return what a node becomes by the changes of keys, sorted and all below it."""
        if node[LEAVES_AT]:
            return writer.change_bucket(depth, node, keys)
        path = keys[0][:depth]
        nodes, changed = self._cache.below(path), _by_byte(keys, depth)
        if nodes is not None and depth == self._above:
            _fetch([node, *[nodes[byte] for byte in changed]])
        edits: dict[int, Ref | None] = {}
        for byte, below in changed.items():
            child = None if nodes is None else nodes[byte]
            if child is None:
                ref = child_of(node, byte)
                if ref is None:
                    if added := writer.new_leaves(below):
                        edits[byte] = writer.build(path + _BYTE[byte], added)
                    continue
                child = self._loaded(ref, path + _BYTE[byte])
            edits[byte] = self._change(writer, depth + 1, child, below)
        return self._rewrite(writer, path, node, edits)

    def _rewrite(self, writer: _Writer, path: bytes, node: Node, edits: dict[int, Ref | None]) -> Ref | None:
        """Return what an inner node becomes by other children."""
        kept = kept_children(node, edits)
        if kept is None:
            writer.drop(node)
            node = with_children(node, edits)
            if not leaves_fit(node, BUCKET_LEAVES):
                return writer.store(path, node, hash_of_inner(node), 0)
        else:
            set_children(node, kept)
            hash_groups(node, {byte >> 4 for byte in kept})
            if not writer.deletes or not leaves_fit(node, BUCKET_LEAVES):
                return writer.change_node(node, kept)
            writer.drop(node)
        return self._merge(writer, path, node)

    def _merge(self, writer: _Writer, path: bytes, node: Node) -> Ref | None:
        """Put the leaves of the buckets below an inner node into one bucket, which replaces it."""
        leaves: list[Leaf] = []
        for byte, ref in children_of(node).items():
            below = path + _BYTE[byte]
            bucket = writer.taken_back(below) or self._node(ref, below)
            if bucket[LEAVES_AT] != ref[2]:
                raise DataDamaged(
                    f"state tree: the node above path {below.hex()} says another number of leaves than "
                    f"stand there{REMEDY}"
                )
            writer.removed(below, bucket)
            leaves += leaves_of(bucket)
        return writer.bucket(path, leaves)


def _by_byte(keys: list[bytes], depth: int) -> dict[int, list[bytes]]:
    """Return keys by the byte that they have at a depth, in their order."""
    found: dict[int, list[bytes]] = {}
    for key in keys:
        byte = key[depth]
        if byte in found:
            found[byte].append(key)
        else:
            found[byte] = [key]
    return found


def _fetch(nodes: list[Node | None]) -> None:
    """Bring nodes into the processor's cache by copying them once; nobody needs the copy.

    A lookup in a large tree waits for memory several times in a row: for the list, the object, its front, its
    key, its value; 0.3 µs each under load. One call that copies all nodes waits for them side by side. At a
    million keys this takes 1.8 of 66 µs off a transaction, at a thousand nothing (measured with two processes
    side by side, four rounds: docs/decisions/read-nodes-together.md).
    """
    b"".join([node or b"" for node in nodes])


def build_subtree(path: bytes, leaves: Leaves, records: PendingRecords) -> Ref | None:
    """Return what stands at `path` when these are all leaves below it; its nodes are added to `records`."""
    writer = _Writer(leaves, records, TreeUpdate(None))
    return writer.build(path, writer.new_leaves(sorted(leaves)))


class _Writer:
    """Makes the nodes of one update."""

    __slots__ = ("_leaves", "_records", "_result", "deletes")

    def __init__(self, leaves: Leaves, records: PendingRecords, result: TreeUpdate) -> None:
        self._leaves, self._records, self._result = leaves, records, result
        self.deletes = any(value is None for value, _ in leaves.values())
        """Whether a key is deleted, so that buckets may be merged."""

    def store(self, path: bytes, node: Node, hashed: bytes, leaves: int) -> Ref:
        """Store a new node that stands at `path` now."""
        address = self._records.add(full_record(node))
        set_address(node, address)
        self._result.made[path] = node
        return hashed, address, leaves

    def _store_change(self, node: Node, entries: bytes, deltas_max: int) -> bytes:
        """Store a node of which some entries changed; return the address of its record."""
        deltas = node[DELTAS_AT] + 1
        if deltas > deltas_max or 2 * len(entries) > len(node):
            self.drop(node)
            address = self._records.add(full_record(node))
        else:
            address = self._records.add(delta_record(node, deltas, entries))
        set_address(node, address)
        return address

    def change_bucket(self, depth: int, bucket: Node, keys: list[bytes]) -> Ref | None:
        """Return what a bucket becomes by the changes of keys, sorted, below it."""
        found = []
        for key in keys:
            index = index_in(bucket, key)
            hashed, held = self._leaves[key]
            if index < 0 or hashed is None:
                return self._change_shape(keys[0][:depth], bucket, keys)
            found.append((index, hashed, held))
        result, former, entries = self._result, len(bucket), b""
        for index, hashed, held in found:
            stale = set_leaf(bucket, index, hashed, held)
            if stale is not None:
                result.stale_values.append(stale)
            entries += leaf_entry(index, hashed, held)
        result.grown += len(bucket) - former
        address = self._store_change(bucket, entries, BUCKET_DELTAS_MAX)
        return hash_of_bucket(bucket), address, bucket[LEAVES_AT]

    def change_node(self, node: Node, children: Mapping[int, Ref]) -> Ref:
        """Store an inner node in which these children replaced others; return it."""
        entries = b"".join([child_entry(byte, child) for byte, child in children.items()])
        return hash_of_inner(node), self._store_change(node, entries, NODE_DELTAS_MAX), 0

    def _change_shape(self, path: bytes, bucket: Node, keys: list[bytes]) -> Ref | None:
        """Do what `change_bucket` does when keys come or go."""
        kept = {leaf[0]: leaf for leaf in leaves_of(bucket)}
        former = [kept.pop(key) for key in keys if key in kept]
        new = self.new_leaves(keys, {leaf[0] for leaf in former})
        if not former and not new:
            return hash_of_bucket(bucket), address_of(bucket), bucket[LEAVES_AT]
        addresses = [address_held(held) for _, _, held in former]
        self.drop(bucket)
        self._result.stale_values += [address for address in addresses if address is not None]
        return self.build(path, sorted([*kept.values(), *new]))

    def new_leaves(self, keys: list[bytes], known: Collection[bytes] = ()) -> list[Leaf]:
        """Return the leaves that keys get, and note those that come; `known` are there already."""
        found = [
            (key, value, held) for key in keys for value, held in [self._leaves[key]] if value is not None
        ]
        self._result.added += [key for key, _, _ in found if key not in known]
        return found

    def build(self, path: bytes, leaves: list[Leaf]) -> Ref | None:
        """Make the subtree of these leaves, sorted; None when there are none."""
        if len(leaves) <= BUCKET_LEAVES:
            return self.bucket(path, leaves)
        depth = len(path)
        children: dict[int, Ref] = {}
        for byte, below in groupby(leaves, key=lambda leaf: leaf[0][depth]):
            child = self.build(path + _BYTE[byte], list(below))
            assert child is not None  # a group is not empty
            children[byte] = child
        node = pack_inner(children)
        return self.store(path, node, hash_of_inner(node), 0)

    def bucket(self, path: bytes, leaves: list[Leaf]) -> Ref | None:
        """Make the bucket of these leaves, sorted and few enough; None when there are none."""
        if not leaves:
            self._result.removed.append(path)
            return None
        bucket = pack_bucket(leaves)
        return self.store(path, bucket, hash_of_bucket(bucket), len(leaves))

    def taken_back(self, path: bytes) -> Node | None:
        """Return the new node of this update at a path, which it does not keep; None when there is none."""
        return self._result.made.pop(path, None)

    def drop(self, node: Node) -> None:
        """Note that the records of a node are not used any more."""
        self._result.stale_nodes.append(address_of(node))

    def removed(self, path: bytes, node: Node) -> None:
        """Note that a node no longer stands at its path."""
        self.drop(node)
        self._result.removed.append(path)
