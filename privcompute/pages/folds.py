"""Primitives on shares that look along axes: views, sums, groups, extremes, products, orders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contracts.pages.types import Cells
from privcompute.errors import ProgramFault
from privcompute.mpc.engine import Engine
from privcompute.mpc.ring import FRACTION_BITS
from privcompute.mpc.rounds import Steps, parallel
from privcompute.mpc.sharing import Shared, concatenate, stack
from privcompute.pages.apart import Span
from privcompute.pages.joint import Operand, cut, in_shares, kind_of, multiply, where
from privcompute.pages.public import PublicCells
from privcompute.pages.suppression import shown_groups

_FAR_WHOLE = 1 << 47
"""Beyond every whole number that meets reals: keys of rows that do not count."""
_FAR_REAL = 1 << 31
"""Beyond every real; its differences to reals do not wrap."""
VIEWS = frozenset(
    {"transpose", "stack", "concat", "take", "spread", "append", "first", "shift", "running_sum"}
)


def view(engine: Engine, name: str, x: Sequence[Operand], attrs: Sequence[str], cells: Cells) -> Shared:
    """Return cells in another arrangement, or sums that are local."""
    values = [in_shares(engine, one, cells.kind) for one in x]
    one = values[0]
    if name == "transpose":
        return one.T
    if name == "stack":
        return stack(values, axis=one.ndim)
    if name == "concat":
        return concatenate(values, axis=-1)
    if name == "append":
        return concatenate(values)
    if name == "take":
        return one[(*[slice(None)] * int(attrs[0]), int(attrs[1]))]
    if name == "spread":
        axis = int(attrs[0])
        return one.reshape(*one.shape[:axis], 1, *one.shape[axis:])
    if name == "first":
        return _first(engine, one, int(attrs[0]))
    if name == "shift":
        return concatenate([_zeros(engine, one, 1), one[: len(one) - 1]])
    if name == "running_sum":
        return one.cumsum(0)
    raise ProgramFault(f"primitive {name}: no view")


def scattered(x: Shared, rows: NDArray[np.intp], size: int, axis: int) -> Shared:
    """Return cells at places along an axis of a size, with 0 elsewhere."""
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    words = np.zeros((x.words.shape[0], *shape), np.uint64)
    words[(slice(None),) * (axis + 1) + (rows,)] = x.words
    return Shared(words, x.fraction_bits)


def _zeros(engine: Engine, like: Shared, rows: int) -> Shared:
    shape = (rows, *like.shape[1:])
    return Shared(engine.constant(np.zeros(shape, np.int64)).words, like.fraction_bits)


def _first(engine: Engine, x: Shared, count: int) -> Shared:
    missing = count - len(x)
    return x[:count] if missing <= 0 else concatenate([x, _zeros(engine, x, missing)])


def fold(
    engine: Engine, name: str, x: Sequence[Operand], attrs: Sequence[str], cells: Cells, min_group: int
) -> Steps[Shared]:
    """Return a primitive that folds along an axis, sorts, or guards a figure."""
    if name == "sum":
        return (yield from _sum(engine, x, int(attrs[0])))
    if name in ("group_sum", "group_count"):
        return (yield from _grouped(engine, name, x))
    if name in ("greatest", "least"):
        return (yield from _extreme(engine, name, x))
    if name == "matmul":
        kinds = [kind_of(one) for one in x]
        one, other = (in_shares(engine, each, kind) for each, kind in zip(x, kinds, strict=True))
        return (yield from engine.matmul(one, other))
    if name == "cut":
        return (yield from cut(engine, x[0], attrs))
    if name == "shown":
        return (yield from _shown(engine, in_shares(engine, x[0], "integer"), min_group))
    if name == "every":
        return (yield from _every(engine, in_shares(engine, x[0], "integer"), int(attrs[0])))
    if name == "hide":
        return (yield from multiply(engine, x[0], _along(x[1], len(x[0].shape))))
    raise ProgramFault(f"primitive {name} of {cells}: no fold")


def _along(bits: Operand, axes: int, axis: int = 0) -> Operand:
    """Return bits of one axis so that they broadcast along another value's axis."""
    if len(bits.shape) != 1:
        return bits
    shape = [1] * axes
    shape[axis] = -1
    if isinstance(bits, PublicCells):
        return PublicCells(bits.cells.reshape(shape))
    return bits.reshape(*shape)


def _sum(engine: Engine, x: Sequence[Operand], axis: int) -> Steps[Shared]:
    value = in_shares(engine, x[0], kind_of(x[0]))
    if len(x) == 1:
        yield from ()
        return value.sum(axis)
    rows = _along(x[1], value.ndim, axis)
    if isinstance(rows, PublicCells):
        return value.mul_public(rows.whole()).sum(axis)
    return (yield from engine.dot(value, rows, axis))


def _grouped(engine: Engine, name: str, x: Sequence[Operand]) -> Steps[Shared]:
    by, rows = (x[0], x[1:]) if name == "group_count" else (x[1], x[2:])
    groups = in_shares(engine, by, "integer")
    if name == "group_count":
        if not rows:
            return groups.sum(0)
        return (yield from engine.matmul(groups.T, in_shares(engine, rows[0], "integer")))
    value = in_shares(engine, x[0], kind_of(x[0]))
    if rows:
        value = yield from multiply(engine, value, _along(rows[0], value.ndim))
    return (yield from engine.matmul(groups.T, value))


def _extreme(engine: Engine, name: str, x: Sequence[Operand]) -> Steps[Shared]:
    value = in_shares(engine, x[0], kind_of(x[0]))
    if len(x) == 2:
        far = _far(value) * (-1 if name == "greatest" else 1)
        value = yield from where(
            engine, _along(x[1], value.ndim), value, Shared(engine.constant([far]).words, value.fraction_bits)
        )
    return (yield from (engine.maximum if name == "greatest" else engine.minimum)(value, 0))


def _far(value: Shared) -> int:
    """Return a ring element beyond every value of this scale."""
    return _FAR_REAL << FRACTION_BITS if value.fraction_bits else _FAR_WHOLE


def _shown(engine: Engine, counts: Shared, least: int) -> Steps[Shared]:
    if counts.ndim == 1:
        return (yield from shown_groups(engine, counts, least))
    return engine.constant(1) - (yield from engine.less_than(counts, engine.constant(least)))


def _every(engine: Engine, bits: Shared, axis: int) -> Steps[Shared]:
    """Return 1 where all bits along an axis are 1."""
    return (yield from engine.equal(bits.sum(axis), engine.constant(bits.shape[axis])))


def shown_each(engine: Engine, bits: Shared, spans: Sequence[Span], least: int) -> Steps[Shared]:
    """Return 1 for each group that may be shown by the rows of each span alone; bits by row and group."""
    parts = yield from parallel(*[_shown(engine, bits[start:stop].sum(0), least) for start, stop in spans])
    made: Shared = parts[0]
    for part in parts[1:]:
        made = yield from engine.mul(made, part)
    return made


def ordered(
    engine: Engine, key: Operand, values: Sequence[Operand], rows: Operand | None
) -> Steps[tuple[Shared, ...]]:
    """Return values by row in ascending order of a key, rows whose bit is 0 last; equal keys in no order."""
    keys = in_shares(engine, key, kind_of(key))
    if rows is not None:
        far = Shared(engine.constant([_far(keys)]).words, keys.fraction_bits)
        keys = yield from where(engine, rows, keys, far)
    columns = [in_shares(engine, value, kind_of(value)) for value in values]
    keys, *rest = yield from engine.sort(keys, *columns)
    return tuple(rest)
