"""Checks of records: the test of a value that should be one, and the words for a value that is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import repeat

from chain.primitives.values import Value, decode_stored
from contracts.language.faults import Halt
from contracts.language.hints import HEADS, SUBJECT, Hint, parts_of, wanted
from contracts.language.limits import GAS_DICT, GAS_TYPES, MEM_ENTRY
from contracts.language.records import Record
from contracts.language.run.checks import Check, CheckedRecord, CheckedRecords, checker
from contracts.language.run.machine import Machine
from contracts.language.run.operators import shown
from contracts.language.run.values import type_name

EXPLAIN_GAS = 20_000
"""Work, unpaid, to say which field of a record does not fit; a transaction ends with it."""
EXPLAIN_LENGTH = 200


def checked_record(record: Record, records: CheckedRecords) -> CheckedRecord:
    """Return a record with its tests; the records that its fields name come before it."""
    values = {name: decode_stored(node[1]) for name, node in record.defaults.items()}
    plain = [(name, checker(hint, records)) for name, hint in record.fields]
    filling = [(name, checker(hint, records, fill=True)) for name, hint in record.fields]
    return CheckedRecord(
        record.name,
        record.fields,
        record.defaults,
        record.depth,
        record.has_bytes,
        record.places,
        _test(plain, None),
        _test(filling, values),
    )


def _test(parts: list[tuple[str, Check]], defaults: Mapping[str, Value] | None) -> Check:
    """Return the test of all fields; with defaults, a dict that misses only such fields is completed."""
    count = len(parts)

    def check(m: Machine, value: Value) -> bool:
        if type(value) is not dict:
            return False
        m.charge(GAS_TYPES + GAS_DICT * count)
        missing = []
        for name, part in parts:
            if name in value:
                if not part(m, value[name]):
                    return False
            elif defaults is None or name not in defaults:
                return False
            else:
                missing.append(name)
        if len(value) + len(missing) != count:
            return False
        if missing and defaults is not None:
            m.allocate(MEM_ENTRY * len(missing))
            value.update({name: defaults[name] for name in missing})
        return True

    return check


def misfit(m: Machine, hint: Hint, value: Value, records: CheckedRecords) -> str:
    """Return words for a value that is not of a hint; of a record, they name the field. For people only."""
    free = Machine(EXPLAIN_GAS, m.state, m.services)
    try:
        text = _misfit(free, hint, value, records)
    except Halt:
        text = type_name(value)
    return text if len(text) <= EXPLAIN_LENGTH else text[: EXPLAIN_LENGTH - 3] + "..."


def _misfit(free: Machine, hint: Hint, value: Value, records: CheckedRecords) -> str:
    kinds = [part for part in parts_of(hint) if HEADS.get(part[0], part[0]) == type_name(value)]
    if len(kinds) != 1 or len(kinds[0]) == 1:
        return _described(hint, value)
    only, what = kinds[0], f"a {type_name(value)}"
    free.charge(len(value))
    if only[0] == "record":
        return _misfit_record(free, records[only[1]], value, records)
    if only[0] == "tuple" and len(value) != len(only) - 1:
        return f"a tuple of {len(value)}"
    for place, part, item in _items_of(only, value):
        if not checker(part, records)(free, item):
            return f"{what} whose {place} is {_misfit(free, part, item, records)}, not {wanted(part)}"
    return type_name(value)


def _items_of(hint: Hint, value: Value) -> Iterator[tuple[str, Hint, Value]]:
    """Give what lies in a list, tuple or dict: where, of which hint, and the value."""
    if hint[0] == "dict":
        for key, item in value.items():
            yield f"key {shown(key)}", hint[1], key
            yield f"entry {shown(key)}", hint[2], item
    else:
        hints = hint[1:] if hint[0] == "tuple" else repeat(hint[1])
        for place, (part, item) in enumerate(zip(hints, value, strict=False)):
            yield f"item {place}", part, item


def _misfit_record(free: Machine, record: Record, value: Value, records: CheckedRecords) -> str:
    known = {name for name, _ in record.fields}
    missing = [name for name, _ in record.fields if name not in value]
    needed = [name for name in missing if name not in record.defaults]
    extra = next((key for key in value if key not in known), None)
    if needed:
        return f"a dict without {', '.join(needed[:3])}"
    if extra is not None:
        return f"a dict with {shown(extra)}, which is no field"
    for name, part in record.fields:
        if name in value and not checker(part, records)(free, value[name]):
            return f"a dict whose {name} is {_misfit(free, part, value[name], records)}, not {wanted(part)}"
    return f"a dict without {', '.join(missing[:3])}" if missing else type_name(value)


def _described(hint: Hint, value: Value) -> str:
    """Say what does not fit; of a text that is no subject, which text and what one looks like."""
    if type(value) is str and (hint == SUBJECT or (hint[0] == "union" and SUBJECT in hint[1:])):
        return f'{shown(value)} (a subject is "kind:id", such as "org:bank")'
    return type_name(value)
