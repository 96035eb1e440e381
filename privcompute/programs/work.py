"""Work of a job: what its parties run together, whether its program is code or a page.

Everything above the programs knows a job's work by this interface alone: which inputs are joined, what is
judged before anything is bound, what it takes, the run itself, and for whom each output is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from privcompute.mpc.engine import Engine
from privcompute.mpc.rounds import OnProgress, Steps
from privcompute.programs.base import (
    Context,
    Finding,
    JobInput,
    JobProgram,
    Outputs,
    OwnData,
    OwnTable,
    no_progress,
)
from privcompute.programs.estimate import Estimate, estimate
from privcompute.programs.preflight import preflight

KEPT = "kept"
"""The audience of what stays shares: nobody is handed it."""


@dataclass(frozen=True, slots=True)
class WorkRun:
    """One party's run of a job's work; all but our own data and `progress` is the same at every party."""

    job: bytes
    """32 bytes: seed of public choices."""
    min_group: int
    joined: tuple[int, ...]
    """How many rows each of `Work.joined` has."""
    told: Mapping[int, int] = field(default_factory=dict)
    """How many rows each input of `Work.told` has."""
    place: int | None = None
    """Which input is ours; None where none is."""
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False)
    """Our own table: whole columns (privcompute/data/tables.py)."""
    matched: Mapping[int, NDArray[Any]] = field(default_factory=dict, repr=False)
    """Join -> its rows in our table, in the joint order."""
    progress: OnProgress = no_progress


class Work(Protocol):
    """What the parties of one job run; made anew from what the ledger proves, the same at every party."""

    @property
    def inputs(self) -> tuple[JobInput, ...]:
        """The inputs, in the order of the spec."""

    @property
    def parameters(self) -> Any:
        """What the program made of the job's parameters."""

    @property
    def joined(self) -> tuple[tuple[int, ...], ...]:
        """The places of the inputs of each private join, ascending; none where nothing is joined."""

    @property
    def told(self) -> tuple[int, ...]:
        """The places of the inputs that are used without a join: all parties are told their rows."""

    @property
    def join_is_result(self) -> bool:
        """Whether the way back of the only join is the release itself."""

    def code_hash(self) -> bytes:
        """Return what participants agree to run: 32 bytes."""

    def least_rows(self, min_group: int) -> int:
        """Return the fewest rows that it runs on; raise InputRefused for a group too large."""

    def findings(self, own: OwnTable) -> list[Finding]:
        """Return what in an owner's own table would end a run, the gravest kind first."""

    def estimate(self, rows: Sequence[int]) -> Estimate:
        """Return what it takes when the inputs bring so many rows, each."""

    def run(self, engine: Engine, run: WorkRun) -> Steps[Mapping[str, Outputs]]:
        """Compute; return outputs in shares for each audience: the number of a receiving party, or KEPT."""


@dataclass(frozen=True, slots=True)
class CodeWork:
    """Work of a program that is installed code."""

    program: JobProgram
    parameters: Any
    """What `program.check` returned."""
    inputs: tuple[JobInput, ...]
    receivers: tuple[int, ...]
    """Parties that each get all outputs."""
    told: tuple[int, ...] = ()

    @property
    def joined(self) -> tuple[tuple[int, ...], ...]:
        """One join of all inputs."""
        return (tuple(range(len(self.inputs))),)

    @property
    def join_is_result(self) -> bool:
        """Programs of kind `psi` release the join itself."""
        return self.program.kind == "psi"

    def code_hash(self) -> bytes:
        """Return the hash of the installed code."""
        return self.program.code_hash()

    def least_rows(self, min_group: int) -> int:
        """Return the fewest joined rows that the program runs on."""
        return self.program.least_rows(self.parameters, min_group)

    def findings(self, own: OwnTable) -> list[Finding]:
        """Return what the program and the join find in an owner's own table."""
        return preflight(self.least_rows(own.min_group), own, self.program.judge(own))

    def estimate(self, rows: Sequence[int]) -> Estimate:
        """Return what a join and the program take."""
        return estimate(self.program, self.parameters, self.inputs, rows)

    def run(self, engine: Engine, run: WorkRun) -> Steps[Mapping[str, Outputs]]:
        """Run the program; all receivers get the same outputs."""
        own = {}
        if run.place is not None and run.matched:
            own[self.inputs[run.place].dataset] = OwnData(run.columns, run.matched[0])
        context = Context(
            job=run.job,
            inputs=self.inputs,
            parameters=self.parameters,
            rows=run.joined[0],
            min_group=run.min_group,
            own=own,
            progress=run.progress,
        )
        outputs = yield from self.program.run(engine, context)
        return {str(party): outputs for party in self.receivers}
