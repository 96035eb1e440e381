"""Nodes of the state tree and their records: changed in place, written as deltas, read back, damaged."""

from __future__ import annotations

import struct
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.state.bucket import (
    BUCKET_LEAVES,
    ELSEWHERE,
    HELD_BYTES_MAX,
    Leaf,
    address_held,
    hash_of_bucket,
    index_in,
    is_bucket_record,
    leaf_in,
    leaves_of,
    pack_bucket,
    set_leaf,
)
from chain.ledger.state.delta import (
    BUCKET_DELTAS_MAX,
    NODE_DELTAS_MAX,
    addresses_of,
    child_entry,
    delta_record,
    full_record,
    hash_of,
    leaf_entry,
    node_at,
)
from chain.ledger.state.inner import (
    child_of,
    children_of,
    group_of,
    groups_of,
    hash_groups,
    hash_of_inner,
    is_inner_record,
    kept_children,
    leaves_fit,
    mask_of,
    pack_inner,
    set_children,
    with_children,
)
from chain.ledger.state.node import DELTAS_AT, LEAVES_AT, Ref, hash_of_name, pack_entry, state_value_hash
from chain.ledger.state.proof import find, find_leaf
from chain.ledger.state.state import entry_of, node_loader, value_in
from chain.ledger.state.tree import StateTree
from chain.ledger.store.faults import DataDamaged
from chain.ledger.store.leveldb import LevelStore
from chain.ledger.store.memory import MemoryStore
from chain.ledger.store.records import PendingRecords
from tests.unit.chain.ledger.recordfaults import tables

PROPERTY = settings(max_examples=80, deadline=None, derandomize=True)

HASH = st.binary(min_size=32, max_size=32)
PLACE = st.binary(min_size=8, max_size=8)
HELD = st.one_of(st.binary(max_size=HELD_BYTES_MAX - 1).map(b"\0".__add__), PLACE.map(ELSEWHERE.__add__))
KEY = st.one_of(HASH, HASH.map(lambda key: key[:31] + b"\0"))  # some share the byte by which they are sought
LEAVES = st.dictionaries(KEY, st.tuples(HASH, HELD), min_size=1, max_size=BUCKET_LEAVES)
REF = st.tuples(HASH, PLACE, st.integers(0, BUCKET_LEAVES))
BYTE = st.integers(0, 255)
EDITS = st.dictionaries(BYTE, REF, max_size=6)


def some_children(present: Collection[int], seed: int) -> dict[int, Ref]:
    """Return children that differ from one another, of these bytes."""
    hashes = {byte: sha256(b"%d %d" % (seed, byte)).digest() for byte in sorted(present)}
    return {byte: (hashed, hashed[:8][::-1], hashed[8] % 33) for byte, hashed in hashes.items()}


PRESENT = st.one_of(
    st.sets(BYTE, min_size=1, max_size=12),
    st.sets(st.integers(0x3E, 0x52), min_size=1),  # whole groups and parts of them
    st.sets(BYTE, max_size=3).map(set(range(256)).difference),
    st.just(set(range(256))),
)
CHILDREN = st.builds(some_children, PRESENT, st.integers(0, 2**32))


def group_hash_by_rule(children: dict[int, Ref], nibble: int) -> bytes:
    """Return the hash of the children whose bytes have this upper nibble, at least one."""
    group = {byte & 15: hashed for byte, (hashed, _, _) in children.items() if byte >> 4 == nibble}
    mask = sum(1 << low for low in group)
    joined = b"".join(group[low] for low in sorted(group))
    return sha256(b"assent/state-node\0" + mask.to_bytes(2, "big") + joined).digest()


def hash_by_rule(children: dict[int, Ref]) -> bytes:
    """Return the hash of an inner node, as the definition says it."""
    nibbles = sorted({byte >> 4 for byte in children})
    mask = sum(1 << nibble for nibble in nibbles)
    joined = b"".join(group_hash_by_rule(children, nibble) for nibble in nibbles)
    return sha256(b"assent/state-node\0" + mask.to_bytes(2, "big") + joined).digest()


def bucket_hash_by_rule(values: dict[bytes, bytes]) -> bytes:
    """Return the hash of a bucket with these value hashes by key hash, as the definition says it."""
    keys = sorted(values)
    hashed = sha256(b"assent/state-keys\0" + b"".join(keys)).digest()
    joined = hashed + b"".join(values[key] for key in keys)
    return sha256(b"assent/state-bucket\0" + bytes([len(keys)]) + joined).digest()


class Kept:
    """Records by their addresses, which count up from 1."""

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
        if deltas > deltas_max(node):
            return self.store_full(node), False
        where = self.add(delta_record(node, deltas, entries))
        node[:DELTAS_AT] = where
        return where, True


def deltas_max(node: bytearray) -> int:
    """Return how many deltas a node of its kind may have."""
    return BUCKET_DELTAS_MAX if node[LEAVES_AT] else NODE_DELTAS_MAX


def bucket_of(leaves: dict[bytes, tuple[bytes, bytes]]) -> bytearray:
    return pack_bucket(sorted((key, value, held) for key, (value, held) in leaves.items()))


# --- in memory --------------------------------------------------------------------------------------


@PROPERTY
@given(LEAVES, KEY)
def test_a_bucket_holds_its_leaves_and_has_the_hash_of_its_keys_and_values(
    leaves: dict[bytes, tuple[bytes, bytes]], stranger: bytes
) -> None:
    bucket, keys = bucket_of(leaves), sorted(leaves)
    expected: list[Leaf] = [(key, *leaves[key]) for key in keys]
    assert list(leaves_of(bucket)) == expected
    assert [leaf_in(bucket, key) for key in keys] == expected
    assert [index_in(bucket, key) for key in keys] == list(range(len(keys)))
    assert is_bucket_record(full_record(bucket))
    assert not is_inner_record(full_record(bucket))
    assert bucket[LEAVES_AT] == len(keys)
    hashed = bucket_hash_by_rule({key: value for key, (value, _) in leaves.items()})
    assert hash_of_bucket(bucket) == hash_of(bucket) == hashed
    if stranger not in leaves:
        assert index_in(bucket, stranger) == -1
        assert leaf_in(bucket, stranger) is None


@PROPERTY
@given(CHILDREN, EDITS, st.sets(BYTE, max_size=6))
def test_an_inner_node_holds_its_children_and_has_the_hash_of_the_hashes_of_its_groups(
    children: dict[int, Ref], edits: dict[int, Ref], gone: set[int]
) -> None:
    node = pack_inner(children)
    check_node(node, children)
    assert is_inner_record(full_record(node))
    assert not is_bucket_record(full_record(node))
    assert mask_of(node) == sum(1 << byte for byte in children)
    counts = [child[2] for child in children.values()]
    for most in (BUCKET_LEAVES, sum(counts), sum(counts) - 1):
        assert leaves_fit(node, most) == (0 not in counts and sum(counts) <= most)
    edited = with_children(node, {**edits, **dict.fromkeys(gone)})
    check_node(edited, {k: v for k, v in {**children, **edits}.items() if k not in gone})
    check_node(node, children)


def check_node(node: bytearray, children: dict[int, Ref]) -> None:
    """An inner node has these children and no others, in groups, and their hash."""
    assert children_of(node) == children
    assert list(children_of(node)) == sorted(children)
    assert [child_of(node, byte) for byte in range(256)] == [children.get(byte) for byte in range(256)]
    present = sorted({byte >> 4 for byte in children})
    hashes = [group_hash_by_rule(children, nibble) for nibble in present]
    assert groups_of(node) == (sum(1 << nibble for nibble in present), hashes)
    for nibble in range(16):
        inside = [byte for byte in sorted(children) if byte >> 4 == nibble]
        mask, below = group_of(node, nibble)
        assert mask == sum(1 << (byte & 15) for byte in inside)
        assert below == [children[byte][0] for byte in inside]
    assert hash_of_inner(node) == hash_of(node) == hash_by_rule(children)


@PROPERTY
@given(CHILDREN, st.lists(EDITS, max_size=3))
def test_children_set_in_place_make_the_node_packed_afresh_also_when_it_is_full(
    children: dict[int, Ref], blocks: list[dict[int, Ref]]
) -> None:
    node, model = pack_inner(children), dict(children)
    for edits in blocks:
        here = {byte: child for byte, child in edits.items() if byte in model}
        assert kept_children(node, here) == here
        set_children(node, here)
        hash_groups(node, {byte >> 4 for byte in here})
        model.update(here)
        afresh = pack_inner(model)
        assert node == afresh == with_children(pack_inner(children), model)
        check_node(node, model)


def test_a_full_node_and_one_that_lacks_a_child_have_their_hashes_by_the_same_rule() -> None:
    """They are hashed and searched by different code."""
    full, other = some_children(range(256), 1), some_children(range(256), 2)
    node = pack_inner(full)
    check_node(node, full)
    for byte in range(256):
        less = {each: child for each, child in full.items() if each != byte}
        without = with_children(node, {byte: None})
        check_node(without, less)
        assert with_children(without, {byte: full[byte]}) == node
    for byte in range(256):
        set_children(node, {byte: other[byte]})
        hash_groups(node, [byte >> 4])
        full[byte] = other[byte]
        assert node == pack_inner(full)
    check_node(node, other)


@PROPERTY
@given(CHILDREN, EDITS, st.sets(BYTE, max_size=1))
def test_a_node_keeps_its_children_unless_one_comes_or_goes(
    children: dict[int, Ref], edits: dict[int, Ref], gone: set[int]
) -> None:
    node, asked = pack_inner(children), {**edits, **dict.fromkeys(gone)}
    keeps = not gone and edits.keys() <= children.keys()
    assert kept_children(node, asked) == (edits if keeps else None)


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
    assert address_held(b"\0\0\0\1name") is None
    assert address_held(ELSEWHERE + b"12345678") == b"12345678"


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
            assert set_leaf(bucket, number % len(keys), value, held) == address_held(model[key][1])
            model[key] = value, held
            entries += leaf_entry(number % len(keys), value, held)
        where, as_delta = kept.store_change(bucket, entries)
        chain = [where, *chain] if as_delta else [where]
        history.append((chain, dict(model)))
        assert bucket[DELTAS_AT] == len(chain) - 1
    for places, values in history:  # every version can still be read
        check_read(kept, places, bucket_of(values))


@PROPERTY
@given(CHILDREN, st.lists(st.lists(st.tuples(BYTE, REF), max_size=3), max_size=NODE_DELTAS_MAX + 3))
def test_an_inner_node_read_from_its_records_is_the_node_made_afresh_after_every_change(
    children: dict[int, Ref], blocks: list[list[tuple[int, Ref]]]
) -> None:
    kept, model, present = Kept(), dict(children), sorted(children)
    node = pack_inner(model)
    chain = [kept.store_full(node)]
    history = [(chain, dict(model))]
    for block in blocks:
        entries = b""
        for number, child in block:
            byte = present[number % len(present)]
            set_children(node, {byte: child})
            hash_groups(node, [byte >> 4])
            model[byte] = child
            entries += child_entry(byte, child)
        where, as_delta = kept.store_change(node, entries)
        chain = [where, *chain] if as_delta else [where]
        history.append((chain, dict(model)))
        assert node[DELTAS_AT] == len(chain) - 1
    for places, expected in history:
        check_read(kept, places, pack_inner(expected))


def check_read(kept: Kept, places: list[bytes], afresh: bytearray) -> None:
    """The node at the first place is that one, and its records are exactly those at the places."""
    node = node_at(kept.record, places[0])
    assert node is not None
    assert node[:DELTAS_AT] == places[0], "its own place is that of its last record"
    assert node[DELTAS_AT] == len(places) - 1 <= deltas_max(node)
    assert node[LEAVES_AT:] == afresh[LEAVES_AT:]
    assert hash_of(node) == hash_of(afresh)
    assert list(addresses_of(kept.record, places[0])) == places


# --- damage -----------------------------------------------------------------------------------------


def chain_of(*, inner: bool) -> tuple[Kept, bytes]:
    """Return a node with as many deltas as it may have, and the place of its last record."""
    kept = Kept()
    keys = [bytes([16 * i]) * 32 for i in range(8)]
    if inner:
        node = pack_inner({16 * i: (keys[i], bytes([i]) * 8, i) for i in range(8)})
    else:
        node = pack_bucket([(key, key, ELSEWHERE + bytes(8)) for key in keys])
    where = kept.store_full(node)
    for number in range(deltas_max(node)):
        child, held = (bytes([number]) * 32, bytes(8), 3), b"\0" + bytes([number]) * (number + 1)
        if inner:
            set_children(node, {16 * number: child})
            entries = child_entry(16 * number, child)
        else:
            set_leaf(node, number, bytes(32), held)
            entries = leaf_entry(number, bytes(32), held)
        where, as_delta = kept.store_change(node, entries)
        assert as_delta
    return kept, where


def read_out(kept: Kept, where: bytes) -> None:
    """Read the node at a place, if there is one, in every way that does not need its hash."""
    kept.reads = 0
    node = node_at(kept.record, where)
    assert kept.reads <= NODE_DELTAS_MAX + 1
    assert len(list(addresses_of(kept.record, where))) <= NODE_DELTAS_MAX + 1
    if node is None:
        return
    assert len(hash_of(node)) == 32
    assert node[DELTAS_AT] <= deltas_max(node)
    assert (is_bucket_record if node[LEAVES_AT] else is_inner_record)(full_record(node[:]))
    if not node[LEAVES_AT]:
        assert pack_inner(children_of(node))[LEAVES_AT:] == node[LEAVES_AT:]
        assert hash_of(node) == hash_by_rule(children_of(node))
        return
    for key, _, held in leaves_of(node):
        assert held, "a leaf holds something"
        address_held(held)
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
                st.integers(0, NODE_DELTAS_MAX + 2),
                st.integers(0, 8),
                st.binary(max_size=150),
            ),
        ),
        max_size=8,
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
    most = NODE_DELTAS_MAX if inner else BUCKET_DELTAS_MAX
    chain = list(addresses_of(kept.record, where))
    assert len(chain) == most + 1
    last = kept.records[where]
    one_more = kept.add(bytes([most + 1]) + where + last[9:])
    assert node_at(kept.record, one_more) is None
    for target in chain[:-1]:  # to itself, and to each above the full record
        kept.records[chain[-2]] = kept.records[chain[-2]][:1] + target + kept.records[chain[-2]][9:]
        kept.reads = 0
        assert node_at(kept.record, where) is None
        assert kept.reads <= NODE_DELTAS_MAX + 1
        assert len(list(addresses_of(kept.record, where))) <= NODE_DELTAS_MAX + 1
    kept, where = chain_of(inner=inner)
    kept.records[where] = bytes([most - 1]) + kept.records[where][1:]
    assert node_at(kept.record, where) is None
    kept.records[where] = bytes([most]) + chain[2] + kept.records[where][9:]
    assert node_at(kept.record, where) is None, "one delta was left out"


@pytest.mark.parametrize(
    "entry",
    [
        leaf_entry(8, bytes(32), b"\0x"),  # no leaf of it
        leaf_entry(255, bytes(32), b"\0x"),
        b"\0" + bytes(32) + b"\0",  # holds nothing
        b"\0" + bytes(32) + b"\0" + leaf_entry(1, bytes(32), b"\0x"),
        leaf_entry(1, bytes(32), b"\0x") + leaf_entry(8, bytes(32), b"\0x"),
        b"\0" + bytes(32) + b"\5" + b"\0abc",
        b"\0" + bytes(32),
        b"\0",
    ],
)
def test_a_delta_that_makes_no_sense_for_its_bucket_makes_no_node(entry: bytes) -> None:
    kept = Kept()
    where = kept.store_full(pack_bucket([(bytes([i]) * 32, bytes(32), b"\0held") for i in range(8)]))
    for index in (0, 7):
        assert node_at(kept.record, kept.add(b"\1" + where + leaf_entry(index, bytes(32), b"\0x")))
    assert node_at(kept.record, kept.add(b"\1" + where + entry)) is None


@pytest.mark.parametrize("byte", [8, 15, 16, 255])
def test_a_delta_of_a_child_that_is_not_there_makes_no_node(byte: int) -> None:
    kept, child = Kept(), (bytes(32), bytes(8), 1)
    where = kept.store_full(pack_inner({i: (bytes(32), bytes(8), i) for i in range(8)}))
    assert node_at(kept.record, kept.add(b"\1" + where + child_entry(7, child)))
    assert node_at(kept.record, kept.add(b"\1" + where + child_entry(byte, child))) is None
    both = child_entry(7, child) + child_entry(byte, child)
    assert node_at(kept.record, kept.add(b"\1" + where + both)) is None


def test_a_bucket_whose_leaf_holds_nothing_is_none() -> None:
    node = pack_bucket([(bytes(32), bytes(32), b""), (b"\1" * 32, bytes(32), b"\0x")])
    assert not is_bucket_record(full_record(node))


class Two:
    """An inner node above a bucket and another inner node, as a store keeps them."""

    def __init__(self, byte: int = 0x10, count: int = 1) -> None:
        """Of a child, 0x10 the bucket or 0x20 the inner node, the root says this number of leaves."""
        self.store = MemoryStore()
        records = self.store.records()
        self.keys = [b"\x10" + bytes(31), b"\x20" + bytes(31)]
        held = pack_entry(b"", b"v")
        buckets = [pack_bucket([(key, state_value_hash(b"v"), held)]) for key in self.keys]
        one, two = (self._add(records, bucket, 1) for bucket in buckets)
        below = self._add(records, pack_inner({0: two}), 0)
        children = {0x10: one, 0x20: below}
        children[byte] = (*children[byte][:2], count)
        self.root = self._add(records, pack_inner(children), 0)
        self.store.write([], records=records)
        self.load = node_loader(self.store)

    @staticmethod
    def _add(records: PendingRecords, node: bytearray, leaves: int) -> Ref:
        return hash_of(node), records.add(full_record(node)), leaves


def test_a_number_of_leaves_that_is_damaged_hides_no_key_and_leads_no_reader_astray() -> None:
    """Parents do not hash it, so it must not decide how a node is read."""
    whole = Two()
    assert all(find_leaf(whole.load, whole.root, key) for key in whole.keys)
    for count in range(0, 256, 5):
        for byte in (0x10, 0x20):
            spoilt = Two(byte, count)
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
    spoilt = Two(0x20, 1)
    tree, records = StateTree(spoilt.load), spoilt.store.records()
    with pytest.raises(DataDamaged, match=r"above path 20 says another number of leaves.*rebuild"):
        tree.update(spoilt.root, {spoilt.keys[0]: (None, b"")}, records)


def test_warming_reads_every_node_also_where_a_number_of_leaves_is_damaged() -> None:
    for byte, count in ((0x10, 0), (0x20, 9)):
        spoilt = Two(byte, count)
        read: list[bytes] = []

        def load(where: bytes, path: bytes, expected: bytes) -> bytearray:
            read.append(path)  # noqa: B023
            return spoilt.load(where, path, expected)  # noqa: B023

        StateTree(load).warm(spoilt.root, lambda: True)
        assert sorted(read) == [b"", b"\x10", b"\x20", b"\x20\0"]


VALUES = [b"v%d" % i * (1 + i) for i in range(12)]


def held_bucket(spoilt: int | None = None, at: int = 0) -> tuple[bytearray, list[bytes]]:
    """Return a bucket that holds `VALUES` itself, in one of them a byte changed, and the names in it."""
    named = sorted((hash_of_name(b"\3toy%d" % i), b"\3toy%d" % i, value) for i, value in enumerate(VALUES))
    leaves = []
    for index, (key, name, value) in enumerate(named):
        held = bytearray(pack_entry(name, value))
        if index == spoilt:
            held[at % len(held)] ^= 1
        leaves.append((key, state_value_hash(value), bytes(held)))
    return pack_bucket(leaves), [name for _, name, _ in named]


@pytest.mark.parametrize("as_delta", [False, True])
def test_a_byte_damaged_anywhere_in_the_records_of_a_bucket_is_found_when_they_are_read(
    tmp_path: Path, as_delta: bool
) -> None:
    """The bucket's hash does not cover what is held: LevelDB's checksums do."""
    whole, names = held_bucket()
    _, hashed, held = list(leaves_of(whole))[5]
    store = LevelStore(tmp_path)
    records = store.records()
    where, full = records.add(full_record(whole)), full_record(whole)
    if as_delta:
        where = records.add(b"\1" + where + leaf_entry(5, hashed, held))
    store.write([], records=records)
    bucket = node_loader(store)(where, b"", hash_of(whole))
    assert {value_in(store, bucket, hash_of_name(name), name) for name in names} == set(VALUES)
    store.close()
    (table,) = tables(tmp_path)
    content = table.read_bytes()
    first = content.index(full)
    for at in range(first, first + len(full) + 60 * as_delta, 7):
        table.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        store = LevelStore(tmp_path)
        with pytest.raises(DataDamaged, match=r"record 1/\d: .* damaged .*; run `assent node rebuild`"):
            node_loader(store)(where, b"", hash_of(whole))
        store.close()
    table.write_bytes(content)
    store = LevelStore(tmp_path)
    assert node_loader(store)(where, b"", hash_of(whole)) == bucket
    store.close()


def test_a_byte_changed_anywhere_in_what_a_leaf_holds_never_gives_another_entry() -> None:
    """Also with a checksum that is right."""
    store = MemoryStore()
    whole, _ = held_bucket()
    for spoilt, at in [(spoilt, at) for spoilt in range(3) for at in range(20)]:
        true = entry_of(store, list(leaves_of(whole))[spoilt])
        bucket, _ = held_bucket(spoilt, at)
        leaf = leaf_in(bucket, hash_of_name(true[0]))
        assert leaf is not None
        assert leaf[:2] == (hash_of_name(true[0]), state_value_hash(true[1]))
        with pytest.raises(DataDamaged, match="run `assent node rebuild`"):
            entry_of(store, leaf)


@pytest.mark.parametrize("held", [b"\0", b"\0\0\0\4\3to", b"\0\0\0\5\3toyk", ELSEWHERE + b"12345678"])
def test_a_leaf_that_holds_too_little_to_be_the_entry_is_damaged(held: bytes) -> None:
    """What follows it in the bucket is not taken for a part of it."""
    name, value = b"\3toykey", b"value"
    key = hash_of_name(name)
    bucket = pack_bucket([(key, state_value_hash(value), held), (b"\xff" * 32, bytes(32), b"\0" * 90)])
    with pytest.raises(DataDamaged):
        value_in(MemoryStore(), bucket, key, name)


def test_a_value_that_stands_elsewhere_is_checked_when_it_is_read() -> None:
    store = MemoryStore()
    records = store.records()
    name = b"\3toyk"
    key = hash_of_name(name)
    right = records.add(pack_entry(name, b"value"))
    wrong = [(name, b"another"), (b"\3toyl", b"value"), (name, b"")]
    places = [records.add(pack_entry(*each)) for each in wrong]
    store.write([], records=records)
    hashed = state_value_hash(b"value")
    assert entry_of(store, (key, hashed, ELSEWHERE + right)) == (name, b"value")
    assert value_in(store, pack_bucket([(key, hashed, ELSEWHERE + right)]), key, name) == b"value"
    for place in places:
        leaf = key, hashed, ELSEWHERE + place
        with pytest.raises(DataDamaged, match=f"value of key hash {key.hex()}"):
            entry_of(store, leaf)
        with pytest.raises(DataDamaged, match=f"value of key hash {key.hex()}"):
            value_in(store, pack_bucket([leaf]), key, name)


def test_the_forms_of_records_are_pinned() -> None:
    bucket = pack_bucket([(b"k" * 32, b"v" * 32, b"\0held")])
    assert full_record(bucket) == b"\0\1" + b"v" * 32 + b"k" * 32 + b"\5" + b"\0held"
    two = pack_bucket([(b"k" * 32, b"v" * 32, b"\0x"), (b"l" * 32, b"w" * 32, ELSEWHERE + b"p" * 8)])
    rest = b"\2\x09" + b"\0x" + b"\1" + b"p" * 8
    assert full_record(two) == b"\0\2" + b"v" * 32 + b"w" * 32 + b"k" * 32 + b"l" * 32 + rest
    node = pack_inner({1: (b"a" * 32, b"p" * 8, 3), 254: (b"b" * 32, b"q" * 8, 0)})
    mask = b"\2" + bytes(30) + b"\x40"
    assert full_record(node) == b"\0\0" + mask + b"a" * 32 + b"b" * 32 + b"p" * 8 + b"q" * 8 + b"\3\0"
    assert child_entry(15, (b"b" * 32, b"q" * 8, 0)) == struct.pack(">B32s8sB", 15, b"b" * 32, b"q" * 8, 0)
    assert leaf_entry(7, b"v" * 32, b"\0held") == b"\7" + b"v" * 32 + b"\5\0held"
    big = pack_bucket([(bytes([i]) * 32, bytes(32), b"\0") for i in range(8)])
    big[:DELTAS_AT] = b"p" * 8
    assert delta_record(big, 1, b"entries") == b"\1" + b"p" * 8 + b"entries"
