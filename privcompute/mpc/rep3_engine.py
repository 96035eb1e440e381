"""The engine of profile `rep3`: three parties, semi-honest, one corruption (protocols/rep3.py)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.values import Value
from privcompute.errors import ProgramFault
from privcompute.mpc import piecewise
from privcompute.mpc.engine import Accuracy
from privcompute.mpc.noise import NOISE_WORDS, gaussians, thresholds
from privcompute.mpc.opening import SALT_WORDS, write_component
from privcompute.mpc.protocols import boolean, exponent, fixed, noise, order, rep3
from privcompute.mpc.protocols.truncate import truncate
from privcompute.mpc.ring import FRACTION_BITS, Words, decode, encode
from privcompute.mpc.rounds import Steps
from privcompute.mpc.sharing import Shared, aligned

PROFILE = "rep3"
ENTROPY_BYTES = rep3.ENTROPY_BYTES


class Rep3Engine:
    """One of the three parties; all methods are as documented in `Engine`."""

    profile = PROFILE
    parties = rep3.PARTIES

    def __init__(self, party: rep3.Party) -> None:
        """Use a party whose keys are agreed; `start` does both."""
        self._party = party
        self.me = party.me

    @classmethod
    def start(cls, me: int, job_id: bytes, entropy: bytes) -> Steps[Rep3Engine]:
        """Agree on keys for one run of a job: one round. `entropy`: 96 fresh random bytes (os.urandom)."""
        if len(entropy) != ENTROPY_BYTES:
            raise ProgramFault(f"entropy of {len(entropy)} bytes, needed are {ENTROPY_BYTES}")
        return cls((yield from rep3.start(me, job_id, entropy)))

    def constant(self, values: Any, fraction_bits: int = 0) -> Shared:
        """Return public numbers as a shared value (local)."""
        return Shared(rep3.constant(self.me, encode(values, fraction_bits, "constant")), fraction_bits)

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
        """Share the owner's array: 8 bytes an element from the owner to one other party."""
        mine = None
        if owner == self.me:
            mine = encode(values, fraction_bits, name, bound)
            if mine.shape != shape:
                raise ProgramFault(f"{name}: shape {mine.shape}, announced {shape}")
            mine = mine.reshape(shape or (1,))
        words = yield from rep3.share(self._party, owner, mine, shape or (1,))
        return Shared(words.reshape(2, *shape), fraction_bits)

    def mul(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return the product, elementwise: one round; two and a truncation for fixed by fixed."""
        left, right = aligned(_solid(x), _solid(y))
        part = rep3.product(self._party, left, right)
        shape = np.broadcast_shapes(x.shape, y.shape)
        return (yield from self._finish(part, shape, x, y))

    def dot(self, x: Shared, y: Shared, axis: int = -1) -> Steps[Shared]:
        """Sum of products along an axis; traffic is the size of the result."""
        left, right = np.broadcast_arrays(*aligned(x, y))
        place = axis % (left.ndim - 1)
        shape = left.shape[1 : place + 1] + left.shape[place + 2 :]
        left, right = (np.atleast_3d(words) if words.ndim == 2 else words for words in (left, right))
        part = rep3.inner_product(self._party, left, right, place)
        return (yield from self._finish(part, shape, x, y))

    def matmul(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return the matrix product; traffic is the size of the result."""
        if not (1 <= x.ndim <= 2 and 1 <= y.ndim <= 2) or x.shape[-1] != y.shape[0]:
            raise ProgramFault(f"matmul of shapes {x.shape} and {y.shape}")
        shape = x.shape[:-1] + y.shape[1:]
        rows = x.words.reshape(2, -1, x.shape[-1])
        part = rep3.matrix_product(self._party, rows, y.words)
        return (yield from self._finish(part, shape, x, y))

    def truncate(self, x: Shared, fraction_bits: int = FRACTION_BITS) -> Steps[Shared]:
        """Drop fraction bits: two rounds."""
        bits = x.fraction_bits - fraction_bits
        if bits == 0:
            return x
        part = rep3.additive(self._party, _solid(x).words)
        words = yield from truncate(self._party, part, bits)
        return Shared(words.reshape(x.words.shape), fraction_bits)

    def scale(self, x: Shared, factor: Any) -> Steps[Shared]:
        """Return the product with public reals, truncated: two rounds."""
        return (yield from self.truncate(x.mul_public(np.asarray(factor, dtype=np.float64))))

    def less_than(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return 1 where x < y, else 0: 10 rounds."""
        return (yield from self.less_than_zero(x - y))

    def less_than_zero(self, x: Shared) -> Steps[Shared]:
        """Return 1 where x < 0, else 0: 10 rounds."""
        return (yield from self._bit(boolean.sign, x))

    def equal(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return 1 where x = y, else 0: 9 rounds."""
        return (yield from self._bit(boolean.is_zero, x - y))

    def select(self, bit: Shared, x: Shared, y: Shared) -> Steps[Shared]:
        """Return x where bit is 1, y where it is 0: one round."""
        return y + (yield from self.mul(bit, x - y))

    def maximum(self, x: Shared, axis: int = -1) -> Steps[Shared]:
        """Return the greatest element along an axis: 11 rounds for each halving."""
        return (yield from self._extreme(order.maximum, x, axis))

    def minimum(self, x: Shared, axis: int = -1) -> Steps[Shared]:
        """Return the least element along an axis: 11 rounds for each halving."""
        return (yield from self._extreme(order.minimum, x, axis))

    def divide(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return x / y as fixed point."""
        left, right = aligned(_solid(_fixed(x)), _solid(_fixed(y)))
        left, right = np.broadcast_arrays(left, right)
        words = yield from fixed.divide(self._party, left, right)
        shape = np.broadcast_shapes(x.shape, y.shape)
        return Shared(words.reshape(2, *shape), FRACTION_BITS)

    def sqrt(self, x: Shared) -> Steps[Shared]:
        """Square root as fixed point."""
        return (yield from self._unary(fixed.sqrt, x))

    def inverse_sqrt(self, x: Shared) -> Steps[Shared]:
        """Return 1 / sqrt(x) as fixed point."""
        return (yield from self._unary(fixed.inverse_sqrt, x))

    def sigmoid(self, x: Shared, accuracy: Accuracy = "training") -> Steps[Shared]:
        """Return 1 / (1 + e^-x): one batch of comparisons, then two rounds (training) or six (scoring)."""
        pieces = piecewise.sigmoid(accuracy)
        return (yield from self._unary(lambda party, words: fixed.piecewise(party, words, pieces), x))

    def exp(self, x: Shared) -> Steps[Shared]:
        """Return e^x as fixed point."""
        return (yield from self._unary(exponent.exp, x))

    def log(self, x: Shared) -> Steps[Shared]:
        """Return the natural logarithm as fixed point."""
        return (yield from self._unary(exponent.log, x))

    def sort(self, keys: Shared, *columns: Shared) -> Steps[tuple[Shared, ...]]:
        """Sort by Batcher's network: 11 rounds a stage, about log2(n)^2 / 2 stages."""
        return (yield from self._rearrange(order.sort_rows, (keys, *columns)))

    def laplace(self, scale: Fraction, shape: tuple[int, ...]) -> Steps[Shared]:
        """Return discrete Laplace noise that nobody knows: 8 rounds, 70 bytes a bit of the noise's size."""
        bits, left, parts = thresholds(scale), math.prod(shape), []
        most = max(1, NOISE_WORDS // (2 * len(bits)))
        while left:
            count = min(left, most)
            parts.append((yield from noise.laplace(self._party, bits, count)))
            left -= count
        return Shared(np.concatenate(parts, axis=1).reshape(2, *shape), 0)

    def gaussian(self, variance: Fraction, shape: tuple[int, ...]) -> Steps[Shared]:
        """Return the sum of three discrete Gaussians, of which each party knows its own: one round."""
        mine = gaussians(variance, math.prod(shape), self._party.own.random_bytes)
        words = yield from noise.added(self._party, mine)
        return Shared(words.reshape(2, *shape), 0)

    def reveal(self, x: Shared, to: Sequence[int]) -> Steps[NDArray[Any] | None]:
        """Open x to the parties in `to`: one round."""
        if not set(to) <= set(range(rep3.PARTIES)):
            raise ProgramFault(f"reveal to {list(to)}: the parties are 0 to {rep3.PARTIES - 1}")
        words = yield from rep3.reveal(self.me, _solid(x).words, to)
        return None if words is None else decode(words.reshape(x.shape), x.fraction_bits)

    def components(self, job: bytes, shared: Mapping[str, Shared], public: Value) -> dict[int, bytes]:
        """Return the records of both components that this party holds of a run's outputs (opening.py): local.

        They draw on the streams, so all parties call it at the same place of the run, once.
        """
        salts = (self._party.low.words((SALT_WORDS,)), self._party.high.words((SALT_WORDS,)))
        return {
            (self.me + place) % rep3.PARTIES: write_component(
                job, (self.me + place) % rep3.PARTIES, salts[place], shared, place, public
            )
            for place in (0, 1)
        }

    def _finish(self, part: Words, shape: tuple[int, ...], x: Shared, y: Shared) -> Steps[Shared]:
        """Reshare a product; truncate it when both factors have fraction bits."""
        bits = x.fraction_bits + y.fraction_bits
        if x.fraction_bits and y.fraction_bits:
            words = yield from truncate(self._party, part, bits - FRACTION_BITS)
            bits = FRACTION_BITS
        else:
            words = yield from rep3.reshare(self._party, part)
        return Shared(words.reshape(2, *shape), bits)

    def _bit(self, predicate: Callable[[rep3.Party, Words], Steps[Words]], x: Shared) -> Steps[Shared]:
        bits = yield from predicate(self._party, np.ascontiguousarray(_solid(x).words))
        words = yield from boolean.inject(self._party, bits)
        return Shared(words.reshape(x.words.shape), 0)

    def _unary(self, function: Callable[[rep3.Party, Words], Steps[Words]], x: Shared) -> Steps[Shared]:
        words = yield from function(self._party, _solid(_fixed(x)).words)
        return Shared(words.reshape(x.words.shape), FRACTION_BITS)

    def _extreme(
        self, function: Callable[[rep3.Party, Words], Steps[Words]], x: Shared, axis: int
    ) -> Steps[Shared]:
        front = np.moveaxis(x.words, axis % x.ndim + 1, 1)
        table = front.reshape(2, front.shape[1], -1)
        words = yield from function(self._party, table)
        return Shared(words.reshape(2, *front.shape[2:]), x.fraction_bits)

    def _rearrange(
        self, function: Callable[[rep3.Party, Words], Steps[Words]], columns: Sequence[Shared]
    ) -> Steps[tuple[Shared, ...]]:
        n = len(columns[0])
        flat = [column.words.reshape(2, n, -1) for column in columns]
        table = yield from function(self._party, np.concatenate(flat, axis=2))
        ends = np.cumsum([part.shape[2] for part in flat])
        parts = np.split(table, ends[:-1], axis=2)
        return tuple(
            Shared(part.reshape(column.words.shape), column.fraction_bits)
            for part, column in zip(parts, columns, strict=True)
        )


def _fixed(x: Shared) -> Shared:
    return x if x.fraction_bits == FRACTION_BITS else x.upscale(FRACTION_BITS)


def _solid(x: Shared) -> Shared:
    """Give a secret without axes one axis: numpy's scalars warn where the ring wraps."""
    return x if x.ndim else Shared(x.words.reshape(2, 1), x.fraction_bits)
