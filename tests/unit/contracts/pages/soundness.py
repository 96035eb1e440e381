"""Random pages through the tracer and through the reference: python -m tests.unit.contracts.pages.soundness.

Of pages without loops and stacks both must say the same. With loops and stacks the tracer may say more, never
less: its labels are of all turns, and of all parts of a stack.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from contracts.pages.faults import PageRefused
from contracts.pages.page import trace
from contracts.pages.releases import USES
from contracts.pages.tables import DatasetSchema
from tests.unit.contracts.pages.draw import Draw
from tests.unit.contracts.pages.reference import Reference

SCHEMAS = {
    "loans": DatasetSchema(
        "bank", {"id": "text", "w": "decimal", "r": "integer", "k": "category", "m": "boolean"}
    ),
    "people": DatasetSchema(
        "city",
        {"id": "text", "a": "integer", "i": "decimal", "d": "decimal", "h": "category", "b": "boolean"},
    ),
}
PAGES = 14_000
FORGIVEN = frozenset({"NOISE_UNBOUNDED", "NOISE_ON_ROWS"})
"""Refusals that a drawn page may meet; every other one is a fault of what draws."""


@dataclass
class Found:
    """How pages compared."""

    equal: int = 0
    wider: int = 0
    refused: int = 0
    differ: list[tuple[int, str]] = field(default_factory=list)
    """(seed, page with both answers) where the tracer says less, or something else than it should."""


def compared(seeds: Iterable[int]) -> Found:
    """Compare one page a seed."""
    found = Found()
    for seed in seeds:
        source = Draw(seed).page()
        try:
            plan = trace(source, SCHEMAS)
        except PageRefused as refused:
            found.refused += 1
            if {item.rule for item in refused.diagnostics} - FORGIVEN:
                found.differ.append((seed, f"{source}\n{refused}"))
            continue
        said: list[set[tuple[str, str]]] = [set() for _ in plan.releases]
        for use in plan.uses:
            said[use.release].add((f"{use.dataset}.{use.column}", use.use))
        wanted = Reference().run(source)
        if said == wanted:
            found.equal += 1
        elif ("repeat" in source or "stack" in source) and all(map(_covers, said, wanted)):
            found.wider += 1
        else:
            found.differ.append((seed, f"{source}\ntracer {said}\nreference {wanted}"))
    return found


def _covers(said: set[tuple[str, str]], wanted: set[tuple[str, str]]) -> bool:
    """Tell whether one set of uses asks for at least as much of each column as another."""

    def worst(uses: set[tuple[str, str]], column: str) -> int:
        return max((USES.index(use) for name, use in uses if name == column), default=-1)

    return all(worst(said, column) >= worst(wanted, column) for column, _ in wanted)


def main() -> int:
    """Compare many pages and print the result as a campaign does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=PAGES)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    seeds = range(given.seed, given.seed + given.pages)
    found = compared(seeds)
    failures = [f"seed {seed}: {text}"[:1_000] for seed, text in found.differ[:20]]
    figures = {"pages": given.pages, "equal": found.equal, "wider": found.wider, "refused": found.refused}
    result = {
        "seeds": f"{seeds.start}..{seeds.stop - 1}",
        "size": f"{given.pages} random pages through the tracer and a brute-force reference",
        "figures": figures | {"differ": len(found.differ)},
        "failures": failures,
    }
    print(json.dumps(result))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
