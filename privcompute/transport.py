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

__all__ = ["Cancellation", "Links", "Peer", "PeerListener", "Transcript", "connect_peers", "run_party"]

SOCKET_BUFFER_BYTES = 4 << 20
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
                connection = _dial(Hello(job_id, me, party), peers[party], key, deadline, cancellation)
            else:
                wanted = Hello(job_id, party, me)
                connection = listener.claim(wanted, peers[party][2], deadline, cancellation)
                _answer(connection, Hello(job_id, me, party))
            links[party] = Link(connection, job_id, me, party)
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


def _tune(raw: socket.socket) -> None:
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        raw.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)


def _answer(connection: ssl.SSLSocket, hello: Hello) -> None:
    _tune(connection)
    connection.settimeout(OPENING_TIMEOUT_S)
    try:
        connection.sendall(hello.encode())
    except OSError as error:
        connection.close()
        raise PeerGone(hello.receiver, f"party {hello.receiver} left while connecting ({error})") from None


def _dial(
    hello: Hello, peer: Peer, key: PrivateKey, deadline: float, cancellation: Cancellation
) -> ssl.SSLSocket:
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
) -> ssl.SSLSocket:
    limit = min(deadline, time.monotonic() + OPENING_TIMEOUT_S) - time.monotonic()
    raw = socket.create_connection(address, timeout=max(limit, TICK_S))
    connection: ssl.SSLSocket | None = None
    try:
        _tune(raw)
        connection = context.wrap_socket(raw, server_side=False)
        connection.sendall(hello.encode())
        answer = _await_answer(connection, deadline, cancellation)
        if answer != Hello(hello.job_id, hello.receiver, hello.sender):
            raise PeerMisbehaved(
                hello.receiver, f"party {hello.receiver} answered our hello with another job"
            )
    except BaseException:
        with contextlib.suppress(OSError):
            (connection or raw).close()
        raise
    return connection


def _await_answer(connection: ssl.SSLSocket, deadline: float, cancellation: Cancellation) -> Hello | None:
    """Wait until the peer's job claims our connection and answers."""
    data = b""
    connection.settimeout(TICK_S)
    while len(data) < HELLO.size:
        cancellation.check()
        try:
            part = connection.recv(HELLO.size - len(data))
        except TimeoutError:
            if time.monotonic() >= deadline:
                raise
            continue
        if not part:
            raise ConnectionError("the agent closed the connection")
        data += part
    return Hello.decode(data)
