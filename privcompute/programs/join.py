"""`private-join`: it counts the rows that all owners hold, and tells each owner which of its own they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from chain.primitives.crypto import digest
from chain.primitives.values import Value
from privcompute.mpc.engine import Engine
from privcompute.mpc.protocols.psi import PSI_LEAKAGE, PsiSpec
from privcompute.mpc.rounds import Steps
from privcompute.programs.base import Context, JobInput, JobProgram, Outputs, Parameters, need_join, need_rows

JOIN_SOURCES = ("programs/join.py",)


def join_of(job: bytes, owners: Iterable[int], number: int = 0, *, pad_to: int = 1) -> PsiSpec:
    """Return the PSI of these owners' parties, in any order: in party order, the last one is the matcher.

    `job` is the 32-byte job id and `number` tells its joins apart: together they separate the points of one
    join from those of all others.
    """
    ring = tuple(sorted(owners))
    context = digest("assent/psi/job", job + number.to_bytes(4, "big"))
    return PsiSpec(context, ring, matcher=ring[-1], pad_to=pad_to)


class JoinParameters(Parameters):
    """A join has no parameters."""


def _check(parameters: JoinParameters, inputs: Sequence[JobInput]) -> None:
    del parameters
    need_join(inputs, PROGRAM.id)


def _run(engine: Engine, context: Context) -> Steps[Outputs]:
    del engine
    yield from ()
    need_rows(context, context.min_group, "a join that may be shown")
    return Outputs({}, {"rows": context.rows})


def _finish(opened: Mapping[str, NDArray[Any]], public: Value) -> Value:
    del opened
    return {"rows": int(public["rows"])}


PROGRAM = JobProgram(
    id="private-join",
    kind="psi",
    version=1,
    summary="Private join: the number of rows that all owners hold; each owner learns which of its own.",
    leakage=PSI_LEAKAGE,
    uses=("join",),
    profiles=("dh-psi", "rep3"),
    parameters=JoinParameters,
    output="private-join/1",
    output_fields={"rows": "number of identifiers that all owners hold"},
    sources=JOIN_SOURCES,
    checker=_check,
    least_rows=lambda _, min_group: min_group,
    judge=lambda _: [],
    run=_run,
    finish=_finish,
)
