"""Nothing that is installed imports tests, and a unit test stands in the folder of its package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.names import PACKAGES, REPOSITORY, modules

UNIT = REPOSITORY / "tests/unit"
TESTS = sorted(path.relative_to(UNIT) for path in UNIT.rglob("test_*.py"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield every name that a module imports, wherever it does, with the module that it is of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def read(path: Path) -> set[str]:
    """Return what a test imports, and what the conftest.py beside it does; a helper counts for its folder."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {name.removeprefix("tests.unit.") for name in imported(tree)}
    given = path.with_name("conftest.py")
    return names | read(given) if given.exists() and given != path else names


def test_no_module_of_the_packages_imports_tests_or_examples() -> None:
    found = {path: {name.partition(".")[0] for name in imported(tree)} for path, tree in modules()}
    assert len(found) > 200
    assert [path for path, names in found.items() if names & {"tests", "examples"}] == []


@pytest.mark.parametrize("test", TESTS, ids=str)
def test_a_unit_test_stands_in_the_folder_of_the_package_that_it_tests(test: Path) -> None:
    """Folders of tests are those of packages; what concerns several packages is tested above them."""
    names, folder = read(UNIT / test), test.parent
    if folder == Path():
        assert len({name.partition(".")[0] for name in names} & {*PACKAGES}) > 1, "it tests one package"
        return
    assert (REPOSITORY / folder).is_dir(), f"there is no {folder}"
    module = REPOSITORY / folder / f"{test.stem.removeprefix('test_')}.py"
    package = ".".join(folder.parts)
    assert module.exists() or any(f"{name}.".startswith(f"{package}.") for name in names), (
        f"nothing of {package}"
    )
    assert not test.stem.startswith(f"test_{folder.name}_"), "its name repeats that of its folder"
