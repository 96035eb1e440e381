"""What an owner computes of its own columns alone, in the clear: int64 for whole numbers, else float64.

Only the owner sees it, and what others need of it is shared. Whole numbers are exact modulo 2^64, as on
shares; reals are as exact as float64. Nothing here fails for what a row holds: what leaves its range is cell
by cell another value within it, since a run that ends for one row's value tells that value
(docs/decisions/preflight.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.pages.numbers import read_number
from privcompute.mpc.ring import FRACTION_BITS
from privcompute.pages.public import first_cells

Array = NDArray[Any]
_ONE = float(1 << FRACTION_BITS)
REAL_MOST = float((1 << 46) - 1)
"""The greatest magnitude of a real that is shared; what is greater is shared as this."""
_INT64 = np.iinfo(np.int64)


def words(cells: Array, kind: str) -> NDArray[np.uint64]:
    """Return what is shared of cells: whole numbers modulo 2^64, reals in units of 2^-16 up to REAL_MOST.

    Whole cells of kind `real` are units already (`units_sum`).
    """
    made = units(cells) if kind == "real" and cells.dtype.kind == "f" else cells.astype(np.int64)
    return made.view(np.uint64)


def units(cells: Array) -> NDArray[np.int64]:
    """Return reals in units of 2^-16, rounded cell by cell; beyond REAL_MOST that, and 0 for no number."""
    held = np.clip(numbers(cells), -REAL_MOST, REAL_MOST)
    return np.rint(held * _ONE).astype(np.int64)


def numbers(cells: Array) -> Array:
    """Return cells with 0 for those that are no number."""
    return np.where(np.isnan(cells), 0.0, cells) if cells.dtype.kind == "f" else cells


def units_sum(name: str, x: Sequence[Array], attrs: Sequence[str]) -> NDArray[np.int64]:
    """Return a sum of reals in units of 2^-16, modulo 2^64, without any rounding.

    A sum of floats rounds with what is in other rows, so one row could change it by more than its own cells.
    """
    return compute(name, [units(x[0]), *x[1:]], attrs, "integer")


def compute(name: str, x: Sequence[Array], attrs: Sequence[str], kind: str) -> Array:
    """Return a primitive of cells: whole numbers modulo 2^64, reals that are numbers or infinite."""
    with np.errstate(all="ignore"):
        made = np.asarray(_work(name, x, attrs))
    if kind in ("bit", "integer"):
        return made.astype(np.int64)
    return made if kind == "text" else numbers(made.astype(np.float64))


def _where_positive(cells: Array, work: Callable[[Array], Array]) -> Array:
    return np.where(cells > 0, work(np.where(cells > 0, cells, 1.0)), 0.0)


def _divide(x: Array, y: Array) -> Array:
    return np.where(y > 0, x / np.where(y > 0, y, 1), 0.0)


def _sigmoid(x: Array) -> Array:
    return np.where(x < 0, np.exp(np.minimum(x, 0.0)), 1.0) / (1.0 + np.exp(-np.abs(x)))


_SIMPLE: Mapping[str, Callable[..., Any]] = {
    "real": lambda x: x,
    "grid": lambda x: np.rint(x * _ONE) / _ONE,
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": _divide,
    "negative": np.negative,
    "absolute": np.abs,
    "minimum": np.minimum,
    "maximum": np.maximum,
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0)),
    "exp": lambda x: np.exp(np.minimum(x, 700.0)),
    "log": lambda x: _where_positive(x, np.log),
    "sigmoid": _sigmoid,
    "less": np.less,
    "less_equal": np.less_equal,
    "equal": np.equal,
    "and": np.multiply,
    "or": np.maximum,
    "not": lambda x: 1 - x,
    "where": lambda bit, x, y: np.where(bit > 0, x, y),
    "transpose": np.transpose,
    "stack": lambda *x: np.stack(x, axis=-1),
    "concat": lambda *x: np.concatenate(x, axis=-1),
    "append": lambda *x: np.concatenate(x),
    "matmul": np.matmul,
    "running_sum": lambda x: np.cumsum(x, axis=0),
    "shift": lambda x: np.concatenate([np.zeros_like(x[:1]), x[:-1]]),
}


def _work(name: str, x: Sequence[Array], attrs: Sequence[str]) -> Any:
    if name in _SIMPLE:
        return _SIMPLE[name](*x)
    if name == "is":
        return x[0] == attrs[0]
    if name == "clip":
        return np.clip(x[0], *[_bound(text, x[0]) for text in attrs])
    if name == "cut":
        return cut(x[0], [float(read_number(part)) for part in attrs[0].split(";")])
    if name == "take":
        return np.take(x[0], int(attrs[1]), axis=int(attrs[0]))
    if name == "spread":
        return np.expand_dims(x[0], int(attrs[0]))
    if name == "first":
        return first_cells(x[0], int(attrs[0]))
    return _folded(name, x, attrs)


def _bound(text: str, like: Array) -> Any:
    bound = read_number(text)
    if bound.denominator == 1 and like.dtype.kind == "i":
        return max(_INT64.min, min(_INT64.max, int(bound)))
    return float(bound)


def cut(cells: Array, edges: Sequence[float]) -> Array:
    """Return bits along a new last axis: edge i <= x < edge i + 1, the last edge included."""
    pairs = list(pairwise(edges))
    inside = [(cells >= low) & (cells < high) for low, high in pairs[:-1]]
    return np.stack([*inside, (cells >= pairs[-1][0]) & (cells <= pairs[-1][1])], axis=-1)


def one_hot(cells: Array, categories: Sequence[str]) -> Array:
    """Return bits along a new last axis, one for each category; a cell of another has none."""
    return np.stack([np.asarray(cells == category) for category in categories], axis=-1)


def _folded(name: str, x: Sequence[Array], attrs: Sequence[str]) -> Any:
    if name == "sum":
        return (x[0] * along(x[1], x[0].ndim, int(attrs[0])) if len(x) == 2 else x[0]).sum(axis=int(attrs[0]))
    if name == "group_count":
        return (x[0] * x[1][:, None] if len(x) == 2 else x[0]).sum(axis=0)
    if name == "group_sum":
        return (x[1] * x[2][:, None] if len(x) == 3 else x[1]).T @ x[0]
    if name in ("greatest", "least"):
        kept = x[0][x[1] > 0] if len(x) == 2 else x[0]
        if not len(kept):
            return np.zeros(x[0].shape[1:], x[0].dtype)
        return kept.max(axis=0) if name == "greatest" else kept.min(axis=0)
    if name == "every":
        return x[0].min(axis=int(attrs[0]))
    if name == "hide":
        return x[0] * (along(x[1], x[0].ndim, 0) if x[1].ndim == 1 else x[1])
    order = np.lexsort((x[0], 1 - x[2])) if len(x) == 3 else np.argsort(x[0], kind="stable")
    return x[1][order]


def along(bits: Array, axes: int, axis: int) -> Array:
    """Return bits of one axis so that they broadcast along another value's axis."""
    shape = [1] * axes
    shape[axis] = -1
    return bits.reshape(shape)


def shown(counts: Array, least: int) -> Array:
    """Return 1 for each count that may be shown: as `suppression.shown_groups`, in the clear."""
    small = counts < least
    if counts.ndim != 1:
        return np.asarray(1 - small)
    hidden = counts[small].sum()
    if small.any() and not small.all() and hidden < least:
        small = small | (counts == counts[~small].min())
    return np.asarray(1 - small)
