"""Noise of differential privacy: whole numbers of exactly known distributions, and what draws them.

Discrete Laplace of scale t: P(x) = (1 - p) / (1 + p) · p^|x| with p = e^(-1/t). It is the difference of two
independent geometric variables, P(g) = (1 - p) p^g, and the bits of a geometric variable are independent:
bit i is 1 with probability 1 / (1 + e^(2^i / t)) (Dwork, Kenthapadi, McSherry, Mironov, Naor: "Our Data,
Ourselves", EUROCRYPT 2006). So each bit is one comparison of a uniform word with a public constant, and
`thresholds` are these constants: integers that every host computes alike.

What differs from the exact distribution, in all that may be drawn for one figure: bits beyond the last are 0,
which has a chance of 2 · 2^-TAIL_BITS; and each of at most 2 · NOISE_BITS_MAX constants is off by 2^-65. That
is below 2^-57 in total variation, and a release of epsilon at most EPSILON_MAX makes a delta of it below
(1 + e^epsilon) · 2^-57 < LAPLACE_DELTA a figure (contracts/pages/limits.py).

Discrete Gaussian: P(x) in proportion to e^(-x² / (2 variance)), drawn exactly, in integers (Canonne, Kamath,
Steinke: "The Discrete Gaussian for Differential Privacy", NeurIPS 2020, algorithms 1 to 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from privcompute.errors import OutOfRange

WORD_BITS = 64
"""Bits of the words that are compared."""
TAIL_BITS = 60
"""A geometric variable reaches the power of two at which it is cut with a chance of at most 2^-TAIL_BITS."""
NOISE_BITS_MAX = 45
"""Noise is below 2^45 units, so it keeps to the ranges of whole numbers and reals (ring.py)."""
_TAIL = math.ceil(TAIL_BITS * math.log(2))
"""Scales at which a geometric variable is that rare: 42."""
SCALE_MAX = Fraction(1 << NOISE_BITS_MAX, _TAIL)
"""The greatest scale of a discrete Laplace."""
NOISE_WORDS = 1 << 17
"""Words that are compared at a time when noise is drawn on shares: bounds memory at about 20 MB."""
VARIANCE_MAX = (1 << 40) ** 2
"""Greatest one: 2^45 units are 32 standard deviations."""

Entropy = Callable[[int], bytes]
"""Returns so many fresh random bytes."""
_DECIMAL = Context(prec=60, rounding=ROUND_HALF_EVEN, Emax=10**9, Emin=-(10**9))
_BUFFER = 4096


@lru_cache(maxsize=1_024)
def thresholds(scale: Fraction) -> tuple[int, ...]:
    """Return, for each bit of a geometric variable, below which 64-bit word it is 1, lowest bit first.

    `scale` is in units; OutOfRange where it is not above 0 and at most SCALE_MAX.
    """
    if not 0 < scale <= SCALE_MAX:
        raise OutOfRange(f"noise of scale {float(scale):.6g} units; allowed are more than 0, up to 2^39")
    count = max(1, (math.ceil(_TAIL * scale) - 1).bit_length())
    return tuple([_threshold((1 << bit) / scale) for bit in range(count)])


def _threshold(x: Fraction) -> int:
    """Return 2^64 / (1 + e^x), rounded to the nearest integer; decimal arithmetic is the same everywhere."""
    power = _DECIMAL.exp(_DECIMAL.divide(Decimal(x.numerator), Decimal(x.denominator)))
    share = _DECIMAL.divide(Decimal(1 << WORD_BITS), _DECIMAL.add(Decimal(1), power))
    return int(share.to_integral_value(ROUND_HALF_EVEN))


def laplace_of(words: NDArray[np.uint64], scale: Fraction) -> NDArray[np.int64]:
    """Return discrete Laplace variables of uniform words (bits, 2, n) in the clear; `bits` as thresholds."""
    bits = np.array(thresholds(scale), np.uint64)
    drawn = (words < bits[:, np.newaxis, np.newaxis]).astype(np.int64)
    geometric = (drawn << np.arange(len(bits))[:, np.newaxis, np.newaxis]).sum(axis=0)
    return np.asarray(geometric[0] - geometric[1])


def gaussians(variance: Fraction, count: int, entropy: Entropy) -> NDArray[np.int64]:
    """Return independent discrete Gaussian variables; OutOfRange where the variance is out of range.

    How long it takes depends on what is drawn, which is this party's own noise alone.
    """
    if not 0 < variance <= VARIANCE_MAX:
        raise OutOfRange(f"noise of variance {float(variance):.6g}; allowed are more than 0, up to 2^80")
    dice = _Dice(entropy)
    return np.array([_gaussian(variance, dice) for _ in range(count)], np.int64)


class _Dice:
    """Uniform integers from random bytes, by rejection."""

    def __init__(self, entropy: Entropy) -> None:
        self.entropy = entropy
        self.buffer, self.at = b"", 0

    def below(self, bound: int) -> int:
        bits = (bound - 1).bit_length()
        length = (bits + 7) // 8
        while True:
            value = int.from_bytes(self._take(length), "little") & ((1 << bits) - 1)
            if value < bound:
                return value

    def happens(self, numerator: int, denominator: int) -> bool:
        """Return True with this chance."""
        return self.below(denominator) < numerator

    def _take(self, length: int) -> bytes:
        if self.at + length > len(self.buffer):
            self.buffer, self.at = self.entropy(max(_BUFFER, length)), 0
        self.at += length
        return self.buffer[self.at - length : self.at]


def _decays(numerator: int, denominator: int, dice: _Dice) -> bool:
    """Return True with a chance of e^-(numerator / denominator) (algorithm 1)."""
    while numerator > denominator:
        if not _decays(1, 1, dice):
            return False
        numerator -= denominator
    tries = 1
    while dice.happens(numerator, denominator * tries):
        tries += 1
    return tries % 2 == 1


def _laplace(scale: int, dice: _Dice) -> int:
    """Return a discrete Laplace variable of a whole scale (algorithm 2)."""
    while True:
        rest = dice.below(scale)
        if not _decays(rest, scale, dice):
            continue
        times = 0
        while _decays(1, 1, dice):
            times += 1
        size = rest + scale * times
        negative = dice.happens(1, 2)
        if size or not negative:
            return -size if negative else size


def _gaussian(variance: Fraction, dice: _Dice) -> int:
    """Return a discrete Gaussian variable (algorithm 3)."""
    scale = math.isqrt(math.floor(variance)) + 1
    while True:
        found = _laplace(scale, dice)
        apart = (abs(found) - variance / scale) ** 2 / (2 * variance)
        if _decays(apart.numerator, apart.denominator, dice):
            return found
