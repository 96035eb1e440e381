"""The syntax checker: it parses a source and refuses, with its place, every node that is not in the language.

The whitelist is by node type; names and types are resolved later, by the lowering. Each refusal names the
rule, the reason and how to write it instead.
"""

from __future__ import annotations

import ast

from contracts.language.faults import DIAGNOSTICS_MAX, Diagnostic
from contracts.language.front.syntax import syntax_tree
from contracts.language.limits import AST_DEPTH_MAX, ELEMENTS_MAX, INT_MAX

REFERENCE = "what contracts/README.md lists"
OTHER = "NOT_IN_LANGUAGE"
"""The rule of a node without a rule of its own, such as a part of a refused statement."""

_NAMES = """
    Module FunctionDef ClassDef arguments arg Return Assign AugAssign AnnAssign For While If Assert Raise Expr
    Pass Break Continue Delete BoolOp BinOp UnaryOp IfExp Dict List Tuple ListComp DictComp
    comprehension GeneratorExp Lambda Starred Compare Call keyword JoinedStr FormattedValue Constant
    Attribute Subscript Slice Name
    Load Store Del And Or Add Sub Mult FloorDiv Mod Pow LShift RShift BitOr BitAnd BitXor Not USub UAdd
    Invert Eq NotEq Lt LtE Gt GtE Is IsNot In NotIn
"""
ALLOWED: frozenset[type[ast.AST]] = frozenset(getattr(ast, name) for name in _NAMES.split())

REFUSED: dict[str, tuple[str, str, str]] = {
    "Div": ("FLOAT_DIVISION", "/ makes floats, which are not in the language", "// for whole division"),
    "MatMult": ("MATMULT", "@ is not in the language", "a loop"),
    "Set": (
        "SET",
        "set is not in the language: its order differs between hosts",
        "a list, or a dict of True",
    ),
    "SetComp": (
        "SET",
        "set is not in the language: its order differs between hosts",
        "a list or dict comprehension",
    ),
    "Yield": ("GENERATOR", "yield is not in the language", "return a list"),
    "YieldFrom": ("GENERATOR", "yield is not in the language", "return a list"),
    "Try": ("TRY", "try is not in the language: a failing call undoes everything", "test before acting"),
    "TryStar": ("TRY", "try is not in the language: a failing call undoes everything", "test before acting"),
    "With": ("WITH", "with is not in the language", "plain statements"),
    "Import": (
        "IMPORT",
        "import is not in the language",
        "the names that the language provides, or Contract(name)",
    ),
    "ImportFrom": (
        "IMPORT",
        "import is not in the language",
        "the names that the language provides, or Contract(name)",
    ),
    "Global": (
        "GLOBAL",
        "global is not in the language: nothing survives a call except state",
        "a Var or a Map",
    ),
    "Nonlocal": ("GLOBAL", "nonlocal is not in the language", "arguments and return values"),
    "NamedExpr": ("WALRUS", ":= is not in the language", "an assignment on a line of its own"),
    "AsyncFunctionDef": ("ASYNC", "async is not in the language", "def"),
    "AsyncFor": ("ASYNC", "async is not in the language", "for"),
    "AsyncWith": ("ASYNC", "async is not in the language", "plain statements"),
    "Await": ("ASYNC", "await is not in the language", "a plain call"),
    "Match": ("MATCH", "match is not in the language", "if and elif"),
    "TypeAlias": ("TYPE_ALIAS", "type aliases are not in the language", "the type itself"),
}


def parse(source: str) -> tuple[ast.Module | None, list[Diagnostic]]:
    """Return (tree, []) of a source without lexical faults (`tokens.precheck`), or (None, reasons).

    The reasons are at most 20, in source order.
    """
    try:
        tree = syntax_tree(source)
    except SyntaxError as error:
        place = (error.lineno or 1, max(1, error.offset or 1))
        instead = "Python's grammar, as far as the language has it (contracts/README.md)"
        return None, [Diagnostic("SYNTAX", *place, f"not valid Python: {error.msg}", instead)]
    deep = _too_deep(tree)
    if deep is not None:
        return None, [deep]
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            _place_fields(node)
    found = [item for node in ast.walk(tree) if (item := _refusal(node)) is not None]
    found = [item for item in found if item.rule != OTHER] or found
    found.sort(key=lambda item: (item.line, item.column))
    return (None, found[:DIAGNOSTICS_MAX]) if found else (tree, [])


def _place_fields(node: ast.JoinedStr) -> None:
    """Place the fields of an f-string where it begins: parsers disagree on where they are."""
    for part in ast.walk(node):
        if isinstance(part, (ast.expr, ast.keyword)):
            ast.copy_location(part, node)


def _too_deep(tree: ast.Module) -> Diagnostic | None:
    """Measure depth without recursion; an elif chain counts as one level."""
    pending: list[tuple[ast.AST, int, int, int]] = [(tree, 0, 1, 1)]
    while pending:
        node, depth, line, column = pending.pop()
        line, column = getattr(node, "lineno", line), getattr(node, "col_offset", column - 1) + 1
        if depth > AST_DEPTH_MAX:
            reason = f"nested deeper than {AST_DEPTH_MAX} levels"
            return Diagnostic(
                "TOO_DEEP", line, column, reason, "name the inner parts, or move them into functions"
            )
        following = elif_of(node) if isinstance(node, ast.If) else None
        for child in ast.iter_child_nodes(node):
            pending.append((child, depth if child is following else depth + 1, line, column))
    return None


def elif_of(node: ast.If) -> ast.If | None:
    """Return the `if` that is the whole else branch of an `if` (an elif, however it was written)."""
    only = node.orelse[0] if len(node.orelse) == 1 else None
    return only if isinstance(only, ast.If) else None


def _refusal(node: ast.AST) -> Diagnostic | None:
    kind = type(node)
    if kind in ALLOWED:
        return _bad_constant(node) if isinstance(node, ast.Constant) else _bad_field(node)
    name = kind.__name__
    rule, reason, instead = REFUSED.get(name, (OTHER, f"{name} is not in the language", REFERENCE))
    if isinstance(node, ast.operator):
        return None  # reported at the expression that holds it, which has a place
    return Diagnostic(rule, getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1, reason, instead)


def _bad_constant(node: ast.Constant) -> Diagnostic | None:
    value, place = node.value, (node.lineno, node.col_offset + 1)
    if type(value) is int and value > INT_MAX:
        return Diagnostic("LONG_LITERAL", *place, "an int has at most 4,096 bits", "a smaller number")
    if type(value) in (float, complex):
        return Diagnostic(
            "FLOAT", *place, "float is not in the language", "integers in a smaller unit, and //"
        )
    if value is Ellipsis:
        return None  # tuple[T, ...]; refused elsewhere by the lowering
    return None


def _too_many(node: ast.List | ast.Tuple | ast.Dict) -> Diagnostic | None:
    count = len(node.values if isinstance(node, ast.Dict) else node.elts)
    if count <= ELEMENTS_MAX:
        return None
    reason = f"{count} items, at most {ELEMENTS_MAX}"
    return Diagnostic("TOO_MANY_ITEMS", node.lineno, node.col_offset + 1, reason, "fewer, or a Map")


def _bad_field(node: ast.AST) -> Diagnostic | None:
    if isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) not in ALLOWED:
        rule, reason, instead = REFUSED[type(node.op).__name__]
        return Diagnostic(rule, node.lineno, node.col_offset + 1, reason, instead)
    if isinstance(node, (ast.For, ast.While)) and node.orelse:
        line, column = node.lineno, node.col_offset + 1
        return Diagnostic(
            "LOOP_ELSE", line, column, "else after a loop is not in the language", "a bool that says so"
        )
    if isinstance(node, (ast.List, ast.Tuple, ast.Dict)):
        return _too_many(node)
    if isinstance(node, ast.comprehension) and node.is_async:
        place = node.target
        return Diagnostic("ASYNC", place.lineno, place.col_offset + 1, "async is not in the language", "for")
    return None
