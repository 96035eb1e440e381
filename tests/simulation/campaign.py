"""Many seeds, on several processes, in order."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator
from functools import partial

from tests.simulation.storm import STEPS, Outcome, simulate


def run(seeds: range, nodes: int | None = None, steps: int = STEPS, jobs: int = 1) -> Iterator[Outcome]:
    """Yield the outcome of every seed, in order."""
    logging.disable(logging.CRITICAL)  # a storm of refusals is what is wanted
    work = partial(simulate, nodes=nodes, steps=steps)
    if jobs == 1:
        yield from map(work, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(work, seeds, chunksize=4)


def replay_command(outcome: Outcome, nodes: int | None, steps: int) -> str:
    """Return the one command that replays a seed."""
    options = "" if nodes is None else f" --nodes {nodes}"
    options += "" if steps == STEPS else f" --steps {steps}"
    return f"scripts/simulate --seeds {outcome.seed}{options}"
