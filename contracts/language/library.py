"""Libraries: sources of pure functions, records and constants, which contracts name by their hash.

`roles = Library("<hash>")` at the top level, then `roles.has(…)`, `roles.Grant(…)`, `roles.LIMIT`. A library
is compiled on its own and once: what is linked to a contract are its functions themselves, so a node keeps
one copy for all contracts that name it, and a failure names the library's own lines. It has no state, no
`ctx`, no events, calls no contract and names no library: whatever it works on is an argument.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chain.primitives.values import Value
from contracts.language.abi import library_abi
from contracts.language.builder import Function, Global
from contracts.language.checker import DIAGNOSTICS_MAX
from contracts.language.faults import ContractRejected, Diagnostic
from contracts.language.hints import Hint
from contracts.language.ir import Node
from contracts.language.limits import LIBRARIES_MAX, SOURCE_TOKENS_MAX
from contracts.language.records import Record, record_of
from contracts.language.scope import Constant, Declarations, Refusal, Signature

if TYPE_CHECKING:
    from contracts.language.flows import Summary

HASH_TEXT = re.compile(r"[0-9a-f]{64}")
_SHAPE = 'roles = Library("64 hex digits"), as assent contract check --as-library prints them'
_OUTSIDE = frozenset({"Map", "Var", "Event", "Contract", "Library"})
_SERVICES = frozenset({"call_init", "call_migrate", "compile_contract", "compile_library"})
_PURE = "what it works on as an argument: a library has no state, no ctx, no events and calls no contract"


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Library:
    """A compiled library: what the contracts that name it share, and what linking needs to know of it."""

    source_hash: bytes
    ir: Node
    ir_hash: bytes
    engine: int
    signatures: Mapping[str, Signature]
    records: Mapping[str, Record]
    constants: Mapping[str, Constant]
    made: Sequence[Global]
    """Its table of constants."""
    summaries: Mapping[str, Summary]
    functions: Mapping[str, Function]
    tokens: int
    constant_bytes: int
    size: int
    """Bytes that a node keeps of it, at most."""

    @property
    def abi(self) -> Value:
        """Return what contracts may use of it: made when an author asks, since nodes need it for nothing."""
        records = {name: record for name, record in self.records.items() if visible(name)}
        return library_abi(self.signatures, records, self.constants)


Find = Callable[[bytes, int], Library | None]
"""(hash, tokens that there is room for) -> the library, None if it is not there; raises ContractRejected."""


def no_library(_: bytes, __: int) -> Library | None:
    """Find nothing: where no library is at hand."""
    return None


# --- what a library may hold -----------------------------------------------------------------------------


def impurities(tree: ast.Module) -> list[Diagnostic]:
    """Return why a source is no library, in its order: what reaches beyond the arguments of a function."""
    found = [refusal.diagnostic for node in ast.walk(tree) if (refusal := _impure(node)) is not None]
    if not found and not any(visible(name) for name in _named(tree)):
        reason = "there is nothing here that a contract could use"
        found = [
            Diagnostic("LIBRARY", 1, 1, reason, "a def, a record or a constant without _ before its name")
        ]
    return sorted(found, key=lambda item: (item.line, item.column))[:DIAGNOSTICS_MAX]


def _impure(node: ast.AST) -> Refusal | None:
    if isinstance(node, ast.FunctionDef) and node.decorator_list:
        reason = f"{node.name} has a decorator, and nobody calls a library from outside"
        return Refusal(node.decorator_list[0], "LIBRARY", reason, "a plain def")
    if isinstance(node, ast.Name) and node.id in (*_OUTSIDE, *_SERVICES, "ctx"):
        reason = "a library names no library" if node.id == "Library" else f"a library has no {node.id}"
        return Refusal(node, "LIBRARY", reason, _PURE)
    if isinstance(node, ast.ClassDef) and any(
        isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases
    ):
        return Refusal(node, "LIBRARY", "an interface is of a contract that is called", _PURE)
    return None


def _named(tree: ast.Module) -> list[str]:
    """Return the names that the top level defines."""
    found = []
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.append(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            found += [
                part.id
                for part in ast.walk(node)
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)
            ]
    return found


def visible(name: str) -> bool:
    """Tell whether contracts may use a name of a library."""
    return not name.startswith("_")


# --- finding the libraries of a contract -----------------------------------------------------------------


def load(tree: ast.Module, find: Find, tokens: int) -> tuple[dict[str, Library], list[Diagnostic]]:
    """Return the libraries that a contract of so many tokens names, by its names for them, and its faults."""
    found: dict[str, Library] = {}
    faults: list[Diagnostic] = []
    for name, call in declarations(tree):
        try:
            found[name] = library = _one(call, found, find, SOURCE_TOKENS_MAX - tokens)
        except Refusal as refusal:
            faults.append(refusal.diagnostic)
        else:
            tokens += library.tokens
    return found, faults[:DIAGNOSTICS_MAX]


def declarations(tree: ast.Module) -> list[tuple[str, ast.Call]]:
    """Return name and call of each `name = Library(…)` of the top level."""
    return [found for node in tree.body if (found := _declaration(node)) is not None]


def _declaration(node: ast.stmt) -> tuple[str, ast.Call] | None:
    """Return the name and the call of `name = Library(…)`."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return None
    target, call = node.targets[0], node.value
    if (
        not isinstance(target, ast.Name)
        or not isinstance(call, ast.Call)
        or not isinstance(call.func, ast.Name)
    ):
        return None
    return (target.id, call) if call.func.id == "Library" else None


def _one(call: ast.Call, known: Mapping[str, Library], find: Find, room: int) -> Library:
    argument = call.args[0] if len(call.args) == 1 and not call.keywords else None
    text = argument.value if isinstance(argument, ast.Constant) else None
    if not isinstance(text, str) or not HASH_TEXT.fullmatch(text):
        raise Refusal(
            call, "LIBRARY", "a library is named by its hash, 64 hex digits in small letters", _SHAPE
        )
    if len(known) >= LIBRARIES_MAX:
        reason = f"a contract names at most {LIBRARIES_MAX} libraries"
        raise Refusal(call, "LIBRARY", reason, "one library of what several hold")
    wanted = bytes.fromhex(text)
    if any(library.source_hash == wanted for library in known.values()):
        raise Refusal(call, "TWICE", f"library {text[:16]}… has a name already", "that name")
    try:
        library = find(wanted, room)
    except ContractRejected as rejected:
        first = rejected.diagnostics[0]
        reason = f"library {text[:16]}… is refused, line {first.line}: {first.rule}: {first.reason}"
        raise Refusal(call, "LIBRARY", reason, first.instead) from None
    if library is None:
        instead = "assent contract publish FILE puts it on the ledger; check and run take --library FILE"
        raise Refusal(call, "UNKNOWN_LIBRARY", f"there is no library with hash {text}", instead)
    if library.tokens > room:
        raise Refusal(call, "LIBRARY", f"library {text[:16]}…: {over(library.tokens, room)}", _SMALLER)
    return library


_SMALLER = "a shorter contract, or fewer libraries"


def over(tokens: int, room: int) -> str:
    """Say that a library has more tokens than there is room for."""
    return (
        f"{tokens} tokens, and a contract and its libraries have at most {SOURCE_TOKENS_MAX} together: "
        f"there is room for {max(0, room)}"
    )


def too_large(tokens: int, room: int) -> Diagnostic:
    """Return the refusal of a library for which there is no room in a contract."""
    return Diagnostic("TOO_MANY_TOKENS", 1, 1, over(tokens, room), _SMALLER)


# --- linking ---------------------------------------------------------------------------------------------


def link(names: Declarations, alias: str, library: Library) -> None:
    """Let a contract use what a library has, each under `alias.name`."""
    names.libraries[alias] = library
    for name, record in library.records.items():
        shape = f"{alias}.{name}", tuple([_qualified_field(part, alias) for part in record.shape()[1]])
        names.records[shape[0]] = record_of(shape, names.records)
    for name, signature in library.signatures.items():
        params = tuple([(param, qualified(hint, alias)) for param, hint in signature.params])
        names.linked[f"{alias}.{name}"] = replace(
            signature, name=f"{alias}.{name}", params=params, returns=qualified(signature.returns, alias)
        )
    for name, constant in library.constants.items():
        node = constant.node
        if node[0] == "global":
            names.makers.append(("linked", alias, node[1]))
            names.parts.constants.append(library.made[node[1]])
            node = ("global", len(names.makers) - 1)
        hint = qualified(constant.hint, alias)
        names.constants[f"{alias}.{name}"] = replace(constant, node=node, hint=hint)
    names.summaries.update({f"{alias}.{name}": summary for name, summary in library.summaries.items()})


def _qualified_field(part: Node, alias: str) -> Node:
    return (part[0], qualified(part[1], alias), *part[2:])


def qualified(hint: Hint, alias: str) -> Hint:
    """Return a hint of a library as the contract that calls it `alias` knows it."""
    if hint[0] == "record":
        return ("record", f"{alias}.{hint[1]}")
    return (hint[0], *[qualified(part, alias) for part in hint[1:]])
