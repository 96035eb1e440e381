"""Estimate of the time and memory that a job takes at each party, and what its joins take.

The one place where rows of joins become seconds and bytes; what a plan takes is in costing.py. The figures
are those of one core, without the network: there they hold within `FACTOR`. Rounds come on top, each of them
a round trip on the slowest link. What is refused for its size is refused by `least` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

FACTOR = 2.0
"""Measured runs took between the estimate divided and multiplied by this."""
JOIN_S_A_ROW = 75e-6
"""Every list passes every owner once, which multiplies each of its points and shuffles them."""
JOIN_BYTES_A_ROW = 300
"""Of each row that any party brings."""
AIDED_S_A_ROW, AIDED_BYTES_A_ROW = 2e-6, 100
"""The same of an aided join, in which each owner makes digests of its own list and sorts them."""
BYTES_AT_ALL = 120_000_000
"""What an agent and its libraries take before the first row."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job takes at one party; the network comes on top."""

    seconds: float
    """Processor time, from the beginning of the join on."""
    memory: int
    """Bytes in the worst moment, the party's own table excluded."""
    rounds: int
    """Round trips that the parties make one after another."""

    def __add__(self, other: Estimate) -> Estimate:
        """Return what both take, one after the other."""
        return Estimate(self.seconds + other.seconds, self.memory + other.memory, self.rounds + other.rounds)

    @property
    def least_s(self) -> float:
        """What it takes at least, as far as measured."""
        return self.seconds / FACTOR

    @property
    def least_memory(self) -> float:
        """Bytes that it takes at least, as far as measured."""
        return self.memory / FACTOR


def of_join(brought: int, lists: int, aided: int = 0) -> Estimate:
    """Return what private joins of so many lists take, with so many rows in all, and the agent itself.

    `aided` are rows that are brought to aided joins, besides.
    """
    memory = BYTES_AT_ALL + brought * JOIN_BYTES_A_ROW + aided * AIDED_BYTES_A_ROW
    return Estimate(brought * JOIN_S_A_ROW + aided * AIDED_S_A_ROW, memory, 3 * lists)
