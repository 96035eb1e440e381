"""A typed table is what its schema says, cell by cell; anything else refuses the file by name and place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chain.primitives.values import decode_value
from privcompute.data.batches import SourceError
from privcompute.data.literals import MISSING
from privcompute.data.schema import Column
from privcompute.data.tables import CellRefused, IdentifiersRefused
from tests.unit.privcompute.data.tables import ID, column_file, typed, written

NUMBER = Column("x", "decimal")


def test_every_type_has_its_own_kind_of_array(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "id,i,d,b,day,at,t,c\nk1,5,1.5,yes,2024-01-31,2024-01-31 10:00,x,u\n"
        "k2,-6,2,0,1969-12-31,1969-12-31 23:59,y,v\n",
    )
    kinds = (("i", "integer"), ("d", "decimal"), ("b", "boolean"), ("day", "date"), ("at", "timestamp"))
    words = (Column("t", "text"), Column("c", "category"))
    table = typed(path, ID, *[Column(name, kind) for name, kind in kinds], *words)  # type: ignore[arg-type]
    found = {name: (column.dtype.str, column.tolist()) for name, column in table.data.items()}
    assert found["i"] == ("<i8", [5, -6])
    assert found["d"] == ("<f8", [1.5, 2.0])
    assert found["b"] == ("|b1", [True, False])
    assert found["day"][0] == "<M8[D]"
    assert table.data["day"].astype(int).tolist() == [19_753, -1]
    assert table.data["at"].astype(int).tolist() == [1_706_695_200_000_000, -60_000_000]
    assert found["t"] == ("|O", ["x", "y"])
    row = decode_value(table.row_bytes()[1], max_bytes=1_000)
    assert row == ["k2", -6, "2.0", False, -1, -60_000_000, "y", "v"]


@pytest.mark.parametrize(
    ("column", "cell", "parts"),
    [
        (Column("x", "integer"), "1.5", ["'1.5'", "whole number", "integer"]),
        (Column("x", "integer"), "99999999999999999999", ["64 bits"]),
        (Column("x", "decimal"), "nan", ["'nan'", "finite"]),
        (Column("x", "decimal"), "1e999", ["finite"]),
        (Column("x", "decimal", format="1234,5"), "1.5", ["'1.5'", "'1234,5'"]),
        (Column("x", "boolean"), "maybe", ["'maybe'", "true, t, yes"]),
        (Column("x", "date"), "2024-02-30", ["'2024-02-30'", "'2024-01-31'"]),
        (Column("x", "date", format="01/31/2024"), "31/01/2024", ["'01/31/2024'"]),
        (Column("x", "decimal"), "", ["empty", "rule is 'refuse'", '"drop-row" or "mean"']),
        (Column("x", "category"), "", ['"drop-row" or "category"']),
        (Column("x", "decimal"), "NA", ["'NA'", "missing_spellings"]),
        (Column("x", "integer", low="0", high="9", unit="kg"), "10", ["'10'", "0 to 9 kg", "remove the row"]),
        (Column("x", "integer", low="0"), "-1", ["'-1'", "0 to any"]),
        (Column("x", "date", high="2023-12-31"), "2024-01-01", ["any to 2023-12-31"]),
        (Column("x", "timestamp", low="2024-01-01 12:00"), "2024-01-01 11:59:59.9", ["2024-01-01 12:00 to"]),
        (Column("x", "category", categories=("a", "b")), "c", ["'c'", "one of 'a', 'b'"]),
        (Column("x", "category", missing="category"), MISSING, ["stands for missing cells"]),
        (Column("x", "text"), "a\u202e\x1b" + "y" * 2_000, [r"a\u202e\x1by", "1024 characters"]),
        (Column("x", "integer"), "=1+1", ["'=1+1'"]),
        (Column("x", "text", normalise=("date:dmy",)), "x", ["normalise = ['date:dmy'] makes nothing of it"]),
        (Column("x", "boolean", coding=(("g", "true"),)), "h", ["'h'", "coding"]),
    ],
)  # fmt: skip
def test_a_cell_that_the_schema_does_not_allow_is_named_with_its_place_and_what_to_do(
    tmp_path: Path, column: Column, cell: str, parts: list[str]
) -> None:
    good = {
        "integer": "1",
        "decimal": "2",
        "boolean": "1",
        "date": "2023-01-02",
        "timestamp": "2024-01-01 13:00",
    }
    fine = good.get(column.type, "a")
    fine = {"1234,5": "1,5", "01/31/2024": "01/31/2024"}.get(column.format, fine)
    fine = "g" if column.coding else "1.2.2024" if column.normalise else fine
    path = column_file(tmp_path, [fine, cell, fine])
    with pytest.raises(CellRefused) as caught:
        typed(path, ID, column)
    assert str(caught.value).isprintable()
    for part in ["table.csv", "row 2 (below the header)", "column 'x'", *parts]:
        assert part in str(caught.value)


def test_a_cell_is_named_by_its_row_in_later_batches_too(tmp_path: Path) -> None:
    path = column_file(tmp_path, [*range(20_000), "x", 1, "y"])
    with pytest.raises(CellRefused, match=r"row 20001 .*'x' \(and 1 more of the next 2 rows\)"):
        typed(path, ID, NUMBER)


# --- missing cells -----------------------------------------------------------------------------------

GAPS = ["1", "NA", "4", "", "10"]


def test_missing_cells_become_the_mean_or_a_category_and_stay_marked(tmp_path: Path) -> None:
    path = column_file(tmp_path, GAPS)
    mean = typed(path, ID, replace(NUMBER, missing="mean", missing_spellings=("NA", "")))
    assert mean.data["x"].tolist() == [1.0, 5.0, 4.0, 5.0, 10.0]
    assert mean.masks["x"].tolist() == [False, True, False, True, False]
    words = typed(path, ID, Column("x", "category", missing="category", missing_spellings=("NA", "")))
    assert words.data["x"].tolist() == ["1", MISSING, "4", MISSING, "10"]
    for table in (mean, words):
        assert decode_value(table.row_bytes()[1], max_bytes=100) == ["k2", None]


def test_rows_with_missing_cells_are_dropped_by_rule_and_counted(tmp_path: Path) -> None:
    path = column_file(tmp_path, GAPS)
    table = typed(path, ID, replace(NUMBER, missing="drop-row", missing_spellings=("NA", "")))
    assert (table.ids, table.dropped, table.masks) == (["k1", "k3", "k5"], 2, {})
    assert table.data["x"].tolist() == [1.0, 4.0, 10.0]
    with pytest.raises(SourceError, match="no row is left"):
        typed(column_file(tmp_path, ["", ""]), ID, replace(NUMBER, missing="drop-row"))
    with pytest.raises(SourceError, match="all cells are missing"):
        typed(column_file(tmp_path, ["", ""]), ID, replace(NUMBER, missing="mean"))


def test_a_mean_is_taken_over_the_rows_that_stay(tmp_path: Path) -> None:
    path = written(tmp_path, "id,x,y\na,1,1\nb,3,1\nc,100,\nd,,1\n")
    table = typed(path, ID, replace(NUMBER, missing="mean"), Column("y", "integer", missing="drop-row"))
    assert table.data["x"].tolist() == [1.0, 3.0, 2.0]


def test_a_coding_says_what_codes_stand_for(tmp_path: Path) -> None:
    path = column_file(tmp_path, ["1", "2", "1"])
    words = typed(
        path, ID, Column("x", "category", coding=(("1", "good"), ("2", "bad")), categories=("bad", "good"))
    )
    assert words.data["x"].tolist() == ["good", "bad", "good"]
    flags = typed(path, ID, Column("x", "boolean", coding=(("1", "false"), ("2", "true"))))
    assert flags.data["x"].tolist() == [False, True, False]


# --- identifiers -------------------------------------------------------------------------------------


def test_identifiers_are_distinct_after_typing_and_normalising(tmp_path: Path) -> None:
    path = written(tmp_path, "id,x\n12,1\n5,1\n0012,2\n")
    assert typed(path, ID, NUMBER).ids == ["12", "5", "0012"]
    with pytest.raises(
        IdentifiersRefused, match=r"rows 1 and 3 .*'12'.*leading zeros, declare type \"text\""
    ):
        typed(path, replace(ID, type="integer"), NUMBER)
    with pytest.raises(IdentifiersRefused, match="rows 1 and 3"):
        typed(path, replace(ID, normalise=("leading-zeros",)), NUMBER)


@pytest.mark.parametrize(("left", "right", "steps"), [
    ("u1", "u1 ", ("trim",)), ("é", "e\u0301", ("nfc",)), ("AB", "ab", ("casefold",)),
    ("1\u200b", "1", ("trim",)),
])  # fmt: skip
def test_identifiers_that_mean_the_same_are_found_out(
    tmp_path: Path, left: str, right: str, steps: tuple[str, ...]
) -> None:
    path = written(tmp_path, f'id,x\n"{left}",1\n"{right}",2\n')
    with pytest.raises(IdentifiersRefused, match="rows 1 and 2"):
        typed(path, replace(ID, normalise=steps), NUMBER)


@pytest.mark.parametrize("cell", ["u1 ", " u1", "u1\u00a0", "u\u200b1", "e\u0301", "\ufeffu1"])
def test_an_identifier_that_only_looks_like_another_is_refused_unless_it_is_normalised(
    tmp_path: Path, cell: str
) -> None:
    path = written(tmp_path, f'id,x\na,1\n"{cell}",2\n')
    with pytest.raises(CellRefused, match=r"row 2 .*'id'.*normalise = \[\"trim\", \"nfc\"\]"):
        typed(path, ID, NUMBER)
    steps = ("spaces", "nfc")
    assert typed(path, replace(ID, normalise=steps), NUMBER).ids == ["a", "é" if "e" in cell else "u1"]


def test_rows_that_are_dropped_need_no_identifier_and_keep_the_numbers_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "id,x\n,1\na,1\n,2\na,3\n")
    column = replace(ID, missing="drop-row")
    with pytest.raises(IdentifiersRefused, match="rows 2 and 4"):
        typed(path, column, NUMBER)


def test_a_composite_key_is_told_apart_however_its_parts_are_cut(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\n1,12\n11,2\n1,2\n")
    left, right = Column("a", "text", "identifier"), Column("b", "integer", "identifier")
    assert typed(path, left, right).ids == ["1:12:12", "2:111:2", "1:11:2"]
    with pytest.raises(IdentifiersRefused, match="key 'a', 'b'"):
        typed(written(tmp_path, "a,b\n1,2\n1,02\n"), left, right)


def test_a_key_of_days_is_the_same_whatever_the_file_writes(tmp_path: Path) -> None:
    column = Column("id", "date", "identifier")
    ours = typed(written(tmp_path, "id,x\n2024-01-31,1\n"), column, NUMBER)
    theirs = typed(written(tmp_path, "id,x\n31.1.2024,1\n"), replace(column, format="31.01.2024"), NUMBER)
    assert ours.ids == theirs.ids == ["2024-01-31"]


def test_a_table_without_a_key_has_no_identifiers(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no key"):
        _ = typed(column_file(tmp_path, ["1"]), NUMBER).ids


def test_equal_values_have_equal_row_bytes(tmp_path: Path) -> None:
    rows = typed(written(tmp_path, "x\n1\n1.0\n+1e0\n"), NUMBER).row_bytes()
    assert len(set(rows)) == 1
    assert len(set(typed(written(tmp_path, "x\n0\n-0.0\n"), NUMBER).row_bytes())) == 1
    assert np.signbit(typed(written(tmp_path, "x\n0\n-0.0\n"), NUMBER).data["x"]).sum() == 0
