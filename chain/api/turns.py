"""Who may use the event loop next: one piece of work at a time, clients in rotation, half of the time.

Consensus lives in the same loop. So whatever a client makes us do takes a *turn* first: the head of a
request, each further piece of its body, each further call of a batch, each notification. A connection asks
for one turn at a time, so turns of one client in order of asking go round its connections, too: a call by
itself waits for one piece of work of each other connection, not for all of theirs. Light work goes first, but
for every few turns one of heavy work.

What a turn took of the loop is owed, by all clients together and by the one that had it: while one client
pays off what it spent above its part, the others go on, and who used least lately has the next turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from math import exp
from time import perf_counter
from typing import Any, Generic, Protocol, TypeVar

from chain.primitives.errors import LimitError

T = TypeVar("T")

LOOP_SHARE = 0.5
"""The part of the loop's time that RPC may take while others want it or not."""
CLIENT_SHARE = 0.25
"""The part that one client may take of it: at 50 µs a call, 5,000 calls a second."""
CLIENT_TURNS = 0.75
"""The part of all turns that one client may have."""
DEBT_MAX_S, PAUSE_S = 0.010, 0.002
"""So much may be spent above the share before a pause, and so long is one: timers are in milliseconds."""
SLICE_S = 0.001
"""For so long one turn lasts: calls that take less share one."""
LIGHT_AT_ONCE = 4
"""Turns of light work between two looks at everything else that the loop has to do."""
USED_S, LIGHT_S, FORGET_S = 2.0, 0.010, 0.000_1
"""What a client took lately is reckoned over about two seconds; so little of it is light, or nothing."""
CREDIT, TURNS_CREDIT_S = 4.0, 0.5
"""A light client goes on until all together owe so many times as much as makes the others pause, and the
turns of so many seconds to come."""
CONNECTION_S = 0.000_15
"""What a connection takes of the loop to come and go, beside what is said on it."""
CONNECTIONS_PER_S, CONNECTIONS_ALL_PER_S = 250.0, 1_000.0
"""Connections of one client in a second, and of all that lately came, who share them: making and displacing
more would cost others more than answering."""
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

    def clients(self) -> Iterator[str]:
        """Yield who has items, in the order of their turns."""
        return iter(self._waiting)

    def pop(self, client: str = "") -> T:
        """Take the next item, or that of a client; there must be one."""
        client = client or next(iter(self._waiting))
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


class Bucket:
    """So many a second, and one second's worth at once."""

    __slots__ = ("_filled", "_left", "_rate")

    def __init__(self, per_second: float, now: float) -> None:
        self._left = self._rate = max(1.0, per_second)
        self._filled = now

    def take(self, now: float, price: float = 1.0) -> None:
        """Take one at a price, even if less is left."""
        self._left = self.left(now) - price
        self._filled = now

    def left(self, now: float) -> float:
        """Return how many are left; below 0 when more were taken."""
        return min(self._rate, self._left + (now - self._filled) * self._rate)

    def wait(self, now: float, credit_s: float = 0.0) -> float:
        """Return in how many seconds one is left, or would be `credit_s` later; 0 or less when one is."""
        return (1 - self.left(now)) / self._rate - credit_s

    def is_half_full(self, now: float) -> bool:
        """Tell whether half of a second's worth is left."""
        return self.left(now) >= self._rate / 2

    def is_full(self, now: float) -> bool:
        """Tell whether nothing was taken that did not come back."""
        return self.left(now) >= self._rate


class Account:
    """What was taken of a share of the loop's time, of turns and of connections, and not made up for yet."""

    __slots__ = ("_debt", "_price", "_reckoned", "_used", "connections", "turns")

    def __init__(self, share: float, turns: float, now: float) -> None:
        self._debt, self._price, self._reckoned = 0.0, 1 / share - 1, now
        self._used = 0.0
        self.turns, self.connections = Bucket(turns, now), Bucket(CONNECTIONS_PER_S, now)

    def spent(self, seconds: float, now: float) -> None:
        """Count time that just passed."""
        others = max(0.0, now - self._reckoned - seconds)
        self._used = self.used(now) + seconds
        self._debt = max(0.0, self._debt - others) + seconds * self._price
        self._reckoned = now

    def debt(self, now: float) -> float:
        """Return for how many seconds others have to have the loop until nothing is owed."""
        return max(0.0, self._debt - (now - self._reckoned))

    def pause(self, now: float, credit: float = 1.0) -> float:
        """Return for how many seconds there is no turn; 0 or less when there is one."""
        debt, most = self.debt(now), credit * DEBT_MAX_S
        rest = debt - most + PAUSE_S if debt > most else 0.0
        return max(rest, self.turns.wait(now, TURNS_CREDIT_S if credit > 1 else 0.0))

    def used(self, now: float) -> float:
        """Return the seconds that were spent lately: those of `USED_S` ago count a third."""
        return self._used * exp((self._reckoned - now) / USED_S)

    def is_light(self, now: float) -> bool:
        """Tell whether little time was spent lately, and half of a second's turns is left."""
        return self.used(now) < LIGHT_S and self.turns.is_half_full(now)

    def is_settled(self, now: float) -> bool:
        """Tell whether nothing is owed."""
        return self.used(now) < FORGET_S and self.turns.is_full(now) and self.connections.is_full(now)


class Turns:
    """Grants turns: `per_second` of them at most."""

    def __init__(self, loop: Loop, per_second: int) -> None:
        self._loop, self._rate = loop, per_second
        self._all = Account(LOOP_SHARE, per_second, loop.time())
        self._accounts: dict[str, Account] = {}
        """Of the clients that used something lately."""
        self._light: Rotation[Ask] = Rotation()
        self._heavy: Rotation[Ask] = Rotation()
        self._light_in_a_row = 0
        self._next: asyncio.Handle | None = None
        self._resting = False
        """Whether `_next` is due later, since nobody that asked may have a turn now."""
        self.refused = 0
        """Turns that did not come in time so far."""

    def ask(self, client: str, run: Callable[[bool], None], *, light: bool = False) -> Ask:
        """Call `run(True)` when it is the client's turn, `run(False)` when that takes too long."""
        ask = Ask(self._loop.time(), run)
        (self._light if light else self._heavy).push(client, ask)
        if self._next is not None and self._resting:
            self._next.cancel()
            self._next = None
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

    def spent(self, client: str, seconds: float) -> None:
        """Count time that a client's turn kept the loop."""
        now = self._loop.time()
        self._all.spent(seconds, now)
        self._account(client, now).spent(seconds, now)

    def charge(self, client: str, seconds: float) -> None:
        """Count time that a client took without a turn: nobody else pauses for it, which would save none."""
        now = self._loop.time()
        self._account(client, now).spent(seconds, now)

    def settle(self) -> None:
        """Forget the clients that have used and owe nothing any more; a few times a second."""
        now = self._loop.time()
        for client in [client for client, account in self._accounts.items() if account.is_settled(now)]:
            del self._accounts[client]

    def count(self, client: str) -> None:
        """Count a turn, or a call that shares the turn of another."""
        now = self._loop.time()
        self._all.turns.take(now)
        self._account(client, now).turns.take(now)

    def admit(self, client: str) -> bool:
        """Charge a client for a connection; False when it had its part of this second."""
        now = self._loop.time()
        self.charge(client, CONNECTION_S)
        connections = self._account(client, now).connections
        if connections.wait(now) > TICK_S:
            return False
        connections.take(now, max(1.0, len(self._accounts) * CONNECTIONS_PER_S / CONNECTIONS_ALL_PER_S))
        return True

    def _account(self, client: str, now: float) -> Account:
        account = self._accounts.get(client)
        if account is None:
            account = Account(CLIENT_SHARE, self._rate * CLIENT_TURNS, now)
            self._accounts[client] = account
        return account

    def close(self) -> None:
        """Grant no more."""
        if self._next is not None:
            self._next.cancel()

    def _grant(self) -> None:
        self._next, self._resting = None, False
        granted = 0
        while granted < LIGHT_AT_ONCE and (found := self._pop()) is not None:
            light, client, ask = found
            if ask.run is None:
                continue
            run, ask.run = ask.run, None
            if self._loop.time() - ask.at > WAIT_MAX_S:
                self.refused += 1
                run(False)
                continue
            self.count(client)
            granted += 1 if light else LIGHT_AT_ONCE
            run(True)
        self._grant_again()

    def _grant_again(self) -> None:
        """Come back when somebody that asked may have its turn."""
        if self._next is not None:  # what had its turn has asked again
            self._next.cancel()
            self._next = None
        waiting = {*self._light.clients(), *self._heavy.clients()}
        if not waiting:
            return
        now = self._loop.time()
        rest = min(self._rest(client, now) for client in waiting)
        self._resting = rest > TICK_S
        later = self._loop.call_later
        self._next = later(rest, self._grant) if self._resting else self._loop.call_soon(self._grant)

    def _used(self, client: str, now: float) -> float:
        account = self._accounts.get(client)
        return 0.0 if account is None else account.used(now)

    def _rest(self, client: str, now: float) -> float:
        """Return for how many seconds a client has no turn; 0 or less when it may have one."""
        account = self._accounts.get(client)
        own = 0.0 if account is None else account.pause(now)
        credit = CREDIT if account is None or account.is_light(now) else 1.0
        return max(own, self._all.pause(now, credit))

    def _pop(self) -> tuple[bool, str, Ask] | None:
        """Return (light, client, ask) of the next turn, of who used least; None if nobody may have it."""
        now = self._loop.time()
        heavy_is_due = self._light_in_a_row >= HEAVY_EVERY - 1
        for light in (False, True) if heavy_is_due else (True, False):
            asks = self._light if light else self._heavy
            able = [client for client in asks.clients() if self._rest(client, now) <= TICK_S]
            if able:
                self._light_in_a_row = self._light_in_a_row + 1 if light else 0
                client = min(able, key=lambda client: self._used(client, now))
                return light, client, asks.pop(client)
        return None


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
