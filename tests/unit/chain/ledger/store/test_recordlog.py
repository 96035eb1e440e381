"""The record log: appends, crashes, damage, full disks, readers in other threads, and room given back."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger import recent_ids, validity_window
from chain.ledger.history import prune, snapshot
from chain.ledger.history.prune import set_floor, sweep, sweep_due
from chain.ledger.history.rebuild import rebuild
from chain.ledger.ledger import Ledger
from chain.ledger.proof.verifier import ProofVerifier
from chain.ledger.state import state
from chain.ledger.state.bucket import HELD_BYTES_MAX
from chain.ledger.state.chunk import leaves_below
from chain.ledger.state.node import Ref
from chain.ledger.state.state import entry_of, node_loader
from chain.ledger.state.tree import StateTree
from chain.ledger.store import reclaim, recordlog, rows, segments
from chain.ledger.store.faults import DataDamaged, StorageFailed
from chain.ledger.store.leveldb import RECORDS, LevelStore
from chain.ledger.store.memory import MemoryStore
from chain.ledger.store.port import Store
from chain.ledger.store.recordlog import BLOCKS, HEAD_BYTES, LOADING, MOVED, live_segments, split_address
from chain.ledger.testing import ToyChain, ToyRuntime, toy_genesis
from chain.primitives.execution import map_key
from tests.unit.chain.ledger.plainrows import places_used, plain_rows

SMALL = 600
WINDOW, LENGTH, FLOOR = 4, 40, 36


def append(store: Store, *contents: bytes, stream: int = BLOCKS, sync: bool = True) -> list[bytes]:
    """Write records, and a row for each that names it; return their places."""
    records = store.records(stream)
    places = [records.add(content) for content in contents]
    store.write([(b"Z" + where, b"") for where in places], records=records, sync=sync)
    return places


def file_of(path: Path, number: int) -> Path:
    return path / RECORDS / f"{number:08}.rec"


def small(patch: pytest.MonkeyPatch, size: int = SMALL) -> None:
    for module in (recordlog, reclaim):
        patch.setattr(module, "SEGMENT_BYTES", size)


@pytest.fixture
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)


# --- the log against a model ----------------------------------------------------------------------

CONTENTS = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=4)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.sampled_from([BLOCKS, LOADING]), CONTENTS, st.booleans()),
        st.tuples(st.just("retire"), st.integers(0, 9)),
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
        elif step[0] == "retire":
            live = live_segments(store)
            if not live:
                continue
            number = live[step[1] % len(live)].number
            gone = [where for where in model if split_address(where)[0] == number]
            store.write([], [b"Z" + where for where in gone], retired=[number])
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
    for stream in (BLOCKS, LOADING):
        append(store, b"last", stream=stream)
    scanned = {
        where: content
        for each in live_segments(store)
        for where, content in store.segment_records(each.number)
    }
    assert {where: scanned[where] for where in model} == model
    assert len(scanned) == len(model) + 2, "what no row knows was cut off"
    store.close()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(STEPS)
def test_records_in_memory_are_those_that_rows_know_whatever_a_crash_took_back(steps: list[Any]) -> None:
    def reopen(store: MemoryStore, lost: int) -> tuple[MemoryStore, int]:
        store.crash(len(store._undo) - lost)
        return store, lost

    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        run_model(MemoryStore(), steps, reopen)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(STEPS)
def test_records_in_files_are_those_that_rows_know_after_any_number_of_reopenings(steps: list[Any]) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        small(patch)
        patch.setattr(segments, "OPEN_FILES_MAX", 2)
        for name in ("fsync", "fdatasync"):  # no power is lost here, and the disk may be busy
            patch.setattr(os, name, lambda _fd: None)

        def reopen(store: LevelStore, _lost: int) -> tuple[LevelStore, int]:
            store.close()
            for number in (1, 7, 99):  # what a process that died before its rows left behind
                with (Path(folder) / RECORDS / f"{number:08}.rec").open("ab") as file:
                    file.write(b"\0\0\0\5torn")
            return LevelStore(Path(folder)), 0

        run_model(LevelStore(Path(folder)), steps, reopen)


def test_bytes_that_no_row_knows_are_cut_off_when_the_directory_opens(tmp_path: Path) -> None:
    store = LevelStore(tmp_path)
    (kept,) = append(store, b"kept")
    store.close()
    size = file_of(tmp_path, 1).stat().st_size
    with file_of(tmp_path, 1).open("ab") as file:
        file.write(b"never acknowledged")
    file_of(tmp_path, 2).write_bytes(b"\0\0\0\1x")
    store = LevelStore(tmp_path)
    assert file_of(tmp_path, 1).stat().st_size == size
    assert not file_of(tmp_path, 2).exists()
    (after,) = append(store, b"after")
    assert (store.record(kept), store.record(after)) == (b"kept", b"after")
    store.close()


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: os.truncate(file, 3)])
def test_a_segment_missing_or_too_short_is_damage_that_names_it_with_the_remedy(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    chain = ToyChain(store=LevelStore(tmp_path))
    chain.add(chain.call("put", {"key": 1, "value": 1}))
    chain.store.close()
    spoil(file_of(tmp_path, 1))
    store = LevelStore(tmp_path)
    with pytest.raises(DataDamaged, match=r"segment 1 is missing or too short; run `assent node rebuild`"):
        Ledger(store, chain.genesis, ToyRuntime())
    rebuild(store, chain.genesis, ToyRuntime())
    again = Ledger(store, chain.genesis, ToyRuntime())
    assert again.head == chain.ledger.head
    store.close()
    store = LevelStore(tmp_path)
    assert Ledger(store, chain.genesis, ToyRuntime()).read.state("toy", map_key("values", 1)) == b"\x01"
    store.close()


@pytest.mark.usefixtures("_small_segments")
def test_a_full_segment_that_lost_its_tail_is_damage_when_the_tail_is_read(
    tmp_path: Path,
) -> None:
    store = LevelStore(tmp_path)
    places = append(store, b"a" * SMALL, b"b" * 100)
    (other,) = append(store, b"c")
    store.close()
    os.truncate(file_of(tmp_path, 1), SMALL + 50)
    store = LevelStore(tmp_path)
    assert store.record(places[0]) == b"a" * SMALL
    assert store.record(other) == b"c"
    with pytest.raises(DataDamaged, match="segment 1 has no sound record at offset 608; run `assent"):
        store.record(places[1])
    store.close()


@pytest.mark.parametrize("claimed", [0xFFFF_FFFF, 0x0100_0001, 0x00FF_FFFF, 0])
def test_a_huge_length_in_a_damaged_record_is_damage_and_costs_little_memory(
    tmp_path: Path, claimed: int
) -> None:
    store = LevelStore(tmp_path)
    (where,) = append(store, b"x" * 3_000)
    with file_of(tmp_path, 1).open("r+b") as file:
        file.write(claimed.to_bytes(4, "big"))
    tracemalloc.start()
    with pytest.raises(DataDamaged, match="segment 1 has no sound record at offset 0"):
        store.record(where)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * recordlog.RECORD_BYTES_MAX
    store.close()


def test_a_record_of_a_segment_that_never_was_is_damage_that_names_it() -> None:
    store = MemoryStore()
    append(store, b"one")
    with pytest.raises(DataDamaged, match="segment 7 is missing; run"):
        store.record((7 << 32).to_bytes(8, "big"))


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
    chain.store.close()
    content = bytearray(file_of(tmp_path, 1).read_bytes())
    spots = {
        "node": split_address(root[1])[1] + HEAD_BYTES + 40,
        "value": content.rindex(b"value 1 3"),  # in the bucket that was written last
        "value elsewhere": content.index(b"elsewhere"),
    }
    at = spots[what]
    content[at] ^= 4
    file_of(tmp_path, 1).write_bytes(content)
    store = LevelStore(tmp_path)
    with pytest.raises(DataDamaged, match=r"segment 1 has no sound record at offset \d+; run `assent"):
        Ledger(store, chain.genesis, ToyRuntime()).read.state("toy", key)
    rebuild(store, chain.genesis, ToyRuntime())
    again = Ledger(store, chain.genesis, ToyRuntime())
    assert again.read.state("toy", key) == value
    store.close()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=5))
def test_whatever_bytes_of_the_log_are_damaged_a_reader_gets_the_true_entries_or_is_told(
    spots: list[tuple[float, int]],
) -> None:
    """Also what no hash covers: places, lengths, and numbers of leaves."""
    chain, truth, root = mixed()
    store = MemoryStore(chain.store)
    segment: Any = store._segments._data[1]
    for share, change in spots:
        segment[int(share * len(segment))] ^= change
    load = node_loader(store)
    asked: list[tuple[Callable[[], object], object]] = [
        (lambda: dict(state.entries(store, rows.STATE)), truth),
        (lambda: dict(entry_of(store, leaf) for leaf in leaves_below(load, root, b"")), state_of(chain, 5)),
        (lambda: StateTree(load).warm(root, lambda: True), None),
    ]
    for ask, expected in asked:
        with contextlib.suppress(DataDamaged):
            assert ask() == expected


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


# --- full disks and killed processes ----------------------------------------------------------------


@pytest.mark.usefixtures("_small_segments")
def test_a_full_disk_loses_nothing_and_the_next_append_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, write = LevelStore(tmp_path), os.pwrite
    (first,) = append(store, b"first")
    room = [0]

    def pwrite(fd: int, data: Any, offset: int) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = min(len(data), room[0], 100)  # a short write, as near the end of the room
        room[0] -= taken
        return write(fd, bytes(data[:taken]), offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    monkeypatch.setattr(os, "pwritev", lambda fd, parts, offset: pwrite(fd, b"".join(parts), offset))
    for left in (0, 1, 3, 4, 250, 699):
        room[0] = left
        with pytest.raises(StorageFailed, match="No space left on device; check the path"):
            append(store, b"n" * 700, b"never")
        assert [key for key, _ in store.iterate(prefix=b"Z")] == [b"Z" + first]
    room[0] = 10**6
    (second,) = append(store, b"second")
    (third,) = append(store, b"t" * SMALL)  # the segment is full: what failed must not follow its end
    (fourth,) = append(store, b"fourth")
    assert [split_address(where)[0] for where in (second, third, fourth)] == [1, 1, 2]
    assert [record for _, record in store.segment_records(1)] == [b"first", b"second", b"t" * SMALL]
    store.close()
    store = LevelStore(tmp_path)
    found = [store.record(where) for where in (first, second, third, fourth)]
    assert found == [b"first", b"second", b"t" * SMALL, b"fourth"]
    store.close()


BETWEEN = """
import os, signal, sys
from pathlib import Path
from chain.ledger.store import leveldb
from chain.ledger.testing import ToyChain
chain = ToyChain(store=leveldb.LevelStore(Path(sys.argv[1])))
chain.add(chain.call("put", {"key": 1, "value": 1}))
write = leveldb.LevelStore._write
def killed(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)
leveldb.LevelStore._write = killed
chain.add(chain.call("put", {"key": 2, "value": 2}))
"""


def test_kill_9_between_records_and_rows_leaves_the_height_before(tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", BETWEEN, str(tmp_path)], check=False)
    assert process.returncode == -signal.SIGKILL
    torn = file_of(tmp_path, 1).stat().st_size
    chain = ToyChain(store=LevelStore(tmp_path))
    assert file_of(tmp_path, 1).stat().st_size < torn
    assert chain.ledger.head.height == 1
    chain._nonce = 50
    chain.add(chain.call("put", {"key": 2, "value": 2}))
    assert chain.ledger.read.state("toy", map_key("values", 2)) == b"\x02"
    chain.store.close()


# --- room given back ------------------------------------------------------------------------------


@pytest.fixture
def _short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten(monkeypatch)


def shorten(patch: pytest.MonkeyPatch) -> None:
    small(patch, 4_000)
    patch.setattr(state, "STALE_PER_RECORD", 7)
    for module in (validity_window, prune, snapshot, recent_ids):
        patch.setattr(module, "VALIDITY_WINDOW_MAX", WINDOW)


def grow(chain: ToyChain, last: int) -> ToyChain:
    """Add blocks up to a height; every one rewrites some keys of a few, so old records die everywhere."""
    for height in range(chain.ledger.head.height + 1, last + 1):
        draw = random.Random(height)
        chain._nonce = 1_000 * height
        keys = draw.sample(range(60), 8)
        puts = [chain.call("put", {"key": key, "value": "v" * (height % 50)}) for key in keys]
        chain.add(*puts, chain.call("delete", {"key": draw.randrange(60)}))
    return chain


def prune_to(store: Store, floor: int) -> None:
    set_floor(store, floor, "")
    while sweep_due(store):
        sweep(store)


def log_bytes(store: Store) -> int:
    return sum(
        HEAD_BYTES + len(record)
        for each in live_segments(store)
        for _, record in store.segment_records(each.number)
    )


def state_of(chain: ToyChain, height: int) -> dict[bytes, bytes]:
    root = chain.ledger.read.tree_root(height)
    leaves = [] if root is None else leaves_below(node_loader(chain.store), root, b"")
    return dict(entry_of(chain.store, leaf) for leaf in leaves)


def check_held(chain: ToyChain, whole: ToyChain, first: int) -> None:
    """Every state held reads in full as on a chain that was never pruned, and proves."""
    verifier = ProofVerifier(chain.genesis)
    for height in range(first, chain.ledger.head.height + 1):
        assert state_of(chain, height) == state_of(whole, height)
    for key in range(0, 60, 7):
        proof = chain.ledger.prove.state("toy", map_key("values", key), chain.ledger.certified_height)
        verifier.check_state(proof)


def check_tidy(store: Store) -> None:
    """No mark of a dead record and no row of a moved one names a segment that is gone."""
    live = {segment.number: segment for segment in live_segments(store)}
    dead = dict.fromkeys(live, 0)
    for key, _ in store.iterate(prefix=rows.DEAD):
        dead[split_address(key[1:])[0]] += HEAD_BYTES + len(store.record(key[1:]))
    assert dead == {number: segment.dead for number, segment in live.items()}
    moved = dict(store.iterate(prefix=MOVED))
    for key, where in moved.items():
        assert split_address(key[1:])[0] not in live
        assert MOVED + where in moved or split_address(where)[0] in live


@pytest.mark.usefixtures("_short_window")
def test_pruning_gives_segments_back_and_every_held_state_still_reads_and_proves() -> None:
    chain, whole = grow(ToyChain(), LENGTH), grow(ToyChain(), LENGTH)
    for floor in range(4, FLOOR + 1, 4):  # bit by bit, so records move more than once
        prune_to(chain.store, floor)
        check_held(chain, whole, max(floor - 1, 0))
        check_tidy(chain.store)
    moved = dict(chain.store.iterate(prefix=MOVED))
    assert any(MOVED + where in moved for where in moved.values()), "some records moved twice"
    fresh = grow(ToyChain(), FLOOR - 1)
    before = log_bytes(fresh.store)
    grow(fresh, LENGTH)
    used = log_bytes(fresh.store) - before  # what the heights held wrote
    live = sum(HEAD_BYTES + len(chain.store.record(where)) for where in live_places(chain, FLOOR - 1))
    assert live < log_bytes(chain.store) < 2 * live + 3 * 4_000 + used
    assert log_bytes(chain.store) < log_bytes(whole.store) / 2
    assert len(list(chain.store.iterate(prefix=rows.DEAD))) < len(live_places(chain, FLOOR - 1)) * 2
    again = ToyChain(chain.genesis, chain.store)
    check_held(grow(again, LENGTH + 2), grow(whole, LENGTH + 2), FLOOR - 1)


def live_places(chain: ToyChain, first: int) -> set[bytes]:
    """Return the places, as first written, of all nodes and values of the states held."""
    heights = range(first, chain.ledger.head.height + 1)
    return places_used(chain.store, [chain.ledger.read.tree_root(height) for height in heights])


@pytest.mark.usefixtures("_short_window")
def test_marks_and_moves_do_not_accumulate_while_a_chain_grows_and_is_pruned() -> None:
    chain = ToyChain()
    sizes = []
    for last in range(20, 161, 20):
        grow(chain, last)
        prune_to(chain.store, last - WINDOW)
        check_tidy(chain.store)
        sizes.append((log_bytes(chain.store), len(list(chain.store.iterate(prefix=MOVED)))))
    assert max(size for size, _ in sizes[4:]) < 1.5 * max(size for size, _ in sizes[:4])
    assert sizes[-1][1] <= 2 * len(live_places(chain, chain.ledger.read.pruned.below().state))


class Crash(Exception):
    """The power went."""


class CrashingStore(MemoryStore):
    """Fails at the n-th write from now, with its records appended or not."""

    writes_left = -1
    torn = False

    def write(self, *changes: Any, **options: Any) -> None:
        if self.writes_left == 0:
            if self.torn and (data := options.get("records")):
                self._records._log.append(data)
            raise Crash
        self.writes_left -= 1
        super().write(*changes, **options)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 30), st.integers(0, 3), st.booleans())
def test_a_crash_at_any_write_of_pruning_leaves_a_directory_that_opens_and_goes_on(
    crash_at: int, lost: int, torn: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        patch.setattr(prune, "SWEEP_ROWS", 40)
        chain = ToyChain(store=CrashingStore(grown().store))
        store = chain.store
        assert isinstance(store, CrashingStore)
        store.writes_left, store.torn = crash_at, torn
        try:
            prune_to(store, FLOOR)
        except Crash:
            store.crash(max(0, len(store._undo) - lost))
        store.writes_left = -1
        again = ToyChain(chain.genesis, store)
        prune_to(store, FLOOR)
        check_tidy(store)
        check_held(again, grown(), FLOOR - 1)
        uncrashed = MemoryStore(grown().store)
        prune_to(uncrashed, FLOOR)
        assert plain_rows(store) == plain_rows(uncrashed)


_GROWN: list[ToyChain] = []


def grown() -> ToyChain:
    """Return a chain to copy; made once, in live_segments of the small size."""
    if not _GROWN:
        _GROWN.append(grow(ToyChain(), LENGTH))
    return _GROWN[0]


@pytest.mark.usefixtures("_short_window")
def test_a_damaged_length_in_a_segment_to_give_up_loses_no_record() -> None:
    chain = grow(ToyChain(), LENGTH)
    set_floor(chain.store, FLOOR, "")
    store: Any = chain.store
    first = live_segments(store)[0].number
    second = list(store.segment_records(first))[1][0]
    store._segments._data[first][split_address(second)[1] + 3] ^= 0x10
    with pytest.raises(DataDamaged, match="record log: segment 1"):
        prune_to(store, FLOOR)
    assert first in {segment.number for segment in live_segments(store)}


@pytest.mark.usefixtures("_short_window")
def test_readers_in_other_threads_see_every_value_while_segments_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "OPEN_FILES_MAX", 3)
    chain = grow(ToyChain(toy_genesis(), LevelStore(tmp_path)), LENGTH)
    expected = state_of(chain, LENGTH)
    done, seen, failures = threading.Event(), [0, 0], []

    def read(place: int) -> None:
        try:
            while not done.is_set():
                assert state_of(chain, LENGTH) == expected
                seen[place] += 1
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    before = {segment.number for segment in live_segments(chain.store)}
    try:
        for floor in range(4, FLOOR + 1, 2):
            prune_to(chain.store, floor)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(before - {segment.number for segment in live_segments(chain.store)}) > 3
    present = {int(file.stem) for file in (tmp_path / RECORDS).iterdir()}
    assert present == {segment.number for segment in live_segments(chain.store)}
    chain.store.close()
