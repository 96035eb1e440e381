"""Which cells of a value follow from hidden figures: bits beside each value, made after all its steps.

A mask has no axes, or as many as its value, each of the value's size or of size 1. What takes its cells one
by one keeps the mask by cells; what mixes them is hidden altogether where one of them is.
"""

from __future__ import annotations

from collections.abc import Sequence

from contracts.pages.types import Cells, Shape, broadcast
from privcompute.pages.making import CELLWISE, Making, PlanStep


class Masks:
    """Masks of the steps that stand when it is made; the steps of masks are put behind them."""

    def __init__(self, making: Making) -> None:
        """Make them."""
        self.making = making
        self.of: list[int | None] = []
        self._ends: dict[int, int | None] = {}
        for step in tuple(making.steps):
            self.of.append(self._mask(step))

    def _mask(self, step: PlanStep) -> int | None:
        name, masks = step.name, [self.of[arg] for arg in step.args]
        if name == "again":
            self._ends[step.args[0]] = self._all(masks[1:])
            return None
        if name == "after":
            loop = step.args[0]
            begins = [self.of[arg] for arg in self.making.steps[loop].args]
            return self._all([*begins, self._ends.get(loop)])
        if name in ("carry", "step", "repeat"):
            return None
        if name == "hide":
            return self._both(step.cells.shape, [masks[0], self._along(step.args[1], step.cells.shape)])
        if all(mask is None for mask in masks):
            return None
        if name in CELLWISE:
            return self._both(step.cells.shape, masks)
        if name in ("stack", "concat"):
            return self._joined(step, masks)
        if len(step.args) == 1 or name == "sum":
            return self._viewed(step, masks)
        return self._all(masks)

    # --- cell by cell -------------------------------------------------------------------------------------
    def _shape(self, mask: int) -> Shape:
        return self.making.steps[mask].cells.shape

    def _add(self, name: str, args: tuple[int, ...], attrs: tuple[str, ...], shape: Shape) -> int:
        return self.making.once(name, args, attrs, Cells("bit", shape))

    def _along(self, bits: int, shape: Shape) -> int:
        """Return bits along the first axis as a mask of a value of a shape."""
        made = bits
        while 0 < len(self._shape(made)) < len(shape):
            mine = self._shape(made)
            made = self._add("spread", (made,), (str(len(mine)),), (*mine, 1))
        return made

    def _both(self, shape: Shape, masks: Sequence[int | None]) -> int | None:
        """Return the mask of what rests on several, lifted to as many axes as the result has."""
        made: int | None = None
        for mask in masks:
            if mask is None:
                continue
            lifted = mask
            while 0 < len(self._shape(lifted)) < len(shape):
                lifted = self._add("spread", (lifted,), ("0",), (1, *self._shape(lifted)))
            made = lifted if made is None or made == lifted else self._and(made, lifted)
        return made

    def _and(self, one: int, other: int) -> int:
        return self._add("and", (one, other), (), broadcast([self._shape(one), self._shape(other)]))

    def _joined(self, step: PlanStep, masks: Sequence[int | None]) -> int:
        """Return the mask of values that stand beside one another along the last axis."""
        full = [
            self._full(self.making.steps[arg].cells.shape, mask)
            for arg, mask in zip(step.args, masks, strict=True)
        ]
        return self._add(step.name, tuple(full), (), step.cells.shape)

    def _full(self, shape: Shape, mask: int | None) -> int:
        """Return a mask with a bit for each cell."""
        ones = self._add("fill", (), ("1", ";".join(map(str, shape))), shape)
        if mask is None:
            return ones
        return mask if self._shape(mask) == shape else self._add("and", (ones, mask), (), shape)

    def _viewed(self, step: PlanStep, masks: Sequence[int | None]) -> int | None:
        """Return the mask of another view of cells, or of sums along one axis of figures."""
        (mask,) = masks[:1]
        if step.name not in ("transpose", "take", "spread", "sum") or len(masks) > 1 or mask is None:
            return self._all(masks)
        shape = self._shape(mask)
        if not shape:
            return mask
        if step.name == "transpose":
            return self._add("transpose", (mask,), step.attrs, shape[::-1])
        axis = int(step.attrs[0])
        rest = (*shape[:axis], *shape[axis + 1 :])
        if step.name == "spread":
            return self._add("spread", (mask,), step.attrs, (*shape[:axis], 1, *shape[axis:]))
        if step.name == "sum" and shape[axis] != 1:
            return self._add("every", (mask,), (str(axis),), rest)
        which = step.attrs[1] if step.name == "take" and shape[axis] != 1 else "0"
        return self._add("take", (mask,), (str(axis), which), rest)

    # --- all together -------------------------------------------------------------------------------------
    def _all(self, masks: Sequence[int | None]) -> int | None:
        """Return one bit that says whether all cells of some values are shown."""
        single: list[int | None] = []
        for mask in masks:
            made = mask
            while made is not None and self._shape(made):
                made = self._add("every", (made,), ("0",), self._shape(made)[1:])
            single.append(made)
        return self._both((), single)
