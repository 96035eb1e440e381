"""An agent's one listening socket, which hands each accepted connection to the job that it is for.

After the TLS 1.3 handshake, in which both ends prove the Ed25519 key that is registered on chain, the
dialler sends a 46-byte hello naming the job and the two parties. The connection then waits, for a bounded
time and in bounded number, until the worker of that job claims it.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from chain.primitives.crypto import PrivateKey
from chain.primitives.tls import peer_key, server_context
from privcompute.errors import ListenError, PeerTimeout
from privcompute.link import Cancellation
from privcompute.tls_stream import TlsStream

HELLO = struct.Struct(">10sHBB32s")
MAGIC = b"assent-mpc"
VERSION = 1
OPENINGS_MAX = 64
"""Connections in handshake at once; beyond it the oldest is dropped."""
PENDING_MAX = 64
"""Connections that no job has claimed yet; beyond it new ones are dropped."""
PENDING_PER_KEY_MAX = 8
OPENING_TIMEOUT_S = 10.0
PENDING_TIMEOUT_S = 60.0
TICK_S = 0.2


@dataclass(frozen=True, slots=True)
class Hello:
    """What opens a link: which job, from which party, to which."""

    job_id: bytes
    sender: int
    receiver: int

    def encode(self) -> bytes:
        """Return the 46 bytes on the wire."""
        return HELLO.pack(MAGIC, VERSION, self.sender, self.receiver, self.job_id)

    @classmethod
    def decode(cls, data: bytes) -> Hello | None:
        """Read 46 bytes; None when they are not a hello of this version."""
        magic, version, sender, receiver, job_id = HELLO.unpack(data)
        return cls(job_id, sender, receiver) if (magic, version) == (MAGIC, VERSION) else None


@dataclass(slots=True, eq=False)
class _Opening:
    """A connection before its hello is complete."""

    stream: TlsStream
    deadline: float
    handshaken: bool = False
    hello: bytearray = field(default_factory=lambda: bytearray(HELLO.size))
    filled: int = 0

    def advance(self) -> bool:
        """Go on with handshake and hello; tell whether both are complete. Raises OSError."""
        if not self.handshaken:
            self.handshaken = self.stream.handshake()
        while self.handshaken and self.filled < HELLO.size:
            count = self.stream.read_into(memoryview(self.hello)[self.filled :])
            if count == 0:
                break
            self.filled += count
        return self.filled == HELLO.size

    def events(self) -> int:
        """Return the selector events to wait for."""
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self.stream.writing else 0)


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """A connection that waits for its job."""

    stream: TlsStream
    hello: Hello
    key: bytes
    deadline: float


class PeerListener:
    """An agent's one listening socket: takes TLS connections of registered agents and hands them to jobs.

    A thread does handshakes and hellos without blocking, so that a slow or hostile connection delays
    nobody; everything is bounded and timed.
    """

    def __init__(self, host: str, port: int, key: PrivateKey, accepted: Iterable[bytes]) -> None:
        """Listen (port 0: any free one) as `key` for holders of accepted keys. Raises ListenError."""
        self._key = key
        self._context = _server_context(key, accepted)
        try:
            self._server = socket.create_server((host, port), backlog=OPENINGS_MAX)
        except OSError as error:
            raise ListenError(
                f"agent address {host}:{port}: {_reason(error)}; stop the process that uses it, or choose"
                " another port and register it"
            ) from None
        self._server.setblocking(False)
        self.address: tuple[str, int] = self._server.getsockname()[:2]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._openings: list[_Opening] = []
        self._pending: list[_Pending] = []
        self._changed = threading.Condition()
        self._stopped = Cancellation()
        self._selector.register(self._stopped.fileno(), selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="peer-listener", daemon=True)
        self._thread.start()

    def accept_keys(self, accepted: Iterable[bytes]) -> None:
        """Replace the set of accepted keys for connections to come."""
        self._context = _server_context(self._key, accepted)

    def claim(self, hello: Hello, key: bytes, deadline: float, cancellation: Cancellation) -> TlsStream:
        """Wait for the connection of that job and party, proven to hold `key`. Raises PeerGone, Cancelled."""
        with self._changed:
            while True:
                cancellation.check()
                found = next((p for p in self._pending if p.hello == hello and p.key == key), None)
                if found is not None:
                    self._pending.remove(found)
                    return found.stream
                if time.monotonic() >= deadline:
                    raise PeerTimeout(
                        hello.sender,
                        f"party {hello.sender} did not connect in time; check that its agent runs and has"
                        " accepted the job",
                    )
                self._changed.wait(TICK_S)

    def close(self) -> None:
        """Stop listening and drop every connection that no job has claimed."""
        self._stopped.cancel("listener closed")
        self._thread.join()
        self._selector.close()
        self._server.close()
        for stream in [*(o.stream for o in self._openings), *(p.stream for p in self._pending)]:
            stream.close()

    def _serve(self) -> None:
        while True:
            for event, _ in self._selector.select(TICK_S):
                if event.fileobj is self._server:
                    self._accept()
                elif event.data is None:
                    return
                else:
                    self._advance(event.data)
            self._expire(time.monotonic())

    def _accept(self) -> None:
        try:
            raw, _ = self._server.accept()
        except OSError:
            return
        if len(self._openings) >= OPENINGS_MAX:
            self._drop(self._openings[0])
        stream = TlsStream(raw, self._context, server_side=True)
        opening = _Opening(stream, time.monotonic() + OPENING_TIMEOUT_S)
        self._openings.append(opening)
        self._selector.register(stream, selectors.EVENT_READ, opening)

    def _advance(self, opening: _Opening) -> None:
        if opening not in self._openings:
            return
        try:
            if not opening.advance():
                self._selector.modify(opening.stream, opening.events(), opening)
                return
            key = peer_key(opening.stream.peer_certificate())
        except OSError:
            self._drop(opening)
            return
        self._selector.unregister(opening.stream)
        self._openings.remove(opening)
        if not self._keep(opening, key):
            opening.stream.close()

    def _keep(self, opening: _Opening, key: bytes) -> bool:
        """Put a connection among the pending, in place of an older one of the same job and party."""
        hello = Hello.decode(bytes(opening.hello))
        if hello is None:
            return False
        with self._changed:
            for old in [p for p in self._pending if p.hello == hello and p.key == key]:
                old.stream.close()
                self._pending.remove(old)
            of_key = sum(p.key == key for p in self._pending)
            if len(self._pending) >= PENDING_MAX or of_key >= PENDING_PER_KEY_MAX:
                return False
            self._pending.append(_Pending(opening.stream, hello, key, time.monotonic() + PENDING_TIMEOUT_S))
            self._changed.notify_all()
        return True

    def _drop(self, opening: _Opening) -> None:
        self._selector.unregister(opening.stream)
        self._openings.remove(opening)
        opening.stream.close()

    def _expire(self, now: float) -> None:
        for opening in [o for o in self._openings if o.deadline <= now]:
            self._drop(opening)
        with self._changed:
            for pending in [p for p in self._pending if p.deadline <= now]:
                pending.stream.close()
                self._pending.remove(pending)


def _reason(error: OSError) -> str:
    """Return the plain text of an errno: the socket module's own texts repeat the address."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


def _server_context(key: PrivateKey, accepted: Iterable[bytes]) -> ssl.SSLContext:
    context = server_context(key, accepted)
    context.num_tickets = 0  # links are never resumed; unread tickets would turn a close into a reset
    return context
