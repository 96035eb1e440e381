"""Records: dicts with declared fields, `class Grant(Record)`, checked when made and wherever they come in.

A record is a dict with exactly its fields: so it has one encoding, and JSON, other contracts and auditors see
it as such. Its fields are checked by a hint that names it (arguments, results, stores, events), when it is
constructed, when a field is set, and when it is read from state; there, and in arguments from outside, a
field that is missing gets its default, so a later version of a contract may add one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.language.hints import Hint
from contracts.language.ir import Node

FIELDS_MAX = 250
"""Fields of one record."""


@dataclass(frozen=True, slots=True)
class Record:
    """One kind of record, as its class declares it: the fields in their order."""

    name: str
    fields: tuple[tuple[str, Hint], ...]
    defaults: Mapping[str, Node]
    """Of the fields that may be left out: a constant that cannot change."""
    depth: int
    """How deep a value of it nests, as far as its fields say."""
    has_bytes: bool
    places: Mapping[str, int]
    """Of each field: its place in `fields`."""

    def hint_of(self, name: str) -> Hint | None:
        """Return the hint of a field, None when there is no such field."""
        place = self.places.get(name)
        return None if place is None else self.fields[place][1]

    def shape(self) -> Node:
        """Return the record as a part of a program's IR."""
        return (self.name, tuple([(*one, *self._default_of(one[0])) for one in self.fields]))

    def _default_of(self, name: str) -> tuple[Node, ...]:
        return (self.defaults[name],) if name in self.defaults else ()


def record_of(shape: Node, records: Mapping[str, Record]) -> Record:
    """Return the record of a part of a program's IR; the records that its fields name come before it."""
    name, parts = shape
    fields = tuple([part[:2] for part in parts])
    defaults = {part[0]: part[2] for part in parts if len(part) == 3}
    depth = 1 + max([depth_of(hint, records) for _, hint in fields])
    has_bytes = any(holds_bytes(hint, records) for _, hint in fields)
    places = {key: place for place, (key, _) in enumerate(fields)}
    return Record(name, fields, defaults, depth, has_bytes, places)


def depth_of(hint: Hint, records: Mapping[str, Record]) -> int:
    """Return how deep a value of this hint nests, as far as the hint says."""
    if hint[0] == "record":
        return records[hint[1]].depth
    inner = max([depth_of(part, records) for part in hint[1:]], default=0)
    return inner + (hint[0] in ("list", "dict", "tuple", "rest"))


def holds_bytes(hint: Hint, records: Mapping[str, Record]) -> bool:
    """Tell whether a value of this hint may hold bytes."""
    if hint[0] == "record":
        return records[hint[1]].has_bytes
    return hint[0] == "bytes" or any(holds_bytes(part, records) for part in hint[1:])
