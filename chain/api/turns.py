"""Who may use the event loop next: one piece of work at a time, clients in rotation, half of the time.

Consensus lives in the same loop. So whatever a client makes us do takes a *turn* first: the head of a
request, each further piece of its body, each further call of a batch, each notification. A connection asks
for one turn at a time, so turns of one client in order of asking go round its connections, too: a call by
itself waits for one piece of work of each other connection, not for all of theirs. Of one client light work
goes first, but for every few turns one of heavy work.

What a turn took of the loop is owed, by all clients together and by the one that had it: while one client
pays off what it spent above its part, the others go on, and who used least lately has the next turn. What one
took while nobody else waited does not count for that: else who worked in calm would wait behind a whole crowd
of newcomers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from itertools import islice
from math import inf
from time import perf_counter, thread_time
from typing import Any, Generic, Protocol, TypeVar, cast

from chain.api.account import LIGHT_S, USED_S, Bucket, ClientAccount, ShareAccount
from chain.api.rotation import Rotation
from chain.primitives.errors import LimitError

T = TypeVar("T")

LOOP_SHARE = 0.5
"""The part of the loop's time that RPC may take while others want it or not; on a machine that is busy with
other things less, as long as one client has its part."""
CLIENT_SHARE = 0.25
"""The part that one client may take of it: at 50 µs a call, 5,000 calls a second."""
CLIENT_TURNS = 0.75
"""The part of all turns that one client may have."""
DEBT_ALL_MAX_S = 0.050
"""All together never owe more: one piece of work that was long makes others pause for a moment only. Of one
client `WAIT_MAX_S` is the most, so who stops taking too much is served again before its turns are refused."""
SLICE_S = 0.000_4
"""For so long one turn lasts: calls that take less share one."""
LIGHT_AT_ONCE = 2
"""Turns of light work between two looks at everything else that the loop has to do."""
LIGHT_PART = 0.5
"""Who used less than so much of an equal part of what RPC may take is light."""
CREDIT, TURNS_CREDIT_S = 4.0, 0.5
"""A light client goes on until all together owe so many times as much as makes the others pause, and the
turns of so many seconds to come."""
ACCEPT_S, CONNECTION_S = 0.000_02, 0.000_15
"""What a connection takes of the loop to be accepted, and to become one that is served and to go, beside what
is said on it."""
CONNECTIONS_PER_S, SILENT_PER_S, CROWD = 250.0, 50.0, 8
"""Connections of one client in a second, and beside them those that have said nothing; when more clients than
a crowd came lately, they share what a crowd has, and on a busy machine a second holds fewer: making and
displacing more would cost others more than answering."""
PAGES_PER_S, PAGES_ALL_PER_S = 100.0, 1_000.0
"""Pages of one client in a second, and of all, that take no turn; further ones take a light one."""
SETTLED_AT_ONCE = 2_048
"""Accounts looked at in one go, which takes a few milliseconds: many more a second than clients come."""
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

    def time(self) -> float:
        """Return seconds of its clock."""
        ...

    def call_soon(self, _callback: Callable[[], None], /) -> asyncio.Handle:
        """Call back in the next turn of the loop."""
        ...

    def call_later(self, _delay: float, _callback: Callable[[], None], /) -> asyncio.Handle:
        """Call back after so many seconds."""
        ...


class Ask:
    """One turn that somebody waits for."""

    __slots__ = ("_among", "at", "client", "run")

    def __init__(self, client: str, at: float, run: Callable[[bool], None], among: Rotation[Ask]) -> None:
        self.client, self.at, self.run, self._among = client, at, run, among
        among.push(client, self)

    def cancel(self) -> None:
        """Give the turn up; nothing of it is kept."""
        self._among.discard(self.client, self)


class Turns:
    """Grants turns: `per_second` of them at most."""

    def __init__(
        self, loop: Loop, per_second: int, bound_of: Callable[[str], int | None] | None = None
    ) -> None:
        """`bound_of(client)` is how many turns a second are set for it alone; None when nothing is."""
        self._loop, self._rate, self._bound_of = loop, per_second, bound_of or (lambda _: None)
        self._all = ShareAccount(LOOP_SHARE, per_second, DEBT_ALL_MAX_S, loop.time())
        self._pages = Bucket(PAGES_ALL_PER_S, loop.time())
        self._accounts: dict[str, ClientAccount] = {}
        """Of the clients that used something lately."""
        self._light: Rotation[Ask] = Rotation()
        self._heavy: Rotation[Ask] = Rotation()
        self._light_in_a_row, self._pace = 0, 1.0
        self._next: asyncio.Handle | None = None
        self._resting = False
        """Whether `_next` is due later, since nobody that asked may have a turn now."""

    @property
    def waiting(self) -> int:
        """Number of turns that are waited for."""
        return len(self._light) + len(self._heavy)

    def ask(self, client: str, run: Callable[[bool], None], *, light: bool = False) -> Ask:
        """Call `run(True)` when it is the client's turn, `run(False)` when that takes too long."""
        ask = Ask(client, self._loop.time(), run, self._light if light else self._heavy)
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
                raise Busy(self.refusal(client))
        finally:
            ask.cancel()

    def refusal(self, client: str) -> str:
        """Return the text for a client whose turn did not come: what the bound is, and what to do."""
        if bound := self._bound_of(client):
            return (
                f"no turn within {WAIT_MAX_S:.0f} s: {client} may make {bound} requests a second, each call "
                "of a batch counted; slow down, or ask the node's operator for a token with another "
                "--requests-per-second"
            )
        return (
            f"no turn within {WAIT_MAX_S:.0f} s: this node answers {self._rate} requests a second "
            "(rpc.requests_per_second), shared among its clients; slow down, send transactions together, "
            "or ask another node"
        )

    def spent(self, client: str, kept: float, used: float | None = None) -> None:
        """Count time that a client's turn kept the loop, and what of it a processor worked; all if None.

        On a busy machine a turn of microseconds may keep the loop for many milliseconds, while other
        programs have the processor: all pause for that, but the client that happened to have its turn owes
        what it used.
        """
        now = self._loop.time()
        self._all.spent(kept, now)
        seconds = kept if used is None else used
        self._account(client, now).spent(seconds, now, wanted=self._is_wanted(client))

    def charge(self, client: str, seconds: float) -> None:
        """Count time that a client took without a turn: nobody else pauses for it, which would save none."""
        now = self._loop.time()
        self._account(client, now).spent(seconds, now, wanted=self._is_wanted(client))

    def settle(self, pace: float = 1.0) -> None:
        """Refuse what waits for too long, and forget clients that owe nothing; a few times a second.

        `pace` is the part of a processor that there is: what a busy machine takes of the loop's time, RPC
        gives up, not consensus.
        """
        now = self._loop.time()
        self._pace = pace
        self._all.set_share(max(CLIENT_SHARE, LOOP_SHARE * pace))
        for asks in (self._light, self._heavy):
            for client in list(asks.clients()):
                while (ask := asks.first(client)) is not None and now - ask.at > WAIT_MAX_S:
                    asks.pop(client)
                    ask.run(False)
        for client in list(islice(self._accounts, SETTLED_AT_ONCE)):
            account = self._accounts.pop(client)
            if not account.owes_nothing(now):
                self._accounts[client] = account  # behind those that are looked at next time

    def may_share(self, client: str) -> bool:
        """Tell whether a further call may share a turn: not once a bound of its own is used up."""
        return not self._bound_of(client) or self._free_in(client, self._loop.time()) <= TICK_S

    def count(self, client: str) -> None:
        """Count a turn of a client, or a call that shares the turn of another."""
        now = self._loop.time()
        self._all.count(now)
        self._account(client, now).count(now)

    def admit(self, client: str, *, silent: bool = False) -> bool:
        """Charge a client for a connection; return False when it had its part of this second.

        One that says nothing takes nothing of those that ask: another program may have the same address.
        """
        now = self._loop.time()
        account = self._account(client, now)
        bucket, each = (account.silent, SILENT_PER_S) if silent else (account.connections, CONNECTIONS_PER_S)
        if bucket.wait(now) > TICK_S:
            return False
        account.spent(ACCEPT_S, now, wanted=self._is_wanted(client))
        price = max(1.0, len(self._accounts) / CROWD) / self._pace
        bucket.take(now, min(price, each))
        return True

    def owed(self, client: str) -> float:
        """Return the seconds for which a client has no turn, since it pays off what it took."""
        return max(0.0, self._free_in(client, self._loop.time()))

    def allow_page(self, client: str) -> bool:
        """Let a client have a page without a turn; False when it, or all together, had many this second."""
        now = self._loop.time()
        own = self._account(client, now).pages
        if max(own.wait(now), self._pages.wait(now)) > TICK_S:
            return False
        own.take(now)
        self._pages.take(now)
        return True

    def _account(self, client: str, now: float) -> ClientAccount:
        account = self._accounts.get(client)
        if account is None:
            account = ClientAccount(
                CLIENT_SHARE, self._bound_of(client) or self._rate * CLIENT_TURNS, WAIT_MAX_S, now,
                connections=CONNECTIONS_PER_S, silent=SILENT_PER_S, pages=PAGES_PER_S,
            )  # fmt: skip
            self._accounts[client] = account
        return account

    def close(self) -> None:
        """Grant no more turns."""
        if self._next is not None:
            self._next.cancel()

    def _grant(self) -> None:
        self._next, self._resting = None, False
        granted = 0
        while granted < LIGHT_AT_ONCE and (found := self._pop()) is not None:
            light, ask = found
            self.count(ask.client)
            granted += 1 if light else LIGHT_AT_ONCE
            ask.run(True)
        self._grant_again()

    def _grant_again(self) -> None:
        """Come back when somebody that asked may have its turn."""
        if self._next is not None:  # what had its turn has asked again
            self._next.cancel()
            self._next = None
        if not self.waiting:
            return
        now = self._loop.time()
        usual, credit = self._pauses(now)
        rest = min(
            max(self._free_in(client, now), credit if self._is_light(client, now) else usual)
            for asks in (self._light, self._heavy)
            for client in asks.clients()
        )
        self._resting = rest > TICK_S
        later = self._loop.call_later
        self._next = later(rest, self._grant) if self._resting else self._loop.call_soon(self._grant)

    def _is_wanted(self, client: str) -> bool:
        """Tell whether anybody but this client waits for a turn."""
        return self._light.has_others(client) or self._heavy.has_others(client)

    @property
    def _light_s(self) -> float:
        """How much a client may have used lately and be light: half of an equal part, or next to nothing.

        All of them together take no more than RPC may have, so nobody need pause for them.
        """
        return max(LIGHT_S, LIGHT_PART * LOOP_SHARE * USED_S / max(1, len(self._accounts)))

    def _pauses(self, now: float) -> tuple[float, float]:
        """Return for how many seconds all pause, and for how many those who lately took little."""
        usual = self._all.pause(now)
        return usual, usual if usual <= 0 else self._all.pause(now, CREDIT, TURNS_CREDIT_S)

    def _free_in(self, client: str, now: float) -> float:
        account = self._accounts.get(client)
        return 0.0 if account is None else account.free_at - now

    def _is_light(self, client: str, now: float) -> bool:
        account = self._accounts.get(client)
        return account is None or account.is_light(now, self._light_s)

    def _order(self, client: str) -> float:
        account = self._accounts.get(client)
        return -inf if account is None else account.order

    def _pop(self) -> tuple[bool, Ask] | None:
        """Return (light, ask) of the next turn, of who used least lately; None if nobody may have it."""
        now = self._loop.time()
        usual, credit = self._pauses(now)
        if credit > TICK_S:
            return None
        light, heavy = (self._least(asks, usual, now) for asks in (self._light, self._heavy))
        if light is None and heavy is None:
            return None
        if light is None or heavy is None:
            is_light = heavy is None
        elif self._order(light) == self._order(heavy):
            is_light = self._light_in_a_row < HEAVY_EVERY - 1
        else:
            is_light = self._order(light) < self._order(heavy)
        self._light_in_a_row = self._light_in_a_row + 1 if is_light else 0
        asks, client = (self._light, light) if is_light else (self._heavy, heavy)
        return is_light, asks.pop(cast(str, client))

    def _least(self, asks: Rotation[Ask], usual: float, now: float) -> str | None:
        """Return who used least of those that may have a turn; None when nobody may."""
        able = [
            client
            for client in asks.clients()
            if self._free_in(client, now) <= TICK_S and (usual <= TICK_S or self._is_light(client, now))
        ]
        return min(able, key=self._order, default=None)


class Metered(Generic[T]):
    """Awaits a coroutine and tells of each of its steps how long it kept the loop, and what it used of a
    processor, in seconds."""

    __slots__ = ("_spent", "_work")

    def __init__(self, work: Coroutine[Any, Any, T], spent: Callable[[float, float], None]) -> None:
        self._work, self._spent = work, spent

    def __await__(self) -> Generator[Any, Any, T]:
        step: Callable[[Any], Any] = self._work.send
        given: Any = None
        while True:
            begin, used = perf_counter(), thread_time()
            try:
                waits_for = step(given)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                self._spent(perf_counter() - begin, thread_time() - used)
            try:
                given, step = (yield waits_for), self._work.send
            except BaseException as error:  # a cancellation goes in as an exception does
                given, step = error, self._work.throw
