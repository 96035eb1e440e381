"""Builders of calls of other contracts: closures that hold both sides of a call against its interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from chain.primitives.values import Value
from contracts.language.back.builder import Build, Builder
from contracts.language.faults import Reverted
from contracts.language.hints import Hint, wanted
from contracts.language.ir import Node
from contracts.language.run.checks import checker
from contracts.language.run.machine import Closure, Frame, Machine
from contracts.language.run.record_checks import misfit
from contracts.language.run.values import type_name, wrong_type

_UNLIKE = frozenset({"UNKNOWN_METHOD", "BAD_ARGUMENTS", "TYPE_ERROR", "DIRECT_ONLY"})
"""With which a contract refuses a call before anything of it runs, because it is not as was declared."""
Enforce = Callable[[Machine, Value], None]
PARAMS_SHOWN = 12
"""Arguments of a method that the refusal of a call lists."""


def _remote(b: Build, node: Node) -> Closure:
    target, method = b.expr(node[1]), node[2]
    arguments = b.all(node[3])
    named = [(name, b.expr(value)) for name, value in node[4]]

    def run(f: Frame) -> Any:
        m, name = f[0], target(f)
        if type(name) is not str:
            raise wrong_type(f"Contract() takes the name of a contract, not {type_name(name)}")
        given = [argument(f) for argument in arguments]
        by_name = {key: value(f) for key, value in named}
        return m.services.remote(m, name, method, given, by_name)

    return run


def _contract(b: Build, node: Node) -> Closure:
    """`policy: Policy = Contract(name)`: what the local holds is the name."""
    inner = b.expr(node[1])

    def run(f: Frame) -> Any:
        name = inner(f)
        if type(name) is not str:
            raise wrong_type(f"Contract() takes the name of a contract, not {type_name(name)}")
        return name

    return run


def _remote_as(b: Build, node: Node) -> Closure:
    """Check the arguments, call, check the result; a contract that is not like the interface is named."""
    _, name_node, interface, method, positional, *pairs = node
    hints, returns = b.declared.interfaces[interface][method]
    head = f"{interface}.{method}"
    target = b.expr(name_node)
    given = [(name, b.expr(value), _argument(b, head, name, hints[name])) for name, value in pairs]
    answer = _result(b, head, returns)

    def run(f: Frame) -> Any:
        m, contract = f[0], target(f)
        values = []
        for name, value, enforce in given:
            item = value(f)
            enforce(m, item)
            values.append((name, item))
        ordered = [item for _, item in values[:positional]]
        try:
            result = m.services.remote(m, contract, method, ordered, dict(values[positional:]))
        except Reverted as halt:
            if halt.reason in _UNLIKE and not halt.trace:
                halt.detail = f"{halt.detail}; {_shape(head, hints, returns)} is wanted of {contract}"
            raise
        answer(m, contract, result)
        return result

    return run


def _shape(head: str, hints: Mapping[str, Hint], returns: Hint) -> str:
    """Return a method as its interface has it; made when a call fails, not by each place that calls."""
    params = [f"{name}: {wanted(hint)}" for name, hint in islice(hints.items(), PARAMS_SHOWN)]
    more = ["…"] * (len(hints) > PARAMS_SHOWN)
    return f"{head}({', '.join([*params, *more])}) -> {wanted(returns)}"


def _argument(b: Build, head: str, name: str, hint: Hint) -> Enforce:
    records = b.declared.records
    check = b.once(("argument", head, name), lambda: checker(hint, records))

    def enforce(m: Machine, value: Value) -> None:
        if not check(m, value):
            found = misfit(m, hint, value, records)
            raise wrong_type(f"{head}(): argument {name} is {wanted(hint)}, not {found}")

    return enforce


def _result(b: Build, head: str, hint: Hint) -> Callable[[Machine, str, Value], None]:
    """Return the test of what a contract gave; a copy, so fields of records may be completed."""
    records = b.declared.records
    check = b.once(("result", head), lambda: checker(hint, records, fill=True))

    def enforce(m: Machine, contract: str, value: Value) -> None:
        if not check(m, value):
            found = misfit(m, hint, value, records)
            raise wrong_type(f"{head}() gives {wanted(hint)}, and contract {contract} gave {found}")

    return enforce


BUILDERS: dict[str, Builder] = {
    "contract": _contract,
    "remote": _remote,
    "remote_as": _remote_as,
}
