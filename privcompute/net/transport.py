"""Transport: it connects the agents of a job by one TLS 1.3 link per peer.

The party with the higher index dials; the other's listener (listener.py) keeps the connection until the
job's worker claims it and answers the hello with one of its own. Once a party has all its links it says its
hello again on each, and computing starts when every peer has: so a party that links with some of the others
only keeps everybody out, instead of making one of them look late.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from chain.primitives.crypto import PrivateKey
from chain.primitives.tls import client_context, proven_key
from chain.primitives.visible import error_text
from privcompute.errors import PartiesStalled, PeerGone, PeerMisbehaved
from privcompute.net.cancellation import Cancellation
from privcompute.net.hello import HELLO, JobHello
from privcompute.net.links import IDLE_TIMEOUT_S, Links
from privcompute.net.listener import OPENING_TIMEOUT_S, TICK_S, PeerListener
from privcompute.net.peer_link import PeerLink
from privcompute.net.tls_stream import TlsStream

RETRY_S = (0.05, 1.0)
"""First and greatest pause between attempts to reach a peer."""

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
    streams: dict[int, TlsStream] = {}

    def connect(party: int, stopped: Cancellation) -> None:
        if party < me:
            streams[party] = _dial(JobHello(job_id, me, party), peers[party], key, deadline, stopped)
        else:
            wanted = JobHello(job_id, party, me)
            streams[party] = listener.claim(wanted, peers[party][2], deadline, stopped)
            greet(streams[party], JobHello(job_id, me, party))

    try:
        _at_once(sorted(set(peers) - {me}), connect, cancellation)
        if len(streams) > 1:
            _await_everybody(streams, job_id, me, deadline, cancellation)
    except BaseException:
        for stream in streams.values():
            stream.close()
        raise
    links = {party: PeerLink(stream, job_id, me, party) for party, stream in streams.items()}
    made = Links(links, deadline=deadline, cancellation=cancellation, idle_timeout_s=idle_timeout_s)
    made.start_beating()
    return made


def greet(stream: TlsStream, hello: JobHello) -> None:
    """Answer a hello with ours; raise PeerGone, and close, when the peer has left."""
    try:
        send(stream, hello.encode(), time.monotonic() + OPENING_TIMEOUT_S)
    except OSError as error:
        stream.close()
        raise _left(hello.receiver, error) from None


def _at_once(
    parties: Sequence[int], connect: Callable[[int, Cancellation], None], cancellation: Cancellation
) -> None:
    """Connect to all peers side by side: one that is not there must not make us look absent to another.

    Raises what failed first; the other attempts are stopped.
    """
    stopped = Cancellation()
    with ThreadPoolExecutor(max(1, len(parties)), thread_name_prefix="connect") as threads:
        attempts = [threads.submit(connect, party, stopped) for party in parties]
        try:
            left = set(attempts)
            while left:
                cancellation.check()
                done, left = wait(left, TICK_S, FIRST_EXCEPTION)
                for attempt in done:
                    attempt.result()
        finally:
            stopped.cancel("connecting is over")


def _await_everybody(
    streams: Mapping[int, TlsStream], job_id: bytes, me: int, deadline: float, cancellation: Cancellation
) -> None:
    """Tell every peer that we have all our links, and wait until every peer has told us the same."""
    heard = {party: bytearray() for party in streams}
    for party, stream in streams.items():
        greet(stream, JobHello(job_id, me, party))
    while late := [party for party, data in heard.items() if len(data) < HELLO.size]:
        if time.monotonic() >= deadline:
            raise PartiesStalled(
                tuple(late),
                f"linked with every party, but part{'ies' if len(late) > 1 else 'y'} "
                f"{', '.join(map(str, late))} did not get all links in time; the reason is on the ledger if"
                " one of them gave it: propose the job anew",
            )
        poll = select.poll()
        poll.register(cancellation, select.POLLIN)
        for party in late:
            poll.register(streams[party], select.POLLIN)
        poll.poll(min(TICK_S, max(0.0, deadline - time.monotonic())) * 1000)
        cancellation.check()
        for party in late:
            _hear_hello(streams[party], heard[party], JobHello(job_id, party, me))


def _hear_hello(stream: TlsStream, data: bytearray, expected: JobHello) -> None:
    """Read on towards a peer's hello. Raises PeerGone, or PeerMisbehaved for any other bytes."""
    part = bytearray(HELLO.size - len(data))
    try:
        data += part[: stream.read_into(memoryview(part))]
    except OSError as error:
        raise _left(expected.sender, error) from None
    if len(data) == HELLO.size and JobHello.decode(bytes(data)) != expected:
        raise PeerMisbehaved(expected.sender, f"party {expected.sender} opened our link with another hello")


def _left(party: int, error: OSError) -> PeerGone:
    return PeerGone(party, f"party {party} left while connecting ({error}); check its agent")


def send(stream: TlsStream, data: bytes, deadline: float) -> None:
    """Write bytes until all are on their way; raise OSError, TimeoutError at the deadline."""
    stream.write(memoryview(data))
    while not stream.flush():
        stream.wait(deadline, write=True)


def _dial(
    hello: JobHello, peer: Peer, key: PrivateKey, deadline: float, cancellation: Cancellation
) -> TlsStream:
    """Connect, say hello and wait for the answer, again and again until the deadline."""
    host, port, public = peer
    context = client_context(key, [public])
    pause, greatest = RETRY_S
    problem: object = "not tried yet"
    while time.monotonic() < deadline:
        cancellation.check()
        try:
            return attempt(hello, peer, context, deadline, cancellation)
        except ssl.SSLCertVerificationError:
            raise PeerMisbehaved(
                hello.receiver,
                f"party {hello.receiver}: the agent at {host}:{port} does not hold the key registered for it;"
                " check its address on chain",
            ) from None
        except (OSError, UnicodeError, OverflowError) as error:  # the address is the peer's own text
            problem = error_text(error)
        cancellation.pause(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2 * pause, greatest)
    raise PeerGone(
        hello.receiver,
        f"party {hello.receiver}: no link to its agent at {host}:{port} in time ({problem});"
        " check that it runs, shows this job, and knows our key",
    )


def attempt(
    hello: JobHello, peer: Peer, context: ssl.SSLContext, deadline: float, cancellation: Cancellation
) -> TlsStream:
    """Connect once, and say hello; return the answered stream. Raises OSError, PeerMisbehaved."""
    host, port, public = peer
    opening_ends = min(deadline, time.monotonic() + OPENING_TIMEOUT_S)
    raw = socket.create_connection((host, port), timeout=max(opening_ends - time.monotonic(), TICK_S))
    stream = TlsStream(raw, context, server_side=False)
    try:
        while not stream.handshake():
            stream.wait(opening_ends, write=stream.writing)
        _check_key(stream, hello.receiver, public)
        send(stream, hello.encode(), opening_ends)
        answer = _await_answer(stream, deadline, cancellation)
        if answer != JobHello(hello.job_id, hello.receiver, hello.sender):
            raise PeerMisbehaved(
                hello.receiver, f"party {hello.receiver} answered our hello with another job"
            )
    except BaseException:
        stream.close()
        raise
    return stream


def _check_key(stream: TlsStream, party: int, public: bytes) -> None:
    """Raise PeerMisbehaved unless the peer's certificate proves the registered key and no other."""
    try:
        proven_key(stream.peer_certificate(), {public})
    except Exception as error:  # whatever a parser makes of the peer's bytes
        raise PeerMisbehaved(
            party,
            f"party {party} showed a certificate that does not prove its registered key: {error_text(error)}",
        ) from None


def _await_answer(stream: TlsStream, deadline: float, cancellation: Cancellation) -> JobHello | None:
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
    return JobHello.decode(bytes(data))
