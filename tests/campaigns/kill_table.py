"""Which cases the campaign `kill` has, and what each of them must come to.

A case hits one agent, once, at one step of one job (privcompute/AGENT.md). What counts of a step is its
stage: whether the parties still wait for one another, are tied together by links, have moved data, or have
sealed what they hold.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

ORGS = ("bank", "bureau", "registry")
"""The requester, who is the receiver; an owner; an owner that is the matcher of a join."""
PROGRAMS = ("joint-statistics", "logistic-regression", "private-join")
FAULTS = ("kill", "stop15", "stop75", "full", "changed", "missing")
JOIN = "private-join"
STAGES = {
    "checking": "checking grants and policy (accepted)",
    "reading": "reading data",
    "meeting": "meeting the other agents",
    "connecting": "connecting",
    "announcing": "announcing the join",
    "joining": "join",
    "computing": "compute",
    "approving": "waiting before the reveal",
    "releasing": "releasing shares",
    "signing": "committed",
}
"""Stage -> the step, or the ledger's state, that the agent shows when it is hit."""
APART = frozenset({"checking", "reading", "meeting"})
"""Nothing ties the parties together: the others wait for who is away, nine tenths of the time to bind."""
SEALED = frozenset({"approving", "releasing", "signing"})


@dataclass(frozen=True, slots=True)
class Case:
    """One hit."""

    program: str
    stage: str
    org: str
    fault: str

    def __str__(self) -> str:
        return f"{self.program} {self.stage} {self.org} {self.fault}"

    @property
    def step(self) -> str:
        """What the agent shows when it is hit."""
        return STAGES[self.stage]

    @property
    def victim(self) -> str:
        """The file that is changed or gone: what the stage stands on; "data" is the owner's table."""
        if self.fault not in ("changed", "missing"):
            return ""
        if self.stage == "reading":
            return "data"
        return "held/JOB.sealed" if self.stage in SEALED else "jobs/JOB.json"


Outcome = frozenset[tuple[str, int]]
"""What may come of a case: the state that the job ends in, and how many runs of each grant are used up."""
CERTIFIED: Outcome = frozenset({("certified", 1)})
"""The result is right."""
REFUSED: Outcome = frozenset({("aborted", 0)})
"""It ends before data moved."""
LOST: Outcome = frozenset({("aborted", 1)})
"""Whoever was hit is named, and the run is used."""


def cases() -> list[Case]:
    """Return every case, in the order in which a full campaign runs them."""
    return [Case(*one) for one in itertools.product(PROGRAMS, STAGES, ORGS, FAULTS)]


def sample(count: int, seed: int) -> list[Case]:
    """Return some cases, of every stage in turn; a stop of 75 s takes too long for a sample."""
    quick = [case for case in cases() if case.fault != "stop75"]
    random.Random(seed).shuffle(quick)
    by_stage = sorted(quick, key=lambda case: [one for one in quick if one.stage == case.stage].index(case))
    return by_stage[:count]


def expected(case: Case) -> Outcome:
    """Return what a case must come to: the table, row by row."""
    broken = case.fault in ("changed", "missing")
    if case.fault in ("full", "stop15"):
        return CERTIFIED  # it waits for room, and others for it
    if case.stage in APART:
        return _while_apart(case) if broken else CERTIFIED
    if case.stage == "connecting":
        return _while_connecting(case, broken)
    if case.stage == "announcing":
        return LOST | REFUSED  # who announced first decides whether data had moved
    if case.stage in ("joining", "computing"):
        return _while_data_move(case)
    return _once_sealed(case) if broken else CERTIFIED


def _while_apart(case: Case) -> Outcome:
    """What is broken ends the job for free: other data say so now, a lost memory when the job would run."""
    if case.fault == "changed" or case.stage == "reading":
        return REFUSED
    if (
        case.stage == "checking"
    ):  # an agent that forgot the job reads its proposal again, or never hears of it
        return CERTIFIED | {("expired", 0)}
    return REFUSED  # the others wait for it, and say for whom


def _while_connecting(case: Case, broken: bool) -> Outcome:
    """Nothing has moved: a broken link ends the job for free, or the agent is back before anybody minds."""
    if case.fault == "missing":  # the agent does not know the job any more; nobody else can end it for it
        return REFUSED | {("expired", 0)}
    if broken:
        return REFUSED
    return REFUSED | CERTIFIED


def _while_data_move(case: Case) -> Outcome:
    """Shares are in memory alone. The requester's own word that it sent nothing counts for nothing."""
    early = case.stage == "joining" and case.org == ORGS[0]
    return LOST | REFUSED if early else LOST


def _once_sealed(case: Case) -> Outcome:
    """What is sealed is lost: before the reveal its owner says so; after it, others hold the same."""
    return LOST if case.stage == "approving" else CERTIFIED
