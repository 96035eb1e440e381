"""Noise among the three parties: whole numbers on shares that no party knows.

The words of `laplace` are components of the streams that two parties each have in common: a party knows two
of three, and the third is uniform to it. So nothing is sent for them, and what a party sees of the
comparisons is as independent of the noise as it is of any secret (boolean.py). Each party's part of
`gaussian` is known to itself: the other two parts are what protects against it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from privcompute.mpc.protocols import boolean, rep3
from privcompute.mpc.ring import Words
from privcompute.mpc.rounds import Steps, parallel


def laplace(party: rep3.Party, thresholds: Sequence[int], count: int) -> Steps[Words]:
    """Return the difference of two geometric variables with these bits: 8 rounds, 70 bytes a threshold.

    `thresholds` as `privcompute.mpc.noise.thresholds` has them.
    """
    shape = (len(thresholds), 2, count)
    words = np.stack((party.low.words(shape), party.high.words(shape)))
    bounds = np.array(thresholds, np.uint64)[:, np.newaxis, np.newaxis]
    drawn = yield from boolean.inject(party, (yield from boolean.below(party, words, bounds)))
    geometric = (drawn << np.arange(len(thresholds), dtype=np.uint64)[:, np.newaxis, np.newaxis]).sum(axis=1)
    difference: Words = geometric[:, 0] - geometric[:, 1]
    return difference


def added(party: rep3.Party, mine: NDArray[np.int64]) -> Steps[Words]:
    """Return the sum of what each party brings: one round, 8 bytes an element."""
    words = mine.view(np.uint64)
    parts = yield from parallel(
        *[
            rep3.share(party, owner, words if owner == party.me else None, mine.shape)
            for owner in range(rep3.PARTIES)
        ]
    )
    total: Words = parts[0] + parts[1] + parts[2]
    return total
