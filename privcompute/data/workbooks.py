"""A sheet of an XLSX workbook, streamed row by row by openpyxl, within bounds that a hostile archive keeps.

A sheet has no types: each cell has its own, and a formula has the value that was computed last. What a
spreadsheet program already changed (leading zeros that were lost, days made of text) cannot be seen here.
"""

from __future__ import annotations

import zipfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, BinaryIO

import openpyxl
import pyarrow as pa

from chain.primitives.errors import AssentError
from chain.primitives.files import open_regular
from privcompute.data.batches import (
    BATCH_CHARS,
    BATCH_ROWS,
    Meter,
    OpenedTable,
    RowBatch,
    SourceError,
    SourceUnreadable,
    places_of,
)

EXPANDED_BYTES_MAX = 1_073_741_824
"""Of all parts of a workbook after decompression: a sheet of 1,048,576 rows of twenty cells."""
PARTS_MAX = 10_000
_EMPTY_ROWS_MAX = 10_000
"""Rows that hold nothing, after the last that does: sheets often have some with a format."""


def open_workbook(path: Path, sheet: str | None, wanted: Sequence[str] | None, meter: Meter) -> OpenedTable:
    """Open a sheet of a workbook; its first row names the columns. A workbook of one sheet needs no name."""
    session = _session(path, sheet)
    where, header = next(session)
    names = meter.header([_text(cell, where, 0, place) or "" for place, cell in enumerate(header, 1)])
    places = places_of(where, names, wanted)
    batches = _batches(where, session, names, places, meter)
    return OpenedTable(where, tuple(names[place] for place in places), (None,) * len(places), batches)


def _session(path: Path, sheet: str | None) -> Generator[Any, None, None]:
    """Yield (what errors call the sheet, cells of its header), then the cells of each row."""
    try:
        with open_regular(path) as file:
            _check_archive(path, file)
            with closing(
                openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
            ) as book:
                name = _sheet_name(path, [found.title for found in book.worksheets], sheet)
                rows = book[name].iter_rows(values_only=True)
                header = list(next(rows, ()))
                while header and header[-1] is None:
                    header.pop()
                yield f"{path}, sheet {name!r}", header
                yield from rows
    except OSError as error:
        raise SourceUnreadable(f"{path}: cannot be read ({error.strerror}); correct the path") from None
    except AssentError:
        raise
    except Exception as error:  # zipfile and openpyxl raise a dozen kinds for hostile bytes
        said = f"{type(error).__name__}: {error}"[:200]
        raise SourceError(
            f"{path}: no XLSX workbook that can be read ({said!r}); save it again, without a password"
        ) from None


def _check_archive(path: Path, file: BinaryIO) -> None:
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        expanded = sum(part.file_size for part in parts)  # no part yields more than it says
    if len(parts) > PARTS_MAX or expanded > EXPANDED_BYTES_MAX:
        raise SourceError(
            f"{path}: {len(parts)} parts of {expanded} bytes when decompressed, at most {PARTS_MAX} of "
            f"{EXPANDED_BYTES_MAX}; save the sheet as CSV"
        )
    file.seek(0)


def _sheet_name(path: Path, names: list[str], wanted: str | None) -> str:
    name = names[0] if wanted is None and len(names) == 1 else wanted
    if name not in names:
        shown = ", ".join(repr(found) for found in names[:8])
        raise SourceError(f"{path}: sheets are {shown}; say which one: --table SHEET")
    return name


def _batches(
    where: str, rows: Iterator[Any], names: tuple[str, ...], places: tuple[int, ...], meter: Meter
) -> Iterator[RowBatch]:
    first, empty, held = 1, 0, 0
    kept: list[list[str | None]] = []
    for number, row in enumerate(rows, 1):
        if all(cell is None for cell in row):
            empty += 1
            if empty > _EMPTY_ROWS_MAX:
                raise SourceError(f"{where}: more than {_EMPTY_ROWS_MAX} empty rows; delete them")
            continue
        _check_row(where, number, row, len(names), empty)
        cells = [
            _text(row[place] if place < len(row) else None, where, number, place + 1) for place in places
        ]
        kept.append(cells)
        held += sum(len(cell) for cell in cells if cell is not None)
        if len(kept) == BATCH_ROWS or held > BATCH_CHARS:
            yield _batch(first, kept, names, places, meter)
            first, held, kept = number + 1, 0, []
    if kept:
        yield _batch(first, kept, names, places, meter)


def _check_row(where: str, number: int, row: Sequence[Any], columns: int, empty: int) -> None:
    if empty:
        raise SourceError(
            f"{where}: row {number - empty} (below the header) is empty, and rows follow it; delete it"
        )
    beyond = [place for place, cell in enumerate(row[columns:], columns + 1) if cell is not None]
    if beyond:
        raise SourceError(
            f"{where}: row {number} (below the header) has a cell in column {beyond[0]}, the header has "
            f"{columns}; name the column, or delete the cell"
        )


def _text(cell: object, where: str, row: int, place: int) -> str | None:
    """Return a cell as text, in the spellings that `cells.py` reads."""
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int | float):
        return repr(cell)
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == time(0) else cell.isoformat(" ")
    if isinstance(cell, date):
        return cell.isoformat()
    raise SourceError(
        f"{where}: row {row} (below the header), column {place}: a {type(cell).__name__}, no number, "
        "day or text; write it as one of these"
    )


def _batch(
    first: int, rows: list[list[str | None]], names: tuple[str, ...], places: tuple[int, ...], meter: Meter
) -> RowBatch:
    meter.rows(first + len(rows) - 1)
    columns = []
    for place, cells in zip(places, zip(*rows, strict=True), strict=True):
        sizes = [len(cell or "") for cell in cells]
        meter.text(sum(sizes))
        meter.cell(max(sizes), f"row {first + sizes.index(max(sizes))}, column {names[place]!r}")
        columns.append(pa.array(cells, pa.string()))
    return RowBatch(first, tuple(columns))
