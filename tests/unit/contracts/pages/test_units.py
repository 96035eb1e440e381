"""Days are not compared with seconds, wherever the types of columns are known."""

from __future__ import annotations

import pytest

from contracts.pages.faults import PageRefused
from contracts.pages.page import trace
from contracts.pages.tables import DatasetSchema

KEYS = {"id": "text", "no": "integer"}
SCHEMAS = {
    "loans": DatasetSchema("bank", {**KEYS, "opened": "date", "closed": "date"}, ("id",)),
    "visits": DatasetSchema("clinic", {**KEYS, "at": "timestamp"}, ("id",)),
}
MEET = [
    'v.at < day("2024-01-31")',
    'day("2024-01-31") >= v.at',
    'v.at == day("2024-01-31")',
    'l.opened <= moment("2024-01-31 12:00")',
    "v.at > l.opened",
    "v.at + 3600 > l.opened + 1",
    "v.at - l.opened > 0",
    "clip(v.at, 0, 9) != l.opened",
    "where(l.no > 1, l.opened, l.closed) < v.at",
    'maximum(l.opened, moment("2024-01-31 12:00")) > 0',
    "where(l.no > 1, l.opened, v.at) > 0",
    '(l.no > 1) & (day("2024-01-31") < moment("2024-01-31 12:00"))',
]
FIT = [
    'v.at < moment("2024-01-31 12:00")',
    'l.opened >= day("2024-01-31")',
    "v.at >= l.opened * 86400",
    "l.closed - l.opened > 30",
    "l.closed - l.opened > v.at / 86400 - l.closed",
    "l.opened + 30 < l.closed",
    "v.at < 19000",
    'l.no > day("2024-01-31")',
    "l.no > v.at",
    'l.no > (1 if day("2024-01-31") in [19753] else 2)',
    'l.no > (1 if day("2024-02-01") - day("2024-01-31") == 1 else 2)',
]


def page(condition: str) -> str:
    return (
        '"""Rows."""\n\n\ndef run(loans, visits):\n    rows = join(loans, visits)\n'
        f"    l, v = rows.loans, rows.visits\n"
        f'    release(count(rows, where={condition}), to="bank", exact=True)\n'
    )


@pytest.mark.parametrize("condition", MEET)
def test_days_that_meet_seconds_are_refused_with_the_line_and_what_to_write(condition: str) -> None:
    """The comparison was 0 in every row, and nobody was told."""
    with pytest.raises(PageRefused) as caught:
        trace(page(condition), SCHEMAS)
    said = str(caught.value)
    assert said.startswith("page.py:7:")
    assert "UNIT: days meet seconds" in said
    assert 'moment("2024-01-31 12:00") beside a timestamp' in said


@pytest.mark.parametrize("condition", FIT)
def test_what_is_of_one_unit_or_of_none_is_compared(condition: str) -> None:
    assert trace(page(condition), SCHEMAS).releases


def test_a_union_keeps_the_unit_and_a_default_day_is_a_number() -> None:
    schemas = dict.fromkeys(("north", "south"), SCHEMAS["loans"])
    source = (
        '"""Rows."""\n\n\ndef run(north, south, *, since=day("2024-01-31")):\n'
        "    rows = union(north, south)\n"
        '    release(count(rows, where=rows.opened >= {}), to="bank", exact=True)\n'
    )
    plan = trace(source.format("since"), schemas)
    assert trace(source.format("since"), schemas, parameters={"since": 19753}).hash == plan.hash
    with pytest.raises(PageRefused, match="UNIT"):
        trace(source.format('moment("2024-01-31 12:00")'), schemas)


def test_units_change_no_plan() -> None:
    """A plan is bytes that others read again: a unit is not in them."""
    numbers = {"opened": "integer", "closed": "integer"}
    whole = {
        name: DatasetSchema(one.owner, {**one.columns, **numbers}, one.key) for name, one in SCHEMAS.items()
    }
    source = page('l.opened >= day("2024-01-31")')
    assert trace(source, SCHEMAS).hash == trace(source, whole).hash
