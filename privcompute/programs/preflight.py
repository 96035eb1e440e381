"""What owners judge of their own data before they bind: helpers that turn cells into findings.

A finding has a code that says what kind of thing is wrong and tells no number, and a text that stays with the
owner. Bounds are those that hold for every set of joined rows, so that what passes does not fail later:
a column with a declared domain is judged by it, and its answer follows from what everybody can read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.values import Value, encode_value
from privcompute.mpc.protocols.psi import ROWS_MAX
from privcompute.programs.base import (
    ANNOUNCEMENT_BYTES_MAX,
    Finding,
    InputColumn,
    InputRefused,
    OwnTable,
)
from privcompute.programs.encoding import categories

TOO_FEW_ROWS = "DATA_TOO_FEW_ROWS"
TOO_MANY_ROWS = "DATA_TOO_MANY_ROWS"
CLASS_TOO_SMALL = "DATA_CLASS_TOO_SMALL"
OUT_OF_RANGE = "DATA_OUT_OF_RANGE"
TOO_MANY_CATEGORIES = "DATA_TOO_MANY_CATEGORIES"
NAMES_TOO_LONG = "DATA_NAMES_TOO_LONG"
CODES = (
    TOO_FEW_ROWS, TOO_MANY_ROWS, CLASS_TOO_SMALL, OUT_OF_RANGE, TOO_MANY_CATEGORIES, NAMES_TOO_LONG,
)  # fmt: skip
"""In this order: a job that several findings end is ended with the first."""
CELL_BOUND = 1e100
"""Squares of such cells, and sums of them, are still reals."""


def preflight(least_rows: int, own: OwnTable, judged: Sequence[Finding]) -> list[Finding]:
    """Return everything on an owner's own data that would end a run, in the order of CODES.

    `least_rows` is what the job's work needs, `judged` what it finds in the columns.
    """
    return sorted([*_rows(least_rows, own), *judged], key=lambda one: CODES.index(one.code))


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


def category_finding(own: OwnTable, reference: str, name: str, least_rows: int) -> list[Finding]:
    """Return a finding where a column has more categories than a program takes."""
    try:
        categories(own.columns[name], least_rows, reference)
    except InputRefused as refused:
        return [Finding(TOO_MANY_CATEGORIES, str(refused))]
    return []


def names_finding(announced: Value, names: Iterable[str], chars: int) -> list[Finding]:
    """Return a finding where names, or what an owner announces with them, are longer than others take."""
    longest = max((len(name) for name in names), default=0)
    size = len(encode_value(announced))
    if longest <= chars and size <= ANNOUNCEMENT_BYTES_MAX:
        return []
    return [
        Finding(
            NAMES_TOO_LONG,
            f"names of categories: {size} bytes together, the longest of {longest} characters; at most "
            f"{ANNOUNCEMENT_BYTES_MAX} and {chars}: shorten them, or use fewer columns",
        )
    ]
