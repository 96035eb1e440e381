"""Listener of an agent: one socket, which hands each accepted connection to the job that it is for.

After the TLS 1.3 handshake, in which both ends prove the Ed25519 key that is registered on chain, the
dialler sends a 46-byte hello naming the job and the two parties. The connection then waits, for a bounded
time and in bounded number, until the worker of that job claims it.

Places are charged to the network that a connection comes from (an address, or 64 bits of IPv6) until it has
proved a key, and to that key from then on (places.py). Whatever goes wrong with one connection ends that
connection alone; whatever else ends the thread ends the agent, by `ended`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import selectors
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field

from chain.primitives.acceptor import EXHAUSTED, cannot_listen, listening
from chain.primitives.crypto import PrivateKey
from chain.primitives.networks import network_of
from chain.primitives.tls import proven_key, server_context
from chain.primitives.visible import error_text
from privcompute.errors import ListenerFailed, PeerTimeout, PortCrowded
from privcompute.net.cancellation import Cancellation
from privcompute.net.hello import HELLO, HELLO_VERSION, JobHello
from privcompute.net.places import Lines, Places, Rates
from privcompute.net.tls_stream import TlsStream

OPENINGS_MAX = 256
"""Connections that have proved no key yet, of all addresses together."""
OPENINGS_EACH = 128
"""The same of one address: several agents may share one behind a gateway."""
OPENINGS_PER_S, OPENINGS_BURST = 100.0, 200.0
"""Connections taken up of one address: a handshake costs about a millisecond; agents retry once a second."""
ADDRESSES_MAX = 4_096
"""Addresses whose rate is remembered (about 100 bytes each)."""
PENDING_MAX = 384
"""Connections that no job has claimed yet, of all keys together."""
PENDING_EACH = 40
"""The same of one key: an agent dials for each job that waits to begin, and anew for what it gave up."""
OPENING_TIMEOUT_S = 10.0
PENDING_TIMEOUT_S = 60.0
TICK_S = 0.2
REST_S = 1.0
"""Pause of accepting when the process is out of descriptors or memory."""
LINES_EACH, LINES_MAX, LINES_WINDOW_S = 3, 20, 60.0
"""Log lines about dropped connections: of one address and in all, in a window of time."""

log = logging.getLogger("assent.agent")


@dataclass(slots=True, eq=False)
class _Opening:
    """A connection before its hello is complete."""

    stream: TlsStream
    host: str
    port: int
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


@dataclass(frozen=True, slots=True)
class _Admission:
    """Whom a handshake admits: the context holds these keys as its only authorities."""

    context: ssl.SSLContext
    keys: frozenset[bytes]


@dataclass(frozen=True, slots=True, eq=False)
class _Pending:
    """A connection that waits for its job."""

    stream: TlsStream
    host: str
    hello: JobHello
    key: bytes
    deadline: float


class PeerListener:
    """An agent's one listening socket: takes TLS connections of registered agents and hands them to jobs.

    A thread does handshakes and hellos without blocking, so that a slow or hostile connection delays
    nobody; everything is bounded and timed.
    """

    def __init__(self, host: str, port: int, key: PrivateKey, accepted: Iterable[bytes]) -> None:
        """Listen (port 0: any free one) as `key` for holders of accepted keys; raise CannotListen."""
        self._key = key
        self._admission = _admit(key, accepted)
        at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self._server = listening(host, port, OPENINGS_MAX)
        except OSError as error:
            raise cannot_listen("peers.listen", at, error) from None
        self._server.setblocking(False)
        self.address: tuple[str, int] = self._server.getsockname()[:2]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._rests_until: float | None = None
        chance = random.Random(os.urandom(16))
        self._openings: Places[str, _Opening] = Places(OPENINGS_MAX, OPENINGS_EACH, chance)
        self._rates: Rates[str] = Rates(OPENINGS_PER_S, OPENINGS_BURST, ADDRESSES_MAX)
        self._lines: Lines[str] = Lines(LINES_EACH, LINES_MAX, LINES_WINDOW_S)
        self._turned_away = 0
        """Connections that lost their place, or got none, before it was known whose they were."""
        self._pending: Places[bytes, _Pending] = Places(PENDING_MAX, PENDING_EACH, chance)
        self._changed = threading.Condition()
        self._stopped = Cancellation()
        self._selector.register(self._stopped.fileno(), selectors.EVENT_READ)
        self.ended: Future[None] = Future()
        """Done when the thread has ended: with ListenerFailed, unless `close` ended it."""
        self.ended.set_running_or_notify_cancel()
        self._thread = threading.Thread(target=self._run, name="peer-listener", daemon=True)
        self._thread.start()

    def accept_keys(self, accepted: Iterable[bytes]) -> None:
        """Replace the set of accepted keys for connections to come."""
        self._admission = _admit(self._key, accepted)

    def claim(self, hello: JobHello, key: bytes, deadline: float, cancellation: Cancellation) -> TlsStream:
        """Wait for the connection of that job and party, proven to hold `key`.

        Raises PeerTimeout, PortCrowded, Cancelled, or ListenerFailed.
        """
        turned_away = self._turned_away
        with self._changed:
            while True:
                cancellation.check()
                found = next((p for p in self._pending if p.hello == hello and p.key == key), None)
                if found is not None:
                    self._pending.remove(found)
                    return found.stream
                if self.ended.done():
                    self.ended.result()
                if time.monotonic() >= deadline:
                    raise _absent(hello.sender, self._turned_away - turned_away)
                self._changed.wait(TICK_S)

    def take(
        self, wanted: Callable[[JobHello], bool], seconds: float
    ) -> tuple[JobHello, bytes, TlsStream] | None:
        """Wait so long for a connection with such a hello; return hello, proven key and stream, or None."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                found = next((pending for pending in self._pending if wanted(pending.hello)), None)
                if found is not None:
                    self._pending.remove(found)
                    return found.hello, found.key, found.stream
                left = deadline - time.monotonic()
                if left <= 0 or self.ended.done():
                    return None
                self._changed.wait(min(left, TICK_S))

    def close(self) -> None:
        """Stop listening and drop every connection that no job has claimed."""
        self._stopped.cancel("listener closed")
        self._thread.join()
        self._selector.close()
        self._server.close()
        for stream in [*(o.stream for o in self._openings), *(p.stream for p in self._pending)]:
            stream.close()

    def _run(self) -> None:
        """Serve until closed; a fault that is no single connection's must not leave a dead port behind."""
        try:
            self._serve()
        except BaseException as error:
            log.critical("peer port: the listener failed", exc_info=True)
            self.ended.set_exception(
                ListenerFailed(
                    f"agent address {self.address[0]}:{self.address[1]}: the listener failed"
                    f" ({error_text(error)}), so no other agent can reach this one; its log tells where,"
                    " start the agent again"
                )
            )
        else:
            self.ended.set_result(None)

    def _serve(self) -> None:
        while True:
            for event, _ in self._selector.select(TICK_S):
                if event.fileobj is self._server:
                    self._accept(time.monotonic())
                elif event.data is None:
                    return
                else:
                    self._advance(event.data)
            self._expire(time.monotonic())

    def _accept(self, now: float) -> None:
        try:
            raw, address = self._server.accept()
        except OSError as error:
            if error.errno in EXHAUSTED:
                self._rest(now, error)
            return
        host, port = address[:2]
        network = network_of(host)
        try:
            if not self._rates.allow(network, now):
                self._turned_away += 1
                raise ConnectionRefusedError(f"more than {OPENINGS_PER_S:.0f} connections a second")
            stream = TlsStream(raw, self._admission.context, server_side=True)
            opening = _Opening(stream, host, port, now + OPENING_TIMEOUT_S)
            self._selector.register(stream, selectors.EVENT_READ, opening)
        except Exception as error:
            raw.close()
            self._tell(host, port, error_text(error))
            return
        displaced = self._openings.add(network, opening)
        if displaced is not None:
            self._turned_away += 1
            self._drop(displaced, "it gave way: too many connections without a proven key")

    def _rest(self, now: float, error: OSError) -> None:
        """Leave new connections to the kernel for a while: the socket would stay readable, and we busy."""
        log.warning("peer port: cannot accept connections (%s); again in %.0f s", _reason(error), REST_S)
        self._turned_away += 1
        self._selector.unregister(self._server)
        self._rests_until = now + REST_S

    def _advance(self, opening: _Opening) -> None:
        """Go on with one connection. Nothing that its bytes can raise may end the thread."""
        if opening not in self._openings:
            return
        try:
            if not opening.advance():
                self._selector.modify(opening.stream, opening.events(), opening)
                return
            key = proven_key(opening.stream.peer_certificate(), self._admission.keys)
            hello = JobHello.decode(bytes(opening.hello))
            if hello is None:
                raise ConnectionError(f"no hello of version {HELLO_VERSION}; update the older agent")
        except Exception as error:
            signer = opening.stream.signer()
            self._drop(opening, f"key {signer[:16]}: {error_text(error)}" if signer else error_text(error))
            return
        self._selector.unregister(opening.stream)
        self._openings.remove(opening)
        self._keep(_Pending(opening.stream, opening.host, hello, key, time.monotonic() + PENDING_TIMEOUT_S))

    def _keep(self, pending: _Pending) -> None:
        """Put a connection among the pending, in place of an older one of the same job and party."""
        with self._changed:
            for old in self._pending:
                if old.hello == pending.hello and old.key == pending.key:
                    self._forget(old)
            displaced = self._pending.add(pending.key, pending)
            if displaced is not None:
                displaced.stream.close()
                self._tell(displaced.host, None, f"key {displaced.key.hex()[:16]} keeps too many waiting")
            self._changed.notify_all()

    def _forget(self, pending: _Pending) -> None:
        self._pending.remove(pending)
        pending.stream.close()

    def _drop(self, opening: _Opening, reason: str) -> None:
        with contextlib.suppress(KeyError):  # a selector that fails to modify has forgotten it already
            self._selector.unregister(opening.stream)
        self._openings.remove(opening)
        opening.stream.close()
        self._tell(opening.host, opening.port, reason)

    def _expire(self, now: float) -> None:
        for opening in self._openings:
            if opening.deadline <= now:
                self._drop(opening, f"no key proved within {OPENING_TIMEOUT_S:.0f} s")
        with self._changed:
            for pending in self._pending:
                if pending.deadline <= now:
                    self._forget(pending)
        if self._rests_until is not None and self._rests_until <= now:
            self._rests_until = None
            self._selector.register(self._server, selectors.EVENT_READ)
        kept_back = self._lines.summary(now)
        if kept_back is not None:
            log.warning("peer port: %d more connections dropped, most of them from %s", *kept_back)

    def _tell(self, host: str, port: int | None, reason: str) -> None:
        """Write why a connection was dropped, unless the log has enough lines about it already."""
        if self._lines.allow(network_of(host), time.monotonic()):
            shown = host if port is None else f"{host}:{port}"
            log.warning("peer port: connection from %s dropped: %s", shown, reason)


def _absent(party: int, turned_away: int) -> PeerTimeout | PortCrowded:
    """Name the party that did not come, unless its connections may have been among those turned away."""
    if turned_away:
        return PortCrowded(
            f"party {party} did not connect in time, but {turned_away} connections were turned away"
            " meanwhile: the log names their addresses; keep them off this port, then propose the job anew"
        )
    return PeerTimeout(
        party,
        f"party {party} did not connect in time; check that its agent runs and has accepted the job",
    )


def _reason(error: OSError) -> str:
    """Return the plain text of an errno: the socket module's own texts repeat the address."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


def _admit(key: PrivateKey, accepted: Iterable[bytes]) -> _Admission:
    keys = frozenset(accepted)
    context = server_context(key, keys)
    context.num_tickets = 0  # links are never resumed; unread tickets would turn a close into a reset
    return _Admission(context, keys)
