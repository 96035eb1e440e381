"""Work that waits for other work, run side by side in the rounds of the longest way through it.

Every party starts and resumes work in the order of its places, which follows from the plan alone. So merged
messages are split alike everywhere, and the streams of masks are drawn from in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from privcompute.errors import ProgramFault
from privcompute.mpc.rounds import Received, Round, Steps, as_round, merge, split

WEIGHT_MAX = 1 << 21
"""Cells of work begun together: what is more waits, so that memory stays bounded (about 0.5 GB)."""


@dataclass(frozen=True, slots=True)
class WorkPlan:
    """Work that can be done again and again: what waits for what, by place."""

    places: tuple[int, ...]
    weights: Mapping[int, int]
    """Cells that each piece of work is on."""
    missing: Mapping[int, int]
    """How many of the others each waits for."""
    followers: Mapping[int, Sequence[int]]
    """What waits for each."""


def schedule(needs: Mapping[int, Sequence[int]], weights: Mapping[int, int]) -> WorkPlan:
    """Return the schedule of work that needs other work; needs outside of it are there already."""
    followers: dict[int, list[int]] = {}
    missing = dict.fromkeys(needs, 0)
    for place, all_of_it in needs.items():
        for need in all_of_it:
            if need in needs:
                followers.setdefault(need, []).append(place)
                missing[place] += 1
    return WorkPlan(tuple(needs), weights, missing, followers)


def together(plan: WorkPlan, begin: Callable[[int], Steps[None]], done: Callable[[int], None]) -> Steps[None]:
    """Do each piece of work as soon as what it needs is there; `done` is told of each that ended.

    What `begin` returns yields exact rounds.
    """
    running = _Running(plan, begin, done)
    while True:
        running.start()
        if not running.steps:
            break
        places = sorted(running.steps)
        steps = [running.steps.pop(place) for place in places]
        answers = split(steps, (yield merge(steps)))
        for place, answer in zip(places, answers, strict=True):
            running.resume(place, answer)
    if running.left:
        raise ProgramFault(f"{running.left} pieces of work wait for one another")


class _Running:
    def __init__(
        self, plan: WorkPlan, begin: Callable[[int], Steps[None]], done: Callable[[int], None]
    ) -> None:
        self.plan, self.begin, self.done = plan, begin, done
        self.missing = dict(plan.missing)
        self.ready = [place for place in plan.places if self.missing[place] == 0]
        heapify(self.ready)
        self.active: dict[int, Steps[None]] = {}
        self.steps: dict[int, Round] = {}
        self.left = len(plan.places)
        self.weight = 0

    def start(self) -> None:
        """Begin what is ready, in order, as far as the bound of weight lets it."""
        while self.ready:
            weight = self.plan.weights[self.ready[0]]
            if self.active and self.weight + weight > WEIGHT_MAX:
                return
            place = heappop(self.ready)
            self.active[place] = self.begin(place)
            self.weight += weight
            self.resume(place, None)

    def resume(self, place: int, answer: Received | None) -> None:
        """Go on to the next round of a piece of work, or to its end."""
        protocol = self.active[place]
        try:
            step = as_round(next(protocol) if answer is None else protocol.send(answer))
        except StopIteration:
            self._end(place)
            return
        if not step.exact:
            raise ProgramFault("side by side: a protocol that does not know its message lengths")
        self.steps[place] = step

    def _end(self, place: int) -> None:
        del self.active[place]
        self.left -= 1
        self.weight -= self.plan.weights[place]
        self.done(place)
        for follower in self.plan.followers.get(place, ()):
            self.missing[follower] -= 1
            if self.missing[follower] == 0:
                heappush(self.ready, follower)
