"""The campaign `disclosure`: attacks on results, each beside the guess of whoever knows as much.

An attack is a finding where it succeeds more often than that guess, by a one-sided test at level LEVEL:
against what the guess is right by theory, or, where both guess in the same trials, by those in which only one
is right. One that is refused names the code.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.campaigns.attacks import ATTACKS, Attack, Said, World

TRIALS = 200
"""Of an attack that does not say how many it takes."""
LEVEL = 0.001
"""How often a test finds an attack that is no better than the guess: of forty attacks one in 25 campaigns."""
Z = 1.959963984540054
"""Of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attack."""

    attack: Attack
    trials: int
    hits: int
    guesses: int
    """Trials in which the guess was right."""
    better: int
    """Trials in which the attack alone was right."""
    worse: int
    """Trials in which the guess alone was right."""
    code: str
    """The code that refused every trial, "" if some ran."""
    bound: float = 0.0
    """How often whoever knows as much is right by theory, at most; 0 where the guess was tried."""

    @property
    def chance(self) -> float:
        """Return how often a mere guess would do as well as this: the p of the test."""
        if self.bound:
            return upper_tail(self.hits, self.trials, self.bound)
        return upper_tail(self.better, self.better + self.worse, 0.5)

    @property
    def finding(self) -> bool:
        """Whether the attack succeeds above the guess."""
        return self.chance < LEVEL

    def guess(self) -> str:
        """Return how often the guess is right."""
        return f"at most {self.bound:.3f}" if self.bound else share(self.guesses, self.trials)

    def text(self) -> str:
        """Return it as a figure of the record."""
        said = f"{share(self.hits, self.trials)} of {self.trials}, guess {self.guess()}, p {self.chance:.3f}"
        return f"refused {self.code}" if self.code else said


def upper_tail(hits: int, trials: int, rate: float) -> float:
    """Return the probability of so many hits or more, each at this rate."""
    logs = [
        math.lgamma(trials + 1) - math.lgamma(one + 1) - math.lgamma(trials - one + 1)
        + one * math.log(rate) + (trials - one) * math.log1p(-rate)
        for one in range(hits, trials + 1)
    ]  # fmt: skip
    return min(1.0, math.fsum(math.exp(one) for one in logs))


def interval(hits: int, trials: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    part, square = hits / trials, Z * Z
    middle = (part + square / (2 * trials)) / (1 + square / trials)
    half = Z * math.sqrt(part * (1 - part) / trials + square / (4 * trials * trials)) / (1 + square / trials)
    return middle - half, middle + half


def share(hits: int, trials: int) -> str:
    """Return a share with its interval, in words."""
    low, high = interval(hits, trials)
    return f"{hits / trials:.2f} ({low:.2f} to {high:.2f})"


def tried(attack: Attack, trials: int, seed: int) -> Outcome:
    """Try an attack; each trial has consortium, data and person of its own."""
    found: list[Said] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(trials):
            random = np.random.default_rng([seed, number, *attack.name.encode()])
            found.append(attack.trial(World(random, Path(folder) / str(number))))
    answers = [one.guess if one.answer is None else one.answer for one in found]
    codes = Counter(one.code for one in found)
    right = [
        (answer == one.truth, one.guess == one.truth) for answer, one in zip(answers, found, strict=True)
    ]
    return Outcome(
        attack,
        trials,
        sum(mine for mine, _ in right),
        sum(guess for _, guess in right),
        right.count((True, False)),
        right.count((False, True)),
        next(iter(codes)) if len(codes) == 1 else "",
        max(one.bound for one in found),
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table of a document."""
    lines = [
        "| attack | the attacker knows | right | guess or ceiling | p | refused by |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {one.attack.name} | {one.attack.knows} {cells_of(one.text())}" for one in outcomes]
    return "\n".join(lines)


def cells_of(figure: str) -> str:
    """Return the cells of a row for a figure of the record."""
    if figure.startswith("refused "):
        return f"| | | | `{figure.removeprefix('refused ')}` |"
    right, _, rest = figure.partition(", guess ")
    guess, _, chance = rest.partition(", p ")
    return " | ".join([f"| {right}", guess, chance, "", ""]).replace("  ", " ").rstrip()


def main() -> int:
    """Try every attack; print a line on the way for each, the table, then the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=0, help="of each attack; 0 for as many as it says")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="attacks whose name holds this")
    given = parser.parse_args()
    outcomes = []
    for attack in [one for one in ATTACKS if given.only in one.name]:
        outcomes.append(tried(attack, given.trials or attack.trials, given.seed))
        print(f"{attack.name}: {outcomes[-1].text()}", flush=True)
    print(table(outcomes), flush=True)
    result = {
        "seeds": str(given.seed),
        "size": f"{len(outcomes)} attacks, {sum(one.trials for one in outcomes)} trials",
        "figures": {one.attack.name: one.text() for one in outcomes},
        "failures": [f"{one.attack.name}: {one.text()}" for one in outcomes if one.finding],
    }
    print(json.dumps(result))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
