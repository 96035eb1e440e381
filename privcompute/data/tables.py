"""Typed tables: what programs read, made of a file and its schema, cell by cell and without any coercion.

A cell goes this way: normalised, compared with the spellings of missing values, decoded by the coding, read
as its type, held against the domain. What the schema does not allow refuses the whole file, with column, row,
value, what is allowed, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from chain.primitives.values import Value, encode_value
from privcompute.data.batches import Cells, OpenedTable, SourceError
from privcompute.data.cells import TEXT_CHARS_MAX, as_flags, day_text, numpy_texts, read_cells
from privcompute.data.literals import BOOLEANS, MISSING, WORDS
from privcompute.data.normalisation import is_blank, normalise, step_of, trim
from privcompute.data.schema import Column, Schema, bound_value, listed
from privcompute.data.sources import DataSource, open_source

Flags = NDArray[np.bool_]


class CellRefused(SourceError):
    """A cell that the schema does not allow: the text names place, value, what is allowed, what to do."""

    code = "cell"


class IdentifiersRefused(SourceError):
    """Identifiers that are not distinct after typing and normalising: the text names the rows."""

    code = "identifiers"


@dataclass(frozen=True, slots=True)
class TypedTable:
    """Typed columns: int64, float64, bool, datetime64 in days or microseconds, or str objects."""

    schema: Schema
    data: dict[str, NDArray[Any]] = field(repr=False)
    """Where a mask is true: the mean, or MISSING, by the column's rule."""
    masks: dict[str, Flags] = field(repr=False)
    """Column -> which cells are missing, for columns where some are."""
    dropped: int = 0
    """Rows left out by the rule `drop-row`; they are no part of the dataset."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.data[self.schema.columns[0].name])

    @property
    def ids(self) -> list[str]:
        """Return the identifiers in row order, as text; raise SourceError when the schema has no key."""
        if not self.schema.key:
            raise SourceError("the schema has no key; a join needs identifiers")
        parts = [_key_texts(self.schema.column(name), self.data[name]) for name in self.schema.key]
        if len(parts) == 1:
            return parts[0]
        return ["".join([f"{len(part)}:{part}" for part in row]) for row in zip(*parts, strict=True)]

    def row_bytes(self) -> list[bytes]:
        """Return each row's canonical bytes: its cells in schema order, floats as shortest decimals."""
        cells = [self._canonical(column) for column in self.schema.columns]
        return [encode_value(list(row)) for row in zip(*cells, strict=True)]

    def _canonical(self, column: Column) -> list[Value]:
        data = self.data[column.name]
        counted = data.view(np.int64) if column.type in ("date", "timestamp") else data
        items: list[Any] = counted.tolist()
        if column.type == "decimal":
            items = [repr(item) for item in items]
        mask = self.masks.get(column.name)
        if mask is None:
            return items
        return [None if gone else item for item, gone in zip(items, mask.tolist(), strict=True)]


def _key_texts(column: Column, data: NDArray[Any]) -> list[str]:
    if column.type == "date":
        return [day_text(day) for day in data.view(np.int64).tolist()]
    return [str(item) for item in data.tolist()]


def read_table(source: DataSource, schema: Schema) -> TypedTable:
    """Read a whole source by its schema; raise SourceError at the first cell that does not fit."""
    return typed_table(open_source(source, schema.names, key=schema.key), schema)


def typed_table(opened: OpenedTable, schema: Schema) -> TypedTable:
    """Return the table of a schema whose columns are those that `opened` yields, in this order."""
    readers = [_ColumnReader(opened.where, column, column.name in schema.key) for column in schema.columns]
    rows = 0
    for batch in opened.batches:
        for reader, cells in zip(readers, batch.columns, strict=True):
            reader.take(cells, batch.first)
        rows = batch.first - 1 + len(batch.columns[0])
    if rows == 0:
        raise SourceError(f"{opened.where}: no rows below the header; a dataset needs at least one")
    return _finish(opened.where, schema, readers, rows)


def _finish(where: str, schema: Schema, readers: Sequence[_ColumnReader], rows: int) -> TypedTable:
    parts = [reader.finish() for reader in readers]
    kept = np.ones(rows, dtype=np.bool_)
    for column, (_, mask) in zip(schema.columns, parts, strict=True):
        if column.missing == "drop-row":
            kept &= ~mask
    if not kept.any():
        raise SourceError(
            f"{where}: no row is left, each has a missing cell in a column with rule 'drop-row'"
        )
    data, masks = {}, {}
    for column, (values, mask) in zip(schema.columns, parts, strict=True):
        data[column.name], gone = values[kept], mask[kept]
        if gone.any():
            data[column.name], masks[column.name] = _filled(where, column, data[column.name], gone), gone
    table = TypedTable(schema, data, masks, rows - int(kept.sum()))
    _check_distinct(where, table, np.flatnonzero(kept) + 1)
    return table


def _filled(where: str, column: Column, values: NDArray[Any], mask: Flags) -> NDArray[Any]:
    """Return a column whose missing cells are what its rule says (`mean` or `category`)."""
    filled = values.copy()
    if column.missing == "category":
        filled[mask] = MISSING
        return filled
    if mask.all():
        raise SourceError(f"{where}: column {column.name!r}: all cells are missing, there is no mean")
    filled[mask] = np.mean(values[~mask]) + 0.0
    return filled


def _check_distinct(where: str, table: TypedTable, numbers: NDArray[np.int64]) -> None:
    if not table.schema.key:
        return
    encoded = pc.dictionary_encode(pa.array(table.ids, pa.string()))
    if len(encoded.dictionary) == len(encoded):
        return
    places = encoded.indices.to_numpy()
    counts = np.bincount(places)
    value = int(np.flatnonzero(counts > 1)[0])
    rows = numbers[np.flatnonzero(places == value)[:2]].tolist()
    others = int((counts > 1).sum()) - 1
    also = f" ({others} more identifiers stand in several rows)" if others else ""
    raise IdentifiersRefused(
        f"{where}: key {listed(table.schema.key)}: rows {rows[0]} and {rows[1]} (below the header) hold the "
        f"same identifier {str(encoded.dictionary[value].as_py())[:60]!r} once typed and normalised{also}; "
        'identifiers are unique: keep one row of each, or, for codes with leading zeros, declare type "text"'
    )


class _ColumnReader:
    """Reads the cells of one column, batch by batch."""

    def __init__(self, where: str, column: Column, in_key: bool) -> None:
        self._where, self._column, self._in_key = where, column, in_key
        self._steps = [step for name in column.normalise if (step := step_of(name)) is not None]
        self._coding = dict(column.coding)
        self._low, self._high = (
            None if literal is None else bound_value(column, literal) for literal in (column.low, column.high)
        )
        self._values: list[NDArray[Any]] = []
        self._masks: list[Flags] = []

    def finish(self) -> tuple[NDArray[Any], Flags]:
        """Return (values, which are missing) of all batches."""
        return np.concatenate(self._values), np.concatenate(self._masks)

    def take(self, raw: Cells, first: int) -> None:
        """Read the cells of the rows from number `first` on."""
        column = self._column
        cells, made = self._prepared(raw)
        spellings = pa.array(column.missing_spellings, pa.string())
        missing = as_flags(pc.or_kleene(pc.is_null(cells), pc.is_in(cells, value_set=spellings))) & made
        if column.missing == "refuse" and missing.any():
            self._refuse(raw, first, missing, self._missing_remedy())
        present = pc.if_else(pa.array(~missing), cells, pa.scalar(None, pa.string()))
        values, fits = read_cells(self._decoded(present), column.type, column.form)
        misfit = ~(fits & made) & ~missing
        if misfit.any():
            self._refuse(raw, first, misfit, self._expected(made, misfit))
        self._check_domain(raw, first, values, ~missing)
        if self._in_key:
            self._check_visible(raw, first, cells)
        self._values.append(values)
        self._masks.append(missing)

    def _prepared(self, raw: Cells) -> tuple[Cells, Flags]:
        """Return the cells after the steps of normalisation, and of which of them these made something."""
        made = np.ones(len(raw), dtype=np.bool_)
        if not self._steps:
            return raw, made
        encoded = pc.dictionary_encode(raw)
        texts = encoded.dictionary.to_pylist()
        done = [self._normalised(text) for text in texts]
        places = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)
        if texts:
            known = np.array([text is not None for text in done], dtype=np.bool_)
            made = known[places] | as_flags(pc.is_null(raw))
        return pc.take(pa.array(done, pa.string()), encoded.indices), made

    def _normalised(self, text: str) -> str | None:
        spellings = self._column.missing_spellings
        if text in spellings or ("" in spellings and not trim(text)):
            return text if text in spellings else ""
        return normalise(text, self._steps)

    def _decoded(self, cells: Cells) -> Cells:
        if not self._coding:
            return cells
        encoded = pc.dictionary_encode(cells)
        texts = [self._coding.get(text, text) for text in encoded.dictionary.to_pylist()]
        return pc.take(pa.array(texts, pa.string()), encoded.indices)

    def _check_domain(self, raw: Cells, first: int, values: NDArray[Any], present: Flags) -> None:
        column = self._column
        if column.categories:
            inside = as_flags(pc.is_in(pa.array(values, pa.string()), value_set=pa.array(column.categories)))
            if (present & ~inside).any():
                said = f"one of {listed(column.categories)}"
                self._refuse(raw, first, present & ~inside, f"allowed is {said}; {_CORRECT}")
        elif column.type in WORDS and column.missing == "category":
            taken = present & (values == MISSING)
            if taken.any():
                self._refuse(raw, first, taken, f"{MISSING!r} stands for missing cells; {_CORRECT}")
        counted = values.view(np.int64) if column.type in ("date", "timestamp") else values
        outside = np.zeros(len(values), dtype=np.bool_)
        if self._low is not None:
            outside |= counted < self._low
        if self._high is not None:
            outside |= counted > self._high
        if (present & outside).any():
            said = f"{column.low or 'any'} to {column.high or 'any'}"
            self._refuse(
                raw, first, present & outside, f"allowed is {said} {column.unit}".rstrip() + f"; {_CORRECT}"
            )

    def _check_visible(self, raw: Cells, first: int, cells: Cells) -> None:
        """Refuse identifiers that look like others: blanks at their ends, invisible characters."""
        texts = numpy_texts(cells)
        odd = np.array([text is not None and _is_deceptive(text) for text in texts], dtype=np.bool_)
        if odd.any():
            self._refuse(
                raw,
                first,
                odd,
                "an identifier has no blanks at its ends, no invisible characters, and composed accents; "
                'declare normalise = ["trim", "nfc"] (or "spaces") for this column, at every owner',
            )

    def _refuse(self, raw: Cells, first: int, where: Flags, said: str) -> None:
        place = int(np.flatnonzero(where)[0])
        cell = raw[place].as_py()
        value = "empty" if cell is None or cell == "" else repr(cell[:60])
        more = int(where.sum()) - 1
        others = f" (and {more} more of the next {len(raw) - place - 1:,} rows)" if more else ""
        raise CellRefused(
            f"{self._where}: row {first + place} (below the header), column {self._column.name!r}: {value}"
            f"{others}: {said}"
        )

    def _missing_remedy(self) -> str:
        also = {"decimal": ' or "mean"'}.get(
            self._column.type, ' or "category"' * (self._column.type in WORDS)
        )
        if self._in_key:
            also = ""
        return f"the column's rule is 'refuse'; fill the cell, or declare missing = \"drop-row\"{also}"

    def _expected(self, made: Flags, misfit: Flags) -> str:
        column = self._column
        if not made[int(np.flatnonzero(misfit)[0])]:
            return f"normalise = {list(column.normalise)} makes nothing of it; {_CORRECT}"
        return f"expected {expected(column)}; {_CORRECT}, or declare its missing_spellings or coding"


_CORRECT = "correct the cell or remove the row"


def expected(column: Column) -> str:
    """Return what a cell of a column must be, in words."""
    if column.type in WORDS:
        return f"a text of 1 to {TEXT_CHARS_MAX} characters without NUL ({column.type})"
    if column.type == "boolean":
        return f"one of {', '.join(BOOLEANS)} in any case (boolean)"
    what = {
        "integer": "a whole number of at most 64 bits",
        "decimal": "a finite number of at most 17 significant digits",
        "date": "a day",
        "timestamp": "a time",
    }[column.type]
    return f"{what} written like {column.form!r} ({column.type})"


def _is_deceptive(text: str) -> bool:
    if text.isascii() and text.isprintable():
        return text[:1] == " " or text[-1:] == " "
    inner = any(is_blank(char) and char != " " for char in text)
    return inner or text != text.strip() or normalise(text, _NFC) != text


_NFC = [step for step in [step_of("nfc")] if step is not None]
