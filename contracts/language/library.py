"""Libraries: sources of pure functions, records and constants, which contracts name by their hash.

`roles = Library("<hash>")` at the top level, then `roles.has(…)`, `roles.Grant(…)`, `roles.LIMIT`. A library
is compiled on its own and once: what is linked to a contract are its functions themselves, so a node keeps
one copy for all contracts that name it, and a failure names the library's own lines. It has no state, no
`ctx`, no events, calls no contract and names no library: whatever it works on is an argument.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from chain.primitives.values import Value
from contracts.language.back.closures import Built
from contracts.language.faults import DIAGNOSTICS_MAX, ContractRejected, Diagnostic
from contracts.language.front.abi import library_abi
from contracts.language.front.declarations import Exports
from contracts.language.front.library_rules import declarations, visible
from contracts.language.front.refusals import Refusal
from contracts.language.ir import Node
from contracts.language.limits import LIBRARIES_MAX, SOURCE_TOKENS_MAX

HASH_TEXT = re.compile(r"[0-9a-f]{64}")
_SHAPE = 'roles = Library("64 hex digits"), as assent contract check --as-library prints them'


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Library(Exports):
    """A compiled library: its exports, and the code that all contracts share which name it."""

    ir: Node
    engine: int
    built: Built
    """Its functions that contracts may call, and its table of constants."""
    constant_bytes: int
    size: int
    """Bytes that a node keeps of it, at most."""

    @property
    def abi(self) -> Value:
        """Return the ABI of the library; it is made when an author asks, since nodes need it for nothing."""
        records = {name: record for name, record in self.records.items() if visible(name)}
        return library_abi(self.signatures, records, self.constants)


Find = Callable[[bytes, int], Library | None]
"""(hash, tokens that there is room for) -> the library, None if it is not there; raises ContractRejected."""


def no_library(_: bytes, __: int) -> Library | None:
    """Return None: it is the `Find` of a place where no library is at hand."""
    return None


def load(tree: ast.Module, find: Find, tokens: int) -> tuple[dict[str, Library], list[Diagnostic]]:
    """Return the libraries that a contract names, by its names for them, and the reasons to refuse it.

    `tokens` are those of the contract: with its libraries it has at most SOURCE_TOKENS_MAX.
    """
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
    """Return the words for a library that has more tokens than there is room for."""
    return (
        f"{tokens} tokens, and a contract and its libraries have at most {SOURCE_TOKENS_MAX} together: "
        f"there is room for {max(0, room)}"
    )


def too_large(tokens: int, room: int) -> Diagnostic:
    """Return the refusal of a library for which there is no room in a contract."""
    return Diagnostic("TOO_MANY_TOKENS", 1, 1, over(tokens, room), _SMALLER)
