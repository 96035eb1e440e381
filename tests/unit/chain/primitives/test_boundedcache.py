"""The bounded cache: what it keeps, what it forgets first, and that its account of weights is exact."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.boundedcache import BoundedCache

MAX, EXTRA = 100, 7
STEPS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60)), max_size=60)


def weigh(value: bytes) -> int:
    return len(value) + EXTRA


def items(cache: BoundedCache[int, bytes]) -> dict[int, bytes]:
    return dict(cache._items)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(STEPS)
def test_it_holds_the_last_values_added_within_its_bound_and_forgets_no_more_than_it_must(
    steps: list[tuple[int, int]],
) -> None:
    """A value that replaces another counts as added last; beyond 15 values an eighth goes at once."""
    cache: BoundedCache[int, bytes] = BoundedCache(MAX, weigh)
    for key, size in steps:
        before, value = items(cache), bytes(size)
        assert cache.add(key, value) is value
        before.pop(key, None)
        whole = {**before, key: value}
        held = items(cache)
        assert cache.get(key) is value, "the value added last is held, whatever it weighs"
        assert list(held) == list(whole)[len(whole) - len(held) :]
        assert sum(map(weigh, held.values())) <= MAX or len(held) == 1
        assert cache._weight == sum(map(weigh, held.values()))
        if sum(map(weigh, whole.values())) <= MAX:
            assert held == whole
        elif len(whole) < 16 and len(held) < len(whole):
            one_more = list(whole.values())[len(whole) - len(held) - 1 :]
            assert sum(map(weigh, one_more)) > MAX


def test_without_weights_it_counts_values_and_forgets_an_eighth_of_many_at_once() -> None:
    cache: BoundedCache[int, str] = BoundedCache(80)
    for key in range(80):
        cache.add(key, "")
    cache.add(79, "again")
    assert len(cache) == 80
    cache.add(80, "")
    assert [key for key in range(81) if cache.get(key) is None] == list(range(10))


def test_a_value_that_is_known_is_not_made_again_though_it_is_empty() -> None:
    made: list[int] = []

    def make(key: int) -> str:
        made.append(key)
        return ""

    cache: BoundedCache[int, str] = BoundedCache(2)
    assert [cache.get_or_make(key, make) for key in (1, 1, 2, 3, 1)] == [""] * 5
    assert made == [1, 2, 3, 1]
