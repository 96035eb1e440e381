"""A checked syntax tree to a program: declarations, constants folded, functions lowered."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chain.primitives.kinds import REFUSED
from contracts.language.builder import immutable
from contracts.language.checker import DIAGNOSTICS_MAX
from contracts.language.closures import TABLE
from contracts.language.encoding import encoded
from contracts.language.faults import Diagnostic, Halt
from contracts.language.guards import SHAPES, BadGuard, Guard, parse_guard
from contracts.language.hints import ANY, Hint, checker, hint_text
from contracts.language.ir import Node, parts_left
from contracts.language.library import Library, link
from contracts.language.limits import ENGINE, IR_PARTS_FREE, IR_PARTS_PER_TOKEN
from contracts.language.lost_changes import find_lost
from contracts.language.lower_class import base_of, define_interface, define_record
from contracts.language.lower_expr import Expressions
from contracts.language.lower_remote import is_contract
from contracts.language.lower_stmt import hint_of, lower_function
from contracts.language.machine import Machine
from contracts.language.scope import (
    TOO_LARGE,
    Constant,
    Declarations,
    Refusal,
    Scope,
    Signature,
    check_code,
    linked_name,
)
from contracts.language.vocabulary import BUILTINS, DECLARATIONS, KINDS, LAZY, PURE, RESERVED

Given = tuple[Machine, Mapping[str, Library]]
"""What declarations work with: the machine of constants, and the libraries by name."""
NO_LIBRARIES: Mapping[str, Library] = {}
INLINE_BYTES_MAX = 72
"""Encoded bytes of a constant that is repeated where it is used: an int, a hash, a short text."""
_IMPURE = RESERVED - PURE - {"isinstance"}
"""Names of the language that a constant cannot stand on."""
_SHAPES = {
    "Map": "Map(str, dict)",
    "Var": "Var(int, 0)",
    "Error": 'Error("DENIED")',
    "Contract": 'Contract("policy")',
}
_DECORATORS = "@export, @export(nested=True), @view, @init or @migrate"
_ORDERED: frozenset[Hint] = frozenset({("int",), ("str",), ("bytes",)})
_KEY_HINTS = frozenset({"int", "str", "bytes", "bool", "tuple"})


def lower(
    tree: ast.Module,
    scratch: Machine,
    tokens: int,
    libraries: Mapping[str, Library] = NO_LIBRARIES,
    kind: str = "program",
) -> tuple[Node, Declarations, list[Diagnostic]]:
    """Return the program, its declarations, and the reasons to refuse it; constants run on `scratch`.

    The program has at most so many parts as this number of tokens pays for: it is hashed, built and kept.
    `libraries` are those that it names, by its names for them: their records and constants are parts of it,
    for which their own tokens paid. `kind` is "program" or "library".
    """
    room = _parts_paid(tokens)
    names, found = Declarations(room=room), list[Diagnostic]()
    for place, statement in enumerate(tree.body):
        if len(found) >= DIAGNOSTICS_MAX:
            break  # each may quote much of the source
        try:
            _declare(names, statement, place == 0, (scratch, libraries))
        except Refusal as refusal:
            found.append(refusal.diagnostic)
    for once in ("init", "migrate"):
        several = [signature for signature in names.functions.values() if signature.kind == once]
        if len(several) > 1:
            found.append(
                Diagnostic("DECORATOR", several[1].line, 1, f"a second @{once}", f"one @{once} a contract")
            )
    functions = tuple([lower_function(names, signature, found) for signature in names.functions.values()])
    if not found:
        lost = find_lost(names)
        found += lost.lost
        names.summaries = lost.summaries
    program = (
        kind,
        ENGINE,
        tuple(names.makers),
        tuple([record.shape() for record in names.records.values()]),
        tuple([(name, *hints, *["ordered"] * (name in names.ordered)) for name, hints in names.maps.items()]),
        tuple([(name, *parts) for name, parts in names.variables.items()]),
        tuple(names.events.items()),
        tuple([interface.shape() for interface in names.interfaces.values()]),
        *[(name, one.source_hash, one.ir_hash) for name, one in names.libraries.items()],
        functions,
    )
    room += sum([_parts_paid(library.tokens) for library in libraries.values()])
    if not found and parts_left(program, room) < 0:
        found.append(Refusal(tree, *TOO_LARGE).diagnostic)
    found.sort(key=lambda item: (item.line, item.column))
    return program, names, found[:DIAGNOSTICS_MAX]


def _parts_paid(tokens: int) -> int:
    return IR_PARTS_FREE + IR_PARTS_PER_TOKEN * tokens


def _declare(names: Declarations, node: ast.stmt, first: bool, given: Given) -> None:
    scratch = given[0]
    if isinstance(node, ast.FunctionDef):
        return _function(names, node, scratch)
    if isinstance(node, ast.ClassDef):
        return _class(names, node, scratch)
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and first
    ):
        return None
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Tuple):
        return _several(names, node, node.targets[0], scratch)
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        name, value, hint = node.targets[0].id, node.value, ANY
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        if isinstance(node.annotation, ast.Name) and node.annotation.id in names.interfaces:
            return _seen_as(names, node, node.target.id, node.annotation.id)
        name, value, hint = node.target.id, node.value, hint_of(node.annotation, names.records)
    else:
        reason = "the top level holds only functions, declarations and constants"
        raise Refusal(node, "TOP_LEVEL", reason, "NAME = value, or a def")
    _check_fresh(names, node, name)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in DECLARATIONS:
        return _declaration(names, name, value, given)
    names.constants[name] = _constant(names, value, hint, scratch)
    return None


def _class(names: Declarations, node: ast.ClassDef, scratch: Machine) -> None:
    base = base_of(node)
    _check_fresh(names, node, node.name)

    def hint(annotation: ast.expr | None) -> Hint:
        return hint_of(annotation, names.records)

    if base == "Protocol":
        define_interface(names, node, hint)
    else:
        define_record(names, node, hint, lambda *of: _default(names, of, scratch))


def _seen_as(names: Declarations, node: ast.AnnAssign, name: str, interface: str) -> None:
    """`policy: Policy = Contract("data-rules")`."""
    _check_fresh(names, node, name)
    call = node.value
    if not isinstance(call, ast.Call) or not is_contract(call) or call.keywords:
        reason = f"{interface} is an interface: only a contract is called through it"
        raise Refusal(node, "INTERFACE", reason, f'{name}: {interface} = Contract("name")')
    names.contracts[name] = _text_argument(call, "Contract")
    names.seen_as[name] = interface


def _several(names: Declarations, node: ast.Assign, targets: ast.Tuple, scratch: Machine) -> None:
    """`A, B = 1, 2`: as many constants; none of them is there before all are made."""
    value = node.value
    plain = isinstance(value, ast.Tuple) and not any(isinstance(item, ast.Starred) for item in value.elts)
    if not isinstance(value, ast.Tuple) or not plain or len(value.elts) != len(targets.elts):
        raise Refusal(node, "TOP_LEVEL", "as many names as values", "A, B = 1, 2, or a line for each")
    made: dict[str, Constant] = {}
    for target, item in zip(targets.elts, value.elts, strict=True):
        if not isinstance(target, ast.Name):
            raise Refusal(target, "TOP_LEVEL", "the top level names constants", "A, B = 1, 2")
        _check_fresh(names, node, target.id)
        if target.id in made:
            raise Refusal(node, "TWICE", f"{target.id} is defined twice", "another name")
        made[target.id] = _constant(names, item, ANY, scratch)
    names.constants.update(made)


def _check_fresh(names: Declarations, node: ast.stmt, name: str) -> None:
    if name in RESERVED or name in BUILTINS or name in LAZY:
        raise Refusal(node, "RESERVED_NAME", f"{name} belongs to the language", "another name")
    if names.kind_of(name):
        raise Refusal(node, "TWICE", f"{name} is defined twice", "another name")


def _function(names: Declarations, node: ast.FunctionDef, scratch: Machine) -> None:
    _check_fresh(names, node, node.name)
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
    defaults = _defaults(names, args, params, scratch)
    names.functions[node.name] = Signature(
        node.name, kind, nested, params, returns, node.lineno, defaults, guard
    )


def _defaults(
    names: Declarations, args: ast.arguments, params: tuple[tuple[str, Hint], ...], scratch: Machine
) -> dict[str, Node]:
    """Return the constants of parameters that may be left out: small, and none that could change."""
    found: dict[str, Node] = {}
    for (name, hint), node in zip(params[len(params) - len(args.defaults) :], args.defaults, strict=True):
        found[name] = _default(names, (node, hint, name), scratch)
    return found


def _default(names: Declarations, of: tuple[ast.expr, Hint, str], scratch: Machine) -> Node:
    node, hint, name = of
    constant = _constant(names, node, hint, scratch)
    if constant.node[0] != "const":
        reason = f"a default cannot change, and has at most {INLINE_BYTES_MAX} encoded bytes"
        raise Refusal(node, "DEFAULT", reason, f"{name}: … | None = None, and make it in the function")
    return constant.node


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


def _declaration(names: Declarations, name: str, call: ast.Call, given: Given) -> None:
    assert isinstance(call.func, ast.Name)  # seen by the caller
    kind, (scratch, libraries) = call.func.id, given
    if kind == "Library":
        if name not in libraries:
            raise Refusal(call, "LIBRARY", "a library has a name and no type", 'roles = Library("…")')
        link(names, name, libraries[name])
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
        names.variables[name] = _variable(names, call, scratch)
    else:
        text = _text_argument(call, kind)
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


def _variable(names: Declarations, call: ast.Call, scratch: Machine) -> tuple[Hint, Node | None]:
    if len(call.args) not in (1, 2):
        raise Refusal(call, "ARGUMENTS", "a Var has a type and a default", "Var(int, 0)")
    hint = hint_of(call.args[0], names.records)
    default = _constant(names, call.args[1], hint, scratch).node if len(call.args) == 2 else None
    return hint, default


def _text_argument(call: ast.Call, kind: str) -> str:
    argument = call.args[0] if len(call.args) == 1 else None
    if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
        raise Refusal(call, "ARGUMENTS", f"{kind}() takes one text", f'{kind}("…")')
    return argument.value


def _constant(names: Declarations, node: ast.expr, hint: Hint, scratch: Machine) -> Constant:
    scope = Scope([], [])
    _check_pure(names, node, scope)
    values = Expressions(names, scope)
    lowered = values.expr(node)
    try:
        value = names.parts.add_constant(TABLE, lowered, scratch, scope.count)
        fits = checker(hint, names.records)(scratch, value)
        made = _reference(names, ("scope", scope.count, lowered) if scope.count else lowered, value)
    except Halt as halt:
        instead = "a value within the caps, or one made inside a function"
        raise Refusal(node, "CONSTANT", f"this constant cannot be made: {halt}", instead) from None
    if not fits:
        raise Refusal(node, "HINT", f"this constant is not {hint_text(hint)}", "a value of that type")
    return replace(made, hint=values.known.of(node) if hint == ANY else hint)


def _check_pure(names: Declarations, node: ast.expr, scope: Scope) -> None:
    """Refuse an expression that computes with more than constants, builtins, hashes and methods."""
    for part in ast.walk(node):
        if (linked := linked_name(names, scope, part)) in names.linked:
            reason = f"a module-level value is a constant, and {linked} is a function"
            raise Refusal(part, "TOP_LEVEL", reason, "a function that returns it")
        if not isinstance(part, ast.Name) or not isinstance(part.ctx, ast.Load):
            continue
        kind = names.kind_of(part.id)
        if part.id in _IMPURE or (kind and kind not in ("a constant", "a record", "a Library")):
            reason = f"a module-level value is a constant, and {part.id} is {kind or 'only there in a call'}"
            raise Refusal(
                part, "TOP_LEVEL", reason, "literals, operators, builtins, sha256, methods of values"
            )


def _reference(names: Declarations, lowered: Node, value: Any) -> Constant:
    """Keep a small immutable value where it is used, any other one in the program's table of constants."""
    unchanging, texts = immutable(value), _texts(value)
    if unchanging and len(data := encoded(value)) <= INLINE_BYTES_MAX:
        names.parts.constants.pop()
        return Constant(("const", data), mutable=False, flat=True, texts=texts)
    names.makers.append(lowered)
    number = len(names.makers) - 1
    parts = value.values() if type(value) is dict else value
    flat = not unchanging and type(value) is not tuple and all(immutable(part) for part in parts)
    return Constant(("global", number), mutable=not unchanging, flat=flat, texts=texts)


def _texts(value: Any) -> str:
    """Say whether a constant is one text or several, none of them empty."""
    several = type(value) in (list, tuple) and len(value) > 0
    parts = value if several else [value]
    return ("many" if several else "one") if all(type(part) is str and part for part in parts) else ""
