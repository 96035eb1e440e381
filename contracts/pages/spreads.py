"""How far one cell can vary: what a sum over rows changes by when the values of one row change.

A spread is an interval of public bounds, or the registered domain of a column to a power (1, or 2 for
squares), or None when nothing bounds the cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from contracts.pages.limits import NUMBER_BITS_MAX


@dataclass(frozen=True, slots=True)
class Interval:
    """Public bounds of a cell."""

    low: Fraction
    high: Fraction


@dataclass(frozen=True, slots=True)
class Domain:
    """The domain that the owner of a column registered, to a power."""

    column: int
    power: int


Spread = Interval | Domain | None
BIT = Interval(Fraction(0), Fraction(1))


def hull(parts: Sequence[Spread]) -> Spread:
    """Return a spread that covers each of several."""
    if not parts:
        return None
    if all(part == parts[0] for part in parts):
        return parts[0]
    bounds = [part for part in parts if isinstance(part, Interval)]
    if len(bounds) < len(parts):
        return None
    return Interval(min(part.low for part in bounds), max(part.high for part in bounds))


def through(name: str, parts: Sequence[Spread]) -> Spread:
    """Return the spread of what a primitive makes of cells with these."""
    if name in ("less", "less_equal", "equal", "is", "and", "or", "not", "cut", "one_hot", "bins", "sigmoid"):
        return BIT
    if name == "where":
        return hull(parts[1:])
    if name in ("minimum", "maximum"):
        return _between(name, parts)
    if any(not isinstance(part, Interval) for part in parts):
        return None
    return _arithmetic(name, [part for part in parts if isinstance(part, Interval)])


def _between(name: str, parts: Sequence[Spread]) -> Spread:
    """Bound one side by the side of an interval; the other stays as it was, if anything bounds it."""
    known = [part for part in parts if isinstance(part, Interval)]
    choose = min if name == "minimum" else max
    if len(known) == 2:
        return Interval(choose(part.low for part in known), choose(part.high for part in known))
    return None


def _arithmetic(name: str, parts: Sequence[Interval]) -> Spread:
    if name == "add":
        return _bounded(parts[0].low + parts[1].low, parts[0].high + parts[1].high)
    if name == "subtract":
        return _bounded(parts[0].low - parts[1].high, parts[0].high - parts[1].low)
    if name == "negative":
        return _bounded(-parts[0].high, -parts[0].low)
    if name == "absolute":
        reach = max(abs(parts[0].low), abs(parts[0].high))
        return _bounded(Fraction(0), reach)
    if name == "multiply":
        products = [one * other for one in _ends(parts[0]) for other in _ends(parts[1])]
        return _bounded(min(products), max(products))
    return None


def _ends(part: Interval) -> tuple[Fraction, Fraction]:
    return part.low, part.high


def _bounded(low: Fraction, high: Fraction) -> Spread:
    widest = max(part.bit_length() for end in (low, high) for part in (end.numerator, end.denominator))
    return Interval(low, high) if widest <= NUMBER_BITS_MAX else None
