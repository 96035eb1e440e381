"""The engine port: arithmetic on secrets, as programs ask for it.

Programs compose the protocols of an engine with `yield from` (rounds.py):

    def mean(engine: Engine, x: Shared) -> Steps[Shared]:
        return (yield from engine.scale(x.sum(), 1 / len(x)))

Local operations are methods of `Shared` (`x + y`, `x[mask]`, `x.sum(0)`, `x.mul_public(3)`) and the functions
`concatenate` and `stack` of sharing.py. Everything that costs communication is a method of `Engine`. Programs
return `Shared` outputs and never open them: `reveal` is a separate, later protocol that the agent runs once
the ledger has approved it (reveal gate).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from privcompute.mpc.ring import FRACTION_BITS
from privcompute.mpc.rounds import Steps
from privcompute.mpc.sharing import Shared

Accuracy = Literal["training", "scoring"]
"""Of the sigmoid: linear pieces, or cubic ones that cost more and err less."""


class Engine(Protocol):
    """Arithmetic on secrets among `parties` computing parties, of which this process is number `me`.

    Comparisons return integer secrets 0 or 1. Shapes broadcast as in numpy. Products of two fixed-point
    secrets are truncated to 16 fraction bits; a product with an integer secret is exact. Values, products
    and sums stay inside the ranges of ring.py: inputs are checked, intermediate values are the program's
    duty, and the plaintext engine checks them all. Errors are stated in ulp = 2^-16.
    """

    @property
    def profile(self) -> str:
        """Name of the security profile, printed on every result."""

    @property
    def me(self) -> int:
        """Return the index of this party, 0 … parties - 1."""

    @property
    def parties(self) -> int:
        """Number of computing parties."""

    def constant(self, values: Any, fraction_bits: int = 0) -> Shared:
        """Return public numbers as a shared value (local)."""

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
        """Share the owner's array (None at the others); OutOfRange at the owner names `name` and the value.

        `bound` (exclusive magnitude) narrows the allowed range; defaults are those of ring.py.
        """

    def mul(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return the product, elementwise; fixed by fixed within 1 ulp, unbiased, exact where it can be."""

    def dot(self, x: Shared, y: Shared, axis: int = -1) -> Steps[Shared]:
        """Sum of products along an axis, one truncation for the whole sum: within 1 ulp."""

    def matmul(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return the matrix product of 1- or 2-dimensional secrets, within 1 ulp; traffic is its size."""

    def truncate(self, x: Shared, fraction_bits: int = FRACTION_BITS) -> Steps[Shared]:
        """Drop fraction bits down to `fraction_bits`: within 1 ulp, unbiased."""

    def scale(self, x: Shared, factor: Any) -> Steps[Shared]:
        """Return the product of x with public reals, truncated to 16 fraction bits: within 1 ulp beyond the
        rounding of the factor to 16 fraction bits."""

    def less_than(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return 1 where x < y, else 0: exact."""

    def less_than_zero(self, x: Shared) -> Steps[Shared]:
        """Return 1 where x < 0, else 0: exact."""

    def equal(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return 1 where x = y, else 0: exact, on all 64 bits."""

    def select(self, bit: Shared, x: Shared, y: Shared) -> Steps[Shared]:
        """Return x where bit is 1, y where it is 0: exact."""

    def maximum(self, x: Shared, axis: int = -1) -> Steps[Shared]:
        """Return the greatest element along an axis, exact, in a logarithmic number of comparisons."""

    def minimum(self, x: Shared, axis: int = -1) -> Steps[Shared]:
        """Return the least element along an axis, exact, in a logarithmic number of comparisons."""

    def divide(self, x: Shared, y: Shared) -> Steps[Shared]:
        """Return x / y as fixed point, for |x| < 2^45, 0 < y < 2^30 and |x / y| < 2^30; 0 where y <= 0.

        Integers are read as numbers of that value. Error at most 4 ulp.
        """

    def sqrt(self, x: Shared) -> Steps[Shared]:
        """Square root for 0 <= x < 2^30: error at most 2 ulp + 2^-24 of the root; 0 for negative x."""

    def inverse_sqrt(self, x: Shared) -> Steps[Shared]:
        """Return 1 / sqrt(x) for 0 < x < 2^30: error at most 2 ulp + 2^-24 of the value; 0 for x <= 0."""

    def sigmoid(self, x: Shared, accuracy: Accuracy = "training") -> Steps[Shared]:
        """Return 1 / (1 + e^-x): piecewise; at most 0.0050 (training) or 0.00008 (scoring) off."""

    def exp(self, x: Shared) -> Steps[Shared]:
        """Return e^x: error at most 1 ulp + 2^-21 of it; 0 for x < -12, and e^20.75 for greater x."""

    def log(self, x: Shared) -> Steps[Shared]:
        """Return the natural logarithm for 0 < x < 2^30: error at most 2 ulp; exactly 0 where x <= 0."""

    def sort(self, keys: Shared, *columns: Shared) -> Steps[tuple[Shared, ...]]:
        """Return keys (n,) in ascending order and the columns (n, …) rearranged alike; nothing is learnt."""

    def laplace(self, scale: Fraction, shape: tuple[int, ...]) -> Steps[Shared]:
        """Return independent discrete Laplace noise of a scale up to SCALE_MAX, as whole numbers below 2^45.

        No party knows it or chooses it. How far it is from the exact distribution, noise.py states.
        """

    def gaussian(self, variance: Fraction, shape: tuple[int, ...]) -> Steps[Shared]:
        """Return independent sums of three discrete Gaussians of a variance, as whole numbers.

        A party may know one of the three, no more: two of them, of twice the variance, are unknown to each.
        """

    def reveal(self, x: Shared, to: Sequence[int]) -> Steps[NDArray[Any] | None]:
        """Open x to the parties in `to`: float64 or int64 there, None elsewhere."""
