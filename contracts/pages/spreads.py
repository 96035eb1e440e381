"""How far one cell can vary: what a sum over rows changes by when the values of one row change.

A spread is an interval of public bounds, or None when nothing bounds the cell; or, where a page is read
before domains are registered, the domain of a column without which nothing is known: a job reads it again.
Intervals hold what shares hold: bounds of reals lie on multiples of 2^-16, outwards, and a step that rounds
widens them by its error (privcompute/pages/README.md). What may leave the range of shares has no spread:
there 2^63 - 1 and one more are far apart, so no interval of exact numbers says how far a comparison or a
rounded product can vary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from contracts.pages.limits import NUMBER_BITS_MAX


@dataclass(frozen=True, slots=True)
class Interval:
    """Public bounds of a cell."""

    low: Fraction
    high: Fraction


@dataclass(frozen=True, slots=True)
class Domain:
    """The domain of a column, without which nothing is known: its owner has yet to register it."""

    column: int
    typed: bool
    """Whether the schema is known, and declares none: then nothing bounds what is computed of the column."""


Spread = Interval | Domain | None
BIT = Interval(Fraction(0), Fraction(1))
ULP = Fraction(1, 1 << 16)
"""The step of reals on shares."""
WHOLE_MOST, REAL_MOST = Fraction(1 << 46), Fraction(1 << 30)
"""Magnitudes up to which every primitive is right on shares, of whole numbers and of reals."""
_BOUNDED = frozenset({"add", "subtract", "negative", "absolute", "multiply"})
_PRODUCT_ERROR = 4 * ULP
"""Of a product, beside 2^-32 of its value."""
_SIGMOID = Interval(-6 * ULP, 1 + 6 * ULP)
"""Its range with its error of 0.00008."""


def hull(parts: Sequence[Spread]) -> Spread:
    """Return a spread that covers each of several."""
    if not parts or any(part is None for part in parts):
        return None
    if all(part == parts[0] for part in parts):
        return parts[0]
    bounds = [part for part in parts if isinstance(part, Interval)]
    if len(bounds) < len(parts):
        return awaited(parts)
    return Interval(min(part.low for part in bounds), max(part.high for part in bounds))


def awaited(parts: Sequence[Spread]) -> Domain | None:
    """Return the first domain that is known once schemas are; None without, or where a part has no bounds."""
    domains = [part for part in parts if isinstance(part, Domain)]
    if None in parts or any(domain.typed for domain in domains):
        return None
    return domains[0] if domains else None


def in_range(spread: Spread, real: bool) -> Spread:
    """Return the spread of cells that shares hold; None where they may leave the range of shares."""
    if isinstance(spread, Interval):
        most = REAL_MOST if real else WHOLE_MOST
        return spread if max(abs(spread.low), abs(spread.high)) <= most else None
    return spread


def held(low: Fraction, high: Fraction, real: bool) -> Interval:
    """Return what cells between two bounds are between on shares."""
    if not real:
        return Interval(low, high)
    return Interval(floor(low / ULP) * ULP, ceil(high / ULP) * ULP)


def through(name: str, parts: Sequence[Spread], real: bool) -> Spread:
    """Return the spread of what a primitive makes of cells with these; `real` says whether that is real."""
    if name in ("less", "less_equal", "equal", "is", "cut", "one_hot", "bins"):
        return BIT
    if name in ("and", "or", "not"):
        return BIT if all(isinstance(part, Interval) for part in parts) else awaited(parts)
    if name == "sigmoid":
        return _SIGMOID
    if name == "where":
        return hull(parts[1:]) if isinstance(parts[0], Interval) else awaited(parts)
    if name in ("minimum", "maximum"):
        return _between(name, parts)
    if any(not isinstance(part, Interval) for part in parts):
        return awaited(parts) if name in _BOUNDED else None
    made = _arithmetic(name, [part for part in parts if isinstance(part, Interval)], real)
    return None if made is None else _bounded(held(made.low, made.high, real))


def _between(name: str, parts: Sequence[Spread]) -> Spread:
    """Bound both sides by those of two intervals."""
    known = [part for part in parts if isinstance(part, Interval)]
    choose = min if name == "minimum" else max
    if len(known) == 2:
        return Interval(choose(part.low for part in known), choose(part.high for part in known))
    return awaited(parts)


def _arithmetic(name: str, parts: Sequence[Interval], real: bool) -> Interval | None:
    one, other = parts[0], parts[-1]
    if name == "add":
        return Interval(one.low + other.low, one.high + other.high)
    if name == "subtract":
        return Interval(one.low - other.high, one.high - other.low)
    if name == "negative":
        return Interval(-one.high, -one.low)
    if name == "absolute":
        return Interval(Fraction(0), max(abs(one.low), abs(one.high)))
    if name == "multiply":
        products = [end * with_ for end in (one.low, one.high) for with_ in (other.low, other.high)]
        error = _PRODUCT_ERROR + max(map(abs, products)) / 2**32 if real else Fraction(0)
        return Interval(min(products) - error, max(products) + error)
    return None


def summed(spread: Spread, cells: int) -> Spread:
    """Return the spread of a sum of at most so many cells with this one."""
    if not isinstance(spread, Interval):
        return awaited([spread])
    return Interval(min(spread.low, Fraction(0)) * cells, max(spread.high, Fraction(0)) * cells)


def quotient(one: Spread, other: Spread, *, whole: bool) -> Spread:
    """Return the spread of quotients, 0 where the divisor is not positive; `whole` ones are at least 1."""
    if not isinstance(one, Interval) or not isinstance(other, Interval):
        return awaited([one, other])
    if other.high >= REAL_MOST:
        return None
    least = other.low if other.low > 0 else Fraction(1)
    if other.low <= 0 and not whole:
        return None
    low, high = min(one.low, Fraction(0)) / least, max(one.high, Fraction(0)) / least
    error = _PRODUCT_ERROR + max(-low, high) / 2**32
    return _bounded(held(low - error, high + error, True))


def squared(spread: Spread, real: bool) -> Spread:
    """Return the spread of squares of cells with this one."""
    if not isinstance(spread, Interval):
        return spread
    made = through("multiply", [spread, spread], real)
    if not isinstance(made, Interval):
        return None
    least = min(abs(spread.low), abs(spread.high)) if spread.low * spread.high > 0 else Fraction(0)
    error = made.high - max(spread.low**2, spread.high**2)
    low = held(least**2 - error, made.high, real).low
    return Interval(low, made.high)


def _bounded(made: Interval) -> Spread:
    ends = (made.low, made.high)
    widest = max(part.bit_length() for end in ends for part in (end.numerator, end.denominator))
    return made if widest <= NUMBER_BITS_MAX else None
