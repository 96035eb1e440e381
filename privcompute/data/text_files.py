"""CSV and TSV files, plain or gzipped, in a declared encoding: strict, streaming, with lines in errors.

Python's csv module splits the lines (RFC 4180, any mixture of line ends); what no reader should guess is
refused: a byte that the encoding does not have, a row with more or fewer cells than the header, a quote that
is not closed, an empty line in the midst.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa

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

ENCODINGS: Mapping[str, str] = {
    "utf-8": "utf-8-sig",
    "utf-16": "utf-16",
    "gbk": "gbk",
    "latin-1": "latin-1",
    "windows-1252": "cp1252",
}
"""Encoding that may be declared -> Python's codec. UTF-8 and UTF-16 may begin with a byte order mark; UTF-16
without one is read with the low byte first, as most computers write it."""
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
"""Word in commands and schema files -> the delimiter."""
SUFFIXES = {".csv": "comma", ".tsv": "tab", ".tab": "tab"}
GZIP = ".gz"
_BAD_BYTE = "\udcff"
"""Stands for bytes that the encoding does not have: no text in these encodings holds a lone surrogate."""
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LINE_CHARS_MAX = 16_777_216
"""Of one line: 16,384 cells of 1,024 characters."""


def _mark_bad(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return _BAD_BYTE, error.end
    raise error


codecs.register_error("assent-bad-byte", _mark_bad)


def is_text_file(path: Path) -> bool:
    """Return whether the name says CSV or TSV, gzipped or not."""
    return _suffix(path) in SUFFIXES


def _suffix(path: Path) -> str:
    name = path.name.lower().removesuffix(GZIP)
    return Path(name).suffix


def open_text(
    path: Path, delimiter: str | None, encoding: str | None, wanted: Sequence[str] | None, meter: Meter
) -> OpenedTable:
    """Open a CSV or TSV file; its suffix says the delimiter, its mark or UTF-8 the encoding."""
    separator = DELIMITERS[delimiter or SUFFIXES[_suffix(path)]]
    lines = _lines(path, encoding, meter)
    records = _records(path, lines, separator)
    _, header = next(records, (0, []))
    _check_delimiter(path, header, separator)
    names = meter.header(header)
    places = places_of(str(path), names, wanted)
    batches = _batches(path, records, names, places, meter)
    return OpenedTable(str(path), tuple(names[place] for place in places), (None,) * len(places), batches)


def _check_delimiter(path: Path, names: list[str], separator: str) -> None:
    others = [word for word, mark in DELIMITERS.items() if mark != separator and mark in "".join(names)]
    if len(names) == 1 and others:
        raise SourceError(
            f"{path}: the header is one column, {names[0][:80]!r}; if a {others[0]} separates the columns, "
            f"say so: --delimiter {others[0]}"
        )


def _lines(path: Path, encoding: str | None, meter: Meter) -> Iterator[str]:
    """Yield the lines of a file as text, each with its end; raise SourceError naming the line."""
    number = 0
    try:
        with open_regular(path) as raw:
            binary: Any = gzip.GzipFile(fileobj=raw) if path.name.lower().endswith(GZIP) else raw
            marked = binary.peek(2)[:2] in _UTF16_MARKS
            said = encoding or ("utf-16" if marked else "utf-8")
            codec = "utf-16-le" if said == "utf-16" and not marked else ENCODINGS[said]
            text = io.TextIOWrapper(binary, codec, errors="assent-bad-byte", newline="")
            while line := text.readline(_LINE_CHARS_MAX):
                number += 1
                meter.text(len(line))
                _check_line(f"{path}: line {number}", line, said)
                yield line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(
            f"{path}: line {number + 1}: gzip data are damaged or end early ({error}); copy the file again"
        ) from None
    except OSError as error:
        raise SourceUnreadable(f"{path}: cannot be read ({error.strerror}); correct the path") from None


def _check_line(where: str, line: str, encoding: str) -> None:
    if len(line) == _LINE_CHARS_MAX:
        raise SourceError(f"{where}: more than {_LINE_CHARS_MAX} characters; is it a text file?")
    if not line.isascii() and _BAD_BYTE in line:
        others = ", ".join(name for name in ENCODINGS if name != encoding)
        raise SourceError(
            f"{where}: bytes that are not {encoding}; if the file has another encoding, declare it "
            f"(--encoding, one of {others}), else correct the line"
        )


def _records(path: Path, lines: Iterator[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line where it begins, cells) of each record, the header first; empty lines only end a file."""
    reader = csv.reader(lines, delimiter=separator, strict=True)
    begin = empty = 0
    with closing(lines):  # type: ignore[type-var]
        try:
            while True:
                begin = reader.line_num + 1
                cells = next(reader, None)
                if cells is None:
                    return
                if not cells:
                    empty = empty or begin
                    continue
                if empty:
                    raise SourceError(f"{path}: line {empty} is empty, and rows follow it; remove the line")
                yield begin, cells
        except csv.Error as error:
            raise SourceError(
                f"{path}: line {begin}: {error}; correct the quotes of the row that begins there (a quote "
                "within a quoted cell is written twice)"
            ) from None


def _batches(
    path: Path,
    records: Iterator[tuple[int, list[str]]],
    names: tuple[str, ...],
    places: tuple[int, ...],
    meter: Meter,
) -> Iterator[RowBatch]:
    first, held = 1, 0
    rows: list[list[str]] = []
    for line, cells in records:
        if len(cells) != len(names):
            raise SourceError(
                f"{path}: line {line}: {len(cells)} cells, the header has {len(names)} columns; correct the "
                "row (a cell that holds the delimiter needs quotes)"
            )
        rows.append(cells)
        held += sum(map(len, cells))
        if len(rows) == BATCH_ROWS or held > BATCH_CHARS:
            yield _batch(first, rows, names, places, meter)
            first, held, rows = first + len(rows), 0, []
    if rows:
        yield _batch(first, rows, names, places, meter)


def _batch(
    first: int, rows: list[list[str]], names: tuple[str, ...], places: tuple[int, ...], meter: Meter
) -> RowBatch:
    meter.rows(first + len(rows) - 1)
    columns = []
    for place in places:
        cells = [row[place] for row in rows]
        longest = max(cells, key=len)
        meter.cell(len(longest), f"row {first + cells.index(longest)}, column {names[place]!r}")
        columns.append(pa.array(cells, pa.string()))
    return RowBatch(first, tuple(columns))
