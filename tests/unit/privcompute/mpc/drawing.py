"""Draws noise on shares of three parties with what each of them saw, and judges both by their statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privcompute.mpc.local import run_local
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import Steps, as_round
from privcompute.mpc.sharing import Shared

SCALES = (Fraction(1, 3), Fraction(1), Fraction(5, 2), Fraction(20), Fraction(1000))
CHANCE = 1e-7
"""A sound sampler fails a check with this chance at most; seeds are fixed, so it does not."""
Drawing = Callable[[Rep3Engine], Steps[Shared]]


@dataclass(frozen=True)
class Drawn:
    """Noise, and what each party saw of it: whole numbers by draw, in as many rows as there were."""

    noise: NDArray[np.int64]
    views: tuple[NDArray[np.int64], ...]


def drawn(drawing: Drawing, count: int, seed: int = 0, heard: bool = True) -> Drawn:
    """Draw noise of shape (count,) at three parties; a view has all that a party got if `heard`."""
    messages: list[list[bytes]] = [[], [], []]

    def party(me: int) -> Steps[Any]:
        entropy = np.random.default_rng([seed, me]).bytes(ENTROPY_BYTES)
        engine = yield from Rep3Engine.start(me, bytes(32), entropy)
        made = yield from _recorded(drawing(engine), messages[me] if heard else [])
        return made, (yield from engine.reveal(made, [0, 1, 2]))

    results = run_local([party(me) for me in range(3)]).results
    views = []
    for me, (made, _) in enumerate(results):
        rows = [_bits(made.words[place].astype("<u8").tobytes(), count) for place in (0, 1)]
        rows += [_bits(message, count) for message in messages[me] if len(message) % count == 0]
        views.append(np.concatenate(rows))
    return Drawn(results[0][1], tuple(views))


def _recorded(protocol: Steps[Any], into: list[bytes]) -> Steps[Any]:
    try:
        step = next(protocol)
        while True:
            received = yield as_round(step)
            into.extend(bytes(received[sender]) for sender in sorted(received))
            step = protocol.send(received)
    except StopIteration as stop:
        return stop.value


def _bits(message: bytes, count: int) -> NDArray[np.int64]:
    """Return the lowest bit and the parity of what a message holds for each draw, array by array."""
    cells = np.frombuffer(message, np.uint8).reshape(-1, count, max(1, _width(message, count)))
    folded = np.bitwise_xor.reduce(cells, axis=2)
    parity = np.unpackbits(folded[..., np.newaxis], axis=-1).sum(axis=-1) & 1
    return np.concatenate([cells[..., 0] & 1, parity]).astype(np.int64)


def _width(message: bytes, count: int) -> int:
    each = len(message) // count
    return next(width for width in (8, 4, 2, 1) if each % width == 0)


# --- what sound noise passes -------------------------------------------------------------------------------
def laplace_chances(scale: Fraction, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the exact probabilities of a discrete Laplace."""
    p = math.exp(-1 / scale)
    chances: NDArray[np.float64] = (1 - p) / (1 + p) * p ** np.abs(sizes)
    return chances


def gaussian_chances(variance: Fraction, parts: int, reach: int) -> NDArray[np.float64]:
    """Return the probabilities of -reach … reach under a sum of discrete Gaussians."""
    one = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * float(variance)))
    one /= one.sum()
    total = one
    for _ in range(parts - 1):
        total = np.convolve(total, one)[reach : 3 * reach + 1]
    return total


def chance_of(noise: NDArray[np.int64], chances: NDArray[np.float64], reach: int) -> float:
    """Return the p-value of chi-square against probabilities of -reach … reach, in 200 groups at most."""
    from scipy.stats import chi2  # which takes a second of whoever collects tests of noise

    seen = np.bincount(np.clip(noise, -reach - 1, reach + 1) + reach + 1, minlength=2 * reach + 3)
    expected = len(noise) * np.concatenate([[0.0], chances, [0.0]])
    expected[0] = expected[-1] = max(0.0, len(noise) - expected.sum()) / 2
    each = max(25, len(noise) / 200)
    groups = np.minimum(np.floor(np.cumsum(expected) / each), np.floor(len(noise) / each) - 1).astype(int)
    of_seen, of_expected = (np.bincount(groups, weights=one) for one in (seen, expected))
    kept = of_expected > 0
    statistic = float(((of_seen - of_expected)[kept] ** 2 / of_expected[kept]).sum())
    return float(chi2.sf(statistic, int(kept.sum()) - 1))


def laplace_chance(noise: NDArray[np.int64], scale: Fraction) -> float:
    """Return how likely draws of a discrete Laplace are no nearer to their probabilities."""
    reach = math.ceil(45 * scale)
    return chance_of(noise, laplace_chances(scale, np.arange(-reach, reach + 1)), reach)


def gaussian_chance(noise: NDArray[np.int64], variance: Fraction, parts: int) -> float:
    """Return the same for a sum of discrete Gaussians."""
    reach = math.ceil(12 * math.sqrt(parts * variance))
    return chance_of(noise, gaussian_chances(variance, parts, reach), reach)


def fits_laplace(noise: NDArray[np.int64], scale: Fraction) -> bool:
    """Tell whether draws are of a discrete Laplace."""
    return laplace_chance(noise, scale) > CHANCE


def fits_gaussian(noise: NDArray[np.int64], variance: Fraction, parts: int) -> bool:
    """Tell whether draws are of a sum of discrete Gaussians."""
    return gaussian_chance(noise, variance, parts) > CHANCE


def hidden(found: Drawn) -> bool:
    """Tell whether no bit that a party saw goes with the sign, the size or the lowest bit of the noise."""
    size = np.abs(found.noise)
    of_noise = [found.noise > 0, size > np.median(size), found.noise & 1]
    return all(
        apart(seen, bits.astype(np.int64)) for view in found.views for seen in view for bits in of_noise
    )


def apart(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Tell whether two variables are uncorrelated, as far as so many draws show."""
    if one.std() == 0 or other.std() == 0:
        return True
    return abs(float(np.corrcoef(one, other)[0, 1])) * math.sqrt(len(one)) < 6


def each_its_own(figures: Sequence[NDArray[np.int64]]) -> bool:
    """Tell whether the noise of several figures is independent, each of it of all others."""
    pairs = [(a, b) for place, a in enumerate(figures) for b in figures[:place]]
    return all(apart(a, b) and apart(np.abs(a), np.abs(b)) for a, b in pairs)
