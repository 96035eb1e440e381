"""Lowering of calls of other contracts: by name alone, or through an interface that types them."""

from __future__ import annotations

import ast

from chain.primitives.values import encode_value
from contracts.language.front.binding import bound, check_fit
from contracts.language.front.declarations import Interface
from contracts.language.front.expressions import Lowering
from contracts.language.front.refusals import Refusal
from contracts.language.front.suggestions import near_ones
from contracts.language.ir import Node

METHODS_SHOWN = 6
"""Methods of an interface that the refusal of a misspelt one names when none is like it."""


def is_contract(node: ast.Call) -> bool:
    """Tell whether a call is `Contract(…)`."""
    return isinstance(node.func, ast.Name) and node.func.id == "Contract"


def interface_of(low: Lowering, name: str) -> Interface | None:
    """Return the interface through which a name is called, when it stands for a contract that has one."""
    if low.scope.find(name) is None:
        return low.names.interfaces.get(low.names.seen_as.get(name, ""))
    known = low.scope.known(name)
    return low.names.interfaces[known[1]] if known[0] == "interface" else None


def lower_remote_as(low: Lowering, node: ast.Call, owner: str, interface: Interface, method: str) -> Node:
    """Return the IR of a call through an interface, whose method, arguments and their types it must fit."""
    low.names.remote_calls.add(id(node))
    signature = interface.methods.get(method)
    if signature is None:
        known = near_ones(low.names, method, interface.methods) or list(interface.methods)[:METHODS_SHOWN]
        reason = f"{interface.name} has no method {method}"
        raise Refusal(node, "UNKNOWN_METHOD", reason, ", ".join(f"{owner}.{name}(…)" for name in known))
    local = low.scope.find(owner)
    target = ("const", encode_value(low.names.contracts[owner])) if local is None else ("local", *local)
    params, what = signature.params, f"{interface.name}.{method}"
    pairs = []
    for place, value in bound(node, what, params, signature.places, signature.defaults):
        name, hint = params[place]
        pairs.append((name, low.expr(value)))
        check_fit(value, f"{what}(): argument {name}", low.known.of(value), hint)
    return ("remote_as", target, interface.name, method, len(node.args), *pairs)


def lower_remote(low: Lowering, node: ast.Call, target: Node, method: str) -> Node:
    """Return the IR of a call by a contract's name, which nothing is known of before it runs."""
    low.names.remote_calls.add(id(node))
    named = []
    for keyword in node.keywords:
        if keyword.arg is None:
            raise Refusal(
                keyword.value, "STAR", "** arguments are not in the language", "each argument by name"
            )
        named.append((keyword.arg, low.expr(keyword.value)))
    if len({name for name, _ in named}) != len(named):
        reason = f"{method}(): an argument is given twice"
        raise Refusal(node, "ARGUMENTS", reason, "each argument once")
    return ("remote", target, method, tuple([low.expr(argument) for argument in node.args]), tuple(named))
