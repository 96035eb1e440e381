"""Data sources: what fits a schema is read exactly, and what does not is refused by name and place."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest

from privcompute.data.sources import Column, DataSource, SourceError, infer_columns, read_table

ID = Column("id", "str", "identifier")
COLUMNS = (ID, Column("age", "int"), Column("income", "float"), Column("town", "str"))
GOOD = "id,age,income,town\na1,30,1.5,Bonn\na2,41,-2e3,Köln\n"


def source(folder: Path, text: str, columns: tuple[Column, ...] = COLUMNS) -> DataSource:
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return DataSource(path, columns)


def refusal(folder: Path, text: str, columns: tuple[Column, ...] = COLUMNS) -> str:
    with pytest.raises(SourceError) as caught:
        read_table(source(folder, text, columns))
    return str(caught.value)


def test_a_fitting_file_is_read_exactly(tmp_path: Path) -> None:
    table = read_table(source(tmp_path, GOOD))
    assert table.ids == ["a1", "a2"]
    assert table.data["age"].dtype == np.int64
    assert table.data["age"].tolist() == [30, 41]
    assert table.data["income"].tolist() == [1.5, -2000.0]
    assert table.data["town"].tolist() == ["Bonn", "Köln"]


def test_columns_beyond_the_schema_are_ignored_and_order_does_not_matter(tmp_path: Path) -> None:
    table = read_table(source(tmp_path, "secret,age,id\nx,1,b\n", (ID, Column("age", "int"))))
    assert set(table.data) == {"id", "age"}


def test_parquet_and_database_tables_give_the_rows_of_the_csv(tmp_path: Path) -> None:
    expected = read_table(source(tmp_path, GOOD)).row_bytes()
    csv, parquet, database = tmp_path / "table.csv", tmp_path / "t.parquet", tmp_path / "t.duckdb"
    with duckdb.connect(str(database)) as db:
        db.execute(f"CREATE TABLE people AS SELECT * FROM read_csv('{csv}')")
        db.execute(f"COPY people TO '{parquet}' (FORMAT parquet)")
    assert read_table(DataSource(parquet, COLUMNS)).row_bytes() == expected
    assert read_table(DataSource(database, COLUMNS, "people")).row_bytes() == expected


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("id,age,town\na,1,x\n", ["'income'", "missing", "'age'"]),
        ("id,age,income,town\na,1,1,x\nb,old,1,x\n", ["row 2", "'age'", "'old'", "int", "correct"]),
        ("id,age,income,town\na,1.5,1,x\n", ["row 1", "'age'", "'1.5'", "int"]),
        ("id,age,income,town\na,1,nan,x\n", ["row 1", "'income'", "'nan'", "float"]),
        ("id,age,income,town\na,1,1e999,x\n", ["row 1", "'income'", "'1e999'", "finite"]),
        ("id,age,income,town\na,,1,x\n", ["row 1", "'age'", "empty"]),
        ("id,age,income,town\na,99999999999999999999,1,x\n", ["row 1", "'age'", "64 bits"]),
        ("id,age,income,town\n,1,1,x\n", ["row 1", "'id'", "empty"]),
        ("id,age,income,town\na,1,1,x\nb,2,1,x\na,3,1,x\n", ["'a'", "row 1", "row 3", "unique"]),
        ("id,age,income,town\n", ["no rows"]),
        ("", ["first line"]),
        ("id,age,age,town\na,1,1,x\n", ["'age'", "twice"]),
        ("id,age,income,town\na,1,1\n", ["Line: 2", "Found: 3"]),
        ('id,age,income,town\n"a,1,1,x\n', ["unterminated"]),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(tmp_path: Path, text: str, parts: list[str]) -> None:
    message = refusal(tmp_path, text)
    assert "table.csv" in message
    for part in parts:
        assert part in message


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"id,age\n\xff\xfe,1\n")
    with pytest.raises(SourceError, match=r"table\.csv"):
        read_table(DataSource(path, (ID, Column("age", "int"))))


def test_a_missing_file_a_pattern_and_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.xls").write_text("x")
    (tmp_path / "t[1].csv").write_text(GOOD)
    for name, reason in (("no.csv", "no such file"), ("t.xls", "unknown kind"), ("t[1].csv", "rename")):
        with pytest.raises(SourceError, match=reason):
            read_table(DataSource(tmp_path / name, COLUMNS))


def test_a_hostile_column_name_stays_a_name(tmp_path: Path) -> None:
    name = """a"; DROP TABLE staged; --'x"""
    quoted = name.replace('"', '""')
    table = read_table(source(tmp_path, f'"{quoted}"\n7\n', (Column(name, "int"),)))
    assert table.data[name].tolist() == [7]


def test_the_schema_is_inferred_from_every_cell(tmp_path: Path) -> None:
    found = infer_columns(source(tmp_path, GOOD, ()), "id")
    assert [(column.name, column.type) for column in found] == [
        ("id", "str"),
        ("age", "int"),
        ("income", "float"),
        ("town", "str"),
    ]
    with pytest.raises(SourceError, match="'nr'"):
        infer_columns(source(tmp_path, GOOD, ()), "nr")


def test_equal_numbers_have_equal_row_bytes(tmp_path: Path) -> None:
    columns = (Column("x", "float"),)
    assert len(set(read_table(source(tmp_path, "x\n1\n1.0\n+1e0\n", columns)).row_bytes())) == 1
    assert len(set(read_table(source(tmp_path, "x\n0\n-0.0\n", columns)).row_bytes())) == 1


def test_booleans_and_days_are_numbers(tmp_path: Path) -> None:
    columns = (Column("ok", "bool"), Column("day", "date"))
    table = read_table(source(tmp_path, "ok,day\ntrue,1970-01-02\n0,1969-12-31\n", columns))
    assert table.data["ok"].tolist() == [1, 0]
    assert table.data["day"].tolist() == [1, -1]
    assert "'maybe'" in refusal(tmp_path, "ok,day\nmaybe,1970-01-02\n", columns)
    assert "YYYY-MM-DD" in refusal(tmp_path, "ok,day\n1,1970-02-30\n", columns)


@pytest.mark.parametrize("name", ["\n", "line", "c1", "rowid", "cell", "staged", 'a"; DROP TABLE staged; --'])
def test_no_name_of_a_column_meets_the_words_of_our_queries(tmp_path: Path, name: str) -> None:
    path, quoted = tmp_path / "t.parquet", name.replace('"', '""')
    with duckdb.connect() as db:
        db.execute(f"CREATE TABLE t AS SELECT * FROM (VALUES (8, 'x'), (7, 'y')) AS v(\"{quoted}\", other)")
        db.execute(f"COPY t TO '{path}' (FORMAT parquet)")
    table = read_table(DataSource(path, (Column(name, "int"), Column("other", "str", "identifier"))))
    assert table.data[name].tolist() == [8, 7]
    assert table.ids == ["x", "y"]
    inferred = infer_columns(DataSource(path, ()), "other")
    assert [(column.name, column.type) for column in inferred] == [(name, "int"), ("other", "str")]


def test_names_that_differ_in_case_alone_are_two_columns(tmp_path: Path) -> None:
    table = read_table(source(tmp_path, "Age,age\n1,2\n", (Column("Age", "int"), Column("age", "int"))))
    assert (table.data["Age"].tolist(), table.data["age"].tolist()) == ([1], [2])
