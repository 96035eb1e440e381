"""Primitives on shares, cell by cell: what each asks of the engine.

A value is in shares or public. Bits and whole numbers have no fraction bits, reals have 16; whole numbers
that meet reals are below 2^46 in magnitude, reals and their products below 2^30 (ring.py). Errors, in
ulp = 2^-16: sums, products with whole numbers, comparisons, choices and extremes are exact; a product of
reals errs by 1; one with a public fraction by 2, and by 2^-32 of it, or by 4 for whole numbers; quotients,
roots, exponentials and logarithms as the engine says (engine.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from contracts.pages.numbers import read_number
from contracts.pages.types import Cells
from privcompute.errors import ProgramFault
from privcompute.mpc.engine import Engine
from privcompute.mpc.protocols.truncate import SHIFT_MAX
from privcompute.mpc.ring import FRACTION_BITS
from privcompute.mpc.rounds import Steps, parallel
from privcompute.mpc.sharing import Shared, concatenate, stack
from privcompute.pages.public import PublicCells, everywhere

Operand: TypeAlias = Shared | PublicCells
BLOCK_CELLS = 1 << 17
"""Cells that are compared at a time: bounds memory at about 60 MB."""
_MANTISSA_BITS = 16
_REAL_MAX = 1 << 30
_WHOLE_BITS = 31
"""Fraction bits of a factor of whole numbers: with a product below 2^30, below 2^62 together."""


def bits_for(kind: str) -> int:
    """Return the fraction bits of a kind of cells."""
    return FRACTION_BITS if kind == "real" else 0


def in_shares(engine: Engine, x: Operand, kind: str) -> Shared:
    """Return a value in shares, as a kind has them: local."""
    bits = bits_for(kind)
    if isinstance(x, Shared):
        return x.upscale(bits) if x.fraction_bits < bits else x
    return Shared(engine.constant(x.raw(bits).view(np.int64)).words, bits)


def _thin(engine: Engine, x: Operand, kind: str) -> Shared:
    """Return a value in shares; a public number that stands in every cell as one that broadcasts."""
    if isinstance(x, PublicCells) and x.uniform is not None:
        return in_shares(engine, everywhere(x.uniform, (1,) * len(x.shape)), kind)
    return in_shares(engine, x, kind)


def kind_of(x: Operand) -> str:
    """Return whether a value holds reals or whole numbers."""
    if isinstance(x, Shared):
        return "real" if x.fraction_bits else "integer"
    if x.cells.dtype != object:
        return "integer"
    number = x.uniform
    cells = [number] if number is not None else list(x.cells.flat)
    return "integer" if all(cell.denominator == 1 for cell in cells) else "real"


def _alike(engine: Engine, x: Operand, y: Operand) -> tuple[Shared, Shared]:
    """Return two values in shares of one scale."""
    kind = "real" if "real" in (kind_of(x), kind_of(y)) else "integer"
    return _thin(engine, x, kind), _thin(engine, y, kind)


# --- arithmetic ------------------------------------------------------------------------------------------
def _local(work: Callable[[Shared, Shared], Shared]) -> Callable[..., Steps[Shared]]:
    def run(engine: Engine, x: Operand, y: Operand) -> Steps[Shared]:
        yield from ()
        return work(*_alike(engine, x, y))

    return run


def multiply(engine: Engine, x: Operand, y: Operand) -> Steps[Shared]:
    """Return x * y."""
    if isinstance(x, PublicCells):
        x, y = y, x
    if isinstance(x, PublicCells):
        return (yield from engine.mul(in_shares(engine, x, kind_of(x)), in_shares(engine, y, kind_of(y))))
    if isinstance(y, Shared):
        return (yield from engine.mul(x, y))
    if kind_of(y) == "integer":
        number = y.uniform
        return x.mul_public(y.whole() if number is None else int(number)).broadcast_to(
            np.broadcast_shapes(x.shape, y.shape)
        )
    number = y.uniform
    if number is None:
        return (yield from engine.mul(x, in_shares(engine, y, "real")))
    made = yield from scaled(engine, x, number)
    return made.broadcast_to(np.broadcast_shapes(x.shape, y.shape))


def scaled(engine: Engine, x: Shared, factor: Fraction) -> Steps[Shared]:
    """Return the product with a public fraction, as reals, for a product below 2^30.

    Reals, below 2^30, come within 2 ulp and 2^-32 of the product; whole numbers, below 2^46, within 4 ulp.
    """
    whole, parts = _split(factor, x.fraction_bits)
    made = (x if x.fraction_bits else x.upscale(FRACTION_BITS)).mul_public(whole)
    products = [
        engine.truncate(Shared(x.mul_public(mantissa).words, x.fraction_bits + bits))
        for mantissa, bits in parts
    ]
    for part in (yield from parallel(*products)) if products else ():
        made = made + part
    return made


@lru_cache(maxsize=1_024)
def _split(factor: Fraction, fraction_bits: int) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Return a whole number and up to three (mantissa, fraction bits) whose sum is the factor, nearly.

    Raw cells are below 2^46 in magnitude, so mantissas of 16 bits keep their products below 2^62. Where cells
    are whole numbers, a product below 2^30 allows a first one of 31 fraction bits as well.
    """
    whole = round(factor)
    rest = factor - whole
    least, count = (0, 2) if fraction_bits else (_WHOLE_BITS, 3)
    most = SHIFT_MAX + FRACTION_BITS - fraction_bits
    parts: list[tuple[int, int]] = []
    while rest and len(parts) < count:
        bits = min(most, max(least, _MANTISSA_BITS - math.frexp(abs(rest))[1]))
        mantissa = round(rest * (1 << bits))
        parts.append((mantissa, bits))
        rest -= Fraction(mantissa, 1 << bits)
        if bits == most:
            break
    return whole, tuple(part for part in parts if part[0])


def divide(engine: Engine, x: Operand, y: Operand) -> Steps[Shared]:
    """Return x / y, 0 where y <= 0."""
    if isinstance(y, PublicCells) and y.uniform is not None:
        inverse = 1 / y.uniform if y.uniform > 0 else Fraction(0)
        made = yield from multiply(engine, x, everywhere(inverse, y.shape))
        return made if made.fraction_bits else made.upscale(FRACTION_BITS)
    left, right = in_shares(engine, x, kind_of(x)), in_shares(engine, y, kind_of(y))
    return (yield from engine.divide(left, right))


def _negative(engine: Engine, x: Operand) -> Steps[Shared]:
    yield from ()
    return -in_shares(engine, x, kind_of(x))


def _absolute(engine: Engine, x: Operand) -> Steps[Shared]:
    cells = in_shares(engine, x, kind_of(x))
    below = yield from by_blocks(lambda part: engine.less_than_zero(part), cells)
    return cells - (yield from engine.mul(below, cells)).mul_public(2)


# --- comparisons and bits --------------------------------------------------------------------------------
def by_blocks(work: Callable[..., Steps[Shared]], *x: Shared) -> Steps[Shared]:
    """Do cell by cell work on values of one shape, on BLOCK_CELLS at a time along the first axis."""
    shape = np.broadcast_shapes(*[one.shape for one in x])
    if math.prod(shape) <= BLOCK_CELLS:
        return (yield from work(*x))
    rows = max(1, BLOCK_CELLS // max(1, math.prod(shape[1:])))
    parts = []
    for start in range(0, shape[0], rows):
        cut = [
            one[start : start + rows] if one.ndim == len(shape) and one.shape[0] == shape[0] else one
            for one in x
        ]
        parts.append((yield from work(*cut)))
    return concatenate(parts)


def less(engine: Engine, x: Operand, y: Operand) -> Steps[Shared]:
    """Return 1 where x < y."""
    return (yield from by_blocks(engine.less_than, *_alike(engine, x, y)))


def _less_equal(engine: Engine, x: Operand, y: Operand) -> Steps[Shared]:
    return engine.constant(1) - (yield from less(engine, y, x))


def _equal(engine: Engine, x: Operand, y: Operand) -> Steps[Shared]:
    return (yield from by_blocks(engine.equal, *_alike(engine, x, y)))


def _or(engine: Engine, x: Operand, y: Operand) -> Steps[Shared]:
    both = yield from multiply(engine, x, y)
    one, other = _alike(engine, x, y)
    return one + other - both


def _not(engine: Engine, x: Operand) -> Steps[Shared]:
    yield from ()
    return engine.constant(1) - in_shares(engine, x, "integer")


def where(engine: Engine, bit: Operand, x: Operand, y: Operand) -> Steps[Shared]:
    """Return x where the bit is 1, else y."""
    one, other = _alike(engine, x, y)
    if isinstance(bit, PublicCells):
        chosen = bit.whole() if bit.uniform is None else int(bit.uniform)
        yield from ()
        return one.mul_public(chosen) + other.mul_public(1 - chosen)
    return other + (yield from engine.mul(bit, one - other))


def _extreme(greater: bool) -> Callable[..., Steps[Shared]]:
    def run(engine: Engine, x: Operand, y: Operand) -> Steps[Shared]:
        one, other = _alike(engine, x, y)
        second = yield from by_blocks(engine.less_than, *((one, other) if greater else (other, one)))
        return one + (yield from engine.mul(second, other - one))

    return run


def clip(engine: Engine, x: Operand, attrs: Sequence[str]) -> Steps[Shared]:
    """Return x within public bounds: both are compared with at once."""
    cells, shape = in_shares(engine, x, kind_of(x)), x.shape
    bounds = [PublicCells(np.asarray([read_number(text)], dtype=object)) for text in attrs]
    kind = "real" if "real" in (kind_of(x), *map(kind_of, bounds)) else "integer"
    cells = in_shares(engine, cells, kind).reshape(-1)
    low, high = (in_shares(engine, bound, kind) for bound in bounds)
    below, above = yield from parallel(
        by_blocks(engine.less_than, cells, low), by_blocks(engine.less_than, high, cells)
    )
    outside, inside = stack([below, above]), stack([low - cells, high - cells])
    return (cells + (yield from engine.mul(outside, inside)).sum(0)).reshape(*shape)


def cut(engine: Engine, x: Operand, attrs: Sequence[str]) -> Steps[Shared]:
    """Return bits along a new last axis: a comparison with each edge, the last edge included."""
    edges = [read_number(part) for part in attrs[0].split(";")]
    bounds = PublicCells(np.asarray(edges, dtype=object))
    cells = in_shares(engine, x, kind_of(x))
    cells = cells.reshape(*cells.shape, 1)
    lower = PublicCells(bounds.cells[:-1])
    below, above = yield from parallel(
        less(engine, cells, lower), less(engine, PublicCells(bounds.cells[-1:]), cells)
    )
    reached = concatenate([engine.constant(1) - below, above], axis=-1)
    return reached[..., :-1] - reached[..., 1:]


# --- functions of reals ----------------------------------------------------------------------------------
def _function(name: str) -> Callable[..., Steps[Shared]]:
    def run(engine: Engine, x: Operand) -> Steps[Shared]:
        cells = in_shares(engine, x, "real")
        if name == "sigmoid":
            return (yield from by_blocks(lambda part: engine.sigmoid(part, "scoring"), cells))
        return (yield from by_blocks(getattr(engine, name), cells))

    return run


def _root_or_log(name: str) -> Callable[..., Steps[Shared]]:
    of_reals = _function(name)

    def run(engine: Engine, x: Operand) -> Steps[Shared]:
        if kind_of(x) == "real":
            return (yield from of_reals(engine, x))
        whole = in_shares(engine, x, "integer")
        return (yield from by_blocks(lambda part: _of_whole(engine, name, part), whole))

    return run


def _of_whole(engine: Engine, name: str, x: Shared) -> Steps[Shared]:
    """Return the root or logarithm of whole numbers below 2^46; from 2^30 on, of their parts by 2^16."""
    large = engine.constant(1) - (yield from engine.less_than(x, engine.constant(_REAL_MAX)))
    as_it_is, by_part = x.upscale(FRACTION_BITS), Shared(x.words, FRACTION_BITS)
    taken = as_it_is + (yield from engine.mul(large, by_part - as_it_is))
    if name == "log":
        more = large.mul_public(round(FRACTION_BITS * math.log(2) * (1 << FRACTION_BITS)))
        return (yield from engine.log(taken)) + Shared(more.words, FRACTION_BITS)
    root = yield from engine.sqrt(taken)
    return root + (yield from engine.mul(large, root.mul_public((1 << FRACTION_BITS // 2) - 1)))


def _real(engine: Engine, x: Operand) -> Steps[Shared]:
    yield from ()
    return in_shares(engine, x, "real")


_CELLWISE: Mapping[str, Callable[..., Steps[Shared]]] = {
    "real": _real,
    "grid": _real,
    "add": _local(lambda x, y: x + y),
    "subtract": _local(lambda x, y: x - y),
    "multiply": multiply,
    "divide": divide,
    "negative": _negative,
    "absolute": _absolute,
    "minimum": _extreme(False),
    "maximum": _extreme(True),
    "sqrt": _root_or_log("sqrt"),
    "exp": _function("exp"),
    "log": _root_or_log("log"),
    "sigmoid": _function("sigmoid"),
    "less": less,
    "less_equal": _less_equal,
    "equal": _equal,
    "and": multiply,
    "or": _or,
    "not": _not,
    "where": where,
}


def cellwise(
    engine: Engine,
    name: str,
    x: Sequence[Operand],
    attrs: Sequence[str],
    cells: Cells,
    shape: tuple[int, ...],
) -> Steps[Shared]:
    """Return a primitive that works cell by cell, in the kind and shape of its step."""
    if name == "clip":
        made = yield from clip(engine, x[0], attrs)
    elif name in _CELLWISE:
        made = yield from _CELLWISE[name](engine, *x)
    else:
        raise ProgramFault(f"primitive {name}: not one that works cell by cell")
    made = in_shares(engine, made, cells.kind)
    return made if made.shape == shape else made.broadcast_to(shape)
