"""How a job's joins are done: aided by a party that holds nothing of them, or among their owners alone.

Everybody follows the same rule from what the ledger shows. A party aids a join of profile `rep3` that owns
none of the joined data, and has no interest in the job: whoever aids learns how many rows each owner brings,
and how many are common before anybody judges whether these are enough.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from chain.primitives.crypto import digest
from privcompute.job.view import JobSpec
from privcompute.mpc import rep3_engine
from privcompute.mpc.protocols.aided import AidedSpec
from privcompute.mpc.protocols.psi import PsiSpec
from privcompute.pages.work import PageWork

AIDED, AMONG_OWNERS = "aided-join", "join"
"""Kinds of the stage of a job's first join, as they are on the ledger: by which protocol it was done."""


def join_stage(number: int, aided: bool) -> str:
    """Return the kind of the stage of one of a job's joins."""
    kind = AIDED if aided else AMONG_OWNERS
    return kind if number == 0 else f"{kind}-{number + 1}"


def is_join(kind: str) -> bool:
    """Tell whether a stage is that of a join."""
    return kind.startswith((AIDED, AMONG_OWNERS))


def owners_of(work: PageWork, number: int) -> tuple[int, ...]:
    """Return the parties whose data one of a job's joins is of, ascending."""
    return tuple(sorted({work.inputs[place].owner for place in work.joined[number]}))


def spec_of(job: bytes, work: PageWork, spec: JobSpec, initiator: str, number: int) -> PsiSpec | AidedSpec:
    """Return one of the joins of a job, of which `job` is the 32-byte id."""
    owners, helper = owners_of(work, number), helper_of(work, spec, initiator, number)
    if helper is not None:
        return AidedSpec(_context("assent/aided/job", job, number), owners, helper)
    asks, reads = _interested(spec, initiator)
    return join_of(job, owners, number, (asks | reads, asks))


def helper_of(work: PageWork, spec: JobSpec, initiator: str, number: int) -> int | None:
    """Return the party that aids one of a job's joins, None where it is done among its owners."""
    if spec.profile != rep3_engine.PROFILE:
        return None
    taken = set(owners_of(work, number)).union(*_interested(spec, initiator))
    free = [party for party in range(len(spec.participants)) if party not in taken]
    return free[-1] if free else None


def aided_joins(work: PageWork, spec: JobSpec, initiator: str) -> frozenset[int]:
    """Return which of a job's joins are aided."""
    numbers = range(len(work.joined))
    return frozenset(one for one in numbers if helper_of(work, spec, initiator, one) is not None)


def join_of(
    job: bytes, owners: Iterable[int], number: int, interested: Sequence[Collection[int]] = ()
) -> PsiSpec:
    """Return the PSI of these owners' parties, in any order: the last one that may match is the matcher.

    `job` is the 32-byte job id and `number` tells its joins apart: together they separate the points of one
    join from those of all others. The matcher learns how many rows are common before anybody judges whether
    these are enough, so it is none of the first of `interested` that leaves one.
    """
    ring = tuple(sorted(owners))
    others = [[party for party in ring if party not in some] for some in interested]
    matcher = next((left[-1] for left in others if left), ring[-1])
    return PsiSpec(_context("assent/psi/job", job, number), ring, matcher=matcher)


def _context(domain: str, job: bytes, number: int) -> bytes:
    return digest(domain, job + number.to_bytes(4, "big"))


def _interested(spec: JobSpec, initiator: str) -> tuple[set[int], set[int]]:
    """Return who asked for a job, and who receives of it."""
    orgs = [one.org for one in spec.participants]
    asks = {party for party, org in enumerate(orgs) if org == initiator}
    return asks, {party for party, org in enumerate(orgs) if org in spec.receivers}
