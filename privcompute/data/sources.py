"""Data sources: an owner's tables, which DuckDB reads and the registered schema checks cell by cell.

Nothing of a table leaves this process except through the MPC protocols; errors quote cells because only
the owner reads them, and what goes on chain is a reason code alone.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import duckdb
import numpy as np
from numpy.typing import NDArray

from chain.primitives.errors import AssentError
from chain.primitives.values import Value, encode_value

ROWS_MAX = 10_000_000
COLUMNS_MAX = 1_000
HEADER_CHARS_MAX = 262_144
TEXT_CHARS_MAX = 1_024
MEMORY_LIMIT = "1GB"

ColumnType = Literal["int", "float", "str", "bool", "date"]
Sensitivity = Literal["public", "internal", "personal", "sensitive", "identifier"]
IDENTIFIER: Sensitivity = "identifier"
TYPES: tuple[ColumnType, ...] = get_args(ColumnType)
SENSITIVITIES: tuple[Sensitivity, ...] = get_args(Sensitivity)
_EXPECTED = {
    "int": "a whole number of at most 64 bits (int)",
    "float": "a finite number (float)",
    "str": f"a non-empty text of at most {TEXT_CHARS_MAX} characters (str)",
    "bool": "one of 0, 1, true, false (bool)",
    "date": "a day as YYYY-MM-DD (date)",
}
_PATTERNS = {
    "int": r"[+-]?[0-9]+",
    "float": r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?",
    "bool": r"0|1|true|false",
    "date": r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
}
_CASTS = {
    "int": "TRY_CAST({} AS BIGINT)",
    "float": "TRY_CAST({} AS DOUBLE)",
    "str": "{}",
    "bool": "CAST(TRY_CAST({} AS BOOLEAN) AS BIGINT)",
    "date": "date_diff('day', DATE '1970-01-01', TRY_CAST({} AS DATE))",
}


class SourceError(AssentError):
    """A data source that does not fit its schema: the text names file, row, column, value and remedy."""

    code = "source"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a schema as it is registered on chain."""

    name: str
    type: ColumnType
    sensitivity: Sensitivity = "personal"
    """`identifier` marks the column that rows are matched by."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """Location and schema of a dataset: a CSV or Parquet file, or one table of a DuckDB database."""

    path: Path
    columns: tuple[Column, ...]
    table: str | None = None

    @property
    def id_column(self) -> str | None:
        """The name of the identifier column, None for data without one."""
        return next((column.name for column in self.columns if column.sensitivity == IDENTIFIER), None)


@dataclass(frozen=True, slots=True)
class Table:
    """Checked columns: int64 for `int`, `bool` (0, 1) and `date` (days since 1970), float64, str objects."""

    columns: tuple[Column, ...]
    data: dict[str, NDArray[Any]] = field(repr=False)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.data[self.columns[0].name])

    @property
    def ids(self) -> list[str]:
        """The identifiers in row order as text; raises SourceError when the schema has none."""
        for column in self.columns:
            if column.sensitivity == IDENTIFIER:
                return [str(item) for item in self.data[column.name].tolist()]
        raise SourceError("the schema has no identifier column; a join needs one")

    def row_bytes(self) -> list[bytes]:
        """Return each row's canonical bytes: its cells in schema order, floats as shortest decimals."""
        cells = [_canonical_cells(column, self.data[column.name]) for column in self.columns]
        return [encode_value(list(row)) for row in zip(*cells, strict=True)]


def _canonical_cells(column: Column, data: NDArray[Any]) -> list[Value]:
    items: list[Any] = data.tolist()
    return [repr(item + 0.0) for item in items] if column.type == "float" else items


def read_table(source: DataSource) -> Table:
    """Read and check a whole source; raise SourceError at the first cell that does not fit."""
    if not 1 <= len(source.columns) <= COLUMNS_MAX:
        raise SourceError(
            f"{source.path}: {len(source.columns)} columns in the schema, need 1..{COLUMNS_MAX}"
        )
    with _connect(source) as db:
        names = _stage(db, source)
        _check_columns(source, names)
        _check_row_count(db, source)
        data = {
            column.name: _read_column(db, source, column, f"c{names.index(column.name)}")
            for column in source.columns
        }
    return Table(source.columns, data)


def infer_columns(source: DataSource, id_column: str | None) -> tuple[Column, ...]:
    """Return a schema for every column of the file: the first of int, float, date that every cell fits."""
    with _connect(source) as db:
        names = _stage(db, source)
        if id_column is not None and id_column not in names:
            raise SourceError(
                f"{source.path}: no column {id_column!r} for the identifiers; it has {_listed(names)}"
            )
        _check_row_count(db, source)
        return tuple(
            Column(name, "str", IDENTIFIER)
            if name == id_column
            else Column(name, _infer_type(db, f"c{position}"))
            for position, name in enumerate(names)
        )


def _infer_type(db: duckdb.DuckDBPyConnection, staged: str) -> ColumnType:
    kinds: tuple[ColumnType, ...] = ("int", "float", "date")
    for kind in kinds:
        query = f"SELECT count(*) FROM staged WHERE NOT coalesce({_fits(kind, staged)}, false)"
        if _one(db, query) == 0:
            return kind
    return "str"


def _connect(source: DataSource) -> duckdb.DuckDBPyConnection:
    path = source.path
    if not path.is_file():
        raise SourceError(f"{path}: no such file; correct the path of this dataset")
    if re.search(r"[*?\[]", str(path)):
        raise SourceError(f"{path}: the path holds one of * ? [; rename it, a dataset is one file")
    return duckdb.connect(":memory:", config={"threads": 1, "memory_limit": MEMORY_LIMIT})


# --- staging: names of columns end here --------------------------------------------------------------
#
# The table `staged` has the columns `line` (row numbers from 1) and c0, c1, … (cells as text), whatever the
# source calls its columns. So every later query is made of our own words alone. Of the owner's words, SQL
# holds the path of a database (DuckDB's ATTACH takes no parameter) and the name of its table, both quoted.


def _stage(db: duckdb.DuckDBPyConnection, source: DataSource) -> list[str]:
    """Load the source as text into the table `staged`; return the source's names of c0, c1, …"""
    suffix = source.path.suffix.lower()
    try:
        if suffix == ".csv":
            return _stage_csv(db, source.path)
        if suffix in (".parquet", ".pq"):
            return _stage_relation(db, source.path, "read_parquet($path)", {"path": str(source.path)})
        if suffix in (".duckdb", ".db"):
            return _stage_database(db, source)
    except duckdb.Error as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        text = "; ".join(line for line in lines[:3] if not line.startswith("Possible"))
        raise SourceError(f"{source.path}: {text}; correct the file and try again") from None
    raise SourceError(f"{source.path}: unknown kind of file; use .csv, .parquet, or .duckdb with a table")


def _stage_csv(db: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    header = _csv_header(path)
    declared = ", ".join(f"c{position}: 'VARCHAR'" for position in range(len(header)))
    relation = (
        f"read_csv($path, columns={{{declared}}}, auto_detect=false, header=true, delim=',', "
        """quote='"', escape='"', strict_mode=true)"""
    )
    _stage_relation(db, path, relation, {"path": str(path)})
    return header


def _csv_header(path: Path) -> list[str]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            line = file.readline(HEADER_CHARS_MAX)
    except UnicodeDecodeError:
        raise SourceError(f"{path}: not UTF-8 text; save the file as UTF-8 CSV") from None
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    names = next(csv.reader([line]), [])
    if not names or not all(names):
        raise SourceError(f"{path}: the first line must name every column, separated by commas")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise SourceError(f"{path}: column {doubled[0]!r} appears twice in the first line; rename one")
    return names


def _stage_database(db: duckdb.DuckDBPyConnection, source: DataSource) -> list[str]:
    if source.table is None:
        raise SourceError(f"{source.path}: a database needs the name of a table")
    path = str(source.path).replace("'", "''")
    table = source.table.replace('"', '""')
    db.execute(f"ATTACH '{path}' AS source (READ_ONLY)")
    return _stage_relation(db, source.path, f'source."{table}"', {})


def _stage_relation(
    db: duckdb.DuckDBPyConnection, path: Path, relation: str, parameters: dict[str, str]
) -> list[str]:
    described = db.execute(f"SELECT * FROM {relation} LIMIT 0", parameters).description
    names = [str(item[0]) for item in described or []]
    if len(names) > COLUMNS_MAX:
        raise SourceError(f"{path}: {len(names)} columns, at most {COLUMNS_MAX}; keep those you register")
    staged = ", ".join(f"c{position}" for position in range(len(names)))
    db.execute(
        f"CREATE TEMP TABLE staged AS SELECT row_number() OVER () AS line, {staged} "
        f"FROM (SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {relation}) AS cells({staged})",
        parameters,
    )
    return names


def _check_columns(source: DataSource, present: list[str]) -> None:
    names = [column.name for column in source.columns]
    missing = [name for name in names if name not in present]
    if missing:
        raise SourceError(
            f"{source.path}: column {_listed(missing)} missing; the schema needs it, the file has "
            f"{_listed(present)}: restore the column or register a new version without it"
        )
    if sum(column.sensitivity == IDENTIFIER for column in source.columns) > 1:
        raise SourceError(f"{source.path}: more than one identifier column in the schema; keep one")


def _check_row_count(db: duckdb.DuckDBPyConnection, source: DataSource) -> None:
    count = _one(db, "SELECT count(*) FROM staged")
    if not 1 <= count <= ROWS_MAX:
        fault = "no rows below the header" if count == 0 else f"{count} rows, at most {ROWS_MAX}"
        raise SourceError(f"{source.path}: {fault}; a dataset needs 1..{ROWS_MAX} rows")


def _read_column(
    db: duckdb.DuckDBPyConnection, source: DataSource, column: Column, staged: str
) -> NDArray[Any]:
    misfit = db.execute(
        f"SELECT line, {staged} FROM staged WHERE NOT coalesce({_fits(column.type, staged)}, false) "
        "ORDER BY line LIMIT 1"
    ).fetchone()
    if misfit is not None:
        value = "empty" if misfit[1] is None else repr(misfit[1][:60])
        raise SourceError(
            f"{source.path}: row {misfit[0]} (below the header), column {column.name!r}: {value}, expected "
            f"{_EXPECTED[column.type]}; correct the cell or remove the row"
        )
    if column.sensitivity == IDENTIFIER:
        _check_distinct(db, source, column, staged)
    cast = _CASTS[column.type].format(staged)
    fetched = db.execute(f"SELECT {cast} AS cell FROM staged ORDER BY line").fetchnumpy()["cell"]
    return np.asarray(np.ma.getdata(fetched))


def _check_distinct(db: duckdb.DuckDBPyConnection, source: DataSource, column: Column, staged: str) -> None:
    doubled = db.execute(
        f"SELECT {staged}, min(line), max(line) FROM staged GROUP BY {staged} HAVING count(*) > 1 "
        "ORDER BY min(line) LIMIT 1"
    ).fetchone()
    if doubled is not None:
        raise SourceError(
            f"{source.path}: column {column.name!r}: identifier {doubled[0][:60]!r} stands in row "
            f"{doubled[1]} and again in row {doubled[2]}; identifiers are unique, remove one row"
        )


def _fits(kind: ColumnType, staged: str) -> str:
    """Return a SQL condition: the cell is of this type (DuckDB alone would round '1.5' to an int)."""
    if kind == "str":
        return f"(length({staged}) BETWEEN 1 AND {TEXT_CHARS_MAX})"
    cast = _CASTS[kind].format(staged)
    holds = f"coalesce(isfinite({cast}), false)" if kind == "float" else f"{cast} IS NOT NULL"
    return f"(regexp_full_match({staged}, '{_PATTERNS[kind]}') AND {holds})"


def _one(db: duckdb.DuckDBPyConnection, query: str) -> int:
    row = db.execute(query).fetchone()
    return int(row[0]) if row else 0


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
