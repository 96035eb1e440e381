"""Labels of a model: the value that counts as 1, how large classes must be, and the split that suits them.

Candidates of the split into training and test rows are public, drawn from the job's id one after the other;
the label's owner names the first one in which no class is too small. So whether a job can be tested depends
on how large its classes are, and not on luck: `classes_fit` holds only where the mean number of test rows of
the smaller class fits, the likeliest number of all, so that SPLITS_MAX candidates fail together with a chance
below 2^-60.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privcompute.data.literals import EXPECTED, ColumnType, read_literal
from privcompute.programs.base import InputColumn, InputRefused
from privcompute.programs.encoding import category_texts, split_rows

SPLITS_MAX = 4_096
TEST_ROWS_MAX = 4_096
"""All pairs of test rows are compared (metrics.py)."""
_LITERALS: Mapping[str, ColumnType] = {
    "integer": "decimal", "decimal": "decimal", "boolean": "boolean", "date": "date",
}  # fmt: skip
"""Declared type of a label -> how the parameter `positive` is read; all others are compared as text."""


def positive_value(column: InputColumn, positive: str, reference: str) -> bool | float | str:
    """Return the label's positive value as a column of this type holds it.

    Raises InputRefused when the type or the declared domain has no such value.
    """
    where = f"parameter positive = {positive!r}: the label {reference}"
    typed = _LITERALS.get(column.type)
    if typed is None:
        return _declared_word(column, positive, where)
    value = read_literal(typed, positive)
    if value is None:
        raise InputRefused(f"{where} has type {column.type!r}, whose values are {EXPECTED[typed]}")
    if typed == "decimal":
        low, high = (None if text is None else float(text) for text in (column.low, column.high))
        number = float(value)
        if (low is not None and number < low) or (high is not None and number > high):
            raise InputRefused(f"{where} is declared from {column.low or 'any'} to {column.high or 'any'}")
    return positive if typed == "date" else value


def _declared_word(column: InputColumn, positive: str, where: str) -> str:
    coded = dict(column.coding)
    if positive in coded and positive not in (*coded.values(), *column.categories):
        raise InputRefused(f"{where} declares {positive!r} as a code for {coded[positive]!r}; name the value")
    if column.categories and positive not in column.categories:
        raise InputRefused(f"{where} is declared as one of {', '.join(column.categories[:8])}")
    return positive


def label_flags(cells: NDArray[Any], positive: bool | float | str) -> NDArray[np.int64]:
    """Return 1 for each cell that holds the positive value, 0 for every other."""
    named = category_texts(cells) if isinstance(positive, str) else cells
    flags: NDArray[np.int64] = (named == positive).astype(np.int64)
    return flags


def tested_rows(share: Decimal, rows: int, least: int) -> int:
    """Return how many of the rows are test rows; at least twice the smallest class that may be tested."""
    return max(int(min(round(share * rows), TEST_ROWS_MAX)), min(2 * least, TEST_ROWS_MAX))


def classes_fit(positives: int, rows: int, test: int, least: int) -> bool:
    """Tell whether a split of so many rows into test and training suits its classes.

    The mean of the smaller class among the test rows must be at least `least`, among the training rows 1.
    """
    smaller = min(positives, rows - positives)
    return smaller * test >= least * rows and smaller * (rows - test) >= rows


def first_fit(job: bytes, labels: NDArray[np.int64], test: int, least: int) -> int | None:
    """Return the number of the first candidate in which both classes have enough test and training rows."""
    rows, positives = len(labels), int(labels.sum())
    if not classes_fit(positives, rows, test, least):
        return None
    for number in range(SPLITS_MAX):
        tested = int(labels[split_rows(job, rows, test, number)[1]].sum())
        kept = positives - tested
        if least <= tested <= test - least and 0 < kept < rows - test:
            return number
    return None
