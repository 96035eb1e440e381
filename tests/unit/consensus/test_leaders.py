"""Who leads among those that are not passed over, and how long one primary is borne in all."""

from __future__ import annotations

import pytest

from chain.primitives.certificate import Epoch
from chain.primitives.codec import U64_MAX
from consensus.rules import Rules
from consensus.settings import Timing
from consensus.slow_primaries import Patience

KEYS = tuple(bytes([index]) * 32 for index in range(7))
A, B, C, D = KEYS[:4]


def rules(charged: dict[int, tuple[bytes, ...]], n: int = 4, settled: int = U64_MAX) -> Rules:
    """Passed over from a height on: those of the entry at or below it."""

    def passed_over(height: int) -> tuple[bytes, ...]:
        return next((charged[at] for at in sorted(charged, reverse=True) if at <= height), ())

    return Rules(bytes(32), lambda _height: Epoch(0, KEYS[:n]), lambda: settled, 8, 16, passed_over)


def test_who_is_passed_over_does_not_lead_and_votes_all_the_same() -> None:
    """From height 5 on, the second of four."""
    of = rules({5: (B,)})
    assert [of.primary(view, 4) for view in range(4)] == [A, B, C, D]
    assert [of.primary(view, 5) for view in range(4)] == [A, C, D, A]
    assert of.leaders(5) == (A, C, D)
    assert of.is_validator(B, 5)
    assert of.quorum(5) == 3


def test_at_most_f_are_passed_over_the_latest_charged() -> None:
    assert rules({1: (A, B)}).leaders(1) == (A, C, D)
    assert rules({1: (A, B, C)}, n=7).leaders(1) == (A, *KEYS[3:])
    assert rules({1: (A,)}, n=3).leaders(1) == KEYS[:3], "with f = 0 nobody is"
    assert rules({1: (KEYS[6],)}).leaders(1) == KEYS[:4], "who is no validator does not count"


def test_who_leads_is_remembered_where_it_is_final_and_asked_for_elsewhere() -> None:
    """The ledger may still pass somebody over at a height that is not settled."""
    charged: dict[int, tuple[bytes, ...]] = {}
    of = rules(charged, settled=7)
    assert of.leaders(7) == of.leaders(8) == KEYS[:4]
    charged[1] = (B,)
    assert of.leaders(7) == KEYS[:4]
    assert of.leaders(8) == (A, C, D)
    asked = list[int]()
    once = Rules(bytes(32), lambda h: asked.append(h) or Epoch(0, KEYS[:4]), lambda: 7, 8, 16)
    asked.clear()
    for _ in range(3):
        assert once.quorum(7) == once.quorum(8) == 3
    assert asked == [7, 8, 8, 8]
    many = rules({})
    for height in range(1_000):
        many.leaders(height)
    assert len(many._leaders) <= 256
    assert many.leaders(U64_MAX + 1) == KEYS[:4]


# --- patience -------------------------------------------------------------------------------------

TIMING = Timing(timeout_ms=2_000, timeout_max_ms=20_000)
FOUR = KEYS[:4]


def tenure(patience: Patience, key: bytes, waited: int, heights: int) -> None:
    """One primary's tenure: so long we waited, so many heights came of it."""
    patience.follow(key, FOUR)
    patience.waited(waited, charged=True)
    patience.delivered(heights)


def measured(*a_height: int) -> Patience:
    """Patience that has seen A, B and C, ten heights each, at so many ms a height."""
    patience = Patience(TIMING)
    for key, taken in zip((A, B, C), a_height, strict=True):
        tenure(patience, key, 10 * taken, 10)
    return patience


def test_nobody_is_given_up_before_enough_others_were_measured() -> None:
    """With f = 1 three others: the median of less might be a liar's."""
    patience = Patience(TIMING)
    for key in (A, B):
        tenure(patience, key, 100, 10)
    patience.follow(C, FOUR)
    assert patience.left(faults=1) is None
    patience.delivered(1)
    patience.follow(D, FOUR)
    assert patience.left(faults=1) is not None
    assert patience.left(faults=2) is None


def test_a_primary_may_take_three_times_the_median_of_the_others_and_half_a_timeout() -> None:
    """For each of its heights, the one that is owed included; what it took is taken off."""
    patience = measured(10, 20, 500)
    patience.follow(D, FOUR)
    assert patience.left(1) == 1_000 + 3 * 20
    patience.delivered(4)
    assert patience.left(1) == 1_000 + 3 * 20 * 5
    patience.waited(700, charged=True)
    assert patience.left(1) == 600


def test_what_is_not_charged_counts_in_the_comparison_alone() -> None:
    """The wait before a transaction was forwarded is no primary's fault, and in everybody's last tenure."""
    patience = measured(10, 20, 30)
    patience.follow(D, FOUR)
    patience.waited(5_000, charged=False)
    assert patience.left(1) == 1_000 + 3 * 20
    patience.delivered(10)
    patience.follow(A, FOUR)
    assert patience.left(1) == 1_000 + 3 * 30, "of 20, 30 and 500 a height"


def test_the_first_grace_is_half_a_timeout() -> None:
    patience = Patience(TIMING)
    tenure(patience, A, 1_500, 1)
    patience.follow(D, FOUR)
    assert patience.left(faults=0) == 1_000 + 3 * 1_500


def test_its_own_last_tenure_does_not_count_for_a_primary() -> None:
    """Being slow must not buy time: of A, B, C and D measured, D is compared with the others."""
    patience = measured(10, 20, 30)
    tenure(patience, D, 90_000, 10)
    patience.follow(A, FOUR)
    patience.follow(D, FOUR)
    assert patience.left(1) == 1_000 + 3 * 20


def test_a_tenure_without_a_height_measures_nothing() -> None:
    patience = measured(10, 20, 30)
    tenure(patience, D, 5_000, 0)
    patience.follow(A, FOUR)
    assert patience.left(1) is None, "of D nothing is known, and A does not count for itself"


def test_the_same_primary_goes_on_with_what_it_has_spent() -> None:
    patience = measured(10, 10, 10)
    patience.follow(D, FOUR)
    patience.waited(400, charged=True)
    patience.follow(D, FOUR)
    assert patience.left(1) == 1_000 + 30 - 400


def test_those_who_left_the_set_are_forgotten() -> None:
    patience = measured(10, 20, 30)
    patience.follow(D, FOUR)
    assert patience.left(1) is not None
    patience.follow(KEYS[4], (B, C, D, KEYS[4]))
    assert patience.left(1) is None


def test_patience_grows_when_it_ran_out_up_to_the_longest_timeout_and_shrinks_when_it_is_not_needed() -> None:
    """On a network on which everybody is slow nobody is replaced for ever."""
    patience = measured(10, 10, 10)

    def grace() -> int:
        patience.follow(D, FOUR)
        left = patience.left(1)
        assert left is not None
        return left - 30

    seen = [grace()]
    for _ in range(6):
        patience.ran_out()
        seen.append(grace())
    assert seen == [1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]
    for spent, left in ((10_001, 20_000), (10_000, 10_000)):  # more than half of it was needed, or not
        tenure(patience, D, spent, 1)
        patience.follow(A, FOUR)
        assert patience.left(1) == left + 30
    for _ in range(20):
        for key in (A, B, C):
            tenure(patience, key, 10, 1)
    assert grace() == 1_000, "and no less than half a timeout"


def test_what_ran_out_begins_anew_with_the_next() -> None:
    patience = measured(10, 10, 10)
    patience.follow(D, FOUR)
    patience.waited(1_030, charged=True)
    patience.delivered(3)
    patience.ran_out()
    patience.follow(D, FOUR)
    assert patience.left(1) == 2_000 + 30


@pytest.mark.parametrize("share", [1, 2, 3])
def test_the_median_is_no_lower_than_what_a_correct_one_of_the_others_took(share: int) -> None:
    """Of three others at most one lies; whatever it does, the bound is one of a correct replica's."""
    fast, slow = 10, 40
    lie = {1: 0, 2: 25, 3: 10_000}[share]
    patience = measured(fast, slow, lie)
    patience.follow(D, FOUR)
    left = patience.left(1)
    assert left is not None
    assert 1_000 + 3 * fast <= left <= 1_000 + 3 * slow
