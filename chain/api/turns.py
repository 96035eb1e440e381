"""Who may use the event loop next: one piece of work at a time, clients in rotation, half of the time.

Consensus lives in the same loop. So whatever a client makes us do takes a *turn* first: the head of a
request, each further piece of its body, each further call of a batch, each notification. A connection asks
for one turn at a time, so turns of one client in order of asking go round its connections, too: a call by
itself waits for one piece of work of each other connection, not for all of theirs. Light work goes first, but
for every few turns one of heavy work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from time import perf_counter
from typing import Any, Generic, Protocol, TypeVar

from chain.primitives.errors import LimitError

T = TypeVar("T")

LOOP_SHARE = 0.5
"""The part of the loop's time that RPC may take while others want it or not."""
DEBT_MAX_S, PAUSE_S = 0.010, 0.002
"""So much may be spent above the share before a pause, and so long is one: timers are in milliseconds."""
SLICE_S = 0.001
"""For so long one turn lasts: calls that take less share one."""
LIGHT_AT_ONCE = 4
"""Turns of light work between two looks at everything else that the loop has to do."""
TICK_S = 0.000_001
"""Less is no pause: it is what rounding leaves."""
HEAVY_EVERY = 4
"""One turn in so many is for heavy work, however much light work waits."""
WAIT_MAX_S = 5.0
"""A turn that did not come by then is refused."""


class Busy(LimitError):
    """More is asked of this node than it answers: wait, or ask another node."""

    code = "busy"


class Loop(Protocol):
    """What turns need of an event loop."""

    def time(self) -> float: ...
    def call_soon(self, callback: Callable[[], None]) -> asyncio.Handle: ...
    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.Handle: ...


class Rotation(Generic[T]):
    """Items of several clients; `pop` goes round the clients, and takes those of one in their order."""

    __slots__ = ("_size", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[str, deque[T]] = {}
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, client: str, item: T) -> None:
        """Add an item of a client."""
        self._waiting.setdefault(client, deque()).append(item)
        self._size += 1

    def pop(self) -> T:
        """Take the next item; there must be one."""
        client = next(iter(self._waiting))
        items = self._waiting.pop(client)
        item = items.popleft()
        if items:
            self._waiting[client] = items
        self._size -= 1
        return item


class Ask:
    """One turn that is waited for."""

    __slots__ = ("at", "run")

    def __init__(self, at: float, run: Callable[[bool], None]) -> None:
        self.at = at
        self.run: Callable[[bool], None] | None = run

    def cancel(self) -> None:
        """Do not want it any more."""
        self.run = None


class Turns:
    """Grants turns; `per_second` of them at most, with one second's worth at once."""

    def __init__(self, loop: Loop, per_second: int) -> None:
        self._loop, self._rate = loop, per_second
        self._tokens, self._refilled = float(per_second), loop.time()
        self._debt, self._reckoned = 0.0, loop.time()
        self._light: Rotation[Ask] = Rotation()
        self._heavy: Rotation[Ask] = Rotation()
        self._light_in_a_row = 0
        self._next: asyncio.Handle | None = None
        self.refused = 0
        """Turns that did not come in time so far."""

    def ask(self, client: str, run: Callable[[bool], None], *, light: bool = False) -> Ask:
        """Call `run(True)` when it is the client's turn, `run(False)` when that takes too long."""
        ask = Ask(self._loop.time(), run)
        (self._light if light else self._heavy).push(client, ask)
        if self._next is None:
            self._next = self._loop.call_soon(self._grant)
        return ask

    async def take(self, client: str, *, light: bool = False) -> None:
        """Wait for a turn; raise Busy when it takes too long."""
        granted: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def decide(came: bool) -> None:
            if not granted.done():
                granted.set_result(came)

        ask = self.ask(client, decide, light=light)
        try:
            if not await granted:
                raise Busy(self.refusal)
        finally:
            ask.cancel()

    @property
    def refusal(self) -> str:
        """What to tell those whose turn did not come."""
        return (
            f"no turn within {WAIT_MAX_S:.0f} s: this node answers {self._rate} requests a second "
            "(rpc.requests_per_second), shared among its clients; slow down, send transactions together, "
            "or ask another node"
        )

    def spent(self, seconds: float) -> None:
        """Count time that RPC kept the loop."""
        now = self._loop.time()
        others = max(0.0, now - self._reckoned - seconds)
        self._debt = max(0.0, self._debt - others) + seconds * (1 / LOOP_SHARE - 1)
        self._reckoned = now

    def count(self) -> None:
        """Count a request that shares the turn of another."""
        self._tokens -= 1

    def close(self) -> None:
        """Grant no more."""
        if self._next is not None:
            self._next.cancel()

    def _grant(self) -> None:
        self._next = None
        pause = self._pause(self._loop.time())
        if pause > TICK_S:
            self._next = self._loop.call_later(pause, self._grant)
            return
        granted = 0
        while granted < LIGHT_AT_ONCE and (self._light or self._heavy):
            light, ask = self._pop()
            if ask.run is None:
                continue
            run, ask.run = ask.run, None
            if self._loop.time() - ask.at > WAIT_MAX_S:
                self.refused += 1
                run(False)
                continue
            self._tokens -= 1
            granted += 1 if light else LIGHT_AT_ONCE
            run(True)
        if self._next is None and (self._light or self._heavy):  # what had its turn may have asked again
            self._next = self._loop.call_soon(self._grant)

    def _pop(self) -> tuple[bool, Ask]:
        """Return whether the next turn is for light work, and who asked for it."""
        if self._light and (not self._heavy or self._light_in_a_row < HEAVY_EVERY - 1):
            self._light_in_a_row += 1
            return True, self._light.pop()
        self._light_in_a_row = 0
        return False, self._heavy.pop()

    def _pause(self, now: float) -> float:
        """Return how long to wait until the next turn, in seconds."""
        self._tokens = min(self._rate, self._tokens + (now - self._refilled) * self._rate)
        self._refilled = now
        debt = self._debt - (now - self._reckoned)
        rest = debt - DEBT_MAX_S + PAUSE_S if debt > DEBT_MAX_S else 0.0
        return max(rest, (1 - self._tokens) / self._rate)


class Metered(Generic[T]):
    """Awaits a coroutine and tells how long each of its steps kept the loop, in seconds."""

    __slots__ = ("_spent", "_work")

    def __init__(self, work: Coroutine[Any, Any, T], spent: Callable[[float], None]) -> None:
        self._work, self._spent = work, spent

    def __await__(self) -> Generator[Any, Any, T]:
        step: Callable[[Any], Any] = self._work.send
        given: Any = None
        while True:
            begin = perf_counter()
            try:
                waits_for = step(given)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                self._spent(perf_counter() - begin)
            try:
                given, step = (yield waits_for), self._work.send
            except BaseException as error:  # a cancellation goes in as an exception does
                given, step = error, self._work.throw
