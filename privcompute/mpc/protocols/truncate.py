"""Division of a shared number by 2^d with no failure case: two rounds, at most 26 bytes an element.

Local truncation (SecureML; ABY3, section 5.1) fails by 2^(64-d) with probability |x| / 2^63, which a
hundred thousand products of 32 fraction bits would meet in practice. Here the wrap is computed instead
(Dalskov, Escudero, Keller, PETS 2020, "Secure evaluation of quantized neural networks", section 3, with the
random value dealt by one of the three parties).

After a zero sharing masks the additive shares z0 + z1 + z2, parties 0 and 1 open c = z0 + z1 to each other.
Nobody sees both c and z2, and z2 is uniform to parties 0 and 1. For |x| < 2^62 put A = c + 2^62; then
A + z2 = Z + 2^64 w with 0 <= Z < 2^63, so w = 0 exactly if both top bits are 0. With ceilings on A's side:

    floor(Z / 2^d) + e = ceil(A / 2^d) + floor(z2 / 2^d) - w 2^(64-d),   e in {0, 1}

and e = 1 with probability (Z mod 2^d) / 2^d: stochastic rounding, unbiased, off by less than one unit, and
exact when 2^d divides x. w is one minus the product of a bit of parties 0 and 1 with a bit of party 2.
"""

from __future__ import annotations

import numpy as np

from privcompute.errors import ProgramFault
from privcompute.mpc.protocols.rep3 import Party, pair_to_replicated
from privcompute.mpc.ring import RAW_BITS_MAX, Words
from privcompute.mpc.rounds import Round, Steps

SHIFT_MAX = 48
_OFFSET = np.uint64(1 << RAW_BITS_MAX)
_TOP = np.uint64(63)


def truncate(party: Party, part: Words, bits: int) -> Steps[Words]:
    """Return replicated shares of x / 2^bits for masked additive shares of x with |x| < 2^62.

    The error is below one unit, without bias; it is zero when the quotient is an integer.
    """
    if not 1 <= bits <= SHIFT_MAX:
        raise ProgramFault(f"truncation by {bits} bits, allowed are 1 to {SHIFT_MAX}")
    part = np.ascontiguousarray(part)
    if party.me == 2:
        addend = yield from _deal(party, part, bits)
    else:
        addend = yield from _open(party, part, bits)
    return (yield from pair_to_replicated(party, 0, addend))


def _deal(party: Party, part: Words, bits: int) -> Steps[Words]:
    """Party 2: share floor(z2 / 2^d) and the complement of z2's top bit between parties 0 and 1."""
    high = (part >> np.uint64(bits)) - party.high.words(part.shape)
    bit = (~part >> _TOP).astype(_narrow(bits)) - party.high.draw(part.shape, _narrow(bits))
    yield Round({1: high.tobytes() + bit.tobytes()}, {})
    return part


def _open(party: Party, part: Words, bits: int) -> Steps[Words]:
    """Parties 0 and 1: open c and correct for the wrap with their parts of party 2's bit."""
    narrow = _narrow(bits)
    receive = {1 - party.me: part.nbytes}
    if party.me == 1:
        receive[2] = part.nbytes + part.size * narrow.itemsize
    else:
        high, bit = party.low.words(part.shape), party.low.draw(part.shape, narrow)
    received = yield Round({1 - party.me: part}, receive)
    other = np.frombuffer(received[1 - party.me], dtype=np.uint64).reshape(part.shape)
    opened = part + other + _OFFSET
    wraps_not = (~opened >> _TOP) << np.uint64(64 - bits)
    if party.me == 0:
        high += _ceiling(opened, bits)
        high -= np.uint64((1 << (RAW_BITS_MAX - bits)) + (1 << (64 - bits)))
    else:
        high = np.frombuffer(received[2][: part.nbytes], dtype=np.uint64).reshape(part.shape)
        bit = np.frombuffer(received[2][part.nbytes :], dtype=narrow).reshape(part.shape)
    addend: Words = high + wraps_not * bit
    return addend


def _ceiling(words: Words, bits: int) -> Words:
    shift, mask = np.uint64(bits), np.uint64((1 << bits) - 1)
    rounded: Words = (words >> shift) + ((words & mask) != 0)
    return rounded


def _narrow(bits: int) -> np.dtype[np.unsignedinteger]:
    """The bit of party 2 is multiplied by 2^(64-d), so d of its bits are enough."""
    return np.dtype(np.uint16 if bits <= 16 else np.uint32 if bits <= 32 else np.uint64)
