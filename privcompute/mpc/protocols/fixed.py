"""Division, roots and piecewise polynomials on fixed-point secrets (raw words with 16 fraction bits).

Division and roots first normalise (Catrina, Saxena, "Secure computation with fixed-point numbers", FC 2010,
section 3.4): the highest set bit of y, found on bit shares, is moved to a fixed place, which gives
c = y · 2^e in [1/2, 1). Everything after that runs with 30 fraction bits, because truncation is exact up to
raw magnitudes of 2^62. Non-positive divisors have no such bit and yield exactly 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from privcompute.mpc.piecewise import COEFFICIENT_BITS, Piecewise
from privcompute.mpc.protocols.boolean import compose, decompose, inject, lowest_one, reverse, sign
from privcompute.mpc.protocols.rep3 import Party, additive, constant, mul, product
from privcompute.mpc.protocols.truncate import truncate
from privcompute.mpc.ring import FRACTION_BITS, Words
from privcompute.mpc.rounds import Steps, parallel

UNIT_BITS = 30
"""Fraction bits of normalised numbers."""
VALUE_BITS = 46
"""A number of magnitude below 2^30 with 16 fraction bits is below 2^46 as a ring element."""
_ONE = 1 << UNIT_BITS
_COARSE_BITS = 15
"""A quotient is first found in units of 2^15."""
_EVEN = np.uint64(0x5555555555555555)
_COMPACT = tuple(
    (np.uint64(shift), np.uint64(mask))
    for shift, mask in (
        (1, 0x3333333333333333),
        (2, 0x0F0F0F0F0F0F0F0F),
        (4, 0x00FF00FF00FF00FF),
        (8, 0x0000FFFF0000FFFF),
        (16, 0x00000000FFFFFFFF),
    )
)


def mul_truncate(party: Party, x: Words, y: Words, bits: int) -> Steps[Words]:
    """Return the product divided by 2^bits: two rounds, for |x y| < 2^62 as signed integers."""
    return (yield from truncate(party, product(party, x, y), bits))


def public(party: Party, value: int, like: Words) -> Words:
    """Return shares of one public ring element in the shape of a secret: local."""
    return constant(party.me, np.full(like.shape[1:], value % 2**64, dtype=np.uint64))


def normaliser(party: Party, y: Words) -> Steps[Words]:
    """Return bit-shared 2^(45-m), m the place of y's highest set bit; 0 where y <= 0 or y >= 2^46."""
    mirrored = reverse((yield from decompose(party, y)))
    one_hot: Words = (yield from lowest_one(party, mirrored)) >> np.uint64(64 - VALUE_BITS)
    return one_hot


def divide(party: Party, x: Words, y: Words) -> Steps[Words]:
    """Return the quotient with 16 fraction bits; 0 where y <= 0. 40 rounds.

    For |x| < 2^61, 0 < y < 2^46 raw and |x / y| < 2^30 the error is at most 4 ulp. The quotient of x / 2^15
    gives a whole number near x / y, so that what is left of x to divide is small again, and exact: it is
    computed with y lifted, in the ring, where what wraps cancels out.
    """
    one_hot, small = yield from parallel(
        normaliser(party, y), truncate(party, additive(party, x), _COARSE_BITS)
    )
    lift = yield from compose(party, one_hot)
    whole, lifted = yield from parallel(mul(party, y, lift), mul(party, x, lift))
    unit, numerator = yield from parallel(
        truncate(party, additive(party, whole), VALUE_BITS - UNIT_BITS),
        mul_truncate(party, small, lift, UNIT_BITS),
    )
    inverse = yield from _reciprocal(party, unit)
    near = yield from mul_truncate(party, numerator, inverse, UNIT_BITS + FRACTION_BITS - _COARSE_BITS)
    rest = additive(party, lifted) - product(party, near, whole)
    left = yield from truncate(party, rest, UNIT_BITS)
    return (near << np.uint64(FRACTION_BITS)) + (yield from mul_truncate(party, left, inverse, UNIT_BITS))


def _reciprocal(party: Party, unit: Words) -> Steps[Words]:
    """1 / c for c in [1/2, 1), both with 30 fraction bits: Goldschmidt's iteration, relative error 2^-27.

    2.9142 - 2c has relative error |a| < 0.0859 (Catrina, Saxena, section 3.4), and
    w (1 + a)(1 + a^2)(1 + a^4) leaves a^8 < 2^-28.
    """
    guess = public(party, round(2.9142 * _ONE), unit) - (unit << np.uint64(1))
    one = public(party, _ONE, unit)
    error = one - (yield from mul_truncate(party, unit, guess, UNIT_BITS))
    for _ in range(2):
        guess, error = yield from parallel(
            mul_truncate(party, guess, one + error, UNIT_BITS), mul_truncate(party, error, error, UNIT_BITS)
        )
    return (yield from mul_truncate(party, guess, one + error, UNIT_BITS))


@dataclass(frozen=True, slots=True)
class _Root:
    """How a root is put together again: power · (odd or even factor) · 2^j, j the half of the bit's place."""

    even: float
    odd: float
    shift: int
    """Fraction bits of the product beyond the result's 16."""


_SQRT = _Root(even=2.0**0.5, odd=2.0, shift=22)
_INVERSE_SQRT = _Root(even=0.5**0.5, odd=0.5, shift=28)
_HALF_PLACE_MAX = VALUE_BITS // 2 - 1


def sqrt(party: Party, x: Words) -> Steps[Words]:
    """Square root, 0 where x <= 0: error at most 2 ulp + 2^-24 of the root."""
    unit, half, is_odd = yield from _halve_exponent(party, x, inverted=False)
    power = yield from _inverse_root(party, unit)
    power = yield from mul_truncate(party, power, unit, UNIT_BITS)
    return (yield from _assemble(party, power, half, is_odd, _SQRT))


def inverse_sqrt(party: Party, x: Words) -> Steps[Words]:
    """Return 1 / sqrt(x), 0 where x <= 0: error at most 2 ulp + 2^-24 of the value."""
    unit, half, is_odd = yield from _halve_exponent(party, x, inverted=True)
    power = yield from _inverse_root(party, unit)
    return (yield from _assemble(party, power, half, is_odd, _INVERSE_SQRT))


def _halve_exponent(party: Party, x: Words, *, inverted: bool) -> Steps[tuple[Words, Words, Words]]:
    """Return c in [1/2, 1) with 30 fraction bits, 2^j or 2^(22-j) for m = 2j + parity, and the parity."""
    lift = yield from normaliser(party, x)
    one_hot = reverse(lift) >> np.uint64(64 - VALUE_BITS)
    # One-hot words have one set bit, so exclusive or joins even and odd places without interaction.
    places = (one_hot ^ (one_hot >> np.uint64(1))) & _EVEN
    for shift, mask in _COMPACT:
        places = (places ^ (places >> shift)) & mask
    if inverted:
        places = reverse(places) >> np.uint64(63 - _HALF_PLACE_MAX)
    parity = one_hot & ~_EVEN
    for level in (32, 16, 8, 4, 2):
        parity = parity ^ (parity >> np.uint64(level))
    is_odd_bit = ((parity >> np.uint64(1)) & np.uint64(1)).astype(np.uint8)
    lifting = np.stack((lift, places), axis=1)
    words, is_odd = yield from parallel(compose(party, lifting), inject(party, is_odd_bit))
    unit = yield from mul_truncate(party, x, words[:, 0], VALUE_BITS - UNIT_BITS)
    return unit, words[:, 1], is_odd


def _inverse_root(party: Party, unit: Words) -> Steps[Words]:
    """c^(-1/2) for c in [1/2, 1), both with 30 fraction bits: Newton's iteration, relative error 2^-27.

    The line 1.78773 - 0.80999 c errs by at most 2.23 %; a step y (3 - c y^2) / 2 takes e to 1.5 e^2,
    three steps take it below the rounding.
    """
    slope = np.uint64(round(0.80999 * _ONE))
    guess = public(party, round(1.78773 * _ONE), unit)
    guess = guess - (yield from truncate(party, additive(party, unit * slope), UNIT_BITS))
    three = public(party, 3 * _ONE, unit)
    for _ in range(3):
        square = yield from mul_truncate(party, guess, guess, UNIT_BITS)
        error = three - (yield from mul_truncate(party, square, unit, UNIT_BITS))
        guess = yield from mul_truncate(party, guess, error, UNIT_BITS + 1)
    return guess


def _assemble(party: Party, power: Words, half: Words, is_odd: Words, root: _Root) -> Steps[Words]:
    even, odd = round(root.even * _ONE), round(root.odd * _ONE)
    factor = public(party, even, power) + is_odd * np.uint64((odd - even) % 2**64)
    mantissa = yield from mul_truncate(party, power, factor, UNIT_BITS)
    return (yield from mul_truncate(party, mantissa, half, root.shift))


def piecewise(party: Party, x: Words, function: Piecewise) -> Steps[Words]:
    """Evaluate a piecewise polynomial at secrets with 16 fraction bits: comparisons at once, then Horner.

    Outside the outermost breakpoints all coefficients but the constant are exactly 0, so x may be anything
    inside the range of ring.py.
    """
    edges = np.asarray(function.breakpoints, dtype=np.int64).view(np.uint64)
    column = (-1, *(1,) * (x.ndim - 1))
    distances = x[:, np.newaxis] - constant(party.me, edges).reshape(2, *column)
    below = yield from inject(party, (yield from sign(party, distances)))
    table = _from_the_right(party, below, function)
    centre, constant_term, *coefficients = table
    offset = x - centre
    value = coefficients.pop()
    while coefficients:
        value = coefficients.pop() + (yield from mul_truncate(party, value, offset, FRACTION_BITS))
    value = yield from mul_truncate(party, value, offset, COEFFICIENT_BITS)
    return constant_term + value


def _from_the_right(party: Party, below: Words, function: Piecewise) -> Sequence[Words]:
    """Return centre, constant term and coefficients of each element's piece, chosen by 0/1 secrets: local."""
    steps = function.steps()
    last = np.asarray(function.pieces[-1], dtype=np.int64)
    columns = []
    for index in range(steps.shape[1]):
        gains, end = steps[:, index], int(last[index])
        if index == 1:  # the constant term is added to a product that has 16 fraction bits already
            gains, end = function.rounded_constants()
        weights = gains.view(np.uint64).reshape(-1, *(1,) * (below.ndim - 2))
        columns.append(public(party, end, below[:, 0]) - (below * weights).sum(axis=1, dtype=np.uint64))
    return columns
