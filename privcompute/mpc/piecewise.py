"""Piecewise polynomials with public pieces, and the two that stand for the sigmoid.

On piece i the function is sum_j c_ij (x - centre_i)^j: centring keeps the argument small, so that rounded
coefficients cost little. The pieces were fitted by Lawson's iteration (weighted least squares) to nearly
the least maximum error; breakpoints were moved until all pieces err alike. Outside the outermost
breakpoints the value is exactly 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from privcompute.mpc.ring import FRACTION_BITS

COEFFICIENT_BITS = 28
"""Fraction bits of coefficients; breakpoints and centres have FRACTION_BITS."""


@dataclass(frozen=True, slots=True)
class Piecewise:
    """A function given by m breakpoints and m + 1 polynomials, as raw integers."""

    breakpoints: tuple[int, ...]
    """Ascending; piece i + 1 begins at breakpoint i."""
    pieces: tuple[tuple[int, ...], ...]
    """(centre, c0, c1, …) of each piece."""

    @property
    def degree(self) -> int:
        """Return the degree of the polynomials."""
        return len(self.pieces[0]) - 2

    def steps(self) -> NDArray[np.int64]:
        """Return (m, degree + 2): what centre and coefficients gain at each breakpoint."""
        table = np.asarray(self.pieces, dtype=np.int64)
        return table[1:] - table[:-1]

    def rounded_constants(self) -> tuple[NDArray[np.int64], int]:
        """Return the gains of the constant term and its last value, rounded to FRACTION_BITS."""
        spare = COEFFICIENT_BITS - FRACTION_BITS
        rounded = (np.asarray(self.pieces, dtype=np.int64)[:, 1] + (1 << (spare - 1))) >> spare
        return rounded[1:] - rounded[:-1], int(rounded[-1])

    def evaluate(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate in the clear."""
        index = np.searchsorted(np.asarray(self.breakpoints) / 2.0**FRACTION_BITS, x, side="right")
        table = np.asarray(self.pieces, dtype=np.float64)[index]
        offset = x - table[..., 0] / 2.0**FRACTION_BITS
        value = np.zeros_like(offset)
        for power in range(self.degree, -1, -1):
            coefficient = table[..., power + 1] / 2.0**COEFFICIENT_BITS
            value = coefficient + value * offset
        return value


_TRAINING = Piecewise(
    breakpoints=(-347904, -202240, -126976, -67072, 67072, 126976, 202240, 347904),
    pieces=(
        (0, 0, 0),
        (-274944, 5224088, 4682624),
        (-164608, 21449124, 19221432),
        (-97024, 51069351, 40654918),
        (0, 134217728, 63098743),
        (97024, 217366105, 40654918),
        (164608, 246986332, 19221432),
        (274944, 263211368, 4682624),
        (0, 268435456, 0),
    ),
)
_SCORING = Piecewise(
    breakpoints=(
        *(-652800, -380160, -243968, -129536, -54784),
        *(54784, 129536, 243968, 380160, 652800),
    ),
    pieces=(
        (0, 0, 0, 0, 0),
        (-516608, 89596, 91911, 71235, 22968),
        (-312064, 2263518, 2248301, 1200558, 380192),
        (-186880, 14644237, 13864969, 6309131, 1560809),
        (-92160, 52847647, 42448973, 12555136, 240820),
        (0, 134217728, 67032104, 0, -5139206),
        (92160, 215587809, 42448973, -12555136, 240820),
        (186880, 253791219, 13864969, -6309131, 1560809),
        (312064, 266171938, 2248301, -1200558, 380192),
        (516608, 268345860, 91911, -71235, 22968),
        (0, 268435456, 0, 0, 0),
    ),
)


def sigmoid(accuracy: Literal["training", "scoring"]) -> Piecewise:
    """Return the pieces of 1 / (1 + e^-x): linear for training, cubic for scoring.

    Over all reals, arithmetic included, they err by at most 0.0050 and 0.00008.
    """
    return _TRAINING if accuracy == "training" else _SCORING
