"""The state of building closures: the running cost, what the program declares, the table of builders.

While an expression is built, the gas of every node that always runs is added to `Build.cost`; the statements
around it charge the sum before they run. Parts that may not run (the right side of `and`, a branch of a
conditional, the body of a comprehension) are built apart and charge when they are entered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from chain.primitives.values import Value
from contracts.language.faults import OutOfGas
from contracts.language.hints import ANY, Hint, holds_record
from contracts.language.ir import Node
from contracts.language.limits import GAS_NODE
from contracts.language.run.checks import NO_RECORDS, Check, CheckedRecords, checker, exact_type
from contracts.language.run.machine import LOCALS, Closure, Frame, Unset

T = TypeVar("T")
Builder = Callable[["Build", Node], Closure]
Watch = Callable[[int], object]
"""What an author's tools are told: the line of each statement before it runs. Never set on a node."""


class Function:
    """A compiled function: the checks of its arguments, the size of its frame, and its body."""

    __slots__ = (
        "body",
        "checks",
        "defaults",
        "fills",
        "frames",
        "kind",
        "library",
        "line",
        "name",
        "name_set",
        "names",
        "nested",
        "padding",
        "params",
        "records",
        "result",
        "returns",
        "template",
    )

    def __init__(
        self,
        name: str,
        kind: str,
        nested: bool,
        line: int,
        params: tuple[tuple[str, Hint], ...],
        returns: Hint,
        records: CheckedRecords = NO_RECORDS,
    ) -> None:
        """Fill in the head; frame and body follow once every function of the program is known."""
        self.name = name
        self.kind = kind
        self.nested = nested
        self.line = line
        self.params = params
        self.returns = returns
        self.names = tuple([param for param, _ in params])
        self.name_set = frozenset(self.names)
        self.checks = tuple([argument_check(place, hint, records) for place, (_, hint) in enumerate(params)])
        self.fills = tuple(
            [
                (LOCALS + place, checker(hint, records, fill=True))
                for place, (_, hint) in enumerate(params)
                if holds_record(hint)
            ]
        )
        self.result = None if returns == ANY else checker(returns, records)
        self.records = records
        self.defaults: Mapping[str, Value] = {}
        self.padding: list[Unset] = []
        self.template: list[Value | Unset] = []
        """The locals of a frame before arguments are put in: defaults where there are some."""
        self.frames = 0
        self.library = ""
        """Of a library's function: the library's hash, hex."""
        self.body: Closure = _empty


def argument_check(place: int, hint: Hint, records: CheckedRecords) -> tuple[int, type | None, Check]:
    """Return (place in the frame, type that is the whole check or None, check)."""
    return LOCALS + place, exact_type(hint), checker(hint, records)


def _empty(_: Frame) -> Any:
    return None


@dataclass(frozen=True, slots=True)
class Global:
    """A module-level constant: its value, and what makes a fresh copy of it when it is mutable."""

    value: Value
    fresh: Closure | None


@dataclass(frozen=True, slots=True)
class Declared:
    """What a program declares, by name: its records, and the hints of its Maps, Vars and Events."""

    records: CheckedRecords
    maps: Mapping[str, tuple[Hint, Hint]] = field(default_factory=dict)
    ordered: frozenset[str] = frozenset()
    variables: Mapping[str, tuple[Hint, Node | None]] = field(default_factory=dict)
    events: Mapping[str, tuple[tuple[str, Hint], ...]] = field(default_factory=dict)
    interfaces: Mapping[str, Mapping[str, tuple[Mapping[str, Hint], Hint]]] = field(default_factory=dict)
    """Of each method that an interface has: the hints of its arguments, and of what it gives."""


class MadeOnce:
    """A table of what all uses of one declaration share, since a hint may be long and its uses many."""

    def __init__(self) -> None:
        """Start with nothing made."""
        self._made: dict[Any, Any] = {}

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """Return what this key stands for, made at its first use."""
        if key not in self._made:
            self._made[key] = make()
        found: T = self._made[key]
        return found


class Build:
    """The state of building one function, or one constant."""

    def __init__(
        self,
        table: Mapping[str, Builder],
        functions: Mapping[str, Function],
        declared: Declared,
        constants: Sequence[Global],
        shared: MadeOnce,
    ) -> None:
        """Build with this table of builders; `constants` are those that stand before what is built."""
        self.table = table
        self.functions = functions
        self.declared = declared
        self.constants = constants
        self.once = shared.once
        self.cost = 0
        self.watch: Watch | None = None

    def expr(self, node: Node) -> Closure:
        """Return the closure of an expression and add its certain gas to the running cost."""
        self.cost += GAS_NODE
        return self.table[node[0]](self, node)

    def all(self, nodes: tuple[Node, ...]) -> list[Closure]:
        """Build several expressions in order."""
        return [self.expr(node) for node in nodes]

    def apart(self, node: Node) -> tuple[Closure, int]:
        """Build a part that may not run: return its closure and gas, leaving the running cost alone."""
        before, self.cost = self.cost, 0
        made = self.expr(node)
        cost, self.cost = self.cost, before
        return made, cost

    def optional(self, node: Node) -> Closure:
        """Build a part that may not run, which pays when it does."""
        return charged(*self.apart(node))


def charged(made: Closure, cost: int) -> Closure:
    """Return a closure that pays for a part before running it."""

    def run(f: Frame) -> Any:
        m = f[0]
        m.gas -= cost
        if m.gas < 0:
            raise OutOfGas
        return made(f)

    return run


def watched(b: Build, line: int, made: Closure) -> Closure:
    """Return a closure that tells the build's watcher, if it has one, which line runs."""
    watch = b.watch
    if watch is None:
        return made

    def run(f: Frame) -> Any:
        watch(line)
        return made(f)

    return run
