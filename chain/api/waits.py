"""Calls that wait for something to happen: so many at once, and the oldest end early when more come.

"Not yet" is a true answer at any time, so a wait that ends early harms nobody: the client asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chain.api.shares import CALLER, Holding, Shares


class Waits:
    """Bounds how many calls wait, altogether and of one client."""

    def __init__(self, connections: int) -> None:
        """Of so many connections half may wait; of one client a quarter less."""
        self._places = Shares(connections // 2, connections * 3 // 8)

    @asynccontextmanager
    async def at_most(self, seconds: float) -> AsyncIterator[None]:
        """Bound the time of the block; it raises TimeoutError at its end, or earlier to make room."""
        async with asyncio.timeout(seconds) as deadline:
            place = Holding(CALLER.get(), lambda: deadline.reschedule(0.0))
            self._places.take(place, 1)
            try:
                yield
            finally:
                self._places.give_back(place)
