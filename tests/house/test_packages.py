"""The packages stand without the tests: nothing that is installed imports what is not."""

from __future__ import annotations

import ast

from tests.house.names import modules


def imported(tree: ast.Module) -> set[str]:
    """Return the top-level names that a module imports, wherever it does."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_no_module_of_the_packages_imports_tests_or_examples() -> None:
    found = {path: imported(tree) for path, tree in modules()}
    assert len(found) > 200
    assert [path for path, names in found.items() if names & {"tests", "examples"}] == []
