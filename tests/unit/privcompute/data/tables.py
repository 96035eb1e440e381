"""Writing small files and reading them by a schema, for the tests of data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from privcompute.data.proposals import ColumnProposal, propose
from privcompute.data.schema import Column, Schema, check_schema
from privcompute.data.sources import DataSource, open_source
from privcompute.data.tables import TypedTable, read_table

ID = Column("id", "text", "identifier")


def written(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    """Write a data file and return its path."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def typed(path: Path, *columns: Column, **said: str) -> TypedTable:
    """Read a file by these columns; identifiers among them make the key, in order."""
    key = tuple(column.name for column in columns if column.sensitivity == "identifier")
    return read_table(DataSource(path, **said), check_schema(Schema(columns, key)))


def proposed(path: Path, column: str, key: Sequence[str] = ()) -> ColumnProposal:
    """Return what is proposed for one column of a file."""
    found = propose(open_source(DataSource(path)), key)
    return next(one for one in found.columns if one.column.name == column)


def column_file(folder: Path, cells: Sequence[object], name: str = "table.csv") -> Path:
    """Write a file of two columns: id, and x with these cells, each in quotes."""
    quoted = [str(cell).replace('"', '""') for cell in cells]
    lines = [f'k{number},"{cell}"' for number, cell in enumerate(quoted, 1)]
    return written(folder, "id,x\n" + "\n".join(lines) + "\n", name)


def doubts(proposal: ColumnProposal) -> list[str]:
    """Return the codes of a proposal's doubts."""
    return [doubt.code for doubt in proposal.doubts]
