"""How much noise each number of a release has, and how it is drawn on shares.

Noise is added to the sums and counts that a release follows from (`noise_on`), in units: 1 for whole numbers,
2^-16 for reals. What one row changes there at most follows of the plan (contracts/pages/sensitivity.py); a
release of k sums and counts has k equal shares of its charge, and so has a sum that gets noise in k turns.
- `laplace(epsilon)`: scale k · l1 / epsilon.
- `gaussian(epsilon, delta)`: a party that knows its own part sees the sum of two discrete Gaussians. Their
  variance together is k · l2² / (2 rho), with 2^-20 of it on top: the sum of two differs from one of the same
  variance by less than that as long as each has a variance of GAUSSIAN_LEAST or more (Kairouz, Liu, Steinke:
  "The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure Aggregation", ICML 2021: its
  tau for two is 10 · e^(-pi² variance), below 10^-16). So each party's variance is half of it, and what is
  released has 1.5 times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from statistics import NormalDist

from contracts.pages.faults import Unfit
from contracts.pages.labels import Atom
from contracts.pages.limits import EPSILON_MAX, NOISED_MOST
from contracts.pages.numbers import read_number
from contracts.pages.plan import Plan
from contracts.pages.sensitivity import greatest
from contracts.pages.zcdp import rho_of_gaussian
from privcompute.mpc.engine import Engine
from privcompute.mpc.noise import NOISE_BITS_MAX, NOISE_WORDS, SCALE_MAX, VARIANCE_MAX, thresholds
from privcompute.mpc.ring import FRACTION_BITS
from privcompute.mpc.rounds import Steps
from privcompute.mpc.sharing import Shared
from privcompute.pages.columns import InputRefused

GAUSSIAN_LEAST = Fraction(4)
"""Least variance of one party's part, in units."""
_ON_TOP = 1 + Fraction(1, 1 << 20)
_STEP = 1 << 16
"""Variances are multiples of 2^-16, rounded up."""
WITHIN = -1
_LAPLACE_ROUNDS, _LAPLACE_BYTES = 8, 35
"""Bytes of each word that is compared."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How noise is drawn for each number of a sum or count."""

    mechanism: str
    size: Fraction
    """In units: the scale of Laplace noise, or the variance of one party's part of Gaussian noise."""

    @property
    def words(self) -> int:
        """Words that are compared for one number; 1 where none are."""
        return 2 * len(thresholds(self.size)) if self.mechanism == "laplace" else 1

    def cost(self, numbers: int) -> tuple[int, int]:
        """Return rounds, and the bytes that the heaviest party sends, of noise for so many numbers."""
        if self.mechanism == "gaussian":
            return 1, 8 * numbers
        at_a_time = max(1, NOISE_WORDS // self.words)
        return _LAPLACE_ROUNDS * -(-numbers // at_a_time), _LAPLACE_BYTES * self.words * numbers


@dataclass(frozen=True, slots=True)
class _Covering:
    """Noise that is asked for: by whom, how, and over how many sums or turns its epsilon is split."""

    name: str
    mechanism: str
    epsilon: str
    delta: str
    parts: int
    less: int = 0
    """By so many bits it lies below the greatest noise that shares hold."""


def noise_of(plan: Plan, number: int) -> dict[int, Noise]:
    """Return the noise of each sum or count of a release, by node; InputRefused where it cannot be drawn."""
    asked, atoms = plan.asked[number], plan.releases[number].noise_on
    name = f"release {asked.name!r}"
    how = _Covering(name, asked.mechanism, asked.epsilon, asked.delta, len(atoms))
    return {atom.node: _noise_on(plan, atom, how) for atom in atoms}


def noise_within(plan: Plan) -> dict[int, Noise]:
    """Return the noise of each turn of each sum that gets some inside the computation, by the node of both.

    Raise InputRefused where it cannot be drawn, or reals or counts would have more than NOISED_MOST of it.
    """
    found = {}
    for place, one in enumerate(plan.noised):
        bits = FRACTION_BITS if plan.graph.cells[one.node].kind == "real" else 0
        less = NOISE_BITS_MAX - (NOISED_MOST.bit_length() - 1 + bits) if bits or one.atom.of_bits else 0
        how = _Covering(
            f"noised(…) number {place + 1}", one.mechanism, one.epsilon, one.delta, one.turns, less
        )
        found[one.node] = _noise_on(plan, one.atom, how)
    return found


def _noise_on(plan: Plan, atom: Atom, how: _Covering) -> Noise:
    try:
        l1, l2 = greatest(plan.graph, plan.datasets, atom)
    except Unfit as unfit:
        raise InputRefused(f"{how.name}: {unfit.reason}; {unfit.instead}") from None
    unit = 1 << FRACTION_BITS if plan.graph.cells[atom.node].kind == "real" else 1
    return _drawn(how, l1 * unit, l2 * unit)


def _drawn(how: _Covering, l1: Fraction, l2: Fraction) -> Noise:
    """Return the noise of a sum or count that one row changes by so many units; by one, if by none."""
    epsilon = read_number(how.epsilon)
    if how.mechanism == "laplace":
        scale, most = max(l1, Fraction(1)) * how.parts / epsilon, SCALE_MAX / (1 << how.less)
        if scale > most:
            raise _too_much(how, float(epsilon * scale / most))
        return Noise("laplace", scale)
    rho = rho_of_gaussian(epsilon, read_number(how.delta))
    if rho == 0:
        raise _too_much(how, 1e-6)
    wanted = how.parts * max(l2, Fraction(1)) ** 2 / (2 * rho) / 2 * _ON_TOP
    variance = max(GAUSSIAN_LEAST, Fraction(math.ceil(wanted * _STEP), _STEP))
    greatest_variance = Fraction(VARIANCE_MAX, 1 << 2 * how.less)
    if variance > greatest_variance:
        raise _too_much(how, float(epsilon) * math.sqrt(variance / greatest_variance))
    return Noise("gaussian", variance)


def _too_much(how: _Covering, least: float) -> InputRefused:
    more = f"an epsilon of {least:.3g} or more, " if least <= EPSILON_MAX else ""
    return InputRefused(
        f"{how.name}: epsilon = {float(Fraction(how.epsilon)):.6g} asks for more noise than shares hold;"
        f" ask for {more}narrower bounds in clip(x, low, high), or fewer figures or turns at once"
    )


def attrs_of(noise: Noise, number: int, node: int) -> tuple[str, ...]:
    """Return the constants of a step that draws noise: no two releases, and no two sums, share one.

    `number` is that of a release, WITHIN of noise inside the computation.
    """
    return noise.mechanism, str(noise.size), str(number), str(node)


def of_attrs(attrs: tuple[str, ...]) -> Noise:
    """Return the noise that a step draws."""
    return Noise(attrs[0], Fraction(attrs[1]))


def draw(engine: Engine, noise: Noise, shape: tuple[int, ...], kind: str) -> Steps[Shared]:
    """Return noise for each cell of a shape, in units of its kind."""
    drawing = engine.laplace if noise.mechanism == "laplace" else engine.gaussian
    made = yield from drawing(noise.size, shape)
    return Shared(made.words, FRACTION_BITS if kind == "real" else 0)


def reach(noise: Noise, chance: Fraction) -> int:
    """Return the least number of units, nearly, that noise exceeds in magnitude at most with this chance.

    Laplace: P(|x| > q) = 2 p^(q + 1) / (1 + p). Gaussian: as a normal of 3 variances, and half a unit more.
    """
    if noise.mechanism == "gaussian":
        spread = math.sqrt(3 * noise.size)
        return math.ceil(_normal(float(chance)) * spread + 0.5)
    p = math.exp(-1 / noise.size)
    tail = math.log(2 / (float(chance) * (1 + p))) * float(noise.size)
    return max(0, math.ceil(round(tail, 9)) - 1)


def _normal(chance: float) -> float:
    """Return how many deviations a normal variable exceeds with this chance on both sides, rounded up."""
    return math.ceil(NormalDist().inv_cdf(1 - chance / 2) * 1000) / 1000
