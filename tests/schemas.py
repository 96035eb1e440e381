"""Declared schemas for tests: short columns become full declarations, and a seal that the ledger takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from chain.primitives.schema_seal import sealed_by
from chain.primitives.values import encode_value

PART = 64
"""Columns of a part."""


def column(name: str, kind: str = "text", sensitivity: str = "personal", **over: Any) -> dict[str, Any]:
    """Return a full declaration."""
    plain: dict[str, Any] = {
        "name": name, "type": kind, "sensitivity": sensitivity, "unit": "", "missing": "refuse", "coding": [],
        "low": None, "high": None, "categories": [], "edges": [], "normalise": [],
    }  # fmt: skip
    return plain | over


def key_of(columns: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names of the identifiers, in order."""
    return [one["name"] for one in columns if one["sensitivity"] == "identifier"]


def seal_of(columns: Sequence[dict[str, Any]]) -> bytes:
    """Return the seal of a schema whose key are its identifiers, in order."""
    return sealed_by(key_of(columns), [encode_value(one) for one in columns])


def declaring(columns: Sequence[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (method, arguments) of the calls that declare a schema, each of at most 64 columns."""
    seal = seal_of(columns)
    yield "declare", {"schema": seal, "key": key_of(columns), "columns": list(columns[:PART])}
    for part, at in enumerate(range(PART, len(columns), PART), 1):
        yield "extend", {"schema": seal, "part": part, "columns": list(columns[at : at + PART])}
