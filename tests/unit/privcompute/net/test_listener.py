"""The agent's port under attack, over real TLS on loopback: one connection never costs another party's."""

from __future__ import annotations

import os
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest

from chain.primitives.crypto import PrivateKey
from chain.primitives.tls import client_context, server_context
from chain.primitives.visible import ERROR_CHARS_MAX, error_text
from privcompute.errors import (
    ListenerFailed,
    PartiesStalled,
    PeerGone,
    PeerMisbehaved,
    PeerTimeout,
    PortCrowded,
)
from privcompute.net import listener as port
from privcompute.net.cancellation import Cancellation
from privcompute.net.hello import JobHello
from privcompute.net.listener import LINES_EACH, OPENINGS_EACH, PeerListener
from privcompute.net.tls_stream import RECEIVES_MAX, TlsStream
from privcompute.net.transport import Peer, connect_peers
from tests.unit.privcompute.net.connections import (
    HERE,
    ME,
    PATIENCE_S,
    THERE,
    arrive,
    dial,
    say,
    soon,
    until_dropped,
)
from tests.unit.privcompute.net.leaves import MALFORMED, leaf, showing

JOB = b"J" * 32
PARTY, OTHER, STRANGER = (PrivateKey(bytes((index,)) * 32) for index in range(1, 4))


@pytest.fixture
def listening() -> Iterator[PeerListener]:
    """The port of party 0 of a job with two others."""
    with closing(PeerListener("127.0.0.1", 0, ME, [PARTY.public, OTHER.public])) as made:
        yield made


def claim(
    at: PeerListener, key: PrivateKey = PARTY, party: int = 1, seconds: float = PATIENCE_S
) -> TlsStream:
    return at.claim(JobHello(JOB, party, 0), key.public, time.monotonic() + seconds, Cancellation())


@contextmanager
def idle(to: PeerListener, count: int, source: str = HERE) -> Iterator[None]:
    """Hold so many connections that never say a byte."""
    with ExitStack() as held:
        for _ in range(count):
            held.enter_context(socket.create_connection(to.address, source_address=(source, 0)))
        yield


# --- what a certificate may do ---------------------------------------------------------------------


@pytest.mark.parametrize("name", MALFORMED)
def test_a_certificate_that_no_parser_takes_ends_its_own_connection_alone(
    listening: PeerListener, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    context = showing(client_context(PARTY, [ME.public]), MALFORMED[name](PARTY), PARTY)
    hostile = dial(listening, context)
    say(hostile, JobHello(JOB, 1, 0).encode())
    until_dropped(hostile)
    with closing(arrive(listening, PARTY, JobHello(JOB, 1, 0))), closing(claim(listening)):
        pass
    (line,) = [record.getMessage() for record in caplog.records if "peer port" in record.getMessage()]
    assert f"connection from {HERE}:" in line
    assert f"dropped: key {PARTY.public.hex()[:16]}: " in line, "the party that answers for it is named"
    assert len(line) < ERROR_CHARS_MAX + 80


def test_a_leaf_for_a_fresh_key_proves_nothing(listening: PeerListener) -> None:
    fresh = PrivateKey(b"f" * 32)
    hostile = dial(listening, showing(client_context(PARTY, [ME.public]), leaf(fresh.public, PARTY), fresh))
    say(hostile, JobHello(JOB, 1, 0).encode())
    until_dropped(hostile)


def test_a_leaf_that_another_party_signed_proves_nothing(listening: PeerListener) -> None:
    hostile = dial(listening, showing(client_context(PARTY, [ME.public]), leaf(PARTY.public, OTHER), PARTY))
    say(hostile, JobHello(JOB, 1, 0).encode())
    until_dropped(hostile)


def test_fresh_keys_of_one_party_take_no_place_of_another(listening: PeerListener) -> None:
    held = []
    for number in range(70):
        fresh = PrivateKey(bytes((number, 9)) * 16)
        context = showing(client_context(OTHER, [ME.public]), leaf(fresh.public, OTHER), fresh)
        held.append(dial(listening, context))
        with suppress(OSError):
            say(held[-1], JobHello(JOB, 2, 0).encode())
    with closing(arrive(listening, PARTY, JobHello(JOB, 1, 0))), closing(claim(listening)):
        pass
    for stream in held:
        stream.close()


@pytest.mark.parametrize(
    "shown",
    [leaf(STRANGER.public, PARTY), *(made(STRANGER) for made in MALFORMED.values())],
    ids=["fresh", *MALFORMED],
)
def test_whom_we_dial_proves_the_registered_key_itself(listening: PeerListener, shown: bytes) -> None:
    """Its agent may show what it likes: the job ends with its name, and with nobody else's."""
    key = STRANGER
    peers: dict[int, Peer] = {
        0: ("127.0.0.1", 0, PARTY.public if shown == leaf(STRANGER.public, PARTY) else key.public)
    }
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        peers[0] = ("127.0.0.1", server.getsockname()[1], peers[0][2])
        dialling = pool.submit(connect_peers, JOB, 1, peers, ME, listening, soon())
        raw, _ = server.accept()
        context = showing(server_context(STRANGER, [ME.public]), shown, STRANGER)
        stream = TlsStream(raw, context, server_side=True)
        with suppress(OSError):
            while not stream.handshake():
                stream.wait(soon(), write=stream.writing)
        with pytest.raises(PeerMisbehaved, match="does not prove its registered key") as caught:
            dialling.result(PATIENCE_S)
        stream.close()
    assert caught.value.party == 0


# --- places ----------------------------------------------------------------------------------------


def test_idle_connections_of_one_address_displace_nobody_from_another(listening: PeerListener) -> None:
    slow = socket.create_connection(listening.address, source_address=(THERE, 0))
    with idle(listening, 2 * OPENINGS_EACH):
        stream = TlsStream(slow, client_context(PARTY, [ME.public]), server_side=False)
        while not stream.handshake():
            stream.wait(soon(), write=stream.writing)
        say(stream, JobHello(JOB, 1, 0).encode())
        claim(listening).close()
        stream.close()


def test_what_one_party_piles_up_displaces_no_other(listening: PeerListener) -> None:
    with closing(arrive(listening, PARTY, JobHello(JOB, 1, 0))) as honest, ExitStack() as held:
        for number in range(100):
            hello = JobHello(bytes((number,)) * 32, 2, 0)
            held.enter_context(closing(arrive(listening, OTHER, hello, source=THERE)))
        claim(listening).close()
        until_dropped(honest)


def test_a_party_is_not_named_for_connections_that_were_turned_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(port, "OPENINGS_BURST", 1.0)
    with closing(PeerListener("127.0.0.1", 0, ME, [PARTY.public])) as crowded, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(claim, crowded, PARTY, 1, 1.0)
        while not waiting.done():
            with idle(crowded, 1):
                pass
        with pytest.raises(PortCrowded, match="were turned away meanwhile"):
            waiting.result(PATIENCE_S)
        with pytest.raises(PeerTimeout, match="party 1 did not connect in time"):
            claim(crowded, seconds=0.0)


def test_the_log_names_address_and_reason_in_a_bounded_number_of_short_lines(
    listening: PeerListener, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(40):
        with socket.create_connection(listening.address, source_address=(HERE, 0)) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n")
            while raw.recv(1_000):
                pass
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == LINES_EACH
    assert all(f"connection from {HERE}:" in line and len(line) < ERROR_CHARS_MAX + 80 for line in lines)


def test_what_a_peer_makes_us_say_stays_on_one_short_line() -> None:
    said = error_text(ValueError("a\nERROR b\x1b[2J" + "x" * 9_999))
    assert said.startswith("ValueError: a?ERROR b?[2Jxxx")
    assert len(said) == ERROR_CHARS_MAX


# --- a fault that is no connection's ---------------------------------------------------------------


def test_a_listener_that_fails_says_so_to_whoever_waits_for_it(
    listening: PeerListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: float) -> None:
        raise RuntimeError("planted")

    with ThreadPoolExecutor(1) as pool:
        claiming = pool.submit(claim, listening)
        monkeypatch.setattr(listening, "_expire", fail)
        with pytest.raises(ListenerFailed, match="planted"):
            claiming.result(PATIENCE_S)
    with pytest.raises(ListenerFailed, match="start the agent again"):
        listening.ended.result(PATIENCE_S)


def test_a_listener_that_is_closed_has_not_failed() -> None:
    made = PeerListener("127.0.0.1", 0, ME, [])
    made.close()
    assert made.ended.result(PATIENCE_S) is None


def test_a_process_out_of_descriptors_rests_and_then_accepts_again(
    listening: PeerListener, caplog: pytest.LogCaptureFixture
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    waiting = socket.socket()
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    spare = []
    try:
        with suppress(OSError):
            while True:
                spare.append(os.dup(0))
        waiting.connect(listening.address)
        deadline = soon()
        while not any("cannot accept" in record.getMessage() for record in caplog.records):
            assert time.monotonic() < deadline
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in spare:
            os.close(descriptor)
    with closing(arrive(listening, PARTY, JobHello(JOB, 1, 0))), closing(claim(listening)):
        waiting.close()
    rests = [record for record in caplog.records if "cannot accept" in record.getMessage()]
    assert len(rests) <= 3, "it does not try again and again while nothing changes"


# --- connecting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["a" * 70 + ".x", "..", "127.0.0.1"])
def test_an_address_that_cannot_be_one_is_its_partys_fault(listening: PeerListener, host: str) -> None:
    peers = {0: (host, 99_999, PARTY.public)}
    with pytest.raises(PeerGone, match="no link to its agent") as caught:
        connect_peers(JOB, 1, peers, ME, listening, time.monotonic() + 0.1)
    assert caught.value.party == 0


def test_a_party_that_links_with_some_of_the_others_only_makes_none_of_them_look_late(
    listening: PeerListener,
) -> None:
    """Party 2 comes to party 0 and not to party 1: party 1 names it, party 0 names nobody."""
    with closing(PeerListener("127.0.0.1", 0, PARTY, [ME.public, OTHER.public])) as second:
        peers = {
            0: (*listening.address, ME.public),
            1: (*second.address, PARTY.public),
            2: ("", 0, OTHER.public),
        }
        deadline = time.monotonic() + 2.0
        with closing(arrive(listening, OTHER, JobHello(JOB, 2, 0))), ThreadPoolExecutor(2) as pool:
            honest = [
                pool.submit(connect_peers, JOB, me, peers, key, at, deadline)
                for me, key, at in ((0, ME, listening), (1, PARTY, second))
            ]
            with pytest.raises(PeerTimeout, match="party 2 did not connect") as caught:
                honest[1].result(PATIENCE_S)
            with pytest.raises((PartiesStalled, PeerGone)) as other:
                honest[0].result(PATIENCE_S)
    assert caught.value.party == 2
    assert getattr(other.value, "party", 1) == 1, "party 1 left, or nobody is named"


def test_bytes_that_never_become_anything_leave_time_to_look_at_a_deadline(
    listening: PeerListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key updates and the like arrive for ever and hold no plaintext."""
    stream = dial(listening, client_context(PARTY, [ME.public]))
    received = []

    def more() -> bool:
        received.append(1)
        assert len(received) < 100 * RECEIVES_MAX
        return True

    def nothing(_: memoryview) -> int:
        raise ssl.SSLWantReadError

    monkeypatch.setattr(stream, "_receive", more)
    monkeypatch.setattr(stream, "_read", nothing)
    assert stream.read_into(memoryview(bytearray(1))) == 0
    assert len(received) == RECEIVES_MAX
    stream.close()


def test_an_agent_listens_at_an_address_of_either_family() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    them = PrivateKey(b"\1" * 32)
    with closing(PeerListener("::1", 0, ME, [them.public])) as listener:
        wanted = JobHello(bytes(32), 1, 0)
        raw = socket.create_connection(listener.address)
        stream = TlsStream(raw, client_context(them, [ME.public]), server_side=False)
        while not stream.handshake():
            stream.wait(soon(), write=stream.writing)
        say(stream, wanted.encode())
        listener.claim(wanted, them.public, soon(), Cancellation()).close()
        stream.close()
