"""Accepting connections: nobody who stands at the door keeps others out; seconds of the loop.

A connection is *silent* until its first bytes are here, which costs a slot and no more; then it is *ready*
and waits for its handshake, which costs processor time, so that only so many begin in a second, of every
address one in turn. Where slots are all taken, the oldest of the address that has most of them goes: of the
silent ones first, then of those that wait, and last of those whose handshake had its time.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from chain.primitives.acceptor import Acceptor

GUESTS_MAX = 64
"""Connections that are no links yet, in whatever state: a whole consortium that starts at once."""
SILENT_MAX_S = 5.0
"""A peer speaks as soon as it is connected; the rest is for its machine to be slow."""
HANDSHAKE_LEAST_S = 1.0
"""What a handshake may take before another takes its slot."""
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
class _Guest:
    """One connection that is no link yet."""

    sock: socket.socket
    host: str
    address: str
    since: float
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
    ) -> None:
        """Nothing is accepted before `open`; `welcome` closes its socket when the handshake fails.

        `pace()` is the part of a processor that there is (`chain.network.pace`).
        """
        self._welcome, self._refuse, self._pace = welcome, refuse, pace
        self._acceptor = Acceptor(
            listener,
            self._arrived,
            lambda why: refuse("out_of_descriptors", "any address", why),
            at_once=ACCEPTS_MAX,
            pause_s=PAUSE_S,
        )
        self._loop = asyncio.get_running_loop()
        self._silent: dict[_Guest, None] = {}
        self._ready: dict[str, list[_Guest]] = {}
        """By host, hosts in the order of their turns; no list is empty."""
        self._shaking: dict[_Guest, None] = {}
        """Their handshakes are under way."""
        self._tokens, self._tokens_at = HANDSHAKES_BURST, self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._open = False

    @property
    def waiting(self) -> int:
        """Connections that are no links yet."""
        return len(self._silent) + sum(map(len, self._ready.values())) + len(self._shaking)

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
        for guest in list(self._silent):
            self._leave_silent(guest)
            guest.sock.close()
        for guest in [guest for queue in self._ready.values() for guest in queue]:
            guest.sock.close()
        self._ready.clear()
        tasks = [guest.task for guest in self._shaking if guest.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def tick(self) -> None:
        """Give up who is silent for too long; a few times a second."""
        now = self._loop.time()
        for guest in [guest for guest in self._silent if now - guest.since > SILENT_MAX_S]:
            self._leave_silent(guest)
            self._turn_away(guest, "silent", f"said nothing for {SILENT_MAX_S:.0f} s")
        self._begin()

    # --- arriving -----------------------------------------------------------------------------

    def _arrived(self, sock: socket.socket, address: Any) -> None:
        host, port = address[:2]
        guest = _Guest(sock, host, f"{host}:{port}", self._loop.time())
        if self.waiting >= GUESTS_MAX and not self._make_room(guest.since):
            self._turn_away(guest, "handshakes", f"{GUESTS_MAX} handshakes are under way")
            return
        self._silent[guest] = None
        self._loop.add_reader(sock, self._on_word, guest)

    def _on_word(self, guest: _Guest) -> None:
        """Its first bytes are here, or it is gone."""
        self._leave_silent(guest)
        try:
            spoke = bool(guest.sock.recv(1, socket.MSG_PEEK))
        except OSError:
            spoke = False
        if not spoke:
            self._turn_away(guest, "silent", "left without a word")
            return
        self._ready.setdefault(guest.host, []).append(guest)
        self._begin()

    # --- handshakes ---------------------------------------------------------------------------

    def _begin(self) -> None:
        """Begin as many handshakes as there is time for."""
        now = self._loop.time()
        per_s = HANDSHAKES_PER_S * self._pace()
        self._tokens = min(HANDSHAKES_BURST, self._tokens + per_s * (now - self._tokens_at))
        self._tokens_at = now
        while self._ready and self._tokens >= 1:
            self._tokens -= 1
            guest = next(iter(self._ready.values()))[0]
            self._leave_ready(guest)
            guest.since = now
            self._shaking[guest] = None
            guest.task = self._loop.create_task(self._shake(guest))
        if self._ready and self._timer is None and self._open:
            self._timer = self._loop.call_later(1 / per_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._begin()

    async def _shake(self, guest: _Guest) -> None:
        try:
            await self._welcome(guest.sock, guest.address)
        finally:
            self._shaking.pop(guest, None)

    # --- leaving ------------------------------------------------------------------------------

    def _make_room(self, now: float) -> bool:
        """Turn one away for a newer one; False when there are only handshakes that just began."""
        if self._silent:
            gone = _longest_of_most(self._silent)
            self._leave_silent(gone)
            self._turn_away(gone, "silent", "gave way to a newer connection before it said anything")
            return True
        if self._ready:
            gone = _longest_of_most([each for queue in self._ready.values() for each in queue])
            self._leave_ready(gone)
            self._turn_away(gone, "handshakes", "gave way to a newer connection before its handshake")
            return True
        gone = _longest_of_most(self._shaking)
        if now - gone.since < HANDSHAKE_LEAST_S or gone.task is None:
            return False
        gone.task.cancel()
        del self._shaking[gone]
        self._turn_away(gone, "handshakes", "gave way: its handshake took too long")
        return True

    def _leave_silent(self, guest: _Guest) -> None:
        del self._silent[guest]
        self._loop.remove_reader(guest.sock)

    def _leave_ready(self, guest: _Guest) -> None:
        """Take it out; its host has its next turn after the others."""
        queue = self._ready.pop(guest.host)
        queue.remove(guest)
        if queue:
            self._ready[guest.host] = queue

    def _turn_away(self, guest: _Guest, cause: str, why: str) -> None:
        guest.sock.close()
        self._refuse(cause, guest.address, why)


def _longest_of_most(guests: Iterable[_Guest]) -> _Guest:
    """Return who is there longest, of the host that has most."""
    found = list(guests)
    most = Counter(guest.host for guest in found).most_common(1)[0][0]
    return next(guest for guest in found if guest.host == most)
