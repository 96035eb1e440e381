"""Public numbers: exact fractions within a cap, whose canonical text is `a` or `a/b`."""

from __future__ import annotations

import re
from fractions import Fraction

from contracts.pages.faults import Unfit
from contracts.pages.limits import EXPONENT_MAX, NUMBER_BITS_MAX

_TEXT = re.compile(r"(0|-?[1-9][0-9]{0,39})(?:/([1-9][0-9]{0,39}))?")
PLAIN_DIGITS = 18
"""Decimal places of numbers that people read: as many as the accounts of datasets count."""
_SAYS = f"a number of more than {NUMBER_BITS_MAX} bits above or below its line"


def bounded(number: Fraction) -> Fraction:
    """Return a number within the cap, or raise Unfit."""
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > NUMBER_BITS_MAX:
        raise Unfit("NUMBER", _SAYS, "smaller numbers, or fewer digits")
    return number


def power(base: Fraction, exponent: Fraction) -> Fraction:
    """Return base to a small whole exponent, or raise Unfit."""
    if exponent.denominator != 1 or abs(exponent) > EXPONENT_MAX or (exponent < 0 and base == 0):
        raise Unfit(
            "NUMBER", "an exponent that is not whole, or large", f"whole, {-EXPONENT_MAX} to {EXPONENT_MAX}"
        )
    longest = max(base.numerator.bit_length(), base.denominator.bit_length())
    if longest * abs(int(exponent)) > 2 * NUMBER_BITS_MAX + EXPONENT_MAX:
        raise Unfit("NUMBER", _SAYS, "smaller numbers, or fewer digits")
    return bounded(base ** int(exponent))


def number_text(number: Fraction) -> str:
    """Return the canonical text."""
    return str(number)


def plain_text(number: Fraction) -> str:
    """Return a number as people write it: decimals where it has few, such as 0.000001, else a fraction."""
    for digits in range(PLAIN_DIGITS + 1):
        scaled = number * 10**digits
        if scaled.denominator == 1:
            sign, figures = "-" if scaled < 0 else "", f"{abs(int(scaled)):0{digits + 1}d}"
            return sign + (f"{figures[:-digits]}.{figures[-digits:]}" if digits else figures)
    return str(number)


def read_number(text: str) -> Fraction:
    """Read a canonical text, or raise Unfit."""
    match = _TEXT.fullmatch(text)
    if match is not None:
        number = Fraction(int(match[1]), int(match[2] or 1))
        if str(number) == text:
            return bounded(number)
    raise Unfit("ATTRIBUTE", f"{text[:40]!r} is no number", "a canonical fraction, such as 3/4")
