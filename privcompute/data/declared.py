"""Declared schemas as the ledger has them: cut into parts, put together again, and told in words.

What a column declares has a canonical form (`schema.declaration`); the ledger keeps one row a column, and the
names of each part in order. Whoever reads them checks the seal, so that no node can leave anything out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from chain.primitives.schema_seal import sealed_by
from chain.primitives.values import Value, encode_value
from privcompute.data.schema import (
    Column,
    Schema,
    SchemaInvalid,
    check_schema,
    column_declared,
    declaration,
    declaration_bytes,
)

PART_COLUMNS_MAX = 64
PART_BYTES_MAX = 65_536
"""Columns of a part, and their canonical bytes together: with their keys they fit in one transaction."""
WORDS_SHOWN = 4
"""Categories, codes and edges that a line names; how many more there are follows."""
Identifier = Sequence[Sequence[str]]
"""For each column of a key, in order: its type, then its steps of normalisation."""


def cut(schema: Schema) -> Iterator[list[Value]]:
    """Yield the declarations of a schema's columns in parts as the ledger takes them; the same each time."""
    part: list[Value] = []
    taken = 0
    for column in schema.columns:
        size = len(declaration_bytes(column))
        if len(part) == PART_COLUMNS_MAX or taken + size > PART_BYTES_MAX:
            yield part
            part, taken = [], 0
        part.append(declaration(column))
        taken += size
    yield part


def put_together(seal: bytes, key: Sequence[str], columns: Sequence[Any]) -> Schema:
    """Return the schema of declarations in their order; raise SchemaInvalid unless the seal is theirs.

    What its owner's files spell (formats, missing_spellings) is not in it.
    """
    found = sealed_by(key, [encode_value(column) for column in columns])
    if found != seal:
        raise SchemaInvalid(
            f"the columns shown have seal {found.hex()[:16]}…, the version names {seal.hex()[:16]}…; "
            "ask another node"
        )
    return check_schema(Schema(tuple([column_declared(column) for column in columns]), tuple(key)))


# --- in words ----------------------------------------------------------------------------------------


def column_words(column: Column) -> list[str]:
    """Return what a column declares as short lines: type and unit, domain, coding, steps, missing cells."""
    lines = [f"{column.type} in {column.unit}" if column.unit else column.type]
    if column.low is not None or column.high is not None:
        lines.append(_range(column))
    if column.categories:
        lines.append(_some("one of", column.categories))
    if column.edges:
        lines.append(_some("bins at", column.edges))
    if column.coding:
        lines.append(_some("codes", [f"{code} = {value}" for code, value in column.coding]))
    if column.normalise:
        lines.append(f"after {', '.join(column.normalise)}")
    if column.missing != "refuse":
        lines.append(f"missing cells: {column.missing}")
    return lines


def _range(column: Column) -> str:
    if column.low is None:
        return f"at most {column.high}"
    return f"at least {column.low}" if column.high is None else f"{column.low} to {column.high}"


def _some(what: str, words: Sequence[str]) -> str:
    more = len(words) - WORDS_SHOWN
    return f"{what} {', '.join(words[:WORDS_SHOWN])}" + (f" and {more} more" if more > 0 else "")


def identifier_words(identifier: Identifier) -> str:
    """Return what the identifiers of a dataset are, in words."""
    if not identifier:
        return "no identifier"
    parts = [f"{kind} after {', '.join(steps)}" if steps else kind for kind, *steps in identifier]
    return parts[0] if len(parts) == 1 else "; then ".join(parts)


def identifiers_differ(one: tuple[str, Identifier], other: tuple[str, Identifier]) -> str | None:
    """Return in words how two datasets, (id, identifier) each, declare theirs otherwise; None if alike."""
    for name, identifier in (one, other):
        if not identifier:
            return f"{name} has no identifier to join by: its schema declares no key"
    if [list(part) for part in one[1]] == [list(part) for part in other[1]]:
        return None
    said = "; ".join(f"{name} has {identifier_words(identifier)}" for name, identifier in (one, other))
    return f"{_how(one[1], other[1])}: {said}"


def _how(one: Identifier, other: Identifier) -> str:
    if len(one) != len(other):
        return f"their keys have {len(one)} and {len(other)} columns"
    place = next(number for number, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
    what = "types" if one[place][0] != other[place][0] else "steps of normalisation"
    return f"column {place + 1} of their keys has other {what}"
