"""What the state keeps of the last heights."""

from __future__ import annotations

import pytest

from chain.ledger import validity_window
from chain.ledger.testing import ToyChain
from chain.ledger.validity_window import NAMESPACE, HeightSummary, read_summary, summary_key
from chain.primitives.errors import DecodeError


def entry(chain: ToyChain, height: int) -> HeightSummary:
    return read_summary(height, chain.ledger.read.state(NAMESPACE, summary_key(height)))


def test_the_state_of_a_height_names_what_ran_there_and_the_totals() -> None:
    chain = ToyChain()
    good, bad = chain.call("move", {"source": "a", "target": "b"}), chain.call("fail", {"code": "NO"})
    skipped = chain.call("put", {"key": 1, "value": 1}, valid_until=0)
    chain.add(good, bad, skipped)
    found = entry(chain, 1)
    assert found.tx_ids() == [good.id, bad.id]
    head = chain.ledger.head
    assert (found.transactions, found.failed, found.events) == (head.transactions, head.failed, head.events)
    assert (head.transactions, head.failed) == (2, 1)


def test_an_id_that_asked_for_too_much_gas_is_remembered_since_the_limit_may_rise() -> None:
    """A node that began from this state must refuse the id as the others do, whose index holds it."""
    chain = ToyChain()
    greedy = chain.call("put", {"key": 1, "value": 1}, gas_limit=chain.genesis.limits.tx_gas_max + 1)
    chain.add(greedy)
    assert entry(chain, 1).tx_ids() == [greedy.id]
    assert chain.ledger.read.is_final(greedy.id)


def test_an_entry_leaves_the_state_with_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity_window, "VALIDITY_WINDOW_MAX", 3)
    chain = ToyChain()
    for _ in range(5):
        chain.add(chain.call("put", {"key": 1, "value": 1}))
    held = [height for height in range(6) if chain.ledger.read.state(NAMESPACE, summary_key(height))]
    assert held == [3, 4, 5]


def test_ids_that_are_not_whole_are_refused() -> None:
    with pytest.raises(DecodeError, match="33 bytes of ids"):
        HeightSummary(0, 0, 0, bytes(33)).tx_ids()
    with pytest.raises(DecodeError, match="no entry of height 7"):
        read_summary(7, None)
