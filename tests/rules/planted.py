"""Whether histories show a planted fault, and with how many calls."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.language.faults import ContractRejected
from tests.rules.chain import World
from tests.rules.drive import play
from tests.rules.plants import PLANTS

SEEDS = range(1, 401)
"""Histories that are played with each fault, at most."""


@dataclass(frozen=True, slots=True)
class Catch:
    """How a fault was noticed."""

    name: str
    seed: int
    calls: int
    seen: str


class Unfit(Exception):
    """A plant that no longer fits the contracts."""


def catch(name: str, seeds: range = SEEDS) -> Catch | None:
    """Play histories until one shows the fault, else return None; raise Unfit if it cannot be planted."""
    try:
        world = World(PLANTS[name].texts())
    except (ValueError, ContractRejected) as error:
        raise Unfit(f"{name}: {error}") from error
    calls = 0
    for seed in seeds:
        run = play(world, seed)
        calls += len(run.steps)
        if run.difference is not None:
            return Catch(name, seed, calls, str(run.difference))
    return None
