"""Sums of figures with whole factors that can rest on the fewest rows: which factors there are to try.

Figures are over groups of rows, all rows among them. In a sum of figures with factors a row counts by the
sum of the factors of the groups that it is in; the sum rests on the rows in which that is not 0. If some sum,
with any factors, rests on few rows, one of them does whose rows with 0 are as many as can be: its factors are
those of a hyperplane through points of {0, 1}^d, a row being the point that says in which of d groups it is.
All hyperplanes through d such points are listed here for d up to 6; of 6 there are 252,434. Their factors are
minors of matrices of 0 and 1, so at most LARGEST. Where groups are those of two nested families, as two
groupings are, no factor is larger than 1, and none counts a row twice: such matrices are totally unimodular
(Edmonds 1970).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations, combinations_with_replacement, permutations, product

import numpy as np
from numpy.typing import NDArray

LARGEST = (1, 1, 1, 2, 3, 5)
"""Greatest factor where 1, 2, … groups have one: a determinant of 0 and 1, of one row less."""
Factors = NDArray[np.int8]
"""(sums, 1 + groups): of all rows, then of each group."""


@lru_cache(maxsize=8)
def normals(groups: int) -> Factors:
    """Return the factors of all hyperplanes through points of {0, 1}^groups, each with one sign."""
    found = [np.zeros((0, groups + 1), np.int8)]
    for used in range(1, groups + 1):
        some = _of_all(used)
        for places in combinations(range(groups), used):
            factors = np.zeros((len(some), groups + 1), np.int8)
            factors[:, [0, *[1 + place for place in places]]] = some
            found.append(factors)
    return np.concatenate(found)


def signs(groups: int) -> Factors:
    """Return -1, 0 and 1 of all rows and each group in all ways, the first that is not 0 being 1."""
    every = np.indices((3,) * (groups + 1), np.int8).reshape(groups + 1, -1).T - np.int8(1)
    used = every != 0
    kept: Factors = every[every[np.arange(len(every)), used.argmax(axis=1)] > 0]
    return kept


@lru_cache(maxsize=8)
def _of_all(groups: int) -> Factors:
    """Return the factors of the hyperplanes in which no group has 0."""
    found = []
    for kind, levels in _kinds(groups):
        orders = np.array(sorted(set(permutations(kind))), np.int8)
        turned = np.array([(1, *rest) for rest in product((1, -1), repeat=groups - 1)], np.int8)
        factors = (orders[:, None, :] * turned[None]).reshape(-1, groups)
        below = np.minimum(factors, 0).sum(axis=1, dtype=np.int8)
        found += [np.column_stack([-(below + np.int8(level)), factors]) for level in levels]
    return np.concatenate(found)


def _kinds(groups: int) -> list[tuple[tuple[int, ...], list[int]]]:
    """Return factors above 0, ascending, with the sums at which a hyperplane goes through `groups` points."""
    points = np.array(list(product((0, 1), repeat=groups)))
    found = []
    for kind in combinations_with_replacement(range(1, LARGEST[groups - 1] + 1), groups):
        if math.gcd(*kind) == 1:
            sums = points @ np.array(kind)
            levels = [level for level in range(sum(kind) + 1) if _spans(points[sums == level], groups)]
            found += [(kind, levels)] if levels else []
    return found


def _spans(points: NDArray[np.int_], groups: int) -> bool:
    """Tell whether points lie in one hyperplane alone."""
    whole = np.column_stack([points, np.ones(len(points))])
    return len(points) >= groups and int(np.linalg.matrix_rank(whole)) == groups


def reach(factors: Factors, apart: Sequence[NDArray[np.intp]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return how far from 0 a row may count in each sum, and how many kinds of rows count as 0.

    `apart` are sets of groups, from 1 on, of which a row is in one at most.
    """
    groups = factors.shape[1] - 1
    points = np.array([(1, *point) for point in product((0, 1), repeat=groups)])
    for some in apart:
        points = points[points[:, some].sum(axis=1) <= 1]
    counts = factors.astype(np.int64) @ points.T
    return np.abs(counts).max(axis=1), (counts == 0).sum(axis=1)
