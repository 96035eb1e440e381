"""An event loop of no work, whose time tests let pass."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any


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
