"""Registered dataset versions as their owner keeps them: source, schema, salt seed and root.

The record is written before the registration is sent, so that a registered root can always be opened.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from chain.primitives.errors import AssentError, ConfigError
from chain.primitives.files import read_bounded
from chain.primitives.onechange import one_change
from chain.primitives.settings import validate
from privcompute.data.commitments import SEED_BYTES, RowCommitment, commit_rows
from privcompute.data.dataset_ids import check_dataset_id
from privcompute.data.private_files import write_private
from privcompute.data.schema import Schema, SchemaInvalid
from privcompute.data.schema_files import FileDocument, SchemaDocument, document_of, schema_of
from privcompute.data.sources import DataSource
from privcompute.data.tables import TypedTable, read_table

RECORD_BYTES_MAX = 67_108_864
"""256 columns of 256 categories and as many codes, of 64 characters each."""
_SEPARATOR = "+"
"""Stands for the slash in file names: no id holds it, so that two ids never share a file."""


class DatasetError(AssentError):
    """A dataset whose local record or data do not match what is registered: the text says what to do."""

    code = "dataset"


class DatasetChanged(DatasetError):
    """Data that are no longer those whose root is registered: restore them, or register a new version."""

    code = "data_changed"


@dataclass(frozen=True, slots=True)
class LocalDataset:
    """One dataset version as its owner knows it; `seed` is secret."""

    id: str
    version: int
    source: DataSource
    schema: Schema
    rows: int
    root: bytes
    seed: bytes


@dataclass(frozen=True, slots=True)
class OpenedDataset:
    """A checked table together with the commitment that its root stands for."""

    local: LocalDataset
    table: TypedTable
    rows: list[bytes]
    commitment: RowCommitment


def source_of(path: Path, file: FileDocument) -> DataSource:
    """Return the source at a path whose file is written as a schema file says."""
    return DataSource(path, file.table, file.delimiter, file.encoding)


def prepare(
    dataset: str, version: int, source: DataSource, schema: Schema, seed: bytes
) -> tuple[LocalDataset, TypedTable]:
    """Read a source by its schema, and commit to its rows under a fresh seed."""
    table = read_table(source, schema)
    root = commit_rows(seed, table.row_bytes()).root
    return LocalDataset(dataset, version, source, schema, table.rows, root, seed), table


def open_dataset(local: LocalDataset) -> OpenedDataset:
    """Read the data again; raise DatasetChanged when they are no longer those that were registered."""
    table = read_table(local.source, local.schema)
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

    @contextlib.contextmanager
    def one_registration(self, dataset: str) -> Iterator[None]:
        """Let no other command register this dataset meanwhile (BeingChanged, FileTrouble).

        Two at once would write their records over each other, and the salts that the ledger's root needs with
        them. The first may be at a large file for minutes, so the second does not wait.
        """
        path = self._path(dataset, 0)
        with contextlib.suppress(OSError):  # then the lock says why
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with one_change(path, wait_s=0.0):
            yield

    def save(self, local: LocalDataset) -> None:
        """Write a record durably."""
        source = local.source
        file = FileDocument(delimiter=source.delimiter, encoding=source.encoding, table=source.table)
        content = {
            "id": local.id,
            "version": local.version,
            "path": str(source.path),
            "schema": document_of(local.schema, file),
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
            document = validate(str(path), content["schema"], SchemaDocument)
            local = LocalDataset(
                content["id"],
                int(content["version"]),
                source_of(Path(content["path"]), document.file),
                schema_of(document),
                int(content["rows"]),
                bytes.fromhex(content["root"]),
                bytes.fromhex(content["seed"]),
            )
        except FileNotFoundError:
            raise DatasetError(
                f"dataset {dataset} version {version}: this agent holds no record of it at {path}; register "
                f"it from this organisation's folder, or restore the agent's data folder"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, ConfigError, SchemaInvalid) as error:
            raise DatasetError(f"{path}: damaged ({type(error).__name__}); restore it from backup") from None
        if len(local.seed) != SEED_BYTES:
            raise DatasetError(f"{path}: damaged (seed); restore it from backup")
        return local
