"""What a job takes is said before it begins, within a stated factor of what it took where it was measured."""

from __future__ import annotations

import secrets
import time
from typing import Any

import numpy as np
import pytest

from privcompute.mpc.local import run_local
from privcompute.mpc.protocols.psi import PsiSpec, private_join
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import Steps
from privcompute.programs.base import Context, InputColumn, JobInput, Outputs, OwnData
from privcompute.programs.estimate import BYTES_AT_ALL, FACTOR, estimate
from privcompute.programs.registry import PROGRAMS

REGRESSION = PROGRAMS["logistic-regression"]
JOB = b"j" * 32
PARAMETERS: dict[str, Any] = {"label": "o0/d/y", "positive": "true", "iterations": 20}


def inputs_of(columns: int) -> list[JobInput]:
    """Return three owners' inputs of numbers, the first with a label."""
    numbers = tuple(InputColumn(f"c{number}", "decimal", "aggregate") for number in range(columns))
    label = (InputColumn("y", "boolean", "aggregate"),)
    key = (InputColumn("id", "text", "join"),)
    return [
        JobInput(f"o{owner}/d", owner, key + numbers + (label if owner == 0 else ())) for owner in range(3)
    ]


def took(rows: int, columns: int, iterations: int) -> tuple[float, float]:
    """Return processor seconds a party of a regression, and those estimated, the join left out."""
    inputs, draw = inputs_of(columns), np.random.default_rng(1)
    parameters = REGRESSION.check(PARAMETERS | {"iterations": iterations}, inputs)

    def party(me: int) -> Steps[Outputs]:
        data: dict[str, Any] = {f"c{number}": draw.normal(size=rows) for number in range(columns)}
        data["y"] = draw.random(rows) > 0.4
        own = {f"o{me}/d": OwnData(data, np.arange(rows, dtype=np.int64))}
        engine = yield from Rep3Engine.start(me, JOB, secrets.token_bytes(ENTROPY_BYTES))
        context = Context(JOB, tuple(inputs), parameters, rows, min_group=10, own=own)
        return (yield from REGRESSION.run(engine, context))

    begin = time.process_time()
    run_local([party(me) for me in range(3)])
    spent = (time.process_time() - begin) / 3
    whole = estimate(REGRESSION, parameters, inputs, [rows] * 3).seconds
    return spent, whole - estimate(PROGRAMS["private-join"], None, inputs, [rows] * 3).seconds


@pytest.mark.parametrize(("rows", "columns", "iterations"), [(3_000, 4, 20), (3_000, 20, 5)])
def test_a_regression_takes_what_is_estimated(rows: int, columns: int, iterations: int) -> None:
    """Twice the stated factor, since a test shares its machine."""
    spent, said = took(rows, columns, iterations)
    assert said / (2 * FACTOR) < spent < said * 2 * FACTOR


def test_a_join_takes_what_is_estimated() -> None:
    rows, owners = 600, 3
    ids = [f"person-{number}" for number in range(rows)]
    spec = PsiSpec(JOB, tuple(range(owners)), matcher=owners - 1)
    begin = time.process_time()
    run_local([private_join(spec, me, ids, random=secrets.token_bytes) for me in range(owners)])
    spent = (time.process_time() - begin) / owners
    said = estimate(PROGRAMS["private-join"], None, inputs_of(1), [rows] * owners).seconds
    assert said / (2 * FACTOR) < spent < said * 2 * FACTOR


def test_more_rows_features_or_steps_never_take_less() -> None:
    few, many = inputs_of(2), inputs_of(9)
    steps = [REGRESSION.check(PARAMETERS | {"iterations": count}, few) for count in (10, 80)]
    wide = REGRESSION.check(PARAMETERS | {"iterations": 10}, many)
    base = estimate(REGRESSION, steps[0], few, [1_000, 1_000, 1_000])
    for more in (
        estimate(REGRESSION, steps[0], few, [1_000, 1_000, 2_000]),
        estimate(REGRESSION, steps[0], few, [2_000, 2_000, 2_000]),
        estimate(REGRESSION, steps[1], few, [1_000, 1_000, 1_000]),
        estimate(REGRESSION, wide, many, [1_000, 1_000, 1_000]),
    ):
        assert more.seconds > base.seconds
        assert more.memory >= base.memory
        assert more.rounds >= base.rounds
    assert base.least_s == base.seconds / FACTOR


def test_a_million_rows_of_three_owners_take_minutes_and_a_gigabyte() -> None:
    """As privcompute/programs/README.md says."""
    took = estimate(PROGRAMS["joint-statistics"], None, inputs_of(1), [1_000_000] * 3)
    assert 380 < took.seconds < 400
    assert took.memory - BYTES_AT_ALL == 1_100_000_000
