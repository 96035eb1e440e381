"""Who may connect and under which key a node goes, as the ledger says."""

from __future__ import annotations

import pytest

from chain.ledger.genesis import Limits
from chain.ledger.testing import ToyChain, toy_genesis, toy_key
from chain.node.membership import FOLLOWS, OUTSIDE, VOTES, WILL_VOTE, accepted, choose_key, role_of

WINDOW = 3
FOUNDERS = tuple(f"{org}-node" for org in ("bank", "bureau", "registry", "regulator"))


def key(name: str) -> bytes:
    return toy_key(name).public


@pytest.fixture
def chain() -> ToyChain:
    return ToyChain(toy_genesis(limits=Limits(consensus_window=WINDOW)))


def grow(chain: ToyChain) -> None:
    for _ in range(WINDOW):
        chain.add()


def test_a_chain_without_governance_accepts_its_founders(chain: ToyChain) -> None:
    assert set(accepted(chain.ledger)) == {key(name) for name in FOUNDERS}
    assert role_of(chain.ledger, key("x")) == OUTSIDE


def test_who_is_announced_is_accepted_at_once_and_who_is_removed_until_it_takes_effect(
    chain: ToyChain,
) -> None:
    chain.add(chain.govern((*FOUNDERS[:3], "new"), observers=("watcher",)))
    ledger = chain.ledger
    everyone = {key(name) for name in (*FOUNDERS, "new", "watcher")}
    assert set(accepted(ledger)) == everyone
    roles = [role_of(ledger, key(name)) for name in (FOUNDERS[3], "new", "watcher")]
    assert roles == [VOTES, WILL_VOTE, FOLLOWS]
    grow(chain)
    assert set(accepted(ledger)) == everyone - {key(FOUNDERS[3])}
    roles = [role_of(ledger, key(name)) for name in (FOUNDERS[3], "new", "watcher")]
    assert roles == [OUTSIDE, VOTES, FOLLOWS]


def test_a_key_is_left_at_the_height_from_which_the_next_one_votes(chain: ToyChain) -> None:
    """Not before: until then only the old key's votes count."""
    keys = [key(FOUNDERS[0]), key("next")]
    assert choose_key(chain.ledger, keys) == keys[0]
    chain.add(chain.govern(("next", *FOUNDERS[1:])))
    chosen = [choose_key(chain.ledger, keys)]
    for _ in range(WINDOW):
        chain.add()
        chosen.append(choose_key(chain.ledger, keys))
    assert chosen == [keys[0]] * (WINDOW - 1) + [keys[1]] * 2


def test_an_observers_key_is_left_as_soon_as_the_ledger_lists_the_next(chain: ToyChain) -> None:
    chain.add(chain.govern(FOUNDERS, observers=("watcher",)))
    assert choose_key(chain.ledger, [key("watcher"), key("next")]) == key("watcher")
    chain.add(chain.govern(FOUNDERS, observers=("next",)))
    assert choose_key(chain.ledger, [key("watcher"), key("next")]) == key("next")
    chain.add(chain.govern(FOUNDERS))
    assert choose_key(chain.ledger, [key("watcher"), key("next")]) == key("watcher")


def test_the_revision_grows_with_every_change_and_only_then(chain: ToyChain) -> None:
    """What follows the membership asks for this number at every height."""
    schedule = chain.ledger.schedule
    before = schedule.revision
    chain.add(chain.call("put", {"key": 1, "value": 1}))
    assert schedule.revision == before
    chain.add(chain.govern(FOUNDERS, observers=("watcher",)))
    chain.add(chain.call("govern", {"var": "limits", "value": {"block_txs": 7}}))
    assert schedule.revision == before + 2
