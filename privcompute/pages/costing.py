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
from privcompute.pages.apart import compared
from privcompute.pages.estimate import Estimate
from privcompute.pages.making import PlanStep
from privcompute.pages.noise import of_attrs
from privcompute.pages.placing import PUBLIC, SECRET
from privcompute.pages.regions import Regions
from privcompute.pages.restricting import Axes, RestrictedSteps
from privcompute.pages.schedule import schedule

ROUND_S = 0.25e-3
"""Processor time of a round, whatever it carries."""
BYTE_S = 9e-9
"""Processor time that goes with each byte that a party sends."""
PRODUCT_S = 4e-9
"""One multiplication of a matrix product."""
_STAND_FOR = {
    "share": "column", "rows": "transpose", "sorted": "transpose", "hide": "and", "shown": "less",
    "shown_each": "less", "every": "equal",
}  # fmt: skip
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
        self.regions = Regions(placed)

    def total(self) -> Estimate:
        """Return the sum over all steps, every turn counted."""
        sent = products = cells = 0.0
        varying = 0
        for place, step in enumerate(self.steps):
            turns = self._turns(step)
            _, data, more, multiplied = self._of(place, step)
            sent, products, varying = (
                sent + data * turns,
                products + multiplied * turns,
                varying + more * turns,
            )
            if self.placed.places[place] == SECRET and step.name not in ("repeat", "again"):
                cells += self._cells(step, self.placed.stored[place])
        rounds = self._length(-1) + varying
        seconds = rounds * ROUND_S + sent * BYTE_S + products * PRODUCT_S
        return Estimate(seconds, int(cells) * SHARE_BYTES, rounds)

    def _length(self, loop: int) -> int:
        """Return the rounds of the longest way through a loop's turn, or through what is outside of loops.

        What a turn takes from outside is there when it begins.
        """
        needs = {place: self.regions.needs[place] for place in self.regions.members.get(loop, ())}
        plan = schedule(needs, dict.fromkeys(needs, 0))
        missing, depth = dict(plan.missing), dict[int, int]()
        ready = [place for place in plan.places if missing[place] == 0]
        while ready:
            place = ready.pop()
            before = max((depth.get(need, 0) for need in needs[place]), default=0)
            depth[place] = before + self._rounds(place)
            for follower in plan.followers.get(place, ()):
                missing[follower] -= 1
                if missing[follower] == 0:
                    ready.append(follower)
        return max(depth.values(), default=0)

    def _rounds(self, place: int) -> int:
        step = self.steps[place]
        if step.name == "repeat":
            return int(step.attrs[0]) * self._length(place)
        return self._of(place, step)[0]

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
        if step.name == "noise":
            rounds, bytes_sent = of_attrs(step.attrs).cost(int(self._product(cells)))
            return rounds, float(bytes_sent), 0, 0.0
        args = [self._typed(self.steps[arg].cells, self.placed.stored[arg]) for arg in step.args]
        name = self._standing_for(step)
        if step.name == "sort":
            args = args[:2]
        rounds, sent, more = cost_of(name, cells, args, self.factors)
        if step.name == "apart":
            return self._of_apart(step)
        if step.name in ("shown", "shown_each"):
            rounds, sent = rounds * _SHOWN_TIMES, sent.times(_SHOWN_TIMES)
        multiplied = 0.0
        if step.name == "matmul":
            multiplied = self._product(cells) * self._size(args[0].shape[-1])
        if step.name == "group_sum":
            multiplied = (
                self._product(args[0]) * self._product(args[1]) / max(1, self._size(args[0].shape[0]))
            )
        return rounds, float(sent.value(self.sizes)), more.value(self.sizes), multiplied

    def _of_apart(self, step: PlanStep) -> tuple[int, float, int, float]:
        """Return what judging groups beside one another takes: comparisons, and products of bits by row."""
        rounds, sent = self.factors.get("less", (0, 0))
        groups = 1 + sum(
            math.prod(self._size(size) for size in self.steps[arg].cells.shape[1:]) for arg in step.args
        )
        products = float(groups * groups * self._size(step.attrs[0]))
        return _SHOWN_TIMES * rounds, float(sent * compared(self.steps, step, self._size)), 0, products

    def _standing_for(self, step: PlanStep) -> str:
        """Return the primitive that costs as much as a step; what is public beside shares costs less."""
        public = [self.placed.places[arg] == PUBLIC for arg in step.args]
        if step.name == "divide" and public[1]:
            return "multiply"
        if step.name in ("where", "and", "or") and public[0]:
            return "transpose"
        return _STAND_FOR.get(step.name, step.name)

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
