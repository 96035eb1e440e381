"""Tables while they are read: batches of cells as text, and the bounds that every reader keeps.

Whatever a file is, its cells come as text (None for a cell that holds nothing), with the type that the file
itself states for a column, if it states one. So a value means the same in a CSV and in a Parquet file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chain.primitives.errors import AssentError, Exit
from privcompute.data.literals import ColumnType
from privcompute.data.schema import listed, name_fault

BATCH_ROWS = 16_384
BATCH_CHARS = 67_108_864
"""Rows, and characters, that are in memory as text at once: whichever is reached first."""
Cells = Any
"""A `pyarrow.StringArray`: one column's cells of a batch, null where a cell holds nothing."""


class SourceError(AssentError):
    """Data that cannot be read, or do not fit their schema: the text names place, value and remedy."""

    code = "source"


class SourceUnreadable(SourceError):
    """Data that the disk or the system does not give: the text names the file, the reason and the remedy."""

    exit = Exit.IO


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a file may at most cost; beyond it the file is refused."""

    rows: int = 10_000_000
    """Also the most rows that another party may bring to a join."""
    columns: int = 16_384
    """Of the file, registered or not: as many as a sheet of a workbook has."""
    cell_bytes: int = 65_536
    """Of one cell, registered or not."""
    text_bytes: int = 16 * 2**30
    """Of all cells together, after decompression: 10^7 rows of 1.6 KiB."""
    seconds: float = 3_600.0
    """From opening to the last row."""


BOUNDS = Bounds()


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Consecutive rows; `first` is the number of the first one, counted from 1 below the header."""

    first: int
    columns: tuple[Cells, ...]


@dataclass(frozen=True, slots=True)
class OpenedTable:
    """A table whose header was read; `batches` reads the rest, once, and raises SourceError."""

    where: str
    """What errors call it: its path."""
    names: tuple[str, ...]
    """Of the columns that were asked for, in that order; batches have these."""
    stated: tuple[ColumnType | None, ...]
    """The type that the file itself states for each of them."""
    batches: Iterator[RowBatch]


class Meter:
    """Keeps the bounds of one reading; `clock` tells seconds."""

    __slots__ = ("_bounds", "_clock", "_deadline", "_text_bytes", "_where")

    def __init__(self, where: str, bounds: Bounds, clock: Callable[[], float]) -> None:
        self._where, self._bounds, self._clock = where, bounds, clock
        self._deadline = clock() + bounds.seconds
        self._text_bytes = 0

    def header(self, names: list[str]) -> tuple[str, ...]:
        """Return the names of the columns; raise SourceError when one could not be a column's name."""
        if not names:
            raise SourceError(f"{self._where}: no columns; the first line must name every column")
        if len(names) > self._bounds.columns:
            raise SourceError(
                f"{self._where}: {len(names)} columns, at most {self._bounds.columns}; keep those you need"
            )
        seen: dict[str, int] = {}
        for place, name in enumerate(names, 1):
            fault = name_fault(name)
            if fault is not None:
                raise SourceError(
                    f"{self._where}: the name of column {place}, {name[:80]!r}: {fault}; rename the column"
                )
            if name in seen:
                raise SourceError(
                    f"{self._where}: column {name!r} appears twice in the header, as column {seen[name]} "
                    f"and as column {place}; rename one"
                )
            seen[name] = place
        return tuple(names)

    def rows(self, count: int) -> None:
        """Raise SourceError when there are more rows than the bound."""
        if count > self._bounds.rows:
            raise SourceError(f"{self._where}: more than {self._bounds.rows} rows; split the dataset")

    def text(self, size: int) -> None:
        """Count bytes that were read, decompressed; raise SourceError beyond the bounds of size and time."""
        self._text_bytes += size
        if self._text_bytes > self._bounds.text_bytes:
            raise SourceError(
                f"{self._where}: more than {self._bounds.text_bytes} bytes when decompressed; split the "
                "dataset, or leave out columns"
            )
        if self._clock() > self._deadline:
            raise SourceError(
                f"{self._where}: not read within {self._bounds.seconds:.0f} s; split the dataset, or copy it "
                "to a faster disk"
            )

    def cell(self, size: int, place: str) -> None:
        """Raise SourceError for a cell larger than the bound; `place` says where it is."""
        if size > self._bounds.cell_bytes:
            raise SourceError(
                f"{self._where}: {place}: a cell of {size} bytes, at most {self._bounds.cell_bytes}; "
                "shorten it (a quote that is never closed makes one cell of all that follows)"
            )


def places_of(where: str, names: tuple[str, ...], wanted: Sequence[str] | None) -> tuple[int, ...]:
    """Return where the wanted columns stand, None means all; raise SourceError for missing ones."""
    if wanted is None:
        return tuple(range(len(names)))
    places = {name: place for place, name in enumerate(names)}
    missing = [name for name in wanted if name not in places]
    if missing:
        raise SourceError(
            f"{where}: column {listed(missing)} missing; the schema declares it, the file has "
            f"{listed(names)}: restore the column, or register a version without it"
        )
    return tuple(places[name] for name in wanted)
