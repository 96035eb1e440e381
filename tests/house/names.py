"""Public class names of Assent and where each is defined, as the sources say: python -m tests.house.names.

A name that stands twice makes a reader ask which one is meant. What stands twice today is listed here by name
and number of places, and the test lets the list only shrink.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("chain", "consensus", "contracts", "privcompute")
SAME_THING: Mapping[str, str] = {}
"""Name -> why several classes of that name are one thing."""
REMAINING: Mapping[str, int] = {
    "Account": 4,
    "Begun": 2,
    "Call": 2,
    "CallFailed": 2,
    "Consortium": 2,
    "Head": 2,
    "Host": 2,
    "Lane": 3,
    "Memory": 2,
    "Mempool": 2,
    "Network": 2,
    "Node": 3,
    "Source": 3,
    "State": 2,
    "Status": 2,
    "Sync": 2,
    "Transactions": 2,
    "Turn": 2,
    "Verdict": 2,
}
"""Name -> how many classes have it and are not one thing: to be renamed."""
REMAINING_ALIASES: frozenset[tuple[str, str, str]] = frozenset()
"""Imports that give a class another class's name: to be renamed."""


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
