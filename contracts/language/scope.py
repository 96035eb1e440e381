"""What names mean: the declarations of a contract, and the locals of one function."""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import chain, islice
from typing import TYPE_CHECKING

from contracts.language.builder import Parts
from contracts.language.faults import Diagnostic
from contracts.language.guards import Guard
from contracts.language.hints import ANY, Hint, bounded, either
from contracts.language.ir import Node
from contracts.language.records import Record
from contracts.language.vocabulary import BUILTINS, HOST, REPLACED, RESERVED

if TYPE_CHECKING:
    from contracts.language.flows import Summary
    from contracts.language.library import Library

CODE_PATTERN = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


TOO_LARGE = (
    "TOO_LARGE",
    "this source makes a program far larger than itself",
    "a smaller contract, or several",
)
"""Rule, reason and advice of a source whose program is larger than its tokens pay for."""


class Refusal(Exception):
    """A node that means nothing in the language."""

    def __init__(self, node: ast.AST, rule: str, reason: str, instead: str) -> None:
        """Point at the node."""
        super().__init__(reason)
        self.diagnostic = Diagnostic(
            rule, getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1, reason, instead
        )


@dataclass(frozen=True, slots=True)
class Constant:
    """A module-level value: `node` makes it, `flat` when it is a container of immutable values."""

    node: Node
    mutable: bool
    flat: bool
    texts: str = ""
    """"one" for a text that is not empty, "many" for a list or tuple of such."""
    hint: Hint = ANY
    """What is known of its type."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A function as callers see it."""

    name: str
    kind: str
    """export, view, init, migrate, or "" for an internal one."""
    nested: bool
    """Whether other contracts may call it: views, and exports that say so."""
    params: tuple[tuple[str, Hint], ...]
    returns: Hint
    line: int
    defaults: Mapping[str, Node] = field(default_factory=dict)
    """Of the parameters that have one: a constant that cannot change."""
    guard: Guard | None = None
    places: Mapping[str, int] = field(init=False, compare=False, repr=False)
    """Of each parameter: its place. Every call asks, and a source has room for thousands of both."""

    def __post_init__(self) -> None:
        """Note the places."""
        object.__setattr__(self, "places", {name: place for place, (name, _) in enumerate(self.params)})

    @property
    def once(self) -> bool:
        """Whether only the lifecycle runs it."""
        return self.kind in ("init", "migrate")

    def takes(self, count: int) -> bool:
        """Tell whether it may be called with this many arguments in order."""
        return len(self.params) - len(self.defaults) <= count <= len(self.params)


@dataclass(frozen=True, slots=True)
class Interface:
    """What a contract expects of another one: the methods that it calls, by name."""

    name: str
    methods: Mapping[str, Signature]

    def shape(self) -> Node:
        """Return it as a part of a program's IR."""
        return (
            self.name,
            tuple([(method.name, method.params, method.returns) for method in self.methods.values()]),
        )


@dataclass(slots=True)
class Declarations:
    """Every module-level name of a contract."""

    maps: dict[str, tuple[Hint, Hint]] = field(default_factory=dict)
    ordered: set[str] = field(default_factory=set)
    """The Maps whose keys can be paged."""
    variables: dict[str, tuple[Hint, Node | None]] = field(default_factory=dict)
    events: dict[str, tuple[tuple[str, Hint], ...]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    contracts: dict[str, str] = field(default_factory=dict)
    interfaces: dict[str, Interface] = field(default_factory=dict)
    seen_as: dict[str, str] = field(default_factory=dict)
    """Of the Contracts that have one: the name of the interface through which it is called."""
    constants: dict[str, Constant] = field(default_factory=dict)
    makers: list[Node] = field(default_factory=list)
    """The expressions of the program's table of constants; `Constant.node` refers to them by number."""
    parts: Parts = field(default_factory=Parts)
    functions: dict[str, Signature] = field(default_factory=dict)
    bodies: dict[str, ast.FunctionDef] = field(default_factory=dict)
    libraries: dict[str, Library] = field(default_factory=dict)
    linked: dict[str, Signature] = field(default_factory=dict)
    """The functions of libraries, as `library.name`; so stand their records and constants, too."""
    summaries: dict[str, Summary] = field(default_factory=dict)
    """What callers need to know of each function (`flows.Summary`): of libraries', then of one's own."""
    calls: dict[str, set[str]] = field(default_factory=dict)
    """Which functions each function calls; filled in by the lowering of their bodies."""
    field_hints: dict[int, Hint] = field(default_factory=dict)
    """Of each syntax node that reads or sets a field of a record: the field's hint."""
    remote_calls: set[int] = field(default_factory=set)
    """Ids of the syntax nodes that call another contract; filled in by the lowering, as the hints are."""
    room: int = 0
    """Parts of the IR that expressions may still have: what the tokens of the source were paid for."""
    suggestions: int = 0
    """Diagnostics so far that looked for a name like the misspelt one."""

    def spend(self, node: ast.AST, lowered: Node) -> None:
        """Count the parts of an expression's IR, those of its own parts apart; refuse too many at once."""
        self.room -= len(lowered)
        if self.room < 0:
            raise Refusal(node, *TOO_LARGE)

    @property
    def records(self) -> dict[str, Record]:
        """Return the records that were defined so far."""
        return self.parts.records

    def signature_of(self, name: str) -> Signature:
        """Return the signature of a function of the contract, or of a library as `library.name`."""
        return self.functions.get(name) or self.linked[name]

    def all_names(self) -> list[str]:
        """Return every module-level name."""
        named = (self.maps, self.variables, self.events, self.errors, self.contracts, self.constants)
        more = [*self.records, *self.interfaces, *self.libraries, *self.functions]
        return [*[name for names in named for name in names], *more]

    def kind_of(self, name: str) -> str:
        """Return what a module-level name is, in words; empty when it is none."""
        kinds: dict[str, Container[str]] = {
            "a Map": self.maps,
            "a Var": self.variables,
            "an Event": self.events,
            "an Error": self.errors,
            "a Contract": self.contracts,
            "a constant": self.constants,
            "a record": self.records,
            "an interface": self.interfaces,
            "a Library": self.libraries,
            "a function": self.functions,
        }
        return next((kind for kind, names in kinds.items() if name in names), "")


class Scope:
    """The slots of one function's locals, and which of them are certainly assigned at this point."""

    def __init__(self, params: list[str], local_names: list[str]) -> None:
        """Give slots to parameters first, then to the other locals in order of appearance."""
        self.slots = {name: slot for slot, name in enumerate(dict.fromkeys([*params, *local_names]))}
        self.count = len(self.slots)
        self.params = frozenset(params)
        self.assigned = (1 << len(set(params))) - 1
        """The slots, as bits, of locals that are certainly assigned: branches copy and join it."""
        self.called: set[str] = set()
        self.inner: list[dict[str, int]] = []
        self.declared: dict[str, Hint] = {}
        """Hints of locals that have one: of parameters and annotated names."""
        self._learned: list[dict[str, Hint]] = [{}]
        """What assignments so far tell of the others, of the function and of each comprehension."""

    def find(self, name: str) -> tuple[int, bool] | None:
        """Return (slot, certainly assigned) of a local, or None."""
        for names in reversed(self.inner):
            if name in names:
                return names[name], True
        slot = self.slots.get(name)
        return None if slot is None else (slot, bool(self.assigned >> slot & 1))

    def assign(self, name: str) -> int:
        """Return the slot of a local that is assigned from here on."""
        slot = self.slots[name]
        self.assigned |= 1 << slot
        return slot

    def learn(self, name: str, hint: Hint) -> None:
        """Note that a local may hold a value of this hint from here on."""
        learned = self._learned[-1 if self.inner and name in self.inner[-1] else 0]
        learned[name] = either(learned[name], hint) if name in learned else bounded(hint)

    def known(self, name: str) -> Hint:
        """Return what is known of the type of a local."""
        for names, learned in zip(reversed(self.inner), reversed(self._learned), strict=False):
            if name in names:
                return learned.get(name, ANY)
        return self.declared.get(name) or self._learned[0].get(name, ANY)

    def fresh(self, name: str) -> int:
        """Return a new slot for a comprehension's variable in the innermost comprehension."""
        names = self.inner[-1]
        if name not in names:
            names[name] = self.count
            self.count += 1
        return names[name]

    @contextmanager
    def comprehension(self) -> Iterator[None]:
        """Open the scope of one comprehension."""
        self.inner.append({})
        self._learned.append({})
        yield
        self.inner.pop()
        self._learned.pop()


def assigned_names(body: list[ast.stmt]) -> list[str]:
    """Return the names that a function body assigns, in order; not those of comprehensions and lambdas."""
    found: list[str] = []
    for statement in body:
        _collect(statement, found)
    return found


def _collect(node: ast.AST, found: list[str]) -> None:
    if isinstance(node, (ast.ListComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)):
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        found.append(node.id)
    for child in ast.iter_child_nodes(node):
        _collect(child, found)


def check_new_name(names: Declarations, node: ast.AST, name: str) -> None:
    """Refuse a local that hides a declaration or a name of the language."""
    if name in RESERVED:
        raise Refusal(node, "RESERVED_NAME", f"{name} belongs to the language", "another name")
    kind = names.kind_of(name)
    if kind:
        raise Refusal(node, "HIDDEN_NAME", f"{name} is {kind} of this contract", "another name for the local")


def linked_name(names: Declarations, scope: Scope, node: ast.AST) -> str | None:
    """Return `library.name` where something of a library is named, whether it has it or not; else None."""
    if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name):
        return None
    owner = node.value.id
    return f"{owner}.{node.attr}" if owner in names.libraries and scope.find(owner) is None else None


def unknown_member(names: Declarations, node: ast.Attribute, dotted: str) -> Refusal:
    """Return the refusal of what a library does not have."""
    owner, _, name = dotted.partition(".")
    library = names.libraries[owner]
    known = [*library.signatures, *library.records, *library.constants]
    known = [one for one in known if not one.startswith("_")]
    near = near_ones(names, name, known) or known[:MEMBERS_SHOWN]
    return Refusal(
        node, "UNKNOWN_NAME", f"library {owner} has no {name}", ", ".join(f"{owner}.{n}" for n in near)
    )


def check_code(node: ast.AST, code: object) -> None:
    """Refuse an error code that is not 1 to 64 of A-Z, 0-9 and _, beginning with a letter."""
    if not isinstance(code, str) or not CODE_PATTERN.fullmatch(code):
        raise Refusal(node, "CODE", "a code is 1 to 64 of A-Z, 0-9 and _", 'for example "QUOTA_EXHAUSTED"')


SUGGESTIONS_MAX = 3
"""Diagnostics of one source that look for a name like the misspelt one: the comparison is dear."""
_SUGGESTED_FROM = 200
"""Names of a contract that a misspelt one is held against."""
MEMBERS_SHOWN = 6
"""Names of a library that the refusal of a misspelt one names when none is like it."""
_COMPARED = 12
_COMPARED_LENGTH = 24
_LIKE = 0.75
"""Likeness from which a name is a likely slip of the pen: below, `bin` is like `min`."""


def unknown_name(names: Declarations, node: ast.AST, name: str, known: Iterable[str]) -> Refusal:
    """Return the refusal of a name that nothing defines, with the nearest way to say it."""
    if name in REPLACED:
        return Refusal(node, "NOT_IN_LANGUAGE", f"{name} is not in the language", REPLACED[name])
    near: list[str] = []
    if names.suggestions < SUGGESTIONS_MAX and len(name) <= _COMPARED_LENGTH:
        names.suggestions += 1
        near = get_close_matches(name, _likely(name, known), n=3, cutoff=_LIKE)
    instead = ", ".join(near) or "a name that is assigned before, or defined at the top level"
    return Refusal(node, "UNKNOWN_NAME", f"nothing is called {name}", instead)


def near_ones(names: Declarations, name: str, known: Iterable[str]) -> list[str]:
    """Return a few of the names of a short list that are like a misspelt one."""
    if names.suggestions >= SUGGESTIONS_MAX or len(name) > _COMPARED_LENGTH:
        return []
    names.suggestions += 1
    return get_close_matches(name, list(known), n=3, cutoff=_LIKE)


def _likely(name: str, known: Iterable[str]) -> list[str]:
    """Return a few names that share most letters with `name`."""
    letters = set(name)
    others = [
        other
        for other in islice(chain(BUILTINS, HOST, known), _SUGGESTED_FROM)
        if abs(len(other) - len(name)) <= 3 and len(other) <= _COMPARED_LENGTH
    ]
    return sorted(others, key=lambda other: len(letters.symmetric_difference(other)))[:_COMPARED]
