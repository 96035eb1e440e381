"""Who loses a place, who is too fast, and which lines are written: never one holder for another's flood."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from privcompute.net.places import Lines, Places, Rates

TOTAL, EACH, SEED = 6, 4, 7


def test_a_holder_beyond_its_share_loses_its_own_oldest_item() -> None:
    places: Places[str, int] = Places(TOTAL, EACH, random.Random(SEED))
    assert [places.add("a", item) for item in range(EACH)] == [None] * EACH
    assert places.add("a", 9) == 0
    assert list(places) == [1, 2, 3, 9]


def test_when_all_places_are_taken_the_holder_with_the_most_gives_way() -> None:
    places: Places[str, int] = Places(TOTAL, EACH, random.Random(SEED))
    for item, holder in enumerate("bbaaaa"):
        places.add(holder, item)
    assert places.add("c", 6) == 2, "the oldest of a"
    assert places.add("a", 7) == 3, "a newcomer that has the most takes its own place"
    assert places.count("b") == 2


def test_when_everybody_has_one_a_crowd_pushes_no_given_item_out_for_certain() -> None:
    source, stayed = random.Random(SEED), 0
    for _ in range(300):
        places: Places[int, int] = Places(TOTAL, EACH, source)
        for item in range(2 * TOTAL):
            places.add(item, item)
        stayed += 0 in places
    assert 60 <= stayed <= 150, f"(5/6)^6 is 33 %: {stayed} of 300"


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=200))
def test_places_are_bounded_and_nobody_with_less_gives_way(moves: list[tuple[int, bool]]) -> None:
    places: Places[int, tuple[int, int]] = Places(TOTAL, EACH, random.Random(SEED))
    for number, (holder, leaves) in enumerate(moves):
        before = {other: places.count(other) for other in range(10)}
        if leaves:
            own = [item for item in places if item[0] == holder]
            places.remove(own[0] if own else (holder, -1))
            continue
        evicted = places.add(holder, (holder, number))
        assert (holder, number) in places
        assert len(places) <= TOTAL
        assert all(places.count(other) <= EACH for other in range(10))
        if evicted is not None and evicted[0] != holder:
            assert before[evicted[0]] == max(before.values()) > before[holder]


def test_a_bucket_refills_with_time_and_is_its_holders_own() -> None:
    rates: Rates[str] = Rates(2.0, 3.0, 10)
    assert [rates.allow("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert rates.allow("b", 0.0)
    assert [rates.allow("a", 1.0) for _ in range(3)] == [True, True, False]
    assert [rates.allow("a", 1_000.0) for _ in range(4)] == [True, True, True, False]


def test_only_the_most_recent_holders_are_remembered() -> None:
    rates: Rates[int] = Rates(1.0, 1.0, 3)
    for holder in range(5):
        assert rates.allow(holder, 0.0)
    assert not rates.allow(4, 0.0)
    assert rates.allow(0, 0.0), "forgotten, so it starts with a full bucket"


def test_lines_are_bounded_by_holder_and_in_all_and_the_rest_is_counted() -> None:
    lines: Lines[str] = Lines(2, 3, 10.0)
    assert [lines.allow("a", 0.0) for _ in range(5)] == [True, True, False, False, False]
    assert [lines.allow(name, 1.0) for name in ("b", "c", "d")] == [True, False, False]
    assert lines.summary(9.9) is None
    assert lines.summary(10.0) == (5, "a")
    assert lines.summary(11.0) is None
    assert lines.allow("a", 12.0)
    assert lines.summary(22.0) is None, "nothing was kept back"


def test_the_memory_of_kept_back_lines_is_bounded() -> None:
    lines: Lines[int] = Lines(1, 3, 10.0)
    for holder in range(1_000):
        lines.allow(holder, 0.0)
    assert lines.kept_back == 997
    assert lines.summary(10.0) is not None
