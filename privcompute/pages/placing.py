"""Who knows the value of each step: everybody, one party, or nobody (it is in shares).

Noise is in shares, whatever it is added to: nobody may know it, least of all the owner of a figure.

What an owner makes of its own columns alone it computes in the clear; it is shared where it meets what others
hold, once. All parties place alike, since places follow from the plan and from who owns which dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from contracts.pages.graph import Args
from privcompute.pages.making import JOINTLY, PlanStep
from privcompute.pages.public import computable, stays_uniform
from privcompute.pages.steps import Leaving, PlanSteps

PUBLIC = -1
SECRET = -2
PARTS = -3
"""Rows of several owners one after another, each part known to its owner."""
_LEAVES = frozenset({"number", "fill", "position", "lot", "join", "step"})
_OF_PARTS = frozenset({"align", "one_hot", "bins", "is", "real"})
"""What each owner does with its part of a union."""
_NEVER_OWN = frozenset({"repeat", "carry", "again", "after", "noise"})


@dataclass(frozen=True, slots=True)
class PlacedSteps:
    """Steps with who knows their values; what is shared has a step of its own."""

    steps: tuple[PlanStep, ...]
    places: tuple[int, ...]
    """A party, PUBLIC, SECRET or PARTS."""
    left: tuple[Leaving, ...]


def place(prepared: PlanSteps, owners: Sequence[int], columns: Sequence[int]) -> PlacedSteps:
    """Place steps; `owners` are the parties of the datasets, `columns` the datasets of the plan's columns."""
    parties = [owners[dataset] for dataset in columns]
    jointly: frozenset[tuple[int, ...]] = frozenset()
    while True:
        places = _Places(prepared.steps, parties, jointly).every()
        torn = frozenset(
            _order(step)
            for step, where in zip(prepared.steps, places, strict=True)
            if step.name == "sort" and where == SECRET
        )
        if torn <= jointly:
            break
        jointly |= torn
    return _Sharing(prepared, places).done()


def _order(step: PlanStep) -> tuple[int, ...]:
    """Return what decides the order of a sort: sorts by one key must agree where keys are equal."""
    return (step.args[0], *step.args[2:])


class _Places:
    def __init__(
        self, steps: Sequence[PlanStep], parties: Sequence[int], jointly: frozenset[tuple[int, ...]]
    ) -> None:
        self.steps, self.parties, self.jointly = steps, parties, jointly
        self.places: list[int] = []
        self.uniform: list[bool] = []

    def every(self) -> list[int]:
        """Return the places of all steps."""
        for step in self.steps:
            where = self._of(step)
            every = [self.uniform[arg] for arg in step.args]
            self.uniform.append(
                where == PUBLIC
                and (step.name in ("number", "fill", "join", "step") or stays_uniform(step.name, every))
            )
            self.places.append(where)
        return self.places

    def _of(self, step: PlanStep) -> int:
        if step.attrs == JOINTLY:
            return SECRET
        if step.name == "column":
            return self.parties[int(step.attrs[0])]
        if step.name in _LEAVES:
            return PUBLIC
        if step.name in _NEVER_OWN:
            return SECRET
        held = {self.places[arg] for arg in step.args} - {PUBLIC}
        if not held:
            return PUBLIC if self._public(step) else SECRET
        if step.name == "append" and SECRET not in held:
            return held.pop() if len(held) == 1 else PARTS
        if held == {PARTS} and step.name in _OF_PARTS:
            return PARTS
        if len(held) > 1 or not held.isdisjoint((SECRET, PARTS)):
            return SECRET
        return SECRET if step.name == "sort" and _order(step) in self.jointly else held.pop()

    def _public(self, step: PlanStep) -> bool:
        uniform = [self.uniform[arg] for arg in step.args]
        whole = all(self.steps[arg].cells.kind in ("bit", "integer") for arg in step.args)
        return computable(step.name, uniform, step.cells.by_row, whole)


class _Sharing:
    """Copies steps, with one that shares wherever a secret step takes what one party knows."""

    def __init__(self, prepared: PlanSteps, places: Sequence[int]) -> None:
        self.prepared, self.old = prepared, places
        self.steps: list[PlanStep] = []
        self.places: list[int] = []
        self.moved: dict[int, int] = {-1: -1}
        self.shared: dict[int, int] = {}
        self.merged: dict[int, int] = {}
        self.sorts = _sorts_together(prepared.steps, places)

    def done(self) -> PlacedSteps:
        """Return all steps."""
        for number, step in enumerate(self.prepared.steps):
            self.moved[number] = self._copied(number, step)
        left = [one.moved(self._in_shares, self.moved.__getitem__) for one in self.prepared.left]
        return PlacedSteps(tuple(self.steps), tuple(self.places), tuple(left))

    def _copied(self, number: int, step: PlanStep) -> int:
        if number in self.sorts:
            return self._sorted(number, step)
        args: Args = tuple([self.moved[arg] for arg in step.args])
        if self.old[number] == SECRET and step.name not in ("carry", "after"):
            args = tuple([self._in_shares(arg) for arg in step.args])
        if step.name in ("again", "after", "carry", "step"):
            args = (self.moved[step.args[0]], *args[1:])
        return self._add(replace(step, args=args, home=self.moved[step.home]), self.old[number])

    def _add(self, step: PlanStep, where: int) -> int:
        self.steps.append(step)
        self.places.append(where)
        return len(self.steps) - 1

    def _in_shares(self, old: int) -> int:
        """Return the step of a value that is in shares, or public."""
        if self.old[old] in (PUBLIC, SECRET):
            return self.moved[old]
        if old not in self.shared:
            step = self.steps[self.moved[old]]
            made = PlanStep("share", (self.moved[old],), (), step.cells, step.home)
            self.shared[old] = self._add(made, SECRET)
        return self.shared[old]

    def _sorted(self, number: int, step: PlanStep) -> int:
        """Return the step of one of several values that are sorted together, once for all of them."""
        members = self.sorts[number]
        if members[0] not in self.merged:
            first = self.prepared.steps[members[0]]
            values = [self.prepared.steps[member].args[1] for member in members]
            args = [self._in_shares(arg) for arg in (first.args[0], *values, *first.args[2:])]
            made = PlanStep("sort", tuple(args), (str(len(values)),), first.cells, self.moved[first.home])
            self.merged[members[0]] = self._add(made, SECRET)
        together = self.merged[members[0]]
        which = (str(members.index(number)),)
        return self._add(PlanStep("sorted", (together,), which, step.cells, self.moved[step.home]), SECRET)


def _sorts_together(steps: Sequence[PlanStep], places: Sequence[int]) -> dict[int, list[int]]:
    """Return the sorts on shares, each with all that are sorted with it: by one key, of what is there."""
    found: dict[tuple[int, ...], list[int]] = {}
    for number, step in enumerate(steps):
        if step.name != "sort" or places[number] != SECRET:
            continue
        key = (step.home, *_order(step))
        if key in found and step.args[1] >= found[key][0]:
            key = (number,)
        found.setdefault(key, []).append(number)
    return {number: members for members in found.values() for number in members}
