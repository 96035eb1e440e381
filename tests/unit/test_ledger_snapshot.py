"""State snapshots: every chunk is checked by itself, and a crash leaves a ledger or a resumable load."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger import deadrecords, records, rows, statechunk
from chain.ledger.anchor import Anchor, TrustedSets, make_anchor
from chain.ledger.faults import DataDamaged
from chain.ledger.genesis import Limits
from chain.ledger.holding import NotHeld
from chain.ledger.ledger import Ledger
from chain.ledger.records import BLOCKS, LOADING, MOVED, ends, segments
from chain.ledger.snapshot import SnapshotConflicts, SnapshotTooOld, StateLoad
from chain.ledger.state import NewestState, entries, entry_of, node_loader
from chain.ledger.statechunk import StateChunk, leaves_below, make_chunk, ref_at
from chain.ledger.store import MemoryStore
from chain.ledger.testing import ToyChain, ToyRuntime, toy_genesis
from chain.primitives.codec import decode, encode
from chain.primitives.errors import AssentError, DecodeError, ProofInvalid
from chain.primitives.execution import map_key

GENESIS = toy_genesis(limits=Limits(consensus_window=3))
HEIGHT = 12
SMALL = {"CHUNK_BYTES": 400, "CHUNK_ENTRIES": 6}


@cache
def source() -> ToyChain:
    """A chain of 12 heights whose state has some 200 entries, of many sizes."""
    chain = ToyChain(GENESIS)
    for height in range(1, HEIGHT + 1):
        calls = [chain.call("put", {"key": height * 100 + i, "value": "x" * (i * height)}) for i in range(15)]
        chain.add(*calls, chain.call("move", {"source": "a", "target": "b"}))
    return chain


def chunk_of(chain: ToyChain, height: int, path: bytes) -> StateChunk:
    load, root = node_loader(chain.store), chain.ledger.read.tree_root(height)
    top = ref_at(load, root, path)
    assert top is not None
    return make_chunk(load, chain.ledger.read.entry_at_leaf, top, path)


def anchor_of(chain: ToyChain, height: int) -> Anchor:
    return make_anchor(chain.ledger.read, height, GENESIS.limits.consensus_window)


def begin(ledger: Ledger, height: int = HEIGHT) -> StateLoad:
    sets = TrustedSets(GENESIS)
    return ledger.replace(lambda: StateLoad.begin(ledger.store, sets, anchor_of(source(), height)))


def fill(load: StateLoad, choose: Callable[[list[bytes]], bytes] = lambda paths: paths[0]) -> None:
    while not load.complete:
        load.take(chunk_of(source(), load.height, choose(list(load.loader.wanted()))))


def read_whole(ledger: Ledger, height: int) -> dict[bytes, bytes]:
    """Read the whole state of a height through its tree, all of it checked: row key -> value."""
    store, root = ledger.store, ledger.read.tree_root(height)
    leaves = [] if root is None else leaves_below(node_loader(store), root, b"")
    return {rows.STATE + name: value for name, value in (entry_of(store, leaf) for leaf in leaves)}


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SMALL.items():
        monkeypatch.setattr(statechunk, name, value)


@pytest.mark.parametrize("seed", range(8))
def test_a_state_loaded_in_any_order_is_the_state_of_its_height_and_the_chain_goes_on(seed: int) -> None:
    random_source = random.Random(seed)
    chain = ToyChain(GENESIS)
    load = begin(chain.ledger)
    fill(load, random_source.choice)
    chain.ledger.replace(load.install)
    ledger, other = chain.ledger, source().ledger
    assert (ledger.head, ledger.certified_height) == (other.head, HEIGHT)
    for key in (100, 1_214, "a", "never"):
        place = ("toy", map_key("values", key))
        assert ledger.read.state(*place) == other.read.state(*place) == ledger.read.state_at(*place, HEIGHT)
    assert read_whole(ledger, HEIGHT) == dict(entries(source().store, rows.STATE))
    follow = ToyChain(GENESIS, MemoryStore(source().store))
    for call in (follow.call("put", {"key": 1, "value": seed}), follow.call("delete", {"key": 105})):
        follow.add(call)
        ledger.apply_block(follow.block(follow.ledger.head.height))
    assert ledger.head == follow.ledger.head
    Ledger(chain.store, GENESIS, ToyRuntime())  # opens: its parts agree


def loaded() -> ToyChain:
    chain = ToyChain(GENESIS)
    load = begin(chain.ledger)
    fill(load)
    chain.ledger.replace(load.install)
    return chain


def test_a_state_brings_the_validators_and_limits_that_hold_and_that_are_announced() -> None:
    """Two sets after the founders', one not in force yet: the loaded ledger goes on as the others do."""
    chain = ToyChain(GENESIS)
    chain.add(chain.govern(("a",)))
    for _ in range(4):
        chain.add()
    chain.add(chain.call("govern", {"var": "limits", "value": {"block_txs": 7}}), chain.govern(("b", "c")))
    top = chain.ledger.head.height
    sets, fresh = TrustedSets(GENESIS), ToyChain(GENESIS)
    with pytest.raises(ProofInvalid):
        fresh.ledger.replace(lambda: StateLoad.begin(fresh.store, sets, anchor_of(chain, top)))
    sets.follow(chain.ledger.prove.set_changes())
    load = fresh.ledger.replace(lambda: StateLoad.begin(fresh.store, sets, anchor_of(chain, top)))
    while not load.complete:
        load.take(chunk_of(chain, top, next(iter(load.loader.wanted()))))
    fresh.ledger.replace(load.install)
    for _ in range(5):
        chain.add()
        assert fresh.ledger.apply_block(chain.block(chain.ledger.head.height))
    assert fresh.ledger.head == chain.ledger.head
    assert fresh.ledger.schedule.sets() == chain.ledger.schedule.sets()
    assert fresh.ledger.limits.block_txs == 7
    assert fresh.ledger.prove.set_changes() == chain.ledger.prove.set_changes()


def test_a_replay_is_refused_after_a_snapshot_as_by_those_who_executed_everything() -> None:
    """Planted fault of others: the nonce window not persisted."""
    full, fresh = ToyChain(GENESIS, MemoryStore(source().store)), loaded()
    old = source().ledger.read.transactions(HEIGHT - 2)[3]
    raw = full.call("put", {"key": 5, "value": 5})
    candidates = [type(raw).of(old), raw]
    assert fresh.ledger.read.is_final(candidates[0].id)
    payload = full.payload(candidates)
    assert full.ledger.execute(HEIGHT + 1, payload, candidates) == fresh.ledger.execute(
        HEIGHT + 1, payload, candidates
    )
    assert [receipt.code for receipt in fresh.ledger.read.receipts(HEIGHT + 1)] == ["REPLAYED", ""]


def test_blocks_and_certificates_that_come_after_a_state_took_their_place_do_no_harm() -> None:
    """Consensus and catch-up may still hold them; nobody is at fault, and the state stands."""
    chain, fresh = source(), loaded()
    head = fresh.ledger.head
    for height in (1, 2, HEIGHT - 1, HEIGHT):
        block = chain.block(height)
        assert fresh.ledger.apply_block(block) is False
        fresh.ledger.certify(block.certificate)
    assert fresh.ledger.head == head


def test_history_that_a_snapshot_did_not_bring_is_not_held_and_never_nothing() -> None:
    ledger = loaded().ledger
    old = source().ledger.read.transactions(3)[0]
    old_id = type(source().call("put", {})).of(old).id
    asked: list[Callable[[], object]] = [
        lambda: ledger.read.receipts(3),
        lambda: ledger.read.transactions(3),
        lambda: ledger.read.entries(subject="org:bank"),
        lambda: ledger.read.entries(contract="toy", first=HEIGHT),
        lambda: ledger.read.receipt(old_id),
        lambda: ledger.read.transaction(old_id),
        lambda: ledger.prove.transaction(old_id),
        lambda: ledger.read.state_at("toy", b"x", HEIGHT - 1),
        lambda: ledger.prove.state("toy", b"x", 4),
        lambda: ledger.prove.header(2),
        lambda: ledger.prove.history("org:bank", 0, HEIGHT),
    ]
    for ask in asked:
        with pytest.raises(NotHeld):
            ask()
    assert ledger.read.holding.missing_transaction(bytes(32)) is not None
    assert source().ledger.read.holding.missing_transaction(bytes(32)) is None
    assert ledger.read.entries(subject="org:bank", first=HEIGHT + 1).entries == ()
    ledger.prove.state("toy", map_key("values", 100), HEIGHT)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 7))
def test_a_chunk_altered_by_one_bit_is_refused_and_the_true_one_still_taken(
    which: int, at: int, bit: int
) -> None:
    load = begin(ToyChain(GENESIS).ledger)
    for _ in range(which % 40):
        if not load.complete:
            load.take(chunk_of(source(), HEIGHT, next(load.loader.wanted())))
    if load.complete:
        return
    true = chunk_of(source(), HEIGHT, next(load.loader.wanted()))
    data = bytearray(encode(true))
    data[at % len(data)] ^= 1 << bit
    rows_before = dict(load._store.iterate())
    try:
        changed = decode(StateChunk, bytes(data))
    except DecodeError:
        return
    if changed.path == true.path:
        with pytest.raises(ProofInvalid):
            load.take(changed)
    else:
        with contextlib.suppress(ProofInvalid):  # ignored when nothing is wanted at that path
            load.take(changed)
    assert dict(load._store.iterate()) == rows_before
    load.take(true)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda chunk: dataclasses.replace(chunk, entries=()),
        lambda chunk: dataclasses.replace(chunk, entries=chunk.entries[:-1]),
        lambda chunk: dataclasses.replace(chunk, entries=chunk.entries[::-1]),
        lambda chunk: dataclasses.replace(chunk, entries=chunk.entries + chunk.entries[-1:]),
        lambda chunk: dataclasses.replace(chunk, mask=1, hashes=(bytes(32),)),
        lambda chunk: dataclasses.replace(chunk, mask=3, hashes=(bytes(32),)),
    ],
)
def test_chunks_that_lack_repeat_reorder_or_pretend_are_refused(
    spoil: Callable[[StateChunk], StateChunk],
) -> None:
    load = begin(ToyChain(GENESIS).ledger)
    while True:
        chunk = chunk_of(source(), HEIGHT, next(load.loader.wanted()))
        if len(chunk.entries) > 1:
            break
        load.take(chunk)
    with pytest.raises(ProofInvalid):
        load.take(spoil(chunk))
    load.take(chunk)


class Crash(Exception):
    """The power went."""


class CrashingStore(MemoryStore):
    """Fails at the n-th write from now, before or after it took effect, and loses some unsynced ones."""

    writes_left = -1

    def write(self, *changes: Any, **options: Any) -> None:
        if self.writes_left == 0:
            raise Crash
        self.writes_left -= 1
        super().write(*changes, **options)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 130), st.integers(0, 3))
def test_whatever_write_a_crash_cuts_off_the_directory_opens_and_ends_at_the_same_state(
    crash_at: int, lost: int
) -> None:
    store = CrashingStore()
    chain = ToyChain(GENESIS, store)
    store.writes_left = crash_at
    try:
        load = begin(chain.ledger)
        fill(load)
        chain.ledger.replace(load.install)
    except Crash:
        store.crash(max(0, len(store._undo) - lost))
    store.writes_left = -1
    ledger = Ledger(store, GENESIS, ToyRuntime())
    if ledger.head.height != HEIGHT:
        assert ledger.head.height == 0
        resumed = StateLoad.resume(store) or begin(ledger)
        fill(resumed)
        ledger.replace(resumed.install)
    assert ledger.head == source().ledger.head
    expected = dict(entries(source().store, rows.STATE))
    assert dict(entries(store, rows.STATE)) == expected
    assert read_whole(ledger, HEIGHT) == expected
    assert {each.stream for each in segments(store)} == {BLOCKS}
    assert ends(store).keys() == {BLOCKS}
    assert not list(store.iterate(prefix=rows.PARTIAL))


class ReadStore(MemoryStore):
    """Reads the newest state around every write, as other threads do."""

    watched: tuple[bytes, ...] = ()
    reads = 0

    def write(self, *changes: Any, **options: Any) -> None:
        before = [NewestState(self).get("toy", key) for key in self.watched]
        super().write(*changes, **options)
        after = [NewestState(self).get("toy", key) for key in self.watched]
        assert None not in before + after
        self.reads += 1


def test_the_newest_state_can_be_read_at_any_moment_while_another_takes_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where pruning had moved its records: what says where to stays until the state is replaced."""
    for module in (records, deadrecords):
        monkeypatch.setattr(module, "SEGMENT_BYTES", 2_000)
    store = ReadStore()
    chain = ToyChain(GENESIS, store)
    for height in range(1, 5):
        chain.ledger.apply_block(source().block(height))
    for segment in segments(store)[:-1]:
        deadrecords.give_up(store, segment)
    assert list(store.iterate(prefix=MOVED))
    load = begin(chain.ledger)
    fill(load)
    store.watched = tuple([map_key("values", height * 100) for height in range(1, 5)])
    chain.ledger.replace(load.install)
    assert store.reads > 3
    assert chain.ledger.head == source().ledger.head
    assert not list(store.iterate(prefix=MOVED))
    assert store.get(rows.CLEANING_KEY) is None


def test_a_fetched_state_that_is_damaged_while_it_takes_its_place_is_forgotten_by_a_rebuild() -> None:
    """The blocks below are all here, so nothing is lost."""
    store = CrashingStore()
    chain = ToyChain(GENESIS, store)
    for height in range(1, 5):
        chain.ledger.apply_block(source().block(height))
    load = begin(chain.ledger)
    fill(load)
    store.writes_left = 1  # the mark, and no more
    with pytest.raises(Crash):
        load.install()
    store.writes_left = -1
    for segment in segments(store):
        if segment.stream == LOADING:
            store._segments._data[segment.number][40:60] = bytes(20)
    with pytest.raises(DataDamaged, match="assent node rebuild"):
        Ledger(store, GENESIS, ToyRuntime())
    rebuilt = Ledger.rebuild(store, GENESIS, ToyRuntime())
    assert rebuilt.head.height == 4
    assert read_whole(rebuilt, 4) == read_whole(source().ledger, 4)
    assert {segment.stream for segment in segments(store)} == {BLOCKS}


def test_a_load_that_was_abandoned_leaves_nothing_behind() -> None:
    chain = ToyChain(GENESIS)
    before = dict(chain.store.iterate())
    load = begin(chain.ledger)
    for _ in range(10):
        load.take(chunk_of(source(), HEIGHT, next(load.loader.wanted())))
    chain.ledger.replace(load.abandon)
    assert dict(chain.store.iterate()) == before
    load.take(chunk_of(source(), HEIGHT, b""))  # too late
    assert dict(chain.store.iterate()) == before


def test_a_ledger_that_executes_while_a_state_arrives_loses_nothing() -> None:
    chain = ToyChain(GENESIS)
    load = begin(chain.ledger)
    for height in range(1, HEIGHT + 1):
        load.take(chunk_of(source(), HEIGHT, next(load.loader.wanted())))
        chain.ledger.apply_block(source().block(height))
    fill(load)
    with pytest.raises(SnapshotTooOld):
        chain.ledger.replace(load.install)
    chain.ledger.replace(load.abandon)
    assert chain.ledger.head == source().ledger.head
    assert read_whole(chain.ledger, HEIGHT) == read_whole(source().ledger, HEIGHT)
    assert ends(chain.store).keys() == {BLOCKS}


def test_a_snapshot_of_a_ledger_that_diverged_is_refused() -> None:
    chain = ToyChain(GENESIS)
    for _ in range(HEIGHT - 1):
        chain.add(chain.call("put", {"key": 1, "value": 1}))
    with pytest.raises(SnapshotConflicts, match="than this ledger has"):
        begin(chain.ledger)


def test_an_anchor_needs_a_quorum_linked_headers_and_a_whole_window() -> None:
    anchor = anchor_of(source(), HEIGHT)
    top = anchor.top
    weak = source().certificate(top, 2)
    spoilt = [
        dataclasses.replace(anchor, certificate=weak),
        dataclasses.replace(anchor, headers=anchor.headers[1:]),
        dataclasses.replace(anchor, headers=(anchor.headers[0], *anchor.headers[:1], *anchor.headers[2:])),
        dataclasses.replace(anchor, headers=(*anchor.headers[:-1], dataclasses.replace(top, time=1))),
        dataclasses.replace(anchor, certificate=source().certificate(anchor.headers[0])),
    ]
    TrustedSets(GENESIS).check_anchor(anchor)
    for item in spoilt:
        with pytest.raises(ProofInvalid):
            TrustedSets(GENESIS).check_anchor(item)
    assert TrustedSets(GENESIS).followed == 0


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_hostile_bytes_raise_only_declared_errors(data: bytes) -> None:
    for record in (StateChunk, Anchor):
        try:
            decode(record, data)
        except AssentError:
            continue
