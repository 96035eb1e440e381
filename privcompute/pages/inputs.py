"""What one party brings to the run of a plan, and how large its axes are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import shake_256
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.pages.limits import RUN_CELLS_MAX
from contracts.pages.types import Cells, Size
from privcompute.data.literals import MISSING
from privcompute.mpc.rounds import OnProgress, no_progress
from privcompute.pages.columns import InputColumn, InputRefused

_DAYS = np.dtype("datetime64[D]")
CELLS_MAX = RUN_CELLS_MAX
"""Cells of one value, 2^25: about 0.5 GB of shares."""


@dataclass(frozen=True, slots=True)
class RowsOfJoin:
    """The rows of a dataset that are in a join; all rows of the join where it is a dataset of its own."""

    places: NDArray[np.int64] = field(repr=False)
    """Their places among the rows of the join."""
    rows: NDArray[np.int64] = field(repr=False)
    """Their places in the dataset."""


@dataclass(frozen=True, slots=True)
class OwnDataset:
    """An owner's own dataset in a run."""

    columns: Mapping[str, NDArray[Any]] = field(repr=False)
    """Whole columns, as tables hold them (privcompute/data/tables.py)."""
    joined: Mapping[str, RowsOfJoin] = field(default_factory=dict, repr=False)
    """By the name of the join's rows, `n:join1`."""


@dataclass(frozen=True, slots=True)
class PageRun:
    """One party's run of a plan; all but `own` and `progress` is the same at every party."""

    job: bytes
    """32 bytes: seed of public choices (`lot`)."""
    owners: tuple[int, ...]
    """The party of each dataset of the plan."""
    columns: tuple[InputColumn, ...]
    """What the sealed schema declares of each column of the plan."""
    rows: Mapping[str, int]
    """How many rows each dataset (`n:0`) and each join (`n:join1`) has."""
    min_group: int = 1
    """Smallest number of rows that an exact figure may rest on (the strictest grant's)."""
    own: Mapping[int, OwnDataset] = field(default_factory=dict)
    """This party's datasets, by their place in the plan."""
    progress: OnProgress = no_progress


def categories_of(column: InputColumn) -> tuple[str, ...]:
    """Return the categories that a column's schema declares; a boolean column has two by its type.

    Where missing cells are a category of their own, it stands last.
    """
    if column.categories and column.missing == "category":
        return (*column.categories, MISSING)
    return column.categories or (("false", "true") if column.type == "boolean" else ())


def size_of(run: PageRun, size: Size) -> int:
    """Return a size of an axis; raise InputRefused where the schema does not declare it."""
    if isinstance(size, int):
        return size
    kind, _, place = size.partition(":")
    if kind == "n":
        if size in run.rows:
            return run.rows[size]
        return sum(run.rows[f"n:{part}"] for part in place.split("+"))
    column = run.columns[int(place)]
    if kind == "k" and categories_of(column):
        return len(categories_of(column))
    if kind == "b" and len(column.edges) > 1:
        edges = [float(edge) for edge in column.edges]
        if any(low >= high for low, high in pairwise(edges)):
            raise InputRefused(
                f"column {column.name}: its edges of bins, {', '.join(column.edges[:4])} …, do not ascend, so"
                " one row could be in several; register a version whose schema has ascending edges"
            )
        return len(column.edges) - 1
    what = "categories" if kind == "k" else "edges of bins"
    raise InputRefused(
        f"column {column.name}: its schema declares no {what}, and the page groups by them; declare them"
    )


def shape_of(run: PageRun, cells: Cells, what: str, chosen: Sequence[bool]) -> tuple[int, ...]:
    """Return a shape with the sizes of a run; raise InputRefused beyond CELLS_MAX.

    Along axes that are `chosen` there will be fewer rows: `check_cells` judges when their number is known.
    """
    shape = tuple([size_of(run, size) for size in cells.shape])
    check_cells(what, [1 if some else size for size, some in zip(shape, chosen, strict=True)])
    return shape


def check_cells(what: str, shape: Sequence[int]) -> None:
    """Raise InputRefused for a value of too many cells."""
    if math.prod(shape) > CELLS_MAX:
        raise InputRefused(
            f"{what} of {' x '.join(map(str, shape))} cells, at most {CELLS_MAX:,}: use fewer rows, or"
            " compare fewer of them with one another"
        )


def cells_of_kind(cells: NDArray[Any], kind: str) -> NDArray[Any]:
    """Return a table's column as own work takes it: int64, float64, or texts."""
    if kind == "text":
        return np.asarray(cells, dtype=str)
    if cells.dtype.kind == "M":  # days of dates; whole seconds of timestamps, towards the past
        unit = "D" if cells.dtype == _DAYS else "s"
        return cells.astype(f"datetime64[{unit}]").astype(np.int64)
    return cells.astype(np.float64 if kind == "real" else np.int64)


def lot(job: bytes, number: int, rows: int, share: Fraction) -> NDArray[np.int64]:
    """Return public bits by row, 1 for that share of the rows: the job and as many zero bytes seed them."""
    bits = np.zeros(rows, np.int64)
    stream = shake_256(b"assent/split\0" + job + bytes(number)).digest(8 * rows)
    order = np.argsort(np.frombuffer(stream, "<u8"), kind="stable")
    bits[order[: round(share * rows)]] = 1
    return bits
