"""Groups of rows that exact figures rest on: which of a page are judged beside one another.

A *family* is what one column's sums, or numbers of rows, are about, over the rows of one table or join. Its
*sets* are the groups that figures of the family are over, each definition once, in the order of the page; set
0 is all rows, whether their figure is released or not, since another job may release it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from contracts.pages.labels import Atom, Label, Labels, bits_of, merged
from contracts.pages.plan import Plan
from contracts.pages.releases import SHARES, ReleaseAsked
from contracts.pages.types import is_rows
from privcompute.pages.columns import InputRefused

COUNT = -1
"""What numbers of rows are about; else the number of a column of the plan."""
_OF_LOOPS = frozenset({"repeat", "step", "carry", "again", "after"})
Family = tuple[str, int]
"""Rows, and what is counted or summed."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What chooses the rows of a figure: nodes of groups and of rows; neither for all rows."""

    by: int | None = None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """An exact figure that keys alone choose the rows of."""

    node: int
    rows: str
    """The name of the number of rows that it is over."""
    choice: Choice
    """What chooses the rows that it rests on."""
    about: tuple[tuple[int, Choice], ...]
    """What it is about, with the choice that is judged beside others of that family."""
    parts: tuple[int, ...] = ()
    """Datasets of a union each of which must have rows enough by itself; none where all rows are one."""

    def families(self) -> Iterable[tuple[Family, Choice]]:
        """Return its families, each with its choice."""
        return [((self.rows, about), choice) for about, choice in self.about]


@dataclass(frozen=True, slots=True)
class ExactFigures:
    """The sums and counts that exact figures follow from."""

    plain: frozenset[int] = frozenset()
    """Nodes of those that rest on columns in other ways, which `plain` allows: each is judged alone."""
    chosen: Mapping[int, Figure] = field(default_factory=dict)
    """By node, those whose rows keys alone choose."""


def exact_figures(plan: Plan, labels: Labels) -> ExactFigures:
    """Return what exact figures of a plan follow from; raise InputRefused for rows that a loop chooses."""
    graph = plan.graph
    receivers: dict[int, set[str]] = {}
    for one in plan.asked:
        if _is_exact(plan, one):
            for place in bits_of(labels.of[one.value].atoms):
                receivers.setdefault(place, set()).add(one.receiver)
    of_rows: dict[str, set[str]] = {}
    for place, orgs in receivers.items():
        of_rows.setdefault(labels.atoms[place].rows, set()).update(orgs)
    plain, chosen = set(), {}
    for place in receivers:
        atom = labels.atoms[place]
        if atom.label.figure or graph.name(atom.node) not in ("sum", "group_sum", "group_count"):
            plain.add(atom.node)
        else:
            chosen[atom.node] = _figure(plan, labels, atom, of_rows[atom.rows])
    return ExactFigures(frozenset(plain), chosen)


def _is_exact(plan: Plan, one: ReleaseAsked) -> bool:
    return one.receiver != SHARES and not one.mechanism and not plan.graph.cells[one.value].by_row


def _figure(plan: Plan, labels: Labels, atom: Atom, receivers: set[str]) -> Figure:
    graph, node = plan.graph, atom.node
    name, args = graph.name(node), graph.args[node]
    masked = {"sum": 1, "group_sum": 2, "group_count": 1}[name]
    rows = args[masked] if len(args) > masked else None
    by = {"sum": None, "group_sum": args[-1] if rows is None else args[1], "group_count": args[0]}[name]
    summand = None if name == "group_count" else args[0]
    about: list[tuple[int, Choice]] = []
    choice = Choice(by, rows)
    if name == "sum" and graph.cells[args[0]].kind == "bit":
        choice = Choice(args[0], rows)
        about.append((COUNT, choice))
        about += [(column, Choice(None, rows)) for column in _columns(labels.of[args[0]])]
    elif summand is None:
        about.append((COUNT, choice))
    else:
        about += [(column, choice) for column in _columns(labels.of[summand])]
    figure = Figure(node, atom.rows, choice, tuple(about), _protected(plan, atom.rows, receivers))
    _check_loops(plan, figure)
    return figure


def _columns(label: Label) -> list[int]:
    return bits_of(merged([label]).values)


def _protected(plan: Plan, rows: str, receivers: set[str]) -> tuple[int, ...]:
    """Return the datasets of a union that are not one receiver's own: a receiver knows its own rows."""
    if "+" not in rows:
        return ()
    places = [int(part) for part in rows.partition(":")[2].split("+")]
    return tuple(place for place in places if receivers != {plan.datasets[place].owner})


def ancestors(plan: Plan, nodes: Iterable[int | None]) -> list[int]:
    """Return nodes and all that they follow from, ascending."""
    found: set[int] = set()
    pending = [node for node in nodes if node is not None]
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending += plan.graph.args[node]
    return sorted(found)


def _check_loops(plan: Plan, figure: Figure) -> None:
    nodes = ancestors(plan, (figure.choice.by, figure.choice.rows))
    if any(plan.graph.name(node) in _OF_LOOPS for node in nodes):
        raise InputRefused(
            f"an exact figure over {_said(figure.rows)} counts or sums rows that repeat(…) chooses, so nobody"
            " can judge it beside others: choose rows before the loop, write turns as for step in range(n),"
            " or ask for noise"
        )


def _said(rows: str) -> str:
    return "joined rows" if is_rows(rows) and rows.startswith("n:join") else "rows"


def said_family(plan: Plan, about: int) -> str:
    """Name what figures of a family are about."""
    if about == COUNT:
        return "counts of rows"
    read = plan.graph.columns[about]
    return f"sums of {plan.datasets[read.dataset].name}.{read.column}"
