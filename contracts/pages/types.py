"""Types of what a plan computes with: a kind of cell and a shape.

A size of a shape is a number, or the name of one that is known only when the data is there: `n:…` counts
rows, `k:…` the registered categories of a column, `b:…` its registered bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.pages.faults import Unfit
from contracts.pages.limits import RANK_MAX, SIZE_MAX

Size = int | str
Shape = tuple[Size, ...]

NUMERIC = frozenset({"bit", "integer", "real", "any"})
KINDS = ("bit", "integer", "real", "text", "any", "loop")
"""`any` is a column whose schema is not known; `loop` is the kind of a node that computes nothing."""
COLUMN_KINDS = {
    "integer": "integer",
    "decimal": "real",
    "boolean": "bit",
    "text": "text",
    "category": "text",
    "date": "integer",
    "timestamp": "integer",
    "any": "any",
}
"""Types of columns in schemas, and kinds of their cells; dates are days, timestamps seconds, since 1970."""


@dataclass(frozen=True, slots=True)
class Cells:
    """A kind of cell and how many there are along each axis."""

    kind: str
    shape: Shape = ()

    @property
    def by_row(self) -> bool:
        """Whether there is a cell for each row of a table."""
        return any(is_rows(size) for size in self.shape)

    def __str__(self) -> str:
        """Name the type for a diagnostic."""
        return f"{self.kind}[{', '.join(map(said_size, self.shape))}]" if self.shape else self.kind


def said_size(size: Size) -> str:
    """Name a size for a diagnostic."""
    if isinstance(size, int):
        return str(size)
    return {"n": "rows", "k": "categories", "b": "bins"}[size[:1]]


def is_rows(size: Size) -> bool:
    """Tell whether a size counts rows."""
    return isinstance(size, str) and size.startswith("n:")


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """Return the shape that several have together by numpy's rule; a size of 1 stretches to any."""
    rank = max(len(shape) for shape in shapes)
    result: list[Size] = []
    for axis in range(-rank, 0):
        size: Size = 1
        for shape in shapes:
            mine = shape[axis] if -axis <= len(shape) else 1
            if mine == 1 or mine == size:
                continue
            if size != 1:
                if is_rows(size) and is_rows(mine):
                    raise Unfit("SHAPE", "rows of two tables meet", "values of one table, or a join")
                raise Unfit(
                    "SHAPE",
                    f"sizes differ along one axis: {said_size(size)} and {said_size(mine)}",
                    "values of one table, or a new axis: x[:, None]",
                )
            size = mine
        result.append(size)
    return tuple(result)


def checked(shape: Shape) -> Shape:
    """Return a shape within the caps, or raise Unfit."""
    if len(shape) > RANK_MAX:
        raise Unfit("SHAPE", f"{len(shape)} axes, at most {RANK_MAX}", "fewer axes")
    large = next((size for size in shape if isinstance(size, int) and not 1 <= size <= SIZE_MAX), None)
    if large is not None:
        raise Unfit("SHAPE", f"an axis of size {large}, allowed are 1 to {SIZE_MAX}", "a size within these")
    return shape


def numeric(cells: Cells, what: str) -> str:
    """Return the kind of cells that are computed with, or raise Unfit."""
    if cells.kind not in NUMERIC:
        raise Unfit(
            "KIND",
            f"{what} takes numbers, not {cells.kind}",
            'a comparison with a text (column == "a"), or one_hot(column)',
        )
    return cells.kind


def united_kind(kinds: Sequence[str]) -> str:
    """Return the kind of a number that comes from several."""
    if "real" in kinds or "any" in kinds:
        return "real"
    return "integer" if "integer" in kinds else "bit"
