"""The tables of the system contracts' README are what the contracts do, row by row: read from both."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from contracts import system
from contracts.language.program import compile_source
from contracts.system import sources

README = Path(system.__file__).with_name("README.md").read_text(encoding="utf-8")
CONTRACTS = ("orgs", "governance", "lifecycle", "programs")
CODE = re.compile(r"`([A-Z][A-Z_]+)`")
SIGNATURE = re.compile(r"`(\w+)(\([^`]*\)(?: -> [^`]+)?)`")
ANYWHERE = frozenset({"DIRECT_ONLY", "KEY_ROLE_MISSING", "BAD_ID", "BAD_KEY", "TEXT_TOO_LONG"})
"""Of every method that a member calls, and of ids, keys and texts wherever they stand (Conventions)."""
OF_ITS_KIND = ("guards of its kind", "the table above")
"""A row that says this means the table of decisions, and what `lifecycle` says of access lists."""
NEVER = {
    ("governance", "UNKNOWN_KIND"): ("approve", "commit", "check_proposal", "readiness"),
    ("lifecycle", "UNKNOWN_PROPOSAL"): ("set_access", "check_access"),
    ("orgs", "BAD_ROLE"): ("replace_admin",),
    ("orgs", "TOO_MANY_KEYS"): ("replace_admin",),
}
"""Checked when the proposal was made; of a contract in force there always is one; one key takes
the place of one or more, with a role that is known.
"""
Function = tuple[str, str]


def section(name: str) -> str:
    return README.split(f"\n## {name}\n")[1].split("\n## ")[0]


def rows(name: str) -> dict[str, str]:
    """Return the row of each method of a contract."""
    found = {}
    for line in section(name).splitlines():
        cells = line.split(" | ")
        if line.startswith("| `") and SIGNATURE.match(cells[0].removeprefix("| ")):
            found.update({method: line for method, _ in SIGNATURE.findall(cells[0])})
    return found


def functions(name: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(sources()[name])
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


BODIES: dict[Function, ast.FunctionDef] = {
    (name, function): body for name in CONTRACTS for function, body in functions(name).items()
}


def calls(name: str, body: ast.FunctionDef) -> list[Function]:
    """Return the functions that a function calls, in its own contract or through another's name."""
    made: list[Function] = []
    for node in ast.walk(body):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            made.append((name, node.func.id))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            made.append((node.value.id, node.attr))
    return [place for place in made if place in BODIES]


def reachable(start: Function) -> set[Function]:
    seen, waiting = {start}, [start]
    while waiting:
        name, function = waiting.pop()
        for place in calls(name, BODIES[name, function]):
            if place not in seen:
                seen.add(place)
                waiting.append(place)
    return seen


def codes_of(start: Function, within: frozenset[str] = frozenset(CONTRACTS)) -> set[str]:
    """Return the codes with which a method refuses, or what it calls in these contracts."""
    found = set()
    for name, function in reachable(start):
        if name not in within:
            continue
        for node in ast.walk(BODIES[name, function]):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "require":
                code = node.args[1]
                assert isinstance(code, ast.Constant)
                found.add(str(code.value))
    return found


def said(name: str, method: str) -> set[str]:
    """Return the codes that a row names, also by pointing to another row, to a table, or below the tables."""
    row = rows(name)[method]
    below = [line for line in section(name).splitlines() if not line.startswith("|")]
    found = set(CODE.findall(row)) | set(CODE.findall("\n".join(below)))
    for other, pointed in re.findall(r"\bas `(?:(\w+)\.)?(\w+)`", row):
        if pointed in rows(other or name) and pointed != method:
            found |= said(other or name, pointed)
    if any(words in row for words in OF_ITS_KIND):
        table = section("governance").split("| limit |")[0]
        access = section("lifecycle").split("**Access.**")[1].split("\n\n")[0]
        found |= set(CODE.findall(table)) | set(CODE.findall(access))
    return found


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_method_and_no_other_stands_in_the_table_with_its_types(name: str) -> None:
    abi = compile_source(sources()[name], name).abi
    real = set()
    for method, shape in abi["methods"].items():
        params = ", ".join(f"{param}: {hint}" for param, hint in shape["params"])
        returns = "" if shape["returns"] == "Value" else f" -> {shape['returns']}"
        real.add(f"{method}({params}){returns}")
    lines = [line for line in section(name).splitlines() if line.startswith("| `")]
    cells = [line.split(" | ")[0] for line in lines]
    assert {"".join(found) for cell in cells for found in SIGNATURE.findall(cell)} == real


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_event_stands_on_the_page_with_its_fields(name: str) -> None:
    abi = compile_source(sources()[name], name).abi
    text = section(name)
    for event, fields in abi["events"].items():
        plain = [field for field, hint in fields if "subject" not in hint]
        found = [
            [part for part in listed.replace(" ", "").split(",") if part and not part.startswith("*")]
            for listed in re.findall(rf"`{event}\(([^`]*)\)`", text)
        ]
        assert plain in found, event


BY_COMPILER = {
    "propose": {"REJECTED_SOURCE", "REJECTED_PAGE", "UNKNOWN_LIBRARY", "KEY_EXISTS"},
    "derive": {"REJECTED_PAGE", "DOMAIN_NOT_REGISTERED"},
    "publish": {"REJECTED_SOURCE"},
}
METHODS = [(name, method) for name in CONTRACTS for method in rows(name) if method != "setup"]


@pytest.mark.parametrize(("name", "method"), METHODS, ids=[".".join(pair) for pair in METHODS])
def test_a_row_names_the_codes_with_which_its_method_refuses(name: str, method: str) -> None:
    never = {code for (owner, code), methods in NEVER.items() if owner == name and method in methods}
    assert codes_of((name, method), frozenset({name})) - said(name, method) - ANYWHERE - never == set()


@pytest.mark.parametrize(("name", "method"), METHODS, ids=[".".join(pair) for pair in METHODS])
def test_a_row_names_no_code_that_its_method_never_gives(name: str, method: str) -> None:
    by_compiler = BY_COMPILER.get(method, set())
    row = rows(name)[method]
    own = {code for code in CODE.findall(row) if not code.startswith("POLICY_")}
    given = [codes_of((name, other)) for other, found in rows(name).items() if found == row]
    assert own - set().union(*given) - by_compiler == set()
