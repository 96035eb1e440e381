"""Bits shared by exclusive or, packed in words: the replicated scheme of rep3.py with + and · as ^ and &.

A bit-shared word is an array (2, *shape) of unsigned integers. An arithmetic secret becomes the sum of two
addends of which one is known to party 0 (s0 + s1) and one to parties 1 and 2 (s2), so a single binary
adder converts it (ABY3, section 5.3). Adders are parallel-prefix networks. Where only a carry is wanted each
bit is put at the bit-reversal of its index: the two halves of a word are then the neighbours that the prefix
tree joins, and every level halves the traffic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privcompute.mpc.protocols.rep3 import Party, mul, placed, share
from privcompute.mpc.ring import Words
from privcompute.mpc.rounds import Round, Steps

Bits = NDArray[Any]
"""(2, *shape) of any unsigned dtype."""

_HALVES = (np.uint32, np.uint16, np.uint8)
_SPREAD = tuple(
    (np.uint64(shift), np.uint64(mask))
    for shift, mask in ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F))
)
_SWAPS = tuple(
    (np.uint64(shift), np.uint64(mask))
    for shift, mask in ((31, 0x00000000AAAAAAAA), (14, 0x0000CCCC0000CCCC), (4, 0x00F000F000F000F0))
)
_SIGN = np.uint64(1 << 63)


def and_(party: Party, x: Bits, y: Bits) -> Steps[Bits]:
    """Return the bitwise and, with broadcasting: one round, one bit a bit a party."""
    part: Bits = (x[0] & (y[0] ^ y[1])) ^ (x[1] & y[0])
    part ^= party.low.draw(part.shape, part.dtype)
    part ^= party.high.draw(part.shape, part.dtype)
    received = yield Round({party.previous: part}, {party.next: part.nbytes})
    shares = np.empty((2, *part.shape), dtype=part.dtype)
    shares[0] = part
    shares[1] = np.frombuffer(received[party.next], dtype=part.dtype).reshape(part.shape)
    return shares


def share_bits(party: Party, owner: int, words: Bits | None, like: Bits) -> Steps[Bits]:
    """Share words that one party knows, in the shape and dtype of `like`: one round."""
    shares = np.zeros((2, *like.shape), dtype=like.dtype)
    if party.me == owner and words is not None:
        shares[0] = party.low.draw(like.shape, like.dtype)
        shares[1] = words ^ shares[0]
        yield Round({party.next: shares[1]}, {})
    elif party.previous == owner:
        received = yield Round({}, {owner: like.nbytes})
        shares[0] = np.frombuffer(received[owner], dtype=like.dtype).reshape(like.shape)
    else:
        shares[1] = party.high.draw(like.shape, like.dtype)
        yield Round({}, {})
    return shares


def flip(party: Party, bits: Bits, mask: int | Words) -> Bits:
    """Return the shares with the public mask, or one for each word, xored in: local."""
    flipped = bits.copy()
    if party.me != 1:
        flipped[0 if party.me == 0 else 1] ^= np.asarray(mask, bits.dtype)
    return flipped


def addends(party: Party, x: Words) -> tuple[Words | None, Words | None]:
    """Return (s0 + s1 at party 0, s2 at parties 1 and 2): two numbers whose sum is the secret."""
    if party.me == 0:
        return x[0] + x[1], None
    return None, x[1] if party.me == 1 else x[0]


def sign(party: Party, x: Words) -> Steps[Bits]:
    """Return the top bit of a secret as a bit share (uint8, 0 or 1): 8 rounds, about 27 bytes an element."""
    mine, common = addends(party, x)
    left = yield from share_bits(party, 0, None if mine is None else interleave(mine), x[0])
    right = placed(party.me, 2, None if common is None else interleave(common), x[0])
    propagate = left ^ right
    top = (propagate >> np.uint64(63)).astype(np.uint8)
    generate = yield from and_(party, left, right)
    # The carry into bit 63 is wanted: bit 63 itself passes a carry on and makes none.
    generate &= ~_SIGN
    propagate = flip(party, propagate & ~_SIGN, int(_SIGN))
    carry = yield from _carry(party, generate, propagate)
    result: Bits = top ^ carry
    return result


def below(party: Party, words: Words, bounds: Words) -> Steps[Bits]:
    """Return 1 where a uniform bit-shared word is below a public one (uint8): 6 rounds, 19 bytes a word.

    A word is below where a bit of the bound is 1 and its own is 0, and all higher ones are equal. The bits
    of a uniform word may be taken in any order: as they stand, and those of the bound are put to them.
    """
    placed_bounds = interleave(bounds)
    opposite = flip(party, words, 2**64 - 1)
    return (yield from _carry(party, opposite & placed_bounds, flip(party, opposite, placed_bounds)))


def _carry(party: Party, generate: Bits, propagate: Bits) -> Steps[Bits]:
    """Join the halves of interleaved words until one bit is left: 6 rounds."""
    for level in range(5):
        (low_g, high_g), (low_p, high_p) = _halves(generate, level), _halves(propagate, level)
        joined = yield from and_(party, high_p[:, np.newaxis], np.stack((low_g, low_p), axis=1))
        generate, propagate = high_g ^ joined[:, 0], joined[:, 1]
    low_g, high_g = _halves(generate, 5)
    _, high_p = _halves(propagate, 5)
    carried = yield from and_(party, high_p, low_g)
    result: Bits = high_g ^ carried
    return result


def _halves(bits: Bits, level: int) -> tuple[Bits, Bits]:
    """Return the low and high halves of words of 64 >> level bits."""
    if level < 3:
        parts = np.ascontiguousarray(bits).view(_HALVES[level])
        return parts[..., 0::2], parts[..., 1::2]
    width = np.uint8(32 >> level)
    return bits & np.uint8((1 << width) - 1), bits >> width


def interleave(words: Words) -> Words:
    """Return words whose bit i stands at the reversal of the six bits of i: three delta swaps, local.

    Neighbours (2i, 2i + 1) come to stand 32 apart, and so on down; bits 0 and 63 stay.
    """
    for shift, mask in _SWAPS:
        moved = ((words >> shift) ^ words) & mask
        words = words ^ moved ^ (moved << shift)
    return words


def reverse(words: Words) -> Words:
    """Return 64-bit words with their bits in reverse order: local."""
    reversed_words: Words = words.byteswap()
    for shift, mask in _SPREAD:
        reversed_words = ((reversed_words >> shift) & mask) | ((reversed_words & mask) << shift)
    return reversed_words


# Sklansky's prefix network on interleaved words. At level l the bits whose index has bit l set (the upper
# halves of blocks of 2^(l+1)) take in the one bit at the top of their lower half. Interleaved, they are the
# places with bit 32 >> l set, and the bits that they take in stand together; 32 of 64 bits change at a level.


@dataclass(frozen=True, slots=True)
class _Level:
    distance: np.uint64
    """Places between a lower chunk and the upper one above it, which is also the chunk's length in bits."""
    upper: np.uint64
    """The places that change."""
    source: np.uint64
    """Where the chunk that they take in begins."""
    repeat: np.uint64
    """Factor that repeats a chunk over 32 bits."""


_LOW = np.uint64(2**32 - 1)
_LEVELS = tuple(
    _Level(
        np.uint64(width),
        np.uint64(sum(1 << place for place in range(64) if place & width)),
        np.uint64(64 - 2 * width),
        np.uint64(sum(1 << place for place in range(0, 32, width))),
    )
    for width in (32, 16, 8, 4, 2, 1)
)


def _upper(level: _Level, words: Words) -> Bits:
    """Return the bits that change, packed into uint32: those of the low half fill the lower chunks."""
    picked = words & level.upper
    packed: Words = (picked >> np.uint64(32)) | ((picked & _LOW) >> level.distance)
    return packed.astype(np.uint32)


def _source(level: _Level, words: Words) -> Bits:
    """Return, aligned with `_upper`, the bits that are taken in."""
    chunk: Words = (words >> level.source) & np.uint64((1 << int(level.distance)) - 1)
    return (chunk * level.repeat).astype(np.uint32)


def _flip_upper(level: _Level, words: Words, change: Bits) -> None:
    """Xor packed bits into the places that they were taken from, in place."""
    wide = change.astype(np.uint64)
    words ^= ((wide & level.upper) << np.uint64(32)) | ((wide & ~level.upper) << level.distance)


def is_zero(party: Party, x: Words) -> Steps[Bits]:
    """Return 1 where a secret is 0 (uint8): the addends are opposite; 7 rounds, about 16 bytes an element."""
    mine, common = addends(party, x)
    left = yield from share_bits(party, 0, mine, x[0])
    right = placed(party.me, 2, None if common is None else np.negative(common), x[0])
    same = flip(party, left ^ right, 2**64 - 1)
    for level in range(6):
        low, high = _halves(same, level)
        same = yield from and_(party, low, high)
    return same


def inject(party: Party, bit: Bits) -> Steps[Words]:
    """Turn bit shares (uint8, 0 or 1) into ring elements 0 or 1: two rounds (ABY3, section 5.4).

    b = c ^ d = c + d - 2 c d with c = b0 ^ b1 known to party 0 and d = b2 to the others.
    """
    bit = bit & np.uint8(1)  # masks reach into the other bits
    mine = (bit[0] ^ bit[1]).astype(np.uint64) if party.me == 0 else None
    common = bit[1 if party.me == 1 else 0].astype(np.uint64)
    left = yield from share(party, 0, mine, bit.shape[1:])
    right = placed(party.me, 2, None if party.me == 0 else common, common)
    both = yield from mul(party, left, right)
    result: Words = left + right - (both << np.uint64(1))
    return result


def decompose(party: Party, x: Words) -> Steps[Words]:
    """Return the 64 bits of a secret as a bit-shared word: 8 rounds, about 60 bytes an element."""
    mine, common = addends(party, x)
    left = yield from share_bits(party, 0, mine, x[0])
    right = placed(party.me, 2, common, x[0])
    return (yield from add(party, left, right))


def add(party: Party, left: Words, right: Words) -> Steps[Words]:
    """Return the bit-shared sum mod 2^64 of two bit-shared words: 7 rounds, 52 bytes an element."""
    half_sum: Words = left ^ right
    generate = interleave((yield from and_(party, left, right)))
    propagate = interleave(half_sum)
    for level in _LEVELS[:-1]:
        passing = _upper(level, propagate)
        taken = np.stack((_source(level, generate), _source(level, propagate)), axis=1)
        joined = yield from and_(party, passing[:, np.newaxis], taken)
        _flip_upper(level, generate, joined[:, 0])
        _flip_upper(level, propagate, passing ^ joined[:, 1])
    last = _LEVELS[-1]
    carried = yield from and_(party, _upper(last, propagate), _source(last, generate))
    _flip_upper(last, generate, carried)
    half_sum ^= interleave(generate) << np.uint64(1)
    return half_sum


def lowest_one(party: Party, bits: Words) -> Steps[Words]:
    """Return bit-shared words with only the lowest set bit of each kept (0 stays 0): 6 rounds, 24 bytes."""
    seen = interleave(bits)
    for level in _LEVELS:
        taken = _source(level, seen)
        both = yield from and_(party, _upper(level, seen), taken)
        _flip_upper(level, seen, both ^ taken)
    seen = interleave(seen)
    lowest: Words = seen ^ (seen << np.uint64(1))
    return lowest


def compose(party: Party, bits: Words) -> Steps[Words]:
    """Return bit-shared words as ring elements: 9 rounds (ABY3, section 5.3).

    Party 2 knows s2 + s0, which are drawn; s1 = value - (s2 + s0) is computed by the adder and opened to
    its two holders.
    """
    shape = bits.shape[1:]
    low, high = party.low.words(shape), party.high.words(shape)
    # Component 1 is not drawn: its holders (0 as high, 1 as low) drop this stretch of their stream.
    masked = np.negative(low + high) if party.me == 2 else None
    mask = yield from share_bits(party, 2, masked, bits[0])
    total = yield from add(party, bits, mask)
    opened = yield from _open_to_holders(party, total)
    if party.me == 0:
        return np.stack((low, opened))
    if party.me == 1:
        return np.stack((opened, high))
    return np.stack((low, high))


def _open_to_holders(party: Party, bits: Words) -> Steps[Words]:
    """Open bit-shared words to parties 0 and 1; party 2 gets nothing of use."""
    if party.me == 2:
        yield Round({1: bits[1]}, {})
        return np.zeros(bits.shape[1:], dtype=np.uint64)
    send = {0: np.ascontiguousarray(bits[1])} if party.me == 1 else {}
    received = yield Round(send, {party.next: bits[0].nbytes})
    missing = np.frombuffer(received[party.next], dtype=np.uint64).reshape(bits.shape[1:])
    opened: Words = bits[0] ^ bits[1] ^ missing
    return opened
