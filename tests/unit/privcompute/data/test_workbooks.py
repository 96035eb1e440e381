"""A sheet of a workbook gives the rows of the same CSV; hostile archives end at a bound."""

from __future__ import annotations

import contextlib
import zipfile
from datetime import datetime, time
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privcompute.data import workbooks
from privcompute.data.batches import Bounds, SourceError
from privcompute.data.proposals import propose
from privcompute.data.schema import Column, Schema, check_schema
from privcompute.data.sources import DataSource, open_source
from privcompute.data.tables import read_table
from tests.unit.privcompute.data.tables import ID, doubts, proposed, written

HEADER = ["id", "n", "x", "b", "day", "at"]
ROWS = [
    ["0012", 1, 1.5, True, datetime(2024, 1, 31), datetime(2024, 1, 31, 10, 0, 1)],
    ["ü", -2, 2, False, datetime(1969, 12, 31), datetime(1969, 12, 31, 23, 59)],
]
CSV = """id,n,x,b,day,at
0012,1,1.5,true,2024-01-31,2024-01-31 10:00:01
ü,-2,2,0,1969-12-31,1969-12-31 23:59
"""


def book(folder: Path, rows: list[list[object]], *more: str, name: str = "t.xlsx") -> Path:
    """Write a workbook whose first sheet has these rows."""
    made = openpyxl.Workbook()
    assert made.active is not None
    for row in rows:
        made.active.append(row)
    for title in more:
        made.create_sheet(title)
    made.save(folder / name)
    return folder / name


def refusal(path: Path, sheet: str | None = None, bounds: Bounds | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        list(open_source(DataSource(path, sheet), bounds=bounds or Bounds()).batches)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_sheet_gives_the_rows_of_the_csv_and_is_proposed_without_doubts(tmp_path: Path) -> None:
    path = book(tmp_path, [HEADER, *ROWS])
    proposal = propose(open_source(DataSource(path)), ["id"])
    assert not proposal.doubtful
    schema = check_schema(proposal.schema)
    kinds = [column.type for column in schema.columns]
    assert kinds == ["text", "integer", "decimal", "boolean", "date", "timestamp"]
    expected = read_table(DataSource(written(tmp_path, CSV)), schema)
    assert read_table(DataSource(path), schema).row_bytes() == expected.row_bytes()


def test_a_missing_cell_and_an_error_of_a_formula_are_missing_cells(tmp_path: Path) -> None:
    found = proposed(book(tmp_path, [["x"], [1], ["#N/A"], [3]]), "x")
    assert (found.column.type, dict(found.spellings), doubts(found)) == (
        "integer",
        {"#N/A": 1},
        ["missing_cells"],
    )
    path = book(tmp_path, [["id", "x"], ["a", None], ["b", 2]])
    table = read_table(DataSource(path), Schema((ID, Column("x", "decimal", missing="mean")), ("id",)))
    assert table.data["x"].tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ([], "no columns"),
        ([["id", None, "x"], ["a", 1, 2]], "column 2"),
        ([["id", "id"], ["a", 1]], "twice"),
        ([["id", "x"], ["a", 1, 2]], "row 1 (below the header) has a cell in column 3"),
        ([["id", "x"], ["a", 1], [], ["b", 2]], "row 2 (below the header) is empty"),
        ([["id", "x"], ["a", time(10, 30)]], "row 1 (below the header), column 2: a time"),
    ],
)
def test_a_sheet_that_is_no_table_is_refused_with_its_row(
    tmp_path: Path, rows: list[list[object]], part: str
) -> None:
    assert part in refusal(book(tmp_path, rows))


def test_a_workbook_of_several_sheets_needs_the_name_of_one(tmp_path: Path) -> None:
    path = book(tmp_path, [HEADER, *ROWS], "other")
    assert "sheets are 'Sheet', 'other'; say which one: --table SHEET" in refusal(path)
    assert "sheets are" in refusal(path, "nobody")
    assert propose(open_source(DataSource(path, "Sheet")), ["id"]).rows == 2


@pytest.mark.parametrize(
    ("bounds", "part"),
    [
        (Bounds(rows=1), "more than 1 rows"),
        (Bounds(columns=2), "6 columns, at most 2"),
        (Bounds(cell_bytes=5), "a cell of"),
        (Bounds(text_bytes=20), "more than 20 bytes"),
    ],
)
def test_every_bound_holds_for_a_sheet(tmp_path: Path, bounds: Bounds, part: str) -> None:
    assert part in refusal(book(tmp_path, [HEADER, *ROWS]), bounds=bounds)


def test_a_zip_bomb_is_refused_before_anything_of_it_is_decompressed(tmp_path: Path) -> None:
    path = book(tmp_path, [HEADER, *ROWS])
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("xl/x.xml", "w", force_zip64=True) as part,
    ):
        for _ in range(65):
            part.write(bytes(2**24))
    assert path.stat().st_size < 2_000_000
    assert "when decompressed, at most" in refusal(path)


def with_sheet(path: Path, target: Path, xml: str) -> Path:
    """Copy a workbook with another first sheet."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for part in old.namelist():
            new.writestr(part, xml if part == "xl/worksheets/sheet1.xml" else old.read(part))
    return target


SHEET = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>{}</sheetData></worksheet>'
CELL = '<row r="{row}"><c r="{at}" t="inlineStr"><is><t>{text}</t></is></c></row>'


def test_a_cell_at_the_far_end_of_a_sheet_costs_neither_memory_nor_patience(tmp_path: Path) -> None:
    """Readers that lay a sheet out as a rectangle need room for 17 billion cells here."""
    far = CELL.format(row=1, at="A1", text="id") + CELL.format(row=1_048_576, at="XFD1048576", text="x")
    path = with_sheet(book(tmp_path, [HEADER]), tmp_path / "far.xlsx", SHEET.format(far))
    assert "empty rows" in refusal(path)


def test_entities_of_a_hostile_sheet_are_not_expanded_without_end(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    xml = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]>'
    body = SHEET.format(CELL.format(row=1, at="A1", text="&l11;"))
    path = with_sheet(book(tmp_path, [HEADER]), tmp_path / "laughs.xlsx", xml + body)
    assert "no XLSX workbook that can be read" in refusal(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_are_refused_or_read_never_a_crash(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "t.xlsx"
    if not path.exists():
        book(tmp_path, [HEADER, *ROWS], name="good.xlsx")
    raw = bytearray((tmp_path / "good.xlsx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    with contextlib.suppress(SourceError):
        list(open_source(DataSource(path), bounds=Bounds(rows=1_000)).batches)


@pytest.mark.parametrize("raw", [b"", b"PK", b"\xd0\xcf\x11\xe0" + bytes(600)])
def test_what_is_no_workbook_is_refused_by_name(tmp_path: Path, raw: bytes) -> None:
    assert "no XLSX workbook" in refusal(written(tmp_path, raw, "t.xlsx"))


def test_an_archive_of_very_many_parts_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbooks, "PARTS_MAX", 3)
    assert "parts of" in refusal(book(tmp_path, [HEADER]))
