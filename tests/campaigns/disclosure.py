"""The campaign `disclosure`: attacks on results, each beside the guess of whoever knows as much.

An attack that succeeds more often than that guess is a finding. One that is refused names the code.
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
    told: int
    """Trials in which the attacker had more than a guess."""
    code: str
    """The code that refused every trial, "" if some ran."""

    @property
    def finding(self) -> bool:
        """Whether the attack succeeds above the guess: their intervals do not meet."""
        return interval(self.hits, self.trials)[0] > interval(self.guesses, self.trials)[1]

    def text(self) -> str:
        """Return it as a figure of the record."""
        said = f"{share(self.hits, self.trials)}, guess {share(self.guesses, self.trials)}"
        return f"refused {self.code}" if self.code else said


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
    return Outcome(
        attack,
        trials,
        sum(answer == one.truth for answer, one in zip(answers, found, strict=True)),
        sum(one.guess == one.truth for one in found),
        sum(one.answer is not None for one in found),
        next(iter(codes)) if len(codes) == 1 else "",
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table of a document."""
    lines = [
        "| attack | the attacker knows | right | guess or ceiling | refused by |",
        "|---|---|---|---|---|",
    ]
    for one in outcomes:
        right, guess = share(one.hits, one.trials), share(one.guesses, one.trials)
        if one.code:
            lines.append(f"| {one.attack.name} | {one.attack.knows} | | | `{one.code}` |")
        else:
            lines.append(f"| {one.attack.name} | {one.attack.knows} | {right} | {guess} | |")
    return "\n".join(lines)


def main() -> int:
    """Try every attack; print a line on the way for each, the table, then the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="attacks whose name holds this")
    given = parser.parse_args()
    outcomes = []
    for attack in [one for one in ATTACKS if given.only in one.name]:
        outcomes.append(tried(attack, given.trials, given.seed))
        print(f"{attack.name}: {outcomes[-1].text()}", flush=True)
    print(table(outcomes), flush=True)
    result = {
        "seeds": str(given.seed),
        "size": f"{len(outcomes)} attacks, {given.trials} trials each",
        "figures": {one.attack.name: one.text() for one in outcomes},
        "failures": [f"{one.attack.name}: {one.text()}" for one in outcomes if one.finding],
    }
    print(json.dumps(result))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
