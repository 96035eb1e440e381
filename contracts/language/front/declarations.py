"""The symbol table of a contract: every name of its top level, and what it stands for."""

from __future__ import annotations

import ast
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from contracts.language.front.guards import Guard
from contracts.language.front.refusals import TOO_LARGE, Refusal
from contracts.language.front.sharing import Summary
from contracts.language.hints import ANY, Hint
from contracts.language.ir import Node
from contracts.language.records import Record


@dataclass(frozen=True, slots=True)
class Constant:
    """A module-level constant: `node` stands for it in the IR, `flat` tells that no item of it can change."""

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
    """An interface: the methods, by name, that a contract expects of another one."""

    name: str
    methods: Mapping[str, Signature]

    def shape(self) -> Node:
        """Return the interface as a part of a program's IR."""
        return (
            self.name,
            tuple([(method.name, method.params, method.returns) for method in self.methods.values()]),
        )


@dataclass(frozen=True, slots=True)
class Exports:
    """The exports of a library: its hashes, and by name what contracts may use of it."""

    source_hash: bytes
    ir_hash: bytes
    tokens: int
    signatures: Mapping[str, Signature]
    records: Mapping[str, Record]
    constants: Mapping[str, Constant]
    summaries: Mapping[str, Summary]


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
    records: dict[str, Record] = field(default_factory=dict)
    functions: dict[str, Signature] = field(default_factory=dict)
    bodies: dict[str, ast.FunctionDef] = field(default_factory=dict)
    libraries: dict[str, Exports] = field(default_factory=dict)
    linked: dict[str, Signature] = field(default_factory=dict)
    """The functions of libraries, as `library.name`; so stand their records and constants, too."""
    summaries: dict[str, Summary] = field(default_factory=dict)
    """What callers need to know of each function (`sharing.Summary`): of libraries', then of one's own."""
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
