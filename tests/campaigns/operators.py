"""What a generated mutant may change: one small change of one expression or statement inside a function.

Left out, by rule, is what no other replica and no later step can notice:

- files without behaviour, and `report.py`, which words what an operator reads (`SILENT_FILES`);
- everything outside functions (declarations have golden bytes), docstrings, annotations, decorators;
- texts, and whatever stands inside a `raise` (the raise itself may be dropped) or an `assert`;
- counters that only reports read (`REPORTED`).
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache

from tests.campaigns.edits import Edit, Mutant, Positions, Scope

SILENT_FILES = {"__init__.py", "errors.py", "events.py", "ports.py", "report.py"}
REPORTED = {"dropped_answers", "dropped_deletes"}
Found = tuple[str, ast.AST, str]
"""Operator, node that is replaced, text in its place."""

_BOUNDARY: dict[type, str] = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
_NEGATED: dict[type, str] = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
    ast.Lt: ">=", ast.LtE: ">", ast.Gt: "<=", ast.GtE: "<",
}  # fmt: skip
_SIGN: dict[type, str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_OTHER_CALL = {"max": "min", "min": "max", "any": "all", "all": "any", "sorted": "list"}
_CONSTANTS = {"bool": ("True", "False"), "int": ("0",), "None": ("None",), "tuple": ("()",), "list": ("[]",)}


@cache
def mutate(file: str, source: str) -> tuple[Mutant, ...]:
    """Return every mutant of a file, in the order of its source, each valid and each different."""
    if file.rsplit("/", 1)[-1] in SILENT_FILES:
        return ()
    positions, seen = Positions(source), set[Edit]()
    counts: Counter[tuple[str, str]] = Counter()
    made, scopes = list[Mutant](), dict[str, Scope]()
    for function, defined, statement, (operator, node, text) in _walk(ast.parse(source)):
        start, end = positions.span(node)
        edit = Edit(start, end, text)
        if function not in scopes:
            scopes[function] = Scope(source, defined)
        if edit in seen or not scopes[function].takes(edit):
            continue
        seen.add(edit)
        counts[function, operator] += 1
        name = f"{file.rsplit('/', 1)[-1]}:{function}:{operator}:{counts[function, operator]}"
        lines = _lines(statement)
        before, after = positions.around(edit, lines)
        made.append(Mutant(name, file, function, operator, lines, before, after, edit))
    return tuple(made)


def _lines(statement: ast.stmt) -> tuple[int, int]:
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if body else statement.end_lineno
    return statement.lineno, max(statement.lineno, last or 0)


def _walk(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef, ast.stmt, Found]]:
    """Yield (name, function, statement, change) of every change in every function."""
    scopes: list[tuple[str, ast.AST]] = [("", tree)]
    while scopes:
        prefix, scope = scopes.pop(0)
        for child in ast.iter_child_nodes(scope):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                name = f"{prefix}.{child.name}" if prefix else child.name
                if isinstance(child, ast.FunctionDef):
                    for statement in _statements(child.body):
                        for found in _changes(child, statement):
                            yield name, child, statement, found
                else:
                    scopes.append((name, child))


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        for name in ("body", "orelse", "finalbody"):
            yield from _statements(getattr(statement, name, []))
        for part in (*getattr(statement, "handlers", []), *getattr(statement, "cases", [])):
            yield from _statements(part.body)


def _changes(function: ast.FunctionDef, statement: ast.stmt) -> Iterator[Found]:
    match statement:
        case ast.Assert() | ast.FunctionDef() | ast.ClassDef():
            return
        case ast.Raise():
            yield "drop-raise", statement, "pass"
            return
        case ast.AugAssign(target=ast.Attribute(attr=name)) if name in REPORTED:
            return
        case ast.Assign(targets=[ast.Attribute(attr=name)]) if name in REPORTED:
            return
    yield from _statement_changes(function, statement)
    for expression in _expressions(statement):
        yield from _expression_changes(expression)


def _statement_changes(function: ast.FunctionDef, statement: ast.stmt) -> Iterator[Found]:
    match statement:
        case ast.Expr(value=ast.Call()):
            yield "drop-call", statement, "pass"
        case ast.Assign(targets=[target], value=value) if function.name not in ("__init__", "__post_init__"):
            yield from _assignment_changes(statement, target, value)
        case ast.AugAssign() | ast.Delete():
            yield "drop-statement", statement, "pass"
        case ast.If(test=test):
            yield "never", test, "False"
            yield "always", test, "True"
        case ast.While(test=test):
            yield "never", test, "False"
        case ast.Return(value=None) | ast.Continue() | ast.Break():
            yield "drop-exit", statement, "pass"
        case ast.Return(value=value) if value is not None:
            for text in _constants(function.returns):
                if ast.unparse(value) != text:
                    yield "return-constant", value, text


def _assignment_changes(statement: ast.Assign, target: ast.expr, value: ast.expr) -> Iterator[Found]:
    stored = (ast.Attribute, ast.Subscript)
    if isinstance(target, stored):
        yield "drop-assignment", statement, "pass"
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        for at, item in enumerate(target.elts):
            if isinstance(item, stored):
                kept = [k for k in range(len(target.elts)) if k != at]
                left = ", ".join(ast.unparse(target.elts[k]) for k in kept)
                right = ", ".join(ast.unparse(value.elts[k]) for k in kept)
                yield "drop-assignment", statement, f"{left} = {right}"


def _constants(returns: ast.expr | None) -> tuple[str, ...]:
    match returns:
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Subscript(value=ast.Name(id=name)) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.BinOp(op=ast.BitOr(), right=ast.Constant(value=None)):
            return ("None",)
    return ()


def _expressions(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield the expressions of a statement itself, not of the statements in its body; no texts, no types."""
    pending: list[ast.AST] = []
    for name, value in ast.iter_fields(statement):
        if name not in ("body", "orelse", "finalbody", "handlers", "annotation", "cases"):
            pending += value if isinstance(value, list) else [value]
    if isinstance(statement, ast.Match):
        pending += [case.guard for case in statement.cases if case.guard is not None]
    while pending:
        node = pending.pop(0)
        if isinstance(node, ast.AST) and not isinstance(node, ast.JoinedStr):
            yield node
            pending += ast.iter_child_nodes(node)


def _expression_changes(node: ast.AST) -> Iterator[Found]:
    match node:
        case ast.Compare():
            yield from _comparison_changes(node)
        case ast.BoolOp():
            yield from _boolean_changes(node)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield "drop-sign", node, f"({ast.unparse(operand)})"
        case ast.BinOp():
            yield from _arithmetic_changes(node)
        case ast.Constant(value=bool() as flag):
            yield "other-flag", node, str(not flag)
        case ast.Constant(value=int() as number):
            yield "off-by-one", node, str(number + 1)
            if number > 0:
                yield "off-by-one", node, str(number - 1)
        case ast.IfExp(test=test):
            yield "never", test, "False"
            yield "always", test, "True"
        case ast.Call(func=ast.Name(id=name) as called) if name in _OTHER_CALL:
            yield "other-call", called, _OTHER_CALL[name]
        case ast.Subscript(value=value, slice=ast.Slice(), ctx=ast.Load()):
            yield "drop-slice", node, ast.unparse(value)
        case ast.List(elts=[_, _, *_]) | ast.Set(elts=[_, _, *_]):
            yield from _element_changes(node, node.elts)
        case ast.Call(args=[ast.Tuple(elts=[_, _, *_]) as display]):
            yield from _element_changes(display, display.elts)
        case ast.comprehension(ifs=ifs):
            for test in ifs:
                yield "drop-filter", test, "True"


def _comparison_changes(node: ast.Compare) -> Iterator[Found]:
    operands = [node.left, *node.comparators]

    def written(signs: list[str], items: list[str]) -> str:
        return items[0] + "".join(f" {sign} {item}" for sign, item in zip(signs, items[1:], strict=True))

    signs, texts = [_SIGN[type(sign)] for sign in node.ops], [ast.unparse(item) for item in operands]
    for at, sign in enumerate(node.ops):
        for operator, table in (("boundary", _BOUNDARY), ("negate", _NEGATED)):
            if type(sign) in table:
                yield (
                    operator,
                    node,
                    f"({written([*signs[:at], table[type(sign)], *signs[at + 1 :]], texts)})",
                )
    if len(signs) > 1:
        yield "drop-term", node, f"({written(signs[1:], texts[1:])})"
        yield "drop-term", node, f"({written(signs[:-1], texts[:-1])})"
    sides = [item.elts for item in operands if isinstance(item, ast.Tuple)]
    if len(sides) == len(operands) and len({len(side) for side in sides}) == 1:
        for at in range(len(sides[0])):
            kept = [[ast.unparse(item) for k, item in enumerate(side) if k != at] for side in sides]
            yield "drop-element", node, f"({written(signs, [_tuple(items) for items in kept])})"


def _tuple(items: list[str]) -> str:
    return "(" + "".join(f"{item}, " for item in items) + ")"


def _boolean_changes(node: ast.BoolOp) -> Iterator[Found]:
    word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    terms = [f"({ast.unparse(item)})" for item in node.values]
    for at in range(len(terms)):
        yield "drop-term", node, "(" + f" {word} ".join(terms[:at] + terms[at + 1 :]) + ")"
    yield "other-word", node, "(" + f" {other} ".join(terms) + ")"


def _arithmetic_changes(node: ast.BinOp) -> Iterator[Found]:
    left, right = ast.unparse(node.left), ast.unparse(node.right)
    yield "drop-operand", node, f"({left})"
    if isinstance(node.left, ast.Constant):
        yield "drop-operand", node, f"({right})"
    if isinstance(node.op, ast.Add | ast.Sub):
        sign = "-" if isinstance(node.op, ast.Add) else "+"
        if any(isinstance(item, ast.Constant | ast.Attribute) for item in (node.left, node.right)):
            yield "other-sign", node, f"({left} {sign} ({right}))"


def _element_changes(display: ast.List | ast.Set | ast.Tuple, items: list[ast.expr]) -> Iterator[Found]:
    opening, closing = {ast.List: "[]", ast.Set: "{}", ast.Tuple: "()"}[type(display)]
    for at in range(len(items)):
        kept = ", ".join(ast.unparse(item) for k, item in enumerate(items) if k != at)
        yield "drop-element", display, f"{opening}{kept}{',' if closing == ')' else ''}{closing}"
