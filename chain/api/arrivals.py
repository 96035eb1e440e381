"""Connections on their way from the kernel to a gate: bare sockets, which wait for a turn of their client.

The kernel's queue is one for all, so it is emptied at once; what waits here has a place among the connections
and costs no more. Who used least lately is taken up next. The turn is that of the first request, too.
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from chain.api.behind import ConnectionState, TurnState
from chain.api.door import Door
from chain.api.head import PAGES
from chain.api.plain import TLS_BEGINS
from chain.api.rotation import Rotation
from chain.api.shares import Holding
from chain.api.turns import CONNECTION_S, Ask
from chain.primitives.acceptor import defers
from chain.primitives.networks import network_of
from chain.primitives.shutout import Shutout

PAGE_STARTS = tuple(f"{method} {page}".encode() for method in ("GET", "HEAD") for page in PAGES)
"""First bytes of a request for a page, which takes no turn."""
FIRST_BYTES = max(map(len, PAGE_STARTS))
WAITING_MAX, OWED_MAX_S = 16, 0.5
"""Connections that wait of a client that must pay off so many seconds: more would wait for the same turns. A
burst of a client that was quiet is worth less."""
REFUSED_MAX, REFUSED_S, OUT_S = 16, 2.0, (2.0, 4.0)
"""Who has so many connections refused within so many seconds, or given up for others before they had a turn,
is kept out by the kernel for so many, by chance, so that not all of a crowd come back at once; the next
attempts are TCP's own, a second apart. So a client costs a few refusals a second, whatever it does."""
OWN = frozenset({"127.0.0.1", "::1"})
"""Never kept out: the node's agent and its operator's commands are there."""
HANDSHAKE_S = 0.000_5
"""What TLS takes of a processor until a connection stands."""
Make = Callable[[str, TurnState], asyncio.Protocol]
"""Makes the protocol of a connection from its client, and whether its first request has had its turn."""


class _Arrival:
    """One connection that waits, with its place among all and what it asked for."""

    __slots__ = ("ask", "client", "place", "sock")

    def __init__(self, sock: socket.socket, client: str) -> None:
        self.sock, self.client = sock, client
        self.place: Holding | None = None
        self.ask: Ask | None = None


class Arrivals:
    """Queue of accepted sockets, each of which becomes a connection when its client has a turn."""

    def __init__(
        self, door: Door, listener: socket.socket, make: Make, tls: ssl.SSLContext | None = None
    ) -> None:
        """`make` is called once a connection is taken up, and stands; `listener` is where they come from."""
        self._door, self._make, self._tls = door, make, tls
        self._loop = asyncio.get_running_loop()
        self._shutout, self._defers = Shutout(listener), defers(listener)
        self._refused: Counter[str] = Counter()
        """Connections of each client that were closed at once, since it was last emptied."""
        self._refused_since = door.now()
        self._out_until: dict[str, float] = {}
        self._random = random.Random()
        self._waiting: Rotation[_Arrival] = Rotation()
        self._beginning: set[asyncio.Task[None]] = set()

    def take(self, sock: socket.socket, address: Any) -> None:
        """Let a connection wait for its turn, unless its client had its part of this second."""
        client, first = network_of(str(address[0])), _first_bytes(sock)
        is_page = self._tls is None and first.startswith(PAGE_STARTS)
        turns = self._door.turns
        many = not is_page and self._waiting.number(client) >= WAITING_MAX and turns.owed(client) > OWED_MAX_S
        if many or not turns.admit(client, silent=self._defers and not first):
            sock.close()
            self._door.lost("rpc_rate")
            self._count_refused(client)
        elif is_page:
            self._begin(sock, client, TurnState.ASKED)
        else:
            self._wait(sock, client, spoke=bool(first))

    def sweep(self) -> None:
        """Let those in again whom the kernel kept out for a while."""
        now = self._door.now()
        if now - self._refused_since >= REFUSED_S:
            self._refused.clear()
            self._refused_since = now
        for client in [client for client, until in self._out_until.items() if until <= now]:
            del self._out_until[client]
        self._shutout.set(list(self._out_until))

    def _count_refused(self, client: str) -> None:
        """Have the kernel keep out who goes on connecting though he is refused."""
        self._refused[client] += 1
        if self._refused[client] == REFUSED_MAX and client not in OWN:
            self._door.lost("rpc_shut_out")
            self._out_until[client] = self._door.now() + self._random.uniform(*OUT_S)
            self._shutout.set(list(self._out_until))

    def close(self) -> None:
        """Close all sockets that wait, and take no more."""
        while self._waiting:
            arrival = self._waiting.pop()
            self._leave(arrival)
            arrival.sock.close()
        for task in self._beginning:
            task.cancel()

    def _wait(self, sock: socket.socket, client: str, *, spoke: bool) -> None:
        state, turn = (
            (ConnectionState.ASKING, TurnState.HAD) if spoke else (ConnectionState.FRESH, TurnState.ASKED)
        )
        arrival = _Arrival(sock, client)
        arrival.place = Holding(client, partial(self._give_up, arrival), state)
        if not self._door.connections.take(arrival.place, 1):
            arrival.place = None
            self._begin(sock, client, TurnState.ASKED)  # it finds no place either, and says so
            return
        self._waiting.push(client, arrival)
        arrival.ask = self._door.turns.ask(client, partial(self._on_turn, arrival, turn), light=True)

    def _on_turn(self, arrival: _Arrival, turn: TurnState, came: bool) -> None:
        self._leave(arrival)
        self._door.turns.spent(arrival.client, CONNECTION_S)
        if not came:
            self._door.lost("rpc_rate")
        self._begin(arrival.sock, arrival.client, turn if came else TurnState.LATE)

    def _give_up(self, arrival: _Arrival) -> None:
        """Make room for another that arrives."""
        self._door.lost("rpc_connections")
        self._leave(arrival)
        arrival.sock.close()
        self._count_refused(arrival.client)

    def _leave(self, arrival: _Arrival) -> None:
        """Have it wait no more; nothing of it is left to the collector of cycles."""
        self._waiting.discard(arrival.client, arrival)
        if arrival.place is not None:
            self._door.connections.give_back(arrival.place)
        if arrival.ask is not None:
            arrival.ask.cancel()
        arrival.place = arrival.ask = None

    def _begin(self, sock: socket.socket, client: str, turn: TurnState) -> None:
        work = self._connect if self._tls is None else self._connect_by_tls
        task = self._loop.create_task(work(sock, client, turn))
        self._beginning.add(task)
        task.add_done_callback(self._beginning.discard)

    async def _connect(self, sock: socket.socket, client: str, turn: TurnState) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(lambda: self._make(client, turn), sock)
        except (OSError, asyncio.CancelledError):
            sock.close()  # the client vanished, or the port closes

    async def _connect_by_tls(self, sock: socket.socket, client: str, turn: TurnState) -> None:
        """Do the handshake in the turn of the connection, whose first request takes one of its own."""
        if turn is TurnState.LATE:
            sock.close()
            return
        if (first := _first_bytes(sock)) and first[0] != TLS_BEGINS:
            self._door.lost("rpc_handshakes")
            await self._connect(sock, client, TurnState.IN_THE_CLEAR)
            return
        work = cast("asyncio.Task[None]", asyncio.current_task())
        place = Holding(client, partial(_cancel, work), ConnectionState.HEAD)
        try:
            if not self._door.connections.take(place, 1):
                raise ConnectionAbortedError
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._door.turns.spent(client, HANDSHAKE_S)
            await self._loop.connect_accepted_socket(
                lambda: self._make(client, TurnState.ASKED),
                sock,
                ssl=self._tls,
                ssl_handshake_timeout=self._door.header_s,
            )
        except (OSError, asyncio.CancelledError):  # no TLS of ours, the client vanished, or others need room
            self._door.lost("rpc_handshakes")
            sock.close()
        finally:
            self._door.connections.give_back(place)


def _cancel(work: asyncio.Task[None]) -> None:
    work.cancel()


def _first_bytes(sock: socket.socket) -> bytes:
    """Return what the other side said first, as far as it is here; nothing is taken from the socket."""
    try:
        return sock.recv(FIRST_BYTES, socket.MSG_PEEK)
    except OSError:  # nothing yet, or it broke off
        return b""
