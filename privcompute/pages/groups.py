"""Groups of rows that exact figures rest on: which of a page are judged beside one another.

A *family* is what sums of one dataset's columns, or numbers of rows, are about, over the rows of one table or
join. Columns of a dataset may say the same in other units, so they are of one family. Its *sets* are the
groups that figures of the family are over, each definition once, in the order of the page; set 0 is all rows,
whether their figure is released or not, since another job may release it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from contracts.pages.labels import Atom, Labels, bits_of
from contracts.pages.limits import Gas
from contracts.pages.plan import Plan
from contracts.pages.releases import SHARES, ReleaseAsked
from contracts.pages.types import is_rows
from privcompute.pages.columns import InputRefused

COUNT = -1
"""What numbers of rows are about; else the number of a dataset of the plan, whose columns are summed."""
LABEL_GAS = 1 << 40
"""The plan was derived within its gas; deriving its labels again cannot cost more than that."""
_OF_LOOPS = frozenset({"repeat", "step", "carry", "again", "after"})
Family = tuple[str, int]
"""Rows, and what is counted or summed."""


@dataclass(frozen=True, slots=True)
class RowChoice:
    """What chooses the rows of a figure: a node of groups, and nodes of bits all of which hold."""

    by: int | None = None
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """An exact figure that keys alone choose the rows of."""

    node: int
    rows: str
    """The name of the number of rows that it is over."""
    choice: RowChoice
    """What chooses the rows that it rests on."""
    about: tuple[tuple[int, RowChoice], ...]
    """What it is about, with the choice that is judged beside others of that family."""
    parts: tuple[int, ...] = ()
    """Datasets of a union each of which must have rows enough by itself; none where all rows are one."""

    def families(self) -> Iterable[tuple[Family, RowChoice]]:
        """Return its families, each with a choice; a family may come several times."""
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
    by = {"sum": None, "group_sum": args[min(1, len(args) - 1)], "group_count": args[0]}[name]
    masks = args[{"sum": 1, "group_sum": 2, "group_count": 1}[name] :]
    rows = tuple([part for mask in masks for part in _conjunction(plan, mask)])
    choice, about = RowChoice(by, rows), list[tuple[int, RowChoice]]()
    bits = name != "group_count" and graph.cells[args[0]].kind == "bit"
    if name == "group_count":
        about.append((COUNT, choice))
        columns = bits_of(labels.of[args[0]].values)
        about += [(graph.columns[column].dataset, RowChoice(None, rows)) for column in columns]
    elif name == "sum" and bits:
        choice = RowChoice(args[0], rows)
        about.append((COUNT, choice))
    if name != "group_count":
        for column in bits_of(labels.of[args[0]].values):
            held = _beside(plan, labels, args[0], column) if bits else ()
            _check_axes(plan, by, held)
            about.append((graph.columns[column].dataset, RowChoice(by, (*rows, *held))))
    figure = Figure(
        node, atom.rows, choice, tuple(dict.fromkeys(about)), _protected(plan, atom.rows, receivers)
    )
    _check_loops(plan, figure)
    return figure


def _check_axes(plan: Plan, by: int | None, held: Sequence[int]) -> None:
    if by is not None and any(len(plan.graph.cells[node].shape) > 1 for node in held):
        raise InputRefused(
            "a sum by groups of bits of several axes, such as one_hot(…) & …, is not judged beside others:"
            " put the condition into where=, or ask for noise"
        )


def _beside(plan: Plan, labels: Labels, node: int, column: int) -> tuple[int, ...]:
    """Return the bits that all hold in the rows in which bits of several columns depend on a column.

    `y & a & ~(b & c)` depends on y where `a` and `~(b & c)` hold, and on b where `y`, `a` and `c` do. Raises
    InputRefused where a column stands in several parts that are more than one comparison each.
    """
    found: list[int] = []
    while True:
        parts = _conjunction(plan, node)
        depend = [part for part in parts if labels.of[part].values >> column & 1]
        found += [part for part in parts if part not in depend]
        inner = [_without_not(plan, part) for part in depend]
        nested = [part for part in inner if plan.graph.name(part) == "and"]
        if not nested:
            return tuple(found)
        if len(depend) > 1:
            read = plan.graph.columns[column]
            raise InputRefused(
                f"a count puts conditions on {plan.datasets[read.dataset].name}.{read.column} into several"
                " parts of the kind ~(… & …), so nobody can judge it beside others: write it with one, or ask"
                " for noise"
            )
        node = nested[0]


def _conjunction(plan: Plan, node: int) -> list[int]:
    """Return the bits of which all hold where those of a node do; joined rows are all that there are."""
    found, pending = dict[int, None](), [node]
    while pending:
        one = pending.pop()
        name, args, attrs = plan.graph.name(one), plan.graph.args[one], plan.graph.attrs[one]
        if name == "and":
            pending += args
        elif name != "join" and (name, attrs[:1]) != ("fill", ("1",)):
            found[one] = None
    return sorted(found)


def _without_not(plan: Plan, node: int) -> int:
    while plan.graph.name(node) in ("not", "spread"):
        (node,) = plan.graph.args[node]
    return node


def _protected(plan: Plan, rows: str, receivers: set[str]) -> tuple[int, ...]:
    """Return the datasets of a union that are not one receiver's own: a receiver knows its own rows."""
    if "+" not in rows:
        return ()
    places = [int(part) for part in rows.partition(":")[2].split("+")]
    return tuple(place for place in places if receivers != {plan.datasets[place].owner})


def nodes_of(figure: Figure) -> list[int]:
    """Return the nodes that choose rows of a figure, or are judged for it."""
    choices = [figure.choice, *[choice for _, choice in figure.about]]
    by = [choice.by for choice in choices if choice.by is not None]
    return by + [node for choice in choices for node in choice.rows]


def ancestors(plan: Plan, nodes: Iterable[int]) -> list[int]:
    """Return nodes and all that they follow from, ascending."""
    found: set[int] = set()
    pending = list(nodes)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending += plan.graph.args[node]
    return sorted(found)


def _check_loops(plan: Plan, figure: Figure) -> None:
    nodes = ancestors(plan, nodes_of(figure))
    if any(plan.graph.name(node) in _OF_LOOPS for node in nodes):
        raise InputRefused(
            f"an exact figure over {_said(figure.rows)} counts or sums rows that repeat(…) chooses, so nobody"
            " can judge it beside others: choose rows before the loop, write turns as for step in range(n),"
            " or ask for noise"
        )


def _said(rows: str) -> str:
    return "joined rows" if is_rows(rows) and rows.startswith("n:join") else "rows"


def questions(plan: Plan) -> tuple[bytes, frozenset[int]]:
    """Return a hash of all groups that exact figures are over, and the datasets whose columns they are about.

    It is the same for two plans that choose rows by the same columns in the same way and order, whose figures
    are then hidden alike. Figures over all rows are of no group.
    """
    owners = [plan.datasets[column.dataset].owner for column in plan.graph.columns]
    figures = exact_figures(plan, Labels(plan.graph, owners, Gas(LABEL_GAS))).chosen
    names, parts, datasets = _Names(plan), list[bytes](), set[int]()
    for node in sorted(figures):
        for about, choice in figures[node].about:
            what = "" if about == COUNT else plan.datasets[about].name
            parts += [figures[node].rows.encode(), what.encode(), names.of_choice(choice)]
            if about != COUNT and choice != RowChoice():
                datasets.add(about)
    return _hash(parts), frozenset(datasets)


class _Names:
    """Names of nodes that say what they compute, by the names of datasets and columns."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._of: list[bytes] = []
        graph = plan.graph
        for node in range(len(graph)):
            said = list(graph.attrs[node])
            if graph.name(node) == "column":
                read = graph.columns[int(said[0])]
                said = [plan.datasets[read.dataset].name, read.column]
            parts = [graph.name(node).encode(), *[one.encode() for one in said]]
            parts += [self._of[arg] for arg in graph.args[node]]
            self._of.append(_hash(parts))

    def of_choice(self, choice: RowChoice) -> bytes:
        """Return the name of what chooses rows."""
        by = b"" if choice.by is None else self._of[choice.by]
        return _hash([by, *sorted({self._of[node] for node in choice.rows})])


def _hash(parts: Sequence[bytes]) -> bytes:
    return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def said_family(plan: Plan, about: int) -> str:
    """Name what figures of a family are about."""
    return "counts of rows" if about == COUNT else f"sums of columns of {plan.datasets[about].name}"
