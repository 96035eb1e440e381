"""Nodes of the state tree and their records: changed in place, written as deltas, read back, damaged."""

from __future__ import annotations

import struct
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.faults import DataDamaged
from chain.ledger.records import Records
from chain.ledger.state import node_loader
from chain.ledger.statebucket import (
    BUCKET_LEAVES,
    ELSEWHERE,
    HELD_BYTES_MAX,
    Leaf,
    hash_of_bucket,
    index_in,
    is_bucket,
    leaf_in,
    leaves_of,
    pack_bucket,
    place_held,
    set_leaf,
)
from chain.ledger.statedelta import (
    DELTAS_MAX,
    bucket_entry,
    child_entry,
    delta_record,
    full_record,
    hash_of,
    node_at,
    places_of,
)
from chain.ledger.statenode import (
    DELTAS_AT,
    LEAVES_AT,
    Ref,
    child_of,
    children_of,
    hash_of_node,
    is_node,
    leaves_fit,
    mask_of,
    node_hash,
    pack_node,
    set_child,
    with_children,
)
from chain.ledger.stateproof import find, find_leaf
from chain.ledger.statetree import StateTree
from chain.ledger.store import MemoryStore

PROPERTY = settings(max_examples=80, deadline=None, derandomize=True)

HASH = st.binary(min_size=32, max_size=32)
PLACE = st.binary(min_size=8, max_size=8)
HELD = st.one_of(st.binary(max_size=HELD_BYTES_MAX - 1).map(b"\0".__add__), PLACE.map(ELSEWHERE.__add__))
LEAVES = st.dictionaries(HASH, st.tuples(HASH, HELD), min_size=1, max_size=BUCKET_LEAVES)
REF = st.tuples(HASH, PLACE, st.integers(0, BUCKET_LEAVES))
CHILDREN = st.dictionaries(st.integers(0, 15), REF, min_size=1, max_size=16)


class Kept:
    """Records by their places, which count up from 1."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.reads = 0

    def add(self, record: bytes) -> bytes:
        where = (len(self.records) + 1).to_bytes(8, "big")
        self.records[where] = record
        return where

    def record(self, where: bytes) -> bytes:
        self.reads += 1
        return self.records.get(where, b"")

    def store_full(self, node: bytearray) -> bytes:
        where = self.add(full_record(node))
        node[:DELTAS_AT] = where
        return where

    def store_change(self, node: bytearray, entries: bytes) -> tuple[bytes, bool]:
        """Store a node of which some entries changed, return its place, and whether as delta."""
        deltas = node[DELTAS_AT] + 1
        if deltas > DELTAS_MAX:
            return self.store_full(node), False
        where = self.add(delta_record(node, deltas, entries))
        node[:DELTAS_AT] = where
        return where, True


def bucket_of(leaves: dict[bytes, tuple[bytes, bytes]]) -> bytearray:
    return pack_bucket(sorted((key, value, held) for key, (value, held) in leaves.items()))


# --- in memory --------------------------------------------------------------------------------------


@PROPERTY
@given(LEAVES, HASH)
def test_a_bucket_holds_its_leaves_and_has_the_hash_of_its_keys_and_values(
    leaves: dict[bytes, tuple[bytes, bytes]], stranger: bytes
) -> None:
    bucket, keys = bucket_of(leaves), sorted(leaves)
    expected: list[Leaf] = [(key, *leaves[key]) for key in keys]
    assert list(leaves_of(bucket)) == expected
    assert [leaf_in(bucket, key) for key in keys] == expected
    assert [index_in(bucket, key) for key in keys] == list(range(len(keys)))
    assert is_bucket(bucket)
    assert not is_node(bucket)
    assert bucket[LEAVES_AT] == len(keys)
    joined = b"".join(keys + [leaves[key][0] for key in keys])
    hashed = sha256(b"assent/state-bucket\0" + bytes([len(keys)]) + joined).digest()
    assert hash_of_bucket(bucket) == hash_of(bucket) == hashed
    if stranger not in leaves:
        assert index_in(bucket, stranger) == -1
        assert leaf_in(bucket, stranger) is None


@PROPERTY
@given(CHILDREN, CHILDREN, st.sets(st.integers(0, 15)))
def test_an_inner_node_holds_its_children_and_has_the_hash_of_their_hashes(
    children: dict[int, Ref], edits: dict[int, Ref], gone: set[int]
) -> None:
    node = pack_node(children)
    assert children_of(node) == children
    assert [child_of(node, nibble) for nibble in range(16)] == [children.get(nibble) for nibble in range(16)]
    assert is_node(node)
    assert not is_bucket(node)
    mask = sum(1 << nibble for nibble in children)
    hashes = b"".join(children[nibble][0] for nibble in sorted(children))
    assert hash_of_node(node) == hash_of(node) == node_hash(mask_of(node), hashes)
    assert mask_of(node) == mask
    counts = [child[2] for child in children.values()]
    for most in (BUCKET_LEAVES, sum(counts), sum(counts) - 1):
        assert leaves_fit(node, most) == (0 not in counts and sum(counts) <= most)
    edited = with_children(node, {**edits, **dict.fromkeys(gone)})
    assert children_of(edited) == {k: v for k, v in {**children, **edits}.items() if k not in gone}


@pytest.mark.parametrize("shift", range(1, 32))
def test_a_key_is_found_also_when_the_same_bytes_stand_across_two_others_before_it(shift: int) -> None:
    key = b"\x80" + bytes(range(1, 32))
    first = b"\x01" * (32 - shift) + key[:shift]
    second = key[shift:] + b"\x02" * shift
    third = b"\xff" * 32
    assert key in first + second
    pairs = [first, second, key, third]  # not in order: that is the hash's business
    bucket = pack_bucket([(each, bytes([i]) * 32, b"\0" + bytes([i]) * i) for i, each in enumerate(pairs)])
    assert index_in(bucket, key) == 2
    assert leaf_in(bucket, key) == (key, b"\2" * 32, b"\0\2\2")
    without = pack_bucket([(each, bytes(32), b"\0") for each in (first, second, third)])
    assert index_in(without, key) == -1
    assert leaf_in(without, key) is None
    values = pack_bucket([(first, key, b"\0" + key), (third, key, b"\0" + key)])
    assert index_in(values, key) == -1, "what stands among values and what is held is no key"


def test_what_a_leaf_holds_is_the_entry_itself_or_where_it_stands() -> None:
    assert place_held(b"\0\0\0\1name") is None
    assert place_held(ELSEWHERE + b"12345678") == b"12345678"


# --- records ----------------------------------------------------------------------------------------


@PROPERTY
@given(LEAVES, st.lists(st.lists(st.tuples(st.integers(0, 31), HASH, HELD), max_size=3), max_size=12))
def test_a_bucket_read_from_its_records_is_the_bucket_made_afresh_after_every_change(
    leaves: dict[bytes, tuple[bytes, bytes]], blocks: list[list[tuple[int, bytes, bytes]]]
) -> None:
    kept, model, keys = Kept(), dict(leaves), sorted(leaves)
    bucket = bucket_of(model)
    chain = [kept.store_full(bucket)]
    history = [(chain, dict(model))]
    for block in blocks:
        entries = b""
        for number, value, held in block:
            key = keys[number % len(keys)]
            assert set_leaf(bucket, number % len(keys), value, held) == model[key][1]
            model[key] = value, held
            entries += bucket_entry(key, value, held)
        where, as_delta = kept.store_change(bucket, entries)
        chain = [where, *chain] if as_delta else [where]
        history.append((chain, dict(model)))
        assert bucket[DELTAS_AT] == len(chain) - 1
    for places, values in history:  # every version can still be read
        check_read(kept, places, bucket_of(values))


@PROPERTY
@given(CHILDREN, st.lists(st.lists(st.tuples(st.integers(0, 15), REF), max_size=3), max_size=12))
def test_an_inner_node_read_from_its_records_is_the_node_made_afresh_after_every_change(
    children: dict[int, Ref], blocks: list[list[tuple[int, Ref]]]
) -> None:
    kept, model, present = Kept(), dict(children), sorted(children)
    node = pack_node(model)
    chain = [kept.store_full(node)]
    history = [(chain, dict(model))]
    for block in blocks:
        entries = b""
        for number, child in block:
            nibble = present[number % len(present)]
            set_child(node, nibble, child)
            model[nibble] = child
            entries += child_entry(nibble, child)
        where, as_delta = kept.store_change(node, entries)
        chain = [where, *chain] if as_delta else [where]
        history.append((chain, dict(model)))
    for places, expected in history:
        check_read(kept, places, pack_node(expected))


def check_read(kept: Kept, places: list[bytes], afresh: bytearray) -> None:
    """The node at the first place is that one, and its records are exactly those at the places."""
    node = node_at(kept.record, places[0])
    assert node is not None
    assert node[:DELTAS_AT] == places[0], "its own place is that of its last record"
    assert node[DELTAS_AT] == len(places) - 1 <= DELTAS_MAX
    assert node[LEAVES_AT:] == afresh[LEAVES_AT:]
    assert hash_of(node) == hash_of(afresh)
    assert list(places_of(kept.record, places[0])) == places


# --- damage -----------------------------------------------------------------------------------------


def chain_of(*, inner: bool) -> tuple[Kept, bytes]:
    """Return a node with as many deltas as it may have, and the place of its last record."""
    kept = Kept()
    keys = [bytes([16 * i]) * 32 for i in range(8)]
    if inner:
        node = pack_node({i: (keys[i], bytes([i]) * 8, i) for i in range(8)})
    else:
        node = pack_bucket([(key, key, ELSEWHERE + bytes(8)) for key in keys])
    where = kept.store_full(node)
    for number in range(DELTAS_MAX):
        child, held = (bytes([number]) * 32, bytes(8), 3), b"\0" + bytes([number]) * (number + 1)
        if inner:
            set_child(node, number, child)
            entries = child_entry(number, child)
        else:
            set_leaf(node, number, bytes(32), held)
            entries = bucket_entry(keys[number], bytes(32), held)
        where, as_delta = kept.store_change(node, entries)
        assert as_delta
    return kept, where


def read_out(kept: Kept, where: bytes) -> None:
    """Read the node at a place, if there is one, in every way that does not need its hash."""
    kept.reads = 0
    node = node_at(kept.record, where)
    assert kept.reads <= DELTAS_MAX + 1
    assert len(list(places_of(kept.record, where))) <= DELTAS_MAX + 1
    if node is None:
        return
    assert len(hash_of(node)) == 32
    assert is_node(node) or is_bucket(node)
    assert node[DELTAS_AT] <= DELTAS_MAX
    if not node[LEAVES_AT]:
        assert pack_node(children_of(node))[LEAVES_AT:] == node[LEAVES_AT:]
        return
    for key, _, held in leaves_of(node):
        assert held, "a leaf holds something"
        place_held(held)
        assert leaf_in(node, key) is not None


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.booleans(), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_records_are_read_as_a_node_or_as_none_and_never_fail(
    inner: bool, changes: list[tuple[int, int]]
) -> None:
    kept, where = chain_of(inner=inner)
    places = list(kept.records)
    for at, value in changes:
        place = places[at % len(places)]
        record = bytearray(kept.records[place])
        record[at // len(places) % len(record)] = value
        kept.records[place] = bytes(record)
    for place in places:
        read_out(kept, place)
    read_out(kept, where)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=300),
            st.builds(
                lambda deltas, place, rest: bytes([deltas]) + place.to_bytes(8, "big") + rest,
                st.integers(0, 6),
                st.integers(0, 6),
                st.binary(max_size=150),
            ),
        ),
        max_size=6,
    )
)
def test_any_bytes_are_read_as_a_node_or_as_none_and_never_fail(records: list[bytes]) -> None:
    kept = Kept()
    for record in records:
        kept.add(record)
    for number in range(len(records) + 2):
        read_out(kept, number.to_bytes(8, "big"))


@pytest.mark.parametrize("inner", [True, False])
def test_every_record_cut_short_or_prolonged_makes_no_node(inner: bool) -> None:
    kept, where = chain_of(inner=inner)
    for place, record in list(kept.records.items()):
        for size in range(len(record)):
            kept.records[place] = record[:size]
            node = node_at(kept.record, where)
            # a delta that ends behind its head says nothing: what is missing shows in the hash
            assert node is None or (size == 9 and record[0] != 0)
        kept.records[place] = record + b"\0"
        assert node_at(kept.record, where) is None
        kept.records[place] = record
    assert node_at(kept.record, where) is not None


@pytest.mark.parametrize("inner", [True, False])
def test_deltas_that_loop_are_too_many_or_miscounted_make_no_node(inner: bool) -> None:
    kept, where = chain_of(inner=inner)
    chain = list(places_of(kept.record, where))
    assert len(chain) == DELTAS_MAX + 1
    last = kept.records[where]
    one_more = kept.add(bytes([DELTAS_MAX + 1]) + where + last[9:])
    assert node_at(kept.record, one_more) is None
    for target in chain[:-1]:  # to itself, and to each above the full record
        kept.records[chain[-2]] = kept.records[chain[-2]][:1] + target + kept.records[chain[-2]][9:]
        kept.reads = 0
        assert node_at(kept.record, where) is None
        assert kept.reads <= DELTAS_MAX + 1
        assert len(list(places_of(kept.record, where))) <= DELTAS_MAX + 1
    kept, where = chain_of(inner=inner)
    kept.records[where] = bytes([DELTAS_MAX - 1]) + kept.records[where][1:]
    assert node_at(kept.record, where) is None
    kept.records[where] = bytes([DELTAS_MAX]) + chain[2] + kept.records[where][9:]
    assert node_at(kept.record, where) is None, "one delta was left out"


@pytest.mark.parametrize(
    "entry",
    [
        bucket_entry(b"\x99" * 32, bytes(32), b"\0x"),  # no leaf of it
        bytes(32) + bytes(32) + b"\0",  # holds nothing
        bytes(32) + bytes(32) + b"\0" + bucket_entry(bytes(32), bytes(32), b"\0x"),
        bytes(32) + bytes(32) + b"\5" + b"\0abc",
        bytes(32) + bytes(32),
    ],
)
def test_a_delta_that_makes_no_sense_for_its_bucket_makes_no_node(entry: bytes) -> None:
    kept = Kept()
    where = kept.store_full(pack_bucket([(bytes([i]) * 32, bytes(32), b"\0held") for i in range(8)]))
    assert node_at(kept.record, kept.add(b"\1" + where + bucket_entry(bytes(32), bytes(32), b"\0x")))
    assert node_at(kept.record, kept.add(b"\1" + where + entry)) is None


@pytest.mark.parametrize("nibble", [8, 15, 16, 255])
def test_a_delta_of_a_child_that_is_not_there_makes_no_node(nibble: int) -> None:
    kept = Kept()
    where = kept.store_full(pack_node({i: (bytes(32), bytes(8), i) for i in range(8)}))
    assert node_at(kept.record, kept.add(b"\1" + where + child_entry(7, (bytes(32), bytes(8), 1))))
    assert (
        node_at(kept.record, kept.add(b"\1" + where + child_entry(nibble, (bytes(32), bytes(8), 1)))) is None
    )


def test_a_bucket_whose_leaf_holds_nothing_is_none() -> None:
    node = pack_bucket([(bytes(32), bytes(32), b""), (b"\1" * 32, bytes(32), b"\0x")])
    assert not is_bucket(node)


class Two:
    """An inner node above a bucket and another inner node, as a store keeps them."""

    def __init__(self, nibble: int = 1, count: int = 1) -> None:
        """Of one child, 1 the bucket or 2 the inner node, the root's record says this number of leaves."""
        self.store = MemoryStore()
        records = self.store.records()
        self.keys = [b"\x10" + bytes(31), b"\x20" + bytes(31)]
        buckets = [pack_bucket([(key, bytes(32), b"\0\0\0\0\0")]) for key in self.keys]
        one, two = (self._add(records, bucket, 1) for bucket in buckets)
        below = self._add(records, pack_node({0: two}), 0)
        children = {1: one, 2: below}
        children[nibble] = (*children[nibble][:2], count)
        self.root = self._add(records, pack_node(children), 0)
        self.store.write([], records=records)
        self.load = node_loader(self.store)

    @staticmethod
    def _add(records: Records, node: bytearray, leaves: int) -> Ref:
        return hash_of(node), records.add(full_record(node)), leaves


def test_a_number_of_leaves_that_is_damaged_hides_no_key_and_leads_no_reader_astray() -> None:
    """Parents do not hash it, so it must not decide how a node is read."""
    whole = Two()
    assert all(find_leaf(whole.load, whole.root, key) for key in whole.keys)
    for count in range(0, 256, 5):
        for nibble in (1, 2):
            spoilt = Two(nibble, count)
            for key in spoilt.keys:
                expected = find_leaf(whole.load, whole.root, key)
                assert expected is not None
                for read in (find_leaf, lambda *asked: find(*asked).leaf):
                    try:
                        assert read(spoilt.load, spoilt.root, key) == expected
                    except DataDamaged:
                        continue


def test_a_number_of_leaves_that_is_damaged_is_found_before_buckets_are_merged() -> None:
    """A merge by the wrong number would lose what stands below an inner node."""
    spoilt = Two(2, 1)
    tree, records = StateTree(spoilt.load), spoilt.store.records()
    with pytest.raises(DataDamaged, match=r"above path 2 says another number of leaves.*rebuild"):
        tree.update(spoilt.root, {spoilt.keys[0]: (None, b"")}, records)


def test_warming_reads_every_node_also_where_a_number_of_leaves_is_damaged() -> None:
    for nibble, count in ((1, 0), (2, 9)):
        spoilt = Two(nibble, count)
        read: list[bytes] = []

        def load(where: bytes, path: bytes, expected: bytes) -> bytearray:
            read.append(path)  # noqa: B023
            return spoilt.load(where, path, expected)  # noqa: B023

        StateTree(load).warm(spoilt.root, lambda: True)
        assert sorted(read) == [b"", b"1", b"2", b"20"]


def test_the_forms_of_records_are_pinned() -> None:
    bucket = pack_bucket([(b"k" * 32, b"v" * 32, b"\0held")])
    assert full_record(bucket) == b"\0\1" + b"k" * 32 + b"v" * 32 + b"\5" + b"\0held"
    node = pack_node({1: (b"a" * 32, b"p" * 8, 3), 15: (b"b" * 32, b"q" * 8, 0)})
    assert full_record(node) == b"\0\0\x80\2" + b"a" * 32 + b"b" * 32 + b"p" * 8 + b"q" * 8 + b"\3\0"
    assert child_entry(15, (b"b" * 32, b"q" * 8, 0)) == struct.pack(">B32s8sB", 15, b"b" * 32, b"q" * 8, 0)
    assert bucket_entry(b"k" * 32, b"v" * 32, b"\0held") == b"k" * 32 + b"v" * 32 + b"\5\0held"
    big = pack_bucket([(bytes([i]) * 32, bytes(32), b"\0") for i in range(8)])
    big[:DELTAS_AT] = b"p" * 8
    assert delta_record(big, 1, b"entries") == b"\1" + b"p" * 8 + b"entries"
