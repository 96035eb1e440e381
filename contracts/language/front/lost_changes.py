"""The rule against lost changes: nothing changes a copy that has no name and goes nowhere.

What a contract reads (an entry of a Map, the value of a Var, a constant, another contract's answer) is a
copy. `m["a"].append(1)`, `g(m["a"])` where g changes its argument, `for x in m["a"]: x.append(1)` change a
copy that is gone with the line. They are refused, unless the copy has a name (`rows = m["a"]`) or the changed
value goes somewhere: to state, an event, another contract, or out of the function.

One walk over each function (`flows.py`) finds which values may be one object (`sharing.py`) and what is
changed; functions are walked after those that they call, of which a summary is kept.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.language.faults import Diagnostic
from contracts.language.front.callgraph import groups
from contracts.language.front.declarations import Declarations
from contracts.language.front.flow_statements import Statements
from contracts.language.front.flows import ANSWER, CONSTANT, ENTRY, MADE, VARIABLE, Values, shape_of
from contracts.language.front.sharing import CHANGED, HELD, RETURNED, STORED, USED, Objects, Summary

_ORIGINS: dict[int, tuple[str, str]] = {
    MADE: ("nothing names this value", "there"),
    CONSTANT: ("a module-level value is constant", "in a local: x = list(…) or dict(…)"),
    ANSWER: ("what another contract returns is a copy", "there"),
    VARIABLE: ("get() returns a copy of what is stored", "and store the changed value"),
    ENTRY: ("an entry of a Map is a copy of what is stored", "and store it: m[key] = value"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """One change of an object: the object, the expression that changes it, and words for both."""

    changed: int
    node: ast.expr
    what: str
    direct: bool
    """Whether the change itself stands here, and gives no result: then even a value just made is lost."""


@dataclass(slots=True)
class Found:
    """The findings of the walk over a whole contract."""

    summaries: dict[str, Summary]
    """What callers need to know of each function, those of libraries included."""
    lost: list[Diagnostic] = field(default_factory=list)
    unstored: list[Diagnostic] = field(default_factory=list)
    """Changes of a copy that has a name, but goes nowhere: no rule of the language, yet likely a mistake."""


def find_lost(names: Declarations) -> Found:
    """Return the changes of a lowered contract that would be lost, and those that are never stored."""
    found = Found({name: names.summaries[name] for name in names.linked})
    summaries = found.summaries
    for group in groups(names.calls):
        if len(group) > 1 or group[0] in names.calls[group[0]]:
            # Functions that call one another have no summary yet: first, what one gives another is joined.
            universe = _Universe(names, summaries)
            for name in group:
                universe.walk(name)
            universe.settle()
            summaries.update({name: universe.summary(name) for name in group})
        for name in group:
            universe = _Universe(names, summaries)
            universe.walk(name)
            universe.settle()
            universe.judge(found)
            summaries[name] = universe.summary(name)
    return found


class _Universe:
    """The objects of one function, or of a group of functions that call one another."""

    def __init__(self, names: Declarations, summaries: Mapping[str, Summary]) -> None:
        self.names = names
        self.summaries = summaries
        self.objects = Objects()
        self._changes: list[Change] = []
        self._ports: dict[str, tuple[dict[str, int | None], int]] = {}

    def port(self, name: str) -> tuple[dict[str, int | None], int]:
        """Return what stands for the parameters and the result of a function."""
        if name not in self._ports:
            params = self.names.functions[name].params
            given = {param: shape_of(hint, self.objects, 0, HELD) for param, hint in params}
            self._ports[name] = given, self.objects.new(flags=RETURNED)
        return self._ports[name]

    def change(self, changed: int | None, node: ast.expr, what: str, *, direct: bool) -> None:
        """Note a change; None cannot change."""
        if changed is not None:
            self.objects.mark(changed, CHANGED)
            self._changes.append(Change(changed, node, what, direct))

    def walk(self, name: str) -> None:
        """Look at one function."""
        given, result = self.port(name)
        Statements(Values(self, dict(given)), result).block(self.names.bodies[name].body)

    def settle(self) -> None:
        """Let flags reach whatever lies inside; nothing is walked afterwards."""
        self.objects.spread(HELD | STORED | RETURNED)

    def judge(self, found: Found) -> None:
        """Add the changes that are lost, or never stored, to what was found."""
        objects = self.objects
        for change in self._changes:
            origin = objects.origin(change.changed)
            if origin == 0 or objects.has(change.changed, STORED | RETURNED):
                continue
            if objects.has(change.changed, HELD):
                if origin in (VARIABLE, ENTRY) and not objects.has(change.changed, USED):
                    _add(found.unstored, change, _unstored(change, origin))
            elif origin > MADE or (change.direct and not _named(change.node)):
                _add(found.lost, change, _lost(change, origin))

    def summary(self, name: str) -> Summary:
        """Return what callers need to know of a function that was walked here."""
        objects = self.objects
        given, result = self.port(name)
        params = [() if shape is None else tuple(objects.levels(shape)) for shape in given.values()]
        levels = tuple(objects.levels(result))
        every = {number for port in (*params, levels) for number in port}
        return Summary(
            tuple(params),
            levels,
            tuple([objects.origin(number) for number in levels]),
            frozenset([number for number in every if objects.has(number, CHANGED)]),
            frozenset([number for number in every if objects.has(number, STORED)]),
        )


def _named(node: ast.expr) -> bool:
    """Tell whether an expression starts from a name, of a loop say; a slice is a new value."""
    while isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Slice):
        node = node.value
    return isinstance(node, ast.Name)


def _add(found: list[Diagnostic], change: Change, words: tuple[str, str, str]) -> None:
    made = Diagnostic(words[0], change.node.lineno, change.node.col_offset + 1, words[1], words[2])
    if not found or (found[-1].line, found[-1].column) != (made.line, made.column):
        found.append(made)


def _lost(change: Change, origin: int) -> tuple[str, str, str]:
    reason, instead = _ORIGINS[origin]
    what = f"{change.what} would be lost: {reason}"
    return "LOST_CHANGE", what, f"take it into a local, change it {instead}"


def _unstored(change: Change, origin: int) -> tuple[str, str, str]:
    reason = f"{change.what} is never stored: {_ORIGINS[origin][0]}"
    return "UNSTORED_CHANGE", reason, "store the changed value: m[key] = value, or v.set(value)"
