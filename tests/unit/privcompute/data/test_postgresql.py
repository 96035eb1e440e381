"""A table of a real PostgreSQL server gives the rows of the same CSV, in the order of the key."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import pytest

from privcompute.data.batches import Bounds, SourceError
from privcompute.data.proposals import propose
from privcompute.data.schema import Column, Schema, check_schema
from privcompute.data.sources import DataSource, open_source
from privcompute.data.tables import read_table
from tests.unit.privcompute.data.tables import ID, written

PLACES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
FOUND = shutil.which("initdb") or (str(PLACES[0]) if PLACES else None)
pytestmark = pytest.mark.skipif(FOUND is None, reason="no PostgreSQL: scripts/setup --with postgres")
ANOTHER = "postgres" if os.getuid() == 0 else None
"""PostgreSQL refuses to run as root; its package makes this user."""

UUIDS = ["00000000-0000-0000-0000-00000000000" + digit for digit in "12"]
TABLE = [
    "CREATE TABLE people (id text, n int, x float8, m numeric(10, 2), b bool, d date, t timestamp, "
    "z timestamptz, c char(4), u uuid)",
    "INSERT INTO people VALUES ('ü', -2, 'nan', -3.25, false, '1969-12-31', '1969-12-31 23:59', "
    f"'2024-01-31 11:00+01', 'v', '{UUIDS[1]}')",
    "INSERT INTO people VALUES ('0012', 1, 1.5, 1.50, true, '2024-01-31', '2024-01-31 10:00:01.5', "
    f"'2024-01-31 10:00Z', 'uu', '{UUIDS[0]}')",
    "CREATE SCHEMA other",
    'CREATE VIEW other."odd ""name" AS SELECT id, n + 1 AS n FROM people',
]
CSV = f"""id,n,x,m,b,d,t,z,c,u
0012,1,1.5,1.50,true,2024-01-31,2024-01-31 10:00:01.5,2024-01-31 10:00Z,uu,{UUIDS[0]}
ü,-2,nan,-3.25,false,1969-12-31,1969-12-31 23:59,2024-01-31 10:00Z,v,{UUIDS[1]}
"""
SCHEMA = check_schema(
    Schema(
        (
            ID,
            Column("n", "integer"),
            Column("x", "decimal", missing="mean", missing_spellings=("nan",)),
            Column("m", "decimal"),
            Column("b", "boolean"),
            Column("d", "date"),
            Column("t", "timestamp"),
            Column("z", "timestamp", format="2024-01-31 23:59Z"),
            Column("c", "category"),
            Column("u", "text"),
        ),
        ("id",),
    )
)


def as_server(*words: str) -> None:
    done = subprocess.run(
        words, user=ANOTHER, cwd="/", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def uri() -> Iterator[str]:
    """A server of its own on a socket file."""
    assert FOUND is not None
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as name:
        folder, control = Path(name), str(Path(FOUND).with_name("pg_ctl"))
        if ANOTHER:
            shutil.chown(folder, ANOTHER)
        data = str(folder / "data")
        as_server(FOUND, "-D", data, "-A", "trust", "-U", "owner", "--no-sync", "-E", "UTF8", "--locale=C")
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        as_server(control, "-D", data, "-o", options, "-w", "-t", "60", "-l", str(folder / "log"), "start")
        try:
            yield f"postgresql:///postgres?host={folder}&user=owner"
        finally:
            as_server(control, "-D", data, "-m", "immediate", "-w", "stop")


@pytest.fixture(scope="module")
def people(uri: str) -> str:
    """The address of a server that holds the table of people."""
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        for statement in TABLE:
            cursor.execute(statement)
        connection.commit()
    return uri


def source(folder: Path, uri: str, table: str | None = "people") -> DataSource:
    return DataSource(written(folder, f'uri = "{uri}"\n', "server.postgres"), table)


def test_a_server_gives_the_rows_of_the_csv_in_the_order_of_the_key(tmp_path: Path, people: str) -> None:
    expected = read_table(DataSource(written(tmp_path, CSV)), SCHEMA)
    table = read_table(source(tmp_path, people), SCHEMA)
    assert table.ids == ["0012", "ü"]
    assert table.row_bytes() == expected.row_bytes()


def test_rows_that_moved_inside_the_server_keep_their_root(tmp_path: Path, uri: str) -> None:
    with adbc.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE moved AS SELECT 'k' || i AS id, i AS n FROM generate_series(1, 2000) AS s(i)"
        )
        connection.commit()
        before = [read_table(source(tmp_path, uri, "moved"), schema).row_bytes() for schema in both()]
        cursor.execute("UPDATE moved SET n = n WHERE n % 3 = 0")
        connection.commit()
        after = [read_table(source(tmp_path, uri, "moved"), schema).row_bytes() for schema in both()]
    assert before == after


def both() -> list[Schema]:
    """A schema with a key, and one without."""
    number = Column("n", "integer")
    return [Schema((ID, number), ("id",)), Schema((number,))]


def test_the_types_of_the_server_are_proposed(tmp_path: Path, people: str) -> None:
    proposal = propose(open_source(source(tmp_path, people)), ["id"])
    found = {column.name: column.type for column in proposal.schema.columns}
    assert found == {column.name: column.type for column in SCHEMA.columns} | {"c": "text"}
    assert [one.column.name for one in proposal.columns if one.doubts] == ["x"]


def test_a_view_in_a_schema_of_any_name_is_read(tmp_path: Path, people: str) -> None:
    table = read_table(source(tmp_path, people, 'other.odd "name'), both()[0])
    assert table.data["n"].tolist() == [2, -1]


@pytest.mark.parametrize(
    ("table", "part"),
    [
        (None, "--table NAME"),
        ("nobody", "nobody"),
        ('people"; DROP TABLE people; --', "does not exist"),
        ("people; DROP TABLE people", "does not exist"),
    ],
)
def test_a_table_that_is_none_is_named_and_never_a_command(
    tmp_path: Path, people: str, table: str | None, part: str
) -> None:
    with pytest.raises(SourceError, match=r"server\.postgres") as caught:
        open_source(source(tmp_path, people, table))
    assert part in str(caught.value)
    assert read_table(source(tmp_path, people), SCHEMA).rows == 2


def test_a_view_that_would_write_is_refused_by_the_read_only_snapshot(tmp_path: Path, people: str) -> None:
    with adbc.connect(people) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE seen (n int)")
        cursor.execute(
            "CREATE FUNCTION note() RETURNS int AS 'INSERT INTO seen VALUES (1) RETURNING n' LANGUAGE sql"
        )
        cursor.execute("CREATE VIEW writes AS SELECT note() AS n")
        connection.commit()
    with pytest.raises(SourceError, match="read-only transaction"):
        read_table(source(tmp_path, people, "writes"), both()[1])


def test_bounds_hold_for_a_server(tmp_path: Path, people: str) -> None:
    for bounds, part in ((Bounds(rows=1), "more than 1 rows"), (Bounds(columns=2), "10 columns, at most 2")):
        with pytest.raises(SourceError, match=part):
            list(open_source(source(tmp_path, people), bounds=bounds).batches)


@pytest.mark.parametrize(
    ("uri", "part"),
    [
        ("postgresql://u:secret@h/d", "without a password"),
        ("postgresql://h/d?password=secret", "without a password"),
        ("mysql://h/d", "an address such as"),
        ("postgresql:///d?host=/nowhere&user=u", "server.postgres"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused(tmp_path: Path, uri: str, part: str) -> None:
    with pytest.raises(SourceError, match=r"server\.postgres") as caught:
        open_source(source(tmp_path, uri))
    assert part in str(caught.value)
