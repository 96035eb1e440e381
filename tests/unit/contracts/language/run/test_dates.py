"""Dates: what the language computes is what `datetime` says, on every day that there is."""

# ruff: noqa: E501  (tables)

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.check import check_source, run_source
from contracts.language.run import dates
from contracts.language.run.scratch import scratch_machine

SETTINGS = settings(max_examples=200, deadline=None, derandomize=True)
FIRST = datetime(1, 1, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
TIMES = st.integers(
    (FIRST - EPOCH) // MILLISECOND, (datetime(9999, 12, 31, tzinfo=UTC) - EPOCH) // MILLISECOND
)


@SETTINGS
@given(TIMES, st.integers(-5_000, 5_000))
def test_every_time_is_what_datetime_says(time: int, days: int) -> None:
    m, there = scratch_machine(), EPOCH + time * MILLISECOND
    assert dates.iso(m, time) == there.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert dates.parse(m, dates.iso(m, time)) == time
    assert dates.day_text(m, time) == there.date().isoformat()
    assert dates.parse(m, dates.day_text(m, time)) == time - time % dates.DAY_MS
    assert dates.parts(m, time) == (there.year, there.month, there.day)
    assert dates.weekday(m, time) == there.weekday()
    try:
        later = there + timedelta(days)
    except OverflowError:
        return
    assert EPOCH + dates.add_days(m, time, days) * MILLISECOND == later


def value(expression: str) -> Any:
    """Return what a contract computes, or the code with which it fails."""
    verdict = run_source(f"def main():\n    return {expression}\n", "main", {})
    return verdict["result"] if verdict["status"] == "ok" else verdict["code"]


@pytest.mark.parametrize(
    ("start", "months", "end"),
    [
        ("2024-01-31", 1, "2024-02-29"),
        ("2023-01-31", 1, "2023-02-28"),
        ("2024-02-29", 12, "2025-02-28"),
        ("2024-02-29", 48, "2028-02-29"),
        ("2024-03-31", -1, "2024-02-29"),
        ("2024-12-31", 1, "2025-01-31"),
        ("2024-01-01", -1, "2023-12-01"),
        ("1900-01-31", 1, "1900-02-28"),
        ("2000-01-31", 1, "2000-02-29"),
        ("9999-12-31", 0, "9999-12-31"),
    ],
)
def test_a_month_later_is_the_same_day_or_the_last_of_a_shorter_month(
    start: str, months: int, end: str
) -> None:
    assert value(f"date.day(date.add_months(date.parse('{start}') + 5, {months}))") == end
    assert value(f"date.add_months(date.parse('{start}') + 5, {months}) % 86_400_000") == 5


@pytest.mark.parametrize(
    "text",
    [
        "", "2024", "2024-5-1", "2024-13-01", "2024-00-10", "2023-02-29", "2024-04-31", "0000-01-01", "2024-05-01T24:00:00Z",
        "2024-05-01T12:60:00Z", "2024-05-01T12:00:60Z", "2024-05-01T12:00:00", "2024-05-01 12:00:00Z", "2024-05-01T12:00:00+02:00",
        "2024-05-01T12:00:00.1Z", "2024-W05-1", "20240501", "٢٠٢٤-05-01", "2024-05-01\\n",
    ],
)  # fmt: skip
def test_a_text_that_is_no_date_in_one_form_is_refused(text: str) -> None:
    assert value(f"date.parse('{text}')") == "VALUE_ERROR"


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("date.parse(5)", "TYPE_ERROR"),
        ("date.iso('a')", "TYPE_ERROR"),
        ("date.weekday(True)", "TYPE_ERROR"),
        ("date.iso(10 ** 30)", "VALUE_ERROR"),
        ("date.iso(-10 ** 30)", "VALUE_ERROR"),
        ("date.add_days(0, 10 ** 1000)", "VALUE_ERROR"),
        ("date.add_months(0, -10 ** 1000)", "VALUE_ERROR"),
        ("date.add_months(0, 12 * 8030)", "VALUE_ERROR"),
        ("date.parse('2024-05-01T12:00:00.250Z')", 1714564800250),
        ("[date.weekday(0), date.parts(-1)]", [3, [1969, 12, 31]]),
    ],
)
def test_what_lies_outside_the_calendar_is_refused(expression: str, code: object) -> None:
    assert value(expression) == code


def test_a_local_called_date_is_a_value_like_any_other() -> None:
    source = "DAY = date.parse('2024-05-01')\n\ndef main(date: str):\n    date = date.upper()\n    return [date, DAY]\n"
    assert run_source(source, "main", {"date": "a"})["result"] == ["A", 1714521600000]
    (only,) = check_source("def f():\n    return date.now()\n", "x.py").diagnostics
    assert (only.rule, "date.parse" in only.instead) == ("UNKNOWN_METHOD", True)
    (only,) = check_source("def f():\n    return date\n", "x.py").diagnostics
    assert only.rule == "NOT_A_VALUE"
