"""Pruning: said first, swept bit by bit, survived at any crash; what is newer stays."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger import recent_ids, validity_window
from chain.ledger.block import DecodedTransaction
from chain.ledger.history import prune, snapshot
from chain.ledger.history.prune import set_floor, sweep
from chain.ledger.history.rebuild import rebuild
from chain.ledger.ledger import Ledger
from chain.ledger.proof.verifier import ProofVerifier
from chain.ledger.pruned import NotHeld
from chain.ledger.state.chunk import leaves_below
from chain.ledger.state.delta import BUCKET_DELTAS_MAX, NODE_DELTAS_MAX, addresses_of
from chain.ledger.state.inner import children_of
from chain.ledger.state.node import state_key_hash
from chain.ledger.state.state import entry_of, node_loader
from chain.ledger.store import rows
from chain.ledger.store.memory import MemoryStore
from chain.ledger.testing import ToyChain, ToyRuntime
from chain.primitives.errors import LimitError
from chain.primitives.runtimeport import map_key
from tests.unit.chain.ledger.plainrows import places_used, plain_rows, records_in

WINDOW, LENGTH, FLOOR = 4, 14, 9


@pytest.fixture(autouse=True)
def _short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (validity_window, prune, snapshot, recent_ids):
        monkeypatch.setattr(module, "VALIDITY_WINDOW_MAX", WINDOW)


def make(length: int = LENGTH, store: MemoryStore | None = None) -> ToyChain:
    chain = ToyChain(store=store)
    for height in range(1, length + 1):
        chain.add(
            chain.call("put", {"key": height % 3, "value": height}),
            chain.call("put", {"key": f"k{height}", "value": height}),
            chain.call("move", {"source": "a", "target": "b", "subject": f"dataset:{height % 2}"}),
            *[chain.call("delete", {"key": f"k{height - 3}"})] * (height > 3),
        )
    return chain


def pruned(chain: ToyChain) -> ToyChain:
    set_floor(chain.store, FLOOR, "/archive")
    while sweep(chain.store, clear_now=True):
        pass
    return chain


def columns(chain: ToyChain, column: bytes) -> list[bytes]:
    return [key for key, _ in chain.store.iterate(prefix=column)]


def read_whole(chain: ToyChain, height: int) -> dict[bytes, bytes]:
    """Read the whole state of a height through its tree, all of it checked: name -> value."""
    root = chain.ledger.read.tree_root(height)
    leaves = [] if root is None else leaves_below(node_loader(chain.store), root, b"")
    return dict(entry_of(chain.store, leaf) for leaf in leaves)


def records_used(chain: ToyChain, first: int, last: int) -> set[bytes]:
    """Return the places of the records that the states of some heights need, and their stale lists."""
    listed = {where for height in range(first + 1, last + 1) for where in stale_lists(chain, height)}
    roots = [chain.ledger.read.tree_root(height) for height in range(first, last + 1)]
    return listed | places_used(chain.store, roots)


def stale_lists(chain: ToyChain, height: int) -> list[bytes]:
    return list(rows.read_addresses(chain.store.get(rows.at(rows.STALE, height)) or b""))


def test_only_what_old_heights_need_goes_and_everything_above_reads_as_before() -> None:
    chain, whole = pruned(make()), make()
    read, full = chain.ledger.read, whole.ledger.read
    for height in range(FLOOR, LENGTH + 1):
        assert read.block(height) == full.block(height)
        assert read.receipts(height) == full.receipts(height)
    for height in range(FLOOR - 1, LENGTH + 1):
        for key in (0, 1, 2, "k8", "k12", "a"):
            place = ("toy", map_key("values", key))
            assert read.state_at(*place, height) == full.state_at(*place, height)
        assert read_whole(chain, height) == read_whole(whole, height)
    for column in (rows.HEADER, rows.CERTIFICATE, rows.HEADER_HASH, rows.STATE):
        assert columns(chain, column) == columns(whole, column)
    for column in (rows.PAYLOAD, rows.TRANSACTION, rows.RECEIPT, rows.STALE):
        assert columns(chain, column) == [
            key for key in columns(whole, column) if int.from_bytes(key[1:9], "big") >= FLOOR
        ]
    for column in (rows.SUBJECT, rows.CONTRACT):
        assert columns(chain, column) == [
            key for key in columns(whole, column) if rows.height_of(key) >= FLOOR
        ]
    assert len(columns(chain, rows.TX_INDEX)) == 4 * (LENGTH - FLOOR + 1)


def test_of_states_that_were_the_oldest_held_before_the_floor_moved_no_root_stays() -> None:
    chain = make()
    for floor in (3, 5, FLOOR):
        set_floor(chain.store, floor, "")
        while sweep(chain.store, clear_now=True):
            pass
        assert [rows.height_of(key) for key in columns(chain, rows.ROOT)] == [*range(floor - 1, LENGTH + 1)]


def keys_at(byte: int, count: int) -> list[int]:
    """Return keys whose leaves stand below this byte."""
    found = (key for key in range(10**6) if state_key_hash("toy", map_key("values", key))[0] == byte)
    return list(islice(found, count))


def rewritten() -> ToyChain:
    """A chain whose blocks change values alone, small and large ones, so that nodes have several deltas.

    Below the root stand a bucket of eleven keys, some of which are rewritten, and one wherever a key of the
    window comes and goes, so that the root keeps its children.
    """
    chain = ToyChain()
    near = keys_at(0x5A, 11)
    passed = {
        state_key_hash(validity_window.NAMESPACE, validity_window.summary_key(at))[0]
        for at in range(LENGTH + 1)
    }
    first = {*near, *range(40), *[key for byte in sorted(passed) for key in keys_at(byte, 1)]}
    chain.add(*[chain.call("put", {"key": key, "value": "v" * 300 * (key % 2)}) for key in sorted(first)])
    for height in range(2, LENGTH + 1):
        keys = (near[height % 3], near[7], near[8])
        chain.add(*[chain.call("put", {"key": key, "value": "w" * height}) for key in keys])
    return chain


def test_the_rewritten_chain_has_nodes_of_all_their_deltas_below_and_above_its_floor() -> None:
    chain = rewritten()
    load, record = node_loader(chain.store), chain.store.record
    tops, buckets = [], []
    for height in range(1, LENGTH + 1):
        root = chain.ledger.read.tree_root(height)
        assert root is not None
        tops.append(len(list(addresses_of(record, root[1]))))
        below = children_of(load(root[1], b"", root[0])).values()
        buckets.append({len(list(addresses_of(record, where))) for _, where, leaves in below if leaves})
    assert max(tops) == tops[FLOOR - 1] == 1 + NODE_DELTAS_MAX, "the first height that is held needs most"
    assert tops[FLOOR:] == [1, 2, 3, 4, 5]
    assert max(set.union(*buckets[: FLOOR - 1])) == max(set.union(*buckets[FLOOR:])) == 1 + BUCKET_DELTAS_MAX
    assert 1 in buckets[-1]


@pytest.mark.parametrize("made", [make, rewritten])
def test_records_are_deleted_exactly_when_no_held_tree_needs_them(made: Callable[[], ToyChain]) -> None:
    """A delta needs the records before it, which go once the node was written in full."""
    whole, chain = made(), pruned(made())
    used = records_used(whole, FLOOR - 1, LENGTH)
    assert used < records_in(whole.store).keys()
    assert records_in(chain.store) == {where: records_in(whole.store)[where] for where in used}


def test_what_was_pruned_is_said_with_its_archive_and_proofs_made_before_still_hold() -> None:
    chain = make()
    tx = chain.ledger.read.transactions(3)[0]
    tx_id = DecodedTransaction.of(tx).id
    receipt = chain.ledger.prove.receipt(tx_id)
    history = chain.ledger.prove.history("dataset:1", 0, 7)
    pruned(chain)
    verifier = ProofVerifier(chain.genesis)
    assert receipt is not None
    verifier.check_receipt(receipt)
    verifier.check_history(history)
    verifier.check_header(chain.ledger.prove.header(3))
    missing = chain.ledger.read.pruned.missing_transaction(tx_id)
    assert missing is not None
    assert "/archive" in str(missing)
    with pytest.raises(NotHeld, match="/archive"):
        chain.ledger.read.entries(subject="dataset:1")
    verifier.check_history(chain.ledger.prove.history("dataset:1", FLOOR, LENGTH))


def test_a_replay_within_the_window_is_still_refused_after_pruning() -> None:
    chain = make()
    last = [DecodedTransaction.of(tx) for tx in chain.ledger.read.transactions(LENGTH - WINDOW + 1)]
    set_floor(chain.store, LENGTH - WINDOW + 1, "")
    while sweep(chain.store):
        pass
    chain.add(last[0])
    assert chain.ledger.read.receipts(LENGTH + 1)[0].code == "REPLAYED"


@pytest.mark.parametrize("before", [-1, LENGTH - WINDOW + 2, 10**9])
def test_the_window_cannot_be_pruned(before: int) -> None:
    chain = make()
    with pytest.raises(LimitError, match=f"at most {LENGTH - WINDOW + 1}"):
        set_floor(chain.store, before, "")


def test_a_floor_never_goes_down() -> None:
    chain = pruned(make())
    assert set_floor(chain.store, 2, "").blocks == FLOOR


def test_a_rebuild_starts_from_the_oldest_state_held_and_ends_at_the_same_head() -> None:
    chain = pruned(make())
    before = plain_rows(chain.store)
    steps: list[int] = []
    rebuild(chain.store, chain.genesis, ToyRuntime(), lambda height, _: steps.append(height))
    again = Ledger(chain.store, chain.genesis, ToyRuntime())
    assert steps == list(range(FLOOR, LENGTH + 1))
    assert again.head == chain.ledger.head
    after = plain_rows(chain.store)
    index = (rows.TX_INDEX,)  # ids of pruned heights inside the window come back, without their place
    assert {k: v for k, v in after.items() if k[:1] not in index} == {
        k: v for k, v in before.items() if k[:1] not in index
    }
    assert before.keys() <= after.keys()


class Crash(Exception):
    """The power went."""


class CrashingStore(MemoryStore):
    """Fails at the n-th write from now."""

    writes_left = -1

    def write(self, *changes: Any, **options: Any) -> None:
        if self.writes_left == 0:
            raise Crash
        self.writes_left -= 1
        super().write(*changes, **options)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 12), st.integers(0, 3), st.integers(1, 60), st.booleans())
def test_a_crash_at_any_write_leaves_a_ledger_that_finishes_pruning(
    crash_at: int, lost: int, step: int, again: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for module in (validity_window, prune, snapshot, recent_ids):
            patch.setattr(module, "VALIDITY_WINDOW_MAX", WINDOW)
        patch.setattr(prune, "SWEEP_ROWS", step)
        store = CrashingStore()
        chain = make(store=store)
        store.writes_left = crash_at
        try:
            pruned(chain)
        except Crash:
            store.crash(max(0, len(store._undo) - lost))
        store.writes_left = -1
        ledger = Ledger(store, chain.genesis, ToyRuntime())
        if again:
            rebuild(store, chain.genesis, ToyRuntime())
            ledger = Ledger(store, chain.genesis, ToyRuntime())
        pruned(chain)
        expected = pruned(make())
        assert ledger.head == expected.ledger.head
        if not again:
            assert dict(store.iterate()) == dict(expected.store.iterate())
        for height in range(FLOOR - 1, LENGTH + 1):
            assert read_whole(chain, height) == read_whole(expected, height)
