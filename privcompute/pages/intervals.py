"""Between what a figure lies without its noise, with 95 %: an interval for each number of a release.

The receiver has the sums and counts with noise that a release follows from, and knows how they were drawn. Of
a number that follows from m of their cells, each cell without noise lies within the reach that noise exceeds
with a chance of 5 % / m, so all of them do at once with 95 % (Bonferroni). The figure is then taken of these
ranges as the page takes it of numbers, each primitive outwards (Moore: "Interval Analysis", 1966). So an
interval holds the figure with 95 % or more; that of a single sum or count is as narrow as can be, one of a
figure that takes a cell several times may be far too wide. It is of noise alone: of clipped cells, and of no
error of sampling. All of it is exact fractions, rounded outwards to 2^-48, so that a result is the same
wherever it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.values import Value
from contracts.pages.limits import LAPLACE_DELTA
from contracts.pages.numbers import read_number
from contracts.pages.plan import Plan
from contracts.pages.releases import NOISED
from privcompute.mpc.ring import FRACTION_BITS
from privcompute.pages.inputs import PageRun, size_of
from privcompute.pages.noise import Noise, noise_of, reach
from privcompute.pages.noisy import behind

LEVEL = Fraction(95, 100)
CELLS_MAX = 20_000
"""Cells of all values of one formula; beyond, a release has no intervals."""
_GRID = 1 << 48
_FAR = Fraction(1 << 62)
"""Beyond whatever shares hold: the end of a range that nothing bounds."""
_SAID = Fraction(1 << 50)
"""An end beyond it is said to be none."""
_DECIMAL = Context(prec=40)
_ERROR = Fraction(1, 10**36)
_EXP_GREATEST = 21


@dataclass(frozen=True, slots=True)
class Range:
    """A number between two others, which rests on some cells with noise."""

    low: Fraction
    high: Fraction
    rests: int = 0
    """A set of cells: bit i stands for the one of number i."""


# --- what is written down of a release -------------------------------------------------------------------
def formula_of(plan: Plan, number: int, run: PageRun) -> Value:
    """Return how a release follows from its sums and counts, as a value that `interval` reads.

    {mechanism, epsilon, delta, atoms: [[mechanism, size, real]], steps: [[name, args, attrs, shape]]}; there
    are no steps where no interval can be said.
    """
    asked, noise = plan.asked[number], noise_of(plan, number)
    if asked.mechanism == NOISED:
        return _within(plan, number, run)
    atoms = sorted(noise)
    shapes = {atom: [size_of(run, size) for size in plan.graph.cells[atom].shape] for atom in atoms}
    numbers = sum(math.prod(shape) for shape in shapes.values())
    delta = numbers * LAPLACE_DELTA if asked.mechanism == "laplace" else read_number(asked.delta)
    return {
        "mechanism": asked.mechanism,
        "epsilon": _decimal(read_number(asked.epsilon)),
        "delta": _decimal(delta),
        "atoms": [
            [noise[atom].mechanism, str(noise[atom].size), plan.graph.cells[atom].kind == "real"]
            for atom in atoms
        ],
        "steps": _steps(plan, number, run, atoms),
    }


def _within(plan: Plan, number: int, run: PageRun) -> Value:
    """Return the same of a release whose noise was drawn inside: that of all that it follows from."""
    found = behind(plan.graph, [plan.asked[number].value], ())
    every = [one for one in plan.noised if one.node in found]
    delta = Fraction(0)
    for one in every:
        shape = [size_of(run, size) for size in plan.graph.cells[one.node].shape]
        laplace = LAPLACE_DELTA * one.turns * math.prod(shape)
        delta += laplace if one.mechanism == "laplace" else read_number(one.delta)
    return {
        "mechanism": " and ".join(sorted({one.mechanism for one in every})),
        "epsilon": _decimal(sum((read_number(one.epsilon) for one in every), Fraction(0))),
        "delta": _decimal(delta),
        "atoms": [],
        "steps": [],
    }


def _decimal(number: Fraction) -> str:
    """Return a number as text with three digits that count, rounded up where it has more."""
    exact = _DECIMAL.divide(Decimal(number.numerator), Decimal(number.denominator))
    short = Context(prec=3, rounding="ROUND_UP").plus(exact)
    return f"{short.normalize():f}" if short >= Decimal("0.000001") else f"{short:.2e}"


def _steps(plan: Plan, number: int, run: PageRun, atoms: Sequence[int]) -> list[Value]:
    graph = plan.graph
    nodes = sorted(behind(graph, [plan.asked[number].value], atoms))
    place = {node: count for count, node in enumerate(nodes)}
    made: list[Value] = []
    cells = 0
    for node in nodes:
        name, atom = graph.name(node), node in atoms
        if not atom and (name not in _KNOWN or graph.cells[node].by_row or graph.homes[node] != -1):
            return []
        shape = [size_of(run, size) for size in graph.cells[node].shape]
        cells += math.prod(shape)
        args = [] if atom else [place[arg] for arg in graph.args[node]]
        attrs = [str(atoms.index(node))] if atom else list(graph.attrs[node])
        made.append(["atom" if atom else name, args, attrs, shape])
    return made if cells <= CELLS_MAX else []


# --- ranges ----------------------------------------------------------------------------------------------
def interval(formula: Value, atoms: Sequence[NDArray[Any]], *, real: bool) -> Value:
    """Return {level, low, high} of what was opened of each sum and count; None where nothing can be said.

    Ends are whole numbers, or decimal text if `real`, in lists as deep as the figure's axes.
    """
    said: dict[str, Value] = {"level": "0.95", "low": None, "high": None}
    if not formula["steps"]:
        return said
    noise = [Noise(mechanism, Fraction(size)) for mechanism, size, _ in formula["atoms"]]
    units = [
        Fraction(1, 1 << FRACTION_BITS) if is_real else Fraction(1) for _, _, is_real in formula["atoms"]
    ]
    rests = _ranges(formula["steps"], atoms, [Fraction(0)] * len(atoms), units)
    most = max((one.rests.bit_count() for one in rests.flat), default=1)
    chance = (1 - LEVEL) / max(1, most)
    reaches = [reach(one, chance) * unit for one, unit in zip(noise, units, strict=True)]
    found = _ranges(formula["steps"], atoms, reaches, units)
    said["low"] = _nested(found, lambda one: _end(one.low, real, math.floor))
    said["high"] = _nested(found, lambda one: _end(one.high, real, math.ceil))
    return said


def _ranges(
    steps: Sequence[Value],
    atoms: Sequence[NDArray[Any]],
    reaches: Sequence[Fraction],
    units: Sequence[Fraction],
) -> NDArray[Any]:
    starts = np.cumsum([0, *[np.size(atom) for atom in atoms]]).tolist()
    values: list[NDArray[Any]] = []
    for name, args, attrs, shape in steps:
        x = [values[arg] for arg in args]
        if name == "atom":
            which = int(attrs[0])
            values.append(_of_atom(atoms[which], reaches[which], units[which], starts[which]))
        else:
            values.append(np.broadcast_to(_value(name, x, attrs), tuple(shape)))
    return values[-1]


def _of_atom(cells: NDArray[Any], far: Fraction, unit: Fraction, start: int) -> NDArray[Any]:
    flat = [int(cell) * unit for cell in np.asarray(cells).flat]
    ranges = [Range(cell - far, cell + far, 1 << start + place) for place, cell in enumerate(flat)]
    return _array(ranges, np.shape(cells))


def _array(ranges: Sequence[Range], shape: tuple[int, ...]) -> NDArray[Any]:
    made = np.empty(len(ranges), dtype=object)
    made[:] = ranges
    return made.reshape(shape)


def _value(name: str, x: Sequence[NDArray[Any]], attrs: Sequence[str]) -> NDArray[Any]:
    if name in ("number", "fill"):
        number = read_number(attrs[0])
        return _array([Range(number, number)], ())
    if name == "clip":
        low, high = map(read_number, attrs)
        return _each(lambda one: _rising(one, lambda end: min(max(end, low), high)), x)
    if name in _CELLS:
        return _each(_CELLS[name], x)
    if name == "sum":
        return np.asarray(np.frompyfunc(_CELLS["add"], 2, 1).reduce(x[0], axis=int(attrs[0])))
    if name == "take":
        return np.asarray(np.take(x[0], int(attrs[1]), axis=int(attrs[0])))
    if name == "spread":
        return np.expand_dims(x[0], int(attrs[0]))
    if name == "transpose":
        return np.transpose(x[0])
    return np.stack(x, axis=-1) if name == "stack" else np.concatenate(x, axis=-1)


def _each(work: Callable[..., Range], x: Sequence[NDArray[Any]]) -> NDArray[Any]:
    made = np.frompyfunc(work, len(x), 1)(*x)
    return made if isinstance(made, np.ndarray) else _array([made], ())


def _made(low: Fraction, high: Fraction, *of: Range) -> Range:
    """Return a range with its ends outwards on the grid."""
    rests = 0
    for one in of:
        rests |= one.rests
    return Range(
        max(-_FAR, Fraction(math.floor(low * _GRID), _GRID)),
        min(_FAR, Fraction(math.ceil(high * _GRID), _GRID)),
        rests,
    )


def _rising(one: Range, work: Callable[[Fraction], Fraction]) -> Range:
    return _made(work(one.low), work(one.high), one)


def _multiply(one: Range, other: Range) -> Range:
    ends = [a * b for a in (one.low, one.high) for b in (other.low, other.high)]
    return _made(min(ends), max(ends), one, other)


def _divide(one: Range, other: Range) -> Range:
    if other.low <= 0:
        return Range(-_FAR, _FAR, one.rests | other.rests)
    ends = [a / b for a in (one.low, one.high) for b in (other.low, other.high)]
    return _made(min(ends), max(ends), one, other)


def _absolute(one: Range) -> Range:
    low = Fraction(0) if one.low <= 0 <= one.high else min(abs(one.low), abs(one.high))
    return _made(low, max(abs(one.low), abs(one.high)), one)


def _sqrt(one: Range) -> Range:
    low, high = (max(Fraction(0), end) * _GRID**2 for end in (one.low, one.high))
    return _made(
        Fraction(math.isqrt(math.floor(low)), _GRID), Fraction(math.isqrt(math.ceil(high)) + 1, _GRID), one
    )


def _outwards(one: Range, work: Callable[[Decimal], Decimal]) -> Range:
    """Return the range of a rising function, computed to 40 digits."""
    ends = [
        Fraction(work(_DECIMAL.divide(Decimal(end.numerator), Decimal(end.denominator))))
        for end in (one.low, one.high)
    ]
    return _made(ends[0] - abs(ends[0]) * _ERROR, ends[1] + abs(ends[1]) * _ERROR, one)


def _exp(one: Range) -> Range:
    within = Range(min(one.low, Fraction(_EXP_GREATEST)), min(one.high, Fraction(_EXP_GREATEST)), one.rests)
    return _outwards(within, lambda end: _DECIMAL.exp(max(end, Decimal(-200))))


def _log(one: Range) -> Range:
    if one.low <= 0:
        high = _FAR if one.high <= 0 else max(Fraction(0), _log(Range(one.high, one.high)).high)
        return Range(-_FAR, high, one.rests)
    return _outwards(one, _DECIMAL.ln)


def _sigmoid(one: Range) -> Range:
    return _outwards(
        one,
        lambda end: _DECIMAL.divide(
            Decimal(1), 1 + _DECIMAL.exp(min(max(-end, Decimal(-200)), Decimal(200)))
        ),
    )


def _bit(
    certain: Callable[[Range, Range], bool], never: Callable[[Range, Range], bool]
) -> Callable[..., Range]:
    def work(one: Range, other: Range) -> Range:
        return _made(Fraction(certain(one, other)), Fraction(not never(one, other)), one, other)

    return work


def _where(bit: Range, one: Range, other: Range) -> Range:
    taken = [*([one] if bit.high > 0 else []), *([other] if bit.low < 1 else [])]
    return _made(min(each.low for each in taken), max(each.high for each in taken), bit, one, other)


_CELLS: Mapping[str, Callable[..., Range]] = {
    "real": lambda one: one,
    "add": lambda one, other: _made(one.low + other.low, one.high + other.high, one, other),
    "subtract": lambda one, other: _made(one.low - other.high, one.high - other.low, one, other),
    "multiply": _multiply,
    "divide": _divide,
    "negative": lambda one: _made(-one.high, -one.low, one),
    "absolute": _absolute,
    "minimum": lambda one, other: _made(min(one.low, other.low), min(one.high, other.high), one, other),
    "maximum": lambda one, other: _made(max(one.low, other.low), max(one.high, other.high), one, other),
    "sqrt": _sqrt,
    "exp": _exp,
    "log": _log,
    "sigmoid": _sigmoid,
    "less": _bit(lambda one, other: one.high < other.low, lambda one, other: one.low >= other.high),
    "less_equal": _bit(lambda one, other: one.high <= other.low, lambda one, other: one.low > other.high),
    "equal": _bit(
        lambda one, other: one.low == one.high == other.low == other.high,
        lambda one, other: one.high < other.low or other.high < one.low,
    ),
    "and": _multiply,
    "or": lambda one, other: _made(max(one.low, other.low), max(one.high, other.high), one, other),
    "not": lambda one: _made(1 - one.high, 1 - one.low, one),
    "where": _where,
}
_KNOWN = frozenset(
    {*_CELLS, "number", "fill", "clip", "sum", "take", "spread", "transpose", "stack", "concat"}
)


def _end(end: Fraction, real: bool, rounded: Callable[[Fraction], int]) -> Value:
    """Return an end of an interval, outwards in six digits after the point; None where nothing bounds it."""
    if abs(end) >= _SAID:
        return None
    if not real:
        return rounded(end)
    scaled = rounded(end * 10**6)
    whole, rest = divmod(abs(scaled), 10**6)
    return f"{'-' if scaled < 0 else ''}{whole}.{rest:06d}"


def _nested(cells: NDArray[Any], said: Callable[[Range], Value]) -> Value:
    if cells.ndim == 0:
        return said(cells.item())
    return [_nested(cells[place : place + 1].reshape(cells.shape[1:]), said) for place in range(len(cells))]
