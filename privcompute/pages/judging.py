"""What owners judge of their own data before they bind: how rows and cells turn into findings.

A finding has a code that says what kind of thing is wrong and tells no number, and a text that stays with the
owner. Bounds are those that hold for every set of joined rows, so that what passes does not fail later:
a column with a declared domain is judged by it, and its answer follows from what everybody can read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privcompute.mpc.protocols.psi import ROWS_MAX
from privcompute.pages.columns import InputColumn, JobInput

TOO_FEW_ROWS = "DATA_TOO_FEW_ROWS"
TOO_MANY_ROWS = "DATA_TOO_MANY_ROWS"
OUT_OF_RANGE = "DATA_OUT_OF_RANGE"
CODES = (TOO_FEW_ROWS, TOO_MANY_ROWS, OUT_OF_RANGE)
"""In this order: a job that several findings end is ended with the first."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What in an owner's own data would end a job later: all may know the code, the owner alone the text."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class OwnTable:
    """An owner's own table as it is judged before the owner binds: nothing of the others is known."""

    min_group: int
    item: JobInput
    """The input that is judged."""
    columns: Mapping[str, NDArray[Any]] = field(repr=False)
    """Whole columns (privcompute/data/tables.py); those that the job does not use may be missing."""
    rows: int
    joined: NDArray[np.int64] | None = field(default=None, repr=False)
    """The rows that an earlier job over the same versions joined; None where none has."""
    least_rows: int = 0
    """Fewest joined rows that this owner itself asks for."""


def judged(least_rows: int, own: OwnTable, of_columns: Sequence[Finding]) -> list[Finding]:
    """Return everything on an owner's own data that would end a run, in the order of CODES.

    `least_rows` is what the job's work needs, `of_columns` what is found in the columns.
    """
    return sorted([*_rows(least_rows, own), *of_columns], key=lambda one: CODES.index(one.code))


def _rows(least_rows: int, own: OwnTable) -> list[Finding]:
    least = max(least_rows, own.least_rows)
    if own.rows > ROWS_MAX:
        return [Finding(TOO_MANY_ROWS, f"{own.rows} rows; a join takes at most {ROWS_MAX}")]
    rows, which = (own.rows, "rows") if own.joined is None else (len(own.joined), "joined rows")
    if rows >= least:
        return []
    return [Finding(TOO_FEW_ROWS, f"{rows} {which}, the job needs {least}: lower its min_group, or add rows")]


def cells_finding(own: OwnTable, reference: str, column: InputColumn, bound: float) -> list[Finding]:
    """Return a finding where a cell, or the declared domain, reaches `bound` (exclusive magnitude)."""
    if magnitude(column, own.columns[column.name]) < bound:
        return []
    return [
        Finding(
            OUT_OF_RANGE,
            f"column {reference}: cells must lie between -{bound:.6g} and {bound:.6g}; rescale it",
        )
    ]


def magnitude(column: InputColumn, cells: NDArray[Any]) -> float:
    """Return the greatest magnitude that a cell may have by the declared domain, else that one has."""
    if column.low is not None and column.high is not None:
        return max(abs(float(column.low)), abs(float(column.high)))
    return float(np.max(np.abs(cells.astype(np.float64))))
