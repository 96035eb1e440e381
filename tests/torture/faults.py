"""The faults: what is done to which node, for how long, drawn from one seed before anything runs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass

WEIGHTS = {
    "kill": 6,
    "pause": 4,
    "disconnect": 3,
    "silence": 3,
    "slow": 3,
    "one wire": 3,
    "full disk": 2,
    "truncated log": 2,
    "truncated records": 1,
    "kill all": 1,
    "split": 1,
}
MORE_THAN_F = frozenset({"kill all", "split"})
"""These take more nodes than may be faulty: the chain may stand still, but nothing may be lost."""
LULL_EVERY = 5
FORGETFUL = frozenset({"truncated log", "truncated records"})
"""These may cost a node its memory: then it counts as faulty beyond the fault itself."""
OPENING = (
    "full disk",
    "truncated log",
    "truncated records",
    "pause",
    "kill",
    "slow",
    "kill all",
    "disconnect",
    "silence",
)
"""The first faults of every campaign, in a random order, so that a short one has most of them."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; `nodes` are those it is done to."""

    kind: str
    nodes: tuple[str, ...]
    seconds: float
    """How long it lasts."""
    gap_s: float
    """How long after the fault before it this one begins."""
    share: float
    """0..1, what the fault makes of it: how much of a log is cut, how slow a wire is."""


def plan(
    names: list[str],
    small_disk: str | None,
    source: random.Random,
    without: Collection[str] = (),
    lull_s: float = 0.0,
) -> Iterator[Fault]:
    """Yield faults for ever; the same arguments give the same faults.

    With `lull_s`, a long gap after every few faults leaves the nodes to whatever else is done to them.
    """
    weights = {kind: weight for kind, weight in WEIGHTS.items() if kind not in without}
    opening = [kind for kind in OPENING if kind not in without]
    source.shuffle(opening)
    for number in itertools.count():
        kind = opening.pop() if opening else source.choices(list(weights), list(weights.values()))[0]
        nodes = tuple(source.sample(names, len(names)))
        if kind == "full disk" and small_disk is not None:
            nodes = (small_disk,)
        elif kind == "one wire":
            nodes = nodes[:2]
        elif kind == "split":
            nodes = nodes[: (len(nodes) + 1) // 2]
        elif kind != "kill all":
            nodes = nodes[:1]
        seconds = source.uniform(0.2, 3.0) if kind.startswith("kill") else source.uniform(1.0, 8.0)
        gap_s = round(source.uniform(0.3, 3.0), 2) + (
            lull_s if number % LULL_EVERY == LULL_EVERY - 1 else 0.0
        )
        yield Fault(kind, nodes, round(seconds, 2), gap_s, source.random())
