"""A transaction is explained by running it again on the state that it met, and on no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chain.ledger.batch_executor import SKIPPED
from chain.ledger.block import Receipt
from chain.ledger.explain import ReplayDiffers, explain
from chain.ledger.testing import ToyChain, ToyRuntime
from chain.primitives.runtimeport import OK, REVERTED, Call, Outcome, StateReader, TraceFrame, map_key
from chain.primitives.values import encode_value


class Telling(ToyRuntime):
    """Says what a contract would: where a call fails, and what it read."""

    def execute(self, call: Call, state: StateReader) -> Outcome:
        """Refuse `look` with what the entry holds."""
        if call.method != "look":
            return super().execute(call, state)
        found = state.get("toy", map_key("values", "a"))
        place = TraceFrame("toy", "look", 7)
        return Outcome(REVERTED, "SEEN", gas_used=9, line=7, trace=(place,), why=f"a holds {found!r}")


@pytest.fixture
def chain() -> ToyChain:
    return ToyChain(runtime=Telling())


def receipts(chain: ToyChain, height: int) -> list[Receipt]:
    return chain.ledger.read.receipts(height)


def test_a_failure_is_explained_with_its_place_on_the_state_within_its_block(chain: ToyChain) -> None:
    chain.add(chain.call("put", {"key": "a", "value": 1}))
    chain.add(
        chain.call("put", {"key": "a", "value": 2}),
        chain.call("look", {}),
        chain.call("put", {"key": "a", "value": 3}),
        chain.call("look", {}),
    )
    chain.add(chain.call("put", {"key": "a", "value": 4}))
    _, first, _, second = receipts(chain, 2)
    told = explain(chain.ledger.read, Telling(), first)
    assert (told.code, told.line, told.trace) == ("SEEN", 7, (TraceFrame("toy", "look", 7),))
    assert told.why == f"a holds {encode_value(2)!r}"
    assert explain(chain.ledger.read, Telling(), second).why == f"a holds {encode_value(3)!r}"
    assert chain.ledger.head.height == 3


def test_a_success_is_run_again_too(chain: ToyChain) -> None:
    chain.add(chain.call("put", {"key": "a", "value": 1}))
    assert explain(chain.ledger.read, Telling(), receipts(chain, 1)[0]).status == OK


def test_a_skipped_transaction_was_never_run(chain: ToyChain) -> None:
    chain.add(chain.call("look", {}, valid_until=0))
    told = explain(chain.ledger.read, Telling(), receipts(chain, 1)[0])
    assert (told.status, told.code, told.trace) == (SKIPPED, "EXPIRED", ())


def test_an_outcome_that_is_not_the_receipts_is_reported(chain: ToyChain) -> None:
    chain.add(chain.call("look", {}))
    forged = replace(receipts(chain, 1)[0], gas_used=8)
    with pytest.raises(ReplayDiffers, match="run again it ends reverted SEEN, 9 gas"):
        explain(chain.ledger.read, Telling(), forged)
