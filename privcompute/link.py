"""Framed TLS links between the parties of one job, driven from a worker thread.

A frame is a 32-byte header (channel tag 16, stage 4, sequence 4, length 8; big-endian) and its payload.
The channel tag is a hash of job, sender and receiver, so a frame of another job, direction or peer never
passes. The header is judged before a byte is allocated for the payload. Each direction keeps a running
SHA-256 over all its frames; both ends can compare it.

All peers of a round are written to and read from at the same time (non-blocking sockets, one poll), so a
round cannot deadlock however large its messages are.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from chain.primitives.crypto import digest
from privcompute.engine import Received, Round, as_bytes
from privcompute.errors import Cancelled, PeerFault, PeerGone, PeerMisbehaved, PeerTimeout, ProgramFault
from privcompute.tls_stream import TlsStream

HEADER = struct.Struct(">16sIIQ")
RECORD_BYTES = 16_384
"""The largest TLS record; the header travels in the first one together with payload."""
IDLE_TIMEOUT_S = 60.0
"""A peer that makes no progress for this long has timed out."""
_EMPTY = memoryview(b"")


class Cancellation:
    """A switch that stops a job's worker thread from another thread, also while it waits for peers."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._reason: str | None = None

    def cancel(self, reason: str) -> None:
        """Make every wait of the job raise Cancelled(reason), now and later."""
        if self._reason is None:
            self._reason = reason
            os.write(self._writer, b"\0")

    def check(self) -> None:
        """Raise Cancelled if the switch was thrown."""
        if self._reason is not None:
            raise Cancelled(f"stopped by this party: {self._reason}")

    def pause(self, seconds: float) -> None:
        """Sleep, unless and until the switch is thrown; then raise Cancelled."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.poll(seconds * 1000)
        self.check()

    def fileno(self) -> int:
        """A descriptor that becomes readable at cancellation."""
        return self._reader

    def __del__(self) -> None:
        for descriptor in (self._reader, self._writer):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def channel_tag(job_id: bytes, sender: int, receiver: int) -> bytes:
    """Return the 16 bytes that mark every frame of one direction of one job's link."""
    return digest("assent/mpc-channel", job_id, bytes((sender, receiver)))[:16]


@dataclass(frozen=True, slots=True)
class Transcript:
    """Running hashes of the two directions of a link (32 bytes each)."""

    sent: bytes
    received: bytes


class _Direction:
    """Sequence number, running hash and byte count of one direction."""

    def __init__(self, job_id: bytes, sender: int, receiver: int) -> None:
        self.tag = channel_tag(job_id, sender, receiver)
        self.sequence = 0
        self.bytes = 0
        self.hash = hashlib.sha256(digest("assent/mpc-transcript", job_id, bytes((sender, receiver))))

    def header(self, stage: int, length: int) -> bytes:
        """Return the header of the next frame."""
        return HEADER.pack(self.tag, stage, self.sequence, length)

    def advance(self, length: int) -> None:
        self.sequence += 1
        self.bytes += HEADER.size + length


class Link:
    """One authenticated connection to one peer of one job."""

    def __init__(self, stream: TlsStream, job_id: bytes, me: int, peer: int) -> None:
        stream.widen()
        self.peer = peer
        self._stream = stream
        self._out = _Direction(job_id, me, peer)
        self._in = _Direction(job_id, peer, me)
        self._outgoing: list[memoryview] = []
        self._header = bytearray(HEADER.size)
        self._filled = 0
        self._payload: memoryview | None = None
        self._unhashed_out: list[memoryview] = []
        self._unhashed_in: list[memoryview] = []

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._stream.fileno()

    @property
    def sent_bytes(self) -> int:
        """Bytes sent in frames, headers included, TLS excluded."""
        return self._out.bytes

    def transcript(self) -> Transcript:
        """Return the running hashes of both directions so far."""
        self.settle()
        return Transcript(self._out.hash.digest(), self._in.hash.digest())

    def begin_send(self, stage: int, payload: memoryview) -> None:
        """Queue one frame; header and first bytes share a TLS record. The previous one must be out."""
        header = self._out.header(stage, payload.nbytes)
        head = RECORD_BYTES - HEADER.size
        self._outgoing = [memoryview(header + bytes(payload[:head]))]
        if payload.nbytes > head:
            self._outgoing.append(payload[head:])
        self._unhashed_out += [memoryview(header), payload]
        self._out.advance(payload.nbytes)

    def push(self) -> bool:
        """Write what the socket takes; tell whether the frame is out. Raises PeerGone."""
        try:
            while self._outgoing:
                view = self._outgoing[0]
                taken = self._stream.write(view)
                if taken == 0:
                    return False
                self._outgoing[:1] = [view[taken:]] if taken < view.nbytes else []
            return self._stream.flush()
        except OSError as error:
            raise self._gone(error) from None

    def pull(self, stage: int, limit: int, exact: bool) -> memoryview | None:
        """Read what has arrived; return the payload when it is whole. Raises PeerGone, PeerMisbehaved."""
        if self._payload is None:
            if not self._fill(memoryview(self._header)):
                return None
            length = self._judge(stage, limit, exact)
            self._filled = 0
            self._payload = memoryview(np.empty(length, dtype=np.uint8).data) if length else _EMPTY
        if not self._fill(self._payload):
            return None
        payload, self._payload, self._filled = self._payload, None, 0
        self._unhashed_in += [memoryview(bytes(self._header)), payload]
        self._in.advance(payload.nbytes)
        return payload.toreadonly()

    def settle(self) -> None:
        """Bring the running hashes up to date: done while waiting, off the critical path."""
        for view in self._unhashed_out:
            self._out.hash.update(view)
        for view in self._unhashed_in:
            self._in.hash.update(view)
        self._unhashed_out.clear()
        self._unhashed_in.clear()

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def _fill(self, view: memoryview) -> bool:
        while self._filled < view.nbytes:
            try:
                count = self._stream.read_into(view[self._filled :])
            except OSError as error:
                raise self._gone(error) from None
            if count == 0:
                return False
            self._filled += count
        return True

    def _judge(self, stage: int, limit: int, exact: bool) -> int:
        tag, its_stage, sequence, length = HEADER.unpack(self._header)
        if tag != self._in.tag:
            raise self._misbehaved("a frame of another job or channel")
        if (its_stage, sequence) != (stage, self._in.sequence):
            raise self._misbehaved(
                f"frame {sequence} of stage {its_stage}, expected {self._in.sequence} of stage {stage}"
            )
        if length > limit or (exact and length != limit):
            raise self._misbehaved(
                f"a frame of {length} bytes, {'expected' if exact else 'allowed are'} {limit}"
            )
        return int(length)

    def _misbehaved(self, text: str) -> PeerMisbehaved:
        return PeerMisbehaved(
            self.peer, f"party {self.peer} sent {text}; the job is aborted, keep the transcript"
        )

    def _gone(self, error: OSError) -> PeerGone:
        return PeerGone(
            self.peer,
            f"the link to party {self.peer} broke ({error}); check its agent, then propose the job anew",
        )


class Links:
    """All links of one party in one job, and what they carried."""

    def __init__(
        self,
        links: Mapping[int, Link],
        *,
        deadline: float,
        cancellation: Cancellation | None = None,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> None:
        """Take one link per peer. `deadline` is a `time.monotonic()` value that ends every wait."""
        self._links = dict(links)
        self._deadline = deadline
        self._idle_timeout_s = idle_timeout_s
        self.cancellation = cancellation or Cancellation()
        self.rounds = 0

    @property
    def peers(self) -> tuple[int, ...]:
        """Indices of the peers, ascending."""
        return tuple(sorted(self._links))

    @property
    def sent_bytes(self) -> int:
        """Bytes sent in frames to all peers, headers included, TLS excluded."""
        return sum(link.sent_bytes for link in self._links.values())

    def transcripts(self) -> dict[int, Transcript]:
        """Return the running hashes of every link, by peer."""
        return {peer: link.transcript() for peer, link in sorted(self._links.items())}

    def channel_hash(self, me: int, peer: int) -> bytes:
        """Return one hash over both directions of a link: equal at both of its ends."""
        seen = self._links[peer].transcript()
        first, second = (seen.sent, seen.received) if me < peer else (seen.received, seen.sent)
        return digest("assent/mpc-channel-transcript", first, second)

    def exchange(self, step: Round, stage: int) -> Received:
        """Carry out one round; raise a PeerFault that names the peer, or Cancelled."""
        self.cancellation.check()
        unknown = (set(step.send) | set(step.receive)) - set(self._links)
        if unknown:
            raise ProgramFault(f"a round with parties {sorted(unknown)}, linked are {list(self.peers)}")
        self.rounds += bool(step.send or step.receive)
        sending = self._start(step, stage)
        waiting = {self._links[peer]: limit for peer, limit in step.receive.items()}
        received: dict[int, memoryview] = {}
        idle_since = time.monotonic()
        while True:
            sending = [link for link in sending if not link.push()]
            for link, limit in list(waiting.items()):
                payload = link.pull(stage, limit, step.exact)
                if payload is not None:
                    received[link.peer] = payload
                    del waiting[link]
                    idle_since = time.monotonic()
            if not sending and not waiting:
                return received
            idle_since = self._wait(sending, list(waiting), idle_since)

    def close(self) -> None:
        """Close every link."""
        for link in self._links.values():
            link.close()

    def _start(self, step: Round, stage: int) -> list[Link]:
        sending = []
        for peer, message in step.send.items():
            link = self._links[peer]
            link.begin_send(stage, as_bytes(message))
            if not link.push():
                sending.append(link)
        for peer in {*step.send, *step.receive}:
            self._links[peer].settle()
        return sending

    def _wait(self, sending: list[Link], waiting: list[Link], idle_since: float) -> float:
        poll = select.poll()
        poll.register(self.cancellation, select.POLLIN)
        for link in waiting:
            poll.register(link, select.POLLIN)
        for link in sending:
            poll.register(link, select.POLLOUT | (select.POLLIN if link in waiting else 0))
        now = time.monotonic()
        remaining = min(self._deadline, idle_since + self._idle_timeout_s) - now
        events = poll.poll(max(0.0, remaining) * 1000)
        self.cancellation.check()
        if not events:
            raise self._timeout(sending + waiting)
        return time.monotonic()

    def _timeout(self, late: list[Link]) -> PeerFault:
        names = sorted({link.peer for link in late})
        return PeerTimeout(
            names[0],
            f"no progress with part{'ies' if len(names) > 1 else 'y'} {', '.join(map(str, names))} in time;"
            " check agent and network there, then propose the job anew",
        )
