"""The state tree: against a dict, with proofs of presence and absence, tampering, pruning and history."""

from __future__ import annotations

import contextlib
import json
import random
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.proof import check_state_proof
from chain.ledger.records import segments
from chain.ledger.state import node_loader
from chain.ledger.statenode import Ref, children_of, leaf_hash, node_hash, state_key_hash, state_value_hash
from chain.ledger.stateproof import StateProof, find, root_of
from chain.ledger.statetree import StateTree
from chain.ledger.store import MemoryStore
from chain.primitives.codec import decode, encode
from chain.primitives.crypto import ZERO_HASH
from chain.primitives.errors import DecodeError, ProofInvalid

VECTORS = Path(__file__).parent.parent / "vectors"
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


class Kept:
    """A tree with its records in a store, as the ledger keeps them; a value's record is its hash."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.load = node_loader(self.store)
        self.tree = StateTree(self.load)
        self.root: Ref | None = None
        self.roots: dict[int, Ref | None] = {0: None}
        self.stale: list[bytes] = []
        self.replaced: list[set[bytes]] = []
        self.height = 0

    def apply(self, changes: dict[bytes, bytes | None]) -> None:
        self.height += 1
        records = self.store.records()
        leaves = {
            key: (value, b"" if value is None else records.add(value)) for key, value in changes.items()
        }
        update = self.tree.update(self.root, leaves, records)
        self.store.write([], records=records)
        self.tree.keep(update)
        self.root = self.roots[self.height] = update.root
        self.stale += update.stale
        self.replaced.append(update.replaced)

    def written(self) -> list[bytes]:
        """Return the places of all records, nodes and values."""
        return [
            where for each in segments(self.store) for where, _ in self.store.segment_records(each.number)
        ]

    def root_hash(self, height: int | None = None) -> bytes:
        root = self.roots[self.height if height is None else height]
        return ZERO_HASH if root is None else root[0]


def proof_of(kept: Kept, key: bytes, values: dict[bytes, bytes], height: int | None = None) -> StateProof:
    place = find(kept.load, kept.roots[kept.height if height is None else height], key)
    if place.leaf is None:
        return StateProof(place.levels, None)
    assert place.leaf[2] is not None
    return StateProof(place.levels, (place.leaf[2], values[place.leaf[2]]))


def fresh_root(values: dict[bytes, bytes]) -> bytes:
    kept = Kept()
    kept.apply(dict(values))
    return kept.root_hash()


def reachable(kept: Kept, ref: Ref | None, path: bytes = b"") -> set[bytes]:
    """Return the places of a tree's nodes and values; every node is checked against its hash."""
    if ref is None:
        return set()
    if ref[2] is not None:
        assert leaf_hash(ref[2], kept.store.record(ref[1])) == ref[0]
        return {ref[1]}
    found = {ref[1]}
    for nibble, child in children_of(kept.load(ref[1], path, ref[0])).items():
        found |= reachable(kept, child, path + b"%x" % nibble)
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
        history.append((dict(model), kept.root_hash()))
    for height, (values, root) in enumerate(history):
        for key in seen:
            proof = proof_of(kept, key, values, height)
            assert root_of(decode(StateProof, encode(proof)), key) == root
            assert (proof.leaf == (key, values.get(key))) == (key in values)


@PROPERTY
@given(BLOCKS)
def test_stale_lists_name_exactly_what_the_newest_tree_no_longer_uses(
    blocks: list[dict[bytes, bytes | None]],
) -> None:
    kept = Kept()
    present: set[bytes] = set()
    for changes in blocks:
        kept.apply(changes)
        assert kept.replaced[-1] == present & changes.keys()
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
        kept.apply(changes)
        model = {key: value for key, value in {**model, **changes}.items() if value is not None}
        for key in {*model, *changes, b"\xab" * 32}:
            leaf = kept.tree.leaf(kept.root, key)
            found = None if leaf is None else leaf[0]
            assert found == (leaf_hash(key, model[key]) if key in model else None)


@PROPERTY
@given(st.dictionaries(SHARED, st.binary(min_size=32, max_size=32), min_size=1, max_size=12), st.data())
def test_a_proof_changed_anywhere_leads_to_another_root(
    values: dict[bytes, bytes], data: st.DataObject
) -> None:
    kept = Kept()
    kept.apply(dict(values))
    key = data.draw(SHARED)
    proof = proof_of(kept, key, values)
    raw = bytearray(encode(proof))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(DecodeError):
        assert root_of(decode(StateProof, bytes(raw)), key) != kept.root_hash()


def test_absence_is_not_provable_for_a_key_that_is_there() -> None:
    kept = Kept()
    values = {sha256(b"%d" % i).digest(): sha256(b"v%d" % i).digest() for i in range(200)}
    kept.apply(dict(values))
    key = next(iter(values))
    proof = proof_of(kept, key, values)
    forged = [
        StateProof(proof.levels, None),
        StateProof(proof.levels[:-1], None),
        StateProof(proof.levels, (sha256(b"other").digest(), values[key])),
        StateProof((), None),
    ]
    for attempt in forged:
        assert root_of(attempt, key) != kept.root_hash()


def test_another_keys_leaf_proves_absence_only_on_the_path_of_the_key() -> None:
    kept = Kept()
    near, far = b"\x12" + bytes(31), b"\x34" + bytes(31)
    values = {near: b"n" * 32, far: b"f" * 32}
    kept.apply(dict(values))
    asked = b"\x12" + b"\xff" * 31
    good = proof_of(kept, asked, values)
    assert good.leaf is not None
    assert good.leaf[0] == near
    assert root_of(good, asked) == kept.root_hash()
    assert root_of(proof_of(kept, far, values), asked) != kept.root_hash()


def test_a_value_proof_names_the_value_and_its_absence() -> None:
    kept = Kept()
    key = state_key_hash("toy", b"k")
    kept.apply({key: state_value_hash(b"v"), state_key_hash("toy", b"l"): state_value_hash(b"w")})
    values = {key: state_value_hash(b"v"), state_key_hash("toy", b"l"): state_value_hash(b"w")}
    proof = proof_of(kept, key, values)
    check_state_proof("it", kept.root_hash(), "toy", b"k", b"v", proof)
    for namespace, name, value in (("toy", b"k", b"x"), ("toy", b"k", None), ("to", b"yk", b"v")):
        with pytest.raises(ProofInvalid, match="it:"):
            check_state_proof("it", kept.root_hash(), namespace, name, value, proof)


def test_namespace_and_key_cannot_be_shifted_into_one_another() -> None:
    assert state_key_hash("ab", b"c") != state_key_hash("a", b"bc")


def test_leaf_and_inner_node_cannot_stand_for_one_another() -> None:
    assert leaf_hash(b"a" * 32, b"b" * 32) != node_hash(0x6162, b"a" * 30 + b"b" * 32)


def test_a_restarted_tree_continues_from_its_records() -> None:
    seeded = random.Random(7)
    kept = Kept()
    for _ in range(20):
        kept.apply({seeded.randbytes(32): seeded.randbytes(32) for _ in range(50)})
        kept.tree = StateTree(kept.load)
    kept.apply({})
    assert kept.root == kept.roots[20]
    assert reachable(kept, kept.root) == set(kept.written()) - set(kept.stale)


def test_the_root_of_known_entries_is_pinned() -> None:
    vector = json.loads((VECTORS / "ledger_statetree.json").read_text())
    kept = Kept()
    for step in vector["steps"]:
        kept.apply(
            {
                state_key_hash(change["namespace"], bytes.fromhex(change["key"])): None
                if change["value"] is None
                else state_value_hash(bytes.fromhex(change["value"]))
                for change in step["changes"]
            }
        )
        assert kept.root_hash().hex() == step["root"]
