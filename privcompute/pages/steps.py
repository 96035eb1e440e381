"""The steps of a plan: its nodes without what changes nothing, out of loops where they can be, with guards.

A step does what the primitive of its name does; `one_hot` and `bins` name their column besides. Four are in
no plan:
`shown` (counts): 1 for each that may be shown, by the smallest group that may; `hide` (x, shown): x where
shown, else 0, along the first axis; `share` (x): what one party knows, in shares; `sorted` (a sort's step,
which value): one of several values that are sorted by one key.
"""

from __future__ import annotations

from dataclasses import dataclass

from contracts.pages.graph import Args, Attrs, Graph
from contracts.pages.inference import source_of
from contracts.pages.labels import Labels, bits_of, merged
from contracts.pages.limits import Gas
from contracts.pages.plan import Plan
from contracts.pages.releases import SHARES
from contracts.pages.types import Cells, Shape

CELLWISE = frozenset(
    {
        "real", "add", "subtract", "multiply", "divide", "negative", "absolute", "minimum", "maximum", "sqrt",
        "exp", "log", "sigmoid", "less", "less_equal", "equal", "is", "and", "or", "not", "where", "clip",
    }
)  # fmt: skip
"""A cell of the result rests on one cell of each value that they take, by numpy's rule of broadcasting."""
_MASKED = {"sum": 1, "group_sum": 2, "group_count": 1, "greatest": 1, "least": 1, "sort": 2}
"""Where primitives take the bits of rows that count, if they take any."""
_LABEL_GAS = 1 << 40
"""The plan was derived within its gas; deriving its labels again cannot cost more than that."""


@dataclass(frozen=True, slots=True)
class PlanStep:
    """A piece of a plan's work."""

    name: str
    args: Args
    attrs: Attrs
    cells: Cells
    home: int = -1
    """The `repeat` in each turn of which it is done; -1 for once."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """What a release leaves: the step of its value, and that of the bits which say what of it is shown."""

    value: int
    shown: int | None
    groups: int | None = None
    """The step of the groups that stand along its first axis: `one_hot`, `bins` or `cut`."""


@dataclass(frozen=True, slots=True)
class PlanSteps:
    """The steps of a plan, in an order in which each stands behind what it takes."""

    steps: tuple[PlanStep, ...]
    left: tuple[Leaving, ...]
    """By release."""


class Making:
    """Steps that are being put together."""

    def __init__(self) -> None:
        """Begin with none."""
        self.steps: list[PlanStep] = []
        self.depths: dict[int, int] = {-1: 0}
        self._known: dict[tuple[str, Args, Attrs], int] = {}

    def add(self, name: str, args: Args, attrs: Attrs, cells: Cells, home: int | None = None) -> int:
        """Append a step; it is done in the outermost loop that has all it takes, unless `home` says where."""
        if home is None:
            home = max((self.home_of(arg) for arg in args), key=self.depths.__getitem__, default=-1)
        self.steps.append(PlanStep(name, args, attrs, cells, home))
        place = len(self.steps) - 1
        self._known[name, args, attrs] = place
        if name == "repeat":
            self.depths[place] = self.depths[home] + 1
        return place

    def once(self, name: str, args: Args, attrs: Attrs, cells: Cells) -> int:
        """Return the step that does this, a new one if there is none."""
        place = self._known.get((name, args, attrs))
        return self.add(name, args, attrs, cells) if place is None else place

    def home_of(self, step: int) -> int:
        """Return the loop in which a step's value is made."""
        return self.steps[step].home


def prepare(plan: Plan, min_group: int) -> PlanSteps:
    """Return the steps of a plan in which exact figures show no group of fewer rows than `min_group`."""
    making = _Preparing(plan.graph, _guarded(plan) if min_group > 1 else frozenset())
    for node in range(len(plan.graph)):
        if plan.graph.name(node) not in ("column", "append"):
            making.at(node)
    left = []
    for one in plan.asked:
        value = making.at(one.value)
        rows = None if one.rows is None else making.at(one.rows)
        if rows is not None and rows not in making.ones:
            left.append(Leaving(making.kept(value, rows), rows))
        else:
            shown = making.shown_of(value) if one.receiver != SHARES else None
            left.append(Leaving(value, shown, making.groups_of(value)))
    return PlanSteps(tuple(making.made.steps), tuple(left))


def _guarded(plan: Plan) -> frozenset[int]:
    """Return the nodes of the sums and counts that exact figures follow from."""
    owners = [plan.datasets[column.dataset].owner for column in plan.graph.columns]
    labels = Labels(plan.graph, owners, Gas(_LABEL_GAS))
    exact = [
        labels.of[one.value]
        for one in plan.asked
        if one.receiver != SHARES and not one.mechanism and not plan.graph.cells[one.value].by_row
    ]
    return (
        frozenset(labels.atoms[place].node for place in bits_of(merged(exact).atoms))
        if exact
        else frozenset()
    )


class _Preparing:
    def __init__(self, graph: Graph, guarded: frozenset[int]) -> None:
        self.graph, self.guarded = graph, guarded
        self.made = Making()
        self._at: dict[int, int] = {}
        self.ones: set[int] = set()
        """Steps whose cells are all 1, as everybody knows: which rows are joined was settled before."""
        self._shown: dict[int, int] = {}

    def at(self, node: int) -> int:
        """Return the step that does what a node says."""
        if node not in self._at:
            self._at[node] = self._step(node)
        return self._at[node]

    def _step(self, node: int) -> int:
        name, attrs, cells = self.graph.name(node), self.graph.attrs[node], self.graph.cells[node]
        args: Args = () if name == "join" else tuple([self.at(arg) for arg in self.graph.args[node]])
        if name == "repeat":
            return self.made.add(name, args, attrs, cells, self._loop(self.graph.homes[node]))
        if name in ("step", "carry", "again"):
            return self.made.add(name, args, attrs, cells, args[0])
        if name == "after":
            loop = self.made.steps[args[0]].args[0]
            return self.made.add(name, (loop,), attrs, cells, self.made.home_of(loop))
        spared = self._spared(name, args, cells)
        if spared is not None:
            return spared
        if name in ("one_hot", "bins"):
            attrs = (str(source_of(self.graph, self.graph.args[node][0])),)
        made = self.made.add(name, self._without_ones(name, args), attrs, cells)
        if name == "join" or (name == "fill" and attrs[0] == "1") or self._view_of_ones(name, args):
            self.ones.add(made)
        return self._guard(node, made) if node in self.guarded else made

    def _loop(self, home: int) -> int:
        return -1 if home == -1 else self.at(home)

    def _view_of_ones(self, name: str, args: Args) -> bool:
        return name in ("spread", "transpose") and args[0] in self.ones

    def _spared(self, name: str, args: Args, cells: Cells) -> int | None:
        """Return the step of a value that a primitive would leave as it is, if there is one."""
        same = [arg for arg in args if self.made.steps[arg].cells == cells]
        if name == "sort" and args[1] in self.ones:
            return args[1]
        if name == "and" and args[0] in self.ones and args[1] in same:
            return args[1]
        if name == "and" and args[1] in self.ones and args[0] in same:
            return args[0]
        if name == "where" and args[0] in self.ones and args[1] in same:
            return args[1]
        return args[0] if name == "real" and same else None

    def _without_ones(self, name: str, args: Args) -> Args:
        place = _MASKED.get(name)
        if place is not None and len(args) > place and args[place] in self.ones:
            return args[:place]
        return args

    # --- guards -------------------------------------------------------------------------------------------
    def _guard(self, node: int, made: int) -> int:
        """Return a figure that is 0 where it rests on fewer rows than may be shown."""
        counts = self._counts(node, made)
        if counts is None:
            return made
        if counts not in self._shown:
            cells = Cells("bit", self.made.steps[counts].cells.shape)
            self._shown[counts] = self.made.add("shown", (counts,), (), cells)
        shown = self._shown[counts]
        return self.made.add("hide", (made, shown), (), self.made.steps[made].cells)

    def _counts(self, node: int, made: int) -> int | None:
        """Return how many rows a figure rests on, by its first axis; None where all rows count."""
        step = self.made.steps[made]
        if step.name == "group_count":
            return made
        if step.name == "group_sum":
            by = self.graph.cells[self.graph.args[node][1]]
            return self.made.once("group_count", step.args[1:], (), Cells("integer", by.shape[1:]))
        if step.name == "sum" and self.made.steps[step.args[0]].cells.kind == "bit":
            return made
        place = _MASKED.get(step.name)
        if place is None or len(step.args) <= place:
            return None
        return self.made.once("sum", (step.args[place],), ("0",), Cells("integer"))

    # --- what is shown ------------------------------------------------------------------------------------
    def kept(self, value: int, rows: int) -> int:
        """Return cells by row with 0 in rows that do not count."""
        return self.made.add("hide", (value, rows), (), self.made.steps[value].cells)

    def shown_of(self, value: int) -> int | None:
        """Return the bits that say which cells of a figure rest on rows enough; None when all do.

        Cells that other than cell by cell follow from hidden figures follow from 0 in their place.
        """
        first = self.made.steps[value].cells.shape[:1]
        found = sorted(self._hidden(value, first))
        if not found:
            return None
        together = found[0]
        for one in found[1:]:
            shapes = [self.made.steps[each].cells.shape for each in (together, one)]
            together = self.made.add("and", (together, one), (), Cells("bit", max(shapes, key=len)))
        return together

    def _hidden(self, value: int, first: Shape) -> set[int]:
        found: set[int] = set()
        for place in self._cell_by_cell(value):
            step = self.made.steps[place]
            if step.name == "hide":
                shape = self.made.steps[step.args[1]].cells.shape
                if len(shape) < 2 and shape in ((), first):
                    found.add(step.args[1])
        return found

    def _cell_by_cell(self, value: int) -> list[int]:
        """Return the steps that a value follows from cell by cell, and those that begin such a way."""
        seen: set[int] = set()
        pending = [value]
        while pending:
            place = pending.pop()
            if place not in seen:
                seen.add(place)
                step = self.made.steps[place]
                if step.name in CELLWISE or step.name in ("spread", "stack"):
                    pending += step.args
        return sorted(seen)

    def groups_of(self, value: int) -> int | None:
        """Return the groups along the first axis of a figure, if it has the cells of some."""
        for place in self._cell_by_cell(value):
            step = self.made.steps[place]
            step = self.made.steps[step.args[0]] if step.name == "hide" else step
            by = {"group_sum": 1, "group_count": 0, "sum": 0}.get(step.name)
            if (
                by is not None
                and step.cells.shape == self.made.steps[value].cells.shape[: len(step.cells.shape)]
            ):
                groups = step.args[by]
                if self.made.steps[groups].name in ("one_hot", "bins", "cut") and step.cells.shape:
                    return groups
        return None
