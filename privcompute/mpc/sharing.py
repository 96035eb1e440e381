"""Shared values: linear shares over Z_2^64 and every operation on them that needs no communication.

`Shared` holds what one party keeps of a secret array: an array of ring elements whose first axis counts
the components that the scheme gives each party (replicated sharing 2, plain or additive sharing 1). Every
such scheme is linear, so one class serves all engines. Shapes below are those of the secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privcompute.errors import ProgramFault
from privcompute.mpc.ring import FRACTION_BITS, Words, encode_unchecked

Axis = int | None


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """One party's part of a secret array of integers (fraction_bits 0) or fixed-point numbers."""

    words: Words
    """Ring elements: (components, *shape)."""
    fraction_bits: int = 0
    """0: integers and bits; 16: fixed point; more: an exact product that awaits `Engine.truncate`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the secret array."""
        return self.words.shape[1:]

    @property
    def ndim(self) -> int:
        """Number of axes of the secret array."""
        return self.words.ndim - 1

    @property
    def size(self) -> int:
        """Number of secret elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        """Length of the first axis."""
        return self.shape[0]

    def __add__(self, other: Shared) -> Shared:
        """Sum of secrets of the same scale, with numpy's broadcasting. Public addends: `Engine.constant`."""
        left, right = aligned(self, other)
        return Shared(left + right, self._same_scale(other))

    def __sub__(self, other: Shared) -> Shared:
        """Difference of secrets of the same scale, with numpy's broadcasting."""
        left, right = aligned(self, other)
        return Shared(left - right, self._same_scale(other))

    def __neg__(self) -> Shared:
        """Negated secret."""
        return Shared(np.negative(self.words), self.fraction_bits)

    def __getitem__(self, index: Any) -> Shared:
        """Numpy's basic and advanced indexing by public indices."""
        where = index if isinstance(index, tuple) else (index,)
        return Shared(self.words[(slice(None), *where)], self.fraction_bits)

    @property
    def T(self) -> Shared:
        """Return the secret with its axes reversed."""
        axes = (0, *range(self.words.ndim - 1, 0, -1))
        return Shared(self.words.transpose(axes), self.fraction_bits)

    def reshape(self, *shape: int) -> Shared:
        """Return the same secrets in another shape; one length may be -1."""
        lengths = _complete(shape, self.size)
        return Shared(self.words.reshape(self.words.shape[0], *lengths), self.fraction_bits)

    def broadcast_to(self, shape: tuple[int, ...]) -> Shared:
        """Return the secrets repeated to a shape, by numpy's rules."""
        if shape == self.shape:
            return self
        lifted = _lift(self.words, len(shape))
        return Shared(np.broadcast_to(lifted, (self.words.shape[0], *shape)), self.fraction_bits)

    def sum(self, axis: Axis = None) -> Shared:
        """Sum over one axis, or over all; the result must stay inside the range of ring.py."""
        axes = tuple(range(1, self.words.ndim)) if axis is None else self._axis(axis)
        return Shared(self.words.sum(axis=axes, dtype=np.uint64), self.fraction_bits)

    def cumsum(self, axis: int = 0) -> Shared:
        """Return running sums along an axis."""
        return Shared(self.words.cumsum(axis=self._axis(axis), dtype=np.uint64), self.fraction_bits)

    def take(self, indices: Any, axis: int = 0) -> Shared:
        """Return rows (or other slices) at public indices."""
        return Shared(self.words.take(indices, axis=self._axis(axis)), self.fraction_bits)

    def mul_public(self, factor: Any) -> Shared:
        """Return the product with public numbers, elementwise with broadcasting.

        Integer factors are exact and keep the scale; real factors add 16 fraction bits, so that sums may
        be taken before one `Engine.truncate`.
        """
        words, bits = _public(factor)
        shape = np.broadcast_shapes(self.shape, words.shape)
        return Shared(_lift(self.words, len(shape)) * words, self.fraction_bits + bits)

    def upscale(self, fraction_bits: int) -> Shared:
        """Return the same numbers with more fraction bits, shifted left exactly: integers become fixed."""
        if fraction_bits < self.fraction_bits:
            raise ProgramFault(f"upscale from {self.fraction_bits} to {fraction_bits} bits: use truncate")
        shift = np.uint64(fraction_bits - self.fraction_bits)
        return Shared(self.words << shift, fraction_bits)

    def _axis(self, axis: int) -> int:
        if not -self.ndim <= axis < self.ndim:
            raise ProgramFault(f"axis {axis} of a secret with {self.ndim} axes")
        return axis % self.ndim + 1

    def _same_scale(self, other: Shared) -> int:
        if self.fraction_bits != other.fraction_bits:
            raise ProgramFault(
                f"scales differ ({self.fraction_bits} and {other.fraction_bits} fraction bits):"
                " use upscale or truncate first"
            )
        return self.fraction_bits


def aligned(x: Shared, y: Shared) -> tuple[Words, Words]:
    """Return the words of both with trailing axes aligned, ready for numpy's broadcasting."""
    ndim = max(x.ndim, y.ndim)
    return _lift(x.words, ndim), _lift(y.words, ndim)


def concatenate(parts: Sequence[Shared], axis: int = 0) -> Shared:
    """Join secrets of one scale along an existing axis."""
    first = parts[0]
    if any(part.fraction_bits != first.fraction_bits for part in parts):
        raise ProgramFault("concatenate: scales differ; use upscale or truncate first")
    return Shared(np.concatenate([part.words for part in parts], axis=first._axis(axis)), first.fraction_bits)


def stack(parts: Sequence[Shared], axis: int = 0) -> Shared:
    """Join secrets of one scale and shape along a new axis (counted from the front)."""
    first = parts[0]
    if any(part.fraction_bits != first.fraction_bits for part in parts):
        raise ProgramFault("stack: scales differ; use upscale or truncate first")
    return Shared(np.stack([part.words for part in parts], axis=axis + 1), first.fraction_bits)


def _lift(words: Words, ndim: int) -> Words:
    missing = ndim - (words.ndim - 1)
    if missing <= 0:
        return words
    return words.reshape(words.shape[0], *(1,) * missing, *words.shape[1:])


def _public(factor: Any) -> tuple[Words, int]:
    array: NDArray[Any] = np.asarray(factor)
    if array.dtype.kind in "biu":
        return array.astype(np.int64).view(np.uint64), 0
    return encode_unchecked(array, FRACTION_BITS), FRACTION_BITS


def _complete(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    if -1 not in shape:
        return shape
    known = int(np.prod([length for length in shape if length != -1], dtype=np.int64))
    return tuple(size // known if length == -1 else length for length in shape)
