"""The programs of today are pages: what they compute is what numpy and scikit-learn compute."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from contracts.pages.page import trace
from contracts.pages.plan import Plan, decode_plan
from tests.unit.contracts.pages.evaluate import World, evaluate

PAGES = Path(__file__).parents[4] / "examples/pages"


def plan_of(name: str) -> Plan:
    plan = trace((PAGES / name).read_text(encoding="utf-8"), name=name)
    assert decode_plan(plan.data).hash == plan.hash
    return plan


@pytest.fixture
def world() -> World:
    """400 loans and 380 residents, of which 300 have loans."""
    random = np.random.default_rng(7)
    loans = {
        "id": np.arange(400),
        "amount": random.integers(1, 30, 400),
        "duration": random.integers(6, 60, 400),
        "repaid": random.integers(0, 2, 400),
    }
    residents = {
        "id": np.concatenate([np.arange(300), np.arange(1_000, 1_080)]),
        "age": random.integers(18, 91, 380),
        "housing": random.choice(["own", "rent"], 380, p=[0.6, 0.4]),
    }
    residents["housing"] = np.where(np.arange(380) < 3, "free", residents["housing"])
    order = random.permutation(380)
    residents = {name: cells[order] for name, cells in residents.items()}
    loans["repaid"] = (loans["amount"] + random.normal(0, 8, 400) < 14).astype(int)
    domains = {"residents.housing": ["free", "own", "rent"], "residents.age": [18, 40, 65, 90]}
    return World({"loans": loans, "residents": residents}, domains, 1.0 * (random.random(400) < 0.3))


def joined(world: World) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the columns over the joined rows, in the order of the loans, and which loans these are."""
    loans, residents = world.data["loans"], world.data["residents"]
    places = {key: place for place, key in enumerate(residents["id"])}
    rows = np.array([key in places for key in loans["id"]])
    found = [places[key] for key in loans["id"][rows]]
    columns = {name: cells[rows] for name, cells in loans.items()}
    columns |= {name: cells[found] for name, cells in residents.items() if name != "id"}
    return columns, rows


def test_a_private_join_is_a_page(world: World) -> None:
    data = {"left": world.data["loans"], "right": world.data["residents"]}
    found = evaluate(plan_of("private_join.py"), World(data))
    assert found["left: rows in common"][0] == found["right: rows in common"][0] == 300
    cells, rows = found["left: which rows"]
    assert rows is not None
    assert np.array_equal(cells, joined(world)[1])


def test_joint_statistics_are_a_page(world: World) -> None:
    columns, _ = joined(world)
    amount, age, housing = columns["amount"], columns["age"], columns["housing"]
    found = {name: cells for name, (cells, _) in evaluate(plan_of("statistics.py"), world).items()}
    for name, cells in (("amount", amount), ("age", age)):
        assert found[f"regulator: mean of {name}"] == pytest.approx(cells.mean())
        assert found[f"regulator: deviation of {name}"] == pytest.approx(cells.std())
    assert found["regulator: median amount"] == np.median(amount)
    assert found["regulator: correlation"] == pytest.approx(np.corrcoef(np.clip(amount, 0, 20), age)[0, 1])
    assert found["regulator: ages"].tolist() == np.histogram(age, [18, 40, 65, 90])[0].tolist()
    counts = [int((housing == name).sum()) for name in ("free", "own", "rent")]
    assert counts[0] == 3, "a small group, which must hide another one with it"
    assert found["regulator: people by housing"].tolist() == [0, counts[1], 0]
    assert found["regulator: amounts by housing"][1] == amount[housing == "own"].sum()


def test_logistic_regression_is_a_page(world: World) -> None:
    columns, rows = joined(world)
    assert world.lots is not None
    held_out = world.lots[rows] > 0
    x = np.stack([columns["amount"], columns["duration"], columns["age"]], axis=1).astype(float)
    x = (x - x[~held_out].mean(axis=0)) / x[~held_out].std(axis=0)
    y = columns["repaid"]
    model = LogisticRegression(C=1 / (0.01 * (~held_out).sum()), tol=1e-10).fit(x[~held_out], y[~held_out])
    found = {name: cells for name, (cells, _) in evaluate(plan_of("logistic_regression.py"), world).items()}
    weights = np.concatenate([model.intercept_, model.coef_[0]])
    assert np.allclose(found[": weights"], weights, atol=1e-3)
    score = x @ model.coef_[0]
    assert found["bank: AUC"] == pytest.approx(roc_auc_score(y[held_out], score[held_out]))
