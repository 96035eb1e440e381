"""Twins: two whole copies of one validator, under every small schedule of partitions.

After Bano, Sonnino, Chursin, Perelman, Li, Ching and Malkhi, "Twins: BFT Systems Made Robust" (OPODIS 2021):
two honest processes of one key, which do not know of one another, equivocate and vote twice as soon as each
hears others. No message is forged. A scenario is a partition of all processes for each of a few rounds; then
everyone hears everyone, and the chain must go on. Which view the Byzantine validator leads follows from its
place among the validators: every place is tried.

For n = 4 the scenarios of two rounds with at most two sides are few enough to run them all; longer ones with
up to three sides are drawn by seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from chain.primitives.certificate import Certificate
from consensus.messages import Checkpoint, Commit, Message, PayloadReply, Prepare, Proposal
from consensus.settings import Timing
from tests.simulation import shortcuts
from tests.simulation.replicas import Cluster, Filter, Node

VALIDATORS = 4
ROTATIONS = (1, 100)
"""The primary changes with every height, or with views alone."""
TIMING = Timing(timeout_ms=300, timeout_max_ms=1_200, status_ms=60, heartbeat_ms=300, batch_interval_ms=5)
ROUND_MS = 450
"""Long enough for one view change, where enough replicas hear one another."""
CALM_MS = 60_000
DECIDING = (Proposal, Prepare, Commit, Checkpoint, Certificate, PayloadReply)
Partition = tuple[int, ...]
"""Of each process, the twin's second one last, the side that it is on."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One schedule."""

    twin: int
    """Which validator runs twice."""
    rotation: int
    deciding_only: bool
    """Whether views are agreed on across the partition, so that each round may be another view."""
    rounds: tuple[Partition, ...]

    def __str__(self) -> str:
        sides = " ".join("".join(map(str, partition)) for partition in self.rounds)
        what = "proposals and votes" if self.deciding_only else "everything"
        return f"twin {self.twin}, rotation {self.rotation}, {what} parted {sides}"


def partitions(processes: int, sides: int) -> list[Partition]:
    """Return every way to part some processes into at most so many sides, each named by its first member."""
    found: list[Partition] = [(0,)]
    for _ in range(processes - 1):
        found = [(*item, side) for item in found for side in range(min(max(item) + 2, sides))]
    return found


def every(rounds: int = 2, sides: int = 2) -> Iterator[Scenario]:
    """Yield all scenarios of so many rounds."""
    ways = partitions(VALIDATORS + 1, sides)
    for twin, rotation, deciding_only in product(range(VALIDATORS), ROTATIONS, (False, True)):
        for schedule in product(ways, repeat=rounds):
            yield Scenario(twin, rotation, deciding_only, schedule)


def drawn(seed: int, most: int = 6, sides: int = 3) -> Scenario:
    """Return the scenario of a seed, of three rounds or more."""
    chance = random.Random(seed)
    ways = partitions(VALIDATORS + 1, sides)
    schedule = tuple(chance.choice(ways) for _ in range(chance.randint(3, most)))
    return Scenario(chance.randrange(VALIDATORS), chance.choice(ROTATIONS), chance.random() < 0.5, schedule)


def run(scenario: Scenario) -> str:
    """Run one scenario; return what was broken, or nothing."""
    shortcuts.install()
    cluster = Cluster(VALIDATORS, seed=1, window=4, rotation=scenario.rotation, timing=TIMING, boot=False)
    everyone = range(VALIDATORS)
    twin = cluster.add_twin(scenario.twin, everyone, everyone)
    for node in cluster.nodes:
        if node is not twin:
            node.boot()
    try:
        for partition in scenario.rounds:
            cluster.filters = [_parted(partition, scenario.deciding_only)]
            cluster.submit()
            cluster.submit(
                1, [node for node in cluster.nodes if node is not twin]
            )  # so that proposals differ
            cluster.run_for(ROUND_MS)
        cluster.heal()
        for request in range(cluster.requests):
            for node in cluster.nodes:
                node.submit(request)
        cluster.settle(CALM_MS)
    except AssertionError as error:
        return str(error)
    return ""


def _parted(partition: Partition, deciding_only: bool) -> Filter:
    def passes(sender: Node, receiver: Node, message: Message) -> bool:
        together = partition[sender.index] == partition[receiver.index]
        return together or (deciding_only and not isinstance(message, DECIDING))

    return passes
