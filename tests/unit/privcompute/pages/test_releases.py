"""Results of pages hold no floats: quotients are the nearest decimals."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.pages.releases import decimal_text


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.integers(-(2**70), 2**70), st.integers(1, 2**40), st.integers(1, 9))
def test_decimal_text_is_the_nearest_decimal(numerator: int, denominator: int, digits: int) -> None:
    text = decimal_text(numerator, denominator, digits)
    assert abs(Fraction(text) - Fraction(numerator, denominator)) <= Fraction(1, 2 * 10**digits)
    assert text != "-0." + "0" * digits
