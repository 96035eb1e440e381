"""Framed TLS links between the parties of one job, driven from a worker thread.

A frame is a 32-byte header (channel tag 16, stage 4, sequence 4, length 8; big-endian) and its payload.
The channel tag is a hash of job, sender and receiver, so a frame of another job, direction or peer never
passes. The header is judged before a byte is allocated for the payload. Each direction keeps a running
SHA-256 over all its frames; both ends can compare it.

Between frames travel *pulses* (pulse.py), which are no part of the transcript. They leave from a thread of
their own while the worker computes, so whatever touches the stream holds the link's lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from dataclasses import dataclass

import numpy as np

from chain.primitives.crypto import digest
from privcompute.errors import PeerMisbehaved
from privcompute.net.blame import Witness
from privcompute.net.pulse import HEADER, PULSE_STAGE, Pulse, pulses_allowed
from privcompute.net.tls_stream import TlsStream

RECORD_BYTES = 16_384
"""The largest TLS record; the header travels in the first one together with payload."""
READS_MAX = 4_096
"""Reads for one step: a payload may come in records of one byte each, and deadlines count meanwhile."""
CROWDED_BYTES = 65_536
"""With so much unread, nothing further may find room: whether more comes cannot be told."""
_EMPTY = memoryview(b"")


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


class PeerLink:
    """One authenticated connection to one peer of one job."""

    def __init__(self, stream: TlsStream, job_id: bytes, me: int, peer: int) -> None:
        stream.widen()
        self.me, self.peer = me, peer
        self.broken = ""
        """Why the connection ended; "" while it stands."""
        self._lock = threading.Lock()
        self._opened: float | None = None
        """When we listened first."""
        self._heard_at = 0.0
        self._arrived = 0
        self._pulses = 0
        self._pulse = Pulse()
        self._stream = stream
        self._out = _Direction(job_id, me, peer)
        self._in = _Direction(job_id, peer, me)
        self._outgoing: list[memoryview] = []
        self._header = bytearray(HEADER.size)
        self._filled = 0
        self._payload: memoryview | None = None
        self.has_more = False
        """Bytes may wait inside the TLS layer, where no poll sees them: pull again without waiting."""
        self.charged_s = 0.0
        """Time that we waited for this peer and can hold against nobody else."""
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
        """Write what the socket takes; tell whether the frame is out."""
        with self._lock:
            try:
                while self._outgoing:
                    view = self._outgoing[0]
                    taken = self._stream.write(view)
                    if taken == 0:
                        return False
                    self._outgoing[:1] = [view[taken:]] if taken < view.nbytes else []
                return self._stream.flush()
            except OSError as error:
                self.broken = self.broken or str(error)
                return False

    def beat(self, pulse: Pulse) -> None:
        """Send a pulse, unless something else is under way, which shows as well that we live."""
        with self._lock, contextlib.suppress(OSError):  # a broken link shows where it is read
            if not self._outgoing and self._stream.flush():
                self._stream.write(memoryview(pulse.encode(self._out.tag)))
                self._stream.flush()

    def listen(self, now: float) -> None:
        """Look whether anything has arrived since we listened last, read or not."""
        with self._lock, contextlib.suppress(OSError):
            arrived, unread = self._stream.arrived()
            if self._opened is None:
                self._opened = now
            elif arrived == self._arrived and unread < CROWDED_BYTES:
                return
            self._arrived, self._heard_at = arrived, now

    def witness(self, now: float) -> Witness:
        """Return what we see of the peer."""
        return Witness(self._pulse, now - self._heard_at, bool(self.broken), self.inside_frame)

    def hear(self) -> None:
        """Take in pulses that have arrived, up to the next frame. Raises PeerMisbehaved."""
        with self._lock:
            if self._payload is None:
                self._hear()

    def attend(self) -> None:
        """Take in what a poll has seen on a link that no frame is awaited from. Raises PeerMisbehaved."""
        if self.ahead:
            self.broken = self.broken or "closed by the other side"
        else:
            self.hear()

    @property
    def ahead(self) -> bool:
        """The header of a frame has arrived: what comes after it stays unread until the frame is wanted."""
        return self._payload is not None or self._filled == HEADER.size

    @property
    def inside_frame(self) -> bool:
        """Part of a frame has arrived: the peer has all it needs to send the rest."""
        return self._payload is not None or self._filled > 0

    def pull(self, stage: int, limit: int, exact: bool) -> memoryview | None:
        """Read what has arrived; return the payload when it is whole. Raises PeerMisbehaved."""
        with self._lock:
            if self._payload is None:
                if not self._hear():
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

    def _hear(self) -> bool:
        """Read on; tell whether the header of a frame has arrived."""
        while self._fill(memoryview(self._header)):
            tag, stage, step, word = HEADER.unpack(self._header)
            if (tag, stage) != (self._in.tag, PULSE_STAGE):
                return True
            self._filled = 0
            self._take(Pulse.decode(step, word))
        return False

    def _take(self, pulse: Pulse | None) -> None:
        """Take in a pulse that an honest party may have sent. Raises PeerMisbehaved."""
        if pulse is None or pulse.speaks_of(self.peer) or pulse.step < self._pulse.step:
            raise self._misbehaved("a pulse that makes no sense")
        self._pulses += 1
        allowed = pulses_allowed(0.0 if self._opened is None else self._heard_at - self._opened)
        if self._pulses > allowed:
            raise self._misbehaved(f"more than {allowed} pulses in the time that we are linked")
        self._pulse = pulse

    def _fill(self, view: memoryview) -> bool:
        self.has_more = False
        for _ in range(READS_MAX):
            if self._filled == view.nbytes:
                return True
            try:
                count = self._stream.read_into(view[self._filled :])
            except OSError as error:
                self.broken = self.broken or str(error)
                return False
            if count == 0:
                return False
            self._filled += count
        self.has_more = self._filled < view.nbytes
        return not self.has_more

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
