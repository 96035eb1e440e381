"""Contract state: the tree, which finds and proves values, and an overlay for the block being executed.

Values are held by the leaves of the tree or are records that those lead to. The rows of the column s are
names alone: they list the entries in order, and change only when one comes or goes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from chain.ledger import rows
from chain.ledger.faults import DataDamaged
from chain.ledger.recent import Recent
from chain.ledger.records import Records, Row
from chain.ledger.statebucket import ELSEWHERE, HELD_BYTES_MAX, Leaf, look_up, place_held, take
from chain.ledger.statedelta import hash_of, node_at
from chain.ledger.statenode import Load, Ref, hash_of_name, state_value_hash
from chain.ledger.stateproof import find_bucket
from chain.ledger.statetree import StateTree, TreeUpdate
from chain.ledger.store import Reader
from chain.primitives.codec import decode
from chain.primitives.errors import DecodeError
from chain.primitives.execution import StateKey, StateReader, map_key, signer_refusal
from chain.primitives.values import decode_value

MEMBER_BYTES_MAX = 65_536
NODES_MAX = 4_096
STALE_PER_RECORD = 65_536
CACHE_BYTES_MAX = 33_554_432
"""Of entries in the cache."""
_CACHED_KEY_BYTES_MAX = 256
_ENTRY_EXTRA = 512
"""What Python and the key add to the bytes of an entry in the cache."""
_ABSENT = b"(absent)"
"""Stands in the cache, as this very object, for an entry that there is not."""
_DELETED = (None, b"")


class TreeState:
    """The state of one tree, read for as long as its height is held; remembers the nodes it passed."""

    __slots__ = ("_load", "_nodes", "_reader", "_root")

    def __init__(self, reader: Reader, root: Ref | None) -> None:
        self._reader, self._root = reader, root
        self._load = node_loader(reader)
        self._nodes: dict[bytes, bytearray] = {}

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return the stored bytes, or None when absent."""
        return self.named(rows.sized(namespace) + key)

    def named(self, name: bytes) -> bytes | None:
        """Return the stored bytes of an entry by its name (`sized(namespace) + key`), or None."""
        key_hash = hash_of_name(name)
        bucket = find_bucket(self._node, self._root, key_hash)
        return None if bucket is None else value_in(self._reader, bucket, key_hash, name)

    def _node(self, where: bytes, path: bytes, expected: bytes) -> bytearray:
        node = self._nodes.get(where)
        if node is None:
            if len(self._nodes) >= NODES_MAX:
                self._nodes.clear()
            node = self._nodes[where] = self._load(where, path, expected)
        return node


class NewestState:
    """The newest state of a store, looked up anew for every entry; for any thread."""

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
            # a fetched state took the place of the one that was read
            return newest_state(self._store).get(namespace, key)


def newest_state(reader: Reader) -> TreeState:
    """Return the state at the head of a snapshot, or of a store that nobody replaces meanwhile."""
    head = reader.get(rows.HEAD_KEY)
    root = None if head is None else reader.get(rows.at(rows.ROOT, decode(rows.Head, head).height))
    if root is None:
        raise DataDamaged(
            "ledger: the head row or the state of its height is missing; run `assent node rebuild`"
        )
    return TreeState(reader, rows.read_root(root))


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
    """The newest state, for the one thread that executes blocks, with a bounded cache of what is read often.

    What two blocks in a row look up in the tree is kept, so a load that goes through a large state once
    displaces nothing.
    """

    __slots__ = ("_before", "_cache", "_found", "_reader", "_root", "_tree")

    def __init__(self, reader: Reader, tree: StateTree, root: Ref | None) -> None:
        self._reader, self._tree, self._root = reader, tree, root
        self._found: dict[StateKey, tuple[bytes, bytes]] = {}
        """(name, key hash) of entries looked up for the next block: they are likely written, too."""
        self._before: Collection[StateKey] = ()
        """What was looked up for the block before."""
        self._cache: Recent[StateKey, bytes] = Recent(CACHE_BYTES_MAX, _ENTRY_EXTRA)

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return the stored bytes, or None when absent."""
        place = (namespace, key)
        found = self._cache.get(place)
        if found is None:
            name = rows.sized(namespace) + key
            key_hash = hash_of_name(name)
            self._found[place] = name, key_hash
            bucket = self._tree.bucket(self._root, key_hash)
            found = None if bucket is None else value_in(self._reader, bucket, key_hash, name)
            if found is None:
                found = _ABSENT
            if place in self._before and len(key) <= _CACHED_KEY_BYTES_MAX:
                self._cache.add(place, found)
        return None if found is _ABSENT else found

    def change(self, height: int, writes: Mapping[StateKey, bytes | None], records: Records) -> StateChange:
        """Return what writing these entries as the block of `height` does to rows, records and tree.

        What is to be stored is added to `records`, empty so far. Nothing changes until it is written and
        `remember` says so.
        """
        known, self._before, self._found = self._found, self._found, {}
        leaves: dict[bytes, tuple[bytes | None, bytes]] = {}
        names: dict[bytes, bytes] = {}
        deletes: list[bytes] = []
        for place, value in writes.items():
            name, key_hash = known.get(place) or _name_and_hash(place)
            names[key_hash] = name
            if value is None:
                leaves[key_hash] = _DELETED
                deletes.append(rows.STATE + name)
            else:
                leaves[key_hash] = state_value_hash(value), hold(name, value, records)
        update = self._tree.update(self._root, leaves, records)
        puts = [(rows.STATE + names[key_hash], b"") for key_hash in sorted(update.added)]
        puts.append((rows.at(rows.ROOT, height), rows.pack_root(update.root)))
        stale = [rows.NODES + places for places in _joined(update.stale_nodes)]
        stale += [rows.VALUES + places for places in _joined(update.stale_values)]
        if stale:
            puts.append((rows.at(rows.STALE, height), b"".join([records.add(listed) for listed in stale])))
        return StateChange(update, puts, deletes, records)

    def remember(self, writes: Mapping[StateKey, bytes | None], change: StateChange) -> None:
        """Take over what a stored block wrote."""
        self._tree.keep(change.tree)
        self._root, cached = change.tree.root, self._cache.get
        self._cache.update(
            {
                place: _ABSENT if value is None else value
                for place, value in writes.items()
                if cached(place) is not None
            }
        )


def _name_and_hash(place: StateKey) -> tuple[bytes, bytes]:
    name = rows.sized(place[0]) + place[1]
    return name, hash_of_name(name)


class Overlay:
    """A state with the writes of a block's earlier transactions on top."""

    __slots__ = ("_base", "writes")

    def __init__(self, base: StateReader) -> None:
        self._base = base
        self.writes: dict[StateKey, bytes | None] = {}

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return the stored bytes, or None when absent."""
        place = (namespace, key)
        if place in self.writes:
            return self.writes[place]
        return self._base.get(namespace, key)


@dataclass(frozen=True, slots=True)
class StateChange:
    """What brings the stored state to the next height."""

    tree: TreeUpdate
    puts: list[Row]
    deletes: list[bytes]
    records: Records

    @property
    def root(self) -> Ref | None:
        """The new tree's root."""
        return self.tree.root


def _joined(places: list[bytes]) -> Iterator[bytes]:
    """Yield places joined, so many that each will be a record."""
    return (b"".join(places[at : at + STALE_PER_RECORD]) for at in range(0, len(places), STALE_PER_RECORD))


def hold(name: bytes, value: bytes, records: Records) -> bytes:
    """Return what a leaf holds of an entry; a large entry is added to `records`."""
    record = rows.value_record(name, value)
    return record if len(record) <= HELD_BYTES_MAX else ELSEWHERE + records.add(record)


def node_loader(reader: Reader) -> Load:
    """Return the function with which the tree reads its stored nodes; each is checked against its hash."""

    def load(where: bytes, path: bytes, expected: bytes) -> bytearray:
        node = node_at(reader.record, where)
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
    where = place_held(held)
    record = held if where is None else reader.record(where)
    name = rows.name_of_value(record)
    value = record[4 + len(name) :]
    if hash_of_name(name) != key_hash or state_value_hash(value) != hashed:
        raise _damaged_value(key_hash)
    return name, value


def value_in(reader: Reader, bucket: bytearray, key_hash: bytes, name: bytes) -> bytes | None:
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


@dataclass(frozen=True, slots=True)
class Member:
    """Whom a key signs for, as the state of `orgs` has it."""

    org: str
    roles: tuple[str, ...]
    refusal: str
    """Why the key may not sign now, a code; empty when it may."""


def member_of(state: StateReader, public_key: bytes) -> Member | None:
    """Look a signing key up in `orgs`' Map `keys`; None when no organisation ever listed it."""
    raw = state.get("orgs", map_key("keys", public_key.hex()))
    if raw is None:
        return None
    try:
        entry = decode_value(raw, max_bytes=MEMBER_BYTES_MAX)
        return Member(str(entry["org"]), tuple(entry["roles"]), signer_refusal(entry["status"]))
    except (DecodeError, KeyError, TypeError):
        raise DataDamaged(
            f"state: orgs.keys[{public_key.hex()}] is not a key record; the contract `orgs` is not this one's"
        ) from None
