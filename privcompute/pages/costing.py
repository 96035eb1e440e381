"""What the run of a plan takes at one party, by the steps that are done: seconds, memory and rounds.

The formulas of `contracts/pages/cost.py` are for whoever votes: they know no lots, and no owners. Here each
step counts with the rows that it is done on, and what a party does with its own columns costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

from contracts.pages.cost import FACTORS, SHARE_BYTES, cost_of
from contracts.pages.types import Cells
from privcompute.pages.placing import SECRET
from privcompute.pages.regions import Regions
from privcompute.pages.restricting import Axes, RestrictedSteps
from privcompute.pages.steps import PlanStep
from privcompute.programs.estimate import Estimate

ROUND_S = 0.25e-3
"""Processor time of a round, whatever it carries."""
BYTE_S = 9e-9
"""Processor time that goes with each byte that a party sends."""
PRODUCT_S = 4e-9
"""One multiplication of a matrix product."""
_STAND_FOR = {"share": "column", "rows": "transpose", "sorted": "transpose", "hide": "and", "shown": "less"}
"""Steps that no plan has, and the primitive that costs as much."""
_SHOWN_TIMES = 8
"""A guard of groups takes about as many comparisons, one after another in part."""


def estimate_of(placed: RestrictedSteps, profile: str, sizes: Mapping[str, int]) -> Estimate:
    """Return what the steps take; `sizes` has every name of a size that their shapes have."""
    costing = _Costing(placed, profile, dict(sizes))
    return costing.total()


class _Costing:
    def __init__(self, placed: RestrictedSteps, profile: str, sizes: dict[str, int]) -> None:
        self.placed, self.steps = placed, placed.steps
        self.factors, self.sizes = FACTORS[profile], sizes
        self.depth: list[int] = []
        self.deepest: dict[int, int] = {}

    def total(self) -> Estimate:
        """Return the sum over all steps, every turn counted."""
        sent = products = cells = 0.0
        varying = 0
        ends = Regions(self.placed).ends
        for place, step in enumerate(self.steps):
            turns = self._turns(step)
            rounds, data, more, multiplied = self._of(place, step)
            sent, products, varying = (
                sent + data * turns,
                products + multiplied * turns,
                varying + more * turns,
            )
            if self.placed.places[place] == SECRET and step.name not in ("repeat", "again"):
                cells += self._cells(step, self.placed.stored[place])
            self._reach(step, rounds, ends)
        rounds = max(self.depth, default=0) + varying
        seconds = rounds * ROUND_S + sent * BYTE_S + products * PRODUCT_S
        return Estimate(seconds, int(cells) * SHARE_BYTES, rounds)

    def _reach(self, step: PlanStep, own: int, ends: Mapping[int, tuple[int, ...]]) -> None:
        """Note after how many rounds a step is done, at the earliest; a loop is done after all its turns."""
        if step.name in ("carry", "step", "after"):
            before = self.depth[step.args[0]] if step.name != "after" else self._after(step.args[0], ends)
        else:
            before = max((self.depth[arg] for arg in step.args), default=0)
        reached = own + before
        self.depth.append(reached)
        home = step.home
        while home != -1:
            self.deepest[home] = max(self.deepest.get(home, 0), reached)
            home = self.steps[home].home

    def _after(self, loop: int, ends: Mapping[int, tuple[int, ...]]) -> int:
        begin, turns = self.depth[loop], int(self.steps[loop].attrs[0])
        last = max((self.depth[end] for end in ends.get(loop, ()) if end < len(self.depth)), default=begin)
        return begin + turns * max(0, max(last, self.deepest.get(loop, begin)) - begin)

    def _turns(self, step: PlanStep) -> int:
        turns, home = 1, step.home
        while home != -1:
            turns, home = turns * int(self.steps[home].attrs[0]), self.steps[home].home
        return turns

    def _of(self, place: int, step: PlanStep) -> tuple[int, float, int, float]:
        """Return rounds, bytes, rounds that depend on rows, and multiplications, of one turn."""
        if self.placed.places[place] != SECRET or step.name in ("repeat", "carry", "again", "after"):
            return 0, 0.0, 0, 0.0
        cells = self._typed(step.cells, self.placed.worked[place])
        args = [self._typed(self.steps[arg].cells, self.placed.stored[arg]) for arg in step.args]
        name = _STAND_FOR.get(step.name, step.name)
        if step.name == "sort":
            args = args[:2]
        rounds, sent, more = cost_of(name, cells, args, self.factors)
        if step.name == "shown":
            rounds, sent = rounds * _SHOWN_TIMES, sent.times(_SHOWN_TIMES)
        multiplied = 0.0
        if step.name == "matmul":
            multiplied = self._product(cells) * self._size(args[0].shape[-1])
        if step.name == "group_sum":
            multiplied = (
                self._product(args[0]) * self._product(args[1]) / max(1, self._size(args[0].shape[0]))
            )
        return rounds, float(sent.value(self.sizes)), more.value(self.sizes), multiplied

    def _typed(self, cells: Cells, axes: Axes) -> Cells:
        """Return a type in which chosen rows have a size of their own."""
        pairs = zip(cells.shape, axes, strict=True)
        return replace(
            cells, shape=tuple(size if one is None else self._chosen(one, size) for size, one in pairs)
        )

    def _chosen(self, choice: int, size: int | str) -> str:
        name = f"n:chosen{choice}"
        if name not in self.sizes:
            self.sizes[name] = max(1, math.ceil(self._share(choice) * self._size(size)))
        return name

    def _share(self, choice: int) -> Fraction:
        """Return the share of the rows that a choice takes: that of its lot, or all where none says it."""
        step = self.steps[choice]
        if step.name == "lot":
            return Fraction(step.attrs[1])
        if step.name == "not":
            return 1 - self._share(step.args[0])
        return Fraction(1)

    def _cells(self, step: PlanStep, axes: Axes) -> float:
        return self._product(self._typed(step.cells, axes))

    def _product(self, cells: Cells) -> float:
        return float(math.prod(self._size(size) for size in cells.shape))

    def _size(self, size: int | str) -> int:
        return size if isinstance(size, int) else self.sizes[size]
