"""Steps that judge exact figures beside one another, family by family (groups.py, apart.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from contracts.pages.plan import Plan
from contracts.pages.types import Cells, Shape, broadcast
from privcompute.pages.apart import JudgedSet
from privcompute.pages.groups import ExactFigures, Family, Figure, RowChoice, ancestors, nodes_of, said_family
from privcompute.pages.making import Making

_ALL_ROWS = 0
"""The name of all rows."""


@dataclass(slots=True)
class _Sets:
    """The sets of one family, as arguments of its step."""

    args: list[int] = field(default_factory=list)
    said: list[JudgedSet] = field(default_factory=list)
    numbers: dict[tuple[int, int], int] = field(default_factory=dict)
    """Names of what chooses a set -> its number."""
    step: int | None = None


class Families:
    """Families of a plan; steps are made when the first figure of a family is."""

    def __init__(
        self, plan: Plan, exact: ExactFigures, making: Making, at: Callable[[int], int], ones: set[int]
    ) -> None:
        """`at` returns the step of a node; `ones` are steps whose cells are all 1."""
        self._plan, self._exact, self._making, self._at, self._ones = plan, exact, making, at, ones
        self._sets: dict[Family, _Sets] = {}
        self._made: dict[tuple[tuple[int, ...], tuple[str, ...]], int] = {}
        """Steps by all that they judge, whatever it is about."""
        self._names: dict[object, int] = {}
        self._named: list[int] = []

    def apart(self, figure: Figure) -> list[int]:
        """Return the bits, without axes, that say that a figure's groups are far enough from those before."""
        found = []
        for family, choice in figure.families():
            sets = self._family(family)
            number = sets.numbers[self._key(choice)]
            if number and sets.step is not None:
                bit = self._making.once("take", (sets.step,), ("0", str(number)), Cells("bit"))
                found.append(bit)
        return found

    def shown_each(self, figure: Figure) -> int | None:
        """Return the bits of groups with rows enough of each owner alone; None where all rows count."""
        self._ahead([figure])
        bits = self._bits(figure.choice)
        if bits is None:
            return None
        shape = self._shape(bits)[1:]
        return self._making.once("shown_each", (bits,), self._rows(figure), Cells("bit", shape))

    def _family(self, family: Family) -> _Sets:
        if family not in self._sets:
            chosen = self._exact.chosen.values()
            figures = [one for one in chosen if family in [mine for mine, _ in one.families()]]
            self._ahead(figures)
            self._sets[family] = sets = _Sets()
            for figure in sorted(figures, key=lambda one: one.node):
                for mine, choice in figure.families():
                    if mine == family:
                        self._add(sets, choice)
            if sets.args:
                what = said_family(self._plan, family[1])
                said = (*self._rows(figures[0]), " ".join(one.text() for one in sets.said))
                key = (tuple(sets.args), said)
                if key not in self._made:
                    cells = Cells("bit", (1 + max(one.set for one in sets.said),))
                    self._made[key] = self._making.add("apart", key[0], (*said, what), cells)
                sets.step = self._made[key]
        return self._sets[family]

    def _rows(self, figure: Figure) -> tuple[str, str]:
        return figure.rows, "+".join(map(str, figure.parts))

    def _ahead(self, figures: list[Figure]) -> None:
        """Make the steps of what chooses rows, which may stand behind the figure that asks first."""
        for node in ancestors(self._plan, [node for one in figures for node in nodes_of(one)]):
            if self._plan.graph.name(node) not in ("column", "append"):
                self._at(node)

    def _add(self, sets: _Sets, choice: RowChoice) -> None:
        """Add what a figure is over, unless it is all rows or there already."""
        key = self._key(choice)
        if key in sets.numbers:
            return
        bits = self._bits(choice)
        if bits is None:
            sets.numbers[key] = 0
            return
        number = sets.numbers[key] = 1 + max((one.set for one in sets.said), default=0)
        rows = self._rows_of(choice)
        mask = self._name(rows)
        if choice.by is None:  # conditions, some of which may hold by group
            role = self._role(rows)
            rows, mask = None, mask if role == "other" else _ALL_ROWS
        else:
            role = self._role(self._at(choice.by))
        if role != "other" and rows is not None:
            sets.args.append(rows)
            sets.said.append(JudgedSet("mask", number, mask, _ALL_ROWS))
        sets.args.append(bits)
        sets.said.append(JudgedSet(role, number, self._name(bits), mask))

    def _role(self, step: int | None) -> str:
        """Return whether rows are in one group, in one at most, or in any number of them."""
        if step is None or len(self._making.steps[step].cells.shape) < 2:
            return "other"
        made = self._making.steps[step]
        if made.name in ("spread", "rows", "align"):
            return self._role(made.args[0])
        if made.name == "and":
            grouped = [arg for arg in made.args if len(self._making.steps[arg].cells.shape) > 1]
            return "some" if all(self._role(arg) != "other" for arg in grouped) else "other"
        return {"one_hot": "every", "bins": "some"}.get(made.name, "other")

    # --- what chooses rows --------------------------------------------------------------------------------
    def _key(self, choice: RowChoice) -> tuple[int, int]:
        return self._name(self._step(choice.by)), self._name(self._rows_of(choice))

    def _step(self, node: int | None) -> int | None:
        """Return the step of a node; None for one that all rows fulfil."""
        if node is None:
            return None
        step = self._at(node)
        return None if step in self._ones else step

    def _rows_of(self, choice: RowChoice) -> int | None:
        """Return the bits that say which rows count; None for all rows."""
        steps = {self._step(node) for node in choice.rows} - {None}
        found: int | None = None
        for step in sorted(one for one in steps if one is not None):
            found = step if found is None else self._both(found, step)
        return found

    def _bits(self, choice: RowChoice) -> int | None:
        """Return bits by row, and by group; None for all rows."""
        by, rows = self._step(choice.by), self._rows_of(choice)
        if by is None or rows is None:
            return rows if by is None else by
        return self._both(by, rows)

    def _both(self, one: int, other: int) -> int:
        """Return where both hold; what has fewer axes holds for all groups of the other."""
        longer, shorter = (one, other) if len(self._shape(one)) >= len(self._shape(other)) else (other, one)
        while len(self._shape(shorter)) < len(self._shape(longer)):
            mine = self._shape(shorter)
            shorter = self._making.once("spread", (shorter,), (str(len(mine)),), Cells("bit", (*mine, 1)))
        shape = broadcast([self._shape(longer), self._shape(shorter)])
        return self._making.once("and", (longer, shorter), (), Cells("bit", shape))

    def _shape(self, step: int) -> Shape:
        return self._making.steps[step].cells.shape

    def _name(self, step: int | None) -> int:
        """Return a number that steps have in common which do the same with the same."""
        if step is None:
            return _ALL_ROWS
        while len(self._named) <= step:
            one = self._making.steps[len(self._named)]
            said = (
                one.name,
                one.attrs,
                tuple(self._named[arg] for arg in one.args if arg < len(self._named)),
            )
            self._named.append(self._names.setdefault(said, len(self._names) + 1))
        return self._named[step]
