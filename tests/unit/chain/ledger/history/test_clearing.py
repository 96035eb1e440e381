"""Clearing: stale records go in bulk, the disk gets their room back, and neither crashes nor readers mind."""

from __future__ import annotations

import random
import threading
from collections import deque
from functools import cache
from pathlib import Path

import pytest

from chain.ledger import recent_ids, validity_window
from chain.ledger.history import prune, snapshot
from chain.ledger.history.prune import set_floor, sweep, sweep_due
from chain.ledger.proof.verifier import ProofVerifier
from chain.ledger.state import state
from chain.ledger.store import records, rows
from chain.ledger.store.faults import DataDamaged, RecordMissing
from chain.ledger.store.leveldb import RECORDS, LevelStore
from chain.ledger.store.memory import MemoryStore
from chain.ledger.store.port import Store
from chain.ledger.store.records import LOADING, take_over
from chain.ledger.testing import ToyChain, toy_genesis
from chain.primitives.runtimeport import map_key
from tests.unit.chain.ledger.plainrows import places_used, records_in, state_of
from tests.unit.chain.ledger.recordfaults import CrashingStore, append, crashes, generation

WINDOW, LENGTH, FLOOR = 4, 40, 36


@pytest.fixture
def _short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "STALE_PER_RECORD", 7)
    monkeypatch.setattr(prune, "CLEAR_BYTES", 4_000)
    for module in (validity_window, prune, snapshot, recent_ids):
        monkeypatch.setattr(module, "VALIDITY_WINDOW_MAX", WINDOW)
    grown.cache_clear()


def grow(chain: ToyChain, last: int) -> ToyChain:
    """Add blocks up to a height; every one rewrites some keys of a few, so old records go stale."""
    for height in range(chain.ledger.head.height + 1, last + 1):
        draw = random.Random(height)
        chain._nonce = 1_000 * height
        keys = draw.sample(range(60), 8)
        puts = [chain.call("put", {"key": key, "value": "v" * (height % 50)}) for key in keys]
        chain.add(*puts, chain.call("delete", {"key": draw.randrange(60)}))
    return chain


@cache
def grown() -> ToyChain:
    """Return a chain to copy."""
    return grow(ToyChain(), LENGTH)


def prune_to(store: Store, floor: int, *, clear_now: bool = True) -> None:
    set_floor(store, floor, "")
    while sweep(store, clear_now=clear_now):
        pass
    assert not sweep_due(store)


def check_held(chain: ToyChain, whole: ToyChain, first: int) -> None:
    """Every state held reads in full as on a chain that was never pruned, and proves."""
    verifier = ProofVerifier(chain.genesis)
    for height in range(first, chain.ledger.head.height + 1):
        assert state_of(chain, height) == state_of(whole, height)
    for key in range(0, 60, 7):
        proof = chain.ledger.prove.state("toy", map_key("values", key), chain.ledger.certified_height)
        verifier.check_state(proof)


def live_bytes(chain: ToyChain, first: int) -> int:
    """Return the size of all nodes and values of the states held."""
    heights = range(first, chain.ledger.head.height + 1)
    places = places_used(chain.store, [chain.ledger.read.tree_root(height) for height in heights])
    return sum(len(chain.store.record(where)) for where in places)


@pytest.mark.usefixtures("_short_window")
def test_records_are_cleared_when_they_have_doubled_and_every_held_state_still_reads_and_proves() -> None:
    chain, whole = ToyChain(), ToyChain()
    sizes, cleared = [], 0
    for last in range(8, 161, 2):
        grow(chain, last)
        grow(whole, last)
        before = chain.store.records_size()
        prune_to(chain.store, last - WINDOW, clear_now=False)
        sizes.append(chain.store.records_size())
        cleared += sizes[-1] < before
        if last % 20 == 0:
            check_held(chain, whole, last - WINDOW - 1)
    live = live_bytes(chain, 160 - WINDOW - 1)
    assert 3 < cleared < len(sizes) / 2, "in bulk, and again and again"
    assert max(sizes[20:]) < 2 * live + 3 * 4_000
    assert whole.store.records_size() > 4 * max(sizes)
    prune_to(chain.store, 160 - WINDOW)
    assert chain.store.records_size() < 1.3 * live, "all that is stale goes when somebody asks for it"


@pytest.mark.usefixtures("_short_window")
def test_the_disk_gets_the_room_of_cleared_records_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In slices of bounded size, each a step of its own; nothing else on the disk is counted."""
    monkeypatch.setattr(records, "SLICE_BYTES", 60_000)
    chain = ToyChain(toy_genesis(), LevelStore(tmp_path, write_buffer_mib=1))
    for height in range(1, 31):
        puts = [chain.call("put", {"key": key, "value": f"{height:04}" * 500}) for key in range(20)]
        chain.add(*puts)
    store = chain.store
    assert isinstance(store, LevelStore)
    store.compact_records(0)
    before = disk_of(tmp_path)
    assert before > 1_000_000
    slices = []
    compact = store._records.compact

    def counted(start: int) -> int:
        slices.append(start)
        return compact(start)

    monkeypatch.setattr(records.RecordStore, "compact", lambda _self, start: counted(start))
    prune_to(store, 26)
    assert len(slices) > 5
    assert disk_of(tmp_path) < before / 4
    check_held(chain, chain, 25)
    again = ToyChain(chain.genesis, store)
    again._nonce = 10**6
    again.add(again.call("put", {"key": 1, "value": 1}))
    store.close()


def disk_of(path: Path) -> int:
    """Return the bytes of the tables of records."""
    return sum(file.stat().st_size for file in generation(path).glob("*.ldb"))


@pytest.mark.usefixtures("_short_window")
def test_a_damaged_record_among_those_to_be_cleared_stops_pruning_and_loses_none() -> None:
    store = MemoryStore(memory_of(grown()))
    set_floor(store, FLOOR, "")
    held = records_in(store)
    listed = next(iter(rows.read_addresses(store.get(rows.at(rows.STALE, 20)) or b"")))
    node = next(rows.read_addresses(held[listed][1:]))
    del store._generations.held[1][node]
    before = len(records_in(store))
    with pytest.raises(DataDamaged, match="is missing; run `assent node rebuild`"):
        deque(iter(lambda: sweep(store, clear_now=True), False), maxlen=0)
    assert len(records_in(store)) == before


@pytest.mark.usefixtures("_short_window")
def test_readers_in_other_threads_see_every_value_while_records_are_cleared_and_exchanged(
    tmp_path: Path,
) -> None:
    chain = grow(ToyChain(toy_genesis(), LevelStore(tmp_path)), LENGTH)
    store = chain.store
    expected = state_of(chain, LENGTH)
    done, seen, failures = threading.Event(), [0, 0], []
    exchanging = threading.Event()

    def read(place: int) -> None:
        try:
            while not done.is_set():
                try:
                    assert state_of(chain, LENGTH) == expected
                except RecordMissing:
                    assert exchanging.is_set(), "a record is missing that nobody exchanged"
                seen[place] += 1
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=read, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    try:
        for floor in range(4, FLOOR + 1, 2):
            prune_to(store, floor)
        exchanging.set()
        append(store, b"another", stream=LOADING)
        puts, deletes = take_over(store)
        store.write(puts, deletes, exchange=True)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert min(seen) > 0
    assert [found.name for found in (tmp_path / RECORDS).iterdir()] == ["2"]
    store.close()


def memory_of(chain: ToyChain) -> MemoryStore:
    assert isinstance(chain.store, MemoryStore)
    return chain.store


def grown_store() -> CrashingStore:
    return CrashingStore(memory_of(grown()))


@pytest.mark.usefixtures("_short_window")
def test_a_crash_before_any_step_of_pruning_leaves_a_directory_that_opens_and_prunes_to_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also between records and the rows that list them: those lead to nothing then."""
    monkeypatch.setattr(prune, "SWEEP_ROWS", 40)
    expected = MemoryStore(memory_of(grown()))
    prune_to(expected, FLOOR)
    seen = 0
    for store in crashes(grown_store, lambda store: prune_to(store, FLOOR)):
        chain = ToyChain(grown().genesis, store)
        prune_to(store, FLOOR)
        assert dict(store.iterate()) == dict(expected.iterate())
        assert records_in(store) == records_in(expected)
        if seen % 9 == 0:
            check_held(chain, grown(), FLOOR - 1)
        seen += 1
    assert seen > 60
