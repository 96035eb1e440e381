"""What a hostile program is, and where to find all of them.

Each module in `CATEGORIES` holds one tuple `PROGRAMS`, one program a line. To add one, write the line with
the verdict that it must get; `test_hostile.py` and the limits of `measure.py` apply to it at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module

from contracts.language.ir import source_hash

OK, REVERTED, OUT_OF_GAS, LIMIT, REJECTED = "ok", "reverted", "out_of_gas", "limit", "rejected"
DEFAULT_GAS = 1_000_000

CATEGORIES = {
    "escapes": "reaching the host: its objects, its builtins, its files",
    "state_leaks": "something of one call that the next call, or another contract, could see",
    "parser_bombs": "sources that exhaust the parser, or that two parsers read differently",
    "compiler_bombs": "sources that exhaust what lies between the parser and the first call",
    "library_bombs": "libraries that are huge, deep, dear to link, or that want more than their arguments",
    "page_bombs": "pages that are huge, deep, dear to trace, or of whose plan too much follows",
    "interpreter_bombs": "time and memory taken by statements, operators and calls",
    "builtin_bombs": "time and memory taken by builtins and host functions",
    "method_bombs": "time and memory taken by methods of str, bytes, list, dict and int",
    "encoder_bombs": "results, events and stored values that are dear to encode",
    "key_collisions": "dict keys chosen so that their hashes collide",
    "copied_bytes": "values with few objects and many bytes, which only a copy of them would take",
    "shared_structures": "values with few objects and astronomically many paths",
    "cycles": "values that contain themselves",
    "text_tricks": "Unicode and the tokeniser: what looks like one thing and is another",
    "determinism": "what differs between hosts, versions, hash seeds or runs of CPython",
}


@dataclass(frozen=True, slots=True)
class Program:
    """One hostile program and its expected verdict."""

    name: str
    source: str
    status: str
    code: str = ""
    result: object = None
    gas: int = DEFAULT_GAS
    before: tuple[str, ...] = ()
    """Exported functions that run before `main`, each as a transaction, whatever their verdicts."""
    peer: str = ""
    """The source of a contract called `other`."""
    libraries: tuple[str, ...] = ()
    """The sources of the libraries that are at hand."""
    page: str = ""
    """A page that is traced instead of a source that runs."""


def body(*lines: str) -> str:
    """Return a `main` of these lines."""
    return "def main():\n" + "".join(f"    {line}\n" for line in lines)


def rejected(name: str, source: str, rule: str) -> Program:
    """Expect that deployment refuses the source by this rule."""
    return Program(name, source, REJECTED, rule)


def reverted(name: str, source: str, code: str, *, before: tuple[str, ...] = ()) -> Program:
    """Expect that the call reverts with this code."""
    return Program(name, source, REVERTED, code, before=before)


def spent(name: str, source: str, *, gas: int = DEFAULT_GAS, before: tuple[str, ...] = ()) -> Program:
    """Expect that the call spends all its gas."""
    return Program(name, source, OUT_OF_GAS, "OUT_OF_GAS", gas=gas, before=before)


def limited(name: str, source: str, cap: str, *, gas: int = DEFAULT_GAS) -> Program:
    """Expect that the call ends at this cap."""
    return Program(name, source, LIMIT, cap, gas=gas)


def works(
    name: str, source: str, result: object, *, gas: int = DEFAULT_GAS, before: tuple[str, ...] = ()
) -> Program:
    """Expect that the call does no harm and returns this (as JSON)."""
    return Program(name, source, OK, result=result, gas=gas, before=before)


def named(alias: str, library: str) -> str:
    """Return the line by which a contract names a library."""
    return f'{alias} = Library("{source_hash(library).hex()}")\n'


def sharing(program: Program, *libraries: str) -> Program:
    """Return a program for which these libraries are at hand."""
    return replace(program, libraries=libraries)


def everything() -> dict[str, Program]:
    """Return every program by `category/name`."""
    found: dict[str, Program] = {}
    for category in CATEGORIES:
        for program in import_module(category).PROGRAMS:
            key = f"{category}/{program.name}"
            if key in found:
                raise ValueError(f"two hostile programs are called {key}: rename one")
            found[key] = program
    return found
