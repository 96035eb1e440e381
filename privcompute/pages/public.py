"""Public values of a plan, which every party computes alike: exact fractions, and whole numbers by row.

No float is in them, so parties on different machines cannot disagree. A value that is not by row holds
fractions within 2^62 in magnitude, rounded to 2^-64 where their terms grow beyond 128 bits; a value by row
holds one fraction in every cell, or whole numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.pages.numbers import read_number
from privcompute.errors import OutOfRange
from privcompute.mpc.ring import INTEGER_BOUND, Words
from privcompute.pages.making import CELLWISE

_TERM_BITS_MAX = 128
_ROUNDED_TO = 1 << 64


@dataclass(frozen=True, slots=True, eq=False)
class PublicCells:
    """Cells that everybody knows: fractions (objects), or int64."""

    cells: NDArray[Any]
    _raw: dict[int, Words] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape."""
        return self.cells.shape

    @property
    def uniform(self) -> Fraction | None:
        """The number that stands in every cell, None where they may differ."""
        if self.cells.dtype == object and (self.cells.ndim == 0 or not any(self.cells.strides)):
            return Fraction(self.cells.flat[0])
        return None

    def whole(self) -> NDArray[np.int64]:
        """Return whole cells as int64."""
        return self.cells.astype(np.int64)

    def reals(self) -> NDArray[np.float64]:
        """Return the cells as reals: for an owner's own work, never for what parties must agree on."""
        return self.cells.astype(np.float64)

    def taken(self, rows: NDArray[np.intp], axis: int) -> PublicCells:
        """Return some of the cells along an axis."""
        number = self.uniform
        if number is not None:
            return everywhere(number, (*self.shape[:axis], len(rows), *self.shape[axis + 1 :]))
        return PublicCells(self.cells.take(rows, axis))

    def raw(self, fraction_bits: int) -> Words:
        """Return the cells as ring elements, rounded to nearest."""
        if fraction_bits not in self._raw:
            self._raw[fraction_bits] = self._rounded(fraction_bits)
        return self._raw[fraction_bits]

    def _rounded(self, fraction_bits: int) -> Words:
        scale = 1 << fraction_bits
        number = self.uniform
        if number is not None:
            everywhere_raw = np.broadcast_to(np.array(round(number * scale), np.int64), self.shape)
            return everywhere_raw.view(np.uint64)
        if self.cells.dtype != object:
            return (self.cells << np.int64(fraction_bits)).view(np.uint64)
        rounded = [round(cell * scale) for cell in self.cells.flat]
        return np.array(rounded, np.int64).reshape(self.shape).view(np.uint64)


def everywhere(number: Fraction, shape: tuple[int, ...]) -> PublicCells:
    """Return one number in every cell of a shape."""
    return PublicCells(np.broadcast_to(_boxed(_checked(number)), shape))


def by_row(cells: NDArray[Any]) -> PublicCells:
    """Return whole numbers by row."""
    return PublicCells(cells.astype(np.int64))


def _boxed(number: Fraction) -> NDArray[Any]:
    box = np.empty((), dtype=object)
    box[()] = number
    return box


def _checked(number: Fraction) -> Fraction:
    if abs(number) >= INTEGER_BOUND:
        raise OutOfRange(f"a public number reaches {float(number):.3g}; allowed is a magnitude below 2^62")
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > _TERM_BITS_MAX:
        return Fraction(round(number * _ROUNDED_TO), _ROUNDED_TO)
    return number


def _divided(x: Any, y: Any) -> Any:
    return Fraction(x) / Fraction(y) if y > 0 else Fraction(0)


_SCALAR: Mapping[str, Callable[..., Any]] = {
    "real": lambda x: x,
    "grid": lambda x: x,
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": _divided,
    "negative": operator.neg,
    "absolute": abs,
    "minimum": min,
    "maximum": max,
    "less": lambda x, y: Fraction(x < y),
    "less_equal": lambda x, y: Fraction(x <= y),
    "equal": lambda x, y: Fraction(x == y),
    "and": operator.mul,
    "or": max,
    "not": lambda x: 1 - x,
    "where": lambda bit, x, y: x if bit else y,
}
_WHOLE: Mapping[str, Callable[..., Any]] = {
    "real": lambda x: x,
    "grid": lambda x: x,
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "negative": np.negative,
    "absolute": np.abs,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "less": np.less,
    "less_equal": np.less_equal,
    "equal": np.equal,
    "and": np.multiply,
    "or": np.maximum,
    "not": lambda x: 1 - x,
    "where": np.where,
}
_VIEWS = frozenset({"spread", "transpose", "take", "stack", "concat", "first", "align"})


def computable(name: str, uniform: Sequence[bool], rowwise: bool, whole: bool) -> bool:
    """Tell whether a primitive of public values has a public value.

    `uniform` says which of them have one number in every cell, `rowwise` whether the result is by row, and
    `whole` whether all are whole numbers.
    """
    if name == "shown":
        return True
    if name == "clip":
        return all(uniform)
    if name in _SCALAR:
        return all(uniform) or not rowwise or (whole and name in _WHOLE)
    return name in ("sum", "hide", *_VIEWS) and (all(uniform) or whole or not rowwise)


def stays_uniform(name: str, uniform: Sequence[bool]) -> bool:
    """Tell whether a public value has one number in every cell, whatever the data."""
    return all(uniform) and (name in CELLWISE or name in ("spread", "transpose", "take", "sum"))


def compute(name: str, x: Sequence[PublicCells], attrs: Sequence[str], shape: tuple[int, ...]) -> PublicCells:
    """Return a primitive of public values that is `computable`."""
    numbers = [one.uniform for one in x]
    every = [number for number in numbers if number is not None]
    if len(every) == len(x) and name != "concat":
        found = _uniform(name, every, attrs, x[0].shape)
        if found is not None:
            return everywhere(found, shape)
    if name == "hide":
        bits = x[1].cells.reshape(-1, *[1] * (x[0].cells.ndim - 1)) if x[1].cells.ndim == 1 else x[1].cells
        return PublicCells(np.asarray(x[0].cells * bits))
    if name in _VIEWS:
        return PublicCells(_view(name, [one.cells for one in x], attrs))
    if name == "sum":
        return PublicCells(_summed(x, int(attrs[0])))
    if all(one.cells.dtype != object for one in x if one.uniform is None):
        whole = [one.whole() if one.uniform is None else np.int64(int(one.uniform or 0)) for one in x]
        reach = np.abs(_WHOLE[name](*[np.asarray(one, np.float64) for one in whole]).astype(np.float64))
        if reach.size and reach.max() >= INTEGER_BOUND:
            raise OutOfRange(f"public numbers by row reach {reach.max():.3g}; allowed is below 2^62")
        return by_row(np.broadcast_to(_WHOLE[name](*whole), shape))
    boxed = np.frompyfunc(lambda *cells: _checked(Fraction(_SCALAR[name](*cells))), len(x), 1)
    return PublicCells(np.asarray(np.broadcast_to(boxed(*[one.cells for one in x]), shape)))


def _uniform(
    name: str, x: Sequence[Fraction], attrs: Sequence[str], shape: tuple[int, ...]
) -> Fraction | None:
    if name in _SCALAR:
        return Fraction(_SCALAR[name](*x))
    if name in ("spread", "transpose", "take", "align"):
        return x[0]
    if name == "clip":
        return min(max(x[0], read_number(attrs[0])), read_number(attrs[1]))
    if name == "sum":
        return x[0] * shape[int(attrs[0])] * (x[1] if len(x) == 2 else 1)
    return None


def _view(name: str, x: Sequence[NDArray[Any]], attrs: Sequence[str]) -> NDArray[Any]:
    if name == "spread":
        return np.expand_dims(x[0], int(attrs[0]))
    if name == "transpose":
        turned: NDArray[Any] = x[0].T
        return turned
    if name == "take":
        return np.asarray(np.take(x[0], int(attrs[1]), axis=int(attrs[0])))
    if name == "stack":
        return np.stack(_alike(x), axis=-1)
    if name == "concat":
        return np.concatenate(_alike(x), axis=-1)
    return first_cells(x[0], int(attrs[0]))


def _alike(x: Sequence[NDArray[Any]]) -> Sequence[NDArray[Any]]:
    return x if len({one.dtype for one in x}) == 1 else [one.astype(object) for one in x]


def first_cells(cells: NDArray[Any], count: int) -> NDArray[Any]:
    """Return the first cells along the first axis, with 0 for those that are not there."""
    missing = count - len(cells)
    if missing <= 0:
        return cells[:count]
    return np.concatenate([cells, np.zeros((missing, *cells.shape[1:]), cells.dtype)])


def _summed(x: Sequence[PublicCells], axis: int) -> NDArray[Any]:
    cells = x[0].cells
    if len(x) == 2:
        shape = [1] * cells.ndim
        shape[axis] = -1
        cells = cells * x[1].cells.reshape(shape)
    total = np.asarray(cells.sum(axis=axis))
    boxed = np.frompyfunc(lambda cell: _checked(Fraction(cell)), 1, 1)(total)
    return np.asarray(boxed if isinstance(boxed, np.ndarray) else _boxed(boxed))
