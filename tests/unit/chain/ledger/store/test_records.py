"""Records of the state: streams and generations against a model, crashes, full disks."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.history.rebuild import rebuild
from chain.ledger.store import records
from chain.ledger.store.faults import DataDamaged, StorageFailed
from chain.ledger.store.leveldb import RECORDS, LevelStore
from chain.ledger.store.memory import MemoryStore
from chain.ledger.store.records import (
    BLOCKS,
    GENERATIONS_MAX,
    LOADING,
    PendingRecords,
    end_key,
    end_row,
    first_address,
    generation_of,
    stream_ends,
    take_over,
)
from chain.ledger.testing import ToyChain, ToyRuntime
from chain.primitives.runtimeport import map_key
from tests.unit.chain.ledger.plainrows import plain_rows, records_in
from tests.unit.chain.ledger.recordfaults import CrashingStore, append, crashes

# --- streams against a model ----------------------------------------------------------------------

CONTENTS = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from([BLOCKS, LOADING]), CONTENTS, st.booleans()),
        st.tuples(st.just("delete"), st.integers(0, 9)),
        st.tuples(st.just("forget"), st.sampled_from([BLOCKS, LOADING])),
        st.tuples(st.just("take over")),
        st.tuples(st.just("reopen"), st.integers(0, 3)),
    ),
    max_size=25,
)


def run_model(store: Any, steps: list[Any], reopen: Callable[[Any, int], tuple[Any, int]]) -> None:
    """Do the steps; after each, every record whose row is there reads, and those of no row are nowhere."""
    model: dict[bytes, bytes] = {}
    undo: list[dict[bytes, bytes]] = []
    for step in steps:
        if step[0] == "append":
            _, stream, contents, sync = step
            before = dict(model)
            places = append(store, *contents, stream=stream, sync=sync)
            assert not model.keys() & set(places), "no two records stand at one place"
            model |= zip(places, contents, strict=True)
            undo = [] if sync else [*undo, before]
        elif step[0] == "delete":
            among = step[1] % 2 + min(map(generation_of, model), default=0)
            gone = sorted(where for where in model if generation_of(where) == among)[:-1]  # never the newest
            gone = gone[step[1] // 2 :]
            store.write([], [b"Z" + where for where in gone])
            store.delete_records(gone)
            model = {where: content for where, content in model.items() if where not in gone}
            undo = []
        elif step[0] in ("forget", "take over"):
            puts, deletes = take_over(store) if step[0] == "take over" else ([], [end_key(step[1])])
            ends = {key[-1]: row for key, row in store.iterate(prefix=records.RECORDS)}
            ends = {each: row for each, row in ends.items() if end_key(each) not in deletes} | {
                key[-1]: row for key, row in puts
            }
            live = {generation_of(row) for row in ends.values()}
            gone = [where for where in model if generation_of(where) not in live]
            store.write(puts, [*deletes, *[b"Z" + where for where in gone]], exchange=True)
            model = {where: content for where, content in model.items() if where not in gone}
            undo = []
        else:
            store, lost = reopen(store, min(step[1], len(undo)))
            for _ in range(lost):
                model = undo.pop()
            undo = []
        assert {key[1:] for key, _ in store.iterate(prefix=b"Z")} == model.keys()
        for where, content in model.items():
            assert store.record(where) == content
        store.check_records()
    store.close()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(STEPS)
def test_records_in_memory_are_those_that_rows_know_whatever_a_crash_took_back(steps: list[Any]) -> None:
    def reopen(store: MemoryStore, lost: int) -> tuple[MemoryStore, int]:
        store.crash(len(store._undo) - lost)
        live = {end >> 48 for end in stream_ends(store).values()}
        assert set(store._generations.held) == live
        return store, lost

    run_model(MemoryStore(), steps, reopen)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(STEPS)
def test_records_on_disk_are_those_that_rows_know_after_any_number_of_reopenings(steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)

        def reopen(store: LevelStore, _lost: int) -> tuple[LevelStore, int]:
            live = {end >> 48 for end in stream_ends(store).values()}
            store.close()
            for left in {"1", "7", "99"} - {str(number) for number in live}:  # of a crash in an exchange
                (path / RECORDS / left / "lost").mkdir(parents=True, exist_ok=True)
                (path / RECORDS / left / "CURRENT").write_text("rubbish")
            store = LevelStore(path)
            assert {int(found.name) for found in (path / RECORDS).iterdir()} == live
            return store, 0

        run_model(LevelStore(path), steps, reopen)


def test_a_place_says_its_generation_and_numbers_ascend_within_it() -> None:
    pending = PendingRecords(first_address(7) + 41)
    places = [pending.add(b"one"), pending.add(b"two")]
    assert [generation_of(where) for where in places] == [7, 7]
    assert [where.hex() for where in places] == ["0007000000000029", "000700000000002a"]
    assert pending.end == first_address(7) + 43


def test_generations_that_are_used_up_are_told_with_the_remedy() -> None:
    store = MemoryStore()
    store.write([end_row(BLOCKS, first_address(GENERATIONS_MAX))], exchange=True)
    append(store, b"one")
    with pytest.raises(DataDamaged, match=f"{GENERATIONS_MAX} generations were used up; run"):
        store.records(LOADING)


def test_records_that_began_before_others_of_their_stream_were_written_are_refused() -> None:
    """Their places are the others'; this is a fault of ours alone."""
    store = MemoryStore()
    late = store.records()
    late.add(b"late")
    append(store, b"first")
    with pytest.raises(RuntimeError, match="stream 0 went on"):
        store.write([], records=late)


# --- crashes ----------------------------------------------------------------------------------------


def test_a_crash_before_any_step_of_a_write_leaves_all_of_it_or_nothing_and_room_for_the_next() -> None:
    def work(store: CrashingStore) -> None:
        append(store, b"second", b"third" * 9)

    def make() -> CrashingStore:
        store = CrashingStore()
        append(store, b"first")
        store.steps = 0
        return store

    seen = 0
    for store in crashes(make, work):
        assert [store.record(key[1:]) for key, _ in store.iterate(prefix=b"Z")] == [b"first"]
        (second,) = append(store, b"other")
        assert store.record(second) == b"other"
        assert len(records_in(store)) <= 3
        seen += 1
    assert seen == 6, "before the records, and between them and the rows"


def test_a_crash_before_any_step_of_a_rebuild_is_told_and_a_repeated_one_leaves_nothing_behind() -> None:
    model = ToyChain()
    for height in range(3):
        model.add(model.call("put", {"key": height, "value": "v" * 300}))
    expected, seen, kept = plain_rows(model.store), 0, model.store
    assert isinstance(kept, MemoryStore)

    def again(store: CrashingStore) -> None:
        rebuild(store, model.genesis, ToyRuntime())

    for store in crashes(lambda: CrashingStore(kept), again):
        with contextlib.suppress(DataDamaged):  # an interrupted rebuild
            assert ToyChain(model.genesis, store).ledger.head == model.ledger.head
        again(store)
        assert plain_rows(store) == expected
        assert [*map(generation_of, records_in(store))] == [min(store._generations.held)] * len(
            records_in(store)
        )
        seen += 1
    assert seen > 30


BETWEEN = """
import os, signal, sys
from pathlib import Path
from chain.ledger.store import leveldb
from chain.ledger.testing import ToyChain
chain = ToyChain(store=leveldb.LevelStore(Path(sys.argv[1])))
chain.add(chain.call("put", {"key": 1, "value": 1}))
apply = leveldb.LevelDatabase.apply
def killed(database, *args, **options):
    if database._path == Path(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    apply(database, *args, **options)
leveldb.LevelDatabase.apply = killed
chain.add(chain.call("put", {"key": 2, "value": 2}))
"""


def test_kill_9_between_records_and_rows_leaves_the_height_before(tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", BETWEEN, str(tmp_path)], check=False)
    assert process.returncode == -signal.SIGKILL
    store = LevelStore(tmp_path)
    end = stream_ends(store)[BLOCKS].to_bytes(8, "big")
    assert store.record(end), "a record that no row knows"
    chain = ToyChain(store=store)
    assert chain.ledger.head.height == 1
    chain._nonce = 50
    chain.add(chain.call("put", {"key": 2, "value": 3}))
    assert chain.ledger.read.state("toy", map_key("values", 2)) == b"\x03"
    chain.store.close()
    again = ToyChain(store=LevelStore(tmp_path))
    assert again.ledger.read.state("toy", map_key("values", 2)) == b"\x03"
    again.store.close()


def test_a_disk_that_takes_no_more_loses_nothing_and_what_failed_is_written_over_after_a_restart(
    tmp_path: Path,
) -> None:
    """The limit stands for the full disk: LevelDB's writes fail as there."""
    store = LevelStore(tmp_path)
    (first,) = append(store, b"first")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, limits[1]))
    try:
        with pytest.raises(StorageFailed, match=f"{tmp_path}/records/1"):
            append(store, b"n" * 9_000, b"never")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [key for key, _ in store.iterate(prefix=b"Z")] == [b"Z" + first]
    assert store.record(first) == b"first"
    store.close()
    store = LevelStore(tmp_path)
    store.check_records()
    (second,) = append(store, b"second")
    assert (store.record(first), store.record(second)) == (b"first", b"second")
    store.close()
