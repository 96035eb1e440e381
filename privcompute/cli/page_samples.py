"""Sample files of a page's datasets, read as `dataset register` reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from privcompute.cli.common import UsageFault
from privcompute.data.datasets import source_of
from privcompute.data.proposals import propose
from privcompute.data.schema import Column, Schema
from privcompute.data.schema_files import load_schema
from privcompute.data.sources import DataSource, open_source
from privcompute.data.tables import read_table
from privcompute.pages.columns import InputColumn
from privcompute.pages.trial import Sample

DEFAULT_KEY = "id"
CATEGORIES_MAX = 64
"""Different cells of a text column that still count as its categories."""


def load_sample(name: str, path: Path, schema_file: Path | None, key: str, owner: str) -> Sample:
    """Return a dataset of a file: types as its schema file declares them, else as its cells propose them.

    The categories of a column that declares none are those that its cells have.
    """
    source = DataSource(path)
    if schema_file is None:
        schema = _proposed(source, key, name)
    else:
        schema, file = load_schema(schema_file)
        source = source_of(path, file)
    table = read_table(source, schema)
    columns = tuple(_column(one, table.data[one.name]) for one in schema.columns)
    return Sample(owner, columns, schema.key, table.data)


def _proposed(source: DataSource, key: str, name: str) -> Schema:
    names = open_source(source).names
    wanted = key or (DEFAULT_KEY if DEFAULT_KEY in names else "")
    if key and key not in names:
        raise UsageFault(
            f"--key {name}={key}: {source.path} has no such column; it has {', '.join(names)[:200]}"
        )
    return propose(open_source(source), [wanted] if wanted else []).schema


def _column(column: Column, cells: NDArray[Any]) -> InputColumn:
    found = InputColumn(
        column.name,
        column.type,
        "plain",
        missing=column.missing,
        categories=column.categories,
        edges=column.edges,
        low=column.low,
        high=column.high,
    )
    if column.type in ("text", "category") and not column.categories:
        seen = np.unique(np.asarray(cells, dtype=str)).tolist()
        if len(seen) <= CATEGORIES_MAX:
            found = replace(found, categories=tuple(seen))
    return found
