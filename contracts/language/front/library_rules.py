"""Rules for libraries: what a source may hold to be one, and where a contract names those that it uses."""

from __future__ import annotations

import ast

from contracts.language.faults import DIAGNOSTICS_MAX, Diagnostic
from contracts.language.front.refusals import Refusal

_OUTSIDE = frozenset({"Map", "Var", "Event", "Contract", "Library"})
_SERVICES = frozenset({"call_init", "call_migrate", "compile_contract", "compile_library", "trace_page"})
_PURE = "what it works on as an argument: a library has no state, no ctx, no events and calls no contract"


def impurities(tree: ast.Module) -> list[Diagnostic]:
    """Return the reasons, in source order, why a source is no library; at most 20."""
    found = [refusal.diagnostic for node in ast.walk(tree) if (refusal := _impure(node)) is not None]
    if not found and not any(visible(name) for name in _named(tree)):
        reason = "there is nothing here that a contract could use"
        found = [
            Diagnostic("LIBRARY", 1, 1, reason, "a def, a record or a constant without _ before its name")
        ]
    return sorted(found, key=lambda item: (item.line, item.column))[:DIAGNOSTICS_MAX]


def _impure(node: ast.AST) -> Refusal | None:
    if isinstance(node, ast.FunctionDef) and node.decorator_list:
        reason = f"{node.name} has a decorator, and nobody calls a library from outside"
        return Refusal(node.decorator_list[0], "LIBRARY", reason, "a plain def")
    if isinstance(node, ast.Name) and node.id in (*_OUTSIDE, *_SERVICES, "ctx"):
        reason = "a library names no library" if node.id == "Library" else f"a library has no {node.id}"
        return Refusal(node, "LIBRARY", reason, _PURE)
    if isinstance(node, ast.ClassDef) and any(
        isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases
    ):
        return Refusal(node, "LIBRARY", "an interface is of a contract that is called", _PURE)
    return None


def _named(tree: ast.Module) -> list[str]:
    """Return the names that the top level defines."""
    found = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.append(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            found += [
                part.id
                for part in ast.walk(node)
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            ]
    return found


def visible(name: str) -> bool:
    """Tell whether contracts may use a name of a library."""
    return not name.startswith("_")


def declarations(tree: ast.Module) -> list[tuple[str, ast.Call]]:
    """Return name and call of each `name = Library(…)` of the top level."""
    return [found for node in tree.body if (found := _declaration(node)) is not None]


def _declaration(node: ast.stmt) -> tuple[str, ast.Call] | None:
    """Return the name and the call of `name = Library(…)`."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return None
    target, call = node.targets[0], node.value
    if (
        not isinstance(target, ast.Name)
        or not isinstance(call, ast.Call)
        or not isinstance(call.func, ast.Name)
    ):
        return None
    return (target.id, call) if call.func.id == "Library" else None
