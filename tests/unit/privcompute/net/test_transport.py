"""Links between agents over real TLS on loopback: carriage, transcripts, and everything hostile."""

from __future__ import annotations

import errno
import hashlib
import re
import select
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import CannotListen, PortBusy
from chain.primitives.tls import client_context
from privcompute.errors import (
    Cancelled,
    PeerGone,
    PeerMisbehaved,
    PeerTimeout,
    ProgramFault,
)
from privcompute.mpc.local import run_local
from privcompute.mpc.rep3_engine import ENTROPY_BYTES, Rep3Engine
from privcompute.mpc.rounds import Round, Steps
from privcompute.net.cancellation import Cancellation
from privcompute.net.hello import JobHello
from privcompute.net.links import Links, run_party
from privcompute.net.listener import PENDING_EACH, PeerListener
from privcompute.net.peer_link import channel_tag
from privcompute.net.pulse import HEADER
from privcompute.net.tls_stream import TlsStream
from privcompute.net.transport import connect_peers

JOB = hashlib.sha256(b"a job").digest()
KEYS = [PrivateKey(bytes((index,)) * 32) for index in range(4)]
"""Keys of three parties and of a stranger."""
PATIENCE_S = 20.0


def soon() -> float:
    """A deadline that only a hanging test meets."""
    return time.monotonic() + PATIENCE_S


@dataclass
class Agents:
    """Three agents on loopback, with a thread for each."""

    listeners: list[PeerListener]
    pool: ThreadPoolExecutor
    links: list[Links] = field(default_factory=list)

    def peers(self) -> dict[int, tuple[str, int, bytes]]:
        return {i: (*listener.address, KEYS[i].public) for i, listener in enumerate(self.listeners)}

    def connect(self, me: int, parties: int = 3, job: bytes = JOB, **options: Any) -> Links:
        peers = {party: peer for party, peer in self.peers().items() if party < parties}
        deadline = options.pop("deadline", None) or soon()
        links = connect_peers(job, me, peers, KEYS[me], self.listeners[me], deadline, **options)
        self.links.append(links)
        return links

    def all_connected(self, parties: int = 3, **options: Any) -> list[Links]:
        futures = [self.pool.submit(self.connect, me, parties, **options) for me in range(parties)]
        return [future.result(PATIENCE_S) for future in futures]

    def stranger(self, hello: JobHello, key: PrivateKey = KEYS[1]) -> TlsStream:
        """Open a link to party 0 by hand, as any program holding `key` could."""
        context = client_context(key, [KEYS[0].public])
        stream = TlsStream(socket.create_connection(self.listeners[0].address), context, server_side=False)
        while not stream.handshake():
            stream.wait(soon(), write=stream.writing)
        stream.write(memoryview(hello.encode()))
        stream.flush()
        return stream


@pytest.fixture
def agents() -> Iterator[Agents]:
    public = [key.public for key in KEYS[:3]]
    made = Agents([PeerListener("127.0.0.1", 0, key, public) for key in KEYS[:3]], ThreadPoolExecutor(4))
    yield made
    for links in made.links:
        links.close()
    for listener in made.listeners:
        listener.close()
    made.pool.shutdown()


def read_one(stream: TlsStream) -> None:
    """Wait for one byte, or for the connection to break."""
    while stream.read_into(memoryview(bytearray(1))) == 0:
        stream.wait(soon())


def swap(me: int, message: bytes) -> Steps[bytes]:
    """Two parties send each other messages of the same length."""
    received = yield Round({1 - me: message}, {1 - me: len(message)})
    return bytes(received[1 - me])


# --- carriage --------------------------------------------------------------------------------------


def computation(me: int) -> Steps[list[float]]:
    engine = yield from Rep3Engine.start(me, JOB, hashlib.shake_256(b"%d" % me).digest(ENTROPY_BYTES))
    x = yield from engine.share(0, np.arange(2_000) / 8 if me == 0 else None, (2_000,), 16)
    y = yield from engine.share(1, np.arange(2_000) + 1.0 if me == 1 else None, (2_000,), 16)
    quotient = yield from engine.divide(x, y)
    opened = yield from engine.reveal(quotient, (0, 1, 2))
    return [] if opened is None else opened.tolist()


def test_a_computation_over_tls_gives_what_it_gives_in_memory(agents: Agents) -> None:
    links = agents.all_connected()
    futures = [agents.pool.submit(run_party, computation(me), links[me], 3) for me in range(3)]
    expected = run_local([computation(me) for me in range(3)])
    assert [future.result(PATIENCE_S) for future in futures] == list(expected.results)
    assert tuple(one.rounds for one in links) == expected.rounds
    for one, payload in zip(links, expected.sent_bytes, strict=True):
        assert 0 < one.sent_bytes - payload <= HEADER.size * 2 * one.rounds


def test_both_ends_of_every_channel_hold_the_same_transcript(agents: Agents) -> None:
    links = agents.all_connected()
    fresh = {links[me].channel_hash(me, peer) for me in range(3) for peer in links[me].peers}
    futures = [agents.pool.submit(run_party, computation(me), links[me]) for me in range(3)]
    for future in futures:
        future.result(PATIENCE_S)
    for me in range(3):
        for peer in links[me].peers:
            assert links[me].channel_hash(me, peer) == links[peer].channel_hash(peer, me)
            assert links[me].transcripts()[peer].sent == links[peer].transcripts()[me].received
            assert links[me].channel_hash(me, peer) not in fresh
    assert len({links[0].channel_hash(0, 1), links[0].channel_hash(0, 2), links[1].channel_hash(1, 2)}) == 3


def test_large_messages_both_ways_at_once_do_not_deadlock(agents: Agents) -> None:
    links = agents.all_connected(parties=2)
    messages = [bytes((me,)) * 12_000_000 for me in (0, 1)]
    futures = [agents.pool.submit(run_party, swap(me, messages[me]), links[me]) for me in (0, 1)]
    assert [future.result(PATIENCE_S) == messages[1 - me] for me, future in enumerate(futures)] == [
        True,
        True,
    ]


@pytest.mark.parametrize("length", [0, 1, 16_351, 16_352, 16_353, 300_000])
def test_messages_of_any_length_arrive_whole(agents: Agents, length: int) -> None:
    links = agents.all_connected(parties=2)
    message = np.random.default_rng(length).bytes(length)
    futures = [agents.pool.submit(run_party, swap(me, message), links[me]) for me in (0, 1)]
    assert [future.result(PATIENCE_S) for future in futures] == [message, message]


def test_stages_follow_one_another_on_the_same_links(agents: Agents) -> None:
    links = agents.all_connected(parties=2)
    for stage, text in enumerate((b"compute", b"reveal!")):
        futures = [agents.pool.submit(run_party, swap(me, text), links[me], stage) for me in (0, 1)]
        assert [future.result(PATIENCE_S) for future in futures] == [text, text]


def test_a_round_with_a_party_that_is_not_linked_is_a_fault_of_the_program(agents: Agents) -> None:
    links = agents.all_connected(parties=2)
    with pytest.raises(ProgramFault, match=r"parties \[2\], linked are \[1\]"):
        links[0].exchange(Round({2: b"x"}, {}), 0)


# --- hostile frames --------------------------------------------------------------------------------


def frame(
    payload: bytes = b"12345678",
    *,
    job: bytes = JOB,
    sender: int = 1,
    receiver: int = 0,
    stage: int = 5,
    sequence: int = 0,
    length: int | None = None,
) -> bytes:
    tag = channel_tag(job, sender, receiver)
    return HEADER.pack(tag, stage, sequence, len(payload) if length is None else length) + payload


def receive(agents: Agents, data: bytes, step: Round, *, then_close: bool = True) -> Any:
    """Let party 0 carry out a round while a hand-made party 1 sends `data`."""
    stream = agents.stranger(JobHello(JOB, 1, 0))
    links = agents.connect(0, parties=2)
    stream.write(memoryview(data))
    stream.flush()
    if then_close:
        stream.close()
    try:
        return bytes(links.exchange(step, 5)[1])
    finally:
        stream.close()


def test_a_correct_frame_passes(agents: Agents) -> None:
    assert receive(agents, frame(), Round({}, {1: 8})) == b"12345678"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (frame(job=bytes(32)), "a frame of another job or channel"),
        (frame(sender=0, receiver=1), "a frame of another job or channel"),
        (frame(sender=2), "a frame of another job or channel"),
        (frame(stage=6), "frame 0 of stage 6, expected 0 of stage 5"),
        (frame(sequence=1), "frame 1 of stage 5, expected 0 of stage 5"),
        (frame(length=2**64 - 1), "a frame of 18446744073709551615 bytes, expected 8"),
        (frame(length=2**40), "a frame of 1099511627776 bytes, expected 8"),
        (frame(b"1234567"), "a frame of 7 bytes, expected 8"),
        (b"\xff" * 64, "a frame of another job or channel"),
    ],
    ids=["job", "reflected", "sender", "stage", "sequence", "huge", "large", "short", "garbage"],
)
def test_a_frame_that_is_not_the_expected_one_is_refused(agents: Agents, data: bytes, expected: str) -> None:
    with pytest.raises(PeerMisbehaved, match=expected) as caught:
        receive(agents, data, Round({}, {1: 8}))
    assert caught.value.party == 1


def test_an_open_length_is_bounded_before_anything_is_allocated(agents: Agents) -> None:
    with pytest.raises(PeerMisbehaved, match="a frame of 101 bytes, allowed are 100"):
        receive(agents, frame(bytes(101)), Round({}, {1: 100}, exact=False))


@pytest.mark.parametrize("cut", [0, 1, HEADER.size - 1, HEADER.size, HEADER.size + 7])
def test_a_truncated_frame_is_a_peer_that_went_away(agents: Agents, cut: int) -> None:
    with pytest.raises(PeerGone, match="the link to party 1 broke") as caught:
        receive(agents, frame()[:cut], Round({}, {1: 8}))
    assert caught.value.party == 1


# --- peers that go away, stay silent, or are stopped -----------------------------------------------


def test_a_silent_peer_times_out_by_name(agents: Agents) -> None:
    links = agents.all_connected(parties=2, idle_timeout_s=0.05)
    with pytest.raises(PeerTimeout, match="party 1"):
        run_party(swap(0, b"x"), links[0])


def test_the_deadline_of_the_job_ends_every_wait(agents: Agents) -> None:
    stream = agents.stranger(JobHello(JOB, 1, 0))
    links = agents.connect(0, parties=2, deadline=time.monotonic() + 0.3)
    with pytest.raises(PeerTimeout):
        run_party(swap(0, b"x"), links)
    stream.close()


def test_another_thread_can_stop_a_worker_that_waits(agents: Agents) -> None:
    links = agents.all_connected(parties=2)
    waiting = agents.pool.submit(run_party, swap(0, b"x"), links[0])
    links[0].cancellation.cancel("the agent is shutting down")
    with pytest.raises(Cancelled, match="the agent is shutting down"):
        waiting.result(PATIENCE_S)


def test_another_thread_can_stop_a_worker_that_connects(agents: Agents) -> None:
    switch = Cancellation()
    dialling = agents.pool.submit(agents.connect, 1, 2, cancellation=switch)  # nobody claims it
    claiming = agents.pool.submit(agents.connect, 0, 3, job=bytes(32), cancellation=switch)
    switch.cancel("job aborted")
    for future in (dialling, claiming):
        with pytest.raises(Cancelled, match="job aborted"):
            future.result(PATIENCE_S)


def test_a_party_that_never_comes_is_named(agents: Agents) -> None:
    with pytest.raises(PeerTimeout, match="party 1 did not connect in time"):
        agents.connect(0, parties=2, deadline=time.monotonic() + 0.1)


def test_an_agent_that_does_not_listen_is_named_with_its_address(agents: Agents) -> None:
    host, port = agents.listeners[0].address
    agents.listeners[0].close()
    with pytest.raises(PeerGone, match=f"party 0: no link to its agent at {host}:{port} in time"):
        agents.connect(1, parties=2, deadline=time.monotonic() + 0.1)
    agents.listeners[0] = PeerListener("127.0.0.1", 0, KEYS[0], [])


# --- identity and the listener ---------------------------------------------------------------------


def test_an_agent_without_the_registered_key_is_refused(agents: Agents) -> None:
    impostor = PeerListener("127.0.0.1", 0, KEYS[3], [KEYS[1].public])
    agents.listeners[0].close()
    agents.listeners[0] = impostor
    with pytest.raises(PeerMisbehaved, match="does not hold the key registered for it"):
        agents.connect(1, parties=2)


def test_a_stranger_never_gets_to_a_job(agents: Agents) -> None:
    stream = agents.stranger(JobHello(JOB, 1, 0), KEYS[3])
    with pytest.raises((ssl.SSLError, ConnectionError)):
        read_one(stream)
    stream.close()


def test_a_member_cannot_take_the_place_of_another(agents: Agents) -> None:
    """Party 2's key is accepted by the listener, but a hello in party 1's name is not claimed with it."""
    stream = agents.stranger(JobHello(JOB, 1, 0), KEYS[2])
    with pytest.raises(PeerTimeout):
        agents.connect(0, parties=2, deadline=time.monotonic() + 0.2)
    stream.close()


def test_keys_that_are_accepted_later_connect_later(agents: Agents) -> None:
    agents.listeners[0].accept_keys([])
    with pytest.raises(PeerGone):
        agents.connect(1, parties=2, deadline=time.monotonic() + 0.2)
    agents.listeners[0].accept_keys([KEYS[1].public])
    assert len(agents.all_connected(parties=2)) == 2


def test_a_later_connection_replaces_an_abandoned_one(agents: Agents) -> None:
    first = agents.stranger(JobHello(JOB, 1, 0))
    second = agents.stranger(JobHello(JOB, 1, 0))
    with pytest.raises(ConnectionError):  # the listener has dropped the first one
        read_one(first)
    second.write(memoryview(frame(stage=0)))
    second.flush()
    links = agents.connect(0, parties=2)
    assert bytes(links.exchange(Round({}, {1: 8}), 0)[1]) == b"12345678"
    first.close()
    second.close()


def test_one_key_holds_a_bounded_number_of_waiting_connections(agents: Agents) -> None:
    jobs = [bytes((index,)) * 32 for index in range(PENDING_EACH + 1)]
    streams = [agents.stranger(JobHello(job, 1, 0)) for job in jobs[:-1]]
    for job in jobs[:-1]:  # every one of them has arrived, or this would time out
        held = agents.listeners[0].claim(JobHello(job, 1, 0), KEYS[1].public, soon(), Cancellation())
        held.close()
    streams += [agents.stranger(JobHello(job, 1, 0)) for job in jobs]
    poll = select.poll()
    for stream in streams[-len(jobs) :]:
        poll.register(stream, select.POLLIN)
    assert len(poll.poll(PATIENCE_S * 1_000)) == 1  # the last one was closed, the others wait
    for stream in streams:
        stream.close()


@pytest.mark.parametrize(
    "data", [b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + b"\xff" * 500], ids=["none", "http", "tls-ish"]
)
def test_garbage_on_the_port_disturbs_nobody(agents: Agents, data: bytes) -> None:
    raw = socket.create_connection(agents.listeners[0].address)
    raw.sendall(data)
    assert len(agents.all_connected(parties=2)) == 2
    raw.close()


def test_a_hello_of_another_version_is_dropped(agents: Agents) -> None:
    class Other(JobHello):
        __slots__ = ()

        def encode(self) -> bytes:
            return b"assent-mpc\x00\x01" + bytes(34)

    stream = agents.stranger(Other(JOB, 1, 0))
    with pytest.raises(ConnectionError):
        read_one(stream)
    stream.close()


def test_a_busy_port_is_reported_with_its_remedy(agents: Agents) -> None:
    host, port = agents.listeners[0].address
    with pytest.raises(
        PortBusy, match=rf"peers\.listen = {host}:{port}: Address already in use; stop what uses"
    ):
        PeerListener(host, port, KEYS[0], [])


@pytest.mark.parametrize(
    ("address", "fault", "said"),
    [
        ("192.0.2.7:30400", OSError(errno.EADDRNOTAVAIL, "Cannot assign"), "this host has no such address"),
        ("[::1]:30400", OSError(errno.EADDRNOTAVAIL, "Cannot assign"), "this host has no such address"),
        ("127.0.0.1:400", PermissionError(errno.EACCES, "Permission denied"), "set a port above 1023"),
        ("agent.invalid:30400", socket.gaierror(-2, "Name or service not known"), "does not resolve here"),
    ],
)
def test_an_agent_that_cannot_listen_says_which_of_the_causes_it_is(
    monkeypatch: pytest.MonkeyPatch, address: str, fault: OSError, said: str
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise fault

    monkeypatch.setattr(socket, "create_server", refused)
    host, _, port = address.rpartition(":")
    with pytest.raises(CannotListen, match=re.escape(f"peers.listen = {address}: ") + ".*" + said) as told:
        PeerListener(host.strip("[]"), int(port), KEYS[0], [])
    assert told.value.code == "cannot_listen"


def test_several_jobs_connect_at_the_same_time(agents: Agents) -> None:
    """The one listener hands every connection to its own job."""
    jobs = [hashlib.sha256(b"%d" % number).digest() for number in range(4)]
    results: dict[tuple[int, int], Future[bytes]] = {}
    threads = ThreadPoolExecutor(2 * len(jobs))

    def work(me: int, number: int) -> bytes:
        links = agents.connect(me, 2, job=jobs[number])
        return run_party(swap(me, b"%d from %d" % (number, me)), links)

    for number in range(len(jobs)):
        for me in (0, 1):
            results[number, me] = threads.submit(work, me, number)
    for (number, me), future in results.items():
        assert future.result(PATIENCE_S) == b"%d from %d" % (number, 1 - me)
    threads.shutdown()


def test_a_failing_protocol_is_closed() -> None:
    closed: list[bool] = []

    def protocol() -> Steps[None]:
        try:
            yield Round({5: b"x"}, {})
        finally:
            closed.append(True)

    with pytest.raises(ProgramFault):
        run_party(protocol(), Links({}, deadline=soon()))
    assert closed == [True]
