"""Asking a holder for what it hands out of a job: one short connection, which may be made again at any time.

Whoever asks dials the holder's port as for a job, with a hello that names the job's *release* in its place;
both ends prove their registered keys. The holder's answer is its hello, a length and a value: what it hands
out, or why not. Asking changes nothing at the holder, so a receiver that was killed, or could not write, asks
again.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping

from chain.primitives.crypto import PrivateKey, digest
from chain.primitives.errors import DecodeError
from chain.primitives.tls import client_context
from chain.primitives.values import decode_value, encode_value
from chain.primitives.visible import error_text
from privcompute.errors import HolderRefused, PeerGone, PeerMisbehaved
from privcompute.net.cancellation import Cancellation
from privcompute.net.hello import JobHello
from privcompute.net.links import LEAST_BYTES_PER_S
from privcompute.net.listener import OPENING_TIMEOUT_S, TICK_S
from privcompute.net.tls_stream import TlsStream
from privcompute.net.transport import Peer, attempt, greet, send

LENGTH_BYTES = 8
ASK_TIMEOUT_S = 20.0
"""From dialling to the length of the answer: the holder asks its own node first."""
CODE_CHARS_MAX = 64
_CHUNK = 1 << 18


def release_id(job: bytes) -> bytes:
    """Return the 32 bytes that a hello names in the place of the job when it asks for its release."""
    return digest("assent/release-of-job", job)


def ask(
    job: bytes, me: int, party: int, peer: Peer, key: PrivateKey, most: int, cancellation: Cancellation
) -> dict[str, bytes]:
    """Return what `party` hands to us (`me`) of a job (32-byte id); empty for nothing yet.

    It has at most `most` bytes. Raises PeerGone, PeerMisbehaved, HolderRefused or Cancelled.
    """
    hello, deadline = JobHello(release_id(job), me, party), time.monotonic() + ASK_TIMEOUT_S
    try:
        stream = attempt(hello, peer, client_context(key, [peer[2]]), deadline, cancellation)
        try:
            length = int.from_bytes(_read(stream, LENGTH_BYTES, deadline, cancellation), "big")
            if length > most:
                raise PeerMisbehaved(
                    party, f"party {party} hands out {length} bytes, expected are at most {most}"
                )
            content = _read(stream, length, deadline + length / LEAST_BYTES_PER_S, cancellation)
        finally:
            stream.close()
    except ssl.SSLCertVerificationError:
        raise PeerMisbehaved(
            party, f"party {party}: the agent at {peer[0]}:{peer[1]} does not hold the key registered for it"
        ) from None
    except (OSError, UnicodeError, OverflowError) as error:  # the address is the peer's own text
        raise PeerGone(
            party,
            f"party {party}: its agent at {peer[0]}:{peer[1]} handed out nothing ({error_text(error)}); check"
            " that it runs",
        ) from None
    return _handed(party, content)


def hand_over(stream: TlsStream, hello: JobHello, content: Mapping[str, bytes] | str) -> None:
    """Answer whoever asked with this hello, and close; `content` is a refusal's code if it is text."""
    answer = encode_value(content if isinstance(content, str) else dict(content))
    deadline = time.monotonic() + OPENING_TIMEOUT_S + len(answer) / LEAST_BYTES_PER_S
    try:
        greet(stream, JobHello(hello.job_id, hello.receiver, hello.sender))
        data = len(answer).to_bytes(LENGTH_BYTES, "big") + answer
        for start in range(0, len(data), _CHUNK):
            send(stream, data[start : start + _CHUNK], deadline)
    finally:
        stream.close()


def _read(stream: TlsStream, length: int, deadline: float, cancellation: Cancellation) -> bytes:
    """Read exactly so many bytes; raise OSError, TimeoutError at the deadline, or Cancelled."""
    data, part = bytearray(), bytearray(_CHUNK)
    while len(data) < length:
        count = stream.read_into(memoryview(part)[: min(_CHUNK, length - len(data))])
        data += part[:count]
        if count == 0:
            cancellation.check()
            if time.monotonic() >= deadline:
                raise TimeoutError("no whole answer in time")
            try:
                stream.wait(min(deadline, time.monotonic() + TICK_S))
            except TimeoutError:
                continue
    return bytes(data)


def _handed(party: int, content: bytes) -> dict[str, bytes]:
    try:
        said = decode_value(content, max_bytes=len(content))
    except DecodeError as error:
        raise PeerMisbehaved(party, f"party {party} handed out no value: {error}") from None
    if isinstance(said, str):
        raise HolderRefused(party, f"party {party} hands out nothing: {said[:CODE_CHARS_MAX]!r}")
    if not isinstance(said, dict) or not all(isinstance(one, bytes) for one in said.values()):
        raise PeerMisbehaved(party, f"party {party} handed out something else than messages")
    return dict(said)
