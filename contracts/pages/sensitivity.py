"""What a sum or count changes by at most when one row's values of one owner's columns are replaced.

The rows that are joined stay as they are. Noise is scaled by this. Of a release with k atoms (`noise_on`)
each spends a k-th of the whole: under `laplace(epsilon)` every number of an atom gets discrete Laplace noise
of scale l1 * k / epsilon, under `gaussian(epsilon, delta)` noise of variance k * l2^2 / (2 * rho), where rho
is `zcdp.rho_of_gaussian(epsilon, delta)`; l1 and l2 are those of `greatest`. Another split is right as long
as its shares add up to no more. A sum that gets noise inside the computation (noised.py) has it all to
itself, and a turn of n has an n-th: scale l1 * n / epsilon, variance n * l2^2 / (2 * rho).

Both are of what shares hold, not of real numbers: `spreads.py` rounds bounds outwards to multiples of 2^-16
and widens what products make by their error, and sums of shares are exact. So they hold for a run that clips
registered columns to their domain, and in which an owner that adds up its own reals rounds each of them
first, since a sum of floats is rounded by what stands in other rows. A real is a whole number of 2^-16 on
shares, and noise on that is scaled by 2^16 times as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt

from contracts.pages.faults import Unfit
from contracts.pages.graph import Graph
from contracts.pages.labels import Atom, Choice, Columns, SummedCells
from contracts.pages.releases import DatasetRead
from contracts.pages.spreads import Domain, Interval
from contracts.pages.types import Shape, Size

_ROOT_BITS = 32
"""Bits after the point of a root that is rounded up."""


def sensitivity(atom: Atom, columns: Columns) -> tuple[Fraction, Fraction]:
    """Return (l1, l2) over all numbers of an atom for the columns of one owner; l2 is rounded up.

    Both are 0 where none of them has a part in it. Raise Unfit (DOMAIN_NOT_REGISTERED, NOISE_UNBOUNDED) where
    nothing bounds it yet, or at all.
    """
    return _moved(atom, [(part, part.columns & columns != 0) for part in atom.parts], columns)


def of_joining(atom: Atom) -> tuple[Fraction, Fraction]:
    """Return (l1, l2) of an atom without values: what one row adds that belongs or does not."""
    return _moved(atom, [(part, False) for part in atom.parts], None)


def greatest(graph: Graph, datasets: Sequence[DatasetRead], atom: Atom) -> tuple[Fraction, Fraction]:
    """Return the greatest (l1, l2) of an atom over all owners; of joined rows alone, those of one row."""
    for part in atom.parts:
        if isinstance(part.spread, Domain):
            read = graph.columns[part.spread.column]
            raise _no_domain(f"{datasets[read.dataset].name}.{read.column}")
    if not atom.label.values:
        return of_joining(atom)
    owners = sorted({dataset.owner for dataset in datasets})
    found = [sensitivity(atom, columns_of(graph, datasets, owner)) for owner in owners]
    return max(l1 for l1, _ in found), max(l2 for _, l2 in found)


def columns_of(graph: Graph, datasets: Sequence[DatasetRead], owner: str) -> Columns:
    """Return the columns of all datasets of an owner: a row of a join may hold values of several."""
    found = 0
    for place, read in enumerate(graph.columns):
        if datasets[read.dataset].owner == owner:
            found |= 1 << place
    return found


def _moved(
    atom: Atom, parts: Sequence[tuple[SummedCells, bool]], columns: Columns | None
) -> tuple[Fraction, Fraction]:
    if not atom.bounded:
        reason = "nothing bounds what one row changes here"
        raise Unfit("NOISE_UNBOUNDED", reason, "sums and means of clip(x, low, high)")
    rows = columns is None or atom.choice.rows & columns != 0
    by = columns is not None and atom.choice.by & columns != 0
    total, squares = Fraction(0), Fraction(0)
    for part, varies in parts:
        one, two = _of_part(part, atom.choice, varies, rows, by)
        times = _number(part.cells)
        total, squares = total + times * one, squares + times * two
    return total, _root_up(squares)


def _of_part(
    part: SummedCells, choice: Choice, varies: bool, rows: bool, by: bool
) -> tuple[Fraction, Fraction]:
    """Return (l1, square of l2) of one cell of a part over all groups.

    `varies` says whether the cell itself may change, `rows` whether the row may come to count or no more,
    `by` whether its groups may.
    """
    ends = part.spread
    if not isinstance(ends, Interval):
        raise _no_domain("a column")
    width, reach = ends.high - ends.low, max(abs(ends.low), abs(ends.high))
    moves = by and choice.apart and choice.groups != 1
    if part.choices != 1:
        return _of_choices(ends, choice, varies or moves, rows or by)
    if moves:  # from one group to another, or the greatest change within one
        return 2 * reach, max(2 * reach**2, width**2 if varies else Fraction(0))
    change = Fraction(0)
    if rows or by:  # from nothing to a value, or between two values
        change = max(ends.high, Fraction(0)) - min(ends.low, Fraction(0)) if varies else reach
    elif varies:
        change = width
    groups = 1 if choice.apart else _number((choice.groups,))
    return groups * change, groups * change**2


def _no_domain(column: str) -> Unfit:
    return Unfit(
        "DOMAIN_NOT_REGISTERED",
        f"noise covers a sum of {column}, whose schema declares no low and high",
        "clip(x, low, high), or a version whose schema declares both",
    )


def _of_choices(ends: Interval, choice: Choice, varies: bool, comes: bool) -> tuple[Fraction, Fraction]:
    """Return the same of cells of which one is not 0: another is in its place, or it changes itself."""
    reach, within = (
        max(abs(ends.low), abs(ends.high)),
        max(ends.high, Fraction(0)) - min(ends.low, Fraction(0)),
    )
    one = two = Fraction(0)
    if varies:
        one, two = 2 * reach, max(2 * reach**2, within**2)
    elif comes:
        one, two = reach, reach**2
    groups = 1 if choice.apart else _number((choice.groups,))
    return groups * one, groups * two


def _number(shape: Shape) -> int:
    """Return how many cells a shape has, or raise Unfit where it counts what is not registered."""
    total = 1
    for size in shape:
        total *= _known(size)
    return total


def _known(size: Size) -> int:
    if isinstance(size, int):
        return size
    raise Unfit(
        "DOMAIN_NOT_REGISTERED",
        "a sum with noise has as many numbers as a column has categories or bins, which are not registered",
        "a version whose schema declares categories or edges, or public edges: bins(x, edges=[…])",
    )


def _root_up(square: Fraction) -> Fraction:
    """Return the root, rounded up to a multiple of 2^-32 unless it is exact."""
    over, under = isqrt(square.numerator), isqrt(square.denominator)
    if over * over == square.numerator and under * under == square.denominator:
        return Fraction(over, under)
    scaled = -(-(square.numerator << 2 * _ROOT_BITS) // square.denominator)
    root = isqrt(scaled)
    return Fraction(root + (root * root < scaled), 1 << _ROOT_BITS)
