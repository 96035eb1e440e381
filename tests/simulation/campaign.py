"""Many seeds, on several processes, in order."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator
from functools import partial
from itertools import islice

from tests.lifeline import end_with_parent
from tests.simulation import byzzfuzz, twins
from tests.simulation.storm import STEPS, Outcome, simulate

SCHEDULES = ("twins", "twins-drawn", "byzzfuzz")
"""Kinds of scheduled scenarios over bare replicas."""


def run(seeds: range, nodes: int | None = None, steps: int = STEPS, jobs: int = 1) -> Iterator[Outcome]:
    """Yield the outcome of every seed, in order."""
    logging.disable(logging.CRITICAL)  # a storm of refusals is what is wanted
    work = partial(simulate, nodes=nodes, steps=steps)
    if jobs == 1:
        yield from map(work, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, end_with_parent) as pool:
        yield from pool.imap(work, seeds, chunksize=4)


def run_schedules(kind: str, numbers: range | None, jobs: int = 1) -> Iterator[tuple[int, str, str]]:
    """Yield (number, schedule in words, failure) of each; without numbers, of all twins or the first 100."""
    logging.disable(logging.CRITICAL)
    if numbers is None:
        numbers = range(sum(1 for _ in twins.every()) if kind == "twins" else 100)
    work = partial(run_schedule, kind)
    if jobs == 1:
        yield from map(work, numbers)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, end_with_parent) as pool:
        yield from pool.imap(work, numbers, chunksize=16)


def run_schedule(kind: str, number: int) -> tuple[int, str, str]:
    """Run one scheduled scenario; return its number, itself in words, and what it broke."""
    if kind == "byzzfuzz":
        schedule = byzzfuzz.drawn(number)
        return number, str(schedule), byzzfuzz.run(schedule)
    scenario = next(islice(twins.every(), number, None)) if kind == "twins" else twins.drawn(number)
    return number, str(scenario), twins.run(scenario)


def replay_command(outcome: Outcome, nodes: int | None, steps: int) -> str:
    """Return the one command that replays a seed."""
    options = "" if nodes is None else f" --nodes {nodes}"
    options += "" if steps == STEPS else f" --steps {steps}"
    return f"scripts/simulate --seeds {outcome.seed}{options}"
