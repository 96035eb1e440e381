"""Accepting connections: nobody who stands at the door keeps others out; seconds of the loop.

A connection is *silent* until its first bytes are here, which costs a slot and no more; then it is *ready*
and waits for its handshake, which costs processor time, so that only so many begin in a second. Who has the
next one, and who gives way when slots are taken, `knocks.py` decides by where connections come from.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable, Container, Coroutine
from dataclasses import dataclass
from typing import Any

from chain.network.knocks import SHAKING_MAX, WAITING_MAX, Knock, Knocks
from chain.primitives.acceptor import Acceptor
from chain.primitives.networks import network_of

GUESTS_MAX = 2 * (WAITING_MAX + SHAKING_MAX)
"""Connections that are no links yet, in whatever state and of both lanes."""
SILENT_MAX_S = 5
"""A peer speaks as soon as it is connected; the rest is for its machine to be slow. The kernel waits as long
for its first bytes, where it can, before it hands a connection over."""
HANDSHAKES_PER_S = 64.0
"""One costs about 1 ms, whoever begins it: strangers have no more of a second than this, and less where the
machine is busy with other things."""
HANDSHAKES_BURST = 256.0
"""The same."""
ACCEPTS_MAX = 8
"""Connections accepted in one turn of the loop; when there are more, accepting rests for `PAUSE_S`."""
PAUSE_S = 0.004
"""2,000 connections a second, at 60 µs each; the kernel keeps some more."""
Refuse = Callable[[str, str, str], None]
"""Takes the cause as one word, the address, and the cause in words."""


@dataclass(eq=False, slots=True)
class _Guest(Knock):
    """A connection with its socket."""

    sock: socket.socket
    address: str
    spoke: bool = False
    task: asyncio.Task[None] | None = None
    """Its handshake."""


class Doorway:
    """Accepts connections of a listening socket and gives each its handshake, `welcome(socket, address)`."""

    def __init__(
        self,
        listener: socket.socket,
        welcome: Callable[[socket.socket, str], Coroutine[Any, Any, None]],
        refuse: Refuse,
        pace: Callable[[], float],
        known: Container[str],
        source: random.Random,
    ) -> None:
        """Nothing is accepted before `open`; `welcome` closes its socket when the handshake fails.

        `pace()` is the part of a processor that there is (`chain.primitives.pace`), `known` holds the
        networks where members are at home, and `source` is the chance by which equals have turns and lose
        slots.
        """
        self._welcome, self._refuse, self._pace, self._known = welcome, refuse, pace, known
        self._acceptor = Acceptor(
            listener,
            self._arrived,
            lambda why: refuse("out_of_descriptors", "any address", why),
            at_once=ACCEPTS_MAX,
            pause_s=PAUSE_S,
        )
        self._loop = asyncio.get_running_loop()
        self._knocks: Knocks[_Guest] = Knocks(source)
        self._tokens, self._tokens_at = HANDSHAKES_BURST, self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._open = False

    @property
    def waiting(self) -> int:
        """Return the number of connections that are no links yet."""
        return len(self._knocks)

    def open(self) -> None:
        """Begin to accept."""
        self._open = True
        self._acceptor.open()

    async def close(self) -> None:
        """Accept no more, and close what is no link yet."""
        self._open = False
        self._acceptor.close()
        if self._timer is not None:
            self._timer.cancel()
        shaking = [(guest, guest.task) for guest in self._knocks if guest.task is not None]
        for guest in [guest for guest in self._knocks if guest.task is None]:
            self._give_up(guest)
        for _, task in shaking:
            task.cancel()
        await asyncio.gather(*[task for _, task in shaking], return_exceptions=True)
        for guest, _ in shaking:
            self._knocks.leave(guest)  # a task that ends before it began has closed nothing
            guest.sock.close()
        await asyncio.sleep(0)  # transports whose handshakes were broken off close in the next turn

    def tick(self) -> None:
        """Give up who is silent for too long; a few times a second."""
        now = self._loop.time()
        for guest in [guest for guest in self._knocks.silent if now - guest.since > SILENT_MAX_S]:
            self._turn_away(guest, "silent", f"said nothing for {SILENT_MAX_S} s")
        self._begin()

    # --- arriving -----------------------------------------------------------------------------

    def _arrived(self, sock: socket.socket, address: Any) -> None:
        host, port = address[:2]
        network = network_of(host)
        guest = _Guest(network, self._loop.time(), sock, f"{host}:{port}", spoke=_has_spoken(sock))
        if not guest.spoke:
            self._loop.add_reader(sock, self._on_word, guest)
        gone = self._knocks.come(guest, known=network in self._known)
        if gone is not None:
            cause, before = ("handshakes", "its handshake") if gone.spoke else ("silent", "it said anything")
            self._turn_away(gone, cause, f"gave way to a newer connection before {before}")
        if guest.spoke and gone is not guest:
            self._knocks.speak(guest)
            self._begin()

    def _on_word(self, guest: _Guest) -> None:
        """Its first bytes are here, or it is gone."""
        self._loop.remove_reader(guest.sock)
        guest.spoke = _has_spoken(guest.sock)
        if not guest.spoke:
            self._turn_away(guest, "silent", "left without a word")
            return
        self._knocks.speak(guest)
        self._begin()

    # --- handshakes ---------------------------------------------------------------------------

    def _begin(self) -> None:
        """Begin as many handshakes as there are time and slots for."""
        now = self._loop.time()
        per_s = HANDSHAKES_PER_S * self._pace()
        self._tokens = min(HANDSHAKES_BURST, self._tokens + per_s * (now - self._tokens_at))
        self._tokens_at = now
        while self._tokens >= 1 and (begun := self._knocks.begin(now)) is not None:
            self._tokens -= 1
            if begun.instead_of is not None:
                self._break_off(begun.instead_of)
            begun.knock.task = self._loop.create_task(self._shake(begun.knock))
        if self._knocks.someone_is_ready and self._timer is None and self._open:
            self._timer = self._loop.call_later(1 / per_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._begin()

    async def _shake(self, guest: _Guest) -> None:
        try:
            await self._welcome(guest.sock, guest.address)
        finally:
            self._knocks.leave(guest)

    # --- leaving ------------------------------------------------------------------------------

    def _break_off(self, guest: _Guest) -> None:
        assert guest.task is not None, "its handshake has begun"
        guest.task.cancel()
        guest.sock.close()
        self._refuse("handshakes", guest.address, "gave way: its handshake took too long")

    def _turn_away(self, guest: _Guest, cause: str, why: str) -> None:
        self._give_up(guest)
        self._refuse(cause, guest.address, why)

    def _give_up(self, guest: _Guest) -> None:
        """Forget a connection whose handshake has not begun."""
        self._knocks.leave(guest)
        self._loop.remove_reader(guest.sock)
        guest.sock.close()


def _has_spoken(sock: socket.socket) -> bool:
    """Tell whether the other side's first bytes are here; nothing is taken from the socket."""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except OSError:
        return False
