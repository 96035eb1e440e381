"""Contract state: flat rows for reading, the tree for proving, an overlay for the block being executed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chain.ledger import rows
from chain.ledger.statetree import Ref, StateTree, hash_of_name, state_value_hash
from chain.ledger.store import DataDamaged, Reader, Row
from chain.primitives.codec import decode_value
from chain.primitives.errors import DecodeError
from chain.primitives.execution import StateKey, StateReader, map_key

MEMBER_BYTES_MAX = 65_536
CACHE_ENTRIES_MAX = 100_000
CACHE_BYTES_MAX = 33_554_432
_ENTRY_OVERHEAD = 200


class RowState:
    """The state in a store or snapshot, as the newest rows have it."""

    __slots__ = ("_reader",)

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return the stored bytes, or None when absent."""
        return self._reader.get(rows.state_key(namespace, key))


class CachedState:
    """`RowState` with a bounded cache, for the one thread that executes blocks."""

    __slots__ = ("_bytes", "_cache", "_state")

    def __init__(self, reader: Reader) -> None:
        self._state = RowState(reader)
        self._cache: dict[StateKey, bytes | None] = {}
        self._bytes = 0

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return the stored bytes, or None when absent."""
        place = (namespace, key)
        try:
            return self._cache[place]
        except KeyError:
            value = self._state.get(namespace, key)
            self._keep(place, value)
            return value

    def remember(self, writes: Mapping[StateKey, bytes | None]) -> None:
        """Take over what a stored block wrote."""
        for place, value in writes.items():
            self._keep(place, value)

    def _keep(self, place: StateKey, value: bytes | None) -> None:
        cache = self._cache
        if place in cache:  # takes the place of the newest, so that what is used stays longest
            self._bytes -= _cost(place, cache.pop(place))
        cache[place] = value
        self._bytes += _cost(place, value)
        while self._bytes > CACHE_BYTES_MAX or len(cache) > CACHE_ENTRIES_MAX:
            oldest = next(iter(cache))
            self._bytes -= _cost(oldest, cache.pop(oldest))


def _cost(place: StateKey, value: bytes | None) -> int:
    return _ENTRY_OVERHEAD + len(place[1]) + len(value or b"")


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
    """The rows that bring the stored state to the next height, and the tree's new root."""

    root: Ref | None
    puts: list[Row]
    deletes: list[bytes]


def change_state(
    tree: StateTree, root: Ref | None, height: int, writes: Mapping[StateKey, bytes | None]
) -> StateChange:
    """Return what writing these entries as the block of `height` does to state rows and tree."""
    leaves: dict[bytes, bytes | None] = {}
    puts: list[Row] = []
    deletes: list[bytes] = []
    values_of_height = rows.at(rows.VALUE, height)
    for (namespace, key), value in writes.items():
        name = rows.sized(namespace) + key
        key_hash = hash_of_name(name)
        if value is None:
            leaves[key_hash] = None
            deletes.append(rows.STATE + name)
        else:
            leaves[key_hash] = state_value_hash(value)
            puts.append((rows.STATE + name, value))
            puts.append((values_of_height + key_hash, rows.value_row(name, value)))
    update = tree.update(root, height, leaves)
    nodes_of_height = rows.at(rows.NODE, height)
    puts += [(nodes_of_height + path, node) for path, node in update.nodes]
    puts.append((rows.at(rows.ROOT, height), rows.pack_root(update.root)))
    stale = [rows.node_key(*node) for node in update.stale_nodes]
    stale += [rows.value_key(*leaf) for leaf in update.stale_leaves]
    if stale:
        puts.append((rows.at(rows.STALE, height), rows.pack_keys(stale)))
    return StateChange(update.root, puts, deletes)


def node_loader(reader: Reader) -> Callable[[bytes, bytes], bytes]:
    """Return the function with which the tree reads its stored nodes."""

    def load(when: bytes, path: bytes) -> bytes:
        node = reader.get(rows.node_key(when, path))
        if node is None:
            raise DataDamaged(
                f"state tree: the node written at height {int.from_bytes(when)} under path {path.decode() or '(root)'} "
                "is missing; run `assent node rebuild`"
            )
        return node

    return load


@dataclass(frozen=True, slots=True)
class Member:
    """Whom a key signs for, as the state of `orgs` has it."""

    org: str
    roles: tuple[str, ...]
    active: bool


def member_of(state: StateReader, public_key: bytes) -> Member | None:
    """Look a signing key up in `orgs`' Map `keys`; None when no organisation ever listed it."""
    raw = state.get("orgs", map_key("keys", public_key.hex()))
    if raw is None:
        return None
    try:
        entry = decode_value(raw, max_bytes=MEMBER_BYTES_MAX)
        return Member(str(entry["org"]), tuple(entry["roles"]), entry["status"] == "active")
    except (DecodeError, KeyError, TypeError):
        raise DataDamaged(
            f"state: orgs.keys[{public_key.hex()}] is not a key record; the contract `orgs` is not this one's"
        ) from None
