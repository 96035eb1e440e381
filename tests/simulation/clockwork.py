"""Virtual time: one queue of events, one seeded random source, one running hash of everything delivered."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

START_MS = 1_000_000
EPOCH_MS = 1_700_000_000_000
"""Wall time at virtual time 0."""


class Violation(AssertionError):
    """A promise that did not hold; the text says which, where and when."""


class Clockwork:
    """Runs events in order of virtual time, ties in order of scheduling."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = START_MS
        self.events = 0
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._trace = blake2b(digest_size=16)

    def after(self, delay_ms: int, call: Callable[..., None], *args: Any) -> None:
        """Call something once this many milliseconds have passed."""
        self._order += 1
        heapq.heappush(self._queue, (self.now + delay_ms, self._order, call, args))

    def note(self, line: bytes) -> None:
        """Add a line to the trace."""
        self._trace.update(b"%d " % self.now)
        self._trace.update(line)

    @property
    def trace(self) -> str:
        """Hash of all that happened: equal for equal seeds, to the byte."""
        return self._trace.hexdigest()

    def run(self, limit_ms: int, reached: Callable[[], bool] | None = None) -> bool:
        """Run until something is reached, or for so long; tell whether it was reached."""
        queue, end = self._queue, self.now + limit_ms
        while queue and queue[0][0] <= end:
            self.now, _, call, args = heapq.heappop(queue)
            self.events += 1
            call(*args)
            if reached is not None and reached():
                return True
        self.now = end
        return False
