"""`scripts/campaign rules`: the system contracts beside the reference model, and planted faults."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pprint import pformat

import click

from tests.rules import planted
from tests.rules.chain import World
from tests.rules.drive import CALLS, Run, play, shorten
from tests.rules.plants import PLANTS

FULL_CALLS = 1_000_000
FIRST_SEED = 1
SHOWN_MAX = 5
"""Differences that are shortened; the rest are named by their seed."""
STEP_WIDTH = 110


@dataclass(slots=True)
class Sum:
    """What all histories came to."""

    calls: int = 0
    seconds: float = 0.0
    accepted: Counter[str] | None = None
    refused: Counter[str] | None = None

    def add(self, run: Run, seconds: float) -> None:
        """Count one history."""
        self.accepted = (self.accepted or Counter()) + Counter(run.accepted)
        self.refused = (self.refused or Counter()) + Counter(run.refused)
        self.calls += len(run.steps)
        self.seconds += seconds


@cache
def _world() -> World:
    return World()


def _play(seed: int) -> tuple[Run, float]:
    begin = time.process_time()
    run = play(_world(), seed)
    if run.difference is None:
        run.steps = [run.steps[0]] * len(run.steps)
    return run, time.process_time() - begin


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--calls",
    type=click.IntRange(1, 100_000_000),
    default=FULL_CALLS,
    show_default=True,
    help=f"Calls in all; a history has {CALLS}.",
)
@click.option("--seed", type=click.IntRange(0), default=FIRST_SEED, show_default=True, help="First history.")
@click.option("--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@click.option(
    "--plant", "plants", multiple=True, metavar="NAME|none", help="These planted faults alone, or none."
)
@click.option("--list", "listing", is_flag=True, help="List the planted faults.")
def rules(calls: int, seed: int, jobs: int, plants: tuple[str, ...], listing: bool) -> None:
    """Drive the system contracts and their reference model with the same calls, then plant faults.

    Exit code 0: they never differ, and histories show every planted fault. Exit code 1: not so; each
    difference is told by its seed and a short list of calls. The last line is the result as JSON.
    """
    if listing:
        for name, plant in PLANTS.items():
            click.echo(f"{name:34} {plant.contract}: {plant.says}")
        return
    names = [] if plants == ("none",) else list(plants or PLANTS)
    if unknown := [name for name in names if name not in PLANTS]:
        raise click.BadParameter(f"{unknown[0]}: no such fault; --list names them")
    seeds = range(seed, seed + -(-calls // CALLS))
    total, failures = _histories(seeds, jobs)
    caught, missed = _plants(names, jobs)
    failures += missed
    figures = {
        "calls": total.calls,
        "histories": len(seeds),
        "accepted": sum((total.accepted or Counter()).values()),
        "refused": sum((total.refused or Counter()).values()),
        "methods accepted": len(total.accepted or ()),
        "codes seen": len(total.refused or ()),
        "calls a second": round(total.calls / total.seconds) if total.seconds else 0,
        "planted": len(names),
        "caught": len(caught),
        "calls until caught, at most": max((found.calls for found in caught), default=0),
    }
    size = f"{total.calls} calls in {len(seeds)} histories, {len(names)} planted faults"
    result = {
        "seeds": f"{_told(seeds)}, planted faults {_told(planted.SEEDS)}",
        "size": size,
        "figures": figures,
        "failures": failures,
    }
    click.echo(json.dumps(result))
    sys.exit(1 if failures else 0)


def _told(seeds: range) -> str:
    return f"{seeds.start}..{seeds.stop - 1}"


def _histories(seeds: range, jobs: int) -> tuple[Sum, list[str]]:
    total, failures = Sum(), []
    for run, seconds in _spread(_play, list(seeds), jobs):
        total.add(run, seconds)
        if run.difference is None:
            continue
        failures.append(f"seed {run.seed}: {run.difference}"[:300])
        click.echo(failures[-1])
        if len(failures) <= SHOWN_MAX:
            for line in reproduction(run):
                click.echo(line)
    return total, failures


def reproduction(run: Run) -> Iterator[str]:
    """Yield the shortest list of calls found that still shows a history's difference."""
    difference, steps = shorten(_world(), run)
    yield f"  {len(steps)} calls show it: {difference}"
    for step in steps:
        verb = "asks" if step.asks else "calls"
        yield f"  +{step.ms} ms, +{step.blocks} blocks: {step.who} {verb} {step.target}"
        for line in pformat(dict(step.args), width=STEP_WIDTH, compact=True).splitlines():
            yield f"      {line}"


def _catch(name: str) -> planted.Catch | str:
    try:
        return (
            planted.catch(name)
            or f"{name}: not seen in seeds {planted.SEEDS.start}..{planted.SEEDS.stop - 1}"
        )
    except planted.Unfit as unfit:
        return str(unfit)


def _plants(names: list[str], jobs: int) -> tuple[list[planted.Catch], list[str]]:
    caught, missed = [], []
    for found in _spread(_catch, names, jobs):
        if isinstance(found, str):
            missed.append(found[:300])
            click.echo(missed[-1])
        else:
            caught.append(found)
            click.echo(f"{found.name}: seed {found.seed}, {found.calls} calls: {found.seen[:160]}")
    return caught, missed


def _spread(work, items, jobs):  # type: ignore[no-untyped-def]
    """Yield the results of some work, in order."""
    if jobs == 1:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(work, items, chunksize=1)


if __name__ == "__main__":
    rules()
