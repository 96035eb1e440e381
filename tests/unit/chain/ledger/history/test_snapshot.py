"""State snapshots: every chunk is checked by itself, and a crash leaves a ledger or a resumable load."""

from __future__ import annotations

import contextlib
import dataclasses
import random
from binascii import hexlify
from collections.abc import Callable
from functools import cache
from itertools import count, islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.genesis import Limits
from chain.ledger.history.rebuild import rebuild
from chain.ledger.history.snapshot import SnapshotConflicts, SnapshotTooOld, StateLoad
from chain.ledger.ledger import Ledger
from chain.ledger.proof.anchor import Anchor, TrustedSets, make_anchor
from chain.ledger.pruned import NotHeld
from chain.ledger.state.bucket import bucket_hash
from chain.ledger.state.chunk import StateChunk, StateLoader, leaves_below, make_chunk
from chain.ledger.state.inner import inner_hash
from chain.ledger.state.node import hash_of_name, state_key_hash, state_value_hash
from chain.ledger.state.state import NewestState, entries, entry_of, node_loader
from chain.ledger.store import rows
from chain.ledger.store.faults import DataDamaged
from chain.ledger.store.memory import MemoryStore
from chain.ledger.store.port import Store
from chain.ledger.store.records import BLOCKS, LOADING, generation_of, stream_ends
from chain.ledger.testing import ToyChain, ToyRuntime, toy_genesis
from chain.primitives.codec import decode, encode
from chain.primitives.errors import AssentError, DecodeError, ProofInvalid
from chain.primitives.runtimeport import map_key
from tests.unit.chain.ledger.recordfaults import CrashingStore as SteppedStore
from tests.unit.chain.ledger.recordfaults import crashes

GENESIS = toy_genesis(limits=Limits(consensus_window=3))
HEIGHT = 12
SMALL = {"CHUNK_BYTES": 900, "CHUNK_ENTRIES": 14}


@cache
def source() -> ToyChain:
    """A chain of 12 heights whose state has some 200 entries, of many sizes, some in one bucket large."""
    chain = ToyChain(GENESIS)
    near = islice((key for key in count(10**4) if key_hash(key)[0] == 0xC3), 6)
    for height in range(1, HEIGHT + 1):
        calls = [chain.call("put", {"key": height * 100 + i, "value": "x" * (i * height)}) for i in range(15)]
        calls += [chain.call("put", {"key": key, "value": "y" * 400}) for key in islice(near, 1)]
        chain.add(*calls, chain.call("move", {"source": "a", "target": "b"}))
    return chain


def key_hash(key: int) -> bytes:
    return state_key_hash("toy", map_key("values", key))


def chunk_of(chain: ToyChain, height: int, path: bytes) -> StateChunk:
    chunk = asked(chain, height, path)
    assert chunk is not None
    return chunk


def asked(chain: ToyChain, height: int, path: bytes) -> StateChunk | None:
    root = chain.ledger.read.tree_root(height)
    return make_chunk(node_loader(chain.store), chain.ledger.read.entry_at_leaf, root, path)


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
        monkeypatch.setattr(f"chain.ledger.state.chunk.{name}", value)


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


def test_the_state_of_these_tests_is_fetched_in_chunks_of_every_kind() -> None:
    load, kinds = begin(ToyChain(GENESIS).ledger), set()
    while not load.complete:
        chunk = chunk_of(source(), HEIGHT, next(load.loader.wanted()))
        load.take(chunk)
        kinds.add(kind_of(chunk))
    assert kinds == {
        "groups of a node",
        "children of a group",
        "leaves",
        "value",
        "entries below a node",
        "entries below a group",
    }


def kind_of(chunk: StateChunk) -> str:
    odd = len(chunk.path) % 2
    if chunk.mask:
        return "children of a group" if odd else "groups of a node"
    if chunk.leaves:
        return "leaves"
    return "value" if len(chunk.path) == 64 else "entries below a " + ("group" if odd else "node")


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
    assert ledger.read.pruned.missing_transaction(bytes(32)) is not None
    assert source().ledger.read.pruned.missing_transaction(bytes(32)) is None
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


def pairs_of(chunk: StateChunk) -> tuple[tuple[bytes, bytes], ...]:
    """Return the (key hash, value hash) of its entries."""
    return tuple((hash_of_name(name), state_value_hash(value)) for name, value in chunk.entries)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda chunk: dataclasses.replace(chunk, entries=()),
        lambda chunk: dataclasses.replace(chunk, entries=chunk.entries[:-1]),
        lambda chunk: dataclasses.replace(chunk, entries=chunk.entries[::-1]),
        lambda chunk: dataclasses.replace(chunk, entries=chunk.entries + chunk.entries[-1:]),
        lambda chunk: dataclasses.replace(chunk, mask=1, hashes=(bytes(32),)),
        lambda chunk: dataclasses.replace(chunk, mask=3, hashes=(bytes(32),)),
        lambda chunk: dataclasses.replace(chunk, hashes=(bytes(32),)),
        lambda chunk: dataclasses.replace(chunk, leaves=((bytes(32), bytes(32)),)),
        lambda chunk: dataclasses.replace(chunk, leaves=pairs_of(chunk)),
        lambda chunk: dataclasses.replace(chunk, leaves=pairs_of(chunk)[1:], entries=()),
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
@given(st.integers(0, 153), st.integers(0, 3))
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
    assert_one_generation(store)
    assert not list(store.iterate(prefix=rows.PARTIAL))


@cache
def fetched() -> MemoryStore:
    """Return the store of a ledger of four heights beside which a whole state waits to be installed."""
    store = MemoryStore()
    chain = ToyChain(GENESIS, store)
    for height in range(1, 5):
        chain.ledger.apply_block(source().block(height))
    fill(begin(chain.ledger))
    return store


def install(store: MemoryStore) -> Ledger:
    """Open a ledger, install what waits, if anything does, and open the ledger again."""
    Ledger(store, GENESIS, ToyRuntime())
    load = StateLoad.resume(store)
    if load is not None:
        load.install()
    return Ledger(store, GENESIS, ToyRuntime())


def test_a_crash_before_any_step_of_an_installation_leaves_one_state_or_the_other_and_no_rest() -> None:
    """Also between the write that exchanges the records and the removal of the former ones."""
    expected, seen = dict(entries(source().store, rows.STATE)), 0
    for store in crashes(lambda: SteppedStore(fetched()), install):
        ledger = install(store)
        assert ledger.head == source().ledger.head
        assert dict(entries(store, rows.STATE)) == read_whole(ledger, HEIGHT) == expected
        assert_one_generation(store)
        seen += 1
    assert seen > 30


def assert_one_generation(store: Store) -> None:
    """Nothing is left of a state that was fetched, or of the one that it replaced."""
    assert isinstance(store, MemoryStore)
    assert stream_ends(store).keys() == {BLOCKS}
    ((number, records),) = store._generations.held.items()
    assert {generation_of(address) for address in records} == {number}


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


def test_the_newest_state_can_be_read_at_any_moment_while_another_takes_its_place() -> None:
    store = ReadStore()
    chain = ToyChain(GENESIS, store)
    for height in range(1, 5):
        chain.ledger.apply_block(source().block(height))
    load = begin(chain.ledger)
    fill(load)
    store.watched = tuple([map_key("values", height * 100) for height in range(1, 5)])
    chain.ledger.replace(load.install)
    assert store.reads > 3
    assert chain.ledger.head == source().ledger.head
    assert_one_generation(store)


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
    records = store._generations.held[stream_ends(store)[LOADING] >> 48]
    for address, record in records.items():
        records[address] = record[:40] + bytes(20) + record[60:]
    with pytest.raises(DataDamaged, match="assent node rebuild"):
        Ledger(store, GENESIS, ToyRuntime())
    rebuild(store, GENESIS, ToyRuntime())
    rebuilt = Ledger(store, GENESIS, ToyRuntime())
    assert rebuilt.head.height == 4
    assert read_whole(rebuilt, 4) == read_whole(source().ledger, 4)
    assert_one_generation(store)


# --- buckets of large entries -----------------------------------------------------------------------

LARGE_TOP = 2


@cache
def large() -> ToyChain:
    """A chain in whose state seven values stand in one bucket, each of which alone is more than a chunk."""
    chain = ToyChain(GENESIS)
    near = (key for key in range(10**6) if key_hash(key)[0] == 0x7A)
    chain.add(*[chain.call("put", {"key": next(near), "value": "y" * (1_000 + i)}) for i in range(7)])
    chain.add(
        *[chain.call("put", {"key": key, "value": key}) for key in range(40) if key_hash(key)[0] != 0x7A],
        *[chain.call("put", {"key": key, "value": key}) for key in beside()],
    )
    return chain


def beside() -> list[int]:
    """Return four keys of the same group as the bucket of large values, of two of its other children."""
    found = [[key for key in range(40, 10**4) if key_hash(key)[0] == byte][:2] for byte in (0x71, 0x7F)]
    return found[0] + found[1]


def begin_large(ledger: Ledger) -> StateLoad:
    sets = TrustedSets(GENESIS)
    return ledger.replace(lambda: StateLoad.begin(ledger.store, sets, anchor_of(large(), LARGE_TOP)))


def take_from_large(load: StateLoad, choose: Callable[[list[bytes]], bytes]) -> StateChunk:
    chunk = chunk_of(large(), LARGE_TOP, choose(list(load.loader.wanted())))
    load.take(chunk)
    return chunk


def open_bucket(load: StateLoad) -> StateChunk:
    """Take chunks until a bucket of large entries is opened; return the chunk that did so."""
    chunk = take_from_large(load, lambda paths: next(way for way in (b"7a", b"7", b"") if way in paths))
    return chunk if chunk.leaves else open_bucket(load)


@pytest.mark.parametrize("seed", range(6))
def test_a_bucket_of_large_values_is_fetched_in_any_order_and_resumed_after_every_chunk(seed: int) -> None:
    random_source = random.Random(seed)
    chain = ToyChain(GENESIS)
    load = begin_large(chain.ledger)
    opened, single = [], []
    while not load.complete:
        chunk = take_from_large(load, random_source.choice)
        assert (chunk.mask != 0) + bool(chunk.leaves) + bool(chunk.entries) == 1, "exactly one of the three"
        size = sum(len(name) + len(value) for name, value in chunk.entries)
        assert size <= SMALL["CHUNK_BYTES"] or len(chunk.entries) == 1
        opened += [chunk.path] if chunk.leaves else []
        single += [chunk.path] if len(chunk.path) == 64 else []
        again = StateLoad.resume(chain.store)
        assert again is not None
        assert list(again.loader.wanted()) == list(load.loader.wanted())
        assert again.loader.known_share == load.loader.known_share
        assert again.loader.root == load.loader.root
        if random_source.random() < 0.5:
            load = again
    assert b"7a" in opened
    assert {len(path) for path in opened} == {2}
    assert len(single) >= 7
    chain.ledger.replace(load.install)
    assert chain.ledger.head == large().ledger.head
    assert read_whole(chain.ledger, LARGE_TOP) == dict(entries(large().store, rows.STATE))
    assert not list(chain.store.iterate(prefix=rows.PARTIAL))
    follow = ToyChain(GENESIS, MemoryStore(large().store))
    follow.add(follow.call("put", {"key": 1, "value": "z" * 900}), follow.call("delete", {"key": 2}))
    assert chain.ledger.apply_block(follow.block(LARGE_TOP + 1))
    assert chain.ledger.head == follow.ledger.head


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 36), st.integers(0, 4), st.integers(0, 10**6))
def test_a_crash_while_a_bucket_of_large_values_is_fetched_loses_no_more_than_what_was_not_synced(
    crash_at: int, lost: int, seed: int
) -> None:
    random_source, store = random.Random(seed), CrashingStore()
    chain = ToyChain(GENESIS, store)
    load: StateLoad | None = begin_large(chain.ledger)
    store.writes_left = crash_at
    try:
        while load is not None and not load.complete:
            take_from_large(load, random_source.choice)
    except Crash:
        store.crash(max(0, len(store._undo) - lost))
    store.writes_left = -1
    ledger = Ledger(store, GENESIS, ToyRuntime())
    load = StateLoad.resume(store) or begin_large(ledger)
    while not load.complete:
        take_from_large(load, random_source.choice)
    ledger.replace(load.install)
    assert ledger.head == large().ledger.head
    assert read_whole(ledger, LARGE_TOP) == dict(entries(large().store, rows.STATE))


def check_refused(load: StateLoad, chunks: list[StateChunk]) -> None:
    """Each is refused and changes nothing."""
    before, wanted = dict(load._store.iterate()), list(load.loader.wanted())
    for chunk in chunks:
        with pytest.raises(ProofInvalid, match="does not hash to what the certified header says"):
            load.take(chunk)
        assert dict(load._store.iterate()) == before
        assert list(load.loader.wanted()) == wanted


def test_a_path_longer_than_a_key_leads_to_nothing() -> None:
    key, _ = chunk_of(large(), LARGE_TOP, b"7a").leaves[0]
    assert asked(large(), LARGE_TOP, hexlify(key)) is not None
    assert asked(large(), LARGE_TOP, hexlify(key) + b"0") is None


def test_a_list_of_a_bucket_that_is_not_the_certified_one_is_refused() -> None:
    load = begin_large(ToyChain(GENESIS).ledger)
    for path in (b"", b"7"):
        load.take(chunk_of(large(), LARGE_TOP, path))
    true = chunk_of(large(), LARGE_TOP, b"7a")
    pairs = true.leaves
    assert len(pairs) >= 7
    (first, value), rest = pairs[0], pairs[1:]
    small = chunk_of(large(), LARGE_TOP, hexlify(first)).entries
    check_refused(
        load,
        [
            dataclasses.replace(true, leaves=((first, bytes(32)), *rest)),
            dataclasses.replace(true, leaves=((bytes([first[0]]) + bytes(31), value), *rest)),
            dataclasses.replace(true, leaves=rest),
            dataclasses.replace(true, leaves=pairs[:-1]),
            dataclasses.replace(true, leaves=pairs[::-1]),
            dataclasses.replace(true, leaves=(*pairs, pairs[-1])),
            dataclasses.replace(true, leaves=()),
            dataclasses.replace(true, entries=small),
            dataclasses.replace(true, hashes=(bytes(32),)),
            dataclasses.replace(true, mask=1, hashes=(bytes(32),)),
            dataclasses.replace(true, leaves=(), entries=small),
        ],
    )
    load.take(true)
    assert set(true.paths()) == {hexlify(key) for key, _ in pairs} <= set(load.loader.wanted())


def test_only_the_certified_value_of_a_key_is_taken_at_its_path() -> None:
    load = begin_large(ToyChain(GENESIS).ledger)
    pairs = open_bucket(load).leaves
    true, other = (chunk_of(large(), LARGE_TOP, hexlify(key)) for key, _ in pairs[:2])
    ((name, value),) = true.entries
    check_refused(
        load,
        [
            dataclasses.replace(true, entries=((name, value + b"!"),)),
            dataclasses.replace(true, entries=((name, b""),)),
            dataclasses.replace(true, entries=((name + b"!", value),)),
            dataclasses.replace(true, entries=other.entries),
            dataclasses.replace(true, entries=((name, other.entries[0][1]),)),
            dataclasses.replace(true, entries=()),
            dataclasses.replace(true, entries=true.entries + other.entries),
            dataclasses.replace(true, entries=true.entries * 2),
            dataclasses.replace(true, leaves=pairs),
            dataclasses.replace(true, leaves=pairs[:1], entries=()),
            dataclasses.replace(true, mask=1, hashes=(bytes(32),), entries=()),
            dataclasses.replace(true, hashes=(bytes(32),)),
        ],
    )
    load.take(true)
    assert true.path not in list(load.loader.wanted())
    before = dict(load._store.iterate())
    load.take(true)  # again: it is not wanted any more
    assert dict(load._store.iterate()) == before


def test_the_row_of_an_opened_bucket_brings_back_what_is_wanted_below_it() -> None:
    load = begin_large(ToyChain(GENESIS).ledger)
    bucket = open_bucket(load)
    load.take(chunk_of(large(), LARGE_TOP, bucket.paths()[0]))
    partial = list(load._store.iterate(prefix=rows.PARTIAL))
    again = StateLoader(LARGE_TOP, large().ledger.head_header.state_root, partial)
    assert set(bucket.paths()[1:]) <= set(again.wanted())
    assert bucket.paths()[0] not in set(again.wanted())
    assert list(again.wanted()) == list(load.loader.wanted())


@pytest.mark.parametrize(
    "path",
    [
        *[b"70", b"77", b"7a" + b"0" * 62, b"71" + b"0" * 62, b"7" * 65],
        *[b"7aa", b"7a0", b"711", b"7a" + b"0" * 61, b"7a00", b"7100"],  # below buckets
        *[b"g", b"7G", b"7g", b"g7", b"\0", b"7\n", b"A", b"7A", b"0x", b" 7", b"7 ", "\u0667".encode()],
    ],
)
def test_where_nothing_stands_there_is_no_chunk(path: bytes) -> None:
    assert asked(large(), LARGE_TOP, path) is None
    assert asked(large(), 0, b"f" * 64) is None


def test_no_group_stands_at_a_bucket_whatever_digits_its_keys_have_next() -> None:
    """The path of a group is one digit longer than that of an inner node."""
    for path, key in ((b"7a", key_of_large()), (b"71", key_hash(beside()[0]))):
        assert hexlify(key).startswith(path)
        assert asked(large(), LARGE_TOP, path) is not None
        for size in range(3, 64):
            assert asked(large(), LARGE_TOP, hexlify(key)[:size]) is None
        assert asked(large(), LARGE_TOP, hexlify(key)) is not None
    small = ToyChain(GENESIS)
    root = small.ledger.read.tree_root(0)
    assert root is not None
    assert root[2], "a root that is a bucket"
    assert [asked(small, 0, b"%x" % nibble) for nibble in range(16)] == [None] * 16


def key_of_large() -> bytes:
    """Return the hash of one of the keys with large values."""
    return next(key_hash(key) for key in range(10**6) if key_hash(key)[0] == 0x7A)


def test_every_key_in_a_bucket_can_be_asked_for_by_its_whole_path() -> None:
    """Whatever the bucket holds: what a peer opened, another may answer."""
    pairs = leaf_list(b"")
    assert len(pairs) > 40
    for key, hashed in pairs:
        chunk = chunk_of(large(), LARGE_TOP, hexlify(key))
        ((name, value),) = chunk.entries
        assert (hash_of_name(name), state_value_hash(value)) == (key, hashed)


def leaf_list(path: bytes) -> tuple[tuple[bytes, bytes], ...]:
    chunk = chunk_of(large(), LARGE_TOP, path)
    if chunk.mask:
        return tuple(pair for below in chunk.paths() for pair in leaf_list(below))
    return chunk.leaves or pairs_of(chunk)


# --- groups of an inner node ------------------------------------------------------------------------


def group_of_large() -> tuple[StateChunk, list[StateChunk]]:
    """Return the chunk of the group that has the bucket of large values, and those of its children."""
    group = chunk_of(large(), LARGE_TOP, b"7")
    return group, [chunk_of(large(), LARGE_TOP, path) for path in group.paths()]


def partial_rows(load: StateLoad) -> dict[bytes, bytes]:
    """Return what is written of a load: path -> row."""
    return {key[len(rows.PARTIAL) :]: row for key, row in load._store.iterate(prefix=rows.PARTIAL)}


def small_group() -> StateChunk:
    """Return the chunk of all entries of a group that has several children and few, small entries."""
    whole = chunk_of(large(), LARGE_TOP, b"")
    chunks = [chunk_of(large(), LARGE_TOP, path) for path in whole.paths()]
    return next(chunk for chunk in chunks if len({key[0] for key, _ in pairs_of(chunk)}) > 1)


def test_a_group_with_too_many_entries_is_shown_by_its_children_and_one_with_few_is_sent_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = small_group()
    entries_, size = len(few.entries), sum(len(name) + len(value) for name, value in few.entries)
    shown = []
    for limit, enough in (("CHUNK_ENTRIES", entries_), ("CHUNK_BYTES", size)):
        with monkeypatch.context() as patch:
            patch.setattr(f"chain.ledger.state.chunk.{limit}", enough)
            assert chunk_of(large(), LARGE_TOP, few.path) == few
            patch.setattr(f"chain.ledger.state.chunk.{limit}", enough - 1)
            shown.append(chunk_of(large(), LARGE_TOP, few.path))
    assert shown[0] == shown[1]
    assert not shown[0].entries
    assert not shown[0].leaves
    below = sorted({key[0] for key, _ in pairs_of(few)})
    assert shown[0].mask == sum(1 << (byte & 15) for byte in below)
    assert shown[0].paths() == [b"%02x" % byte for byte in below]
    hashes = []
    for path in shown[0].paths():
        pairs = pairs_of(chunk_of(large(), LARGE_TOP, path))
        hashes.append(bucket_hash(b"".join(key for key, _ in pairs), b"".join(hashed for _, hashed in pairs)))
    assert list(shown[0].hashes) == hashes
    root = chunk_of(large(), LARGE_TOP, b"")
    assert inner_hash(shown[0].mask, b"".join(hashes)) == root.hashes[root.paths().index(few.path)]


@pytest.mark.parametrize("whole", [True, False])
def test_a_loader_takes_a_group_whole_or_by_its_children_and_makes_the_same_records(
    monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    load = begin_large(ToyChain(GENESIS).ledger)
    few = small_group()
    load.take(chunk_of(large(), LARGE_TOP, b""))
    if whole:
        load.take(few)
    else:
        monkeypatch.setattr("chain.ledger.state.chunk.CHUNK_ENTRIES", len(few.entries) - 1)
        shown = chunk_of(large(), LARGE_TOP, few.path)
        load.take(shown)
        assert set(shown.paths()) <= set(load.loader.wanted())
        for path in shown.paths():
            assert partial_rows(load)[few.path][:1] == b"n"
            load.take(chunk_of(large(), LARGE_TOP, path))
    kept = partial_rows(load)
    assert kept.keys() == {b"", few.path}, "of a group that is complete, what its children left is gone"
    assert kept[few.path][:1] == b"d"
    assert few.path not in set(load.loader.wanted())
    again = StateLoad.resume(load._store)
    assert again is not None
    fill_large(again)
    assert read_whole_of(again) == dict(entries(large().store, rows.STATE))


def fill_large(load: StateLoad) -> None:
    while not load.complete:
        take_from_large(load, lambda paths: paths[0])


def read_whole_of(load: StateLoad) -> dict[bytes, bytes]:
    """Read what a complete load brought: row key -> value."""
    root = load.loader.root
    assert root is not None
    assert root[0] == large().ledger.head_header.state_root
    leaves = leaves_below(node_loader(load._store), root, b"")
    return {rows.STATE + name: value for name, value in (entry_of(load._store, leaf) for leaf in leaves)}


@pytest.mark.parametrize("seed", range(6))
def test_a_load_is_resumed_with_groups_that_are_complete_open_and_wanted(seed: int) -> None:
    """Every group by its children, in any order, and a new loader after every chunk."""
    print("seed", seed)
    random_source, seen = random.Random(seed), set[str]()
    load = begin_large(ToyChain(GENESIS).ledger)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chain.ledger.state.chunk.CHUNK_ENTRIES", 1)
        while not load.complete:
            take_from_large(load, random_source.choice)
            rows_now = partial_rows(load)
            seen |= {row[:1].decode() for path, row in rows_now.items() if len(path) % 2}
            again = StateLoad.resume(load._store)
            assert again is not None
            assert list(again.loader.wanted()) == list(load.loader.wanted())
            assert again.loader._done == load.loader._done
            assert again.loader._opened == load.loader._opened
            load = again
    assert seen == {"d", "n"}
    assert read_whole_of(load) == dict(entries(large().store, rows.STATE))


def test_a_group_that_is_not_the_certified_one_is_refused_shown_or_whole() -> None:
    load = begin_large(ToyChain(GENESIS).ledger)
    load.take(chunk_of(large(), LARGE_TOP, b""))
    root = chunk_of(large(), LARGE_TOP, b"")
    true, below = group_of_large()
    few, other = small_group(), chunk_of(large(), LARGE_TOP, root.paths()[-1])
    assert len({few.path, other.path, true.path}) == 3
    first = [entry for entry, pair in zip(few.entries, pairs_of(few), strict=True)
             if pair[0][0] == pairs_of(few)[0][0][0]]  # fmt: skip
    check_refused(
        load,
        [
            dataclasses.replace(true, mask=true.mask ^ 1 << 15 | 1 << 14),
            dataclasses.replace(true, mask=true.mask & ~(1 << 15), hashes=true.hashes[:-1]),
            dataclasses.replace(true, hashes=true.hashes[::-1]),
            dataclasses.replace(true, hashes=true.hashes[:-1]),
            dataclasses.replace(true, hashes=(*true.hashes, bytes(32))),
            dataclasses.replace(true, mask=0),
            dataclasses.replace(true, entries=few.entries),
            dataclasses.replace(true, leaves=pairs_of(few)),
            dataclasses.replace(true, mask=0, hashes=(), leaves=below[0].leaves or pairs_of(below[0])),
            dataclasses.replace(true, mask=root.mask, hashes=root.hashes),
            dataclasses.replace(few, entries=tuple(first)),
            dataclasses.replace(few, entries=few.entries[len(first) :]),
            dataclasses.replace(few, entries=few.entries[::-1]),
            dataclasses.replace(few, entries=few.entries + other.entries),
            dataclasses.replace(few, entries=other.entries),
            dataclasses.replace(few, entries=()),
            dataclasses.replace(few, entries=(), leaves=pairs_of(few)),
            dataclasses.replace(few, path=other.path),
            dataclasses.replace(true, path=few.path),
        ],
    )
    load.take(true)
    load.take(few)
    assert set(true.paths()) <= set(load.loader.wanted())
    check_refused(
        load,
        [
            dataclasses.replace(below[0], path=below[1].path),
            dataclasses.replace(true, path=below[0].path),
            dataclasses.replace(root, path=below[0].path),
        ],
    )
    for chunk in below:
        load.take(chunk)


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
    assert_one_generation(chain.store)


def test_a_snapshot_of_a_ledger_that_diverged_is_refused() -> None:
    chain = ToyChain(GENESIS)
    for _ in range(HEIGHT - 1):
        chain.add(chain.call("put", {"key": 1, "value": 1}))
    with pytest.raises(SnapshotConflicts, match="than this ledger has"):
        begin(chain.ledger)


def test_an_anchor_needs_a_quorum_linked_headers_and_a_whole_window() -> None:
    anchor = anchor_of(source(), HEIGHT)
    top = anchor.header
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
