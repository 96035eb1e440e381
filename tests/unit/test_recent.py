"""The dict in two generations, and the filter of recent ids."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger import finals
from chain.ledger.finals import RecentIds
from chain.ledger.recent import Recent

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 9), st.integers(1, 60)),
        st.tuples(st.just("get"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("discard"), st.integers(0, 9), st.just(0)),
    ),
    max_size=80,
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(STEPS)
def test_what_is_held_never_weighs_more_than_twice_the_bound_and_is_what_was_put_last(
    steps: list[tuple[str, int, int]],
) -> None:
    """Values may grow in place: their weight counts, too."""
    recent: Recent[int, bytes] = Recent(100, lambda _key, value: len(value))
    model: dict[int, bytes] = {}
    for step, key, size in steps:
        if step == "put":
            model[key] = bytes([size]) * size
            recent.put(key, model[key])
            assert recent.get(key) == model[key]
        elif step == "discard":
            model.pop(key, None)
            recent.discard([key])
            assert recent.get(key) is None
        else:
            assert recent.get(key) in (None, model.get(key))
        held = [value for generation in (recent._items, recent._former) for value in generation.values()]
        assert sum(map(len, held)) <= 200


def test_what_was_put_since_the_generation_before_is_remembered() -> None:
    recent: Recent[int, bytes] = Recent(10, lambda _key, value: len(value))
    for key in range(12):
        recent.put(key, b"x")
    assert [recent.get(key) for key in range(12)] == [b"x"] * 12


def test_no_id_of_the_last_window_is_forgotten_and_few_others_are_taken_for_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(finals, "WINDOW", 5)
    monkeypatch.setattr(finals, "BITS", 1 << 14)
    monkeypatch.setattr(finals, "_MASK", (1 << 14) - 1)
    source, recent = random.Random(7), RecentIds()
    heights: list[list[bytes]] = []
    for _ in range(23):
        heights.append([source.randbytes(32) for _ in range(50)])
        recent.add(heights[-1])
        assert all(tx_id in recent for height in heights[-5:] for tx_id in height)
    strangers = [source.randbytes(32) for _ in range(2_000)]
    assert sum(tx_id in recent for tx_id in strangers) < 40
    assert not any(tx_id in recent for tx_id in heights[0][:5]), "two windows later it is forgotten"
