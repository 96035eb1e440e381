"""Replicated secret sharing among three parties over Z_2^64, semi-honest, one corruption.

A secret is s0 + s1 + s2 mod 2^64 and party i holds (s_i, s_{i+1}): an array (2, *shape). Key k_i is known to
the two holders of s_i, parties i and i - 1. Araki, Furukawa, Lindell, Nof, Ohara: "High-Throughput
Semi-Honest Secure Three-Party Computation with an Honest Majority", CCS 2016; Mohassel, Rindal: "ABY3",
CCS 2018. Everything here works on words; scales are the engine's business. Secrets have at least one axis
(numpy's scalars warn of the wrap-around that the ring is made of).

Both holders of a key draw from its stream in the same step of a protocol, that is between the same two
yields: only then may protocols run side by side (`rounds.parallel`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.crypto import digest
from privcompute.mpc.prg import KEY_BYTES, Stream
from privcompute.mpc.ring import Words
from privcompute.mpc.rounds import Round, Steps

PARTIES = 3
ENTROPY_BYTES = 3 * KEY_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class Party:
    """One of the three parties, with the two streams that it has in common with its neighbours."""

    me: int
    low: Stream
    """Keystream of k_me, shared with the previous party."""
    high: Stream
    """Keystream of k_{me+1}, shared with the next party."""
    own: Stream
    """Keystream of a key that this party alone knows."""

    @property
    def next(self) -> int:
        """Return the party after this one."""
        return (self.me + 1) % PARTIES

    @property
    def previous(self) -> int:
        """Return the party before this one."""
        return (self.me - 1) % PARTIES


def start(me: int, context: bytes, entropy: bytes) -> Steps[Party]:
    """Agree on the pairwise keys: one round of 32 bytes to each neighbour.

    `context` is the job's 32-byte id; `entropy` is ENTROPY_BYTES fresh bytes that no other run ever sees, the
    last of them nobody else at all.
    """
    for_low, for_high = entropy[:KEY_BYTES], entropy[KEY_BYTES : 2 * KEY_BYTES]
    following, previous = (me + 1) % PARTIES, (me - 1) % PARTIES
    received = yield Round(
        {previous: for_low, following: for_high}, {previous: KEY_BYTES, following: KEY_BYTES}
    )
    low = _key(context, me, for_low, bytes(received[previous]))
    high = _key(context, following, bytes(received[following]), for_high)
    own = digest("assent/rep3-own-key", context, entropy[2 * KEY_BYTES :])
    return Party(me, Stream(low), Stream(high), Stream(own))


def _key(context: bytes, index: int, of_holder: bytes, of_previous: bytes) -> bytes:
    return digest("assent/rep3-key", context, bytes((index,)), of_holder, of_previous)


def placed(me: int, component: int, words: NDArray[Any] | None, like: NDArray[Any]) -> NDArray[Any]:
    """Return shares of a value that both holders of s_component know, and others give as None: local."""
    shares = np.zeros((2, *like.shape), dtype=like.dtype)
    if words is not None:
        shares[(component - me) % PARTIES] = words
    return shares


def constant(me: int, words: Words) -> Words:
    """Return shares of a public value, all of it in s_0: local."""
    return placed(me, 0, words if me in (0, 2) else None, words)


def share(party: Party, owner: int, words: NDArray[Any] | None, shape: tuple[int, ...]) -> Steps[Words]:
    """Share the owner's words: s_owner is drawn, s_{owner+1} is sent to the next party, the third is 0."""
    shares = np.zeros((2, *shape), dtype=np.uint64)
    if party.me == owner and words is not None:
        shares[0] = party.low.words(shape)
        shares[1] = words - shares[0]
        yield Round({party.next: shares[1]}, {})
    elif party.previous == owner:
        received = yield Round({}, {owner: shares[0].nbytes})
        shares[0] = np.frombuffer(received[owner], dtype=np.uint64).reshape(shape)
    else:
        shares[1] = party.high.words(shape)
        yield Round({}, {})
    return shares


def additive(party: Party, words: Words) -> Words:
    """Return a fresh additive share of a replicated secret: local, re-randomised by a zero sharing."""
    part: Words = words[0] + zero(party, words.shape[1:])
    return part


def zero(party: Party, shape: tuple[int, ...]) -> Words:
    """Return this party's part of a fresh additive sharing of zero (Araki et al., section 2.2)."""
    return party.low.words(shape) - party.high.words(shape)


def product(party: Party, x: Words, y: Words) -> Words:
    """Return an additive share of x · y, elementwise with broadcasting: local."""
    part: Words = x[0] * (y[0] + y[1]) + x[1] * y[0]
    part += zero(party, part.shape)
    return part


def inner_product(party: Party, x: Words, y: Words, axis: int) -> Words:
    """Return an additive share of the sum of x · y along an axis of the secrets: local."""
    part: Words = (x[0] * (y[0] + y[1]) + x[1] * y[0]).sum(axis=axis, dtype=np.uint64)
    part += zero(party, part.shape)
    return part


def matrix_product(party: Party, x: Words, y: Words) -> Words:
    """Return an additive share of x @ y for secrets of two axes, or two and one: local."""
    part: Words = x[0] @ (y[0] + y[1]) + x[1] @ y[0]
    part += zero(party, part.shape)
    return part


def reshare(party: Party, part: Words) -> Steps[Words]:
    """Turn masked additive shares into replicated ones: one round, 8 bytes an element a party."""
    part = np.ascontiguousarray(part)
    received = yield Round({party.previous: part}, {party.next: part.nbytes})
    shares = np.empty((2, *part.shape), dtype=np.uint64)
    shares[0] = part
    shares[1] = np.frombuffer(received[party.next], dtype=np.uint64).reshape(part.shape)
    return shares


def mul(party: Party, x: Words, y: Words) -> Steps[Words]:
    """Return the product, elementwise: one round."""
    return (yield from reshare(party, product(party, x, y)))


def pair_to_replicated(party: Party, first: int, part: Words) -> Steps[Words]:
    """Turn a secret held additively by parties first and first + 1 into replicated shares: one round.

    `part` is that party's addend; the third party passes anything of the right shape. Each addend is
    masked by a stream that the other of the pair does not know, then exchanged.
    """
    shares = np.empty((2, *part.shape), dtype=np.uint64)
    if party.me == first:
        shares[0] = party.low.words(part.shape)
        mine = np.ascontiguousarray(part - shares[0])
        received = yield Round({party.next: mine}, {party.next: mine.nbytes})
        shares[1] = mine + np.frombuffer(received[party.next], dtype=np.uint64).reshape(part.shape)
    elif party.previous == first:
        shares[1] = party.high.words(part.shape)
        mine = np.ascontiguousarray(part - shares[1])
        received = yield Round({first: mine}, {first: mine.nbytes})
        shares[0] = mine + np.frombuffer(received[first], dtype=np.uint64).reshape(part.shape)
    else:
        shares[0] = party.low.words(part.shape)
        shares[1] = party.high.words(part.shape)
        yield Round({}, {})
    return shares


def reveal(me: int, shares: Words, to: Sequence[int]) -> Steps[Words | None]:
    """Open a secret to computing parties: one round, no keys.

    Each gets the component that it lacks, which follows from the opened value: it learns nothing more.
    """
    previous, following = (me - 1) % PARTIES, (me + 1) % PARTIES
    send = {previous: np.ascontiguousarray(shares[1])} if previous in to else {}
    if me not in to:
        yield Round(send, {})
        return None
    received = yield Round(send, {following: shares[0].nbytes})
    missing = np.frombuffer(received[following], dtype=np.uint64).reshape(shares.shape[1:])
    return np.asarray(shares[0] + shares[1] + missing)
