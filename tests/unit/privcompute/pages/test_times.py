"""Dates and timestamps in pages: what they are numbered by, on shares as in the clear."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.pages.faults import PageRefused
from contracts.pages.page import trace
from privcompute.pages.inputs import cells_of_kind
from tests.unit.privcompute.pages.running import Data, run_page

ROOT = Path(__file__).parents[4]
OPENED = ["2019-12-31", "2020-01-01", "2020-02-29", "2021-12-31", "2024-06-15", "1969-12-31"]
SEEN = [
    "2020-01-01T00:00:00",
    "2020-01-01T00:00:00.999999",
    "2020-03-01T00:00:59",
    "2021-12-31T23:59:59.5",
    "2024-06-15T12:00:00",
    "1969-12-31T23:59:59.5",
]


def data() -> Data:
    ids = np.array([f"p{number}" for number in range(len(OPENED))])
    opened, seen = np.array(OPENED, "datetime64[D]"), np.array(SEEN, "datetime64[us]")
    columns = {"loans": {"id": ids, "opened": opened}, "visits": {"id": ids, "at": seen}}
    types = {"loans": {"id": "text", "opened": "date"}, "visits": {"id": "text", "at": "timestamp"}}
    return Data({"loans": 0, "visits": 1}, columns, types)


def page(*lines: str, head: str = "loans, visits") -> str:
    body = "\n".join(f"    {line}" for line in ("rows = join(loans, visits)", *lines))
    return f'"""A page."""\n\n\ndef run({head}):\n{body}\n'


def told(*figures: str) -> dict[str, Any]:
    lines = [f'release({what}, to="bank", exact=True, name="{n}")' for n, what in enumerate(figures)]
    found, _ = run_page(page(*lines), data())
    clear, _ = run_page(page(*lines), data(), clear=True)
    assert found == clear
    return found


def test_a_timestamp_counts_whole_seconds_and_a_date_days_before_1970_too() -> None:
    assert cells_of_kind(np.array(SEEN[-1:], "datetime64[us]"), "integer").tolist() == [-1]
    assert cells_of_kind(np.array(SEEN[3:4], "datetime64[us]"), "integer").tolist() == [1_640_995_199]
    assert cells_of_kind(np.array(OPENED[-1:], "datetime64[D]"), "integer").tolist() == [-1]


def test_dates_and_timestamps_are_compared_with_days_and_moments() -> None:
    found = told(
        'sum(where(rows.loans.opened >= day("2020-01-01"), 1, 0))',
        'sum(where(rows.visits.at < moment("2020-01-01 00:00:01"), 1, 0))',
        'sum(where(rows.visits.at == moment("2021-12-31T23:59:59Z"), 1, 0))',
        "sum(where(rows.visits.at >= rows.loans.opened * 86400, 1, 0))",
    )
    assert found == {"0": 4, "1": 3, "2": 1, "3": 6}


def test_differences_are_days_of_dates_and_seconds_of_timestamps() -> None:
    opened = np.array(OPENED, "datetime64[D]").astype(int)
    seen = np.floor(np.array(SEEN, "datetime64[us]").astype(float) / 1e6).astype(int)
    found = told(
        "sum(rows.visits.at - rows.loans.opened * 86400)", 'sum(day("2024-06-15") - rows.loans.opened)'
    )
    assert found == {"0": int((seen - opened * 86_400).sum()), "1": int((19_889 - opened).sum())}


def test_years_and_months_follow_as_the_reference_says() -> None:
    reference = (ROOT / "docs/pages.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"^```python years.py\n(.*?)^```", reference, re.MULTILINE | re.DOTALL)
    within = [text for text in OPENED if text[:4] in ("2020", "2021", "2024")]
    ids = np.array([f"p{number}" for number in range(len(within))])
    loans = {"id": ids, "opened": np.array(within, "datetime64[D]")}
    only = Data({"loans": 0}, {"loans": loans}, {"loans": {"id": "text", "opened": "date"}})
    found, _ = run_page(source, only, clear=True)
    assert found["by year"] == [2, 1, 0, 0, 1]
    months = [int(text[5:7]) for text in within]
    assert float(found["mean month"]) == pytest.approx(np.mean(months), abs=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        'day("2023-02-29")',
        'day("2024-1-31")',
        'day("")',
        "day(3)",
        'day("٢٠٢٤-01-31")',
        'moment("2024-01-31")',
        'moment("2024-01-31 24:00")',
        'moment("2024-01-31 12:60")',
        'moment("2024-01-31 12:00+01:00")',
        'moment("2024-02-30 12:00")',
        "moment(loans.opened)",
        'day("0000-01-01")',
    ],
)
def test_what_is_no_day_and_no_moment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(PageRefused) as refused:
        trace(page(f'release(count(rows, where=rows.loans.opened > {text}), to="bank", exact=True)'))
    (found,) = refused.value.diagnostics
    assert found.rule == "DATE"
    assert "2024-01-31" in found.instead
