"""Which steps are done in each turn of a loop, and what they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from privcompute.pages.making import PlanStep
from privcompute.pages.restricting import RestrictedSteps


class Regions:
    """What each loop's turn does, and what every step needs of the same turn or of outside."""

    def __init__(self, placed: RestrictedSteps) -> None:
        """Find them."""
        steps = placed.steps
        self.members: dict[int, list[int]] = {}
        self.ends: dict[int, tuple[int, ...]] = {}
        """What a turn leaves, by loop."""
        for place, step in enumerate(steps):
            self.members.setdefault(step.home, []).append(place)
            if step.name == "again":
                self.ends[step.args[0]] = step.args[1:]
        self.needs: dict[int, tuple[int, ...]] = {
            place: step.args if step.name not in ("carry", "step", "again") else step.args[1:]
            for place, step in enumerate(steps)
        }
        for place in reversed([place for place, step in enumerate(steps) if step.name == "repeat"]):
            self.needs[place] = self._of_loop(place)
        kept = {place for left in placed.left for place in left.steps}
        self.uses = {loop: self._counted(loop, kept) for loop in self.members}

    def _of_loop(self, loop: int) -> tuple[int, ...]:
        """Return what a loop needs from outside: what it begins with, and what its turns take."""
        inside = set(self.members.get(loop, ()))
        outer = {need for place in inside for need in self.needs[place]} - inside
        return tuple(sorted({*self.needs[loop], *outer}))

    def _counted(self, loop: int, kept: set[int]) -> Mapping[int, int]:
        """Return how often each value of a turn is taken; those that leave the turn are not counted."""
        kept = kept | set(self.ends.get(loop, ()))
        counts: dict[int, int] = {}
        members = set(self.members[loop])
        for place in members:
            for need in self.needs[place]:
                if need in members and need not in kept:
                    counts[need] = counts.get(need, 0) + 1
        return counts

    def total(self, steps: Sequence[PlanStep]) -> int:
        """Return how many steps are done in all, every turn counted."""
        total = 0
        for step in steps:
            turns, home = 1, step.home
            while home != -1:
                turns, home = turns * int(steps[home].attrs[0]), steps[home].home
            total += turns
        return total
