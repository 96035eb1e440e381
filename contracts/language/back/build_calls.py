"""Builders of calls: closures that call own functions, builtins, methods and host functions."""

from __future__ import annotations

from typing import Any

from chain.primitives.values import Value
from contracts.language.back.builder import Build, Builder, Function
from contracts.language.faults import CODE_PATTERN, Halt, LimitExceeded, Reverted
from contracts.language.hints import wanted
from contracts.language.ir import Node
from contracts.language.limits import CALL_DEPTH_MAX, GAS_BUILTIN, GAS_CALL, GAS_METHOD, GAS_NODE, STACK_MAX
from contracts.language.records import holds_bytes
from contracts.language.run import host
from contracts.language.run.builtins import FUNCTIONS, STATIC_FUNCTIONS, is_instance
from contracts.language.run.checks import EXACT
from contracts.language.run.machine import LOCALS, Closure, Frame, Machine
from contracts.language.run.methods import METHODS
from contracts.language.run.record_checks import misfit
from contracts.language.run.values import type_name, wrong_type

TYPES: dict[str, type] = {**EXACT, "list": list, "dict": dict, "tuple": tuple}


def enter(m: Machine, function: Function, frame: Frame) -> Any:
    """Run a function in a frame that holds its arguments; return its result.

    It checks arguments and result against their hints, bounds the depth of calls, and adds to a halt's trace.
    """
    for place, exact, check in function.checks:
        if type(frame[place]) is not exact and not (exact is None and check(m, frame[place])):
            raise _unfit(m, function, place - LOCALS, frame[place])
    m.depth += 1
    m.stack += function.frames
    if m.depth > CALL_DEPTH_MAX or m.stack > STACK_MAX:
        raise LimitExceeded("CALL_DEPTH", f"calls nested deeper than {CALL_DEPTH_MAX}, or too deep in total")
    try:
        function.body(frame)
        if function.result is not None and not function.result(m, frame[1]):
            given = misfit(m, function.returns, frame[1], function.records)
            raise wrong_type(f"{function.name}() returns {given}, not {wanted(function.returns)}")
    except Halt as halt:
        halt.leave(m.contract, function.name, function.library)
        raise
    m.depth -= 1
    m.stack -= function.frames
    return frame[1]


def _unfit(m: Machine, function: Function, place: int, given: Value) -> Reverted:
    """Return the revert of an argument against its hint, with the way in which JSON writes bytes."""
    hint = function.params[place][1]
    found = misfit(m, hint, given, function.records)
    text = f"{function.name}(): argument {function.names[place]} is {wanted(hint)}, not {found}"
    if type(given) in (str, list, dict) and holds_bytes(hint, function.records):
        text += '; in JSON, bytes are {"$bytes": "hex digits"}'
    return wrong_type(text)


def _call(b: Build, node: Node) -> Closure:
    function = b.functions[node[1]]
    arguments = b.all(node[2:])
    padding = function.padding
    b.cost += GAS_CALL + (len(padding) >> 5)
    if function.kind == "view":
        return _call_view(function, arguments)
    if len(arguments) == 1:
        only = arguments[0]
        return lambda f: enter(f[0], function, [f[0], None, only(f), *padding])

    def run(f: Frame) -> Any:
        m = f[0]
        return enter(m, function, [m, None, *[argument(f) for argument in arguments], *padding])

    return run


def _call_some(b: Build, node: Node) -> Closure:
    """A call that leaves out what has a default: the frame begins as the function's, prepared once."""
    function = b.functions[node[1]]
    given = [(LOCALS + place, b.expr(value)) for place, value in zip(node[2], node[3:], strict=True)]
    left_out = len(function.params) - len(given)
    b.cost += GAS_CALL + (len(function.padding) >> 5) + GAS_NODE * left_out
    into = enter_view if function.kind == "view" else enter

    def run(f: Frame) -> Any:
        m = f[0]
        frame = [m, None, *function.template]
        for place, value in given:
            frame[place] = value(f)
        return into(m, function, frame)

    return run


def _call_view(function: Function, arguments: list[Closure]) -> Closure:
    padding = function.padding

    def run(f: Frame) -> Any:
        m = f[0]
        return enter_view(m, function, [m, None, *[argument(f) for argument in arguments], *padding])

    return run


def enter_view(m: Machine, function: Function, frame: Frame) -> Any:
    """Run a @view, which only reads even when its own contract calls it; its arguments are there."""
    before, m.read_only = m.read_only, True
    result = enter(m, function, frame)
    m.read_only = before  # not after a halt, which ends the transaction
    return result


def _builtin(b: Build, node: Node) -> Closure:
    return _apply(b, FUNCTIONS[node[1]], node[2:], GAS_BUILTIN)


def _static(b: Build, node: Node) -> Closure:
    return _apply(b, STATIC_FUNCTIONS[node[1], node[2]], node[3:], GAS_METHOD)


def _host(b: Build, node: Node) -> Closure:
    return _apply(b, host.FUNCTIONS[node[1]], node[2:], GAS_BUILTIN)


def _apply(b: Build, work: Any, nodes: tuple[Node, ...], gas: int) -> Closure:
    arguments = b.all(nodes)
    b.cost += gas
    if len(arguments) == 1:
        only = arguments[0]
        return lambda f: work(f[0], only(f))
    return lambda f: work(f[0], *[argument(f) for argument in arguments])


def _method(b: Build, node: Node) -> Closure:
    name, receiver, arguments = node[1], b.expr(node[2]), b.all(node[3:])
    b.cost += GAS_METHOD
    table, count = METHODS[name], len(arguments)

    def run(f: Frame) -> Any:
        value = receiver(f)
        entry = table.get(type(value))
        if entry is None:
            raise wrong_type(f"{type_name(value)} has no method {name}")
        if not entry[1] <= count <= entry[2]:
            raise wrong_type(f"{type_name(value)}.{name}() takes {entry[1]} to {entry[2]} arguments")
        return entry[0](f[0], value, *[argument(f) for argument in arguments])

    return run


def _isinstance(b: Build, node: Node) -> Closure:
    inner = b.expr(node[1])
    kinds = tuple(TYPES[name] for name in node[2:])
    return lambda f: is_instance(inner(f), kinds)


def _require(b: Build, node: Node) -> Closure:
    condition, code = b.expr(node[1]), node[2]

    def run(f: Frame) -> Any:
        if not condition(f):
            raise Reverted(code)

    return run


def _require_any(b: Build, node: Node) -> Closure:
    condition, code = b.expr(node[1]), b.expr(node[2])

    def run(f: Frame) -> Any:
        holds, text = condition(f), code(f)
        if type(text) is not str or len(text) > 64 or not CODE_PATTERN.fullmatch(text):
            raise Reverted("VALUE_ERROR", "require: a code is 1 to 64 of A-Z, 0-9 and _")
        if not holds:
            raise Reverted(text)

    return run


BUILDERS: dict[str, Builder] = {
    "builtin": _builtin,
    "call": _call,
    "call_some": _call_some,
    "host": _host,
    "isinstance": _isinstance,
    "method": _method,
    "require": _require,
    "require_any": _require_any,
    "static": _static,
}
