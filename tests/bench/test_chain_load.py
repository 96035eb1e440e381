"""The load generator: what is counted, and how stacks are told apart."""

from __future__ import annotations

import pytest

from chain.ledger.testing import toy_key
from tests.bench.chain_load import Load, share_error, sign_batches
from tests.bench.profiler import part_of


def test_only_own_transactions_count_and_each_once() -> None:
    load = Load(first=10.0)
    load.sent_at = {"a": 10.0, "b": 10.5, "c": 11.0}
    load.certified(["a", "x"], 11.0)
    load.certified(["a", "y"], 12.0)
    load.certified(["z"], 13.0)
    assert load.latency_s == [1.0]
    assert load.blocks == 1
    assert set(load.sent_at) == {"b", "c"}


def test_batches_hold_every_call_once() -> None:
    calls = [("move", {"amount": number}) for number in range(250)]
    batches = list(sign_batches(toy_key("bank"), bytes(32), calls, 100, 100))
    assert [len(batch.ids) for batch in batches] == [100, 100, 50]
    assert len({tx_id for batch in batches for tx_id in batch.ids}) == 250


def test_a_stack_belongs_to_the_first_part_that_it_names() -> None:
    assert part_of("Thread.run (threading.py:982);_worker (concurrent/futures/thread.py:81)") == "idle"
    writing = "_on_verified (chain/node/intake.py:1);write (chain/ledger/store/leveldb.py:85)"
    assert part_of(writing) == "LevelDB and its disk"
    assert part_of("on_frame (chain/node/node.py:1);step (consensus/replica.py:9)") == (
        "consensus: messages and votes"
    )
    assert part_of("main (chain/cli/main.py:1);loads (json/decoder.py:3)") == "event loop and the rest"


def test_the_error_of_a_share_is_that_of_the_mean_over_pairs_of_rounds() -> None:
    assert share_error([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) == 0
    assert share_error([8.0, 9.0], [10.0, 10.0]) == pytest.approx(0.05)
    with pytest.raises(ValueError, match="zip"):
        share_error([1.0], [1.0, 2.0])
