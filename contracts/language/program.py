"""Source to program: everything that deployment fixes (hashes, ABI) and everything that a call runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chain.primitives.values import Value, decode_stored
from contracts.language.builder import Function, Watch, scratch_machine
from contracts.language.checker import parse
from contracts.language.closures import build_functions
from contracts.language.faults import ContractRejected, Diagnostic, OutOfGas
from contracts.language.hints import hint_text
from contracts.language.ir import Node, ir_hash, source_hash
from contracts.language.limits import (
    CONSTANT_ALLOCATION_MAX,
    CONSTANT_GAS,
    ENGINE,
    GAS_COMPILE,
    GAS_COMPILE_BYTE,
    GAS_COMPILE_TOKEN,
    KEPT_BYTE,
    KEPT_TOKEN,
)
from contracts.language.lowering import lower
from contracts.language.machine import Machine
from contracts.language.records import Record
from contracts.language.scope import Declarations, Signature
from contracts.language.tokens import precheck

Watcher = Callable[[str, Node], Watch]
UNMETERED = 10**15
"""Gas of a compilation that nobody pays for: genesis, an author's tools, code in force after a start."""


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled contract. Holds no state: one program serves every call, in any thread."""

    source_hash: bytes
    ir: Node
    ir_hash: bytes
    engine: int
    abi: Value
    functions: Mapping[str, Function]
    size: int
    """Bytes that a node keeps while the contract is in force, at most."""

    def of_kind(self, kind: str) -> Function | None:
        """Return the function decorated @init or @migrate, if there is one."""
        return next((function for function in self.functions.values() if function.kind == kind), None)


def analyse(source: str) -> tuple[Node | None, Declarations | None, list[Diagnostic]]:
    """Check and lower a source that nobody pays for; the program is None when there are diagnostics."""
    scan = precheck(source)
    if scan.found:
        return None, None, list(scan.found)
    tree, found = parse(source)
    if tree is None:
        return None, None, found
    program, names, found = lower(tree, scratch_machine(CONSTANT_GAS), scan.tokens)
    return (None, names, found) if found else (program, names, [])


def compile_source(
    source: str, name: str = "contract", watcher: Watcher | None = None, payer: Machine | None = None
) -> Program:
    """Compile a contract; raise ContractRejected with every diagnostic when it is refused.

    The payer is charged for each stage before it: by bytes for the scan, by tokens for all that follows, by
    gas for the constants. A watcher (an author's coverage) is given the source and returns what is told each
    line that runs.
    """
    payer = payer or scratch_machine(UNMETERED)
    length = len(source.encode("utf-8", "replace"))
    payer.charge(GAS_COMPILE + GAS_COMPILE_BYTE * length)
    scan = precheck(source)
    if scan.found:
        raise ContractRejected(name, scan.found)
    payer.charge(GAS_COMPILE_TOKEN * scan.tokens)
    program, names, constants = _lowered(source, name, payer, scan.tokens)
    functions = build_functions(program, watcher(source, program) if watcher else None)
    size = KEPT_TOKEN * scan.tokens + KEPT_BYTE * length + constants
    return Program(source_hash(source), program, ir_hash(program), ENGINE, abi_of(names), functions, size)


def _lowered(source: str, name: str, payer: Machine, tokens: int) -> tuple[Node, Declarations, int]:
    """Check and lower a scanned source; return the IR, its names and the bytes of its constants.

    Constants are made twice, here and when the program is built, so half of the payer's gas is theirs.
    """
    tree, found = parse(source)
    if tree is None:
        raise ContractRejected(name, found)
    gas = min(CONSTANT_GAS, payer.gas // 2)
    scratch = scratch_machine(gas)
    program, names, found = lower(tree, scratch, tokens)
    if scratch.gas < 0 and gas < CONSTANT_GAS:
        raise OutOfGas
    payer.charge(2 * (gas - max(0, scratch.gas)))
    if found:
        raise ContractRejected(name, found)
    return program, names, CONSTANT_ALLOCATION_MAX - scratch.memory


def _method_abi(signature: Signature) -> dict[str, Value]:
    """Return what callers need of a method; `defaults` only where an argument may be left out."""
    found: dict[str, Value] = {"kind": signature.kind, "nested": signature.nested, **_head_abi(signature)}
    if signature.defaults:
        found["defaults"] = _values(signature.defaults)
    if signature.guard is not None:
        found["only"] = signature.guard.shown()
    return found


def _head_abi(signature: Signature) -> dict[str, Value]:
    return {
        "params": [[name, hint_text(hint)] for name, hint in signature.params],
        "returns": hint_text(signature.returns),
    }


def _wanted_abi(method: Signature) -> dict[str, Value]:
    """Return what an interface wants of a method; `optional` only where callers may leave something out."""
    found = _head_abi(method)
    return found | {"optional": list(method.defaults)} if method.defaults else found


def _values(defaults: Mapping[str, Node]) -> dict[str, Value]:
    return {name: decode_stored(node[1]) for name, node in defaults.items()}


def _record_abi(record: Record) -> dict[str, Value]:
    """Return the fields of a record; `defaults` only where some may be left out."""
    found: dict[str, Value] = {"fields": [[name, hint_text(hint)] for name, hint in record.fields]}
    return found | {"defaults": _values(record.defaults)} if record.defaults else found


def abi_of(names: Declarations) -> Value:
    """Return the interface that deployment fixes, as a contract value; what is rare, where it is there."""
    found: dict[str, Value] = {
        "methods": {
            signature.name: _method_abi(signature) for signature in names.functions.values() if signature.kind
        },
        "maps": {name: [hint_text(key), hint_text(value)] for name, (key, value) in names.maps.items()},
        "vars": {name: hint_text(hint) for name, (hint, _) in names.variables.items()},
        "events": {
            name: [[field, hint_text(hint)] for field, hint in fields]
            for name, fields in names.events.items()
        },
        "errors": sorted(set(names.errors.values())),
        "contracts": sorted(set(names.contracts.values())),
    }
    rare: dict[str, Value] = {
        "ordered": sorted(names.ordered),
        "records": {name: _record_abi(record) for name, record in names.records.items()},
        "interfaces": {
            name: {method.name: _wanted_abi(method) for method in interface.methods.values()}
            for name, interface in names.interfaces.items()
        },
        "seen_as": {names.contracts[name]: interface for name, interface in names.seen_as.items()},
    }
    return found | {name: value for name, value in rare.items() if value}
