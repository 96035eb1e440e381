"""The programs of today are pages: what they compute is what numpy and scikit-learn compute."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from contracts.pages.faults import PageRefused
from contracts.pages.page import trace
from contracts.pages.plan import Plan, decode_plan
from contracts.pages.tables import DatasetSchema
from privcompute.pages.clear import ClearData, evaluate

PAGES = Path(__file__).parents[4] / "contracts/system/pages"


SCHEMAS = {
    "loans": DatasetSchema(
        "bank",
        {"id": "integer", "amount": "integer", "duration": "integer", "repaid": "boolean"},
        key=("id",),
    ),
    "residents": DatasetSchema(
        "registry",
        {"id": "integer", "age": "integer", "housing": "category"},
        key=("id",),
        categories={"housing": 3},
        bins={"age": 3},
    ),
}
LOT = ("n:join1", "3/10")
AMOUNT, AGE, HOUSING = ["loans", "amount"], ["residents", "age"], ["residents", "housing"]


def plan_of(name: str, parameters: dict[str, object]) -> Plan:
    source = (PAGES / name).read_text(encoding="utf-8")
    assert trace(source, name=name).releases, "a page is traced as members propose it, without schemas"
    plan = trace(source, SCHEMAS, name=name, parameters=parameters)
    assert decode_plan(plan.data).hash == plan.hash
    return plan


@pytest.fixture
def world() -> ClearData:
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
    return ClearData(
        {"loans": loans, "residents": residents}, domains, {LOT: 1.0 * (random.random(400) < 0.3)}
    )


def joined(world: ClearData) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the columns over the joined rows, in the order of the loans, and which loans these are."""
    loans, residents = world.data["loans"], world.data["residents"]
    places = {key: place for place, key in enumerate(residents["id"])}
    rows = np.array([key in places for key in loans["id"]])
    found = [places[key] for key in loans["id"][rows]]
    columns = {name: cells[rows] for name, cells in loans.items()}
    columns |= {name: cells[found] for name, cells in residents.items() if name != "id"}
    return columns, rows


def test_a_private_join_is_a_page(world: ClearData) -> None:
    found = evaluate(plan_of("private_join.py", {"receivers": ["bank", "auditor"]}), world)
    assert found["bank: rows in common"][0] == found["auditor: rows in common"][0] == 300
    cells, _ = found["bank: which rows of loans"]
    assert np.array_equal(cells, joined(world)[1])
    cells, _ = found["registry: which rows of residents"]
    assert np.array_equal(cells, np.isin(world.data["residents"]["id"], np.arange(300)))


def test_joint_statistics_are_a_page(world: ClearData) -> None:
    columns, _ = joined(world)
    amount, age, housing = columns["amount"], columns["age"], columns["housing"]
    parameters = {
        "receivers": ["regulator"],
        "columns": [AMOUNT, AGE],
        "figures": ["sum", "mean", "variance", "deviation", "least", "greatest"],
        "quantiles": [Fraction(1, 2), Fraction(9, 10), 0, 1],
        "correlations": [[AMOUNT, AGE], [[*AMOUNT, 0, 20], [*AGE, 18, 90]]],
        "histograms": [AGE],
        "groups": [[HOUSING], [HOUSING, AMOUNT]],
    }
    plan = plan_of("joint_statistics.py", parameters)
    found = {name.removeprefix("regulator: "): cells for name, (cells, _) in evaluate(plan, world).items()}
    for name, cells in (("loans.amount", amount), ("residents.age", age)):
        numpy = (np.sum, np.mean, np.var, np.std, np.min, np.max)
        for figure, work in zip(parameters["figures"], numpy, strict=True):
            assert found[f"{figure} of {name}"] == pytest.approx(work(cells)), figure
        for text, part in (("1/2", 0.5), ("9/10", 0.9), ("0", 0), ("1", 1)):
            assert found[f"quantile {text} of {name}"] == pytest.approx(np.quantile(cells, part))
    both = "correlation of loans.amount and residents.age"
    assert found[both] == pytest.approx(np.corrcoef(np.clip(amount, 0, 20), age)[0, 1])
    assert found["bins of residents.age"].tolist() == np.histogram(age, [18, 40, 65, 90])[0].tolist()
    counts = [int((housing == name).sum()) for name in ("free", "own", "rent")]
    assert found["rows by residents.housing"].tolist() == counts, "jobs hide the small ones, not the page"
    sums = [amount[housing == name].sum() for name in ("free", "own", "rent")]
    assert found["sum of loans.amount by residents.housing"].tolist() == sums
    names = {plan.graph.name(node) for node in range(len(plan.graph))}
    assert not names & {"and", "or", "not"}, "nothing is hidden twice"


def test_statistics_with_noise_share_an_epsilon_and_need_no_more_than_sums() -> None:
    noisy = {
        "columns": [[*AMOUNT, 0, 20]],
        "correlations": [[[*AMOUNT, 0, 20], [*AGE, 18, 90]]],
        "histograms": [AGE],
        "groups": [[HOUSING], [HOUSING, [*AMOUNT, 0, 20]]],
        "receivers": ["bank", "regulator"],
        "epsilon": 3,
    }
    plan = plan_of("joint_statistics.py", noisy)
    assert {use.use for use in plan.uses if use.column != "id"} == {"noisy"}
    drawn = [one.epsilon for one in plan.releases if one.mechanism]
    assert drawn == ["3/14"] * 14
    assert [one.name for one in plan.releases if not one.mechanism] == ["rows in common"] * 2
    exact = plan_of("joint_statistics.py", noisy | {"epsilon": 0})
    assert not any(one.mechanism for one in exact.releases)
    assert {use.use for use in exact.uses if use.column in ("amount", "age")} >= {"plain"}


def test_extremes_take_no_noise() -> None:
    with pytest.raises(PageRefused, match="NOISE_UNBOUNDED"):
        plan_of("joint_statistics.py", {"columns": [[*AMOUNT, 0, 20]], "figures": ["greatest"], "epsilon": 1})


def test_logistic_regression_is_a_page(world: ClearData) -> None:
    from sklearn.linear_model import LogisticRegression  # which takes seconds of whoever collects this
    from sklearn.metrics import roc_auc_score

    columns, rows = joined(world)
    tested = world.lots[LOT][rows] > 0
    hot = [columns["housing"] == name for name in ("free", "own", "rent")]
    x = np.stack([columns["amount"], columns["duration"], columns["age"], *hot], axis=1).astype(float)
    x = (x - x[~tested].mean(axis=0)) / x[~tested].std(axis=0)
    y = columns["repaid"]
    model = LogisticRegression(C=1 / (0.01 * (~tested).sum()), tol=1e-10).fit(x[~tested], y[~tested])
    parameters = {
        "label": ["loans", "repaid"],
        "numbers": [AMOUNT, ["loans", "duration"], AGE],
        "categories": [HOUSING],
        "receivers": ["bank"],
        "coefficients": True,
    }
    plan = plan_of("logistic_regression.py", parameters)
    found = {name: cells for name, (cells, _) in evaluate(plan, world).items()}
    weights = np.concatenate([model.intercept_, model.coef_[0]])
    assert np.allclose(found[": weights"], weights, atol=1e-3)
    assert np.array_equal(found["bank: weights"], found[": weights"])
    score = model.decision_function(x)[tested]
    assert found["bank: AUC"] == pytest.approx(roc_auc_score(y[tested], score))
    assert found["bank: accuracy"] == pytest.approx(((score > 0) == y[tested]).mean())
    assert found["bank: positive rows held out"] == y[tested].sum()


def test_a_label_may_be_a_value_of_a_column() -> None:
    parameters = {"label": HOUSING, "positive": ["own"], "numbers": [AMOUNT]}
    plan = plan_of("logistic_regression.py", parameters)
    assert ("is", ("own",)) in [(plan.graph.name(n), plan.graph.attrs[n]) for n in range(len(plan.graph))]
