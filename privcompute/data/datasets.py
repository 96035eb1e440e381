"""Registered dataset versions as their owner keeps them: source, schema, salt seed and root.

The record is written before the registration is sent, so that a registered root can always be opened.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from chain.primitives.errors import AssentError
from chain.primitives.files import read_bounded
from privcompute.data.commitments import SEED_BYTES, RowCommitment, commit_rows
from privcompute.data.private_files import write_private
from privcompute.data.sources import (
    SENSITIVITIES,
    TYPES,
    Column,
    DataSource,
    Table,
    infer_columns,
    read_table,
)

RECORD_BYTES_MAX = 1_048_576
ID_PATTERN = r"[a-z0-9][a-z0-9._-]{0,63}"
"""What the system contracts take as an id."""
DATASET_PATTERN = rf"{ID_PATTERN}/[a-z0-9][a-z0-9._-]{{0,62}}"
"""A dataset's id: its owner and a name; a grant's is its requester and a name."""
_SEPARATOR = "+"
"""Stands for the slash in file names: no id holds it, so that two ids never share a file."""


class DatasetError(AssentError):
    """A dataset whose local record or data do not match what is registered: the text says what to do."""

    code = "dataset"


class DatasetIdInvalid(AssentError):
    """A dataset id that the ledger would refuse, and that must never become part of a path."""

    code = "dataset_id"


class DatasetChanged(DatasetError):
    """Data that are no longer those whose root is registered: restore them, or register a new version."""

    code = "data_changed"


@dataclass(frozen=True, slots=True)
class LocalDataset:
    """One dataset version as its owner knows it; `seed` is secret."""

    id: str
    version: int
    source: DataSource
    rows: int
    root: bytes
    seed: bytes


@dataclass(frozen=True, slots=True)
class OpenedDataset:
    """A checked table together with the commitment that its root stands for."""

    local: LocalDataset
    table: Table
    rows: list[bytes]
    commitment: RowCommitment


def check_dataset_id(dataset: str) -> str:
    """Return the id of a dataset unchanged; raise DatasetIdInvalid saying what is allowed."""
    if re.fullmatch(DATASET_PATTERN, dataset) is None:
        raise DatasetIdInvalid(
            f"dataset {dataset[:80]!r}: not an id; write OWNER/NAME, such as bank/customers, with a name of 1"
            " to 63 of a-z, 0-9, '.', '_' and '-', the first of them a letter or a digit"
        )
    return dataset


def prepare(
    dataset: str, version: int, source: DataSource, id_column: str | None, seed: bytes
) -> tuple[LocalDataset, Table]:
    """Read a source, infer its schema when it has none, and commit to its rows under a fresh seed."""
    if not source.columns:
        source = DataSource(source.path, infer_columns(source, id_column), source.table)
    table = read_table(source)
    root = commit_rows(seed, table.row_bytes()).root
    return LocalDataset(dataset, version, source, table.rows, root, seed), table


def open_dataset(local: LocalDataset) -> OpenedDataset:
    """Read the data again; raise DatasetChanged when they are no longer those that were registered."""
    table = read_table(local.source)
    rows = table.row_bytes()
    commitment = commit_rows(local.seed, rows)
    if commitment.root != local.root:
        raise DatasetChanged(
            f"dataset {local.id} version {local.version}: {local.source.path} has changed since it was "
            f"registered ({table.rows} rows now, {local.rows} then); restore the file, or register it with: "
            f"assent dataset new-version {local.id}"
        )
    return OpenedDataset(local, table, rows, commitment)


class DatasetStore:
    """A folder with one JSON file (mode 0600) per dataset version."""

    __slots__ = ("folder",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, dataset: str, version: int) -> Path:
        name = check_dataset_id(dataset).replace("/", _SEPARATOR)
        return self.folder / f"{name}@{version}.json"

    def save(self, local: LocalDataset) -> None:
        """Write a record durably."""
        content = {
            "id": local.id,
            "version": local.version,
            "path": str(local.source.path),
            "table": local.source.table,
            "columns": [[column.name, column.type, column.sensitivity] for column in local.source.columns],
            "rows": local.rows,
            "root": local.root.hex(),
            "seed": local.seed.hex(),
        }
        write_private(self._path(local.id, local.version), json.dumps(content, indent=1).encode())

    def load(self, dataset: str, version: int) -> LocalDataset:
        """Read a record; raise DatasetError when this agent never registered that version."""
        path = self._path(dataset, version)
        try:
            content = json.loads(read_bounded(path, RECORD_BYTES_MAX))
            columns = tuple(Column(name, kind, level) for name, kind, level in content["columns"])
            source = DataSource(Path(content["path"]), columns, content["table"])
            local = LocalDataset(
                content["id"],
                int(content["version"]),
                source,
                int(content["rows"]),
                bytes.fromhex(content["root"]),
                bytes.fromhex(content["seed"]),
            )
        except FileNotFoundError:
            raise DatasetError(
                f"dataset {dataset} version {version}: this agent holds no record of it at {path}; register "
                f"it from this organisation's folder, or restore the agent's data folder"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{path}: damaged ({type(error).__name__}); restore it from backup") from None
        if len(local.seed) != SEED_BYTES or any(
            column.type not in TYPES or column.sensitivity not in SENSITIVITIES for column in columns
        ):
            raise DatasetError(f"{path}: damaged (seed or column type); restore it from backup")
        return local
