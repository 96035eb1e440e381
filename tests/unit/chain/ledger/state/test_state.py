"""The newest state as blocks read it: what its cache admits, and that it says what the tree says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.state import state
from chain.ledger.state.node import state_key_hash, state_value_hash
from chain.ledger.state.state import CachedState, StateChange, hold, node_loader
from chain.ledger.state.tree import StateTree
from chain.ledger.store import rows
from chain.ledger.store.faults import DataDamaged
from chain.ledger.store.leveldb import LevelStore
from chain.ledger.store.memory import MemoryStore
from chain.primitives.runtimeport import StateKey
from tests.unit.chain.ledger.recordfaults import flip

LONG = 256
"""Bytes of the longest key that is cached."""


class Blocks:
    """A state to which blocks are applied: each reads and then writes."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.state = CachedState(self.store, StateTree(node_loader(self.store)), None)
        self.height = 0

    def change(self, writes: dict[bytes, bytes | None]) -> StateChange:
        return self.state.change(self.height + 1, placed(writes), self.store.records())

    def write(self, writes: dict[bytes, bytes | None]) -> None:
        """Finish a block: store what it writes."""
        change = self.change(writes)
        self.store.write(change.puts, change.deletes, records=change.records)
        self.state.remember(placed(writes), change)
        self.height += 1

    def read(self, *keys: bytes) -> list[bytes | None]:
        return [self.state.get("toy", key) for key in keys]

    def block(self, *keys: bytes) -> list[bytes | None]:
        """Apply a block that reads some entries and writes another one."""
        found = self.read(*keys)
        self.write({b"of every block": b"%d" % self.height})
        return found

    def cached(self, *keys: bytes) -> list[bool]:
        """Tell of each entry whether the cache has it; asking is not looking up."""
        return [self.state._cache.get(("toy", key)) is not None for key in keys]


def placed(writes: dict[bytes, bytes | None]) -> dict[StateKey, bytes | None]:
    return {("toy", key): value for key, value in writes.items()}


def filled(count: int = 200) -> Blocks:
    blocks = Blocks()
    blocks.write({b"%d" % i: b"value %d" % i for i in range(count)})
    return blocks


def test_an_entry_is_cached_when_two_blocks_in_a_row_looked_it_up_and_not_before() -> None:
    blocks = filled()
    assert blocks.block(b"1", b"2", b"no") == [b"value 1", b"value 2", None]
    assert blocks.cached(b"1", b"2", b"no") == [False, False, False]
    assert blocks.block(b"1", b"3", b"no") == [b"value 1", b"value 3", None]
    assert blocks.cached(b"1", b"2", b"3", b"no") == [True, False, False, True], "also that there is none"
    assert blocks.block(b"2", b"3") == [b"value 2", b"value 3"]
    assert blocks.cached(b"1", b"2", b"3", b"no") == [True, False, True, True]


def test_an_entry_is_not_cached_that_one_block_looked_up_often_or_two_with_one_between() -> None:
    blocks = filled()
    assert blocks.read(b"1", b"1", b"1") == [b"value 1"] * 3
    assert blocks.cached(b"1") == [False]
    blocks.block(b"1", b"1")
    blocks.block()
    blocks.block(b"1", b"1")
    assert blocks.cached(b"1") == [False]
    blocks.block()
    assert blocks.cached(b"1") == [False]


def test_a_load_that_goes_through_a_large_state_once_displaces_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state, "CACHE_BYTES_MAX", 8 * (state._ENTRY_EXTRA + 10))
    blocks = filled()
    often = [b"%d" % i for i in range(5)]
    for _ in range(2):
        blocks.block(*often)
    assert blocks.cached(*often) == [True] * 5
    for first in range(5, 200, 15):
        blocks.block(*[b"%d" % i for i in range(first, first + 15)])
    assert blocks.cached(*often) == [True] * 5
    assert not any(blocks.cached(*[b"%d" % i for i in range(5, 200)]))


def test_what_a_block_writes_is_not_cached_for_that_and_is_changed_where_it_is_cached() -> None:
    blocks = filled()
    for _ in range(2):
        blocks.block(b"1", b"2", b"no")
    blocks.write({b"1": b"new", b"2": None, b"no": b"yes", b"3": b"three", b"other": b"o"})
    assert blocks.cached(b"1", b"2", b"no", b"3", b"other") == [True, True, True, False, False]
    expected = [b"new", None, b"yes", b"three", b"o"]
    assert blocks.read(b"1", b"2", b"no", b"3", b"other") == expected
    again = CachedState(blocks.store, StateTree(node_loader(blocks.store)), blocks.state._root)
    assert [again.get("toy", key) for key in (b"1", b"2", b"no", b"3", b"other")] == expected


def test_a_key_that_is_too_long_is_never_cached() -> None:
    blocks, keys = filled(), (b"k" * LONG, b"k" * (LONG + 1))
    blocks.write(dict.fromkeys(keys, b"v"))
    for _ in range(3):
        assert blocks.block(*keys) == [b"v", b"v"]
    assert blocks.cached(*keys) == [True, False]


def test_a_block_that_is_not_stored_changes_nothing_that_is_cached() -> None:
    blocks = filled()
    for _ in range(2):
        blocks.block(b"1", b"2")
    blocks.change({b"1": b"never", b"2": None, b"3": b"never"})
    assert blocks.read(b"1", b"2", b"3") == [b"value 1", b"value 2", b"value 3"]
    blocks.block()
    assert blocks.read(b"1", b"2", b"3") == [b"value 1", b"value 2", b"value 3"]


KEYS = [b"k%d" % i for i in range(6)] + [b"l" * LONG, b"l" * (LONG + 1)]
KEY = st.sampled_from(KEYS)
VALUE = st.one_of(st.binary(max_size=6), st.binary(min_size=200, max_size=220))  # held by the leaf, and not
WRITES = st.dictionaries(KEY, st.one_of(st.none(), VALUE), max_size=4)
STEPS = st.lists(st.tuples(st.lists(KEY, max_size=6), WRITES, st.booleans()), max_size=12)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(STEPS, st.sampled_from([0, 1_000, 2_500, 10**6]))
def test_the_state_says_what_a_dict_says_whatever_is_cached_forgotten_or_not_stored(
    steps: list[tuple[list[bytes], dict[bytes, bytes | None], bool]], bytes_max: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(state, "CACHE_BYTES_MAX", bytes_max)
        blocks = Blocks()
    model: dict[bytes, bytes | None] = {}
    rest: dict[bytes, bytes | None] = {b"%d" % i: b"%d" % i for i in range(60)}
    blocks.write(rest)
    for reads, writes, stored in steps:
        assert blocks.read(*reads) == [model.get(key) for key in reads]
        if not stored:
            blocks.change(writes)
            continue
        blocks.write(writes)
        model |= writes
    assert blocks.read(*KEYS) == [model.get(key) for key in KEYS]
    found = {key: value for key, value in {**rest, **model}.items() if value is not None}
    listed = [key for key, _ in blocks.store.iterate(prefix=rows.STATE)]
    assert listed == sorted(rows.state_key("toy", key) for key in found)


@pytest.mark.parametrize("size", [10, 1_000])
def test_a_damaged_value_is_never_given_to_a_block_nor_cached(tmp_path: Path, size: int) -> None:
    """It is held by its leaf or stands elsewhere: no node's hash covers either, LevelDB's checksums do."""
    store = LevelStore(tmp_path)
    records = store.records()
    tree, name = StateTree(node_loader(store)), rows.sized("toy")
    leaves: dict[bytes, tuple[bytes | None, bytes]] = {}
    for key, value in {b"whole": b"w" * size, b"damaged": b"d" * size}.items():
        leaves[state_key_hash("toy", key)] = state_value_hash(value), hold(name + key, value, records)
    update = tree.update(None, leaves, records)
    store.write([], records=records)
    fresh = CachedState(store, StateTree(node_loader(store)), update.root)
    assert fresh.get("toy", b"damaged") == b"d" * size
    store.close()
    flip(tmp_path, b"d" * size)
    store = LevelStore(tmp_path)
    fresh = CachedState(store, StateTree(node_loader(store)), update.root)
    for _ in range(3):
        with pytest.raises(DataDamaged, match=r"record 1/\d+: .*LevelDB finds it damaged.*rebuild"):
            fresh.get("toy", b"damaged")
    assert fresh._cache.get(("toy", b"damaged")) is None
    store.close()
