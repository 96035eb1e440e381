"""Encoding of an owner's own columns before they are shared: categories, standardisation, rotation.

All of it is local, and learnt from the matched *training* rows only, so that no test row leaks into the
model. The rotation is the trick that makes joint training short: for the owner's standardised block X with
covariance V L Vᵀ it shares Z = X V (L + 4 l2)^-1/2 instead of X. By Böhning and Lindsay (1988) the Hessian
of the penalised logistic loss is at most XᵀX/4n + l2, so in Z each owner's block of it is at most 1/4, and
the whole at most (number of owners)/4: gradient descent needs no tuned step and few steps. The optimum is
the same model, because the penalty l2 |w|²/2 becomes l2 Σ d_j v_j²/2 with d = 1/(L + 4 l2), w = V √d v.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import shake_256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privcompute.programs.base import InputColumn, InputRefused, OwnData

CATEGORIES_MAX = 64
STANDARDISED_BOUND = 64.0
"""Standardised values are clipped here: only test rows far outside the training rows reach it."""
OTHER = "(other)"
_RIDGE_FLOOR = 1e-4
"""Directions with less variance than this part of a standard deviation squared are not stretched further."""

Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ColumnBlock:
    """One owner's encoded features, ready to be shared."""

    labels: tuple[str, ...]
    """`column` for numbers, `column=category` for categories."""
    standardised: Reals
    """(rows, features): mean 0 and deviation 1 over the training rows; 0 where constant there."""
    rotation: Reals
    """(features, features): standardised @ rotation is what is shared."""
    penalty: Reals
    """(features,): d, the factor of the L2 penalty in each rotated direction."""

    @property
    def rotated(self) -> Reals:
        """The block as it is shared: (rows, features)."""
        return self.standardised @ self.rotation


def split_rows(
    job: bytes, rows: int, test_rows: int, number: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (training rows, test rows), each ascending: candidate `number` of the public random splits.

    The job id and as many zero bytes seed it; which one is taken, the label's owner says (labels.py).
    """
    stream = shake_256(b"assent/split\0" + job + bytes(number)).digest(8 * rows)
    order = np.argsort(np.frombuffer(stream, "<u8"), kind="stable")
    return np.sort(order[test_rows:]), np.sort(order[:test_rows])


def category_texts(column: NDArray[Any]) -> NDArray[np.str_]:
    """Return cells as the texts that name their categories: `true`, `2024-01-31`, or the value itself."""
    if column.dtype == np.bool_:
        return np.where(column, "true", "false")
    return np.asarray(column, dtype=str)


def categories(column: NDArray[Any], least_rows: int, name: str) -> tuple[str, ...]:
    """Return a column's categories, sorted; those with fewer than `least_rows` rows are merged in OTHER.

    Taken from the owner's whole dataset. Raises InputRefused when more than CATEGORIES_MAX remain.
    """
    values, counts = np.unique(category_texts(np.asarray(column)), return_counts=True)
    kept = tuple(str(value) for value in values[(counts >= least_rows) & (values != OTHER)])
    if len(kept) > CATEGORIES_MAX:
        raise InputRefused(
            f"column {name}: {len(kept)} categories, at most {CATEGORIES_MAX}; group them, or leave it out"
        )
    return kept if len(kept) == len(values) else (*kept, OTHER)


def one_hot(column: NDArray[Any], labels: Sequence[str]) -> NDArray[np.int64]:
    """Return (rows, labels) of 0 and 1; a value without a label of its own counts as OTHER."""
    cells = category_texts(np.asarray(column))
    hot: NDArray[np.int64] = (cells[:, np.newaxis] == np.asarray(labels, dtype=str)).astype(np.int64)
    if OTHER in labels:
        place = list(labels).index(OTHER)
        hot[:, place] = np.delete(hot, place, axis=1).sum(axis=1) == 0
    return hot


def feature_names(
    data: Mapping[str, NDArray[Any]], columns: Sequence[InputColumn], least_rows: int
) -> list[str]:
    """Return the names of the features that the columns become: `column`, or `column=category`."""
    names: list[str] = []
    for column in columns:
        if column.numeric:
            names.append(column.name)
            continue
        found = categories(data[column.name], least_rows, column.name)
        names += [f"{column.name}={category}" for category in found]
    return names


def encode_block(
    data: OwnData,
    columns: Sequence[InputColumn],
    training: NDArray[np.int64],
    *,
    l2: float,
    least_rows: int,
) -> ColumnBlock:
    """Encode an owner's feature columns over the joined rows; `training` are the rows to learn from."""
    parts: list[Reals] = []
    for column in columns:
        cells = data.aligned(column.name)
        if column.numeric:
            parts.append(cells.astype(np.float64)[:, np.newaxis])
            continue
        found = categories(data.columns[column.name], least_rows, column.name)
        parts.append(one_hot(cells, found).astype(np.float64))
    standardised = standardise(np.concatenate(parts, axis=1), training)
    rotation, penalty = precondition(standardised[training], l2)
    labels = feature_names(data.columns, columns, least_rows)
    return ColumnBlock(tuple(labels), standardised, rotation, penalty)


def standardise(features: Reals, training: NDArray[np.int64]) -> Reals:
    """Return (x - mean) / deviation with both taken over the training rows; constant columns become 0."""
    mean, deviation = features[training].mean(axis=0), features[training].std(axis=0)
    constant = deviation <= 1e-9 * np.maximum(1.0, np.abs(mean))
    scaled = (features - mean) / np.where(constant, 1.0, deviation)
    return np.clip(np.where(constant, 0.0, scaled), -STANDARDISED_BOUND, STANDARDISED_BOUND)


def precondition(block: Reals, l2: float) -> tuple[Reals, Reals]:
    """Return (V √d, d) with d = 1/(L + 4 l2), where V L Vᵀ is the covariance of a standardised block."""
    variances, directions = np.linalg.eigh(block.T @ block / len(block))
    scale = 1.0 / (np.maximum(variances, 0.0) + max(4.0 * l2, _RIDGE_FLOOR))
    return directions * np.sqrt(scale), scale
