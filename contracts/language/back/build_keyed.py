"""Builders of sorted, sort, min and max with `key=` or `default=`: they run its code for each item."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chain.primitives.values import Value
from contracts.language.back.build_calls import enter, enter_view
from contracts.language.back.builder import Build, Builder
from contracts.language.faults import OutOfGas, Reverted
from contracts.language.ir import Node
from contracts.language.limits import GAS_BUILTIN, GAS_CALL, GAS_METHOD, GAS_NODE
from contracts.language.run.builtins import FUNCTIONS, NONE, keyed_extreme
from contracts.language.run.machine import LOCALS, Closure, Frame, Machine
from contracts.language.run.payments import need, new_items
from contracts.language.run.sorting import sort_by
from contracts.language.run.values import type_name, wrong_type
from contracts.language.run.walks import collect, steady_items

Key = Callable[[Frame, Any], Value]
_ITEM_GAS = 5


def _key(b: Build, node: Node) -> Key:
    if not node:
        return lambda _, item: item
    return _KEYS[node[0]](b, node)


def _key_lambda(b: Build, node: Node) -> Key:
    slot = LOCALS + node[1]
    body, cost = b.apart(node[2])

    def key(f: Frame, item: Any) -> Value:
        m = f[0]
        m.gas -= cost
        if m.gas < 0:
            raise OutOfGas
        f[slot] = item
        return body(f)

    return key


def _key_call(b: Build, node: Node) -> Key:
    function = b.functions[node[1]]
    into, left_out = enter_view if function.kind == "view" else enter, len(function.params) - 1
    cost = GAS_CALL + (len(function.padding) >> 5) + GAS_NODE * left_out

    def key(f: Frame, item: Any) -> Value:
        m = f[0]
        m.charge(cost)
        frame = [m, None, *function.template]
        frame[LOCALS] = item
        return into(m, function, frame)

    return key


def _key_builtin(_: Build, node: Node) -> Key:
    work = FUNCTIONS[node[1]]

    def key(f: Frame, item: Any) -> Value:
        f[0].charge(GAS_BUILTIN)
        return work(f[0], item)

    return key


_KEYS: dict[str, Callable[[Build, Node], Key]] = {
    "key_builtin": _key_builtin,
    "key_call": _key_call,
    "key_lambda": _key_lambda,
}


def _keyed(b: Build, node: Node) -> Closure:
    name, arguments = node[1], b.all(node[4:])
    key, other = _key(b, node[2]), b.expr(node[3]) if node[3] else None
    if name == "sort":
        b.cost += GAS_METHOD
        return _sort(arguments[0], key, other)
    b.cost += GAS_BUILTIN
    return _sorted(arguments[0], key, other) if name == "sorted" else _extreme(name, arguments, key, other)


def _ordered(f: Frame, items: list[Value], key: Key, reverse: Value, what: str) -> list[Value]:
    """Every key is made before the first comparison, as in CPython."""
    m: Machine = f[0]
    need(reverse, bool, what)
    new_items(m, len(items))
    return sort_by(m, items, [key(f, item) for item in items], reverse)


def _sorted(walked: Closure, key: Key, other: Closure | None) -> Closure:
    def run(f: Frame) -> Any:
        value = walked(f)
        reverse = False if other is None else other(f)
        return _ordered(f, collect(f[0], value), key, reverse, "sorted")

    return run


def _sort(receiver: Closure, key: Key, other: Closure | None) -> Closure:
    """The list is empty while the keys are made, as in CPython; a failing key undoes the whole call."""

    def run(f: Frame) -> Any:
        held = receiver(f)
        reverse = False if other is None else other(f)
        if type(held) is not list:
            raise wrong_type(f"{type_name(held)} has no method sort")
        items = collect(f[0], held)
        held.clear()
        made = _ordered(f, items, key, reverse, "sort")
        if held:
            raise Reverted("VALUE_ERROR", "sort: the list was changed while it was sorted")
        held[:] = made

    return run


def _extreme(name: str, arguments: list[Closure], key: Key, other: Closure | None) -> Closure:
    wanted, single = name == "max", len(arguments) == 1

    def run(f: Frame) -> Any:
        m = f[0]
        values = [argument(f) for argument in arguments]
        default = NONE if other is None else other(f)
        if not single:
            m.charge(_ITEM_GAS * len(values))
        items = steady_items(m, values[0], _ITEM_GAS) if single else iter(values)
        best = keyed_extreme(m, items, lambda item: key(f, item), wanted)
        if best is NONE and default is NONE:
            raise Reverted("VALUE_ERROR", f"{name}() of nothing; default=… says what it is then")
        return default if best is NONE else best

    return run


BUILDERS: dict[str, Builder] = {"keyed": _keyed}
