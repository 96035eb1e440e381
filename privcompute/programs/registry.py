"""Registry of all programs by id, for genesis, agents and `assent job programs`."""

from __future__ import annotations

from chain.primitives.values import Value
from privcompute.programs import join, logistic_regression, statistics
from privcompute.programs.base import InputRefused, JobProgram

PROGRAMS: dict[str, JobProgram] = {
    program.id: program for program in (join.PROGRAM, logistic_regression.PROGRAM, statistics.PROGRAM)
}


def program(program_id: str) -> JobProgram:
    """Return a program; raise InputRefused naming those there are."""
    found = PROGRAMS.get(program_id)
    if found is None:
        raise InputRefused(f"program {program_id!r}: unknown here; there are {', '.join(sorted(PROGRAMS))}")
    return found


def records() -> list[dict[str, Value]]:
    """Return every program as the contract `jobs` registers it, in order of id."""
    return [PROGRAMS[program_id].record() for program_id in sorted(PROGRAMS)]
