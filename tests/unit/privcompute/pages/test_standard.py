"""The page of joint statistics shows what numpy computes, and hides what is too small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from contracts.system import standard_pages
from tests.unit.privcompute.pages.running import Data, run_page

PAGE = standard_pages()["joint-statistics"]
ROWS = 120
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


def kept(counts: list[int], least: int) -> list[bool]:
    """Which groups may be shown: all of `least` rows, but the smallest where the hidden ones are too few."""
    hidden = [count for count in counts if count < least]
    others = [count for count in counts if count >= least]
    more = min(others) if hidden and others and sum(hidden) < least else None
    return [count >= least and count != more for count in counts]


def expected(min_group: int) -> dict[str, Any]:
    """Return what the page says, computed by numpy."""
    found = tables()
    housing, amount = found["bureau/homes"]["housing"], found["bank/loans"]["amount"]
    groups = [housing == name for name in ("free", "own", "rent")]
    counts = [int(group.sum()) for group in groups]
    bins = np.histogram(found["registry/people"]["age"], [float(edge) for edge in EDGES])[0].tolist()
    said = kept(counts, min_group)
    sums = [int(amount[group].sum()) for group in groups]
    return {
        "rows in common": ROWS,
        "rows by homes.housing": [c if show else None for c, show in zip(counts, said, strict=True)],
        "sum of loans.amount by homes.housing": [
            one if show else None for one, show in zip(sums, said, strict=True)
        ],
        "bins of people.age": [
            c if show else None for c, show in zip(bins, kept(bins, min_group), strict=True)
        ],
    }


@pytest.mark.parametrize("min_group", [1, 16, 17, 20, 34, 35, 71])
def test_groups_and_bins_are_hidden_by_the_rule_and_equal_elsewhere(min_group: int) -> None:
    assert of_page(min_group, clear=True) == expected(min_group)


def test_on_shares_the_page_shows_and_hides_the_same() -> None:
    assert of_page(20, clear=False) == expected(20)
