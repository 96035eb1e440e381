"""The compiler of contracts and libraries: a source goes through front and back, and its payer pays."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from chain.primitives.values import Value
from contracts.language.back.builder import Function, Watch
from contracts.language.back.closures import Built, build
from contracts.language.back.constants import ConstantFolder
from contracts.language.faults import ContractRejected, Diagnostic, OutOfGas
from contracts.language.front.abi import abi_of
from contracts.language.front.checker import parse
from contracts.language.front.declarations import Declarations
from contracts.language.front.library_rules import impurities, visible
from contracts.language.front.lowering import lower
from contracts.language.front.sharing import Summary
from contracts.language.front.tokens import Scan, precheck
from contracts.language.ir import Node, ir_hash, source_hash
from contracts.language.library import Find, Library, load, no_library, too_large
from contracts.language.limits import (
    CONSTANT_ALLOCATION_MAX,
    CONSTANT_GAS,
    ENGINE,
    GAS_COMPILE,
    GAS_COMPILE_BYTE,
    GAS_COMPILE_TOKEN,
    KEPT_BYTE,
    KEPT_TOKEN,
    SOURCE_TOKENS_MAX,
)
from contracts.language.run.machine import Machine
from contracts.language.run.scratch import scratch_machine

Watcher = Callable[[str, Node], Watch]
Parsed = tuple[ast.Module, int]
"""A checked tree, and how many tokens its source has."""
UNMETERED = 10**15
"""Gas of a compilation that nobody pays for: genesis, an author's tools, code in force after a start."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled contract: what deployment fixes of it (hashes, ABI) and what a call runs.

    It holds no state: one program serves every call, in any thread.
    """

    source_hash: bytes
    ir: Node
    ir_hash: bytes
    engine: int
    abi: Value
    functions: Mapping[str, Function]
    size: int
    """Bytes that a node keeps while the contract is in force, at most; its libraries' are among them."""
    libraries: Mapping[str, Library] = field(default_factory=dict)
    """By the contract's names for them."""

    def of_kind(self, kind: str) -> Function | None:
        """Return the function decorated @init or @migrate, if there is one."""
        return next((function for function in self.functions.values() if function.kind == kind), None)


@dataclass(frozen=True, slots=True)
class _Unit:
    """What a contract and a library have in common once they are compiled."""

    ir: Node
    names: Declarations
    built: Built
    tokens: int
    constant_bytes: int
    size: int


def analyse(
    source: str, find: Find = no_library
) -> tuple[Node | None, Declarations | None, list[Diagnostic]]:
    """Return (IR, declarations, []) of a source, or (None, …, diagnostics) when refused; nobody pays."""
    scan = precheck(source)
    if scan.found:
        return None, None, list(scan.found)
    tree, found = parse(source)
    if tree is None:
        return None, None, found
    libraries, found = load(tree, find, scan.tokens)
    if found:
        return None, None, found
    program, names, found = lower(tree, _folder(scratch_machine(), libraries), scan.tokens, libraries)
    return (None, names, found) if found else (program, names, [])


def compile_source(
    source: str,
    name: str = "contract",
    watcher: Watcher | None = None,
    payer: Machine | None = None,
    find: Find = no_library,
) -> Program:
    """Compile a contract; raise ContractRejected with every diagnostic when it is refused.

    The payer is charged for each stage before it: by bytes for the scan, by tokens for all that follows, by
    gas for the constants; each library that it names is paid for in the same way, kept by this node or not.
    A watcher (an author's coverage) is given the source and returns what is told each line that runs. `find`
    returns the libraries, and charges for them.
    """
    payer = payer or scratch_machine(UNMETERED)
    scan = _scanned(source, name, payer)
    tree = _tree(source, name)
    libraries, found = load(tree, find, scan.tokens)
    if found:
        raise ContractRejected(name, found)
    unit = _compiled(source, name, (tree, scan.tokens), watcher, payer, libraries)
    size = unit.size + sum(library.size for library in libraries.values())
    hashes = source_hash(source), ir_hash(unit.ir)
    abi = abi_of(unit.names)
    return Program(hashes[0], unit.ir, hashes[1], ENGINE, abi, unit.built.functions, size, libraries)


def compile_library(
    source: str,
    name: str = "library",
    watcher: Watcher | None = None,
    payer: Machine | None = None,
    room: int = SOURCE_TOKENS_MAX,
) -> Library:
    """Compile a library; raise ContractRejected when it is refused, or there is no room for its tokens.

    The payer is charged as for a contract.
    """
    payer = payer or scratch_machine(UNMETERED)
    scan = _scanned(source, name, payer)
    if scan.tokens > room:
        raise ContractRejected(name, [too_large(scan.tokens, room)])
    tree = _tree(source, name)
    found = impurities(tree)
    if found:
        raise ContractRejected(name, found)
    unit = _compiled(source, name, (tree, scan.tokens), watcher, payer, None)
    digest, names = source_hash(source), unit.names
    functions = {one: function for one, function in unit.built.functions.items() if visible(one)}
    for function in unit.built.functions.values():
        function.library = digest.hex()
    return Library(
        source_hash=digest,
        ir=unit.ir,
        ir_hash=ir_hash(unit.ir),
        engine=ENGINE,
        signatures={one: names.functions[one] for one in functions},
        records=names.records,
        constants={one: constant for one, constant in names.constants.items() if visible(one)},
        summaries=_shared({one: names.summaries[one] for one in functions}),
        built=Built(functions, unit.built.constants),
        tokens=unit.tokens,
        constant_bytes=unit.constant_bytes,
        size=unit.size,
    )


def _shared(summaries: Mapping[str, Summary]) -> dict[str, Summary]:
    """Keep equal summaries once: those of most functions are, and a library may have thousands."""
    known: dict[Summary, Summary] = {}
    return {name: known.setdefault(summary, summary) for name, summary in summaries.items()}


def _scanned(source: str, name: str, payer: Machine) -> Scan:
    """Scan a source and pay for all that follows."""
    payer.charge(GAS_COMPILE + GAS_COMPILE_BYTE * _length(source))
    scan = precheck(source)
    if scan.found:
        raise ContractRejected(name, scan.found)
    payer.charge(GAS_COMPILE_TOKEN * scan.tokens)
    return scan


def _length(source: str) -> int:
    return len(source.encode("utf-8", "replace"))


def _tree(source: str, name: str) -> ast.Module:
    tree, found = parse(source)
    if tree is None:
        raise ContractRejected(name, found)
    return tree


def _compiled(
    source: str,
    name: str,
    parsed: Parsed,
    watcher: Watcher | None,
    payer: Machine,
    libraries: Mapping[str, Library] | None,
) -> _Unit:
    """Lower and build a parsed source, a library's when `libraries` is None."""
    linked = libraries or {}
    room = CONSTANT_ALLOCATION_MAX - sum(library.constant_bytes for library in linked.values())
    if room < 0:
        raise ContractRejected(name, [_too_many_constants()])
    program, names, left = _lowered(parsed, name, payer, room, libraries)
    codes = {alias: library.built for alias, library in linked.items()}
    built = build(program, watcher(source, program) if watcher else None, codes)
    constant_bytes = room - left
    size = KEPT_TOKEN * parsed[1] + KEPT_BYTE * _length(source) + constant_bytes
    return _Unit(program, names, built, parsed[1], constant_bytes, size)


def _too_many_constants() -> Diagnostic:
    reason = f"the constants of its libraries take more than {CONSTANT_ALLOCATION_MAX} bytes together"
    return Diagnostic("LIBRARY", 1, 1, reason, "fewer libraries")


def _lowered(
    parsed: Parsed, name: str, payer: Machine, room: int, libraries: Mapping[str, Library] | None
) -> tuple[Node, Declarations, int]:
    """Lower a checked tree; return the IR, its names and how many bytes of constants there is room for still.

    Constants are made twice, here and when the program is built, so half of the payer's gas is theirs.
    """
    gas = min(CONSTANT_GAS, payer.gas // 2)
    scratch = scratch_machine(gas)
    scratch.memory = room
    kind = "library" if libraries is None else "program"
    linked = libraries or {}
    program, names, found = lower(parsed[0], _folder(scratch, linked), parsed[1], linked, kind)
    if scratch.gas < 0 and gas < CONSTANT_GAS:
        raise OutOfGas
    payer.charge(2 * (gas - max(0, scratch.gas)))
    if found:
        raise ContractRejected(name, found)
    return program, names, scratch.memory


def _folder(scratch: Machine, libraries: Mapping[str, Library]) -> ConstantFolder:
    """Return what computes the constants of a source that names these libraries."""
    return ConstantFolder(scratch, {alias: library.built.constants for alias, library in libraries.items()})
