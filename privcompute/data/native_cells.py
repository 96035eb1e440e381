"""Cells of files that state types (Parquet, Arrow, databases), in the spellings that `cells.py` reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from privcompute.data.batches import BATCH_CHARS, BATCH_ROWS, Cells, Meter, RowBatch, SourceError
from privcompute.data.literals import ColumnType

_STATED: tuple[tuple[str, ColumnType], ...] = (
    ("is_boolean", "boolean"),
    ("is_integer", "integer"),
    ("is_floating", "decimal"),
    ("is_decimal", "decimal"),
    ("is_date", "date"),
    ("is_timestamp", "timestamp"),
    ("is_string", "text"),
    ("is_large_string", "text"),
    ("is_string_view", "text"),
)


def stated_type(where: str, name: str, kind: Any) -> ColumnType | None:
    """Return the type that an Arrow type states, None for all nulls; SourceError for one without text."""
    if pa.types.is_dictionary(kind):
        inner = stated_type(where, name, kind.value_type)
        return "category" if inner == "text" else inner
    if pa.types.is_null(kind):
        return None
    for test, stated in _STATED:
        if getattr(pa.types, test)(kind):
            return stated
    raise SourceError(
        f"{where}: column {name!r} has type {str(kind)[:80]!r}, of which no column can be made; name the "
        "other columns in a schema file, or write the column as text or numbers"
    )


def read_batches(where: str, tables: Iterator[Any], names: Sequence[str], meter: Meter) -> Iterator[RowBatch]:
    """Yield Arrow record batches, which have these columns in this order, as text, in bounded batches."""
    first = 1
    for table in tables:
        table.validate(full=True)  # offsets of a hostile file may point anywhere
        for start in range(0, table.num_rows, BATCH_ROWS):
            part = table.slice(start, BATCH_ROWS)
            meter.rows(first + part.num_rows - 1)
            columns = tuple(
                as_text(where, name, first, column, meter)
                for name, column in zip(names, part.columns, strict=True)
            )
            yield RowBatch(first, columns)
            first += part.num_rows


def as_text(where: str, name: str, first: int, column: Any, meter: Meter) -> Cells:
    """Return one column of a batch as text; `first` is the number of its first row."""
    if pa.types.is_dictionary(column.type):  # judged before it is spread over all rows
        values = _spelt(column.dictionary)
        longest = pc.max(pc.binary_length(values)).as_py() or 0
        if longest * len(column) > BATCH_CHARS:
            raise SourceError(
                f"{where}: column {name!r}: values of {longest} bytes, repeated; shorten them or leave it out"
            )
        text = pc.take(values, column.indices)
    else:
        text = _spelt(column)
    _check_size(name, first, text, meter)
    return text


def _spelt(column: Any) -> Cells:
    kind = column.type
    zoned = pa.types.is_timestamp(kind) and kind.tz is not None
    return (column.cast(pa.timestamp(kind.unit, "UTC")) if zoned else column).cast(pa.string())


def _check_size(name: str, first: int, text: Cells, meter: Meter) -> None:
    sizes = pc.binary_length(text)
    meter.text(pc.sum(sizes).as_py() or 0)
    longest = pc.max(sizes).as_py() or 0
    row = first + (pc.index(sizes, longest).as_py() if longest else 0)
    meter.cell(longest, f"row {row}, column {name!r}")
