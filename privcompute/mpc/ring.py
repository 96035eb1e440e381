"""The ring Z_2^64 and the fixed-point numbers inside it (k = 64, f = 16).

A real v is the ring element round(v · 2^16) mod 2^64. A number entering a computation satisfies
|v| < 2^30 and an integer |n| < 2^62, so that differences never wrap; products of fixed-point numbers must
stay below 2^30 in magnitude, because they carry 32 fraction bits until they are truncated and truncation
is exact for raw magnitudes below 2^62 (protocols/truncate.py).
"""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privcompute.errors import OutOfRange

if sys.byteorder != "little":
    raise ImportError(
        "privcompute sends and slices 64-bit words as little-endian memory; this machine is not"
    )

FRACTION_BITS = 16
FIXED_BOUND = 2.0**30
"""Every fixed-point input, product and sum satisfies |v| < FIXED_BOUND."""
INTEGER_BOUND = 2**62
"""Every shared integer satisfies |n| < INTEGER_BOUND."""
RAW_BITS_MAX = 62
"""A ring element may be truncated while its signed value is below 2^RAW_BITS_MAX in magnitude."""

Words = NDArray[np.uint64]


def encode(values: Any, fraction_bits: int, name: str = "values", bound: float | None = None) -> Words:
    """Return ring elements of reals (fraction_bits > 0) or of exact integers (fraction_bits 0).

    Raises OutOfRange naming `name`, the first offending position and value, and the range: `bound`
    (exclusive), by default FIXED_BOUND or INTEGER_BOUND.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise OutOfRange(f"{name}: values of type {array.dtype}; only numbers and booleans can be shared")
    limit = bound if bound is not None else (FIXED_BOUND if fraction_bits else INTEGER_BOUND)
    if array.dtype.kind != "f":
        limit = math.ceil(limit)  # integers are compared as integers: floats blur them near 2^62
    _check_range(array, name, limit)
    if fraction_bits:
        return encode_unchecked(array, fraction_bits)
    if array.dtype.kind == "f" and array.size and np.any(array != np.rint(array)):
        where = _first(array != np.rint(array))
        raise OutOfRange(
            f"{name}: {_place(where)} holds {array[where]}, which is not an integer; share it as fixed point"
        )
    return array.astype(np.int64).view(np.uint64)


def encode_unchecked(values: Any, fraction_bits: int) -> Words:
    """Return round(v · 2^fraction_bits) as ring elements, for values known to fit."""
    scaled = np.rint(np.asarray(values, dtype=np.float64) * 2.0**fraction_bits)
    return scaled.astype(np.int64).view(np.uint64)


def decode(words: Words, fraction_bits: int) -> NDArray[Any]:
    """Return signed integers (fraction_bits 0, int64) or reals (float64) of ring elements."""
    signed = words.view(np.int64)
    return np.asarray(signed / 2.0**fraction_bits) if fraction_bits else signed


def _check_range(array: NDArray[Any], name: str, limit: float) -> None:
    if not array.size:
        return
    if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
        where = _first(~np.isfinite(array))
        raise OutOfRange(f"{name}: {_place(where)} holds {array[where]}; fill or drop missing values first")
    inside = array < limit if array.dtype.kind in "bu" else (array < limit) & (array > -limit)
    if not np.all(inside):
        where = _first(~inside)
        raise OutOfRange(
            f"{name}: {_place(where)} holds {array[where]}, allowed is between -{limit:,.15g} and"
            f" {limit:,.15g} (both excluded);"
            " rescale or clip the column"
        )


def _first(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(mask)), mask.shape))


def _place(where: tuple[int, ...]) -> str:
    return f"row {', '.join(map(str, where))}" if where else "the value"
