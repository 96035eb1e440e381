"""Connections between the agents of a job: one TLS 1.3 link per job and peer.

The party with the higher index dials; the other's listener (listener.py) keeps the connection until the
job's worker claims it and answers the hello with one of its own.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Mapping
from typing import TypeVar

from chain.primitives.crypto import PrivateKey
from chain.primitives.tls import client_context
from privcompute.engine import Steps, as_round
from privcompute.errors import PeerGone, PeerMisbehaved
from privcompute.link import IDLE_TIMEOUT_S, Cancellation, Link, Links, Transcript
from privcompute.listener import HELLO, OPENING_TIMEOUT_S, TICK_S, Hello, PeerListener
from privcompute.tls_stream import TlsStream

__all__ = ["Cancellation", "Links", "Peer", "PeerListener", "Transcript", "connect_peers", "run_party"]

RETRY_S = (0.05, 1.0)
"""First and greatest pause between attempts to reach a peer."""

T = TypeVar("T")
Peer = tuple[str, int, bytes]
"""(host, port, 32-byte public key) of an agent, as registered on chain."""


def connect_peers(
    job_id: bytes,
    me: int,
    peers: Mapping[int, Peer],
    key: PrivateKey,
    listener: PeerListener,
    deadline: float,
    *,
    cancellation: Cancellation | None = None,
    idle_timeout_s: float = IDLE_TIMEOUT_S,
) -> Links:
    """Return links to all peers of a job (32-byte id), each proven to hold its registered key.

    `deadline` (a `time.monotonic()` value) bounds connecting and everything that the links carry later.
    Raises PeerGone, PeerTimeout or PeerMisbehaved naming the party, or Cancelled.
    """
    cancellation = cancellation or Cancellation()
    links: dict[int, Link] = {}
    try:
        for party in sorted(set(peers) - {me}):
            if party < me:
                stream = _dial(Hello(job_id, me, party), peers[party], key, deadline, cancellation)
            else:
                wanted = Hello(job_id, party, me)
                stream = listener.claim(wanted, peers[party][2], deadline, cancellation)
                _answer(stream, Hello(job_id, me, party))
            links[party] = Link(stream, job_id, me, party)
    except BaseException:
        for link in links.values():
            link.close()
        raise
    return Links(links, deadline=deadline, cancellation=cancellation, idle_timeout_s=idle_timeout_s)


def run_party(protocol: Steps[T], links: Links, stage: int = 0) -> T:
    """Drive one party's protocol over its links to its end and return its result.

    Every frame carries `stage`; all parties number their stages alike.
    """
    try:
        step = next(protocol)
        while True:
            step = protocol.send(links.exchange(as_round(step), stage))
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        protocol.close()


def _answer(stream: TlsStream, hello: Hello) -> None:
    try:
        _send(stream, hello.encode(), time.monotonic() + OPENING_TIMEOUT_S)
    except OSError as error:
        stream.close()
        raise PeerGone(hello.receiver, f"party {hello.receiver} left while connecting ({error})") from None


def _send(stream: TlsStream, data: bytes, deadline: float) -> None:
    stream.write(memoryview(data))
    while not stream.flush():
        stream.wait(deadline, write=True)


def _dial(
    hello: Hello, peer: Peer, key: PrivateKey, deadline: float, cancellation: Cancellation
) -> TlsStream:
    """Connect, say hello and wait for the answer, again and again until the deadline."""
    host, port, public = peer
    context = client_context(key, [public])
    pause, greatest = RETRY_S
    problem: object = "not tried yet"
    while time.monotonic() < deadline:
        cancellation.check()
        try:
            return _attempt(hello, (host, port), context, deadline, cancellation)
        except ssl.SSLCertVerificationError:
            raise PeerMisbehaved(
                hello.receiver,
                f"party {hello.receiver}: the agent at {host}:{port} does not hold the key registered for it;"
                " check its address on chain",
            ) from None
        except OSError as error:
            problem = error
        cancellation.pause(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2 * pause, greatest)
    raise PeerGone(
        hello.receiver,
        f"party {hello.receiver}: no link to its agent at {host}:{port} in time ({problem});"
        " check that it runs, shows this job, and knows our key",
    )


def _attempt(
    hello: Hello,
    address: tuple[str, int],
    context: ssl.SSLContext,
    deadline: float,
    cancellation: Cancellation,
) -> TlsStream:
    opening_ends = min(deadline, time.monotonic() + OPENING_TIMEOUT_S)
    raw = socket.create_connection(address, timeout=max(opening_ends - time.monotonic(), TICK_S))
    stream = TlsStream(raw, context, server_side=False)
    try:
        while not stream.handshake():
            stream.wait(opening_ends, write=stream.writing)
        _send(stream, hello.encode(), opening_ends)
        answer = _await_answer(stream, deadline, cancellation)
        if answer != Hello(hello.job_id, hello.receiver, hello.sender):
            raise PeerMisbehaved(
                hello.receiver, f"party {hello.receiver} answered our hello with another job"
            )
    except BaseException:
        stream.close()
        raise
    return stream


def _await_answer(stream: TlsStream, deadline: float, cancellation: Cancellation) -> Hello | None:
    """Wait until the peer's job claims our connection and answers."""
    data, filled = bytearray(HELLO.size), 0
    while filled < HELLO.size:
        count = stream.read_into(memoryview(data)[filled:])
        filled += count
        if count == 0:
            cancellation.check()
            with contextlib.suppress(TimeoutError):
                stream.wait(min(deadline, time.monotonic() + TICK_S))
            if time.monotonic() >= deadline:
                raise TimeoutError("its agent did not take up the job in time")
    return Hello.decode(bytes(data))
