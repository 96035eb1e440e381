"""Parquet and Arrow IPC files (both the file and the stream format), read by Arrow in bounded batches."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from chain.primitives.files import open_regular
from privcompute.data.batches import (
    BATCH_ROWS,
    Meter,
    OpenedTable,
    RowBatch,
    SourceError,
    SourceUnreadable,
    places_of,
)
from privcompute.data.native_cells import read_batches, stated_type

_MAGIC = b"ARROW1"
"""Begins an Arrow file; a stream has none."""
_PARTS_MAX = 1_000_000
"""Batches of an Arrow file or row groups of a Parquet file: more hold nothing but headers."""


def open_parquet(path: Path, wanted: Sequence[str] | None, meter: Meter) -> OpenedTable:
    """Open a Parquet file; only the wanted columns are read."""
    return _open(path, _parquet_tables, wanted, meter)


def open_arrow(path: Path, wanted: Sequence[str] | None, meter: Meter) -> OpenedTable:
    """Open an Arrow IPC file or stream (Feather version 2 is such a file)."""
    return _open(path, _arrow_tables, wanted, meter)


Tables = tuple[Any, Callable[[list[int]], Iterator[Any]]]
"""(Arrow schema, what reads the columns of these places as record batches)."""
Opener = Callable[[BinaryIO, Meter], Tables]


def _open(path: Path, tables_of: Opener, wanted: Sequence[str] | None, meter: Meter) -> OpenedTable:
    session, where = _session(path, tables_of, meter), str(path)
    header, kinds = next(session)
    places = places_of(where, meter.header(header), wanted)
    names = tuple(header[place] for place in places)
    stated = tuple(stated_type(where, header[place], kinds[place]) for place in places)
    batches = read_batches(where, _tables(session, list(places)), names, meter)
    return OpenedTable(where, names, stated, _guarded(path, batches))


def _session(path: Path, tables_of: Opener, meter: Meter) -> Generator[Any, list[int], None]:
    """Yield (names, types); then, sent the places of columns, record batches. The file closes with it."""
    try:
        with open_regular(path) as file:
            schema, read = tables_of(file, meter)
            places = yield list(schema.names), list(schema.types)
            yield from read(places)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _refusal(path, error) from None


def _tables(session: Generator[Any, list[int], None], places: list[int]) -> Iterator[Any]:
    try:
        yield session.send(places)
    except StopIteration:
        return
    yield from session


def _guarded(path: Path, batches: Iterator[RowBatch]) -> Iterator[RowBatch]:
    try:
        yield from batches
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> SourceError:
    strerror = getattr(error, "strerror", None)
    said = strerror or (str(error).splitlines() or [type(error).__name__])[0][:200]
    kind = SourceUnreadable if strerror else SourceError
    return kind(f"{path}: cannot be read ({said!r}); correct the path, or write the file again")


def _parquet_tables(file: BinaryIO, meter: Meter) -> Tables:
    first = pa.parquet.ParquetFile(file)
    schema, metadata = first.schema_arrow, first.metadata
    meter.rows(metadata.num_rows)
    if metadata.num_row_groups > _PARTS_MAX:
        raise ValueError(f"{metadata.num_row_groups} row groups, at most {_PARTS_MAX}")
    # Texts stay dictionaries: a long one that is repeated is seen before it is spread over all rows.
    words = [name for name, kind in zip(schema.names, schema.types, strict=True) if pa.types.is_string(kind)]
    opened = pa.parquet.ParquetFile(file, metadata=metadata, read_dictionary=words)

    def read(places: list[int]) -> Iterator[Any]:
        names = [schema.names[place] for place in places]
        for batch in opened.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
            yield batch.select(names)

    return schema, read


def _arrow_tables(file: BinaryIO, meter: Meter) -> Tables:
    is_file = file.peek(len(_MAGIC))[: len(_MAGIC)] == _MAGIC  # type: ignore[attr-defined]
    opened = pa.ipc.open_file(file) if is_file else pa.ipc.open_stream(file)

    def read(places: list[int]) -> Iterator[Any]:
        count = opened.num_record_batches if is_file else _PARTS_MAX
        for number in range(min(count, _PARTS_MAX)):
            try:
                batch = opened.get_batch(number) if is_file else opened.read_next_batch()
            except StopIteration:
                return
            meter.text(batch.nbytes)
            yield batch.select(places)
        if count > _PARTS_MAX or not is_file:
            raise ValueError(f"more than {_PARTS_MAX} batches")

    return opened.schema, read
