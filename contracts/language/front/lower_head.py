"""Lowering of the heads of functions: decorators, arguments with their defaults, and the result."""

from __future__ import annotations

import ast

from contracts.language.folding import Folder
from contracts.language.front.annotations import hint_of
from contracts.language.front.declarations import Declarations, Signature
from contracts.language.front.guards import SHAPES, BadGuard, Guard, parse_guard
from contracts.language.front.lower_constant import lower_default
from contracts.language.front.refusals import Refusal
from contracts.language.hints import ANY, Hint
from contracts.language.ir import Node
from contracts.language.vocabulary import KINDS, RESERVED


def declare_function(names: Declarations, node: ast.FunctionDef, folder: Folder) -> None:
    """Add the function that a def defines: its signature, and its body for later."""
    kind, nested, guard = _decorators(node)
    args = node.args
    if args.vararg or args.kwarg or args.kwonlyargs or args.posonlyargs:
        raise Refusal(
            node,
            "STAR",
            "star, keyword-only and positional-only arguments are not in the language",
            "plain ones",
        )
    if kind and node.name.startswith("_"):
        reason = "what others call does not begin with _"
        raise Refusal(node, "UNDERSCORE_NAME", reason, f"{node.name.lstrip('_') or 'a name'}")
    plain = tuple([(argument.arg, ANY) for argument in args.args])
    names.functions[node.name] = Signature(node.name, kind, nested, plain, ANY, node.lineno)
    names.bodies[node.name] = node
    params = tuple([(argument.arg, hint_of(argument.annotation, names.records)) for argument in args.args])
    _check_params(args.args)
    returns = hint_of(node.returns, names.records)
    defaults = _defaults(names, args, params, folder)
    names.functions[node.name] = Signature(
        node.name, kind, nested, params, returns, node.lineno, defaults, guard
    )


def _defaults(
    names: Declarations, args: ast.arguments, params: tuple[tuple[str, Hint], ...], folder: Folder
) -> dict[str, Node]:
    """Return the constants of parameters that may be left out: small, and none that could change."""
    found: dict[str, Node] = {}
    for (name, hint), node in zip(params[len(params) - len(args.defaults) :], args.defaults, strict=True):
        found[name] = lower_default(names, (node, hint, name), folder)
    return found


def _decorators(node: ast.FunctionDef) -> tuple[str, bool, Guard | None]:
    """Return the kind of a function, whether other contracts may call it, and who alone may."""
    try:
        guards = [guard for part in node.decorator_list if (guard := parse_guard(part)) is not None]
    except BadGuard as bad:
        raise Refusal(bad.node, "DECORATOR", str(bad), SHAPES) from None
    kind, nested = _kind(node)
    if not guards:
        return kind, nested, None
    if len(guards) > 1 or kind != "export" or nested:
        reason = "one @only, on a plain @export: only there is a member in ctx who could be asked"
        raise Refusal(node.decorator_list[0], "DECORATOR", reason, "require(…) on ctx.caller")
    return kind, nested, guards[0]


def _kind(node: ast.FunctionDef) -> tuple[str, bool]:
    """Return the kind of a function ("" for an internal one), and whether other contracts may call it."""
    found = [part for part in node.decorator_list if parse_guard(part) is None]
    if not found:
        return "", False
    if len(found) > 1:
        reason = "a second decorator: a function is of one kind"
        raise Refusal(found[1], "DECORATOR", reason, _DECORATORS)
    decorator = found[0]
    called = isinstance(decorator, ast.Call)
    name = decorator.func if isinstance(decorator, ast.Call) else decorator
    if not isinstance(name, ast.Name) or name.id not in KINDS:
        raise Refusal(decorator, "DECORATOR", "not a decorator of the language", _DECORATORS)
    if called and not _says_nested(decorator):
        reason = f"@{name.id} takes nothing here; only @export takes one thing, nested=True"
        raise Refusal(decorator, "DECORATOR", reason, _DECORATORS)
    return name.id, called or name.id == "view"


def _says_nested(decorator: ast.expr) -> bool:
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Name):
        return False
    if decorator.func.id != "export" or decorator.args or len(decorator.keywords) != 1:
        return False
    only = decorator.keywords[0]
    return only.arg == "nested" and isinstance(only.value, ast.Constant) and only.value.value is True


def _check_params(params: list[ast.arg]) -> None:
    """Refuse a reserved or repeated name; `ast.parse` leaves repetitions to CPython's compiler."""
    seen: set[str] = set()
    for param in params:
        if param.arg in RESERVED:
            raise Refusal(param, "RESERVED_NAME", f"{param.arg} belongs to the language", "another name")
        if param.arg in seen:
            raise Refusal(param, "TWICE", f"argument {param.arg} is named twice", "another name")
        seen.add(param.arg)


_DECORATORS = "@export, @export(nested=True), @view, @init or @migrate"
