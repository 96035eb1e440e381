"""Work that waits for other work, run side by side in the rounds of the longest way through it.

Every party starts and resumes work in the order of its places, which follows from the plan alone. So merged
messages are split alike everywhere, and the streams of masks are drawn from in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from privcompute.errors import ProgramFault
from privcompute.mpc.rounds import Received, Round, Steps, as_round, merge, split

WEIGHT_MAX = 1 << 21
"""Cells of work begun together: what is more waits, so that memory stays bounded (about 0.5 GB)."""


@dataclass(frozen=True, slots=True)
class Task:
    """A piece of work, by the places of what it needs."""

    needs: tuple[int, ...]
    begin: Callable[[], Steps[None]]
    weight: int = 1
    """Cells that it works on."""


def together(tasks: Mapping[int, Task], done: Callable[[int], None]) -> Steps[None]:
    """Run tasks, each as soon as what it needs is there; `done` is told of each that ended.

    Needs outside of `tasks` are there already. Every task yields exact rounds.
    """
    running = _Running(tasks, done)
    while True:
        running.start()
        if not running.steps:
            break
        places = sorted(running.steps)
        steps = [running.steps.pop(place) for place in places]
        answers = split(steps, (yield merge(steps)))
        for place, answer in zip(places, answers, strict=True):
            running.resume(place, answer)
    if running.missing:
        raise ProgramFault(f"{len(running.missing)} tasks wait for one another")


class _Running:
    def __init__(self, tasks: Mapping[int, Task], done: Callable[[int], None]) -> None:
        self.tasks, self.done = tasks, done
        self.missing = {place: sum(need in tasks for need in task.needs) for place, task in tasks.items()}
        self.followers = _followers(tasks)
        self.ready = [place for place, count in self.missing.items() if count == 0]
        heapify(self.ready)
        self.active: dict[int, Steps[None]] = {}
        self.steps: dict[int, Round] = {}
        self.weight = 0

    def start(self) -> None:
        """Begin what is ready, in order, as far as the bound of weight lets it."""
        while self.ready:
            task = self.tasks[self.ready[0]]
            if self.active and self.weight + task.weight > WEIGHT_MAX:
                return
            place = heappop(self.ready)
            self.active[place] = task.begin()
            self.weight += task.weight
            self.resume(place, None)

    def resume(self, place: int, answer: Received | None) -> None:
        """Go on to the next round of a task, or to its end."""
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
        del self.active[place], self.missing[place]
        self.weight -= self.tasks[place].weight
        self.done(place)
        for follower in self.followers.get(place, ()):
            self.missing[follower] -= 1
            if self.missing[follower] == 0:
                heappush(self.ready, follower)


def _followers(tasks: Mapping[int, Task]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for place, task in tasks.items():
        for need in _within(task.needs, tasks):
            found.setdefault(need, []).append(place)
    return found


def _within(needs: Sequence[int], tasks: Mapping[int, Task]) -> Iterable[int]:
    return (need for need in needs if need in tasks)
