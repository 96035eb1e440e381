"""Plaintext engine: every party holds every value. It is for tests and references, never for data.

It computes in the same ring with the same approximations as the joint engines, rounds to nearest, and
checks what joint engines cannot see: a product, sum or quotient outside the ranges of ring.py raises
MagnitudeExceeded at the step that caused it.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privcompute.errors import OutOfRange, ProgramFault
from privcompute.mpc import piecewise
from privcompute.mpc.engine import Accuracy
from privcompute.mpc.noise import Entropy, gaussians, laplace_of, thresholds
from privcompute.mpc.protocols.exponent import EXP_GREATEST, EXP_LEAST
from privcompute.mpc.ring import (
    FRACTION_BITS,
    RAW_BITS_MAX,
    Words,
    decode,
    encode,
    encode_unchecked,
)
from privcompute.mpc.rounds import Round, Steps
from privcompute.mpc.sharing import Shared, aligned

PROFILE = "plaintext"


class MagnitudeExceeded(OutOfRange):
    """An intermediate value left the range in which joint engines are exact: rescale the program's data."""

    code = "mpc_magnitude"


class PlaintextEngine:
    """Engine of one party among parties that tell one another everything."""

    profile = PROFILE

    def __init__(self, me: int = 0, parties: int = 1, entropy: Entropy = secrets.token_bytes) -> None:
        """Make party `me` of `parties`; noise is drawn from `entropy`, at party 0 for all."""
        self.me = me
        self.parties = parties
        self._entropy = entropy

    def constant(self, values: Any, fraction_bits: int = 0) -> Shared:
        """Return public numbers as a shared value."""
        return _plain(encode(values, fraction_bits, "constant"), fraction_bits)

    def share(
        self,
        owner: int,
        values: Any | None,
        shape: tuple[int, ...],
        fraction_bits: int = 0,
        *,
        name: str = "values",
        bound: float | None = None,
    ) -> Steps[Shared]:
        """Tell everybody the owner's values, checked as a joint engine checks them."""
        length = 8 * int(np.prod(shape, dtype=np.int64))
        if owner != self.me:
            received = yield Round({}, {owner: length})
            return _plain(np.frombuffer(received[owner], dtype=np.uint64).reshape(shape), fraction_bits)
        encoded = encode(values, fraction_bits, name, bound)
        if encoded.shape != shape:
            raise ProgramFault(f"{name}: shape {encoded.shape}, announced {shape}")
        words = np.ascontiguousarray(encoded).reshape(shape)
        yield Round({party: words for party in range(self.parties) if party != self.me}, {})
        return _plain(words, fraction_bits)

    def mul(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return the product, elementwise."""
        left, right = aligned(x, y)
        _check(np.abs(_reals(left)) * np.abs(_reals(right)), "product")
        return (yield from self._rescale(Shared(left * right, x.fraction_bits + y.fraction_bits), x, y))

    def dot(self, x: Shared, y: Shared, axis: int = -1) -> Steps[Shared]:
        """Sum of products along an axis."""
        left, right = np.broadcast_arrays(*aligned(x, y))
        axis = axis % (left.ndim - 1) + 1
        _check((np.abs(_reals(left)) * np.abs(_reals(right))).sum(axis), "inner product")
        summed = Shared((left * right).sum(axis=axis), x.fraction_bits + y.fraction_bits)
        return (yield from self._rescale(summed, x, y))

    def matmul(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return the matrix product."""
        left, right = x.words[0], y.words[0]
        _check(np.abs(_reals(left)) @ np.abs(_reals(right)), "matrix product")
        product = _plain(np.asarray(left @ right), x.fraction_bits + y.fraction_bits)
        return (yield from self._rescale(product, x, y))

    def truncate(self, x: Shared, fraction_bits: int = FRACTION_BITS) -> Steps[Shared]:
        """Drop fraction bits, rounding to nearest."""
        yield from ()
        bits = x.fraction_bits - fraction_bits
        if bits < 0:
            raise ProgramFault(f"truncate from {x.fraction_bits} to {fraction_bits} fraction bits")
        _check(np.abs(_reals(x.words)), "value to truncate")
        if bits == 0:
            return x
        rounded = (x.words.view(np.int64) + (1 << (bits - 1))) >> bits
        return Shared(rounded.view(np.uint64), fraction_bits)

    def scale(self, x: Shared, factor: Any) -> Steps[Shared]:
        """Return the product with public reals, truncated to 16 fraction bits."""
        return (yield from self.truncate(x.mul_public(np.asarray(factor, dtype=np.float64))))

    def less_than(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return 1 where x < y, else 0."""
        return (yield from self.less_than_zero(x - y))

    def less_than_zero(self, x: Shared) -> Steps[Shared]:
        """Return 1 where x < 0, else 0."""
        yield from ()
        return Shared((x.words >> np.uint64(63)), 0)

    def equal(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return 1 where x = y, else 0."""
        yield from ()
        return Shared(((x - y).words == 0).astype(np.uint64), 0)

    def select(self, bit: Shared, x: Shared, y: Shared) -> Steps[Shared]:
        """Return x where bit is 1, y where it is 0."""
        difference = yield from self.mul(bit, x - y)
        return y + difference

    def maximum(self, x: Shared, axis: int = -1) -> Steps[Shared]:
        """Return the greatest element along an axis."""
        yield from ()
        signed = x.words.view(np.int64).max(axis=axis % x.ndim + 1)
        return Shared(signed.view(np.uint64), x.fraction_bits)

    def minimum(self, x: Shared, axis: int = -1) -> Steps[Shared]:
        """Return the least element along an axis."""
        return -(yield from self.maximum(-x, axis))

    def divide(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return x / y where y > 0; 0 elsewhere."""
        yield from ()
        left, right = np.broadcast_arrays(_values(x), _values(y))
        quotient = np.divide(left, right, out=np.zeros(left.shape), where=right > 0)
        _check(np.abs(quotient) * 2.0**32, "quotient")
        return _plain(encode_unchecked(quotient, FRACTION_BITS), FRACTION_BITS)

    def sqrt(self, x: Shared) -> Steps[Shared]:
        """Square root where x >= 0; 0 elsewhere."""
        yield from ()
        root = np.sqrt(np.maximum(_values(x), 0.0))
        return _plain(encode_unchecked(root, FRACTION_BITS), FRACTION_BITS)

    def inverse_sqrt(self, x: Shared) -> Steps[Shared]:
        """Return 1 / sqrt(x) where x > 0; 0 elsewhere."""
        yield from ()
        value = _values(x)
        inverse = np.divide(1.0, np.sqrt(np.maximum(value, 0.0)), out=np.zeros(value.shape), where=value > 0)
        return _plain(encode_unchecked(inverse, FRACTION_BITS), FRACTION_BITS)

    def sigmoid(self, x: Shared, accuracy: Accuracy = "training") -> Steps[Shared]:
        """Return the same piecewise function as the joint engines."""
        yield from ()
        value = piecewise.sigmoid(accuracy).evaluate(_values(x))
        return _plain(encode_unchecked(value, FRACTION_BITS), FRACTION_BITS)

    def exp(self, x: Shared) -> Steps[Shared]:
        """Return e^x where x >= -12, 0 elsewhere; e^20.75 for greater x."""
        yield from ()
        value = _values(x)
        power = np.where(value < EXP_LEAST, 0.0, np.exp(np.clip(value, EXP_LEAST, EXP_GREATEST)))
        return _plain(encode_unchecked(power, FRACTION_BITS), FRACTION_BITS)

    def log(self, x: Shared) -> Steps[Shared]:
        """Return the natural logarithm where x > 0; 0 elsewhere."""
        yield from ()
        value = _values(x)
        logarithm = np.log(np.where(value > 0, value, 1.0))
        return _plain(encode_unchecked(logarithm, FRACTION_BITS), FRACTION_BITS)

    def sort(self, keys: Shared, *columns: Shared) -> Steps[tuple[Shared, ...]]:
        """Return the keys in ascending order, with columns rearranged alike (stable)."""
        yield from ()
        order = np.argsort(keys.words[0].view(np.int64), kind="stable")
        return tuple(column.take(order) for column in (keys, *columns))

    def laplace(self, scale: Fraction, shape: tuple[int, ...]) -> Steps[Shared]:
        """Return discrete Laplace noise."""
        bits = thresholds(scale)
        return (yield from self._told(lambda count: laplace_of(self._words(len(bits), count), scale), shape))

    def gaussian(self, variance: Fraction, shape: tuple[int, ...]) -> Steps[Shared]:
        """Return the sum of three discrete Gaussians."""
        return (
            yield from self._told(
                lambda count: gaussians(variance, 3 * count, self._entropy).reshape(3, count).sum(axis=0),
                shape,
            )
        )

    def _words(self, bits: int, count: int) -> Words:
        drawn: Words = np.frombuffer(self._entropy(16 * bits * count), "<u8").reshape(bits, 2, count)
        return drawn

    def _told(self, draw: Callable[[int], NDArray[np.int64]], shape: tuple[int, ...]) -> Steps[Shared]:
        """Tell everybody what party 0 draws."""
        mine = draw(math.prod(shape)).reshape(shape) if self.me == 0 else None
        return (yield from self.share(0, mine, shape, name="noise"))

    def reveal(self, x: Shared, to: Sequence[int]) -> Steps[NDArray[Any] | None]:
        """Return the values to the parties in `to`, None to the others."""
        yield from ()
        return decode(x.words[0], x.fraction_bits) if self.me in to else None

    def _rescale(self, product: Shared, x: Shared, y: Shared) -> Steps[Shared]:
        if x.fraction_bits == 0 or y.fraction_bits == 0:
            return product
        return (yield from self.truncate(product))


def _plain(words: Words, fraction_bits: int) -> Shared:
    return Shared(words[np.newaxis], fraction_bits)


def _reals(words: Words) -> NDArray[np.float64]:
    return words.view(np.int64).astype(np.float64)


def _values(x: Shared) -> NDArray[np.float64]:
    return _reals(x.words[0]) / 2.0**x.fraction_bits


def _check(raw: NDArray[np.float64], what: str) -> None:
    greatest = float(raw.max()) if raw.size else 0.0
    if greatest >= 2.0**RAW_BITS_MAX:
        raise MagnitudeExceeded(
            f"{what}: raw magnitude 2^{np.log2(greatest):.1f}, must stay below 2^{RAW_BITS_MAX};"
            " rescale the inputs"
        )
