"""Records of the IR to closures: construction, and fields that are read and set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contracts.language.builder import Build, Builder
from contracts.language.faults import Reverted
from contracts.language.hints import Hint, checker, exact_type, wanted
from contracts.language.ir import Node
from contracts.language.limits import GAS_DICT, GAS_DISPLAY, MEM_DICT, MEM_ENTRY
from contracts.language.machine import Closure, Frame, Machine
from contracts.language.records import misfit
from contracts.language.values import type_name, wrong_type

Enforce = Callable[[Machine, Any], None]


def _enforce(b: Build, hint: Hint, what: str) -> Enforce:
    """Return the function that enforces the hint of a field."""
    records = b.parts.records
    check, exact = checker(hint, records), exact_type(hint)

    def enforce(m: Machine, value: Any) -> None:
        if type(value) is not exact and not (exact is None and check(m, value)):
            raise wrong_type(f"{what} is {wanted(hint)}, not {misfit(m, hint, value, records)}")

    return enforce


def _record(b: Build, node: Node) -> Closure:
    """Make a record; each field is computed in the order of the class, and checked."""
    record, values = b.parts.records[node[1]], b.all(node[2:])
    enforce = b.parts.once(
        ("record", record.name),
        lambda: [(name, _enforce(b, hint, f"{record.name}.{name}")) for name, hint in record.fields],
    )
    b.cost += GAS_DISPLAY + GAS_DICT * len(values)
    size = MEM_DICT + MEM_ENTRY * len(values)
    fields = [(name, test, value) for (name, test), value in zip(enforce, values, strict=True)]

    def run(f: Frame) -> Any:
        m = f[0]
        m.allocate(size)
        made = {}
        for name, test, value in fields:
            made[name] = item = value(f)
            test(m, item)
        return made

    return run


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


def put_field(b: Build, node: Node) -> Callable[[Frame, Any], None]:
    """Return the closure that sets a field, which it must have, to a value of its hint."""
    held, name, hint = b.expr(node[1]), node[2], node[3]
    enforce = b.parts.once(("field", name, hint), lambda: _enforce(b, hint, f".{name}"))
    b.cost += GAS_DICT

    def put(f: Frame, value: Any) -> None:
        x = held(f)
        set_field(f[0], x, name, enforce, value)

    return put


def set_field(m: Machine, held: Any, name: str, enforce: Enforce, value: Any) -> None:
    """`held.name = value`."""
    if type(held) is not dict or name not in held:
        raise _no_field(held, name)
    enforce(m, value)
    held[name] = value


def augment_field(b: Build, place: Node, value: Node, work: Any) -> Closure:
    """Return the closure of `held.name op= value`."""
    held, name, hint = b.expr(place[1]), place[2], place[3]
    enforce = b.parts.once(("field", name, hint), lambda: _enforce(b, hint, f".{name}"))
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
}
