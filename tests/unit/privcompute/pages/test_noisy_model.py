"""The example page that fits a regression with noise, on the data of the demo: in the clear and on shares."""

from __future__ import annotations

import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata

from contracts.pages.page import trace
from contracts.pages.plan import Plan
from privcompute.cli.page_jobs import exact
from privcompute.pages.clear import ClearData, evaluate
from privcompute.pages.inputs import lot
from privcompute.pages.noise import noise_within
from tests.unit.privcompute.pages.running import JOB, Data, numbers, run_plan
from tests.unit.privcompute.pages.test_standard_regression import EXAMPLE, drawn, folder

__all__ = ["folder"]
PAGE = (EXAMPLE / "noisy_model.py").read_text(encoding="utf-8")
GIVEN: dict[str, Any] = tomllib.loads((EXAMPLE / "noisy_model.toml").read_text(encoding="utf-8"))[
    "parameters"
]
ROWS, HELD_OUT = 500, Fraction(str(GIVEN["held_out"]))


def plan_of(data: Data, **changed: Any) -> Plan:
    return trace(PAGE, data.schemas(), name="noisy_model.py", parameters=exact(GIVEN | changed))


def by_numpy(data: Data) -> tuple[NDArray[np.float64], float]:
    """Return coefficients without noise, and their AUC over the rows held out, by ranks."""
    columns = data.columns
    blocks = [np.ones((ROWS, 1))]
    for table, column, low, high in GIVEN["numbers"]:
        cells = np.clip(columns[table][column], low, high)
        blocks.append(((cells - (low + high) / 2) / ((high - low) / 2))[:, None])
    for table, column in GIVEN["categories"]:
        known = np.array(data.declared[f"{table}.{column}"]["categories"])
        blocks.append(columns[table][column][:, None] == known[None, :])
    x, y = np.hstack(blocks).astype(float), 1.0 * (columns["loans"]["creditability"] == "bad")
    tested = lot(JOB, 0, ROWS, HELD_OUT) > 0
    w = np.zeros(x.shape[1])
    for _ in range(GIVEN["turns"]):
        error = 1 / (1 + np.exp(-x[~tested] @ w)) - y[~tested]
        w = np.clip(w - GIVEN["rate"] * x[~tested].T @ error / (~tested).sum(), -4, 4)
    ranks, bad = rankdata((x @ w)[tested]), y[tested] > 0
    wins = ranks[bad].sum() - bad.sum() * (bad.sum() + 1) / 2
    return w, float(wins / (bad.sum() * (~bad).sum()))


def test_the_page_is_traced_as_members_propose_it_and_needs_columns_for_noise_alone(folder: Path) -> None:
    assert trace(PAGE, name="noisy_model.py").releases, "without schemas"
    plan = plan_of(drawn(folder, 1, ROWS)[1])
    assert {use.use for use in plan.uses} == {"noisy", "join"}
    spent = {name: (charge.epsilon, charge.figures) for name, charge in plan.charges.items()}
    assert spent == dict.fromkeys(spent, (1_500_000_000, {}))


def test_without_noise_it_is_the_descent_that_numpy_takes(folder: Path) -> None:
    data = drawn(folder, 1, ROWS)[1]
    w, auc = by_numpy(data)
    plan = plan_of(data)
    domains = {name: list(more["categories"]) for name, more in data.declared.items()}
    lots = {("n:join1", str(HELD_OUT)): lot(JOB, 0, ROWS, HELD_OUT).astype(float)}
    found = evaluate(plan, ClearData(data.columns, domains, lots))
    assert found["bank: coefficients"][0] == pytest.approx(w, abs=1e-9)
    assert found["bank: AUC, KS, accuracy"][0][0] == pytest.approx(auc, abs=0.02), "bands rank less finely"
    assert auc > 0.65


def test_on_shares_it_comes_as_near_as_its_noise_lets_it(folder: Path) -> None:
    data = drawn(folder, 1, ROWS)[1]
    w, auc = by_numpy(data)
    plan = plan_of(data, epsilon=10, quality=10)
    (each,) = noise_within(plan).values()
    deviation = (3 * float(each.size)) ** 0.5 / 2**16 / 350 * GIVEN["turns"] ** 0.5
    found, _ = run_plan(plan, data)
    assert np.abs(numbers(found["coefficients"]) - w).max() < 5 * deviation < 0.6
    told = numbers(found["AUC, KS, accuracy"])
    assert told[0] == pytest.approx(auc, abs=0.12)
    assert 0 < told[1] < 1
    assert 0.5 < told[2] < 1


def test_the_more_features_the_more_noise_and_categories_of_a_column_are_one(folder: Path) -> None:
    data = drawn(folder, 1, ROWS)[1]
    sizes = []
    for categories in ([], GIVEN["categories"][:1], GIVEN["categories"]):
        (each,) = noise_within(plan_of(data, categories=categories)).values()
        sizes.append(float(each.size))
    assert sizes[1] / sizes[0] == pytest.approx(4 / 3, rel=0.01)
    assert sizes[2] / sizes[0] == pytest.approx(5 / 3, rel=0.01)
