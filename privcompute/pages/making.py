"""Steps that are being put together: what each does, what it takes, and in which loop."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.pages.graph import Args, Attrs
from contracts.pages.types import Cells

CELLWISE = frozenset(
    {
        "real", "add", "subtract", "multiply", "divide", "negative", "absolute", "minimum", "maximum", "sqrt",
        "exp", "log", "sigmoid", "less", "less_equal", "equal", "is", "and", "or", "not", "where", "clip",
        "grid",
    }
)  # fmt: skip
"""A cell of the result rests on one cell of each value that they take, by numpy's rule of broadcasting."""


JOINTLY = ("jointly",)
"""Constants of a product that is done on shares even if one owner holds all of it."""


@dataclass(frozen=True, slots=True)
class PlanStep:
    """A piece of a plan's work."""

    name: str
    args: Args
    attrs: Attrs
    cells: Cells
    home: int = -1
    """The `repeat` in each turn of which it is done; -1 for once."""


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
