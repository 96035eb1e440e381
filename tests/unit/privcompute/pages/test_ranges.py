"""A shared divisor that the registered domains let reach 2^30 is told before a job's quotient is 0."""

from __future__ import annotations

import pytest

from contracts.pages.page import trace
from contracts.pages.tables import DatasetSchema
from privcompute.pages.ranges import DIVISOR_MAX, large_divisors, large_values

SCHEMA = {
    "a": DatasetSchema(
        "bank",
        {"id": "text", "debt": "integer", "income": "decimal", "age": "integer", "free": "integer"},
        ("id",),
        bounds={"debt": ("0", "2000000"), "income": ("0", "100000"), "age": ("18", "100")},
    )
}
WARNED = [
    "sum(a.age) / sum(a.debt)",
    "sum(a.age * a.debt) / sum(a.debt, where=a.age > 30)",
    "sum(a.age / (a.debt * a.debt))",
    "sum(a.age) / (0 - sum(0 - a.debt))",
    "sum(a.age / (a.income * a.income))",
    "sum(a.age / (a.debt * a.debt * a.debt))",
]
QUIET = [
    "sum(a.debt) / sum(a.age)",
    "sum(a.debt) / count(a)",
    "mean(a.debt)",
    "sum(a.age) / (sum(a.debt) / 1000)",
    "sum(a.age) / sum(a.free)",
    "sum(a.age) / sum(clip(a.debt, 0, 100))",
    "sum(a.debt) / 2000000000",
    "greatest(a.age) / greatest(a.debt)",
]


def warnings(figure: str, rows: int | None = 1_000) -> list[str]:
    source = f'"""A ratio."""\n\n\ndef run(a):\n    release({figure}, to="bank", exact=True)\n'
    return large_divisors(trace(source, SCHEMA), None if rows is None else {"n:0": rows})


@pytest.mark.parametrize("figure", WARNED)
def test_a_divisor_that_may_reach_the_bound_of_shares_is_warned_of(figure: str) -> None:
    (said,) = warnings(figure)
    assert "by the registered domains" in said
    assert f"from {DIVISOR_MAX:,} on a quotient is 0: divide what is on both sides by a public number" in said


@pytest.mark.parametrize("figure", QUIET)
def test_what_stays_below_it_or_is_not_known_or_public_is_not(figure: str) -> None:
    assert warnings(figure) == []


def test_rows_that_are_not_stated_warn_of_no_sum_and_few_rows_of_none() -> None:
    assert warnings(WARNED[0], rows=None) == []
    assert warnings(WARNED[0], rows=536) == []
    assert warnings(WARNED[0], rows=537) != []


FAR = {
    "sum(a.debt * a.debt * a.debt * a.debt)": "'multiply' may reach 8e+18",
    "sum(a.income * a.income * a.income * a.income)": "'multiply' may reach 1e+15",
    "sum(a.income * b.debt)": "'multiply' may reach 2e+11",
    "count(a.debt * 10000000000000 > b.debt)": "'multiply' may reach 2e+19",
    "sum(where(a.free > 3, 1000000000000000000, 0)) * 5": "'sum' may reach 1e+21",
}


def values(figure: str) -> list[str]:
    line = f'release({figure}, to="bank", exact=True)'
    source = f'"""A figure."""\n\n\ndef run(a, b):\n    c = join(a, b)\n    {line}\n'
    source = source.replace("a.", "c.a.").replace("b.debt", "c.b.debt")
    schemas = {
        **SCHEMA,
        "b": DatasetSchema(
            "city", {"id": "text", "debt": "integer"}, ("id",), bounds={"debt": ("0", "2000000")}
        ),
    }
    return large_values(trace(source, schemas), {"n:0": 1_000, "n:1": 1_000, "n:join1": 1_000})


@pytest.mark.parametrize("figure", FAR)
def test_what_may_leave_the_range_in_which_figures_are_right_is_warned_of_once(figure: str) -> None:
    """A run ends alike whatever rows hold, so nothing else tells an honest author."""
    (said,) = values(figure)
    assert FAR[figure] in said
    assert "beyond figures are wrong and nothing tells" in said


@pytest.mark.parametrize(
    "figure",
    [
        "sum(a.debt * b.debt)",
        "sum(a.income)",
        "sum(a.income * a.income)",
        "sum(a.free * b.debt)",
        "sum(a.income * (b.debt > 3))",
    ],
)
def test_what_stays_in_range_or_is_not_known_is_not(figure: str) -> None:
    assert values(figure) == []
