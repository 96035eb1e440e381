"""Zero-concentrated differential privacy of a mechanism, in whole numbers: the same on every host.

What a release spends of rho is a whole number of 10^-18. Source: Bun and Steinke (2016), propositions 1.3
and 1.4.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, isqrt

RHO_UNIT = 10**18
_BITS = 96
"""Bits after the point of logarithms and roots."""
_ONE = 1 << _BITS
_SLACK = 1 << 16
"""What logarithms are off by at most: fewer than 2^8 steps, each rounded twice, and a bound of 128 bits."""


def rho_of_laplace(epsilon: Fraction) -> Fraction:
    """Return epsilon^2 / 2, rounded up to a multiple of 10^-18."""
    return Fraction(ceil(epsilon**2 / 2 * RHO_UNIT), RHO_UNIT)


def rho_of_gaussian(epsilon: Fraction, delta: Fraction) -> Fraction:
    """Return the greatest rho with rho + 2 sqrt(rho ln(1/delta)) <= epsilon, rounded down to 10^-18.

    `epsilon` > 0, 0 < `delta` < 1. Noise of this rho spends this rho: it is both the scale and the charge.
    """
    log = log_up(1 / delta)
    # rho is (sqrt(log + epsilon) - sqrt(log))^2 = epsilon^2 / (sqrt(log + epsilon) + sqrt(log))^2
    whole = ceil(epsilon * _ONE)
    roots = _root_up((log + whole) << _BITS) + _root_up(log << _BITS)
    rho = epsilon**2 * _ONE**2 / roots**2
    return Fraction(int(rho * RHO_UNIT), RHO_UNIT)


def log_up(number: Fraction) -> int:
    """Return at least the natural logarithm of a number above 1, in 2^-96; too much by 2^-79 at most."""
    power = number.numerator.bit_length() - number.denominator.bit_length()
    rest = number / Fraction(2) ** power  # between 1/2 and 2
    return power * _log_of(Fraction(2)) + _log_of(rest) + _SLACK


def _log_of(number: Fraction) -> int:
    """Return the logarithm of a number x of 1/2 to 2 in 2^-96: 2 artanh((x - 1) / (x + 1)), as a series."""
    ratio = (number - 1) / (number + 1)
    z = ratio.numerator * _ONE // ratio.denominator
    square, power, total, odd = z * z >> _BITS, z, 0, 1
    while power not in (0, -1):
        total += power // odd
        power = power * square >> _BITS
        odd += 2
    return 2 * total


def _root_up(number: int) -> int:
    root = isqrt(number)
    return root + (root * root < number)
