"""The executor's rules: order, failure, replay, windows, gas, subject logs."""

from __future__ import annotations

import pytest

from chain.ledger.batch_executor import SKIPPED, BatchContext, BatchExecution, RuntimeFault, execute_batch
from chain.ledger.block import DecodedTransaction, EventEntry, Receipt, entry_hash, rolling_hash
from chain.ledger.genesis import Limits
from chain.ledger.state.state import Overlay, newest_state
from chain.ledger.store.memory import MemoryStore
from chain.ledger.subjects import NAMESPACE, log_key, pack_log, read_log
from chain.ledger.testing import START_MS, ToyChain, ToyRuntime, toy_genesis, toy_key
from chain.primitives.errors import DecodeError
from chain.primitives.runtimeport import OK, REVERTED, Call, Event, Outcome, StateReader, map_key
from chain.primitives.values import decode_value, encode_value


@pytest.fixture
def chain() -> ToyChain:
    return ToyChain()


def run(
    chain: ToyChain, *candidates: DecodedTransaction, height: int = 1, limits: Limits | None = None
) -> BatchExecution:
    context = BatchContext(height, START_MS + 1, limits or Limits(), chain.ledger.read.is_final)
    return execute_batch(ToyRuntime(), newest_state(chain.store), context, candidates)


def verdicts(execution: BatchExecution) -> list[tuple[str, str]]:
    return [(receipt.status, receipt.code) for receipt in execution.receipts]


def test_later_transactions_read_what_earlier_ones_wrote(chain: ToyChain) -> None:
    moves = [chain.call("move", {"source": "a", "target": "b"}) for _ in range(3)]
    writes = run(chain, *moves).writes
    assert decode_value(writes["toy", map_key("values", "a")] or b"", max_bytes=9) == 3


def test_a_failing_transaction_leaves_no_writes_and_stops_nothing(chain: ToyChain) -> None:
    execution = run(
        chain,
        chain.call("fail", {"code": "NO_GRANT"}, sender="bureau"),
        chain.call("put", {"key": 1, "value": 1}),
    )
    assert verdicts(execution) == [(REVERTED, "NO_GRANT"), (OK, "")]
    assert (execution.executed, execution.failed) == (2, 1)


def test_a_refused_attempt_stands_in_the_log_of_its_organisation(chain: ToyChain) -> None:
    execution = run(chain, chain.call("fail", {"code": "NO_GRANT"}, sender="bureau"))
    (event,) = execution.receipts[0].events
    assert (event.contract, event.name, event.subjects) == ("toy", "Refused", ("org:bureau",))
    fields = decode_value(event.fields, max_bytes=200)
    assert fields == {"code": "NO_GRANT", "contract": "toy", "method": "fail"}
    assert ("subjects", b"org:bureau") in execution.writes


def test_an_unknown_sender_fails_without_an_event(chain: ToyChain) -> None:
    execution = run(chain, chain.call("put", {"key": 1, "value": 1}, sender="stranger"))
    assert verdicts(execution) == [(REVERTED, "UNKNOWN_SENDER")]
    assert execution.receipts[0].events == ()
    assert execution.writes == {}


def test_a_transaction_runs_once_within_a_batch_and_across_batches(chain: ToyChain) -> None:
    once = chain.call("move", {"source": "a", "target": "b"})
    assert verdicts(run(chain, once, once)) == [(OK, ""), (SKIPPED, "REPLAYED")]
    chain.add(once)
    assert verdicts(run(chain, once, height=2)) == [(SKIPPED, "REPLAYED")]


def test_the_validity_window_is_checked_at_the_height_of_inclusion(chain: ToyChain) -> None:
    height = 700
    execution = run(
        chain,
        *[chain.call("put", {"key": 1, "value": 1}, valid_until=until) for until in (699, 700, 1300, 1301)],
        height=height,
    )
    assert verdicts(execution) == [(SKIPPED, "EXPIRED"), (OK, ""), (OK, ""), (SKIPPED, "TOO_FAR_AHEAD")]


def test_an_expired_replay_is_expired_whether_or_not_the_ledger_still_knows_it(chain: ToyChain) -> None:
    """Nodes that pruned its row, or never held it, must come to the same receipt; the old one stays final."""
    old = chain.call("put", {"key": 1, "value": 1}, valid_until=1)
    chain.add(old)
    known = run(chain, old, height=2)
    forgetful = BatchContext(2, START_MS + 1, Limits(), lambda _: False)
    unknown = execute_batch(ToyRuntime(), newest_state(chain.store), forgetful, [old])
    assert known.receipts == unknown.receipts
    assert verdicts(known) == [(SKIPPED, "EXPIRED")]
    assert (known.final, unknown.final) == ({}, {old.id: 0})
    assert known.decided == unknown.decided == []


def test_what_does_not_fit_into_the_blocks_gas_may_come_again(chain: ToyChain) -> None:
    limits = Limits(tx_gas_default=1_000, tx_gas_max=5_000, block_gas=5_000)
    calls = [
        chain.call("put", {"key": i, "value": i}, gas_limit=gas)
        for i, gas in enumerate((5_000, 4_500, 4_000))
    ]
    execution = run(chain, *calls, chain.call("put", {"key": 9, "value": 9}, gas_limit=5_001), limits=limits)
    assert verdicts(execution) == [(OK, ""), (SKIPPED, "BLOCK_GAS"), (OK, ""), (SKIPPED, "GAS_LIMIT")]
    assert calls[1].id not in execution.final
    assert len(execution.final) == 3


def test_a_skipped_transaction_has_a_receipt_at_its_place_and_leaves_nothing(chain: ToyChain) -> None:
    execution = run(chain, chain.call("put", {"key": 1, "value": 1}, valid_until=0))
    receipt = execution.receipts[0]
    assert (receipt.index, receipt.gas_used, receipt.events, receipt.result) == (0, 0, (), b"")
    assert execution.writes == {}
    assert execution.executed == 0


def test_a_subjects_log_counts_and_chains_its_entries(chain: ToyChain) -> None:
    execution = run(
        chain,
        chain.call("announce", {"subjects": ["job:1", "dataset:x", "job:1"]}),
        chain.call("announce", {"subjects": ["job:1"]}),
    )
    rolling = bytes(32)
    for receipt in execution.receipts:
        rolling = rolling_hash(rolling, entry_hash(_entry(receipt)), 1)
    assert execution.writes[NAMESPACE, log_key("job:1")] == pack_log(2, rolling)
    assert read_log(execution.writes[NAMESPACE, log_key("dataset:x")])[0] == 1
    assert execution.events["toy", "Announced"] == [(0, 0), (1, 0)]


def _entry(receipt: Receipt) -> EventEntry:
    return EventEntry(receipt.height, receipt.tx_id, 0, receipt.events[0])


def test_host_trouble_is_never_a_verdict(chain: ToyChain) -> None:
    with pytest.raises(MemoryError):
        run(chain, chain.call("put", {"key": 1, "value": 1}), chain.call("crash", {}))


class WordyRuntime(ToyRuntime):
    """Breaks the executor's bounds."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    def execute(self, call: Call, state: StateReader) -> Outcome:
        del call, state
        return self.outcome


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(REVERTED, "X" * 65),
        Outcome(OK, result=bytes(65_537)),
        Outcome(OK, events=(Event("toy", "E", b"", ()),) * 1_025),
        Outcome("fine"),
    ],
)
def test_a_runtime_that_breaks_its_bounds_stops_the_node(chain: ToyChain, outcome: Outcome) -> None:
    context = BatchContext(1, START_MS + 1, Limits(), chain.ledger.read.is_final)
    with pytest.raises(RuntimeFault):
        execute_batch(WordyRuntime(outcome), newest_state(chain.store), context, [chain.call("put", {})])


def test_an_overlay_hides_deleted_entries_and_leaves_its_base_alone(chain: ToyChain) -> None:
    key = map_key("keys", toy_key("bank").public.hex())
    overlay = Overlay(newest_state(chain.store))
    assert overlay.get("orgs", key) is not None
    overlay.writes["orgs", key] = None
    assert overlay.get("orgs", key) is None
    assert newest_state(chain.store).get("orgs", key) is not None


@pytest.mark.parametrize(
    "value", [None, 5, (1,), (-1, bytes(32)), (1, b"short"), (True, bytes(32)), [1, bytes(32)]]
)
def test_a_malformed_log_state_is_refused(value: object) -> None:
    with pytest.raises(DecodeError):
        read_log(encode_value(value))


def test_the_same_batch_gives_the_same_bytes_whatever_came_before_in_memory() -> None:
    first, second = ToyChain(toy_genesis()), ToyChain(toy_genesis(), MemoryStore())
    for chain in (first, second):
        chain.add(*[chain.call("move", {"source": i, "target": i + 1}) for i in range(20)])
    again = ToyChain(first.genesis, first.store)
    again._nonce = second._nonce = 1_000
    batch = [again.call("move", {"source": i, "target": 2 * i}) for i in range(20)]
    assert again.execute(*batch) == second.execute(*batch)
