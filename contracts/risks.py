"""Warnings of `assent contract check`: the contract deploys, and yet may not do what its author means.

Nothing here is a rule of the language: nodes do not look at it. Each warning says what may happen and what to
write instead.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

from contracts.language.faults import Diagnostic
from contracts.language.front.callgraph import reached
from contracts.language.front.declarations import Declarations, Signature
from contracts.language.front.lost_changes import find_lost

WARNINGS_MAX = 50
_IDENTITY = ("org", "roles", "signer")
_ONCE = ("init", "migrate")


@dataclass(slots=True)
class _Facts:
    """What one function reads of `ctx`, and whether it changes anything."""

    reads: list[ast.Attribute] = field(default_factory=list)
    recorded: set[int] = field(default_factory=set)
    """Ids of the expressions that only go into an event or into state."""
    passed: list[tuple[int, str, str]] = field(default_factory=list)
    """Of each `ctx.origin` that is an argument of a function: its id, the function and the parameter."""
    params: list[ast.Name] = field(default_factory=list)
    """Where it reads its parameters."""
    chosen: list[ast.expr] = field(default_factory=list)
    """Parameters that name the contract of a call."""
    writes: bool = False

    def of(self, *names: str) -> list[ast.Attribute]:
        """Return the reads of these names of `ctx`."""
        return [read for read in self.reads if read.attr in names]


def find_risks(names: Declarations) -> list[Diagnostic]:
    """Return the warnings about a contract that the language accepts, in source order."""
    facts = {name: _facts(names, name) for name in names.bodies}
    for fact in facts.values():
        fact.recorded.update(
            [number for number, callee, param in fact.passed if _only_records(facts[callee], param)]
        )
    found = [*find_lost(names).unstored, *_nothing(names)]
    for signature in names.functions.values():
        inside = [facts[name] for name in sorted(reached(names.calls, signature.name))]
        if signature.nested:
            found += _nested(signature, inside)
        if signature.kind in _ONCE:
            found += [_nobody(signature, read) for fact in inside for read in fact.of(*_IDENTITY, "origin")]
        if signature.kind in ("export", "view"):
            found += [_chosen(signature, node) for node in facts[signature.name].chosen]
    once = {(item.rule, item.line, item.column): item for item in reversed(found)}
    return sorted(once.values(), key=lambda item: (item.line, item.column))[:WARNINGS_MAX]


# --- the warnings ----------------------------------------------------------------------------------------


def _nested(signature: Signature, inside: list[_Facts]) -> Iterator[Diagnostic]:
    """A method that contracts may call: whoever is meant, `ctx` must not be asked for somebody else."""
    name = signature.name
    for fact in inside:
        for read in fact.of(*_IDENTITY):
            reason = f"contracts may call {name}(), and ctx.{read.attr} is then empty"
            yield _at(read, "NESTED_IDENTITY", reason, "ctx.caller, an argument, or a plain @export")
        for read in fact.of("origin"):
            if id(read) not in fact.recorded:
                reason = (
                    f"contracts may call {name}(), and ctx.origin then names a member who may not know of it"
                )
                yield _at(read, "ORIGIN_DECIDES", reason, "ctx.caller; ctx.origin only in events and records")
    changes = signature.kind == "export" and any(fact.writes for fact in inside)
    if changes and not any(fact.of("caller") for fact in inside):
        reason = f"every member and every contract may call {name}(), which changes state"
        instead = 'require(ctx.caller == "contract:NAME", "CODE"), or a plain @export'
        yield Diagnostic("ANY_CALLER", signature.line, 1, reason, instead)


def _nothing(names: Declarations) -> Iterator[Diagnostic]:
    if not names.functions:
        reason = "there is no function here, so nobody can call anything"
        yield Diagnostic("NO_FUNCTION", 1, 1, reason, "a def, with @export or @view above it")


def _nobody(signature: Signature, read: ast.Attribute) -> Diagnostic:
    reason = f"nobody calls @{signature.kind}, so ctx.{read.attr} is always empty there"
    return _at(read, "NOBODY_CALLS", reason, f"an argument of {signature.name}()")


def _chosen(signature: Signature, node: ast.expr) -> Diagnostic:
    reason = f"whoever calls {signature.name}() chooses the contract, which is called in this contract's name"
    return _at(node, "CHOSEN_CONTRACT", reason, "a declared Contract, or a name from state that was checked")


def _at(node: ast.expr, rule: str, reason: str, instead: str) -> Diagnostic:
    return Diagnostic(rule, node.lineno, node.col_offset + 1, reason, instead)


# --- what a function does --------------------------------------------------------------------------------


def _facts(names: Declarations, name: str) -> _Facts:
    facts = _Facts()
    params = {param for param, _ in names.functions[name].params}
    for node in ast.walk(names.bodies[name]):
        if _is_context(node):
            facts.reads.append(node)
        elif isinstance(node, ast.Name) and node.id in params:
            facts.params.append(node)
        elif isinstance(node, (ast.Assign, ast.AugAssign, ast.Delete)):
            _look_at_places(names, params, node, facts)
        elif isinstance(node, ast.Call):
            _look_at_call(names, params, node, facts)
    return facts


def _is_context(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ctx"


def _only_records(callee: _Facts, param: str) -> bool:
    return all(id(read) in callee.recorded for read in callee.params if read.id == param)


def _look_at_places(
    names: Declarations, params: set[str], node: ast.Assign | ast.AugAssign | ast.Delete, facts: _Facts
) -> None:
    for target in [node.target] if isinstance(node, ast.AugAssign) else node.targets:
        held = target.value if isinstance(target, ast.Subscript) else None
        if isinstance(held, ast.Name) and held.id in names.maps and held.id not in params:
            facts.writes = True
            if not isinstance(node, ast.Delete):
                _record(facts, node.value)


def _look_at_call(names: Declarations, params: set[str], node: ast.Call, facts: _Facts) -> None:
    func = node.func
    if isinstance(func, ast.Name) and func.id in names.events:
        facts.writes = True
        for keyword in node.keywords:
            _record(facts, keyword.value)
    elif isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
        if func.attr == "set" and func.value.id in names.variables:
            facts.writes = True
            _record(facts, node.args[0])
    elif isinstance(func, ast.Name) and func.id in names.functions:
        order = [param for param, _ in names.functions[func.id].params]
        given = [*zip(order, node.args, strict=False)]
        given += [(str(keyword.arg), keyword.value) for keyword in node.keywords]
        facts.passed += [(id(value), func.id, param) for param, value in given if _is_context(value)]
    elif isinstance(func, ast.Name) and func.id == "Contract":
        facts.chosen += [name for name in node.args if isinstance(name, ast.Name) and name.id in params]


def _record(facts: _Facts, value: ast.expr) -> None:
    facts.recorded.update(id(part) for part in ast.walk(value))
