"""Known faults, each planted into the production code at one point: the simulator finds such things.

`scripts/simulate --planted list` names them, `--planted NAME` counts the seeds until one is caught, and
`--planted all` does so for all, up to 500 seeds each or those of `--seeds`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType
from typing import Any

import click

from tests.simulation.planted_functions import FUNCTIONS, Plant
from tests.simulation.planted_lines import LINES
from tests.simulation.storm import simulate

SEEDS_MAX = 500
PLANTS: dict[str, Plant] = {**FUNCTIONS, **LINES}


@contextmanager
def planted(name: str) -> Iterator[Plant]:
    """Plant a fault for a while."""
    plant = PLANTS[name]
    with ExitStack() as stack:
        for owner, attribute, replacement in plant.patches():
            stack.callback(setattr, owner, attribute, _original(owner, attribute))
            setattr(owner, attribute, replacement)
        yield plant


def _original(owner: Any, attribute: str) -> Any:
    return getattr(owner, attribute) if isinstance(owner, FunctionType) else owner.__dict__[attribute]


def seeds_until_caught(name: str, first: int = 0, most: int = SEEDS_MAX) -> tuple[int, str] | None:
    """Return (how many seeds it took, what was seen), or None if nothing was seen.

    Raises RuntimeError when the plant no longer fits the code, or when the seed fails without it, too.
    """
    plant = PLANTS[name]
    for tried in range(most):
        with planted(name):
            failure = simulate(first + tried, plant.nodes, plant.steps).failure
        if "TypeError" in failure or "AttributeError" in failure:
            raise RuntimeError(f"{name}: the plant no longer fits the code: {failure}")
        if failure:
            without = simulate(first + tried, plant.nodes, plant.steps).failure
            if without:
                raise RuntimeError(f"{name}: seed {first + tried} fails without the plant, too: {without}")
            return tried + 1, failure
    return None


def main(wish: str, seeds: range) -> int:
    """Run the command line's wish; return the exit code."""
    logging.disable(logging.CRITICAL)
    if wish == "list":
        for name, plant in PLANTS.items():
            click.echo(f"{name:32} {plant.says}")
        return 0
    if wish != "all" and wish not in PLANTS:
        click.echo(f"--planted {wish!r}: no such fault; `--planted list` names them", err=True)
        return 2
    missed = 0
    for name in PLANTS if wish == "all" else [wish]:
        found = seeds_until_caught(name, seeds.start, len(seeds))
        if found is None:
            missed += 1
            click.echo(f"{name:32} NOT CAUGHT by seeds {seeds.start}:{seeds.stop}")
        else:
            click.echo(
                f"{name:32} caught by seed {seeds.start + found[0] - 1}, number {found[0]}: {found[1][:120]}"
            )
    return 1 if missed else 0
