"""What OpenDP's accountant says of random charges and of turns: `scripts/opendp` writes it down.

The files it writes are what `test_accounts.py` holds contract `accounts` against, and `test_noised.py` what
noise inside a computation is charged with, so that no test needs OpenDP, a library of 47 MB, installed.
"""

from __future__ import annotations

import json
import random
from fractions import Fraction
from importlib import import_module
from importlib.metadata import version
from itertools import product
from math import ceil, sqrt
from pathlib import Path
from typing import Any

from contracts.pages.zcdp import rho_of_gaussian

VECTORS = Path(__file__).parents[3] / "vectors"
FILE, TURNS_FILE = VECTORS / "opendp_accounts.json", VECTORS / "opendp_turns.json"
SEED, SEQUENCES, CHARGES_MAX = 20261130, 150, 30
EPSILONS, DELTAS, TURNS = (0.1, 0.5, 1, 3), (1e-5, 1e-7), (1, 5, 20, 100)
CAP_DELTAS = (10**-3, 10**-5, 10**-6, 10**-9)
LAPLACE_DELTA = 909_495
"""2^-40 in units of 10^-18: the part of a figure's noise that no whole sampler gives."""


class Accountant:
    """OpenDP's mechanisms on one whole number that changes by 1, and how it composes them."""

    def __init__(self) -> None:
        """Load the library, which only this needs."""
        dp: Any = import_module("opendp.prelude")
        dp.enable_features("contrib")
        self._c, self._m = dp.c, dp.m
        self._space = dp.atom_domain(T=int), dp.absolute_distance(T=int)
        self._real_space = dp.atom_domain(T=float, nan=False), dp.absolute_distance(T=float)

    def laplace(self, epsilon: int) -> tuple[dict[str, int], Any, Any]:
        """Return a charge, and the mechanism under approximate and under concentrated privacy."""
        drawn = self._m.make_laplace(*self._space, scale=10**9 / epsilon)
        charge = {"epsilon": epsilon, "delta": LAPLACE_DELTA, "rho": (epsilon**2 + 1) // 2}
        return charge, self._c.make_approximate(drawn), self._c.make_pureDP_to_zCDP(drawn)

    def gaussian(self, rho: int, delta: float) -> tuple[dict[str, int], Any, Any]:
        """Return the same of Gaussian noise, whose epsilon is OpenDP's own at this delta."""
        drawn = self._m.make_gaussian(*self._space, scale=sqrt(10**18 / rho / 2))
        fixed = self._c.make_fix_delta(self._c.make_zCDP_to_approxDP(drawn), delta)
        epsilon = ceil(fixed.map(1)[0] * 10**9)
        return {"epsilon": epsilon, "delta": ceil(delta * 10**18), "rho": rho}, fixed, drawn

    def composed(self, approximate: list[Any], concentrated: list[Any], delta: float) -> tuple[float, float]:
        """Return the epsilon of all of them by basic composition, and by zCDP at a delta."""
        whole = self._c.make_composition(concentrated)
        profile = self._c.make_zCDP_to_approxDP(whole).map(1)
        return self._c.make_composition(approximate).map(1)[0], profile.epsilon(delta)

    def of_turns(self, scale: float, count: int) -> Any:
        """Return as many Gaussians of one scale, composed, on one real number that changes by 1."""
        space = self._real_space
        return self._c.make_composition([self._m.make_gaussian(*space, scale=scale) for _ in range(count)])

    def epsilon_of(self, mechanism: Any, delta: float) -> float:
        """Return the epsilon of a mechanism of concentrated privacy at a delta."""
        found: float = self._c.make_zCDP_to_approxDP(mechanism).map(1).epsilon(delta)
        return found


def sequence(accountant: Accountant, chance: random.Random) -> dict[str, Any]:
    """Draw charges, and return them with what OpenDP says of all together."""
    cap = chance.choice(CAP_DELTAS)
    charges, approximate, concentrated = [], [], []
    for _ in range(chance.randint(1, CHARGES_MAX)):
        if chance.random() < 0.6:
            found = accountant.laplace(round(10 ** chance.uniform(6, 9.5)))
        else:
            found = accountant.gaussian(round(10 ** chance.uniform(12, 17.5)), cap / 1_000)
        for kept, one in zip((charges, approximate, concentrated), found, strict=True):
            kept.append(one)
    delta = round(cap * 10**18)
    free = delta - sum(charge["delta"] for charge in charges)
    basic, zcdp = accountant.composed(approximate, concentrated, free / 10**18)
    return {"delta": delta, "charges": charges, "basic": basic, "zcdp": zcdp}


def turns(accountant: Accountant, epsilon: float, delta: float, count: int) -> dict[str, Any]:
    """Return what OpenDP says of Gaussian noise in so many turns, scaled for an epsilon of all of them.

    `rho` is that of all turns, `composed` its epsilon at delta.
    """
    rho = rho_of_gaussian(Fraction(str(epsilon)), Fraction(str(delta)))
    whole = accountant.of_turns(sqrt(count / (2 * float(rho))), count)
    found, at_delta = whole.map(1), accountant.epsilon_of(whole, delta)
    return {"epsilon": epsilon, "delta": delta, "turns": count, "rho": found, "composed": at_delta}


def main() -> None:
    """Write the files anew."""
    accountant, chance = Accountant(), random.Random(SEED)
    found = [sequence(accountant, chance) for _ in range(SEQUENCES)]
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in found)
    said = json.dumps({"opendp": version("opendp"), "seed": SEED})[:-1]
    FILE.write_text(f'{said}, "sequences": [\n{lines}\n]}}\n', encoding="utf-8")
    several = [turns(accountant, *case) for case in product(EPSILONS, DELTAS, TURNS)]
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in several)
    said = json.dumps({"opendp": version("opendp")})[:-1]
    TURNS_FILE.write_text(f'{said}, "turns": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
