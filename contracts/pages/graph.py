"""The graph of a plan: typed nodes, each behind those that it uses, with loops as regions.

`Graph.add` checks every node in the same way, whether a page is traced or bytes of a peer are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from contracts.pages.faults import Unfit
from contracts.pages.limits import ARGS_MAX, ATTRIBUTE_MAX, REPEAT_DEPTH_MAX
from contracts.pages.types import Cells

Attrs = tuple[str, ...]
Args = tuple[int, ...]


Infer = Callable[["Graph", Args, Attrs], Cells]
"""Returns the type of a node from what it takes, or raises Unfit."""


@dataclass(frozen=True, slots=True)
class ColumnRead:
    """A column of a dataset that a plan reads, and the kind of its cells."""

    dataset: int
    """Place of the dataset among those of the plan."""
    column: str
    kind: str
    categories: int = 0
    """How many registered categories it has; 0 when that is not known."""
    bins: int = 0
    """How many registered bins it has; 0 when that is not known."""
    low: str = ""
    high: str = ""
    """Its registered domain as canonical numbers; both are "" where it has none."""
    averaged: bool = False
    """Whether its missing cells are filled with the mean of the others."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """A row of the table: what a node may be."""

    number: int
    name: str
    flow: str
    """The rule by which labels pass through it; see labels.py."""
    least: int
    most: int
    """Values that it takes."""
    attrs: int
    """Texts that it takes."""
    infer: Infer
    takes: str
    gives: str


class Graph:
    """Nodes in the order of computation."""

    def __init__(self, table: dict[int, Primitive], columns: list[ColumnRead], datasets: int) -> None:
        """Begin empty; `columns` may grow while a page is traced."""
        self.table = table
        self.columns = columns
        self.datasets = datasets
        """How many there are."""
        self.joins = 0
        self.primitives: list[Primitive] = []
        self.args: list[Args] = []
        self.attrs: list[Attrs] = []
        self.cells: list[Cells] = []
        self.homes: list[int] = []
        """The loop in whose body each node lies, -1 outside of loops."""
        self.open: list[int] = []

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self.args)

    @property
    def home(self) -> int:
        """The innermost loop that is open, -1 for none."""
        return self.open[-1] if self.open else -1

    def name(self, node: int) -> str:
        """Return the name of a node's primitive."""
        return self.primitives[node].name

    def turns(self, node: int) -> int:
        """Return how often a node stands to be done: the turns of all loops around it, multiplied."""
        turns, home = 1, self.homes[node]
        while home != -1:
            turns, home = turns * int(self.attrs[home][0]), self.homes[home]
        return turns

    def add(self, number: int, args: Args, attrs: Attrs = ()) -> int:
        """Append a node and return its place; raise Unfit when it is not well formed."""
        primitive = self.table.get(number)
        if primitive is None:
            raise Unfit("PRIMITIVE", f"there is no primitive {number}", "a primitive of the table")
        if not primitive.least <= len(args) <= min(primitive.most, ARGS_MAX) or len(attrs) != primitive.attrs:
            raise Unfit(
                "ARGUMENTS",
                f"{primitive.name} takes {primitive.least} to {primitive.most} values, not {len(args)}",
                "the values that it takes",
            )
        if any(len(attr) > ATTRIBUTE_MAX for attr in attrs):
            raise Unfit("ATTRIBUTE", f"a constant of more than {ATTRIBUTE_MAX} characters", "fewer edges")
        self._check_reach(args)
        cells = primitive.infer(self, args, attrs)
        self._move(primitive.name)
        self.primitives.append(primitive)
        self.args.append(args)
        self.attrs.append(attrs)
        self.cells.append(cells)
        self.joins += primitive.name == "join"
        return len(self.args) - 1

    def _check_reach(self, args: Args) -> None:
        for arg in args:
            if not 0 <= arg < len(self.args):
                raise Unfit("REACH", f"there is no node {arg} yet", "a node that stands before")
            if self.homes[arg] != -1 and self.homes[arg] not in self.open:
                raise Unfit(
                    "LOOP_NAME",
                    "a value of the body of repeat is used after the loop",
                    "a name that had a value before the loop",
                )

    def _move(self, name: str) -> None:
        """Place the next node, and open or close a loop with it."""
        if name == "again":
            self.open.pop()
        self.homes.append(self.home)
        if name == "repeat":
            if len(self.open) == REPEAT_DEPTH_MAX:
                raise Unfit("REPEAT", f"repeat inside more than {REPEAT_DEPTH_MAX - 1} others", "fewer loops")
            self.open.append(len(self.args))
