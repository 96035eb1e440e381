"""Public class names of Assent and where each is defined, as the sources say: python -m tests.house.names.

A name that stands twice makes a reader ask which one is meant, so a test lets none stand twice, unless the
classes are one thing for a reason that is listed here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("chain", "consensus", "contracts", "deploy", "privcompute")
SAME_THING: Mapping[str, str] = {}
"""Name -> why several classes of that name are one thing."""


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Yield path and tree of every module that Python runs; system contracts are in the contract language."""
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            if path.parent.name != "system" or path.stem == "__init__":
                yield path.relative_to(REPOSITORY).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def public_classes() -> dict[str, list[str]]:
    """Return public class name -> the modules that define a class of that name at their top."""
    found: dict[str, list[str]] = {}
    for path, tree in modules():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(path)
    return found


def renaming_imports() -> set[tuple[str, str, str]]:
    """Return (module, class, other name) of every import that renames a class."""
    return {
        (path, alias.name, alias.asname)
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
        and alias.asname != alias.name
        and alias.name[0].isupper()
        and not alias.name.isupper()
    }


if __name__ == "__main__":
    for name, places in sorted(public_classes().items()):
        if len(places) > 1:
            print(f"{name}: {', '.join(places)}")
