"""Builders of records: closures that make a record, and read and set its fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chain.primitives.values import Value, decode_stored
from contracts.language.back.builder import Build, Builder
from contracts.language.faults import Reverted
from contracts.language.hints import ANY, Hint, wanted
from contracts.language.ir import Node
from contracts.language.limits import GAS_DICT, GAS_DISPLAY, GAS_NODE, MEM_DICT, MEM_ENTRY
from contracts.language.records import Record
from contracts.language.run.checks import checker, exact_type
from contracts.language.run.machine import Closure, Frame, Machine
from contracts.language.run.record_checks import misfit
from contracts.language.run.values import type_name, wrong_type

Enforce = Callable[[Machine, Any], None]


def _enforce(b: Build, hint: Hint, what: str) -> Enforce:
    """Return the function that enforces the hint of a field."""
    records = b.declared.records
    check, exact = checker(hint, records), exact_type(hint)

    def enforce(m: Machine, value: Any) -> None:
        if type(value) is not exact and not (exact is None and check(m, value)):
            raise wrong_type(f"{what} is {wanted(hint)}, not {misfit(m, hint, value, records)}")

    return enforce


def _record(b: Build, node: Node) -> Closure:
    """Make a record; each field is computed in the order of the class, and checked."""
    record, values = b.declared.records[node[1]], b.all(node[2:])
    b.cost += GAS_DISPLAY + GAS_DICT * len(values)
    size = MEM_DICT + MEM_ENTRY * len(values)
    fields = [(name, test, value) for (name, test, _), value in zip(_fields(b, record), values, strict=True)]

    def run(f: Frame) -> Any:
        m = f[0]
        m.allocate(size)
        made = {}
        for name, test, value in fields:
            made[name] = item = value(f)
            test(m, item)
        return made

    return run


def _record_some(b: Build, node: Node) -> Closure:
    """Make a record some of whose fields have their defaults, which are checked as what is given."""
    record = b.declared.records[node[1]]
    given = dict(zip(node[2], b.all(node[3:]), strict=True))
    fields, count = _fields(b, record), len(record.fields)
    b.cost += GAS_DISPLAY + GAS_DICT * count + GAS_NODE * (count - len(given))
    size = MEM_DICT + MEM_ENTRY * count

    def run(f: Frame) -> Any:
        m = f[0]
        m.allocate(size)
        made = {}
        for place, (name, test, default) in enumerate(fields):
            value = given.get(place)
            made[name] = item = default if value is None else value(f)
            test(m, item)
        return made

    return run


def _fields(b: Build, record: Record) -> list[tuple[str, Enforce, Value]]:
    """Return (name, test, default or None) of each field, which all that make such a record share."""

    def one(name: str, hint: Hint) -> tuple[str, Enforce, Value]:
        default = record.defaults.get(name)
        value = None if default is None else decode_stored(default[1])
        return name, _enforce(b, hint, f"{record.name}.{name}"), value

    return b.once(("record", record.name), lambda: [one(name, hint) for name, hint in record.fields])


def _field(b: Build, node: Node) -> Closure:
    held, name = b.expr(node[1]), node[2]
    b.cost += GAS_DICT

    def run(f: Frame) -> Any:
        x = held(f)
        if type(x) is dict and name in x:
            return x[name]
        raise _no_field(x, name)

    return run


def _no_field(held: Any, name: str) -> Reverted:
    what = "this dict" if type(held) is dict else type_name(held)
    return wrong_type(f"{what} has no field {name}")


def _enforce_field(b: Build, place: Node) -> Enforce:
    """Return what enforces the hint of a field that is set, once for all places that set it."""
    _, _, name, record = place
    hint = b.declared.records[record].hint_of(name) or ANY
    return b.once(("field", record, name), lambda: _enforce(b, hint, f".{name}"))


def put_field(b: Build, node: Node) -> Callable[[Frame, Any], None]:
    """Return the closure that sets a field, which it must have, to a value of its hint."""
    held, name = b.expr(node[1]), node[2]
    enforce = _enforce_field(b, node)
    b.cost += GAS_DICT

    def put(f: Frame, value: Any) -> None:
        x = held(f)
        set_field(f[0], x, name, enforce, value)

    return put


def set_field(m: Machine, held: Any, name: str, enforce: Enforce, value: Any) -> None:
    """Do `held.name = value`: revert unless `held` has the field and the value is of its hint."""
    if type(held) is not dict or name not in held:
        raise _no_field(held, name)
    enforce(m, value)
    held[name] = value


def augment_field(b: Build, place: Node, value: Node, work: Any) -> Closure:
    """Return the closure of `held.name op= value`."""
    held, name = b.expr(place[1]), place[2]
    enforce = _enforce_field(b, place)
    inner = b.expr(value)
    b.cost += 2 * GAS_DICT

    def run(f: Frame) -> Any:
        m, x = f[0], held(f)
        if type(x) is not dict or name not in x:
            raise _no_field(x, name)
        set_field(m, x, name, enforce, work(m, x[name], inner(f)))

    return run


BUILDERS: dict[str, Builder] = {
    "field": _field,
    "record": _record,
    "record_some": _record_some,
}
