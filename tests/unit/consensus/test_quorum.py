"""Quorums, primaries and the parameters that all replicas share."""

from __future__ import annotations

import pytest

from chain.primitives.certificate import Epoch, fault_bound, quorum
from chain.primitives.codec import U64_MAX
from chain.primitives.errors import ConfigError
from consensus.rules import Rules


@pytest.mark.parametrize("n", range(1, 41))
def test_two_quorums_share_a_correct_validator_and_the_correct_ones_reach_one(n: int) -> None:
    """Failure 13: wrong quorum for n other than 3f+1 (2q - n > f, and n - f >= q)."""
    f, q = fault_bound(n), quorum(n)
    assert 2 * q - n > f
    assert n - f >= q
    assert 2 * (q - 1) - n <= f, "no smaller quorum is safe"


@pytest.mark.parametrize(
    ("n", "q"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4), (6, 4), (7, 5), (8, 6), (10, 7)]
)
def test_the_quorum_of_small_clusters_is_as_stated(n: int, q: int) -> None:
    """n = 5 and 8 are where 2f+1 would be unsafe; n = 3 has f = 0 and needs a majority only."""
    assert quorum(n) == q


def _rules(n: int, rotation: int) -> Rules:
    keys = tuple(bytes([i]) * 32 for i in range(n))
    return Rules(bytes(32), lambda _height: Epoch(0, keys), lambda: U64_MAX, 8, rotation)


def test_the_primary_changes_with_the_view_and_with_every_rotation_of_heights() -> None:
    """primary(view, height) = validators[(view + height // rotation) mod n]."""
    rules = _rules(4, rotation=10)
    keys = rules.validators(1)
    assert [rules.primary(view, 1) for view in range(5)] == [*keys, keys[0]]
    assert rules.primary(0, 9) == keys[0]
    assert rules.primary(0, 10) == keys[1]
    assert rules.primary(2**64 - 1, 2**64 - 1) in keys


@pytest.mark.parametrize(("window", "rotation"), [(0, 1), (33, 1), (8, 0), (8, 1_000_001)])
def test_rules_out_of_range_are_refused_with_the_range(window: int, rotation: int) -> None:
    """The text names parameter, value and allowed range."""
    with pytest.raises(ConfigError, match="allowed"):
        Rules(bytes(32), lambda _height: Epoch(0, (bytes(32),)), lambda: 8, window, rotation)


def test_any_height_a_peer_may_name_has_a_set_and_costs_bounded_memory() -> None:
    """The ledger is asked for 64-bit heights only; what is final is asked for once."""
    asked: list[int] = []
    top = 7
    rules = Rules(
        bytes(32), lambda height: asked.append(height) or Epoch(0, (bytes(32),)), lambda: top, 8, 16
    )
    assert rules.quorum(U64_MAX + 1) == 1
    assert max(asked) == U64_MAX
    asked.clear()
    for _ in range(3):
        rules.primary(0, 7)
        rules.primary(0, 8)
    assert asked == [7, 8, 8, 8], "height 8 may still get another set"
    assert (rules.is_settled(7), rules.is_settled(8)) == (True, False)
    top = 1_000
    for height in range(1_000):
        rules.quorum(height)
    assert len(rules._remembered) <= 256


def test_heights_in_flight_never_span_two_sets() -> None:
    """With W = 8 and a set that takes over at 10: from 6 on only 6..9, then the new set's own 8."""
    rules = Rules(
        bytes(32),
        lambda height: Epoch(10, (b"b",)) if height >= 10 else Epoch(0, (b"a",)),
        lambda: U64_MAX,
        8,
        16,
    )
    assert [rules.last_together(height) for height in (1, 2, 3, 6, 9, 10, 11)] == [8, 9, 9, 9, 9, 17, 18]
