"""Damaged databases of records: named with the remedy, mended by a rebuild, never read as something else."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.history.rebuild import rebuild
from chain.ledger.ledger import Ledger
from chain.ledger.state import state
from chain.ledger.state.bucket import HELD_BYTES_MAX
from chain.ledger.state.chunk import leaves_below
from chain.ledger.state.node import Ref
from chain.ledger.state.state import entry_of, node_loader
from chain.ledger.state.tree import StateTree
from chain.ledger.store import rows
from chain.ledger.store.faults import DataDamaged, RecordMissing
from chain.ledger.store.leveldb import RECORDS, LevelStore
from chain.ledger.store.memory import MemoryStore
from chain.ledger.store.records import BLOCKS, LOADING, PendingRecords, first_address
from chain.ledger.testing import ToyChain, ToyRuntime
from chain.primitives.runtimeport import map_key
from tests.unit.chain.ledger.plainrows import records_in, state_of
from tests.unit.chain.ledger.recordfaults import append, flip, generation, tables


def cut_log(folder: Path) -> None:
    """Cut a third off the newest log, as a disk that loses what it said it has."""
    newest = max(folder.glob("*.log"), key=lambda file: file.stat().st_size)
    content = newest.read_bytes()
    newest.write_bytes(content[: len(content) * 2 // 3])


def remove_a_table(folder: Path) -> None:
    max(folder.glob("*.ldb"), key=lambda file: file.stat().st_size).unlink()


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (cut_log, r"records: 1/\d+, the newest, is missing: its database was cut off"),
    "gone": (shutil.rmtree, r"records: 1/\d+, the newest, is missing"),
    "without a table": (remove_a_table, "records/1: LevelDB finds it damaged .*missing files"),
    "without its list of tables": (
        lambda folder: next(folder.glob("MANIFEST-*")).unlink(),
        "records/1: ",
    ),
    "with rubbish": (
        lambda folder: (folder / "CURRENT").write_text("rubbish"),
        "records/1: LevelDB finds it damaged",
    ),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_database_of_records_that_is_spoilt_is_told_with_the_remedy_and_a_rebuild_makes_it_anew(
    tmp_path: Path, how: str
) -> None:
    spoil, said = SPOILT[how]
    chain = ToyChain(store=LevelStore(tmp_path))
    chain.add(chain.call("put", {"key": 1, "value": 1}))
    chain.store.close()
    if how == "without a table":
        assert tables(tmp_path)
    spoil(generation(tmp_path))
    store = LevelStore(tmp_path)
    with pytest.raises(DataDamaged, match=rf"(?s){said}.*run `assent node rebuild`"):
        Ledger(store, chain.genesis, ToyRuntime())
    rebuild(store, chain.genesis, ToyRuntime())
    again = Ledger(store, chain.genesis, ToyRuntime())
    assert again.head == chain.ledger.head
    store.close()
    store = LevelStore(tmp_path)
    assert Ledger(store, chain.genesis, ToyRuntime()).read.state("toy", map_key("values", 1)) == b"\x01"
    assert [found.name for found in (tmp_path / RECORDS).iterdir()] == ["2"]
    store.close()


def test_a_fetched_state_whose_database_is_spoilt_does_not_spoil_what_blocks_write(tmp_path: Path) -> None:
    store = LevelStore(tmp_path)
    append(store, b"fetched", stream=LOADING)
    (kept,) = append(store, b"kept")
    store.close()
    (generation(tmp_path) / "CURRENT").write_text("rubbish")
    store = LevelStore(tmp_path)
    with pytest.raises(DataDamaged, match="records/1"):
        store.check_records()
    with pytest.raises(DataDamaged, match="records/1"):
        append(store, b"more", stream=LOADING)
    (more,) = append(store, b"more")
    assert (store.record(kept), store.record(more)) == (b"kept", b"more")
    store.close()


def test_a_record_that_is_not_there_is_damage_that_names_it() -> None:
    store = MemoryStore()
    append(store, b"one")
    for where, name in ((first_address(7), "7/0"), (first_address(1) + 5, "1/5")):
        with pytest.raises(RecordMissing, match=f"records: {name} is missing; run `assent node rebuild`"):
            store.record(where.to_bytes(8, "big"))


@pytest.mark.parametrize("what", ["node", "value", "value elsewhere"])
def test_a_damaged_record_of_the_state_is_found_when_read_and_a_rebuild_mends_it(
    tmp_path: Path, what: str
) -> None:
    chain = ToyChain(store=LevelStore(tmp_path))
    for i in range(4):
        chain.add(*[chain.call("put", {"key": 10 * i + k, "value": f"value {i} {k}"}) for k in range(10)])
    chain.add(chain.call("put", {"key": 99, "value": "elsewhere" * HELD_BYTES_MAX}))
    root = chain.ledger.read.tree_root(5)
    key = map_key("values", 13 if what == "value" else 99)
    assert root is not None
    value = chain.ledger.read.state("toy", key)
    spots = {
        "node": chain.store.record(root[1])[-40:],
        "value": b"value 1 3",  # in the bucket that was written last
        "value elsewhere": b"elsewhere",
    }
    chain.store.close()
    flip(tmp_path, spots[what])
    store = LevelStore(tmp_path)
    with pytest.raises(DataDamaged, match=r"record 1/\d+: .*/records/1: LevelDB .*; run `assent"):
        Ledger(store, chain.genesis, ToyRuntime()).read.state("toy", key)
    rebuild(store, chain.genesis, ToyRuntime())
    again = Ledger(store, chain.genesis, ToyRuntime())
    assert again.read.state("toy", key) == value
    store.close()


@cache
def kept_on_disk() -> tuple[Path, tempfile.TemporaryDirectory[str]]:
    """Return a closed data directory of the mixed chain, one half of it in a table, one in LevelDB's log."""
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name) / "data"
    copy, store = mixed()[0], LevelStore(path)
    store.write(copy.store.iterate(), exchange=True)
    pending = store.records()
    for number, (where, record) in enumerate(records_in(copy.store).items()):
        if number == len(records_in(copy.store)) // 2:
            store.close()
            store = LevelStore(path)  # what stands in LevelDB's log goes to a table
        pending = PendingRecords(int.from_bytes(where))
        pending.add(record)
        store._records._ends[BLOCKS] = pending.first
        store.write([], records=pending, sync=False)
    store.close()
    assert list(generation(path).glob("*.ldb"))
    return path, folder


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4),
    st.sampled_from(["*.ldb", "*.log"]),
)
def test_whatever_bytes_of_records_are_damaged_a_reader_gets_the_true_entries_or_is_told(
    spots: list[tuple[float, int]], kind: str
) -> None:
    """Also what no hash covers: places, lengths, and numbers of leaves."""
    chain, truth, root = mixed()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        shutil.copytree(kept_on_disk()[0], path)
        file = max(generation(path).glob(kind), key=lambda each: each.stat().st_size)
        content = bytearray(file.read_bytes())
        for share, change in spots:
            content[int(share * len(content))] ^= change
        file.write_bytes(content)
        store = LevelStore(path)
        load = node_loader(store)
        asked: list[tuple[Callable[[], object], object]] = [
            (lambda: dict(state.entries(store, rows.STATE)), truth),
            (
                lambda: dict(entry_of(store, leaf) for leaf in leaves_below(load, root, b"")),
                state_of(chain, 5),
            ),
            (lambda: StateTree(load).warm(root, lambda: True), None),
        ]
        for ask, expected in asked:
            with contextlib.suppress(DataDamaged):
                assert ask() == expected
        store.close()


@cache
def mixed() -> tuple[ToyChain, dict[bytes, bytes], Ref]:
    """Return a chain whose state has small and large values, full nodes and deltas; its entries and root."""
    chain = ToyChain()
    for height in range(4):
        sizes = [(key, random.Random(key).choice([3, 20, 300])) for key in range(height * 9, height * 9 + 20)]
        chain.add(*[chain.call("put", {"key": key, "value": "v" * size}) for key, size in sizes])
    chain.add(chain.call("put", {"key": 3, "value": 1}), chain.call("delete", {"key": 4}))
    root = chain.ledger.read.tree_root(5)
    assert root is not None
    assert not root[2], "an inner node"
    return chain, dict(state.entries(chain.store, rows.STATE)), root
