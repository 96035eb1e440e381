"""What is public says what it is for: modules, classes and functions of the packages have docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.house.names import modules

SOURCES_OF_PAGES = "contracts/system/"
"""What stands there is in the language of contracts, and is described by its README."""


def without(node: ast.AST, where: str) -> Iterator[str]:
    """Yield the public classes and functions under a node that have no docstring; overloads share one."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if child.name.startswith("_"):
            continue
        overload = any(ast.unparse(item).endswith("overload") for item in child.decorator_list)
        if ast.get_docstring(child) is None and not overload:
            yield f"{where}:{child.lineno} {child.name}"
        if isinstance(child, ast.ClassDef):
            yield from without(child, where)


def test_whatever_is_public_in_the_packages_has_a_docstring() -> None:
    found = [(str(path), tree) for path, tree in modules()]
    assert len(found) > 200
    missing = [
        item
        for path, tree in found
        if SOURCES_OF_PAGES not in path
        for item in (*without(tree, path), *([f"{path}: the module"] if bare(tree) else []))
    ]
    assert missing == []


def bare(tree: ast.Module) -> bool:
    """Tell whether a module holds something and does not say what."""
    return bool(tree.body) and ast.get_docstring(tree) is None


def test_the_first_paragraph_of_a_docstring_is_a_whole_sentence() -> None:
    """It stands alone in lists, so it ends where its line ends."""
    broken = []
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                first = (ast.get_docstring(node) or ".").partition("\n\n")[0]
                if not first.endswith((".", "?", ":", "…")):
                    broken.append(f"{path}:{getattr(node, 'lineno', 1)} {first!r}")
    assert broken == []
