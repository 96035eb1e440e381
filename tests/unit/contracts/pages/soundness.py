"""Random pages through the tracer and through the reference; the campaign `pages` compares many.

Of pages without loops and stacks both must say the same. With loops and stacks the tracer may say more, never
less: its labels are of all turns, and of all parts of a stack.
"""

from __future__ import annotations

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
        "bank",
        {"id": "text", "w": "decimal", "r": "integer", "k": "category", "m": "boolean"},
        categories={"k": 3},
    ),
    "people": DatasetSchema(
        "city",
        {
            "id": "text",
            "a": "integer",
            "i": "decimal",
            "d": "decimal",
            "h": "category",
            "b": "boolean",
            "t": "timestamp",
        },
        categories={"h": 3},
    ),
}
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

    def joined(self, more: Found) -> Found:
        """Return how these and other pages compared."""
        return Found(
            self.equal + more.equal,
            self.wider + more.wider,
            self.refused + more.refused,
            self.differ + more.differ,
        )


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
