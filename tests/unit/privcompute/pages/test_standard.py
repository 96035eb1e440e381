"""The page of joint statistics shows and hides what the program of the same name does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from contracts.system import standard_pages
from tests.unit.privcompute.pages.running import Data, run_page
from tests.unit.privcompute.programs.test_statistics import ROWS, compute

PAGE = standard_pages()["joint-statistics"]
EDGES = ("18", "20", "50", "81")


def tables() -> dict[str, dict[str, Any]]:
    random = np.random.default_rng(17)
    age = random.integers(18, 80, ROWS)
    housing = np.array(["own"] * 70 + ["rent"] * 34 + ["free"] * 16, dtype=object)
    amount = 100 * age + random.integers(250, 18_424, ROWS)
    rate = random.normal(0.04, 0.01, ROWS)
    return {
        "bank/loans": {"amount": amount, "rate": rate},
        "bureau/homes": {"housing": housing},
        "registry/people": {"age": age},
    }


def joined(found: dict[str, dict[str, Any]]) -> Data:
    """The same rows as datasets of a page, all of them joined."""
    ids = np.array([f"p{number:03}" for number in range(ROWS)])
    columns = {name.partition("/")[2]: {"id": ids} | cells for name, cells in found.items()}
    types = {
        "loans": {"id": "text", "amount": "integer", "rate": "decimal"},
        "homes": {"id": "text", "housing": "category"},
        "people": {"id": "text", "age": "integer"},
    }
    declared: dict[str, Any] = {"homes.housing": {"categories": ("free", "own", "rent")}}
    declared["people.age"] = {"edges": EDGES}
    return Data({"loans": 0, "homes": 1, "people": 2}, columns, types, declared)


def of_page(min_group: int, *, clear: bool) -> dict[str, Any]:
    found, _ = run_page(
        PAGE,
        joined(tables()),
        clear=clear,
        min_group=min_group,
        receivers=["bank"],
        columns=[],
        histograms=[["people", "age"]],
        groups=[[["homes", "housing"], ["loans", "amount"]]],
    )
    return found


def of_program(min_group: int) -> dict[str, Any]:
    parameters = {
        "groups": [{"by": "bureau/homes/housing", "of": "bank/loans/amount"}],
        "histograms": [{"column": "registry/people/age", "edges": list(EDGES)}],
        "min_group": min_group,
    }
    found = compute(tables(), parameters)
    rows = {one["category"]: one for one in found["groups"][0]["categories"]}
    shown = [rows[name] for name in ("free", "own", "rent")]
    sums = [one.get("sum") for one in shown]
    return {
        "rows in common": found["rows"],
        "rows by homes.housing": [one.get("count") for one in shown],
        "sum of loans.amount by homes.housing": [None if one is None else int(float(one)) for one in sums],
        "bins of people.age": found["histograms"][0]["counts"],
    }


@pytest.mark.parametrize("min_group", [1, 16, 17, 20, 34, 35, 71])
def test_groups_and_bins_are_hidden_where_the_program_hides_them_and_equal_elsewhere(min_group: int) -> None:
    assert of_page(min_group, clear=True) == of_program(min_group)


def test_on_shares_the_page_shows_and_hides_the_same() -> None:
    assert of_page(20, clear=False) == of_program(20)
