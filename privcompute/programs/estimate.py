"""Estimate of the time and memory that a job takes at each party, from rows, program and parameters.

The one place where rows become seconds and bytes. The figures are those of one core of the machine that the
table of programs/README.md names, without the network: there they hold within `FACTOR`. Rounds come on top,
each of them a round trip on the slowest link. What is refused for its size is refused by `least` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from privcompute.programs.base import JobInput, JobProgram
from privcompute.programs.labels import tested_rows
from privcompute.programs.regression_parameters import LogisticRegressionParameters, feature_columns

FACTOR = 2.0
"""Measured runs took between the estimate divided and multiplied by this."""
JOIN_S_A_ROW = 130e-6
"""Every list passes every owner once, which multiplies each of its points and shuffles them."""
JOIN_BYTES_A_ROW = 300
"""Of each row that any party brings."""
BYTES_AT_ALL = 120_000_000
"""What an agent and its libraries take before the first row."""
PROGRAM_S_A_ROW, PROGRAM_BYTES_A_ROW = 1e-6, 200
"""Of each joined row, where a program says nothing else: figures, and shares of some columns."""
STEP_S_A_ROW, STEP_S_A_CELL = 1.9e-6, 0.012e-6
"""One step of a regression, a training row and its features."""
PAIR_S = 0.17e-6
"""One pair of test rows, whose scores are compared."""
TRAIN_BYTES_A_ROW, TRAIN_BYTES_A_CELL = 2_500, 28
STEP_ROUNDS, PAIRS_A_ROUND = 24, 6_000


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


def of_join(brought: int, lists: int) -> Estimate:
    """Return what private joins of so many lists take, with so many rows in all, and the agent itself."""
    return Estimate(brought * JOIN_S_A_ROW, BYTES_AT_ALL + brought * JOIN_BYTES_A_ROW, 3 * lists)


def estimate(
    program: JobProgram, parameters: Any, inputs: Sequence[JobInput], rows: Sequence[int]
) -> Estimate:
    """Return what a job takes whose inputs bring so many rows, each; all of the smallest are joined."""
    brought, joined = sum(rows), min(rows, default=0)
    seconds, memory, rounds = joined * PROGRAM_S_A_ROW, joined * PROGRAM_BYTES_A_ROW, 70
    if isinstance(parameters, LogisticRegressionParameters):
        seconds, memory, rounds = _regression(parameters, inputs, joined)
    if program.kind == "psi":
        seconds, memory, rounds = 0.0, 0, 0
    return of_join(brought, len(inputs)) + Estimate(seconds, memory, rounds)


def _regression(
    parameters: LogisticRegressionParameters, inputs: Sequence[JobInput], joined: int
) -> tuple[float, int, int]:
    """Return seconds, bytes and rounds of training on rows and comparing the scores of those held out."""
    features = sum(map(len, feature_columns(parameters, inputs).values()))
    tested = tested_rows(parameters.test_share, joined, 1)
    steps = joined * parameters.iterations * (STEP_S_A_ROW + STEP_S_A_CELL * features)
    memory = joined * (TRAIN_BYTES_A_ROW + TRAIN_BYTES_A_CELL * features)
    rounds = STEP_ROUNDS * parameters.iterations + tested * tested // PAIRS_A_ROUND
    return steps + tested * tested * PAIR_S, memory, rounds
