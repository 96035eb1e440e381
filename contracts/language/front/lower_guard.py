"""Lowering of guards: the statements with which a guarded method begins."""

from __future__ import annotations

import ast

from chain.primitives.values import encode_value
from contracts.language.front.declarations import Declarations
from contracts.language.front.guards import ORG_CODE, ROLE_CODE, BadGuard, Guard
from contracts.language.ir import Node


def lower_guard(guard: Guard, names: Declarations) -> list[Node]:
    """Return the statements that a guarded method begins with; raise BadGuard."""
    made: list[Node] = []
    if guard.roles:
        held: Node = ("ctx", "roles")
        tests = [("compare", "in", ("const", encode_value(role)), held) for role in guard.roles]
        condition: Node = tests[0] if len(tests) == 1 else ("or", *tests)
        made.append(("expr", guard.line, ("require", condition, ROLE_CODE)))
    if guard.org is not None:
        made.append(("expr", guard.line, ("require", _org_test(guard.org, names), ORG_CODE)))
    return made


def _org_test(node: ast.expr, names: Declarations) -> Node:
    """One organisation in a text or a Var, or several in a constant; nobody is of the organisation ""."""
    caller: Node = ("ctx", "org")
    if isinstance(node, ast.Constant) and type(node.value) is str and node.value:
        return ("compare", "==", caller, ("const", encode_value(node.value)))
    if isinstance(node, ast.Name) and names.variables.get(node.id, (None,))[0] == ("str",):
        return (
            "and",
            ("compare", "!=", caller, ("const", encode_value(""))),
            ("compare", "==", caller, ("var_get", node.id)),
        )
    if isinstance(node, ast.Name) and (constant := names.constants.get(node.id)) is not None:
        if constant.texts == "one":
            return ("compare", "==", caller, constant.node)
        if constant.texts == "many":
            held = ("table", constant.node[1]) if constant.mutable else constant.node
            return ("compare", "in", caller, held)
    raise BadGuard(node, "org= is a text, a Var(str), or a constant text, list or tuple of texts")
