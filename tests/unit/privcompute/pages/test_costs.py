"""What the ledger says that the standard pages cost is what their runs cost, within a tenth."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from contracts.pages.page import trace
from contracts.pages.plan import Plan
from contracts.system import STANDARD, standard_pages
from privcompute.cli.page_jobs import exact
from privcompute.job.joining import join_of
from privcompute.job.runner import agree_on_rows
from privcompute.mpc.local import run_local
from privcompute.mpc.protocols.psi import private_join
from privcompute.mpc.rounds import Steps
from tests.unit.privcompute.pages.running import run_plan
from tests.unit.privcompute.pages.test_standard_regression import PARAMETERS, drawn, folder

__all__ = ["folder"]
ROWS = 120
GIVEN: dict[str, dict[str, Any]] = {
    "private-join": {"receivers": ["bank"]},
    "joint-statistics": {
        "receivers": ["bank"],
        "columns": [["loans", "credit_amount"], ["residents", "age_in_years"]],
        "figures": ["sum", "mean", "deviation", "least"],
        "correlations": [[["loans", "credit_amount"], ["residents", "age_in_years"]]],
        "groups": [[["history", "housing"], ["loans", "credit_amount"]]],
    },
    "logistic-regression": PARAMETERS,
}


def sizes_of(plan: Plan) -> dict[str, int]:
    """Return every size of the drawn data."""
    names = {size for cells in plan.graph.cells for size in cells.shape if isinstance(size, str)}
    return dict.fromkeys(names, ROWS)


def joining(owners: int) -> int:
    """Return the rounds of a join of so many owners."""

    def party(me: int) -> Steps[int]:
        ids = [f"p{number}" for number in range(me, me + 30)]
        stream = random.Random(me).randbytes
        rows = yield from private_join(
            join_of(bytes(32), range(owners), 0), me, ids, random=stream, workers=1
        )
        return (yield from agree_on_rows(me, owners, tuple(range(owners)), len(rows)))

    return max(run_local([party(me) for me in range(owners)]).rounds)


@pytest.mark.parametrize("program", STANDARD)
def test_the_rounds_of_a_standard_page_are_those_that_were_derived_within_a_tenth(
    folder: Path, program: str
) -> None:
    """Hiding nothing: what that costs follows of a job. Agreeing on keys, and each opening, is a round."""
    _, data = drawn(folder, 8, ROWS)
    plan = trace(standard_pages()[program], data.schemas(), parameters=exact(GIVEN[program]))
    figures, local = run_plan(plan, data)
    took = joining(3) + max(local.rounds) - 1 - len(figures)
    (cost,) = [one for one in plan.cost if one.profile == "rep3"]
    assert took == pytest.approx(cost.rounds.value(sizes_of(plan)), rel=0.1)


@pytest.mark.parametrize("owners", [2, 3, 5])
def test_a_join_takes_two_rounds_for_each_list_and_three_more(owners: int) -> None:
    assert joining(owners) == 2 * owners + 3
