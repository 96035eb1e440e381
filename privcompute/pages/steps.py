"""The steps of a plan: its nodes without what changes nothing, out of loops where they can be, with guards.

A step does what the primitive of its name does; `one_hot` and `bins` name their column besides. These are in
no plan:
`shown` (counts): 1 for each that may be shown, by the smallest group that may; `shown_each` (bits by row):
the same of groups, of each of several owners' rows alone; `apart` (bits by row, …): 1 for each set of groups
that is far enough from those before it (apart.py); `every` (bits): 1 where all along an axis are 1; `hide`
(x, shown): x where shown, else 0, along the first axis; `share` (x): what one party knows, in shares;
`sorted` (a sort's step, which value): one of several values that are sorted by one key; `noise`: numbers that
nobody knows, to be added to a figure, drawn as its constants say (noise.py), in each turn of its loop; `grid`
(x): reals rounded to 2^-16, as shares hold them. What noise is added to is exact on these: sums of owners in
whole numbers, products on shares (`JOINTLY`), and nothing of it is hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from contracts.pages.graph import Args, Attrs
from contracts.pages.inference import source_of
from contracts.pages.labels import Labels
from contracts.pages.limits import Gas
from contracts.pages.plan import Plan
from contracts.pages.releases import SHARES
from contracts.pages.types import Cells
from privcompute.pages.families import Families
from privcompute.pages.groups import LABEL_GAS, ExactFigures, Figure, exact_figures
from privcompute.pages.making import CELLWISE, JOINTLY, Making, PlanStep
from privcompute.pages.masks import Masks
from privcompute.pages.noise import WITHIN, Noise, attrs_of, noise_within
from privcompute.pages.noisy import downstream, needed, noises

_MASKED = {"sum": 1, "group_sum": 2, "group_count": 1, "greatest": 1, "least": 1, "sort": 2}
"""Where primitives take the bits of rows that count, if they take any."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """What a release leaves: the step of its value, and that of the bits which say what of it is shown."""

    value: int
    shown: int | None
    groups: int | None = None
    """The step of the groups that stand along its first axis: `one_hot`, `bins` or `cut`."""
    atoms: tuple[int, ...] = ()
    """The steps of sums and counts with noise that it follows from, where it is not one of them itself."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Every step whose value leaves."""
        return (self.value, *([] if self.shown is None else [self.shown]), *self.atoms)

    def moved(self, to: Callable[[int], int], groups: Callable[[int], int]) -> Leaving:
        """Return it with the steps that stand for these."""
        return Leaving(
            to(self.value),
            None if self.shown is None else to(self.shown),
            None if self.groups is None else groups(self.groups),
            tuple([to(atom) for atom in self.atoms]),
        )


@dataclass(frozen=True, slots=True)
class PlanSteps:
    """The steps of a plan, in an order in which each stands behind what it takes."""

    steps: tuple[PlanStep, ...]
    left: tuple[Leaving, ...]
    """By release."""


def prepare(plan: Plan, min_group: int) -> PlanSteps:
    """Return the steps of a plan in which exact figures show no group of fewer rows than `min_group`.

    Raise InputRefused for noise that cannot be drawn.
    """
    noisy = noises(plan)
    making = _Preparing(plan, _guarded(plan) if min_group > 1 else ExactFigures())
    for node in needed(plan, noisy):
        if plan.graph.name(node) not in ("column", "append"):
            making.at(node)
    masks = Masks(making.made)
    left = []
    for number, one in enumerate(plan.asked):
        if number in noisy:
            left.append(_WithNoise(plan, making, number, noisy[number]).left(one.value))
            continue
        value = making.at(one.value)
        rows = None if one.rows is None else making.at(one.rows)
        if rows is not None and rows not in making.ones:
            left.append(Leaving(making.hidden(value, rows), rows))
        else:
            shown = masks.of[value] if one.receiver != SHARES else None
            kept = value if shown is None else making.hidden(value, shown)
            left.append(Leaving(kept, shown, making.groups_of(value)))
    return PlanSteps(tuple(making.made.steps), tuple(left))


def _guarded(plan: Plan) -> ExactFigures:
    owners = [plan.datasets[column.dataset].owner for column in plan.graph.columns]
    return exact_figures(plan, Labels(plan.graph, owners, Gas(LABEL_GAS)))


class _Preparing:
    def __init__(self, plan: Plan, exact: ExactFigures) -> None:
        self.graph, self.exact = plan.graph, exact
        self.made = Making()
        self._at: dict[int, int] = {}
        self.ones: set[int] = set()
        """Steps whose cells are all 1, as everybody knows: which rows are joined was settled before."""
        self._shown: dict[int, int] = {}
        self._families = Families(plan, exact, self.made, self.at, self.ones)
        self._within = noise_within(plan)

    def at(self, node: int) -> int:
        """Return the step that does what a node says."""
        if node not in self._at:
            self._at[node] = self._step(node)
        return self._at[node]

    def _step(self, node: int) -> int:
        name, attrs, cells = self.graph.name(node), self.graph.attrs[node], self.graph.cells[node]
        if name == "noised":
            return self._noised(node)
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
        return self._guarded(node, made)

    def _noised(self, node: int) -> int:
        """Return a sum with noise of its own in each turn of the loop in which the page asks for it."""
        figure = self.exact_sum(self.graph.args[node][0], self.at)
        drawn = attrs_of(self._within[node], WITHIN, node)
        return self.with_noise(figure, drawn, self.graph.cells[node], self._loop(self.graph.homes[node]))

    def exact_sum(self, node: int, at: Callable[[int], int]) -> int:
        """Return a sum or count as noise is added to it; `at` gives the steps of what it is of."""
        name, attrs, cells = self.graph.name(node), self.graph.attrs[node], self.graph.cells[node]
        args = [at(arg) for arg in self.graph.args[node]]
        if name == "matmul":
            return self.made.once(name, tuple(args), JOINTLY, cells)
        if cells.kind == "real":
            args[0] = self.made.once("grid", (args[0],), (), self.made.steps[args[0]].cells)
        return self.made.once(name, self._without_ones(name, tuple(args)), attrs, cells)

    def with_noise(self, figure: int, drawn: Attrs, cells: Cells, home: int) -> int:
        """Return a figure with noise that is drawn for it, in each turn of a loop."""
        noise = self.made.add("noise", (), drawn, cells, home)
        return self.made.add("add", (figure, noise), (), cells)

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
    def _guarded(self, node: int, made: int) -> int:
        """Return a figure that is 0 where it rests on fewer rows than may be shown, if it is an exact one."""
        if node in self.exact.chosen:
            shown = self._judged(self.exact.chosen[node], made)
        elif node in self.exact.plain and self.made.home_of(made) == -1:
            counts = self._counts(node, made)
            shown = None if counts is None else self._shown_of(counts)
        else:
            shown = None
        return made if shown is None else self.hidden(made, shown)

    def _judged(self, figure: Figure, made: int) -> int | None:
        """Return what of a figure is shown: of groups large enough, and far enough from those before."""
        if figure.parts:
            large = self._families.shown_each(figure)
        else:
            counts = self._counts(figure.node, made)
            large = None if counts is None else self._shown_of(counts)
        shown = large
        for bit in self._families.apart(figure):
            if shown is None:
                shown = bit
            else:
                shown = self.made.once("and", (shown, bit), (), self.made.steps[shown].cells)
        return shown

    def _shown_of(self, counts: int) -> int:
        if counts not in self._shown:
            cells = Cells("bit", self.made.steps[counts].cells.shape)
            self._shown[counts] = self.made.add("shown", (counts,), (), cells)
        return self._shown[counts]

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
    def hidden(self, value: int, shown: int) -> int:
        """Return cells with 0 where they are not shown, or in rows that do not count."""
        step = self.made.steps[value]
        if step.name == "hide" and step.args[1] == shown:
            return value
        return self.made.add("hide", (value, shown), (), step.cells)

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


class _WithNoise(_Preparing):
    """The steps of one release's value, from its sums and counts with noise of their own."""

    def __init__(self, plan: Plan, plain: _Preparing, number: int, noise: Mapping[int, Noise]) -> None:
        super().__init__(plan, ExactFigures())
        self.made, self.ones = plain.made, plain.ones
        self.plain, self.number, self.noise = plain, number, noise
        self.again: frozenset[int] = frozenset()

    def left(self, value: int) -> Leaving:
        """Return what the release leaves: a figure with noise is shown as it is, over however few rows."""
        self.again = frozenset(downstream(self.graph, value, self.noise))
        for node in sorted(self.again):
            self.at(node)
        atoms = () if value in self.noise else tuple([self.at(node) for node in sorted(self.noise)])
        made = self.at(value)
        return Leaving(made, None, self.plain.groups_of(made), atoms)

    def at(self, node: int) -> int:
        """Return the step of a node: its own where noise has a part in it."""
        return super().at(node) if node in self.again else self.plain.at(node)

    def _step(self, node: int) -> int:
        return self._noisy(node) if node in self.noise else super()._step(node)

    def _noisy(self, node: int) -> int:
        figure = self.exact_sum(node, self.plain.at)
        return self.with_noise(
            figure, attrs_of(self.noise[node], self.number, node), self.graph.cells[node], -1
        )
