"""A table or view of a PostgreSQL server, streamed as Arrow by the ADBC driver from one read-only snapshot.

The server is named by a small TOML file whose name ends in .postgres: `uri = "postgresql://reader@host/database"`.
Passwords stay where libpq looks for them (~/.pgpass, a service file), and out of files and records of ours.
A server promises no order of rows, and the registered root needs one: rows come in the order of the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pydantic

from chain.primitives.errors import ConfigError
from chain.primitives.settings import Section, load_toml
from privcompute.data.batches import Meter, OpenedTable, SourceError, places_of
from privcompute.data.literals import ColumnType
from privcompute.data.native_cells import read_batches, stated_type

BATCH_BYTES_HINT = 4_194_304
"""Of what the driver gathers before it gives a batch."""
CONNECT_S = 10
SCHEMES = ("postgresql", "postgres")


def _check_uri(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.scheme not in SCHEMES:
        raise ValueError('an address such as "postgresql://reader@host:5432/database"')
    if parts.password is not None or "password" in parse_qs(parts.query):
        raise ValueError("an address without a password; write it into ~/.pgpass, which libpq reads")
    return uri


class ServerDocument(Section):
    """The file that names a server."""

    uri: Annotated[str, pydantic.Field(max_length=1_024), pydantic.AfterValidator(_check_uri)]
    statement_s: Annotated[int, pydantic.Field(ge=1, le=3_600)] = 3_600
    """Longest time that the server may work for one reading."""


def open_postgres(
    path: Path, table: str | None, wanted: Sequence[str] | None, key: Sequence[str], meter: Meter
) -> OpenedTable:
    """Open a table or view, `NAME` or `SCHEMA.NAME`; rows have the order of the key, or of all columns."""
    if table is None:
        raise SourceError(f"{path}: a server needs the name of a table: --table NAME, or SCHEMA.NAME")
    try:
        server = load_toml(path, ServerDocument)
    except ConfigError as error:
        raise SourceError(str(error)) from None
    where = f"{path}, table {table!r}"
    session = _session(where, server, table, wanted, key, meter)
    names, stated = next(session)
    return OpenedTable(where, names, stated, read_batches(where, session, names, meter))


def _session(
    where: str,
    server: ServerDocument,
    table: str,
    wanted: Sequence[str] | None,
    key: Sequence[str],
    meter: Meter,
) -> Iterator[Any]:
    """Yield (names, stated types) of the wanted columns, then record batches; the connection ends with it."""
    mark = "&" if "?" in server.uri else "?"
    try:
        with (
            adbc.connect(f"{server.uri}{mark}connect_timeout={CONNECT_S}") as connection,
            connection.cursor() as cursor,
        ):
            cursor.adbc_statement.set_options(
                **{"adbc.postgresql.batch_size_hint_bytes": str(BATCH_BYTES_HINT)}
            )
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute(f"SET LOCAL statement_timeout = {server.statement_s * 1_000}")
            source = ".".join(_quoted(part) for part in table.split(".", 1))
            cursor.execute(f"SELECT * FROM {source} LIMIT 0")
            fields = list(cursor.fetch_record_batch().schema)
            names = meter.header([field.name for field in fields])
            chosen = [fields[place] for place in places_of(where, names, wanted)]
            yield tuple(field.name for field in chosen), tuple(_stated(where, field) for field in chosen)
            order = ", ".join(
                f'{_quoted(name)}::text COLLATE "C"' for name in key or [f.name for f in chosen]
            )
            cursor.execute(f"SELECT {', '.join(map(_selected, chosen))} FROM {source} ORDER BY {order}")
            yield from cursor.fetch_record_batch()
    except (adbc.Error, pa.ArrowException) as error:
        said = " ".join(str(error).split())[:300]
        raise SourceError(
            f"{where}: {said!r}; correct the file, the table, or the rights of its user"
        ) from None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _selected(field: Any) -> str:
    """Return a column as it is asked for: what Arrow has no type of its own for comes as text."""
    name = _quoted(field.name)
    return f"{name}::text AS {name}" if _as_text(field) else name


def _as_text(field: Any) -> bool:
    padded = (field.metadata or {}).get(b"POSTGRESQL:type") == b"bpchar"  # blanks at its end mean nothing
    return padded or isinstance(field.type, pa.BaseExtensionType)


def _stated(where: str, field: Any) -> ColumnType | None:
    if isinstance(field.type, pa.BaseExtensionType):
        return "decimal" if getattr(field.type, "type_name", None) == "numeric" else None
    return stated_type(where, field.name, field.type)
