"""Cells mean what an independent reading says: Python's Decimal and datetime, and DuckDB's casts."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.data.cells import read_cells
from privcompute.data.literals import TYPES, ColumnType, read_literal
from privcompute.data.schema import DAY_FORMATS, FORMATS, NUMBER_FORMATS, TIME_FORMATS

NUMBERS = st.one_of(
    st.text("0123456789.,eE+-' ", max_size=14),
    st.integers(-(2**64), 2**64).map(str),
    st.integers(0, 10**6).map(lambda number: f"{number:08}"),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.decimals(-(10**9), 10**9, places=2).map(lambda number: f"{number:,}"),
    st.sampled_from(
        ["0x1F", "1_000", "nan", "inf", "−5", "١٢", "1e400", "1e-400", "-0", "5%", "", " 1", "1\n"]
    ),
)


def read(cells: list[str], kind: ColumnType, form: str) -> list[Any]:
    """Return each cell's value, None where it does not fit."""
    values, fits = read_cells(pa.array(cells, pa.string()), kind, form)
    assert len(values) == len(fits) == len(cells)
    return [value if fit else None for value, fit in zip(values.tolist(), fits.tolist(), strict=True)]


def reference(text: str, form: str, kind: str) -> Any:
    """Return what a number means, by Python's Decimal and a regular expression of its own."""
    thousands, mark = NUMBER_FORMATS[form]
    sign, digits = (text[:1], text[1:]) if text[:1] in ("+", "-") else ("", text)
    mantissa, _, exponent = digits.lower().partition("e")
    whole, point, fraction = mantissa.partition(mark)
    if thousands and thousands in whole:
        parts = whole.split(thousands)
        if not all(len(part) == 3 for part in parts[1:]) or not 1 <= len(parts[0]) <= 3 or parts[0][0] == "0":
            return None
        whole = "".join(parts)
    plain = f"{whole}.{fraction}" if point else whole
    if not re.fullmatch("[0-9]+", whole + fraction):
        return None
    if ("e" in digits.lower()) and not re.fullmatch(r"[+-]?[0-9]{1,4}", exponent):
        return None
    try:
        number = Decimal(sign + plain + (f"e{exponent}" if exponent else ""))
    except InvalidOperation:
        return None
    if kind == "integer":
        return None if point or exponent or abs(2 * number + 1) > 2**64 else int(number)
    if len(plain.replace(".", "").strip("0")) > 17 or not math.isfinite(float(number)):
        return None
    return float(number) + 0.0


@settings(deadline=None)
@given(
    st.lists(NUMBERS, max_size=12),
    st.sampled_from(sorted(NUMBER_FORMATS)),
    st.sampled_from(["integer", "decimal"]),
)
def test_a_number_means_what_decimal_says(cells: list[str], form: str, kind: Any) -> None:
    assert read(cells, kind, form) == [reference(cell, form, kind) for cell in cells]


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.integers(-(2**63), 2**63 - 1).map(str),
            st.floats(allow_nan=False, allow_infinity=False).map(repr),
        ),
        min_size=1,
    )
)
def test_plain_numbers_mean_what_duckdb_says(cells: list[str]) -> None:
    with duckdb.connect() as db:
        for kind, name in (("integer", "BIGINT"), ("decimal", "DOUBLE")):
            fitting = [cell for cell in cells if (kind == "integer") == cell.lstrip("-").isdigit()]
            rows = [db.execute(f"SELECT CAST(? AS {name})", [cell]).fetchone() for cell in fitting]
            assert read(fitting, kind, "1234.5") == [row[0] for row in rows if row]  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.lists(st.text(max_size=12) | st.floats().map(repr) | st.integers().map(str), max_size=8))
def test_a_literal_is_a_cell_in_the_first_format_of_its_type(texts: list[str]) -> None:
    texts = [text for text in texts if "\0" not in text]
    for kind in TYPES:
        if kind != "timestamp":  # literals take both kinds of timestamps, with and without a zone
            read_here = read(texts, kind, FORMATS[kind][0])
            literals = [read_literal(kind, text) for text in texts]
            if kind == "date":
                literals = [None if day is None else date.fromordinal(day + 719_163) for day in literals]  # type: ignore[operator]
            for cell, literal in zip(read_here, literals, strict=True):
                assert literal is None or cell == literal


SHAPES = {
    "2024-01-31": "%Y-%m-%d",
    "31.01.2024": "%d.%m.%Y",
    "01/31/2024": "%m/%d/%Y",
    "20240131": "%Y%m%d",
    "31-Jan-2024": "%d-%b-%Y",
}


@settings(deadline=None)
@given(st.dates())
def test_a_day_is_read_in_its_own_format(day: date) -> None:
    for form, shape in SHAPES.items():
        text = day.strftime(shape.replace("%Y", f"{day.year:04}"))
        assert read([text], "date", form) == [day]
    for separator in "-/. ":
        assert read([f"{day.day}{separator}{day.month}{separator}{day.year:04}"], "date", "31.01.2024") == [
            day
        ]


@settings(deadline=None)
@given(
    st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1)), st.integers(-14 * 60, 14 * 60)
)
def test_a_timestamp_is_read_with_and_without_its_zone(moment: datetime, offset: int) -> None:
    wall = moment.isoformat(" ")
    assert read([wall], "timestamp", "2024-01-31 23:59") == [moment]
    sign, minutes = "-" if offset < 0 else "+", abs(offset)
    zoned = f"{moment.isoformat()}{sign}{minutes // 60:02}:{minutes % 60:02}"
    expected = datetime.fromisoformat(zoned).astimezone(UTC).replace(tzinfo=None)
    assert read([zoned], "timestamp", "2024-01-31 23:59Z") == [expected]
    assert read([zoned], "timestamp", "2024-01-31 23:59") == [None]
    assert read([wall], "timestamp", "2024-01-31 23:59Z") == [None]


@pytest.mark.parametrize(
    ("kind", "form", "cell"),
    [
        ("date", "2024-01-31", "2023-02-29"),
        ("date", "2024-01-31", "2024-1/31"),
        ("date", "31.01.2024", "31.01.24"),
        ("date", "01/31/2024", "31/01/2024"),
        ("date", "31-Jan-2024", "31-Foo-2024"),
        ("date", "2024-01-31", "0000-01-01"),
        ("timestamp", "2024-01-31 23:59", "2024-01-31 24:00"),
        ("timestamp", "2024-01-31 23:59", "2024-01-31 23:59:60"),
        ("timestamp", "2024-01-31 23:59", "2024-01-31 23:59:00.1234567"),
        ("timestamp", "2024-01-31 23:59Z", "2024-01-31 23:59+15:00"),
        ("boolean", "", "truth"),
        ("boolean", "", "2"),
        ("text", "", "x" * 1_025),
        ("text", "", "a\0b"),
        ("text", "", ""),
        ("decimal", "1234.5", "0.1234567890123456789"),
    ],
)
def test_what_is_no_value_of_a_type_does_not_fit(kind: ColumnType, form: str, cell: str) -> None:
    assert read([cell], kind, form) == [None]


def test_nulls_and_empty_batches_are_read_as_nothing() -> None:
    for kind in TYPES:
        for form in FORMATS[kind]:
            for cells in (pa.array([], pa.string()), pa.array([None, None], pa.string())):
                values, fits = read_cells(cells, kind, form)
                assert len(values) == len(cells)
                assert not fits.any()


def test_booleans_and_zeros_have_one_value_for_all_their_spellings() -> None:
    assert read(["true", "T", "YES", "y", "1"], "boolean", "") == [True] * 5
    assert read(["False", "f", "no", "N", "0"], "boolean", "") == [False] * 5
    values, _ = read_cells(pa.array(["-0", "-0.0", "0"]), "decimal", "1234.5")
    assert not np.signbit(values).any()


def test_every_format_is_known() -> None:
    assert set(SHAPES) == set(DAY_FORMATS)
    assert {form.split(" ")[0] for form in TIME_FORMATS} <= set(DAY_FORMATS)
