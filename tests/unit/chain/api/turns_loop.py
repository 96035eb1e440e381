"""An event loop of no work, whose time tests let pass."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from chain.api.turns import Turns


class FakeHandle:
    """A callback that may be cancelled."""

    def __init__(self, due: float, number: int, callback: Callable[[], None]) -> None:
        self.due, self.number, self.callback, self.cancelled = due, number, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """An event loop whose time passes when nothing is to be done at once."""

    def __init__(self) -> None:
        self.now = 100.0
        self._handles: list[tuple[float, int, FakeHandle]] = []
        self._numbered = 0

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> Any:
        return self._add(self.now, callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> Any:
        return self._add(self.now + delay, callback)

    def _add(self, due: float, callback: Callable[[], None]) -> Any:
        self._numbered += 1
        handle = FakeHandle(due, self._numbered, callback)
        heapq.heappush(self._handles, (due, self._numbered, handle))
        return handle

    def run(self, until: float) -> None:
        while self._handles and self._handles[0][0] <= until:
            due, _, handle = heapq.heappop(self._handles)
            if not handle.cancelled:
                self.now = max(self.now, due)
                handle.callback()
        self.now = max(self.now, until)


class Greedy:
    """A connection that asks again as soon as it had its turn."""

    def __init__(
        self, turns: Turns, client: str, loop: FakeLoop, cost: float, light: bool = False, batch: int = 1
    ) -> None:
        self.turns, self.client, self.loop, self.cost, self.light = turns, client, loop, cost, light
        self.batch = batch
        self.served = self.refused = 0
        self.ask()

    def ask(self) -> None:
        self.turns.ask(self.client, self.run, light=self.light)

    def run(self, came: bool) -> None:
        if came:
            self.served += 1
            self.loop.now += self.cost
            self.turns.spent(self.client, self.cost)
            for _ in range(self.batch - 1):
                self.turns.count(self.client)
        else:
            self.refused += 1
        self.ask()
