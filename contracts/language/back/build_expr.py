"""Builders of values: closures of constants, locals, displays, items and the context."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from chain.primitives.values import decode_stored
from contracts.language.back.builder import Build
from contracts.language.faults import Reverted
from contracts.language.hints import wanted
from contracts.language.ir import Node
from contracts.language.limits import (
    GAS_DICT,
    GAS_DISPLAY,
    GAS_FORMAT,
    GAS_FORMAT_PART,
    GAS_SLICE,
    MEM_CONTAINER,
    MEM_DICT,
    MEM_ENTRY,
    MEM_ITEM,
)
from contracts.language.run.checks import checker
from contracts.language.run.machine import LOCALS, UNSET, Closure, Frame
from contracts.language.run.operators import format_text, get_item, get_slice, to_text
from contracts.language.run.payments import pay_key, put
from contracts.language.run.record_checks import misfit
from contracts.language.run.values import check_key, wrong_type


def constant_of(node: Node) -> Any:
    """Return the value of a constant node, or UNSET."""
    return decode_stored(node[1]) if node[0] == "const" else UNSET


# --- leaves and displays ---------------------------------------------------------------------------------


def _const(b: Build, node: Node) -> Closure:
    value = b.once(("const", node[1]), lambda: decode_stored(node[1]))
    return lambda _: value


def _none(_: Build, __: Node) -> Closure:
    return lambda _: None


def _local(_: Build, node: Node) -> Closure:
    slot = LOCALS + node[1]
    if node[2]:
        return itemgetter(slot)

    def run(f: Frame) -> Any:
        value = f[slot]
        if value is UNSET:
            raise Reverted("UNBOUND", "a local is used before it is assigned")
        return value

    return run


def _table(b: Build, node: Node) -> Closure:
    table = b.constants[node[1]].value
    return lambda _: table


def _global(b: Build, node: Node) -> Closure:
    """A module-level constant: the value itself when nothing in it can change, else a fresh copy."""
    found = b.constants[node[1]]
    return found.fresh or (lambda _: found.value)


def _display(convert: Callable[[list[Any]], Any]) -> Callable[[Build, Node], Closure]:
    def builder(b: Build, node: Node) -> Closure:
        items = [b.expr(item) for item in node[1:]]
        b.cost += GAS_DISPLAY + len(items)
        size = MEM_CONTAINER + MEM_ITEM * len(items)
        if len(items) == 2:
            return _pair(convert, items[0], items[1], size)

        def run(f: Frame) -> Any:
            f[0].allocate(size)
            return convert([item(f) for item in items])

        return run

    return builder


def _pair(convert: Callable[[list[Any]], Any], first: Closure, second: Closure, size: int) -> Closure:
    def run(f: Frame) -> Any:
        f[0].allocate(size)
        return convert([first(f), second(f)])

    return run


def _same(items: list[Any]) -> list[Any]:
    return items


def _dict(b: Build, node: Node) -> Closure:
    if len(node) == 1:
        return _no_entries(b)
    keys = [constant_of(key) for key, _ in node[1:]]
    if all(type(key) is str and len(key) <= 32 for key in keys):
        return _record(b, keys, [b.expr(value) for _, value in node[1:]])
    pairs = [(b.expr(key), b.expr(value)) for key, value in node[1:]]
    b.cost += GAS_DISPLAY + 2 * len(pairs)
    size = MEM_DICT + MEM_ENTRY * len(pairs)

    def run(f: Frame) -> Any:
        m = f[0]
        m.allocate(size)
        made: dict[Any, Any] = {}
        for key, value in pairs:
            name = key(f)
            check_key(name)
            pay_key(m, name)
            put(m, made, name, value(f))
        return made

    return run


def _no_entries(b: Build) -> Closure:
    b.cost += GAS_DISPLAY

    def run(f: Frame) -> Any:
        f[0].allocate(MEM_CONTAINER)
        return {}

    return run


def _record(b: Build, keys: list[str], values: list[Closure]) -> Closure:
    """A dict display whose keys are short constant texts."""
    b.cost += GAS_DISPLAY + 3 * len(keys)
    size = MEM_DICT + MEM_ENTRY * len(keys)

    def run(f: Frame) -> Any:
        f[0].allocate(size)
        return {key: value(f) for key, value in zip(keys, values, strict=True)}

    return run


def _format(b: Build, node: Node) -> Closure:
    parts = [b.expr(part) for part in node[1:]]
    b.cost += GAS_FORMAT + GAS_FORMAT_PART * len(parts)

    def run(f: Frame) -> Any:
        m = f[0]
        texts = [to_text(m, part(f)) for part in parts]
        m.text(sum(map(len, texts)), all(map(str.isascii, texts)))
        return "".join(texts)

    return run


def _spec(b: Build, node: Node) -> Closure:
    inner, spec = b.expr(node[1]), node[2]
    b.cost += GAS_FORMAT
    return lambda f: format_text(f[0], inner(f), spec)


# --- items -----------------------------------------------------------------------------------------------


def _item(b: Build, node: Node) -> Closure:
    held, name = b.expr(node[1]), constant_of(node[2])
    key = b.expr(node[2])
    b.cost += GAS_DICT
    if type(name) is str and len(name) <= 32:
        return _field(held, name)

    def run(f: Frame) -> Any:
        x = held(f)
        k = key(f)
        if type(x) is list and type(k) is int and 0 <= k < len(x):
            return x[k]
        return get_item(f[0], x, k)

    return run


def _field(held: Closure, name: str) -> Closure:
    def run(f: Frame) -> Any:
        x = held(f)
        if type(x) is dict and name in x:
            return x[name]
        return get_item(f[0], x, name)

    return run


def _slice(b: Build, node: Node) -> Closure:
    held, low, high, step = (b.expr(part) for part in node[1:])
    b.cost += GAS_SLICE
    return lambda f: get_slice(f[0], held(f), low(f), high(f), step(f))


def _typed(b: Build, node: Node) -> Closure:
    hint, records = node[1], b.declared.records
    check, text, inner = checker(hint, records), wanted(hint), b.expr(node[2])

    def run(f: Frame) -> Any:
        value = inner(f)
        if not check(f[0], value):
            raise wrong_type(f"{misfit(f[0], hint, value, records)} where the hint says {text}")
        return value

    return run


def _ctx(_: Build, node: Node) -> Closure:
    return CONTEXT_READERS[node[1]]


# `org`, `roles` and `signer` describe the caller. A contract has none of them: what the signer of the
# transaction is must not pass for what the caller is.
CONTEXT_READERS: dict[str, Closure] = {
    "block_time": lambda f: f[0].block_time,
    "caller": lambda f: f[0].caller,
    "chain_id": lambda f: f[0].chain_id,
    "contract": lambda f: f[0].contract,
    "height": lambda f: f[0].height,
    "org": lambda f: "" if f[0].nested else f[0].org,
    "origin": lambda f: f[0].origin,
    "roles": lambda f: () if f[0].nested else f[0].roles,
    "signer": lambda f: "" if f[0].nested else f[0].signer,
    "tx_id": lambda f: f[0].tx_id,
}


BUILDERS: dict[str, Callable[[Build, Node], Closure]] = {
    "const": _const,
    "ctx": _ctx,
    "dict": _dict,
    "format": _format,
    "global": _global,
    "item": _item,
    "list": _display(_same),
    "local": _local,
    "none": _none,
    "slice": _slice,
    "spec": _spec,
    "table": _table,
    "tuple": _display(tuple),
    "typed": _typed,
}
