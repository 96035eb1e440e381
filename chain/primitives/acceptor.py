"""Accepting connections a few at a time, so that a crowd at the port leaves the event loop to others.

An event loop's own server accepts whoever waits in one go, and makes a transport of each. Here the taker
sees the bare socket first, and what it closes at once costs no more than that.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from chain.primitives.errors import CannotListen, PortBusy

REST_S = 0.5
"""Accepting rests for so long when the process is out of file descriptors or memory."""
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What `accept` fails with when the process or the machine has no more: its socket stays readable."""


def listening(host: str, port: int, backlog: int, *, silent_s: int = 0) -> socket.socket:
    """Return a socket that listens at an address of either family; raises OSError.

    With `silent_s` the kernel keeps a connection to itself until its first bytes are here, for about so many
    seconds at most (TCP_DEFER_ACCEPT, where there is such a thing): who says nothing costs us nothing.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.create_server((host, port), family=family, backlog=backlog)
    if silent_s and hasattr(socket, "TCP_DEFER_ACCEPT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, silent_s)
    return made


def cannot_listen(setting: str, address: str, error: OSError) -> CannotListen:
    """Return the error of a setting whose address cannot be listened on, with the remedy for its cause."""
    where = f"{setting} = {address}: "
    if isinstance(error, socket.gaierror):
        return CannotListen(
            f"{where}the name does not resolve here ({error.strerror}); correct it, or set an IP address"
        )
    # The socket module's own texts repeat the address.
    said = os.strerror(error.errno) if error.errno else str(error)
    if error.errno == errno.EADDRNOTAVAIL:
        return CannotListen(
            f"{where}this host has no such address; set one of its own (`ip address` lists them), or 0.0.0.0 "
            "for all of them"
        )
    if error.errno == errno.EACCES:
        return CannotListen(
            f"{where}this user may not listen there ({said}); set a port above 1023, or give the "
            "service CAP_NET_BIND_SERVICE"
        )
    if error.errno == errno.EADDRINUSE:
        return PortBusy(
            f"{where}{said}; stop what uses the port, or set another address in the configuration"
        )
    return CannotListen(f"{where}{said}; set another address in the configuration")


def defers(listener: socket.socket) -> bool:
    """Tell whether the kernel waits for first bytes at this socket."""
    if not hasattr(socket, "TCP_DEFER_ACCEPT"):
        return False
    return listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) > 0


class Acceptor:
    """Hands the connections of a listening socket to `take(socket, address)`, which owns them then."""

    def __init__(
        self,
        listener: socket.socket,
        take: Callable[[socket.socket, Any], None],
        exhausted: Callable[[str], None],
        *,
        at_once: int,
        pause_s: float = 0.0,
    ) -> None:
        """Accept so many in one turn of the loop, then pause; `exhausted(why)`: no descriptor was left."""
        listener.setblocking(False)
        self._listener, self._take, self._exhausted = listener, take, exhausted
        self._at_once, self._pause_s = at_once, pause_s
        self._loop = asyncio.get_running_loop()
        self._open = False

    def open(self) -> None:
        """Begin to accept."""
        self._open = True
        self._loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Accept no more, once and for all; the listening socket stays its owner's."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._listener)

    def _accept(self) -> None:
        for _ in range(self._at_once):
            try:
                sock, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    continue  # a client that vanished
                self._exhausted(os.strerror(error.errno))
                self._rest(REST_S)
                return
            sock.setblocking(False)
            self._take(sock, address)
        if self._pause_s:
            self._rest(self._pause_s)

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._listener)
        self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        if self._open:
            self._loop.add_reader(self._listener, self._accept)
