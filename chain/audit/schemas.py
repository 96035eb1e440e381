"""Declared schemas in an audit package: which rows of `datasets` prove them, and whether their seals hold.

A dataset's package has the whole schemas of the versions that its history names; a grant's and a job's have
the columns that they cover, each proved as a row of its own, and the keys of their schemas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from chain.ledger.block import EventEntry
from chain.primitives.errors import DecodeError, ProofInvalid
from chain.primitives.runtimeport import RESULT_BYTES_MAX, map_key
from chain.primitives.schema_seal import sealed_by
from chain.primitives.values import Value, decode_value, encode_value

CONTRACT = "datasets"
PARTS_MAX = 1_024
"""Parts of a schema, as many as it may have columns: a node that says more is not believed."""
T = TypeVar("T")
Row = tuple[str, Value]
"""(Map, key) in the contract."""


@dataclass(frozen=True, slots=True)
class VersionUsed:
    """A dataset's version, and the columns that are asked for: None for all, and the seal."""

    dataset: str
    version: int
    columns: tuple[str, ...] | None


def versions_used(subject: str, entries: Iterable[EventEntry]) -> list[VersionUsed]:
    """Return what a subject's history says of versions, each with the same columns once."""
    whole = subject.startswith("dataset:")
    found: dict[VersionUsed, None] = {}
    for entry in entries:
        for used in versions_named(entry):
            if not whole:
                found[used] = None
            elif f"dataset:{used.dataset}" == subject:
                found[VersionUsed(used.dataset, used.version, None)] = None
    return list(found)


def versions_named(entry: EventEntry) -> list[VersionUsed]:
    """Return the versions that one event names; raise ProofInvalid for one that is not as it is told."""
    event = entry.event
    try:
        fields = decode_value(event.fields, max_bytes=RESULT_BYTES_MAX)
        match f"{event.contract}.{event.name}":
            case "datasets.DatasetRegistered" | "datasets.DatasetVersioned":
                return [_used(fields["dataset"].removeprefix("dataset:"), fields["version"], None)]
            case "grants.GrantRequested":
                dataset = fields["dataset"].removeprefix("dataset:")
                return [_used(dataset, fields["version"], fields["columns"])]
            case "jobs.JobProposed":
                return [_used(item["dataset"], item["version"], item["columns"]) for item in fields["inputs"]]
    except (DecodeError, KeyError, TypeError, AttributeError):
        raise ProofInvalid(
            f"{event.contract}.{event.name} at height {entry.height}: not as it is told"
        ) from None
    return []


def _used(dataset: Any, version: Any, columns: Any) -> VersionUsed:
    names = () if columns is None else tuple(columns)
    if type(dataset) is not str or type(version) is not int or any(type(name) is not str for name in names):
        raise TypeError("a version")
    return VersionUsed(dataset, version, None if columns is None else names)


def rows_named(used: Sequence[VersionUsed], known: Mapping[bytes, Value]) -> list[Row]:
    """Return the rows that versions name, as far as `known` (state key -> value) tells yet."""
    named: dict[bytes, Row] = {}

    def row(name: str, key: Value) -> Any:
        place = map_key(name, key)
        named[place] = (name, key)
        return known.get(place)

    for one in used:
        version = row("versions", (one.dataset, one.version))
        if version is None:
            continue
        owner, seal = one.dataset.partition("/")[0], _field(version, "schema", bytes)
        schema = row("schemas", (owner, seal))
        if one.columns is not None:
            for name in one.columns:
                row("columns", (owner, seal, name))
            continue
        for number in range(0 if schema is None else _count(schema)):
            for name in _names(row("parts", (owner, seal, number))):
                row("columns", (owner, seal, name))
    return list(named.values())


def _field(record: Any, name: str, kind: type[T]) -> T:
    value = record.get(name) if type(record) is dict else None
    if type(value) is not kind:
        raise ProofInvalid(f"a record of a schema whose {name} is {str(value)[:80]!r}; ask another node")
    return value


def _count(schema: Any) -> int:
    count = _field(schema, "parts", int)
    if not 0 <= count <= PARTS_MAX:
        raise ProofInvalid(f"a schema of {count} parts: at most {PARTS_MAX}; ask another node")
    return count


def _names(part: Any) -> list[str]:
    found = [] if part is None else part
    if type(found) is not list or len(found) > PARTS_MAX or any(type(name) is not str for name in found):
        raise ProofInvalid("a part of a schema that is no list of names; ask another node")
    return found


def check_version(one: VersionUsed, known: Mapping[bytes, Value]) -> None:
    """Raise ProofInvalid unless all that a version declares is there, and a whole schema makes its seal."""
    for name, key in rows_named([one], known):
        if map_key(name, key) not in known:
            raise ProofInvalid(
                f"{one.dataset} version {one.version}: {CONTRACT}.{name}[{key}] is not in the package"
            )
    check_seals([one], known)


def check_seals(used: Sequence[VersionUsed], known: Mapping[bytes, Value]) -> None:
    """Raise ProofInvalid unless the columns of every whole schema make the seal that its version names."""
    for one in used:
        version: Any = known.get(map_key("versions", (one.dataset, one.version)))
        if one.columns is not None or version is None:
            continue
        owner, seal = one.dataset.partition("/")[0], _field(version, "schema", bytes)
        schema: Any = known[map_key("schemas", (owner, seal))]
        parts = [_names(known[map_key("parts", (owner, seal, number))]) for number in range(_count(schema))]
        names = [name for part in parts for name in part]
        declared = [encode_value(known[map_key("columns", (owner, seal, name))]) for name in names]
        if sealed_by(_field(schema, "key", list), declared) != seal:
            raise ProofInvalid(
                f"{one.dataset} version {one.version}: its columns do not make the seal {seal.hex()[:16]}"
            )


def key_of(one: VersionUsed, known: Mapping[bytes, Value]) -> tuple[str, bytes, list[Value]]:
    """Return owner, seal and key columns of a version whose rows are known; raise ProofInvalid."""
    version = known[map_key("versions", (one.dataset, one.version))]
    owner, seal = one.dataset.partition("/")[0], _field(version, "schema", bytes)
    return owner, seal, _field(known[map_key("schemas", (owner, seal))], "key", list)


def column_line(column: dict[str, Any]) -> str:
    """Return a declared column as one line: its name, its type, and every other field that says something."""
    rest = [name for name in column if name not in ("name", "type") and column[name] not in ("", None, [])]
    return "; ".join(
        [f"{column['name']}: type {column['type']}", *[f"{name} {column[name]}" for name in rest]]
    )
