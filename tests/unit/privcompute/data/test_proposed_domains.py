"""Domains are proposed round and never declared: what an owner confirms tells less than a row's cell."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privcompute.data.proposals import propose
from privcompute.data.proposed_domains import BOUND_MAX, bounds, categories
from privcompute.data.sources import DataSource, open_source
from tests.unit.privcompute.data.tables import column_file, proposed


@pytest.mark.parametrize(
    ("cells", "low", "high"),
    [
        (["1850.50", "15001"], "0", "20000"),
        (["-3", "7"], "-5", "10"),
        (["1.234,5", "2"], "0", "2000"),
        (["0", "0", "0"], "0", "1"),
        (["31.01.2024", "1.2.2019"], "2010-01-01", "2029-12-31"),
        (["2024-01-31 10:00", "2024-02-01 10:00"], "2020-01-01 00:00", "2029-12-31 23:59:59"),
        (["yes", "no"], "", ""),
        (["a", "b", "c"], "", ""),
        ([str(BOUND_MAX * 7), "1"], "", ""),
        (["NA", "5", "6", "7"], "0", "10"),
    ],
)
def test_bounds_are_round_and_declared_by_nobody(
    tmp_path: Path, cells: list[str], low: str, high: str
) -> None:
    found = proposed(column_file(tmp_path, cells), "x", ["id"])
    assert (found.domain.low, found.domain.high) == (low, high)
    assert (found.column.low, found.column.high, found.column.categories) == (None, None, ())
    assert bool(found.domain.tells) == bool(low)


def test_bounds_hold_over_all_parts_of_a_file(tmp_path: Path) -> None:
    path = column_file(tmp_path, [*map(str, range(70_000)), "-1"])
    found = proposed(path, "x", ["id"])
    assert (found.domain.low, found.domain.high) == ("-1", "100000")


def test_identifiers_get_no_domain(tmp_path: Path) -> None:
    opened = open_source(DataSource(column_file(tmp_path, ["1", "2", "3"])))
    assert [one.domain.tells for one in propose(opened, ["x"]).columns if one.column.name == "x"] == [""]


@given(st.integers(-BOUND_MAX, BOUND_MAX), st.integers(-BOUND_MAX, BOUND_MAX))
def test_bounds_of_numbers_hold_both_and_are_one_digit_with_zeros(one: int, other: int) -> None:
    found = bounds("integer", float(min(one, other)), float(max(one, other)))
    if not found.low:  # rounding went beyond
        assert max(abs(one), abs(other)) > BOUND_MAX // 5
        return
    low, high = int(found.low), int(found.high)
    assert low <= min(one, other)
    assert max(one, other) <= high
    assert low < high or low == high == 0 or low < 0
    for end in (low, high):
        assert str(abs(end)).rstrip("0") in ("", "1", "2", "5")


def test_categories_are_those_of_the_cells_but_for_missing_ones(tmp_path: Path) -> None:
    cells = ["rent", "own", "rent", "own", "", "own ", "rent", "rent", "own"]
    found = proposed(column_file(tmp_path, cells), "x", ["id"])
    assert found.domain.categories == ("own", "rent")
    assert categories({"a", "x" * 61}, []).categories == ()
    assert categories({"a", "b\x1b"}, []).categories == ()
