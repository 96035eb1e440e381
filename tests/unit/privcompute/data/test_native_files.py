"""Parquet, Arrow and DuckDB give the rows of the same CSV; no hostile file harms; no code is fetched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privcompute.data.batches import Bounds, SourceError
from privcompute.data.databases import SETTINGS
from privcompute.data.proposals import propose
from privcompute.data.schema import Column, Schema, check_schema
from privcompute.data.sources import DataSource, open_source
from privcompute.data.tables import read_table
from tests.unit.privcompute.data.tables import ID, doubts, typed, written

TABLE = pa.table(
    {
        "id": ["a1", "0012", "ü"],
        "n": pa.array([1, -2, 3], pa.int32()),
        "x": [1.5, 1e20, 0.1],
        "m": [Decimal("1.50"), Decimal("2.00"), Decimal("-3.25")],
        "b": [True, False, True],
        "d": [date(2024, 1, 31), date(1969, 12, 31), date(1, 1, 1)],
        "t": pa.array([datetime(2024, 1, 31, 10, 0, 1, 5)] * 3, pa.timestamp("us")),
        "z": pa.array([datetime(2024, 1, 31, 10)] * 3, pa.timestamp("ns", "Europe/Berlin")),
        "c": pa.array(["u", "v", "u"]).dictionary_encode(),
    }
)
SCHEMA = check_schema(
    Schema(
        (
            ID,
            Column("n", "integer"),
            Column("x", "decimal"),
            Column("m", "decimal"),
            Column("b", "boolean"),
            Column("d", "date"),
            Column("t", "timestamp"),
            Column("z", "timestamp", format="2024-01-31 23:59Z"),
            Column("c", "category"),
        ),
        ("id",),
    )
)
CSV = """id,n,x,m,b,d,t,z,c
a1,1,1.5,1.50,true,2024-01-31,2024-01-31 10:00:01.000005,2024-01-31 10:00Z,u
0012,-2,1e+20,2,0,1969-12-31,2024-01-31T10:00:01.000005,2024-01-31 11:00+01:00,v
ü,3,.1,-3.25,Y,0001-01-01,2024-01-31 10:00:01.000005,2024-01-31T10:00:00Z,u
"""


def write_file(path: Path, table: pa.Table) -> None:
    with pa.ipc.new_file(path, table.schema) as sink:
        sink.write_table(table)


def write_stream(path: Path, table: pa.Table) -> None:
    with pa.ipc.new_stream(path, table.schema) as sink:
        sink.write_table(table, max_chunksize=max(2, table.num_rows // 4 - 1))


def write_duckdb(path: Path, table: pa.Table) -> None:
    with duckdb.connect(str(path)) as db:
        db.register("given", table)
        db.execute("CREATE TABLE people AS SELECT * FROM given")


WRITERS: dict[str, Callable[[Path, pa.Table], object]] = {
    "t.parquet": lambda path, table: pa.parquet.write_table(table, path),
    "small.parquet": lambda path, table: pa.parquet.write_table(table, path, row_group_size=1),
    "t.arrow": write_file,
    "s.arrows": write_stream,
    "t.feather": lambda path, table: pa.feather.write_feather(table, path, compression="zstd"),
    "t.duckdb": write_duckdb,
}


def source(path: Path) -> DataSource:
    return DataSource(path, "people" if path.suffix == ".duckdb" else None)


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_rows_of_the_csv(tmp_path: Path, name: str) -> None:
    expected = read_table(DataSource(written(tmp_path, CSV)), SCHEMA)
    WRITERS[name](tmp_path / name, TABLE)
    table = read_table(source(tmp_path / name), SCHEMA)
    assert table.row_bytes() == expected.row_bytes()
    assert table.ids == expected.ids == ["a1", "0012", "ü"]


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_states_types_is_proposed_with_them_and_without_doubts(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name, TABLE)
    proposal = propose(open_source(source(tmp_path / name)), ["id"])
    assert not proposal.doubtful
    kinds = [column.type for column in proposal.schema.columns]
    assert kinds[:-1] == [column.type for column in SCHEMA.columns][:-1]
    assert read_table(source(tmp_path / name), check_schema(proposal.schema)).rows == 3


@pytest.mark.parametrize("name", WRITERS)
def test_rows_are_in_the_order_of_the_file_whatever_its_batches(tmp_path: Path, name: str) -> None:
    count = 40_000
    table = pa.table({"x": pa.array(range(count)), "id": [f"k{number}" for number in range(count)]})
    WRITERS[name](tmp_path / name, table.slice(0, count if "small" not in name else 50))
    read = read_table(source(tmp_path / name), Schema((ID, Column("x", "integer")), ("id",)))
    assert read.data["x"].tolist() == list(range(read.rows))
    assert read.ids[-1] == f"k{read.rows - 1}"


@pytest.mark.parametrize("name", WRITERS)
def test_a_null_and_a_nan_are_missing_cells_with_their_own_spellings(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name, pa.table({"x": [1.0, None, float("nan")]}))
    found = propose(open_source(source(tmp_path / name)), []).columns[0]
    assert (found.column.type, dict(found.spellings), doubts(found)) == (
        "decimal", {"": 1, "nan": 1}, ["missing_cells"],
    )  # fmt: skip
    column = Column("x", "decimal", missing="mean", missing_spellings=("nan",))
    read = read_table(source(tmp_path / name), Schema((column,)))
    assert read.data["x"].tolist() == [1.0, 1.0, 1.0]
    assert read.masks["x"].tolist() == [False, True, True]


def test_a_text_column_that_holds_numbers_is_doubtful(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"x": ["1", "2.5"], "zip": ["0012", "0870"]}), tmp_path / "t.parquet")
    found = propose(open_source(DataSource(tmp_path / "t.parquet")), []).columns
    assert [(one.column.type, doubts(one)) for one in found] == [("text", ["numbers_as_text"]), ("text", [])]


@pytest.mark.parametrize("cells", [[[1], [2]], [{"a": 1}, {"a": 2}], [b"x", b"y"]])
def test_a_column_that_is_no_column_of_cells_is_refused_only_where_it_is_wanted(
    tmp_path: Path, cells: list[Any]
) -> None:
    path = tmp_path / "t.parquet"
    pa.parquet.write_table(pa.table({"id": ["a", "b"], "x": cells}), path)
    assert read_table(DataSource(path), Schema((ID,), ("id",))).ids == ["a", "b"]
    with pytest.raises(SourceError, match="column 'x' has type"):
        open_source(DataSource(path))


# --- bounds and hostile files ------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("bounds", "part"),
    [
        (Bounds(rows=2), "more than 2 rows"),
        (Bounds(columns=1), "2 columns, at most 1"),
        (Bounds(cell_bytes=99), "column 'x': a cell of 100 bytes, at most 99"),
        (Bounds(text_bytes=250), "more than 250 bytes"),
    ],
)
def test_every_bound_holds_for_every_kind_of_file(
    tmp_path: Path, name: str, bounds: Bounds, part: str
) -> None:
    WRITERS[name](tmp_path / name, pa.table({"id": ["a", "b", "c"], "x": ["y" * 100] * 3}))
    with pytest.raises(SourceError) as caught:
        list(open_source(source(tmp_path / name), bounds=bounds).batches)
    assert part in str(caught.value)


def test_a_long_text_that_a_file_repeats_is_refused_before_it_is_spread_over_the_rows(tmp_path: Path) -> None:
    """60,000 bytes stand once in the file and 16,384 times in a batch: a gigabyte."""
    path = tmp_path / "t.parquet"
    pa.parquet.write_table(pa.table({"x": pa.array(["y" * 60_000] * 20_000).dictionary_encode()}), path)
    assert path.stat().st_size < 200_000
    with pytest.raises(SourceError, match="values of 60000 bytes, repeated"):
        list(open_source(DataSource(path)).batches)


@pytest.mark.parametrize("name", [name for name in WRITERS if not name.endswith("duckdb")])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_are_refused_or_read_never_a_crash(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    path = tmp_path / name
    WRITERS[name](path, TABLE)
    raw = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(len(raw) // 2, len(raw)))])
    with contextlib.suppress(SourceError):
        list(open_source(DataSource(path), bounds=Bounds(rows=1_000)).batches)


@pytest.mark.parametrize("suffix", ["parquet", "arrow", "arrows", "feather", "duckdb"])
@pytest.mark.parametrize("raw", [b"", b"PAR1", b"ARROW1", b"\xff" * 100, b"PAR1" * 50])
def test_what_is_no_such_file_is_refused_by_name(tmp_path: Path, suffix: str, raw: bytes) -> None:
    path = written(tmp_path, raw, f"t.{suffix}")
    with pytest.raises(SourceError, match=f"t.{suffix}"):
        list(open_source(source(path)).batches)


@pytest.mark.parametrize("name", ["\n", "a b", 'a"; DROP TABLE people; --', "rowid", "select", "Age"])
def test_no_name_of_a_column_or_table_meets_the_words_of_a_query(tmp_path: Path, name: str) -> None:
    path, quoted = tmp_path / "o'brien.duckdb", name.replace('"', '""')
    with duckdb.connect(str(path)) as db:
        db.execute(f'CREATE TABLE "{quoted}" AS SELECT 7 AS x, 8 AS "{quoted}y"')
    found = read_table(DataSource(path, name), Schema((Column("x", "integer"),))) if name != "\n" else None
    if found is None:
        with pytest.raises(SourceError, match="do not print"):
            open_source(DataSource(path, name))
    else:
        assert found.data["x"].tolist() == [7]


def test_names_that_differ_in_case_alone_are_two_columns(tmp_path: Path) -> None:
    table = typed(written(tmp_path, "x,X\n1,2\n"), Column("x", "integer"), Column("X", "integer"))
    assert (table.data["x"].tolist(), table.data["X"].tolist()) == ([1], [2])


def test_a_database_names_its_table_and_a_missing_one_is_named(tmp_path: Path) -> None:
    write_duckdb(tmp_path / "t.duckdb", TABLE)
    with pytest.raises(SourceError, match="--table NAME"):
        open_source(DataSource(tmp_path / "t.duckdb"))
    with pytest.raises(SourceError, match="'nobody'"):
        open_source(DataSource(tmp_path / "t.duckdb", "nobody"))
    with pytest.raises(SourceError, match="no such file"):
        open_source(DataSource(tmp_path / "no.duckdb", "t"))


def test_a_view_reads_nothing_but_its_own_database(tmp_path: Path) -> None:
    secret = written(tmp_path, "password\nhunter2\n", "secret.csv")
    with duckdb.connect(str(tmp_path / "t.duckdb")) as db:
        db.execute(f"CREATE VIEW people AS SELECT * FROM read_csv('{secret}')")
        db.execute("CREATE TABLE real AS SELECT 1 AS x")
        db.execute("CREATE VIEW own AS SELECT x + 1 AS x FROM real")
    with pytest.raises(SourceError) as caught:
        list(open_source(DataSource(tmp_path / "t.duckdb", "people")).batches)
    assert "hunter2" not in str(caught.value)


def test_no_extension_of_a_database_is_downloaded_or_loaded(tmp_path: Path) -> None:
    """A view that needs an extension is refused as such, and the settings that would fetch it are off."""
    with duckdb.connect(":memory:", config=dict(SETTINGS)) as db:
        rows = db.execute(
            "SELECT name, value FROM duckdb_settings() WHERE name IN "
            "('autoinstall_known_extensions', 'autoload_known_extensions') ORDER BY name"
        ).fetchall()
        assert rows == [("autoinstall_known_extensions", "false"), ("autoload_known_extensions", "false")]
        db.execute(f"SET extension_directory = '{tmp_path / 'extensions'}'")
        with pytest.raises(duckdb.Error):
            db.execute("SELECT * FROM sqlite_scan('a.db', 't')")
    assert not (tmp_path / "extensions").exists()
