"""The dict of bounded size, and the filter of recent ids."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger import finals
from chain.ledger.finals import RecentIds
from chain.ledger.recent import Recent

MAX, EXTRA = 100, 7
KEYS = st.integers(0, 9)
SIZES = st.integers(0, 60)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.tuples(KEYS, SIZES)),
        st.tuples(st.just("update"), st.dictionaries(KEYS, SIZES, max_size=6)),
    ),
    max_size=60,
)


class Modelled:
    """A `Recent` and the dict that it would be if it never forgot."""

    def __init__(self) -> None:
        self.recent: Recent[int, bytearray] = Recent(MAX, EXTRA)
        self.model: dict[int, bytearray] = {}

    def step(self, step: str, what: Any) -> None:
        if step == "add":
            key, size = what
            if self.recent.get(key) is None:
                self.model[key] = bytearray(size)
                self.recent.add(key, self.model[key])
        else:
            values = {key: bytearray(size) for key, size in what.items()}
            self.model |= values
            self.recent.update(values)

    def held(self) -> dict[int, bytearray]:
        return dict(self.recent._items)


def weight(values: dict[int, bytearray]) -> int:
    return sum(map(len, values.values())) + EXTRA * len(values)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(STEPS)
def test_what_is_held_was_given_last_and_weighs_no_more_than_the_bound_after_an_update_but_for_one_value(
    steps: list[tuple[str, Any]],
) -> None:
    modelled = Modelled()
    for step, what in steps:
        modelled.step(step, what)
        held = modelled.held()
        for key in range(10):
            assert modelled.recent.get(key) is held.get(key)
            assert held.get(key) in (None, modelled.model.get(key))
            assert key not in held or held[key] is modelled.model[key]
        if step == "update":
            assert modelled.recent._bytes <= MAX or len(held) == 1
            assert not what or held, "one value is held, whatever it weighs"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(STEPS)
def test_its_account_is_exact_after_every_step_also_when_something_was_forgotten(
    steps: list[tuple[str, Any]],
) -> None:
    modelled = Modelled()
    for step, what in steps:
        modelled.step(step, what)
        assert modelled.recent._bytes == weight(modelled.held())


@settings(max_examples=300, deadline=None, derandomize=True)
@given(STEPS)
def test_it_forgets_what_it_has_known_longest_first_and_only_when_it_must(
    steps: list[tuple[str, Any]],
) -> None:
    """A value that takes the place of a former one is as old as that one."""
    modelled = Modelled()
    for step, what in steps:
        before = modelled.held()
        modelled.step(step, what)
        if step == "add":
            assert before.items() <= modelled.held().items(), "only an update makes room"
        if step != "update":
            continue
        new = what
        whole = {**before, **{key: modelled.model[key] for key in new}}
        held = modelled.held()
        assert list(held) == list(whole)[len(whole) - len(held) :]
        if weight(whole) <= MAX:
            assert held == whole
        else:
            one_more = dict(list(whole.items())[len(whole) - len(held) - 1 :])
            assert len(whole) >= 16 or weight(one_more) > MAX, "few are forgotten one by one"


def test_of_many_values_an_eighth_is_forgotten_at_once() -> None:
    recent: Recent[int, bytes] = Recent(80 * (1 + EXTRA), EXTRA)
    for key in range(80):
        recent.add(key, b"x")
    assert recent._bytes == recent._bytes_max
    recent.update({80: b"x"})
    assert [key for key in range(81) if recent.get(key) is None] == list(range(10))
    assert recent._bytes == 71 * (1 + EXTRA)


def test_a_value_larger_than_the_bound_takes_the_place_of_all_others_until_the_next_one() -> None:
    recent: Recent[int, bytes] = Recent(MAX, EXTRA)
    for key in range(5):
        recent.add(key, b"x")
    recent.update({5: bytes(2 * MAX)})
    assert [key for key in range(6) if recent.get(key) is not None] == [5]
    recent.update({6: b"x"})
    assert [key for key in range(7) if recent.get(key) is not None] == [6]
    assert recent._bytes == 1 + EXTRA


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
