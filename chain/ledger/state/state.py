"""Contract state: reads entries through the state tree, and keeps the writes of the block being executed.

A value stands in a leaf of the tree or in a record that the leaf leads to. The rows of the column s hold
names alone: they list the entries in order, and change only when an entry comes or goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from chain.ledger.state.bucket import ELSEWHERE, HELD_BYTES_MAX, Leaf, address_held, look_up, take
from chain.ledger.state.delta import hash_of, node_at
from chain.ledger.state.node import (
    Load,
    Node,
    Ref,
    hash_of_name,
    name_of_entry,
    pack_entry,
    pack_root,
    read_root,
    state_value_hash,
)
from chain.ledger.state.proof import find_bucket
from chain.ledger.state.tree import StateTree, TreeUpdate
from chain.ledger.store import rows
from chain.ledger.store.faults import DataDamaged
from chain.ledger.store.port import Reader
from chain.ledger.store.records import PendingRecords, Row
from chain.primitives.boundedcache import BoundedCache
from chain.primitives.codec import decode
from chain.primitives.runtimeport import StateKey, StateReader

NODES_MAX = 4_096
STALE_PER_RECORD = 65_536
CACHE_BYTES_MAX = 33_554_432
"""Of the values in the cache, each with `_ENTRY_EXTRA`."""
_CACHED_KEY_BYTES_MAX = 256
_ENTRY_EXTRA = 512
"""What Python and the key add to the bytes of an entry in the cache."""
_DELETED = (None, b"")


class _Absent(Enum):
    """What the cache holds for an entry that does not exist."""

    ABSENT = 0


_ABSENT = _Absent.ABSENT


def _weight(value: bytes | _Absent) -> int:
    return _ENTRY_EXTRA + (0 if value is _ABSENT else len(value))


class TreeState:
    """State of one tree, readable while its height is not pruned; it remembers the nodes that it passed."""

    __slots__ = ("_load", "_nodes", "_reader", "_root")

    def __init__(self, reader: Reader, root: Ref | None) -> None:
        self._reader, self._root = reader, root
        self._load = node_loader(reader)
        self._nodes: BoundedCache[bytes, Node] = BoundedCache(NODES_MAX)

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return the stored bytes, or None when absent."""
        return self.named(rows.sized(namespace) + key)

    def named(self, name: bytes) -> bytes | None:
        """Return the stored bytes of an entry by its name (`sized(namespace) + key`), or None."""
        key_hash = hash_of_name(name)
        bucket = find_bucket(self._node, self._root, key_hash)
        return None if bucket is None else value_in(self._reader, bucket, key_hash, name)

    def _node(self, address: bytes, path: bytes, expected: bytes) -> Node:
        node = self._nodes.get(address)
        return self._nodes.add(address, self._load(address, path, expected)) if node is None else node


class NewestState:
    """Newest state of a store, looked up anew for every entry; for any thread."""

    __slots__ = ("_store",)

    def __init__(self, store: Reader) -> None:
        self._store = store

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return the stored bytes, or None when absent, whatever is written or installed meanwhile."""
        head = self._store.get(rows.HEAD_KEY)
        try:
            return newest_state(self._store).get(namespace, key)
        except DataDamaged:
            if self._store.get(rows.HEAD_KEY) == head:
                raise
            # a fetched state replaced the one that was read
            return newest_state(self._store).get(namespace, key)


def newest_state(reader: Reader) -> TreeState:
    """Return the state at the head of a snapshot, or of a store that nobody replaces meanwhile."""
    head = reader.get(rows.HEAD_KEY)
    root = None if head is None else reader.get(rows.at(rows.ROOT, decode(rows.LedgerHead, head).height))
    if root is None:
        raise DataDamaged(
            "ledger: the head row or the state of its height is missing; run `assent node rebuild`"
        )
    return TreeState(reader, read_root(root))


def entries(
    reader: Reader,
    prefix: bytes,
    *,
    start: bytes | None = None,
    stop: bytes | None = None,
    reverse: bool = False,
    limit: int | None = None,
) -> Iterator[Row]:
    """Yield (row key, value) of the newest state's entries in key order, as `Reader.iterate` does.

    The reader is a snapshot, or nothing is written meanwhile.
    """
    state = newest_state(reader)
    for key, _ in reader.iterate(prefix=prefix, start=start, stop=stop, reverse=reverse, limit=limit):
        value = state.named(key[len(rows.STATE) :])
        if value is None:
            raise DataDamaged("state: an entry is listed but not in the tree; run `assent node rebuild`")
        yield key, value


class CachedState:
    """Newest state, for the one thread that executes blocks, with a bounded cache of entries often read.

    An entry is kept when two blocks in a row looked it up in the tree: a load that goes through a large state
    once displaces nothing.
    """

    __slots__ = ("_before", "_cache", "_found", "_reader", "_root", "_tree")

    def __init__(self, reader: Reader, tree: StateTree, root: Ref | None) -> None:
        self._reader, self._tree, self._root = reader, tree, root
        self._found: dict[StateKey, tuple[bytes, bytes]] = {}
        """(name, key hash) of entries looked up for the next block: they are likely written, too."""
        self._before: Collection[StateKey] = ()
        """What was looked up for the block before."""
        self._cache: BoundedCache[StateKey, bytes | _Absent] = BoundedCache(CACHE_BYTES_MAX, _weight)

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return the stored bytes, or None when absent."""
        entry = (namespace, key)
        cached = self._cache.get(entry)
        if cached is not None:
            return None if cached is _ABSENT else cached
        name = rows.sized(namespace) + key
        key_hash = hash_of_name(name)
        self._found[entry] = name, key_hash
        bucket = self._tree.bucket(self._root, key_hash)
        found = None if bucket is None else value_in(self._reader, bucket, key_hash, name)
        if entry in self._before and len(key) <= _CACHED_KEY_BYTES_MAX:
            self._cache.add(entry, _ABSENT if found is None else found)
        return found

    def change(
        self, height: int, writes: Mapping[StateKey, bytes | None], records: PendingRecords
    ) -> StateChange:
        """Return what writing these entries as the block of `height` does to rows, records and tree.

        What is to be stored is added to `records`, empty so far. Nothing changes until it is written and
        `remember` says so.
        """
        known, self._before, self._found = self._found, self._found, {}
        leaves: dict[bytes, tuple[bytes | None, bytes]] = {}
        names: dict[bytes, bytes] = {}
        deletes: list[bytes] = []
        for entry, value in writes.items():
            name, key_hash = known.get(entry) or _name_and_hash(entry)
            names[key_hash] = name
            if value is None:
                leaves[key_hash] = _DELETED
                deletes.append(rows.STATE + name)
            else:
                leaves[key_hash] = state_value_hash(value), hold(name, value, records)
        update = self._tree.update(self._root, leaves, records)
        puts = [(rows.STATE + names[key_hash], b"") for key_hash in sorted(update.added)]
        puts.append((rows.at(rows.ROOT, height), pack_root(update.root)))
        stale = [rows.NODES + listed for listed in _joined(update.stale_nodes)]
        stale += [rows.VALUES + listed for listed in _joined(update.stale_values)]
        if stale:
            puts.append((rows.at(rows.STALE, height), b"".join([records.add(listed) for listed in stale])))
        return StateChange(update, puts, deletes, records)

    def remember(self, writes: Mapping[StateKey, bytes | None], change: StateChange) -> None:
        """Take over what a stored block wrote."""
        self._tree.keep(change.tree)
        self._root, cached = change.tree.root, self._cache.get
        for entry, value in writes.items():
            if cached(entry) is not None:
                self._cache.add(entry, _ABSENT if value is None else value)


def _name_and_hash(entry: StateKey) -> tuple[bytes, bytes]:
    name = rows.sized(entry[0]) + entry[1]
    return name, hash_of_name(name)


class Overlay:
    """State with the writes of a block's earlier transactions on top."""

    __slots__ = ("_base", "writes")

    def __init__(self, base: StateReader) -> None:
        self._base = base
        self.writes: dict[StateKey, bytes | None] = {}

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return the stored bytes, or None when absent."""
        entry = (namespace, key)
        if entry in self.writes:
            return self.writes[entry]
        return self._base.get(namespace, key)


@dataclass(frozen=True, slots=True)
class StateChange:
    """What brings the stored state to the next height."""

    tree: TreeUpdate
    puts: list[Row]
    deletes: list[bytes]
    records: PendingRecords

    @property
    def root(self) -> Ref | None:
        """The new tree's root."""
        return self.tree.root


def _joined(addresses: list[bytes]) -> Iterator[bytes]:
    """Yield addresses joined, so many at once as one record lists."""
    return (
        b"".join(addresses[at : at + STALE_PER_RECORD]) for at in range(0, len(addresses), STALE_PER_RECORD)
    )


def hold(name: bytes, value: bytes, records: PendingRecords) -> bytes:
    """Return what a leaf holds of an entry; a large entry is added to `records`."""
    packed = pack_entry(name, value)
    return packed if len(packed) <= HELD_BYTES_MAX else ELSEWHERE + records.add(packed)


def node_loader(reader: Reader) -> Load:
    """Return the function with which the tree reads its stored nodes; each is checked against its hash."""

    def load(address: bytes, path: bytes, expected: bytes) -> Node:
        node = node_at(reader.record, address)
        if node is None or hash_of(node) != expected:
            raise DataDamaged(
                f"state tree: the node under path {path.hex() or '(root)'} does not hash to what its "
                "parent says; run `assent node rebuild`"
            )
        return node

    return load


def entry_of(reader: Reader, leaf: Leaf) -> tuple[bytes, bytes]:
    """Return (name, value) of a leaf of the tree, checked; the name is `sized(namespace) + key`."""
    key_hash, hashed, held = leaf
    address = address_held(held)
    packed = held if address is None else reader.record(address)
    name = name_of_entry(packed)
    value = packed[4 + len(name) :]
    if hash_of_name(name) != key_hash or state_value_hash(value) != hashed:
        raise _damaged_value(key_hash)
    return name, value


def value_in(reader: Reader, bucket: Node, key_hash: bytes, name: bytes) -> bytes | None:
    """Return the value of the entry with this name and key hash; None when it is not in a bucket.

    A value that the bucket holds was checked when the bucket's records were read, with their checksums.
    """
    found = look_up(bucket, key_hash)
    if found is None:
        return None
    hash_at, start, end = found
    value_at = start + 4 + len(name)
    if bucket[start]:
        record = reader.record(take(bucket, start + 1, end))
        value = record[4 + len(name) :]
        if record.startswith(name, 4) and bucket.startswith(state_value_hash(value), hash_at):
            return value
    elif value_at <= end and bucket.startswith(name, start + 4):
        return take(bucket, value_at, end)
    raise _damaged_value(key_hash)


def _damaged_value(key_hash: bytes) -> DataDamaged:
    return DataDamaged(
        f"state tree: the value of key hash {key_hash.hex()} does not hash to its leaf; "
        "run `assent node rebuild`"
    )
