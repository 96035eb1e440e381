"""Data sources: where an owner's table lies, how its file is written, and the reader for it.

Nothing of a table leaves this process except through the MPC protocols; errors quote cells because only
the owner reads them, and what goes on chain is a reason code alone.

A reader is imported when a file of its kind is opened: all of them together would cost every command half a
second.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from privcompute.data.batches import BOUNDS, Bounds, Meter, OpenedTable, SourceError
from privcompute.data.text_files import DELIMITERS, ENCODINGS, is_text_file, open_text

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".arrows", ".ipc", ".feather")
DUCKDB = (".duckdb", ".db")
POSTGRES = (".postgres",)
WORKBOOKS = (".xlsx", ".xlsm")


@dataclass(frozen=True, slots=True)
class DataSource:
    """Location of a table, and what its file does not say itself."""

    path: Path
    table: str | None = None
    """Of a database, or the sheet of a workbook."""
    delimiter: str | None = None
    """Of a CSV file: one of DELIMITERS; None: what its suffix says."""
    encoding: str | None = None
    """Of a CSV file: one of ENCODINGS; None: UTF-8, or what its byte order mark says."""


def open_source(
    source: DataSource,
    wanted: Sequence[str] | None = None,
    *,
    key: Sequence[str] = (),
    bounds: Bounds = BOUNDS,
    clock: Callable[[], float] = time.monotonic,
) -> OpenedTable:
    """Open a table, all of its columns or the wanted ones; raise SourceError, here or while it is read.

    Rows have the order of the file; of a server, which promises none, that of the columns of `key`.
    """
    path, suffix = source.path, source.path.suffix.lower()
    meter = Meter(str(path), bounds, clock)
    if is_text_file(path):
        _check_words(source)
        return open_text(path, source.delimiter, source.encoding, wanted, meter)
    if source.delimiter is not None or source.encoding is not None:
        raise SourceError(f"{path}: delimiter and encoding are for CSV and TSV files; leave them out")
    if suffix in PARQUET:
        from privcompute.data.columnar_files import open_parquet

        return open_parquet(path, wanted, meter)
    if suffix in ARROW:
        from privcompute.data.columnar_files import open_arrow

        return open_arrow(path, wanted, meter)
    if suffix in DUCKDB:
        from privcompute.data.databases import open_duckdb

        return open_duckdb(path, source.table, wanted, meter)
    if suffix in POSTGRES:
        from privcompute.data.postgresql import open_postgres

        return open_postgres(path, source.table, wanted, key, meter)
    if suffix in WORKBOOKS:
        from privcompute.data.workbooks import open_workbook

        return open_workbook(path, source.table, wanted, meter)
    known = ".csv, .tsv (also with .gz), .parquet, .arrow, .feather, .xlsx, .duckdb or .postgres with a table"
    raise SourceError(f"{path}: unknown kind of file; use {known}")


def _check_words(source: DataSource) -> None:
    if source.delimiter is not None and source.delimiter not in DELIMITERS:
        known = ", ".join(DELIMITERS)
        raise SourceError(f"{source.path}: delimiter {source.delimiter!r}, allowed are {known}")
    if source.encoding is not None and source.encoding not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise SourceError(f"{source.path}: encoding {source.encoding!r}, allowed are {known}")
    if source.table is not None:
        raise SourceError(f"{source.path}: a table is for databases; leave it out")
