"""Between what a figure lies without its noise, with 95 %: an interval for each number of a release.

The receiver has the sums and counts with noise that a release follows from, and knows how they were drawn. Of
a number that follows from m of their cells, each cell without noise lies within the reach that noise exceeds
with a chance of 5 % / m, so all of them do at once with 95 % (Bonferroni). The figure is then taken of these
ranges as the page takes it of numbers, each primitive outwards (Moore: "Interval Analysis", 1966). So an
interval holds the figure with 95 % or more; that of a single sum or count is as narrow as can be, one of a
figure that takes a cell several times may be far too wide. What no rows could give is cut off (a count below
0, a mean beyond what bounds its cells), which loses nothing: the figure itself is possible. It is of noise
alone: of clipped cells, and of no error of sampling. All of it is exact fractions, rounded outwards to 2^-48,
so that a result is the same wherever it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.values import Value
from contracts.pages.graph import Graph
from contracts.pages.labels import Atom
from contracts.pages.limits import LAPLACE_DELTA
from contracts.pages.numbers import read_number
from contracts.pages.plan import Plan
from contracts.pages.releases import NOISED
from contracts.pages.spreads import Interval
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
    cut: bool = False
    """Whether something beyond what is possible was cut off."""


# --- what is written down of a release -------------------------------------------------------------------
def formula_of(plan: Plan, number: int, run: PageRun) -> Value:
    """Return how a release follows from its sums and counts, as a value that `interval` reads.

    {mechanism, epsilon, delta, atoms: [[mechanism, size, real, low, high]], steps: [[name, args, attrs,
    shape]]}; between low and high lies what rows can give. There are no steps where no interval can be said.
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
            [noise[one.node].mechanism, str(noise[one.node].size), plan.graph.cells[one.node].kind == "real"]
            + [str(end) for end in _possible(one, run)]
            for one in sorted(plan.releases[number].noise_on, key=lambda one: one.node)
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


def _possible(atom: Atom, run: PageRun) -> tuple[Fraction, Fraction]:
    """Return between what each number of a sum or count lies, whatever its rows hold."""
    spreads = [part.spread for part in atom.parts]
    ends = [end for one in spreads if isinstance(one, Interval) for end in (one.low, one.high)]
    if len(ends) < 2 * len(spreads):
        return -_FAR, _FAR
    rows = size_of(run, atom.rows)
    return max(-_FAR, rows * min(*ends, Fraction(0))), min(_FAR, rows * max(*ends, Fraction(0)))


def _of_mean(plan: Plan, number: int, node: int) -> list[str]:
    """Return between what a mean lies, a sum divided by the number of its rows, as texts; else nothing."""
    graph = plan.graph
    if graph.name(node) != "divide":
        return []
    over, under = graph.args[node]
    while graph.name(under) == "spread":
        (under,) = graph.args[under]
    atoms = {one.node: one for one in plan.releases[number].noise_on}
    if over not in atoms or under not in atoms or graph.args[over][1:] != _counted_by(graph, under):
        return []
    spreads = [part.spread for part in atoms[over].parts]
    ends = [end for one in spreads if isinstance(one, Interval) for end in (one.low, one.high)]
    return [str(min(*ends, Fraction(0))), str(max(*ends, Fraction(0)))] if ends else []


def _counted_by(graph: Graph, node: int) -> tuple[int, ...] | None:
    """Return the groups and rows that a number of rows is by, as a sum over them takes them; else None."""
    if graph.name(node) == "group_count":
        return graph.args[node]
    first = graph.args[node][0] if graph.args[node] else node
    ones = graph.name(first) == "fill" and graph.attrs[first][0] == "1"
    return graph.args[node][1:] if graph.name(node) == "sum" and ones else None


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
        attrs = [str(atoms.index(node))] if atom else [*graph.attrs[node], *_of_mean(plan, number, node)]
        made.append(["atom" if atom else name, args, attrs, shape])
    return made if cells <= CELLS_MAX else []


# --- ranges ----------------------------------------------------------------------------------------------
def interval(formula: Value, atoms: Sequence[NDArray[Any]], *, real: bool) -> Value:
    """Return {level, low, high, cut} of what was opened of each sum and count; None where nothing is known.

    `cut` says whether an end lay beyond what is possible. Ends are whole numbers, or decimal text if `real`,
    in lists as deep as the figure's axes.
    """
    said: dict[str, Value] = {"level": "0.95", "low": None, "high": None, "cut": False}
    if not formula["steps"]:
        return said
    noise = [Noise(mechanism, Fraction(size)) for mechanism, size, *_ in formula["atoms"]]
    units = [
        Fraction(1, 1 << FRACTION_BITS) if is_real else Fraction(1) for _, _, is_real, *_ in formula["atoms"]
    ]
    free = [(-_FAR, _FAR)] * len(atoms)
    rests = _ranges(formula["steps"], atoms, [Fraction(0)] * len(atoms), units, free)
    most = max((one.rests.bit_count() for one in rests.flat), default=1)
    chance = (1 - LEVEL) / max(1, most)
    reaches = [reach(one, chance) * unit for one, unit in zip(noise, units, strict=True)]
    possible = [(Fraction(low), Fraction(high)) for *_, low, high in formula["atoms"]]
    found = _ranges(formula["steps"], atoms, reaches, units, possible)
    said["cut"] = any(one.cut for one in found.flat)
    said["low"] = _nested(found, lambda one: _end(one.low, real, math.floor))
    said["high"] = _nested(found, lambda one: _end(one.high, real, math.ceil))
    return said


def _ranges(
    steps: Sequence[Value],
    atoms: Sequence[NDArray[Any]],
    reaches: Sequence[Fraction],
    units: Sequence[Fraction],
    possible: Sequence[tuple[Fraction, Fraction]],
) -> NDArray[Any]:
    starts = np.cumsum([0, *[np.size(atom) for atom in atoms]]).tolist()
    values: list[NDArray[Any]] = []
    for name, args, attrs, shape in steps:
        x = [values[arg] for arg in args]
        if name == "atom":
            which = int(attrs[0])
            drawn = _of_atom(atoms[which], reaches[which], units[which], starts[which])
            values.append(_each(partial(_cut_to, *possible[which]), [drawn]))
        else:
            values.append(np.broadcast_to(_value(name, x, attrs), tuple(shape)))
    return values[-1]


def _of_atom(cells: NDArray[Any], far: Fraction, unit: Fraction, start: int) -> NDArray[Any]:
    flat = [int(cell) * unit for cell in np.asarray(cells).flat]
    ranges = [Range(cell - far, cell + far, 1 << start + place) for place, cell in enumerate(flat)]
    return _array(ranges, np.shape(cells))


def _cut_to(low: Fraction, high: Fraction, one: Range) -> Range:
    """Return what of a range is possible."""
    ends = min(max(one.low, low), high), min(max(one.high, low), high)
    return Range(*ends, one.rests, one.cut or ends != (one.low, one.high))


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
    if name == "divide" and attrs:
        quotients = _each(_divide, x)
        low, high = map(Fraction, attrs)
        return _each(partial(_cut_to, low, high), [quotients])
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
    rests, cut = 0, False
    for one in of:
        rests, cut = rests | one.rests, cut or one.cut
    return Range(
        max(-_FAR, Fraction(math.floor(low * _GRID), _GRID)),
        min(_FAR, Fraction(math.ceil(high * _GRID), _GRID)),
        rests,
        cut,
    )


def _rising(one: Range, work: Callable[[Fraction], Fraction]) -> Range:
    return _made(work(one.low), work(one.high), one)


def _multiply(one: Range, other: Range) -> Range:
    ends = [a * b for a in (one.low, one.high) for b in (other.low, other.high)]
    return _made(min(ends), max(ends), one, other)


def _divide(one: Range, other: Range) -> Range:
    if other.low <= 0:
        return Range(-_FAR, _FAR, one.rests | other.rests, one.cut or other.cut)
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
    within = Range(
        min(one.low, Fraction(_EXP_GREATEST)), min(one.high, Fraction(_EXP_GREATEST)), one.rests, one.cut
    )
    return _outwards(within, lambda end: _DECIMAL.exp(max(end, Decimal(-200))))


def _log(one: Range) -> Range:
    if one.low <= 0:
        high = _FAR if one.high <= 0 else max(Fraction(0), _log(Range(one.high, one.high)).high)
        return Range(-_FAR, high, one.rests, one.cut)
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
