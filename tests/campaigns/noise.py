"""The campaign `noise`: a million draws of each distribution on shares, beside exact probabilities.

Scales that are a fiftieth off are planted, so that a run that would not see them fails.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from privcompute.mpc.rep3_engine import Rep3Engine
from tests.unit.privcompute.mpc.drawing import (
    CHANCE,
    SCALES,
    drawn,
    gaussian_chance,
    hidden,
    laplace_chance,
)

DRAWS = 1_000_000
GAUSSIAN_PART = 10
"""So many times fewer are drawn of a Gaussian: each party draws its own in exact integers."""
PART = 50_000
SEEN = 5_000
"""Draws of which all that a party saw is looked at."""
VARIANCES = (Fraction(4), Fraction(2_500, 7))
OFF = Fraction(49, 50)
Drawing = Callable[[Rep3Engine, int], object]


def main() -> int:
    """Draw from every distribution; print a line on the way for each, then the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=DRAWS)
    given = parser.parse_args()
    figures: dict[str, int | float] = {"draws": given.draws, "planted": 0, "caught": 0}
    failures: list[str] = []
    for name, size in _distributions():
        count = given.draws if name == "laplace" else max(PART, given.draws // GAUSSIAN_PART)
        noise = _draws(name, size, count)
        chance, planted = _chance(name, noise, size), _chance(name, noise, size * OFF)
        figures[f"{name} {size}: chance"] = round(chance, 6)
        print(f"{name} {size}: {count} draws, chance {chance:.3g}, planted {planted:.3g}", flush=True)
        if chance <= CHANCE:
            failures.append(f"{name} {size}: these draws have a chance of {chance:.3g}")
        if name == "laplace":  # a tenth of the draws does not show a fiftieth of every variance
            figures["planted"] += 1
            figures["caught"] += planted <= CHANCE
            failures += [] if planted <= CHANCE else [f"{name} {size}: a scale of {OFF} of it is not seen"]
        if not hidden(drawn(lambda engine, of=(name, size): _one(engine, *of, SEEN), SEEN, seed=1)):
            failures.append(f"{name} {size}: what a party saw goes with the noise")
    result = {
        "seeds": "0",
        "size": f"{given.draws} draws of {len(SCALES)} scales, fewer of {len(VARIANCES)} variances",
        "figures": figures,
        "failures": failures,
    }
    print(json.dumps(result))
    return 1 if failures else 0


def _distributions() -> list[tuple[str, Fraction]]:
    return [("laplace", scale) for scale in SCALES] + [("gaussian", variance) for variance in VARIANCES]


def _one(engine: Rep3Engine, name: str, size: Fraction, count: int) -> object:
    return engine.laplace(size, (count,)) if name == "laplace" else engine.gaussian(size, (count,))


def _draws(name: str, size: Fraction, count: int) -> NDArray[np.int64]:
    parts = []
    for seed, start in enumerate(range(0, count, PART)):
        part = min(PART, count - start)
        parts.append(drawn(lambda engine, n=part: _one(engine, name, size, n), part, seed, heard=False).noise)
    return np.concatenate(parts)


def _chance(name: str, noise: NDArray[np.int64], size: Fraction) -> float:
    return laplace_chance(noise, size) if name == "laplace" else gaussian_chance(noise, size, 3)


if __name__ == "__main__":
    sys.exit(main())
