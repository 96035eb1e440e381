"""The front: a page's text becomes a checked tree, its constants, its functions and its `run`.

The text passes the lexical check of contracts, with real literals; then every syntax node is held against a
list.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contracts.language.faults import DIAGNOSTICS_MAX, Diagnostic
from contracts.language.front.syntax import syntax_tree
from contracts.language.front.tokens import precheck
from contracts.pages.faults import PageRefused
from contracts.pages.limits import (
    DATASETS_MAX,
    GAS_PAGE,
    GAS_PAGE_BYTE,
    GAS_PAGE_TOKEN,
    PAGE_DEPTH_MAX,
    PARAMETERS_MAX,
)
from contracts.pages.paying import Payer

_OTHER = "NOT_IN_PAGES"
"""The rule of a node without one of its own, such as a part of a refused statement."""
REFERENCE = "what docs/pages.md lists"
SAMPLE_DATASETS = 2
"""Datasets that stand for `*name` when nobody says which there are."""
_RUN = "def run(loans, history, *, share=0.3): …"
_ALLOWED = frozenset(
    getattr(ast, name)
    for name in [
        "Module",
        "FunctionDef",
        "arguments",
        "arg",
        "Return",
        "Assign",
        "AugAssign",
        "For",
        "If",
        "Expr",
        "Pass",
        "BoolOp",
        "BinOp",
        "UnaryOp",
        "IfExp",
        "List",
        "Tuple",
        "ListComp",
        "comprehension",
        "Compare",
        "Call",
        "keyword",
        "Constant",
        "Attribute",
        "Subscript",
        "Slice",
        "Name",
        "Load",
        "Store",
        "And",
        "Or",
        "Add",
        "Sub",
        "Mult",
        "Div",
        "FloorDiv",
        "Mod",
        "Pow",
        "MatMult",
        "BitOr",
        "BitAnd",
        "Not",
        "USub",
        "Invert",
        "Eq",
        "NotEq",
        "Lt",
        "LtE",
        "Gt",
        "GtE",
        "In",
        "NotIn",
    ]
)
_REFUSED: Mapping[str, tuple[str, str, str]] = {
    "While": ("WHILE", "while is not in pages: a plan has a known size", "for step in repeat(n)"),
    "Import": ("IMPORT", "import is not in pages", "the functions that docs/pages.md lists"),
    "ImportFrom": ("IMPORT", "import is not in pages", "the functions that docs/pages.md lists"),
    "ClassDef": ("CLASS", "class is not in pages", "functions and lists"),
    "Lambda": ("LAMBDA", "lambda is not in pages", "def with a name"),
    "Dict": ("DICT", "dict is not in pages", "a list of pairs"),
    "DictComp": ("DICT", "dict is not in pages", "a list of pairs"),
    "Set": ("SET", "set is not in pages", "a list"),
    "SetComp": ("SET", "set is not in pages", "a list"),
    "GeneratorExp": ("GENERATOR", "a generator is not in pages", "a list: [x for x in xs]"),
    "JoinedStr": ("FSTRING", "f-strings are not in pages", 'texts put together: "mean of " + name'),
    "Try": ("TRY", "try is not in pages", "where(condition, x, y)"),
    "With": ("WITH", "with is not in pages", "plain statements"),
    "AnnAssign": ("ANNOTATION", "annotations are not in pages", "a plain assignment"),
    "Starred": ("STAR", "a star is not in pages", "the list itself"),
    "Break": ("BREAK", "break is not in pages", "a shorter range"),
    "Continue": ("CONTINUE", "continue is not in pages", "if around what follows"),
    "Assert": ("ASSERT", "assert is not in pages", "nothing"),
    "Raise": ("RAISE", "raise is not in pages", "nothing"),
    "Delete": ("DELETE", "del is not in pages", "nothing"),
    "Global": ("GLOBAL", "global is not in pages", "arguments and return values"),
    "BitXor": ("XOR", "^ is not in pages", "(a | b) & ~(a & b), or a != b"),
    "Is": ("IS", "is is not in pages", "=="),
    "IsNot": ("IS", "is not is not in pages", "!="),
    "UAdd": ("PLUS", "a leading + is not in pages", "the value itself"),
}


@dataclass(frozen=True, slots=True)
class PageTree:
    """A page that passed the front."""

    says: str
    """Its docstring."""
    constants: tuple[tuple[str, ast.Assign], ...]
    functions: Mapping[str, ast.FunctionDef]
    """In the order of the page, `run` among them."""
    datasets: tuple[str, ...]
    """Positional parameters of `run`."""
    others: str
    """The parameter `*name` of `run`, which takes any further datasets; "" for none."""
    parameters: tuple[tuple[ast.arg, ast.expr], ...]
    """Public parameters of `run`, each with its default."""

    def named(self, given: Sequence[str] | None) -> tuple[str, ...]:
        """Return the names of all datasets when these are given; without any, of as many as a join needs."""
        if not self.others:
            return self.datasets
        if given is not None:
            return self.datasets + tuple([each for each in given if each not in self.datasets])
        missing = max(1, SAMPLE_DATASETS - len(self.datasets))
        return self.datasets + tuple([f"{self.others}{place}" for place in range(1, missing + 1)])


def read_page(source: str, name: str, payer: Payer) -> PageTree:
    """Return the checked tree; raise PageRefused with every reason. The payer pays by bytes and tokens."""
    payer.charge(GAS_PAGE + GAS_PAGE_BYTE * len(source.encode("utf-8", "replace")))
    scan = precheck(source, reals=True)
    if scan.found:
        raise PageRefused(name, [_of_pages(item) for item in scan.found])
    payer.charge(GAS_PAGE_TOKEN * scan.tokens)
    try:
        tree = syntax_tree(source)
    except SyntaxError as error:
        # parsers agree on the line of an error, and not on its column
        found = Diagnostic("SYNTAX", error.lineno or 1, 1, "this is not valid Python", "Python's grammar")
        raise PageRefused(name, [found]) from None
    refused = _refusals(tree)
    if refused:
        raise PageRefused(name, refused)
    return _parts(tree, name)


def _of_pages(item: Diagnostic) -> Diagnostic:
    instead = item.instead.replace("several contracts", "several pages").replace(", or state", "")
    return Diagnostic(item.rule, item.line, item.column, item.reason, instead)


def _at(node: ast.AST, rule: str, reason: str, instead: str) -> Diagnostic:
    return Diagnostic(rule, getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1, reason, instead)


def _refusals(tree: ast.Module) -> list[Diagnostic]:
    """Return why nodes are refused, at most 20, in their order; depth is measured without recursion."""
    found: list[Diagnostic] = []
    pending: list[tuple[ast.AST, int, ast.AST]] = [(tree, 0, tree)]
    while pending:
        node, depth, place = pending.pop()
        place = node if hasattr(node, "lineno") else place
        if depth > PAGE_DEPTH_MAX:
            reason = f"nested deeper than {PAGE_DEPTH_MAX} levels"
            return [_at(place, "TOO_DEEP", reason, "names for the inner parts, or functions")]
        refused = _refusal(node, place)
        if refused is not None:
            found.append(refused)
        following = _elif(node)
        for child in ast.iter_child_nodes(node):
            pending.append((child, depth if child is following else depth + 1, place))
    found = [item for item in found if item.rule != _OTHER] or found
    return sorted(set(found), key=lambda item: (item.line, item.column, item.rule))[:DIAGNOSTICS_MAX]


def _elif(node: ast.AST) -> ast.AST | None:
    only = node.orelse[0] if isinstance(node, ast.If) and len(node.orelse) == 1 else None
    return only if isinstance(only, ast.If) else None


def _refusal(node: ast.AST, place: ast.AST) -> Diagnostic | None:
    kind = type(node)
    if kind not in _ALLOWED:
        other = (_OTHER, f"{kind.__name__} is not in pages", REFERENCE)
        return _at(place, *_REFUSED.get(kind.__name__, other))
    if isinstance(node, ast.For) and node.orelse:
        return _at(node, "LOOP_ELSE", "else after a loop is not in pages", "the statements after the loop")
    if isinstance(node, ast.Constant) and type(node.value) not in (int, float, str, bool, type(None)):
        return _at(node, "CONSTANT", f"a constant of type {type(node.value).__name__}", "a number or a text")
    if isinstance(node, ast.FunctionDef):
        return _bad_function(node)
    if isinstance(node, ast.comprehension) and node.is_async:
        return _at(place, "ASYNC", "async is not in pages", "for")
    return None


def _bad_function(node: ast.FunctionDef) -> Diagnostic | None:
    given = node.args
    public = node.name != "run" and (given.vararg or given.kwonlyargs)
    if public or given.kwarg or given.posonlyargs or node.decorator_list:
        return _at(node, "PARAMETERS", "stars, / and decorators are not in pages", "plain parameters")
    every = [*given.args, *given.kwonlyargs, *([given.vararg] if given.vararg else [])]
    if len({each.arg for each in every}) != len(every):
        return _at(node, "TWICE", "a parameter stands twice", "another name")
    hinted = [each for each in every if each.annotation is not None]
    if hinted or node.returns is not None:
        return _at(node, "ANNOTATION", "annotations are not in pages", "plain parameters")
    return None


def _parts(tree: ast.Module, name: str) -> PageTree:
    """Take the top level apart: docstring, constants, functions, `run`."""
    found: list[Diagnostic] = []
    constants: list[tuple[str, ast.Assign]] = []
    functions: dict[str, ast.FunctionDef] = {}
    body = list(tree.body)
    says = ast.get_docstring(tree) or ""
    if says:
        body.pop(0)
    else:
        found.append(
            _at(tree, "DOCSTRING", "a page begins by what it is for", '"""What it computes, for whom."""')
        )
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef):
            taken, functions[node.name] = node.name in names, node
            names.add(node.name)
        elif (
            isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
        ):
            taken = node.targets[0].id in names
            names.add(node.targets[0].id)
            constants.append((node.targets[0].id, node))
        else:
            found.append(
                _at(node, "TOP_LEVEL", "the top of a page has constants and functions", "def run(…)")
            )
            continue
        if taken:
            found.append(_at(node, "TWICE", "this name is defined twice", "another name"))
    found += _nested(functions)
    run = functions.get("run")
    if run is None:
        found.append(_at(tree, "NO_RUN", "a page has no function run", _RUN))
    else:
        found += _bad_run(run)
    if found or run is None:
        raise PageRefused(name, sorted(found, key=lambda item: (item.line, item.column))[:DIAGNOSTICS_MAX])
    given = run.args
    parameters = [
        (arg, value) for arg, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value
    ]
    others = given.vararg.arg if given.vararg else ""
    return PageTree(
        says, tuple(constants), functions, tuple(arg.arg for arg in given.args), others, tuple(parameters)
    )


def _bad_run(run: ast.FunctionDef) -> list[Diagnostic]:
    given, found = run.args, []
    if given.defaults or not (0 if given.vararg else 1) <= len(given.args) <= DATASETS_MAX:
        reason = f"run takes 1 to {DATASETS_MAX} datasets, without defaults"
        found.append(_at(run, "RUN", reason, _RUN))
    if len(given.kwonlyargs) > PARAMETERS_MAX:
        found.append(_at(run, "RUN", f"more than {PARAMETERS_MAX} public parameters", "fewer, or lists"))
    bare = [arg for arg, value in zip(given.kwonlyargs, given.kw_defaults, strict=True) if value is None]
    found += [_at(arg, "RUN", f"parameter {arg.arg[:40]} has no default", _RUN) for arg in bare]
    return found


def _nested(functions: Mapping[str, ast.FunctionDef]) -> list[Diagnostic]:
    return [
        _at(node, "NESTED", "a function inside another is not in pages", "a function at the top")
        for function in functions.values()
        for node in ast.walk(function)
        if isinstance(node, ast.FunctionDef) and node is not function
    ]


def assigned(body: list[ast.stmt]) -> list[str]:
    """Return the names that statements assign, sorted."""
    return sorted(
        {
            node.id
            for statement in body
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
    )
