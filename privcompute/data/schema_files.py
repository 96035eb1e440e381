"""Schema files: a dataset's declaration as its owner writes it, in TOML or JSON; and proposals as TOML.

What the file declares settles every doubt; data are then read by it strictly, and refused where they differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import pydantic

from chain.primitives.errors import ConfigError
from chain.primitives.files import read_bounded
from chain.primitives.settings import FILE_BYTES_MAX, Section, parse_toml, validate
from privcompute.data.literals import ColumnType
from privcompute.data.schema import (
    COLUMNS_MAX,
    IDENTIFIER,
    Column,
    MissingRule,
    Schema,
    SchemaInvalid,
    Sensitivity,
    check_schema,
)

Words = Annotated[tuple[str, ...], pydantic.Field(strict=False, max_length=1_024)]


class ColumnDocument(Section):
    """One column of a schema file; what each key may hold stands in docs/data-owner.md."""

    name: str
    type: ColumnType
    sensitivity: Sensitivity = "personal"
    unit: str = ""
    missing: MissingRule = "refuse"
    missing_spellings: Words = ("",)
    format: str = ""
    coding: Annotated[dict[str, str], pydantic.Field(max_length=1_024)] = pydantic.Field(default_factory=dict)
    low: str | None = None
    high: str | None = None
    categories: Words = ()
    edges: Words = ()
    normalise: Words = ()


class FileDocument(Section):
    """How the data file is written, where it does not say so itself."""

    delimiter: str | None = None
    encoding: str | None = None
    table: str | None = None


class SchemaDocument(Section):
    """A schema file."""

    file: FileDocument = FileDocument()
    key: Words = ()
    """The columns that make the identifier, in order; without it the one column of that sensitivity."""
    columns: Annotated[list[ColumnDocument], pydantic.Field(min_length=1, max_length=COLUMNS_MAX)]


def load_schema(path: Path) -> tuple[Schema, FileDocument]:
    """Read a schema file, JSON if its name ends so, else TOML; raise ConfigError or SchemaInvalid."""
    try:
        raw = read_bounded(path, FILE_BYTES_MAX)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a schema file") from None
    if path.suffix.lower() == ".json":
        document = _parse_json(str(path), raw)
    else:
        document = parse_toml(str(path), raw, SchemaDocument)
    try:
        return schema_of(document), document.file
    except SchemaInvalid as error:
        raise SchemaInvalid(f"{path}: {error}") from None


def _parse_json(where: str, raw: bytes) -> SchemaDocument:
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not JSON: {error}") from None
    if type(content) is not dict:
        raise ConfigError(f"{where}: a JSON object with key and columns is needed")
    return validate(where, content, SchemaDocument)


def schema_of(document: SchemaDocument) -> Schema:
    """Return the checked schema of a document."""
    columns = tuple(
        Column(
            **{key: value for key, value in dict(item).items() if key != "coding"},
            coding=tuple(sorted(item.coding.items())),
        )
        for item in document.columns
    )
    marked = tuple(column.name for column in columns if column.sensitivity == IDENTIFIER)
    if len(marked) > 1 and not document.key:
        raise SchemaInvalid(
            f'{len(marked)} columns are identifiers; say in which order they make the key: key = ["…", "…"]'
        )
    return check_schema(Schema(columns, document.key or marked))


def document_of(schema: Schema, file: FileDocument) -> dict[str, object]:
    """Return a schema as the plain document that `load_schema` reads."""
    return {"file": file.model_dump(exclude_none=True), "key": list(schema.key)} | {
        "columns": [column_document(column) for column in schema.columns]
    }


def column_document(column: Column) -> dict[str, object]:
    """Return one column as a plain document, without what has its default."""
    values: dict[str, object] = {"name": column.name, "type": column.type, "sensitivity": column.sensitivity}
    default = Column(column.name, column.type, column.sensitivity)
    for key in (
        "unit",
        "missing",
        "missing_spellings",
        "format",
        "low",
        "high",
        "categories",
        "edges",
        "normalise",
    ):
        value = getattr(column, key)
        if value != getattr(default, key):
            values[key] = list(value) if isinstance(value, tuple) else value
    if column.coding:
        values["coding"] = dict(column.coding)
    return values


def write_toml(
    document: Mapping[str, object],
    notes: Mapping[str, Sequence[str]],
    head: Iterable[str],
    offered: Mapping[str, Mapping[str, object]],
) -> str:
    """Return a document as TOML; `notes` are lines of comment above each column, by its name.

    What is `offered` of a column stands below it as comments, for its owner to uncomment.
    """
    lines = [*[_comment(line) for line in head], f"key = {_toml(document['key'])}"]
    file = document["file"]
    if isinstance(file, dict) and file:
        lines += ["", "[file]", *[f"{name} = {_toml(value)}" for name, value in file.items()]]
    columns = document["columns"]
    for column in columns if isinstance(columns, list) else []:
        lines += ["", *[_comment(line) for line in notes.get(column["name"], ())], "[[columns]]"]
        lines += [f"{name} = {_toml(value)}" for name, value in column.items()]
        more = offered.get(column["name"], {})
        lines += [f"# {name} = {_toml(value)}" for name, value in more.items()]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    return "# " + "".join([char if char.isprintable() else _escape(char) for char in text])


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    quoted = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join([char if char.isprintable() else _escape(char) for char in quoted]) + '"'


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
