"""Source to program: everything that deployment fixes (hashes, ABI) and everything that a call runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chain.primitives.values import Value
from contracts.language.builder import Function, Watch, scratch_machine
from contracts.language.checker import parse
from contracts.language.closures import build_functions
from contracts.language.faults import ContractRejected, Diagnostic
from contracts.language.hints import hint_text
from contracts.language.ir import Node, ir_hash, source_hash
from contracts.language.limits import ENGINE
from contracts.language.lowering import lower
from contracts.language.scope import Declarations

Watcher = Callable[[str, Node], Watch]


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled contract. Holds no state: one program serves every call, in any thread."""

    source_hash: bytes
    ir: Node
    ir_hash: bytes
    engine: int
    abi: Value
    functions: Mapping[str, Function]

    def of_kind(self, kind: str) -> Function | None:
        """Return the function decorated @init or @migrate, if there is one."""
        return next((function for function in self.functions.values() if function.kind == kind), None)


def analyse(source: str) -> tuple[Node | None, Declarations | None, list[Diagnostic]]:
    """Check and lower a source; the program is None when there are diagnostics."""
    tree, found = parse(source)
    if tree is None:
        return None, None, found
    program, names, found = lower(tree, scratch_machine())
    return (None, names, found) if found else (program, names, [])


def compile_source(source: str, name: str = "contract", watcher: Watcher | None = None) -> Program:
    """Compile a contract; raise ContractRejected with every diagnostic when it is refused.

    A watcher (an author's coverage) is given the source and returns what is told each line that runs.
    """
    program, names, found = analyse(source)
    if program is None or names is None:
        raise ContractRejected(name, found)
    functions = build_functions(program, watcher(source, program) if watcher else None)
    return Program(source_hash(source), program, ir_hash(program), ENGINE, abi_of(names), functions)


def abi_of(names: Declarations) -> Value:
    """Return the interface that deployment fixes, as a contract value."""
    return {
        "methods": {
            signature.name: {
                "kind": signature.kind,
                "nested": signature.nested,
                "params": [[name, hint_text(hint)] for name, hint in signature.params],
                "returns": hint_text(signature.returns),
            }
            for signature in names.functions.values()
            if signature.kind
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
