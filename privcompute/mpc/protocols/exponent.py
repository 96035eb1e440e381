"""Exponential and logarithm of fixed-point secrets (raw words with 16 fraction bits).

The argument is split at the binary point of its logarithm: e^x = 2^i · 2^f with whole i and 0 <= f < 1, and
log x = log c + i log 2 with c in [1/2, 1), as fixed.py normalises. What is left is a short polynomial with 30
fraction bits, interpolated at Chebyshev's points; its coefficients are written out, so all parties have the
same. Both follow Catrina, Saxena, "Secure computation with fixed-point numbers", FC 2010, in how bits are
found and put together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from privcompute.mpc.protocols.boolean import compose, decompose, inject, lowest_one, reverse, sign
from privcompute.mpc.protocols.fixed import UNIT_BITS, VALUE_BITS, mul_truncate, public
from privcompute.mpc.protocols.rep3 import Party, additive, mul
from privcompute.mpc.protocols.truncate import truncate
from privcompute.mpc.ring import FRACTION_BITS, Words
from privcompute.mpc.rounds import Steps, parallel

EXP_LEAST = -12.0
"""Below, e^x is less than half a unit in the last place."""
EXP_GREATEST = 20.75
"""Above, e^x would not fit below 2^30: e^20.75 stands for it."""
_LOG2_E = 387_270_501
_LOG2_E_BITS = 28
_LN_2 = 744_261_118
_TERM_BITS = 24
"""Fraction bits of x log2(e)."""
_WHOLE_BITS = 5
_LIFT = 18
"""Added to negative exponents, which are at least -17.4."""
_POWER = (1_073_741_715, 744_268_966, 257_850_314, 59_979_580, 9_609_550, 2_033_403)
"""2^f on [0, 1) in powers of f: relative error 2^-23."""
_LOGARITHM = (
    *(-308_896_273, 1_431_691_679, -954_479_265, 843_841_682, -843_061_603),
    *(1_045_716_161, -1_170_265_929),
)
"""log c on [1/2, 1) in powers of c - 3/4: error 2^-19."""
_PLACE_BITS = 6


def exp(party: Party, x: Words) -> Steps[Words]:
    """Return e^x: within 1 ulp and 2^-21 of it; 38 rounds. x < -12 gives 0, x > 20.75 gives e^20.75."""
    low, high = (public(party, round(end * 2**FRACTION_BITS), x) for end in (EXP_LEAST, EXP_GREATEST))
    differences = np.stack((x - low, high - x, x), axis=1)
    bits = yield from inject(party, (yield from sign(party, differences)))
    below, above, negative = bits[:, 0], bits[:, 1], bits[:, 2]
    moved = yield from mul(party, np.stack((below, above), axis=1), np.stack((low - x, high - x), axis=1))
    x = x + moved[:, 0] + moved[:, 1]
    part = additive(party, x * np.uint64(_LOG2_E))
    term = yield from truncate(party, part, FRACTION_BITS + _LOG2_E_BITS - _TERM_BITS)
    lifted = term + negative * np.uint64(_LIFT << _TERM_BITS)
    digits = yield from _whole_digits(party, lifted)
    places = np.array([1 << (_TERM_BITS + place) for place in range(_WHOLE_BITS)], np.uint64)
    fraction = lifted - (digits * _column(places, x)).sum(axis=1, dtype=np.uint64)
    mantissa, power = yield from parallel(
        _polynomial(party, fraction, _POWER, _TERM_BITS), _power_of_two(party, digits)
    )
    product = yield from mul(party, mantissa, power)
    spare = UNIT_BITS - FRACTION_BITS
    large, small = yield from parallel(
        truncate(party, additive(party, product), spare),
        truncate(party, additive(party, product), spare + _LIFT),
    )
    chosen: Words = large + (yield from mul(party, negative, small - large))
    kept: Words = chosen - (yield from mul(party, below, chosen))
    return kept


def _column(words: Words, like: Words) -> Words:
    return words.reshape(-1, *(1,) * (like.ndim - 1))


def _whole_digits(party: Party, lifted: Words) -> Steps[Words]:
    """Return the binary digits of the whole part, lowest first, as ring elements (2, digits, …)."""
    bits = yield from decompose(party, lifted)
    picked = [
        ((bits >> np.uint64(_TERM_BITS + place)) & np.uint64(1)).astype(np.uint8)
        for place in range(_WHOLE_BITS)
    ]
    return (yield from inject(party, np.stack(picked, axis=1)))


def _power_of_two(party: Party, digits: Words) -> Steps[Words]:
    """Return 2 to a number of which the binary digits are given."""
    one = public(party, 1, digits[:, 0])
    factors = [one + digits[:, place] * np.uint64((1 << (1 << place)) - 1) for place in range(_WHOLE_BITS)]
    pairs = yield from parallel(mul(party, factors[0], factors[1]), mul(party, factors[2], factors[3]))
    return (yield from mul(party, (yield from mul(party, *pairs)), factors[4]))


def _polynomial(party: Party, x: Words, coefficients: Sequence[int], bits: int) -> Steps[Words]:
    """Return a polynomial with 30 fraction bits at a secret with `bits` of them, by Horner's rule."""
    value = public(party, coefficients[-1], x)
    for coefficient in coefficients[-2::-1]:
        value = public(party, coefficient, x) + (yield from mul_truncate(party, value, x, bits))
    return value


def log(party: Party, x: Words) -> Steps[Words]:
    """Return the natural logarithm within 2 ulp for 0 < x < 2^30, 0 where x <= 0: 39 rounds."""
    mirrored = reverse((yield from decompose(party, x)))
    lift: Words = (yield from lowest_one(party, mirrored)) >> np.uint64(64 - VALUE_BITS)
    # A word has at most one set bit, so exclusive or over places finds its place without interaction.
    masks = [sum(1 << place for place in range(64) if place >> bit & 1) for bit in range(_PLACE_BITS)]
    picked = [_parity(lift & np.uint64(mask)) for mask in (*masks, (1 << 64) - 1)]
    scale, digits = yield from parallel(compose(party, lift), inject(party, np.stack(picked, axis=1)))
    unit = yield from mul_truncate(party, x, scale, VALUE_BITS - UNIT_BITS)
    centred = unit - public(party, 3 << (UNIT_BITS - 2), x)
    mantissa = yield from _polynomial(party, centred, _LOGARITHM, UNIT_BITS)
    weights = _column(np.array([_LN_2 << bit for bit in range(_PLACE_BITS)], np.uint64), x)
    below = (digits[:, :_PLACE_BITS] * weights).sum(axis=1, dtype=np.uint64)
    total = mantissa + public(party, _LN_2 * (VALUE_BITS - FRACTION_BITS), x) - below
    return (yield from mul_truncate(party, total, digits[:, _PLACE_BITS], UNIT_BITS - FRACTION_BITS))


def _parity(words: Words) -> Words:
    """Return the exclusive or of all bits of each word, as uint8."""
    for shift in (32, 16, 8, 4, 2, 1):
        words = words ^ (words >> np.uint64(shift))
    folded: Words = (words & np.uint64(1)).astype(np.uint8)
    return folded
