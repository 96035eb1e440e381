"""Records of whole 64-bit words, many at a time: in the order of their bytes, and what sorted lists share.

Nothing here makes an object of a record. Ties in the first word are a chance of 2^-24 for a million random
records each; who makes them on purpose pays for a slower sort, and changes no result.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray

WORD_BYTES = 8
Records = NDArray[np.uint64]
"""(records, words): each record's bytes as big-endian words."""
Places = NDArray[np.int64]


def records_of(data: bytes | memoryview, width: int) -> Records:
    """Return records of `width` bytes each, a multiple of 8."""
    return np.frombuffer(data, ">u8").reshape(-1, width // WORD_BYTES).astype(np.uint64)


def sorting(records: Records) -> Places:
    """Return the places of records in the order of their bytes."""
    order = np.argsort(records[:, 0])
    heads = records[order, 0]
    if (heads[1:] == heads[:-1]).any():
        order = np.lexsort(records.T[::-1])
    return order.astype(np.int64, copy=False)


def is_rising(records: Records) -> bool:
    """Tell whether each record is greater than the one before it, so that none is there twice."""
    before, after = records[:-1], records[1:]
    rising, equal = np.zeros(len(after), np.bool_), np.ones(len(after), np.bool_)
    for word in range(records.shape[1]):
        rising |= equal & (after[:, word] > before[:, word])
        equal &= after[:, word] == before[:, word]
    return bool(rising.all())


def places_in(rising: Records, sought: Records) -> Places:
    """Return where each of some records stands in a rising list, -1 where it does not.

    The records sought are rising, too.
    """
    if not len(rising):
        return np.full(len(sought), -1, np.int64)
    heads = rising[:, 0]
    if (heads[1:] == heads[:-1]).any():
        return _places_by_sorting(rising, sought)
    at = np.minimum(np.searchsorted(heads, sought[:, 0]), len(rising) - 1).astype(np.int64)
    return np.where((rising[at] == sought).all(axis=1), at, -1)


def in_all(lists: Sequence[Records]) -> Records:
    """Return the records that all of some rising lists hold, rising."""
    return reduce(lambda found, more: found[places_in(more, found) >= 0], lists)


def _places_by_sorting(rising: Records, sought: Records) -> Places:
    both = np.concatenate([rising, sought])
    order = np.lexsort(both.T[::-1])
    pairs = np.flatnonzero((both[order[1:]] == both[order[:-1]]).all(axis=1))
    places = np.full(len(sought), -1, np.int64)
    places[order[pairs + 1] - len(rising)] = order[pairs]
    return places
