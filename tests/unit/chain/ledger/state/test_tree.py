"""The state tree: against a dict, with proofs of presence and absence, tampering, pruning and history.

Write the roots of the vector anew, by the definition alone, with:
python tests/unit/chain/ledger/state/test_tree.py
"""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.proof.verifier import check_state_proof
from chain.ledger.state import tree
from chain.ledger.state.bucket import BUCKET_LEAVES, ELSEWHERE, address_held, bucket_hash, leaf_in, leaves_of
from chain.ledger.state.cache import LIST_EXTRA, NODE_EXTRA
from chain.ledger.state.delta import BUCKET_DELTAS_MAX, NODE_DELTAS_MAX, addresses_of, hash_of
from chain.ledger.state.inner import children_of, inner_hash
from chain.ledger.state.node import DELTAS_AT, Ref, pack_entry, state_key_hash, state_value_hash
from chain.ledger.state.proof import StateProof, find, find_leaf, root_of
from chain.ledger.state.state import node_loader
from chain.ledger.state.tree import CACHE_BYTES_MAX, StateTree
from chain.ledger.store.memory import MemoryStore
from chain.ledger.store.records import PendingRecords
from chain.primitives.codec import decode, encode
from chain.primitives.crypto import ZERO_HASH
from chain.primitives.errors import DecodeError, ProofInvalid

PATH = Path(__file__).parents[4] / "vectors" / "ledger_statetree.json"
PROPERTY = settings(max_examples=40, deadline=None, derandomize=True)

# few distinct key hashes with long common prefixes, so that paths split and merge deep in the tree
SHARED = st.builds(
    lambda stem, length, tail: (bytes([stem]) * length + bytes([tail]) * 32)[:32],
    st.sampled_from([0x00, 0x11, 0xF0]),
    st.integers(0, 31),
    st.sampled_from([0x00, 0x01, 0x10, 0xFF]),
)
BLOCKS = st.lists(
    st.dictionaries(SHARED, st.one_of(st.none(), st.binary(min_size=32, max_size=32)), max_size=12),
    max_size=8,
)


@pytest.fixture(autouse=True, params=[1, 3, BUCKET_LEAVES], scope="module")
def _bucket_leaves(request: pytest.FixtureRequest) -> Iterator[None]:
    """The rules hold whatever a bucket holds; small ones split and merge all the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chain.ledger.state.tree.BUCKET_LEAVES", request.param)
        yield


class Kept:
    """A tree with its records in a store, as the ledger keeps them; the entries have no names.

    An entry whose value begins with an odd byte is held in its bucket.
    """

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.load = node_loader(self.store)
        self.tree = StateTree(self.load)
        self.root: Ref | None = None
        self.roots: dict[int, Ref | None] = {0: None}
        self.stale: list[bytes] = []
        self.added: list[list[bytes]] = []
        self.height = 0

    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        self.height += 1
        records = self.store.records()
        leaves = {key: self.leaf(value, records) for key, value in changes.items()}
        update = self.tree.update(self.root, leaves, records)
        self.store.write([], records=records)
        self.tree.keep(update)
        self.check_cache(update.root)
        self.root = self.roots[self.height] = update.root
        self.stale += update.stale_values
        for where in update.stale_nodes:
            self.stale += addresses_of(self.store.record, where)
        self.added.append(update.added)

    def check_cache(self, root: Ref | None) -> None:
        """Check that only nodes of the newest tree are kept in memory, and that their account is exact."""
        cache, nodes, level = self.tree._cache, dict[bytes, bytearray](), [(b"", root)]
        for path, ref in level:
            node = cache.get(path)
            if ref is None or node is None:
                continue
            assert (hash_of(node), bytes(node[:DELTAS_AT])) == ref[:2]
            nodes[path] = node
            below = {} if ref[2] else children_of(node)
            level += [(path + bytes([byte]), child) for byte, child in below.items()]
        sizes = sum(len(node) + NODE_EXTRA for node in nodes.values())
        lists = {path[:-1] for path in nodes if path}
        assert cache.room == CACHE_BYTES_MAX - sizes - LIST_EXTRA * len(lists)

    @staticmethod
    def leaf(value: bytes | None, records: PendingRecords) -> tuple[bytes | None, bytes]:
        if value is None:
            return None, b""
        record = pack_entry(b"", value)
        held = record if value[0] & 1 else ELSEWHERE + records.add(record)
        return state_value_hash(value), held

    def value_hash(self, key: bytes) -> bytes | None:
        """Return the hash of a key's value as the newest tree finds it."""
        bucket = self.tree.bucket(self.root, key)
        leaf = None if bucket is None else leaf_in(bucket, key)
        assert leaf is None or leaf[0] == key
        return None if leaf is None else leaf[1]

    def written(self) -> list[bytes]:
        """Return the places of all records, nodes and values."""
        return sorted(where for records in self.store._generations.held.values() for where in records)

    def root_hash(self, height: int | None = None) -> bytes:
        root = self.roots[self.height if height is None else height]
        return ZERO_HASH if root is None else root[0]


def proof_of(kept: Kept, key: bytes, height: int | None = None) -> StateProof:
    place = find(kept.load, kept.roots[kept.height if height is None else height], key)
    return StateProof(place.levels, place.bucket)


def hash_by_definition(value: bytes | None) -> bytes | None:
    """Return the hash that the definition gives a value, None for none."""
    return None if value is None else sha256(b"assent/state-value\0" + value).digest()


def root_by_definition(values: dict[bytes, bytes]) -> bytes:
    """Return the root that the definition gives the tree of these values by key hash."""
    hashed = {key: sha256(b"assent/state-value\0" + values[key]).digest() for key in sorted(values)}
    return _node_by_definition(hashed, 0) if values else ZERO_HASH


def _node_by_definition(values: dict[bytes, bytes], depth: int) -> bytes:
    """Return the hash of a bucket when few keys are left, else of groups of children by the next byte."""
    if len(values) <= tree.BUCKET_LEAVES:
        hashed = sha256(b"assent/state-keys\0" + b"".join(values)).digest()
        joined = bytes([len(values)]) + hashed + b"".join(values.values())
        return sha256(b"assent/state-bucket\0" + joined).digest()
    groups: dict[int, dict[int, dict[bytes, bytes]]] = {}
    for key, value in values.items():
        upper, lower = divmod(key[depth], 16)
        groups.setdefault(upper, {}).setdefault(lower, {})[key] = value
    hashes = {
        upper: _masked({lower: _node_by_definition(below, depth + 1) for lower, below in group.items()})
        for upper, group in groups.items()
    }
    return _masked(hashes)


def _masked(hashes: dict[int, bytes]) -> bytes:
    """Return the hash of up to sixteen hashes by nibble, in order."""
    mask = sum(1 << nibble for nibble in hashes)
    return sha256(b"assent/state-node\0" + mask.to_bytes(2, "big") + b"".join(hashes.values())).digest()


def fresh_root(values: dict[bytes, bytes]) -> bytes:
    kept = Kept()
    kept.apply(dict(values))
    return kept.root_hash()


def reachable(kept: Kept, ref: Ref | None, path: bytes = b"") -> set[bytes]:
    """Return the places of a tree's nodes and values; every node is checked against its hash."""
    if ref is None:
        return set()
    found, node = set(addresses_of(kept.store.record, ref[1])), kept.load(ref[1], path, ref[0])
    if ref[2]:
        leaves = list(leaves_of(node))
        assert len(leaves) == ref[2]
        for _, value, held in leaves:
            where = address_held(held)
            record = held if where is None else kept.store.record(where)
            assert value == hash_by_definition(record[4:])
            found |= set() if where is None else {where}
        return found
    for byte, child in children_of(node).items():
        found |= reachable(kept, child, path + bytes([byte]))
    return found


@PROPERTY
@given(BLOCKS)
def test_the_tree_holds_what_a_dict_holds_and_proves_it(blocks: list[dict[bytes, bytes | None]]) -> None:
    kept, model, history = Kept(), {}, [({}, ZERO_HASH)]
    seen: set[bytes] = {bytes(32), b"\x11" * 32, b"\xab" * 32}
    for changes in blocks:
        kept.apply(changes)
        seen |= changes.keys()
        model = {key: value for key, value in {**model, **changes}.items() if value is not None}
        assert kept.root_hash() == fresh_root(model), "the root depends on the content alone"
        assert kept.root_hash() == root_by_definition(model)
        history.append((dict(model), kept.root_hash()))
    for height, (values, root) in enumerate(history):
        for key in seen:
            proof = decode(StateProof, encode(proof_of(kept, key, height)))
            assert root_of(proof, key) == root
            expected = hash_by_definition(values.get(key))
            assert proof.value_hash(key) == expected
            leaf = find_leaf(kept.load, kept.roots[height], key)
            assert (None if leaf is None else leaf[1]) == expected


@PROPERTY
@given(BLOCKS)
def test_stale_lists_name_exactly_what_the_newest_tree_no_longer_uses(
    blocks: list[dict[bytes, bytes | None]],
) -> None:
    kept = Kept()
    present: set[bytes] = set()
    for changes in blocks:
        kept.apply(changes)
        new = {key for key, value in changes.items() if value is not None} - present
        assert sorted(kept.added[-1]) == sorted(new)
        present = (present | changes.keys()) - {key for key, value in changes.items() if value is None}
    assert len(kept.stale) == len(set(kept.stale))
    assert set(kept.written()) - set(kept.stale) == reachable(kept, kept.root)
    for root in kept.roots.values():
        assert reachable(kept, root) <= set(kept.written()), "no former tree is touched"


@PROPERTY
@given(BLOCKS, st.lists(st.booleans(), min_size=8, max_size=8))
def test_the_tree_finds_the_leaf_of_every_key_whatever_it_remembers(
    blocks: list[dict[bytes, bytes | None]], restarts: list[bool]
) -> None:
    kept = Kept()
    model: dict[bytes, bytes] = {}
    for changes, restart in zip(blocks, restarts, strict=False):
        if restart:
            kept.tree = StateTree(kept.load)
            kept.tree.warm(kept.root, lambda: True)
        kept.apply(changes)
        model = {key: value for key, value in {**model, **changes}.items() if value is not None}
        for key in {*model, *changes, b"\xab" * 32}:
            assert kept.value_hash(key) == hash_by_definition(model.get(key))


@PROPERTY
@given(st.dictionaries(SHARED, st.binary(min_size=32, max_size=32), min_size=1, max_size=12), st.data())
def test_a_proof_changed_anywhere_leads_to_another_root(
    values: dict[bytes, bytes], data: st.DataObject
) -> None:
    kept = Kept()
    kept.apply(dict(values))
    key = data.draw(SHARED)
    proof = proof_of(kept, key)
    raw = bytearray(encode(proof))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(DecodeError):
        assert root_of(decode(StateProof, bytes(raw)), key) != kept.root_hash()


@PROPERTY
@given(BLOCKS, st.lists(st.booleans(), min_size=8, max_size=8))
def test_an_update_that_is_not_stored_leaves_no_trace(
    blocks: list[dict[bytes, bytes | None]], stored: list[bool]
) -> None:
    kept = Kept()
    model: dict[bytes, bytes] = {}
    for changes, store in zip(blocks, stored, strict=False):
        if not store:
            records = kept.store.records()
            leaves = {key: kept.leaf(value, records) for key, value in changes.items()}
            kept.tree.update(kept.root, leaves, records)
            continue
        kept.apply(changes)
        model = {key: value for key, value in {**model, **changes}.items() if value is not None}
        for key in model:
            assert kept.value_hash(key) == hash_by_definition(model[key])
    assert kept.root_hash() == fresh_root(model)


def test_absence_is_not_provable_for_a_key_that_is_there() -> None:
    kept = Kept()
    values = {sha256(b"%d" % i).digest(): sha256(b"v%d" % i).digest() for i in range(200)}
    kept.apply(dict(values))
    key = next(iter(values))
    proof = proof_of(kept, key)
    hashed = state_value_hash(values[key])
    others = tuple(pair for pair in proof.bucket if pair[0] != key)
    forged = [
        StateProof(proof.levels, ()),
        StateProof(proof.levels[:-1], ()),
        StateProof(proof.levels[:-2], ()),
        StateProof(proof.levels[:-1], proof.bucket),
        StateProof(proof.levels[1:], proof.bucket),
        StateProof(proof.levels[:-1], others),
        StateProof(proof.levels, others),
        StateProof(proof.levels, ((sha256(b"other").digest(), hashed),)),
        StateProof((), ()),
        StateProof((), others),
    ]
    for attempt in forged:
        assert root_of(attempt, key) != kept.root_hash()


def test_a_bucket_proves_absence_only_on_the_path_of_the_key() -> None:
    kept = Kept()
    near, far = [b"\x12" + bytes([i]) * 31 for i in range(40)], [b"\x34" + bytes([i]) * 31 for i in range(40)]
    kept.apply(dict.fromkeys(near + far, b"v" * 32))
    asked = b"\x12" + b"\x07" * 30 + b"\xff"
    good = proof_of(kept, asked)
    assert root_of(good, asked) == kept.root_hash()
    assert good.value_hash(asked) is None
    assert root_of(proof_of(kept, far[7]), asked) != kept.root_hash()


def test_absence_is_proved_by_a_group_that_is_not_there_and_by_a_child_that_is_not() -> None:
    kept = Kept()
    kept.apply({bytes([start, i]) + bytes(30): b"v%d" % i for start in (0x10, 0x12) for i in range(40)})
    for asked, levels in ((b"\x20" * 32, 1), (b"\x11" * 32, 2), (b"\x12\x30" * 16, 3), (b"\x12\x29" * 16, 4)):
        proof = proof_of(kept, asked)
        assert (len(proof.levels), proof.bucket) == (levels, ())
        assert root_of(proof, asked) == kept.root_hash()
        assert proof.value_hash(asked) is None
        for there in (b"\x10\0", b"\x12\0"):
            assert root_of(proof, there + bytes(30)) != kept.root_hash()


def test_a_proof_whose_bucket_has_keys_of_another_path_leads_nowhere() -> None:
    asked, levels = b"\x11" * 32, ((0b10, ()), (0b1010, (bytes(32),)))
    near, far = (b"\x11" + b"\x12" * 31, bytes(32)), (b"\x13" * 32, bytes(32))
    assert root_of(StateProof(levels, (near,)), asked) is not None
    assert root_of(StateProof(levels, (far,)), asked) is None
    assert root_of(StateProof(levels, (near, far)), asked) is None


def test_a_proof_whose_bucket_stands_below_a_node_without_its_group_leads_nowhere() -> None:
    """Buckets stand at whole bytes: what an odd number of levels leads to is no bucket."""
    asked, pair = b"\x11" * 32, (b"\x11" * 32, bytes(32))
    level = (0b10, ())
    for count in range(6):
        found = root_of(StateProof((level,) * count, (pair,)), asked)
        assert (found is None) == (count % 2 == 1)


@pytest.mark.parametrize("spoil", [lambda pairs: pairs[::-1], lambda pairs: pairs + pairs[-1:]])
def test_a_proof_whose_bucket_is_not_in_order_leads_nowhere(
    spoil: Callable[[tuple[tuple[bytes, bytes], ...]], tuple[tuple[bytes, bytes], ...]],
) -> None:
    pairs = ((b"\x11" * 32, bytes(32)), (b"\x22" * 32, bytes(32)))
    assert root_of(StateProof((), pairs), pairs[0][0]) is not None
    assert root_of(StateProof((), spoil(pairs)), pairs[0][0]) is None


def test_a_value_proof_names_the_value_and_its_absence() -> None:
    kept = Kept()
    key = state_key_hash("toy", b"k")
    kept.apply({key: b"v", state_key_hash("toy", b"l"): b"w"})
    proof = proof_of(kept, key)
    check_state_proof("it", kept.root_hash(), "toy", b"k", b"v", proof)
    for namespace, name, value in (("toy", b"k", b"x"), ("toy", b"k", None), ("to", b"yk", b"v")):
        with pytest.raises(ProofInvalid, match="it:"):
            check_state_proof("it", kept.root_hash(), namespace, name, value, proof)


def test_namespace_and_key_cannot_be_shifted_into_one_another() -> None:
    assert state_key_hash("ab", b"c") != state_key_hash("a", b"bc")


def test_bucket_and_inner_node_cannot_stand_for_one_another() -> None:
    assert bucket_hash(b"a" * 32, b"b" * 32) != inner_hash(0x0161, b"a" * 31 + b"b" * 32)


def test_a_node_is_written_as_a_delta_unless_most_of_it_or_too_often_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chain.ledger.state.tree.BUCKET_LEAVES", BUCKET_LEAVES)
    kept = Kept()
    keys = [bytes([i]) + bytes(31) for i in range(256)]  # a root with that many children
    deltas = []
    for count in (256, 256, *[1] * (NODE_DELTAS_MAX + 2), 256, 1):
        kept.apply({key: b"%d" % kept.height + key for key in keys[:count]})
        assert kept.root is not None
        deltas.append(kept.store.record(kept.root[1])[0])
    assert deltas == [0, 0, *range(1, NODE_DELTAS_MAX + 1), 0, 1, 0, 1]


def test_a_bucket_is_written_as_a_delta_unless_most_of_it_or_too_often_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chain.ledger.state.tree.BUCKET_LEAVES", BUCKET_LEAVES)
    kept = Kept()
    keys = [sha256(b"%d" % i).digest() for i in range(BUCKET_LEAVES)]
    deltas = []
    for count in (BUCKET_LEAVES, *[1] * (BUCKET_DELTAS_MAX + 2), BUCKET_LEAVES, 1):
        kept.apply({key: sha256(b"%d" % kept.height + key).digest() for key in keys[:count]})
        assert kept.root is not None
        deltas.append(kept.store.record(kept.root[1])[0])
    assert deltas == [0, *range(1, BUCKET_DELTAS_MAX + 1), 0, 1, 0, 1]


def test_a_root_that_gets_all_its_children_and_loses_them_is_what_the_definition_says() -> None:
    """A full node is hashed and changed by other code than one that lacks a child."""
    seed = 11
    print("seed", seed)
    seeded, kept = random.Random(seed), Kept()
    model: dict[bytes, bytes] = {}
    keys = [bytes([i, each]) + seeded.randbytes(30) for i in range(256) for each in range(5)]
    seeded.shuffle(keys)
    some = seeded.sample(keys, 30)
    blocks: list[dict[bytes, bytes | None]] = [{key: seeded.randbytes(40) for key in keys}]
    blocks += [{key: seeded.randbytes(40) for key in some[at : at + 6]} for at in range(0, 30, 6)]
    blocks.append({key: None for key in keys if key[0] == 0x7F})
    blocks.append({key: seeded.randbytes(40) for key in some})
    blocks.append({key: seeded.randbytes(40) for key in keys if key[0] in (0x7F, 0x80)})
    blocks.append({key: None for key in keys if key[0] >> 4 == 3})
    blocks.append({key: None for key in keys if key[0] < 0xF9})
    blocks.append({key: seeded.randbytes(40) for key in keys})
    full = []
    for changes in blocks:
        kept.apply(changes)
        model = {key: value for key, value in {**model, **changes}.items() if value is not None}
        assert kept.root_hash() == root_by_definition(model)
        assert kept.root is not None
        full.append(kept.root[2] == 0 and len(children_of(kept.load(kept.root[1], b"", kept.root[0]))) == 256)
    assert full == [*[True] * 6, False, False, True, False, False, True]
    assert len(kept.stale) == len(set(kept.stale))
    assert set(kept.written()) - set(kept.stale) == reachable(kept, kept.root)


def test_a_block_may_empty_the_tree() -> None:
    kept = Kept()
    keys = [sha256(b"%d" % i).digest() for i in range(500)]
    kept.apply({key: key for key in keys})
    kept.apply(dict.fromkeys(keys))
    assert kept.root is None
    assert set(kept.written()) == set(kept.stale)
    kept.apply({keys[0]: keys[0]})
    assert kept.root_hash() == fresh_root({keys[0]: keys[0]})


def test_a_restarted_tree_continues_from_its_records() -> None:
    seeded = random.Random(7)
    kept = Kept()
    for _ in range(20):
        kept.apply({seeded.randbytes(32): seeded.randbytes(32) for _ in range(50)})
        kept.tree = StateTree(kept.load)
    kept.apply({})
    assert kept.root == kept.roots[20]
    assert reachable(kept, kept.root) == set(kept.written()) - set(kept.stale)


def changes_of(step: dict[str, Any]) -> dict[bytes, bytes | None]:
    """Return what a step of the vector changes, by key hash."""
    return {
        state_key_hash(change["namespace"], bytes.fromhex(change["key"])): None
        if change["value"] is None
        else bytes.fromhex(change["value"])
        for change in step["changes"]
    }


def test_the_root_of_known_entries_is_pinned_while_a_bucket_splits_and_merges_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chain.ledger.state.tree.BUCKET_LEAVES", BUCKET_LEAVES)
    vector = json.loads(PATH.read_text())
    kept = Kept()
    model: dict[bytes, bytes] = {}
    shapes: list[int | None] = []
    for step in vector["steps"]:
        changes = changes_of(step)
        kept.apply(changes)
        model = {key: value for key, value in {**model, **changes}.items() if value is not None}
        assert kept.root_hash().hex() == step["root"]
        assert root_by_definition(model).hex() == step["root"]
        shapes.append(None if kept.root is None else kept.root[2])
    assert shapes == [0, 0, 1, None, BUCKET_LEAVES, 0, BUCKET_LEAVES, 0, 0, 0, 0], "0: an inner node"
    deepest = (
        find(kept.load, kept.roots[9], bytes.fromhex(vector["deep"])),
        find(kept.load, kept.root, bytes.fromhex(vector["deep"])),
    )
    assert [len(place.levels) for place in deepest] == [4, 2], "a bucket below a bucket's path, and back"


def write_vectors() -> None:
    """Write the roots of the vector anew."""
    vector, model = json.loads(PATH.read_text()), dict[bytes, bytes]()
    for step in vector["steps"]:
        model = {key: value for key, value in {**model, **changes_of(step)}.items() if value is not None}
        step["root"] = root_by_definition(model).hex()
    PATH.write_text(json.dumps(vector, indent=1) + "\n")


if __name__ == "__main__":
    write_vectors()
