"""Lowering of module-level constants and defaults: what they may be made of, and what stands for each."""

from __future__ import annotations

import ast

from chain.primitives.values import Value
from contracts.language.faults import Halt
from contracts.language.folding import Folder
from contracts.language.front.declarations import Constant, Declarations
from contracts.language.front.lower_expr import Expressions
from contracts.language.front.refusals import Refusal
from contracts.language.front.scope import Scope, linked_name
from contracts.language.hints import ANY, Hint, hint_text
from contracts.language.ir import Node
from contracts.language.limits import INLINE_BYTES_MAX
from contracts.language.vocabulary import PURE, RESERVED

_IMPURE = RESERVED - PURE - {"isinstance"}
"""Names of the language that a constant cannot stand on."""


def lower_constant(names: Declarations, node: ast.expr, hint: Hint, folder: Folder) -> Constant:
    """Return the constant of an expression, computed by the folder."""
    scope = Scope([], [])
    _check_pure(names, node, scope)
    values = Expressions(names, scope)
    lowered = values.expr(node)
    expression = ("scope", scope.count, lowered) if scope.count else lowered
    try:
        folded = folder.fold(expression, hint)
    except Halt as halt:
        instead = "a value within the caps, or one made inside a function"
        raise Refusal(node, "CONSTANT", f"this constant cannot be made: {halt}", instead) from None
    if folded.node[0] == "global":
        names.makers.append(expression)
    if not folded.fits:
        raise Refusal(node, "HINT", f"this constant is not {hint_text(hint)}", "a value of that type")
    known = values.known.of(node) if hint == ANY else hint
    return Constant(folded.node, folded.mutable, folded.flat, _texts(folded.value), known)


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


def _texts(value: Value) -> str:
    """Say whether a constant is one text or several, none of them empty."""
    several = type(value) in (list, tuple) and len(value) > 0
    parts = value if several else [value]
    return ("many" if several else "one") if all(type(part) is str and part for part in parts) else ""


def lower_default(names: Declarations, of: tuple[ast.expr, Hint, str], folder: Folder) -> Node:
    """Return the constant of a default, given as (expression, hint, name); refuse one that could change."""
    node, hint, name = of
    constant = lower_constant(names, node, hint, folder)
    if constant.node[0] != "const":
        reason = f"a default cannot change, and has at most {INLINE_BYTES_MAX} encoded bytes"
        raise Refusal(node, "DEFAULT", reason, f"{name}: … | None = None, and make it in the function")
    return constant.node
