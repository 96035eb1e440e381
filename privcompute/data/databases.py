"""A table of a DuckDB database file, streamed as Arrow by a DuckDB that reads nothing but this file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from privcompute.data.batches import BATCH_ROWS, Meter, OpenedTable, SourceError, places_of
from privcompute.data.native_cells import read_batches, stated_type

MEMORY_LIMIT = "1GB"
SETTINGS = {
    "threads": "1",
    "memory_limit": MEMORY_LIMIT,
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
"""No code is ever fetched or loaded because a file mentions it."""


def open_duckdb(path: Path, table: str | None, wanted: Sequence[str] | None, meter: Meter) -> OpenedTable:
    """Open a table or view of a DuckDB file; a view that reads other files is refused."""
    if not path.is_file():
        raise SourceError(f"{path}: no such file; correct the path of this dataset")
    if table is None:
        raise SourceError(f"{path}: a database needs the name of a table: --table NAME")
    where = f"{path}, table {table!r}"
    session = _session(where, path, table)
    schema = next(session)
    places = places_of(where, meter.header(list(schema.names)), wanted)
    names = tuple(schema.names[place] for place in places)
    stated = tuple(stated_type(where, schema.names[place], schema.types[place]) for place in places)
    parts = (batch.select(list(places)) for batch in session)
    return OpenedTable(where, names, stated, read_batches(where, parts, names, meter))


def _session(where: str, path: Path, table: str) -> Iterator[Any]:
    """Yield the Arrow schema of a table, then its record batches; the database closes with it."""
    try:
        with duckdb.connect(":memory:", config=dict(SETTINGS)) as db:
            # ATTACH takes no parameter; these are the only words of the owner's that SQL holds, both quoted.
            db.execute(f"ATTACH {_quoted(str(path), chr(39))} AS source (READ_ONLY)")
            db.execute("SET enable_external_access = false")
            db.execute("SET lock_configuration = true")
            query = db.sql(f"SELECT * FROM source.{_quoted(table, chr(34))}")
            reader: Any = query.to_arrow_reader(BATCH_ROWS)
            yield reader.schema
            yield from reader
    except (duckdb.Error, pa.ArrowException) as error:
        raise _refusal(where, error) from None


def _quoted(words: str, mark: str) -> str:
    return mark + words.replace(mark, mark * 2) + mark


def _refusal(where: str, error: Exception) -> SourceError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return SourceError(f"{where}: {(lines or [type(error).__name__])[0][:300]}; correct it and try again")
