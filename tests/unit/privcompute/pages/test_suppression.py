"""Groups too small to be shown are hidden, and one more where their total would tell."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.mpc.local import run_local
from privcompute.mpc.plaintext_engine import PlaintextEngine
from privcompute.pages.suppression import shown_groups

PROPERTY = settings(max_examples=40, deadline=None, derandomize=True)


def shown(counts: list[int], least: int) -> list[int]:
    engine = PlaintextEngine()
    found = run_local([shown_groups(engine, engine.constant(counts), least)]).results[0]
    return [int(bit) for bit in found.words[0]]


@PROPERTY
@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(1, 12))
def test_no_group_below_the_minimum_is_shown_nor_follows_from_the_total(
    counts: list[int], least: int
) -> None:
    bits = shown(counts, least)
    hidden = [count for count, bit in zip(counts, bits, strict=True) if not bit]
    assert all(count >= least for count, bit in zip(counts, bits, strict=True) if bit)
    assert not hidden or sum(hidden) >= least or len(hidden) == len(counts)
    if all(count >= least for count in counts):
        assert all(bits)


def test_the_smallest_other_group_hides_a_lone_small_one() -> None:
    assert shown([50, 3, 20, 90], 5) == [1, 0, 0, 1]
    assert shown([50, 3, 4, 90], 5) == [1, 0, 0, 1]
    assert shown([50, 5, 90], 5) == [1, 1, 1]
