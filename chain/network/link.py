"""One authenticated connection: frames in, frames out, over TLS 1.3.

asyncio.Protocol rather than streams: no task and no future per frame,
writes of one loop turn leave as one TLS record run, and at most one transport buffer's worth is out of the
outbox's reach, so urgent frames overtake queued gossip.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from time import perf_counter
from typing import Protocol, cast

from chain.network.frame import ANSWERS, FrameReader, Kind, ProtocolBreach, encode_frame
from chain.network.messages import Hello
from chain.network.outbox import Outbox, is_urgent
from chain.primitives.codec import decode, encode
from chain.primitives.errors import AssentError, CertificateInvalid
from chain.primitives.tls import issuer_key, peer_key
from chain.primitives.visible import clipped

PING_S = 3.0
SILENCE_MAX_S = 15.0
HELLO_MAX_S = 10.0
OWN_STALL_S = 2.0
TRANSPORT_BYTES_MAX = 262_144
RECEIVE_BYTES_PER_S = 134_217_728
RECEIVE_FRAMES_PER_S = 20_000
"""Beyond these a link is not read until the next tick; what frames cost is bounded by the peer's account."""
SERVE_S = 0.01
"""A request that waits for its turn is looked at so often: at most one of a link at a time."""
TURN_S = 0.002
"""A link hands on frames for so long, then the others, timers and clients have their turn."""
REASON_CHARS_MAX = 400
REFUSED = "refused"
"""The code of a connection that the peer ended before it greeted."""


class LinkOwner(Protocol):
    """Whoever decides what a link's events mean."""

    def opened(self, link: Link) -> Hello:
        """Return our greeting, now that `link.peer` is known; raise NetworkError to refuse the peer."""

    def greeted(self, link: Link, hello: Hello) -> None:
        """Admit the peer that greeted, or raise NetworkError."""

    def received(self, link: Link, kind: Kind, body: bytes) -> None:
        """Handle one frame of an admitted peer; an AssentError is the peer's fault and closes the link."""

    def serve(self, link: Link) -> bool:
        """Handle a frame that waited, if its turn has come; tell whether to call again."""

    def grants(self, link: Link, kind: Kind, body: bytes) -> bool:
        """Tell whether a frame that the link answers itself is within the peer's share."""

    def offended(self, link: Link, error: AssentError) -> None:
        """Note that what the peer sent is at fault; the link closes after this."""

    def closed(self, link: Link) -> None:
        """Forget the link, `link.reason` says why it closed; called once, also when it was never admitted."""


class Link(asyncio.Protocol):
    """One connection; `dialled` tells whether our side opened it. All methods run in the event loop."""

    def __init__(self, owner: LinkOwner, *, dialled: bool, now: float, queue_bytes: int) -> None:
        self._owner = owner
        self.dialled = dialled
        self.peer = b""
        self.host = self.address = ""
        self.hello: Hello | None = None
        self.opened_at = self.heard_at = self._pinged_at = now
        self.round_trip_s: float | None = None
        self.outbox = Outbox(queue_bytes)
        self.frames: Counter[str] = Counter()
        """Frames received, by kind name."""
        self.bytes_in = self.bytes_out = 0
        self._owed: Counter[Kind] = Counter()
        self._reader = FrameReader(self._admit)
        self._transport: asyncio.Transport | None = None
        self._blocked_since: float | None = None
        self._flush_due = False
        self._bytes_left, self._frames_left = RECEIVE_BYTES_PER_S, RECEIVE_FRAMES_PER_S
        self._slow_until = 0.0
        self._reading = True
        self._serving: asyncio.TimerHandle | None = None
        self._turn_due = False
        """Frames are at hand, and a turn to handle them is arranged."""
        self.reason = self.code = ""
        """Why it closed, for people and for counters; empty while it is open."""
        self.told = ""
        """The code that the peer gave when it closed the connection; its word."""
        self.lost = asyncio.Event()

    @property
    def closing(self) -> bool:
        """Tell whether the connection is closed, or closing."""
        return bool(self.reason)

    # --- called by asyncio --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over after the TLS handshake: learn the peer's key and greet."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=TRANSPORT_BYTES_MAX)
        name = transport.get_extra_info("peername")
        self.host, self.address = (name[0], f"{name[0]}:{name[1]}") if name else ("", "?")
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        self.peer = issuer_key(tls)
        try:
            if peer_key(tls.getpeercert(binary_form=True)) != self.peer:
                raise CertificateInvalid("the certificate shows another key than the one that signed it")
            greeting = self._owner.opened(self)
        except AssentError as error:
            self._owner.offended(self, error)
            self.close(str(error), error.code)
            return
        self.send(Kind.HELLO, encode_frame(Kind.HELLO, encode(greeting)))

    def data_received(self, data: bytes) -> None:
        """Take what arrived and hand on the frames that are whole."""
        if self.reason:
            return
        self.heard_at = asyncio.get_running_loop().time()
        self.bytes_in += len(data)
        self._bytes_left -= len(data)
        self._reader.feed(data)
        if not self._turn_due:
            self._hand_on()

    def pause_writing(self) -> None:
        """Keep frames in the outbox: the transport holds enough."""
        self._blocked_since = asyncio.get_running_loop().time()

    def resume_writing(self) -> None:
        """Send what gathered meanwhile."""
        self._blocked_since = None
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:
        """Report the end, with the reason that came first."""
        self._transport = None
        if self._serving is not None:
            self._serving.cancel()
        if not self.reason:
            self.reason, self.code = _explain(error, greeted=self.hello is not None)
        self.outbox.clear()
        self.lost.set()
        self._owner.closed(self)

    # --- called by the owner ------------------------------------------------------------------

    def send(self, kind: Kind, frame: bytes) -> bool:
        """Queue one encoded frame; False when it was dropped or the peer turned out too slow."""
        if self.reason:
            return False
        if not self.outbox.put(kind, frame):
            if is_urgent(kind):
                self.abort(f"too slow: {self.outbox.queued_bytes} bytes wait to be sent", "too_slow")
            return False
        if kind in ANSWERS:
            self._owed[ANSWERS[kind]] += 1
        if not self._flush_due and self._blocked_since is None:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)
        return True

    def close(self, reason: str, code: str) -> None:
        """Tell the peer why and close; frames still queued are given up."""
        if self.reason:
            return
        self.reason, self.code = reason, code
        if self._transport is not None:
            said = f"{code}: {clipped(reason, REASON_CHARS_MAX)}".encode()[:512]
            self._transport.write(encode_frame(Kind.BYE, said))
            self._transport.close()

    def abort(self, reason: str, code: str) -> None:
        """Close without waiting for a peer that does not read."""
        if not self.reason:
            self.reason, self.code = reason, code
        if self._transport is not None:
            self._transport.abort()

    def tick(self, now: float, elapsed: float) -> None:
        """Renew the receive budget, ping a silent peer, give up a dead one; `elapsed` s since the last."""
        self._bytes_left = int(RECEIVE_BYTES_PER_S * elapsed)
        self._frames_left = int(RECEIVE_FRAMES_PER_S * elapsed)
        if self._transport is None:
            return
        if elapsed > OWN_STALL_S:  # we slept, not the peer: what it sent meanwhile is still unread
            self.heard_at += elapsed
            self._blocked_since = None if self._blocked_since is None else self._blocked_since + elapsed
        if not self._reading:
            self.heard_at = now  # we did not listen
            self._hand_on()
        if self._blocked_since is not None and now - self._blocked_since > SILENCE_MAX_S:
            self.abort(f"reads nothing for {SILENCE_MAX_S:.0f} s", "too_slow")
        elif now - self.heard_at > SILENCE_MAX_S:
            self.abort(f"silent for {SILENCE_MAX_S:.0f} s", "silent")
        elif self.hello is None and now - self.opened_at > HELLO_MAX_S:
            self.abort(f"no greeting within {HELLO_MAX_S:.0f} s", "silent")
        elif now - self._pinged_at > PING_S and self.hello is not None:
            self._pinged_at = now
            self.send(Kind.PING, encode_frame(Kind.PING, int(now * 1e6).to_bytes(8, "big")))

    def slow_down(self, until: float) -> None:
        """Hand on nothing more before a time of the loop; a tick goes on after it."""
        self._slow_until = max(self._slow_until, until)

    def serve_later(self) -> None:
        """Ask the owner soon to handle a frame that waits."""
        if self._serving is None and not self.closing:
            self._serving = asyncio.get_running_loop().call_later(SERVE_S, self._serve)

    # --- inside -------------------------------------------------------------------------------

    def _serve(self) -> None:
        self._serving = None
        try:
            more = not self.closing and self._owner.serve(self)
        except AssentError as error:
            self._owner.offended(self, error)
            self.close(str(error), error.code)
            return
        if more:
            self.serve_later()

    def _hand_on(self) -> None:
        """Hand on whole frames for one turn; read no further while some are left or the budget is spent."""
        self._turn_due = False
        began = perf_counter()
        try:
            if not self._must_wait():
                for kind, body in self._reader.frames():
                    self._frames_left -= 1
                    self._on_frame(kind, body)
                    if self._must_wait():
                        break
                    if perf_counter() - began > TURN_S:
                        self._turn_due = True
                        break
        except AssentError as error:
            self._owner.offended(self, error)
            self.close(str(error), error.code)
        if self._turn_due:
            asyncio.get_running_loop().call_soon(self._hand_on)
        self._read(not (self._turn_due or self._must_wait()))

    def _must_wait(self) -> bool:
        """Tell whether to hand on nothing more for now, or for ever."""
        spent = self._bytes_left < 0 or self._frames_left < 0
        return spent or self.closing or self._slow_until > asyncio.get_running_loop().time()

    def _read(self, wanted: bool) -> None:
        if self._transport is None or self.closing or wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def _admit(self, kind: Kind) -> None:
        if self.hello is None and kind not in (Kind.HELLO, Kind.BYE):
            raise ProtocolBreach(f"{kind.name} frame before the greeting")
        if kind in _ANSWER_KINDS:
            if self._owed[kind] <= 0:
                raise ProtocolBreach(f"{kind.name} frame that nobody asked for")
            self._owed[kind] -= 1

    def _on_frame(self, kind: Kind, body: bytes) -> None:
        self.frames[kind.name] += 1
        if kind is Kind.PING:
            if self._owner.grants(self, kind, body):
                self.send(Kind.PONG, encode_frame(Kind.PONG, body))
        elif kind is Kind.PONG:
            self.round_trip_s = max(0.0, self.heard_at - int.from_bytes(body, "big") / 1e6)
        elif kind is Kind.BYE:
            said = clipped(body.decode("utf-8", "replace"), REASON_CHARS_MAX)
            self.told = said.partition(": ")[0]
            self.reason = f"closed by the peer: {said}"
            self.code = "closed_by_peer"
            if self._transport is not None:
                self._transport.close()
        elif kind is Kind.HELLO:
            self._on_hello(decode(Hello, body))
        else:
            self._owner.received(self, kind, body)

    def _on_hello(self, hello: Hello) -> None:
        if self.hello is not None:
            raise ProtocolBreach("a second greeting")
        self._owner.greeted(self, hello)
        self.hello = hello

    def _flush(self) -> None:
        self._flush_due = False
        while self.outbox and self._blocked_since is None and self._transport is not None:
            if self.reason:
                return
            data = self.outbox.take()
            self.bytes_out += len(data)
            self._transport.write(data)


_ANSWER_KINDS = frozenset(ANSWERS.values())


def _explain(error: Exception | None, *, greeted: bool) -> tuple[str, str]:
    """Say why a connection ended that nobody closed with a BYE.

    A TLS 1.3 client learns that its certificate was refused only after its own handshake, and the alert
    may be lost with the connection, so an end before the greeting is explained the same way.
    """
    if not greeted:
        return "refused before the greeting: this node's key may not be among the peer's members", REFUSED
    if error is None:
        return "closed by the peer", "closed_by_peer"
    return f"connection lost: {error}", "connection_lost"
