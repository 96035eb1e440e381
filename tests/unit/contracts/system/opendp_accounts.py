"""What OpenDP's accountant says of random sequences of charges: `scripts/opendp` writes it down.

The file it writes is what `test_accounts.py` holds contract `accounts` against, so that no test needs OpenDP,
a library of 47 MB, installed.
"""

from __future__ import annotations

import json
import random
from importlib import import_module
from importlib.metadata import version
from math import ceil, sqrt
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[3] / "vectors/opendp_accounts.json"
SEED, SEQUENCES, CHARGES_MAX = 20261130, 150, 30
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


def main() -> None:
    """Write the file anew."""
    accountant, chance = Accountant(), random.Random(SEED)
    found = [sequence(accountant, chance) for _ in range(SEQUENCES)]
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in found)
    said = json.dumps({"opendp": version("opendp"), "seed": SEED})[:-1]
    FILE.write_text(f'{said}, "sequences": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
