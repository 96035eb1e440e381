"""Type checks at run time: metered predicates that tell whether a value is of a hint."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chain.primitives.runtimeport import SUBJECT_PATTERN
from chain.primitives.values import Value
from contracts.language.hints import ANY, Hint, holds_record
from contracts.language.limits import GAS_ALTERNATIVE, GAS_HINT_SUBJECT, GAS_TYPES
from contracts.language.records import Record
from contracts.language.run.machine import Machine
from contracts.language.run.values import NoneType

Check = Callable[[Machine, Value], bool]


@dataclass(frozen=True, slots=True)
class CheckedRecord(Record):
    """A record, and the tests of a value that should be one."""

    check: Check = field(compare=False)
    """Tells whether a value has the fields of the record, each of its hint."""
    fill: Check = field(compare=False)
    """The same, after giving their defaults to fields that are missing."""


CheckedRecords = Mapping[str, CheckedRecord]
"""By name."""
NO_RECORDS: CheckedRecords = {}
EXACT: dict[str, type] = {"int": int, "str": str, "bytes": bytes, "bool": bool, "none": NoneType}
_SUBJECT = re.compile(SUBJECT_PATTERN)


def exact_type(hint: Hint) -> type | None:
    """Return the one Python type that the hint means, when `type(value) is …` is the whole check."""
    if hint[0] in EXACT:
        return EXACT[hint[0]]
    bare = {("list", ANY): list, ("dict", ANY, ANY): dict, ("rest", ANY): tuple}
    return bare.get(hint)


def checker(hint: Hint, records: CheckedRecords = NO_RECORDS, *, fill: bool = False) -> Check:
    """Compile a hint into a metered predicate; `bool` is not an `int` here.

    With `fill`, fields of records that are missing get their defaults: for values that nothing shares yet.
    """
    exact = exact_type(hint)
    if exact is not None:
        return lambda _, value: type(value) is exact
    head = hint[0]
    if head == "any":
        return lambda _, __: True
    if head == "subject":
        return _subject
    if head == "record":
        return records[hint[1]].fill if fill else records[hint[1]].check
    # A value that might be one record or another is none of them before it has all fields.
    fill = fill and (head != "union" or sum(map(holds_record, hint[1:])) < 2)
    parts = [checker(part, records, fill=fill) for part in hint[1:]]
    if head == "union":
        return _union_of(hint[1:], parts)
    if head == "tuple":
        return _fixed(parts)
    if head == "dict":
        return _entries(parts[0], parts[1])
    return _items(list if head == "list" else tuple, parts[0])


def _subject(m: Machine, value: Value) -> bool:
    m.charge(GAS_HINT_SUBJECT)
    return type(value) is str and _SUBJECT.fullmatch(value) is not None


def _union_of(hints: tuple[Hint, ...], parts: list[Check]) -> Check:
    """Scalars, and what else is one look at the type if nothing is more, are in the price of the place.

    Every other alternative that is tried pays (a source has room for thousands, and a list for 10,000 items).
    """
    exact = [exact_type(hint) for hint in hints]
    if None not in exact:
        kinds = frozenset(exact)
        return lambda _, value: type(value) in kinds
    scalars = frozenset(EXACT[hint[0]] for hint in hints if hint[0] in EXACT)
    rest = [part for hint, part in zip(hints, parts, strict=True) if hint[0] not in EXACT]

    def check(m: Machine, value: Value) -> bool:
        if type(value) in scalars:
            return True
        for part in rest:
            m.charge(GAS_ALTERNATIVE)
            if part(m, value):
                return True
        return False

    return check


def _items(kind: Any, part: Check) -> Check:
    def check(m: Machine, value: Value) -> bool:
        if type(value) is not kind:
            return False
        m.charge(GAS_TYPES + len(value))
        return all(part(m, item) for item in value)

    return check


def _entries(key_check: Check, value_check: Check) -> Check:
    def check(m: Machine, value: Value) -> bool:
        if type(value) is not dict:
            return False
        m.charge(GAS_TYPES + 2 * len(value))
        return all(key_check(m, key) and value_check(m, item) for key, item in value.items())

    return check


def _fixed(parts: list[Check]) -> Check:
    def check(m: Machine, value: Value) -> bool:
        if type(value) is not tuple or len(value) != len(parts):
            return False
        m.charge(GAS_TYPES + 2 * len(parts))
        return all(part(m, item) for part, item in zip(parts, value, strict=True))

    return check
