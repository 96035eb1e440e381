"""Lowering of declarations: Map, Var, Event, Error, Contract and Library."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from chain.primitives.kinds import REFUSED
from contracts.language.folding import Folder
from contracts.language.front.annotations import hint_of
from contracts.language.front.declarations import Declarations, Exports
from contracts.language.front.linking import link
from contracts.language.front.lower_constant import lower_constant
from contracts.language.front.refusals import Refusal, check_code
from contracts.language.hints import Hint, hint_text
from contracts.language.ir import Node

_SHAPES = {
    "Map": "Map(str, dict)",
    "Var": "Var(int, 0)",
    "Error": 'Error("DENIED")',
    "Contract": 'Contract("policy")',
}
_ORDERED: frozenset[Hint] = frozenset({("int",), ("str",), ("bytes",)})
_KEY_HINTS = frozenset({"int", "str", "bytes", "bool", "tuple"})


def declare(
    names: Declarations, name: str, call: ast.Call, folder: Folder, libraries: Mapping[str, Exports]
) -> None:
    """Add what `name = Map(…)`, `Var(…)` and the like declare; `libraries` are those that were found."""
    assert isinstance(call.func, ast.Name)  # seen by the caller
    kind = call.func.id
    if kind == "Library":
        if name not in libraries:
            raise Refusal(call, "LIBRARY", "a library has a name and no type", 'roles = Library("…")')
        link(names, name, libraries[name], folder)
        return
    if kind == "Event":
        if name == REFUSED:
            raise Refusal(call, "RESERVED_NAME", f"the ledger itself announces {REFUSED}", "another name")
        names.events[name] = _event(names, call)
        return
    if kind == "Map" and call.keywords:
        names.maps[name] = _ordered_map(names, call)
        names.ordered.add(name)
        return
    if call.keywords:
        raise Refusal(call, "ARGUMENTS", f"{kind}() takes its arguments in order", _SHAPES[kind])
    if kind == "Map":
        names.maps[name] = _map(names, call)
    elif kind == "Var":
        names.variables[name] = _variable(names, call, folder)
    else:
        text = text_argument(call, kind)
        if kind == "Error":
            check_code(call, text)
            names.errors[name] = text
        else:
            names.contracts[name] = text


def _event(names: Declarations, call: ast.Call) -> tuple[tuple[str, Hint], ...]:
    if call.args:
        raise Refusal(call, "ARGUMENTS", "an Event names its fields", "Event(grant=int, dataset=subject)")
    fields: dict[str, Hint] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise Refusal(keyword.value, "STAR", "** is not in the language", "each field by name")
        if keyword.arg in fields:
            raise Refusal(keyword, "TWICE", f"field {keyword.arg} is named twice", "another name")
        fields[keyword.arg] = hint_of(keyword.value, names.records)
    return tuple(fields.items())


def _ordered_map(names: Declarations, call: ast.Call) -> tuple[Hint, Hint]:
    """`Map(K, V, ordered=True)`: keys of one plain type, or tuples of such."""
    only = call.keywords[0]
    says = isinstance(only.value, ast.Constant) and only.value.value is True
    if len(call.keywords) != 1 or only.arg != "ordered" or not says:
        raise Refusal(call, "ARGUMENTS", "a Map takes its types in order", "Map(str, dict, ordered=True)")
    key, value = _map(names, call)
    parts = key[1:] if key[0] == "tuple" else (key,)
    if not all(part in _ORDERED for part in parts):
        reason = f"keys in order are int, str, bytes or a tuple of them, not {hint_text(key)}"
        raise Refusal(call.args[0], "HINT", reason, "Map(tuple[str, int], …, ordered=True)")
    return key, value


def _map(names: Declarations, call: ast.Call) -> tuple[Hint, Hint]:
    if len(call.args) != 2:
        raise Refusal(call, "ARGUMENTS", "a Map has a key type and a value type", "Map(str, dict)")
    key = hint_of(call.args[0], names.records)
    if key[0] not in _KEY_HINTS:
        reason = f"a key of a Map is int, str, bytes, bool or tuple[…], not {hint_text(key)}"
        raise Refusal(call.args[0], "HINT", reason, "Map(str, …)")
    return key, hint_of(call.args[1], names.records)


def _variable(names: Declarations, call: ast.Call, folder: Folder) -> tuple[Hint, Node | None]:
    if len(call.args) not in (1, 2):
        raise Refusal(call, "ARGUMENTS", "a Var has a type and a default", "Var(int, 0)")
    hint = hint_of(call.args[0], names.records)
    default = lower_constant(names, call.args[1], hint, folder).node if len(call.args) == 2 else None
    return hint, default


def text_argument(call: ast.Call, kind: str) -> str:
    """Return the one text that a declaration takes."""
    argument = call.args[0] if len(call.args) == 1 else None
    if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
        raise Refusal(call, "ARGUMENTS", f"{kind}() takes one text", f'{kind}("…")')
    return argument.value
