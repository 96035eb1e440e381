"""Lowering of classes: records, whose fields have types, and interfaces of other contracts."""

from __future__ import annotations

import ast
from collections.abc import Callable

from contracts.language.front.declarations import Declarations, Interface, Signature
from contracts.language.front.refusals import Refusal
from contracts.language.hints import Hint
from contracts.language.ir import Node
from contracts.language.limits import NESTING_MAX
from contracts.language.records import FIELDS_MAX, record_of

BASES = frozenset({"Record", "Protocol"})
RECORD = "class Grant(Record):, and a line for each field: rows: int = 0"
PROTOCOL = "class Policy(Protocol):, and for each method def allow(self, job: dict, phase: str) -> bool: ..."
Default = Callable[[ast.expr, Hint, str], Node]
"""Returns the constant of a default of this name, or refuses it."""
HintOf = Callable[[ast.expr | None], Hint]


def base_of(node: ast.ClassDef) -> str:
    """Return "Record" or "Protocol"; refuse any other class."""
    only = node.bases[0] if len(node.bases) == 1 else None
    extra = node.keywords or node.decorator_list or getattr(node, "type_params", [])
    if not isinstance(only, ast.Name) or only.id not in BASES or extra:
        reason = "a class is a record or an interface here: its one base is Record or Protocol"
        raise Refusal(node, "CLASS", reason, f"{RECORD}; {PROTOCOL}")
    return only.id


def _body(node: ast.ClassDef) -> list[ast.stmt]:
    """Return the statements of a class without its docstring."""
    first = node.body[0]
    text = first.value if isinstance(first, ast.Expr) else None
    has_text = isinstance(text, ast.Constant) and isinstance(text.value, str)
    return node.body[1:] if has_text else node.body


def define_record(names: Declarations, node: ast.ClassDef, hint_of: HintOf, default: Default) -> None:
    """Add the record that a class defines."""
    parts: dict[str, Node] = {}
    optional = ""
    for line in _body(node):
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name):
            what = "functions take it" if isinstance(line, ast.FunctionDef) else "nothing else"
            raise Refusal(line, "RECORD", f"a record has fields, and {what}", RECORD)
        name = line.target.id
        check_member(parts, line, name, "field")
        hint = hint_of(line.annotation)
        if line.value is not None:
            parts[name] = (name, hint, default(line.value, hint, name))
            optional = name
        elif optional:
            reason = f"field {name} has no default and follows {optional}, which has one"
            raise Refusal(line, "RECORD", reason, "fields without a default first")
        else:
            parts[name] = (name, hint)
    if not 1 <= len(parts) <= FIELDS_MAX:
        raise Refusal(node, "RECORD", f"a record has 1 to {FIELDS_MAX} fields", RECORD)
    made = record_of((node.name, tuple(parts.values())), names.records)
    if made.depth > NESTING_MAX:
        reason = f"{node.name} nests deeper than {NESTING_MAX}, so no value of it could be stored"
        raise Refusal(node, "RECORD", reason, "keys of a Map instead of records within records")
    names.records[node.name] = made


def check_member(known: dict[str, Node] | dict[str, Signature], node: ast.AST, name: str, what: str) -> None:
    """Refuse a member of a class that is there already, or that no caller could name."""
    if name in known:
        raise Refusal(node, "TWICE", f"{what} {name} is defined twice", "another name")
    if name.startswith("_"):
        raise Refusal(
            node, "UNDERSCORE_NAME", f"a {what} does not begin with _", name.lstrip("_") or "a name"
        )


def define_interface(names: Declarations, node: ast.ClassDef, hint_of: HintOf) -> None:
    """Add the interface that a class defines."""
    methods: dict[str, Signature] = {}
    for line in _body(node):
        if not isinstance(line, ast.FunctionDef):
            raise Refusal(line, "INTERFACE", "an interface holds methods, and nothing else", PROTOCOL)
        check_member(methods, line, line.name, "method")
        methods[line.name] = _method(line, hint_of)
    if not methods:
        raise Refusal(node, "INTERFACE", "an interface has at least one method", PROTOCOL)
    names.interfaces[node.name] = Interface(node.name, methods)


def _method(node: ast.FunctionDef, hint_of: HintOf) -> Signature:
    args = node.args
    plain = not (args.vararg or args.kwarg or args.kwonlyargs or args.posonlyargs or node.decorator_list)
    if not plain or not args.args or args.args[0].arg != "self" or not _is_empty(node):
        reason = f"{node.name} is not the head of a method: self, then each argument with its type, then ..."
        raise Refusal(node, "INTERFACE", reason, PROTOCOL)
    given = args.args[1:]
    params: dict[str, Hint] = {}
    for argument in given:
        if argument.arg in params or argument.arg == "self":
            raise Refusal(argument, "TWICE", f"argument {argument.arg} is named twice", "another name")
        params[argument.arg] = hint_of(argument.annotation)
    optional = args.defaults
    if not all(isinstance(part, ast.Constant) and part.value is Ellipsis for part in optional):
        reason = "what an argument is when it is left out, the contract that is called says"
        raise Refusal(node, "INTERFACE", reason, "limit: int = ...")
    defaults: dict[str, Node] = dict.fromkeys(list(params)[len(params) - len(optional) :], ())
    returns = hint_of(node.returns)
    return Signature(node.name, "", True, tuple(params.items()), returns, node.lineno, defaults)


def _is_empty(node: ast.FunctionDef) -> bool:
    """Tell whether a body is `...`, with a docstring before it or instead of it."""
    for line in node.body:
        value = line.value if isinstance(line, ast.Expr) else None
        if not isinstance(value, ast.Constant) or not (
            value.value is Ellipsis or isinstance(value.value, str)
        ):
            return False
    return True
