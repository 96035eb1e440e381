"""Which rows of each value are needed: public choices, such as a lot, make work on shares smaller.

A *choice* is a public bit for each row. A value is restricted to a choice along an axis where all that take
it need no other rows, or where its other rows are 0. So scores of a test's rows are compared with one
another, and not those of all rows. `rows` (x, choices) takes the rows that are chosen; texts name axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from contracts.pages.types import is_rows
from privcompute.pages.making import CELLWISE, PlanStep
from privcompute.pages.placing import PARTS, PUBLIC, SECRET, PlacedSteps
from privcompute.pages.steps import Leaving

Axes = tuple[int | None, ...]
"""By axis, the step of the choice that a value is restricted to."""
_ZERO_IF_ANY = frozenset({"multiply", "and"})
_ZERO_IF_ALL = frozenset(
    {"add", "subtract", "negative", "real", "grid", "absolute", "or", "minimum", "maximum"}
)


@dataclass(frozen=True, slots=True)
class RestrictedSteps:
    """Steps with the rows that they are done on and those that they keep."""

    steps: tuple[PlanStep, ...]
    places: tuple[int, ...]
    left: tuple[Leaving, ...]
    worked: tuple[Axes, ...]
    """Rows that each is computed on."""
    stored: tuple[Axes, ...]
    """Rows that its value has; where it has more than were computed on, these are 0."""
    choices: frozenset[int]


def restrict(placed: PlacedSteps) -> RestrictedSteps:
    """Return steps on no more rows than are needed."""
    zeros = _Zeros(placed)
    return _Taking(placed, _Needed(placed, zeros)).done()


def _nowhere(step: PlanStep) -> Axes:
    return (None,) * len(step.cells.shape)


def _through(step: PlanStep, arg: PlanStep, axes: Axes) -> Axes:
    """Return what axes of a result mean for an operand that broadcasts to it."""
    shift = len(step.cells.shape) - len(arg.cells.shape)
    return tuple(
        axes[axis + shift] if size == step.cells.shape[axis + shift] else None
        for axis, size in enumerate(arg.cells.shape)
    )


class _Zeros:
    """Along which axes the cells of each step are 0 outside of a choice."""

    def __init__(self, placed: PlacedSteps) -> None:
        self.placed, self.steps = placed, placed.steps
        self.choices: set[int] = set()
        self.of: list[Axes] = []
        for place, step in enumerate(self.steps):
            if self._is_choice(place, step):
                self.choices.add(place)
                self.of.append((place,))
            else:
                self.of.append(self._outside(step))

    def _is_choice(self, place: int, step: PlanStep) -> bool:
        public = self.placed.places[place] == PUBLIC and step.cells.kind == "bit" and step.home == -1
        rows = len(step.cells.shape) == 1 and is_rows(step.cells.shape[0])
        return public and rows and step.name in ("lot", "and", "or", "not", "less", "less_equal", "equal")

    def _outside(self, step: PlanStep) -> Axes:
        args = [self.of[arg] for arg in step.args]
        if step.name == "where" and self._is_zero(step.args[2]):
            return self._any(step, step.args[:2])
        if step.name in _ZERO_IF_ANY:
            return self._any(step, step.args)
        if step.name == "divide":
            return self._any(step, step.args[:1])
        if step.name in _ZERO_IF_ALL:
            return self._all(step)
        if step.name in ("share", "hide"):
            return args[0]
        if step.name == "transpose":
            return args[0][::-1]
        if step.name == "spread":
            axis = int(step.attrs[0])
            return (*args[0][:axis], None, *args[0][axis:])
        if step.name in ("take", "sum"):
            axis = int(step.attrs[0])
            return (*args[0][:axis], *args[0][axis + 1 :])
        if step.name == "matmul":
            return (*args[0][:-1], *args[1][1:])
        return _nowhere(step)

    def _lifted(self, step: PlanStep, arg: int) -> Axes:
        """Return the zeros of an operand along the axes of the result."""
        mine, shift = self.of[arg], len(step.cells.shape) - len(self.of[arg])
        return (None,) * shift + mine

    def _any(self, step: PlanStep, args: Sequence[int]) -> Axes:
        lifted = [self._lifted(step, arg) for arg in args]
        return tuple(
            next((one for one in axis if one is not None), None) for axis in zip(*lifted, strict=True)
        )

    def _all(self, step: PlanStep) -> Axes:
        lifted = [self._lifted(step, arg) for arg in step.args]
        return tuple(axis[0] if len(set(axis)) == 1 else None for axis in zip(*lifted, strict=True))

    def _is_zero(self, arg: int) -> bool:
        step = self.steps[arg]
        return step.name in ("number", "fill") and step.attrs[0] == "0"


class _Needed:
    """What each step is computed on, keeps, and takes of each operand."""

    def __init__(self, placed: PlacedSteps, zeros: _Zeros) -> None:
        self.steps, self.places, self.zeros = placed.steps, placed.places, zeros
        self.asked: list[list[Axes]] = [[] for _ in self.steps]
        self.worked: list[Axes] = [_nowhere(step) for step in self.steps]
        self.stored: list[Axes] = [_nowhere(step) for step in self.steps]
        self.takes: list[tuple[Axes, ...]] = [()] * len(self.steps)
        for left in placed.left:
            for place in left.steps:
                self.asked[place].append(_nowhere(self.steps[place]))
        for place in reversed(range(len(self.steps))):
            self._settle(place)

    def _settle(self, place: int) -> None:
        step = self.steps[place]
        if self.places[place] == SECRET:
            self.stored[place] = self._common(place)
            self.worked[place] = self.stored[place]
            if step.name in CELLWISE:
                pairs = zip(self.stored[place], self.zeros.of[place], strict=True)
                self.worked[place] = tuple(zero if one is None else one for one, zero in pairs)
            self.takes[place] = self._takes(step, self.worked[place])
        else:
            self.takes[place] = tuple(_nowhere(self.steps[arg]) for arg in step.args)
        for arg, axes in zip(step.args, self.takes[place], strict=True):
            self.asked[arg].append(axes)

    def _common(self, place: int) -> Axes:
        """Return the rows that all who take a value need: one choice, or all rows."""
        asked, nowhere = self.asked[place], _nowhere(self.steps[place])
        step = self.steps[place]
        if not asked or step.name not in _RESTRICTED:
            return nowhere
        if step.name == "share" and self.places[step.args[0]] == PARTS:
            return nowhere
        return tuple(axis[0] if len(set(axis)) == 1 else None for axis in zip(*asked, strict=True))

    def _takes(self, step: PlanStep, worked: Axes) -> tuple[Axes, ...]:
        args = [self.steps[arg] for arg in step.args]
        name = step.name
        if name in CELLWISE:
            return tuple(_through(step, arg, worked) for arg in args)
        if name in ("share", "transpose", "spread", "take", "stack", "concat", "cut"):
            return tuple(self._view(step, worked) for _ in args)
        if name == "sum":
            axis = int(step.attrs[0])
            choice = self._folded(step, axis)
            return ((*worked[:axis], choice, *worked[axis:]), *[(choice,) for _ in args[1:]])
        if name == "matmul":
            one, other = (self.zeros.of[arg] for arg in step.args)
            choice = one[-1] if one[-1] is not None else other[0]
            front = len(one) - 1
            return (*worked[:front], choice), (choice, *worked[front:])
        if name in ("group_sum", "group_count", "greatest", "least"):
            return self._by_row(step)
        return tuple(_nowhere(arg) for arg in args)

    def _view(self, step: PlanStep, worked: Axes) -> Axes:
        if step.name == "transpose":
            return worked[::-1]
        if step.name == "spread":
            axis = int(step.attrs[0])
            return worked[:axis] + worked[axis + 1 :]
        if step.name == "take":
            axis = int(step.attrs[0])
            return (*worked[:axis], None, *worked[axis:])
        return worked[:-1] if step.name in ("stack", "cut") else worked

    def _folded(self, step: PlanStep, axis: int) -> int | None:
        """Return the choice outside of which nothing is summed."""
        if len(step.args) == 2 and step.args[1] in self.zeros.choices:
            return step.args[1]
        return self.zeros.of[step.args[0]][axis]

    def _by_row(self, step: PlanStep) -> tuple[Axes, ...]:
        """Return what folds by row take: the rows that a choice counts."""
        values = {"group_sum": 2}.get(step.name, 1)
        mask = step.args[values] if len(step.args) > values else None
        choice = mask if mask in self.zeros.choices else None
        return tuple((choice, *[None] * (len(self.steps[arg].cells.shape) - 1)) for arg in step.args)


_RESTRICTED = CELLWISE | {"share", "transpose", "spread", "take", "stack", "concat", "cut", "sum", "matmul"}
"""Steps whose results may have some rows only."""


class _Taking:
    """Copies steps, with one that takes rows wherever a step needs fewer than a value has."""

    def __init__(self, placed: PlacedSteps, needed: _Needed) -> None:
        self.placed, self.needed = placed, needed
        self.steps: list[PlanStep] = []
        self.places: list[int] = []
        self.worked: list[Axes] = []
        self.stored: list[Axes] = []
        self.moved: dict[int, int] = {-1: -1}
        self.taken: dict[tuple[int, Axes], int] = {}

    def done(self) -> RestrictedSteps:
        """Return all steps."""
        needed, steps = self.needed, self.placed.steps
        # What is public stands first, choices among it: whatever is restricted to them stands behind.
        first = [self.placed.places[place] == PUBLIC and step.home == -1 for place, step in enumerate(steps)]
        for place in sorted(range(len(steps)), key=lambda place: (not first[place], place)):
            step = steps[place]
            pairs = zip(step.args, needed.takes[place], strict=True)
            args = tuple([self._taking(arg, axes) for arg, axes in pairs])
            moved = replace(step, args=args, home=self.moved[step.home])
            self.moved[place] = self._add(
                moved, self.placed.places[place], needed.worked[place], needed.stored[place]
            )
        to = self.moved.__getitem__
        left = [one.moved(to, to) for one in self.placed.left]
        choices = frozenset(self.moved[choice] for choice in needed.zeros.choices)
        return RestrictedSteps(
            tuple(self.steps),
            tuple(self.places),
            tuple(left),
            tuple(self.worked),
            tuple(self.stored),
            choices,
        )

    def _add(self, step: PlanStep, where: int, worked: Axes, stored: Axes) -> int:
        self.steps.append(step)
        self.places.append(where)
        self.worked.append(self._choices(worked))
        self.stored.append(self._choices(stored))
        return len(self.steps) - 1

    def _choices(self, axes: Axes) -> Axes:
        return tuple(None if choice is None else self.moved[choice] for choice in axes)

    def _taking(self, old: int, axes: Axes) -> int:
        stored = self.needed.stored[old]
        if axes == stored:
            return self.moved[old]
        if (old, axes) not in self.taken:
            chosen = [(axis, choice) for axis, choice in enumerate(axes) if choice is not None]
            fresh = [(axis, choice) for axis, choice in chosen if stored[axis] != choice]
            step = self.placed.steps[old]
            args = (self.moved[old], *[self.moved[choice] for _, choice in fresh])
            made = PlanStep("rows", args, tuple(str(axis) for axis, _ in fresh), step.cells, self._home(args))
            self.taken[old, axes] = self._add(made, self.placed.places[old], axes, axes)
        return self.taken[old, axes]

    def _home(self, args: tuple[int, ...]) -> int:
        """Return the innermost loop that one of these is made in: homes of later loops lie further in."""
        return max(self.steps[arg].home for arg in args)
