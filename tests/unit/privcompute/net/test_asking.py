"""Asking a holder, over real TLS on loopback: whatever it answers is taken, refused or named, and bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.crypto import PrivateKey
from chain.primitives.values import encode_value
from privcompute.errors import Cancelled, HolderRefused, PeerGone, PeerMisbehaved
from privcompute.net.asking import LENGTH_BYTES, _handed, ask, hand_over, release_id
from privcompute.net.cancellation import Cancellation
from privcompute.net.hello import JobHello
from privcompute.net.listener import PeerListener
from privcompute.net.tls_stream import TlsStream
from privcompute.net.transport import greet
from tests.unit.privcompute.net.connections import ME, PATIENCE_S, say, until_dropped

JOB = b"J" * 32
RECEIVER, STRANGER = (PrivateKey(bytes((index,)) * 32) for index in (1, 2))
MOST = 1_000
Answer = Callable[[TlsStream, JobHello], None]


@pytest.fixture
def holder() -> Iterator[PeerListener]:
    """The port of party 0, who holds something for party 1."""
    with closing(PeerListener("127.0.0.1", 0, ME, [RECEIVER.public])) as made:
        yield made


def asked(
    holder: PeerListener, answer: Answer, *, key: bytes = ME.public, stop: Cancellation | None = None
) -> dict[str, bytes]:
    """Let the receiver ask once, and the holder answer so."""

    def serve() -> None:
        taken = holder.take(lambda hello: hello.job_id == release_id(JOB), PATIENCE_S)
        assert taken is not None
        answer(taken[2], taken[0])

    peer = (*holder.address, key)
    with ThreadPoolExecutor(1) as threads:
        serving = threads.submit(serve)
        try:
            return ask(JOB, 1, 0, peer, RECEIVER, MOST, stop or Cancellation())
        finally:
            serving.result()


def raw(data: bytes) -> Answer:
    """Answer the hello rightly, then with these bytes."""

    def answer(stream: TlsStream, hello: JobHello) -> None:
        greet(stream, JobHello(hello.job_id, hello.receiver, hello.sender))
        say(stream, data)
        stream.close()

    return answer


def whole(value: Any) -> bytes:
    """Return an answer of a right length."""
    content = encode_value(value)
    return len(content).to_bytes(LENGTH_BYTES, "big") + content


@pytest.mark.parametrize("part", [{}, {"component-1": b"\0" * 900}, {"common-0": b"", "rows": b"\1" * 8}])
def test_what_a_holder_hands_over_arrives_byte_for_byte(
    holder: PeerListener, part: Mapping[str, bytes]
) -> None:
    assert asked(holder, lambda stream, hello: hand_over(stream, hello, part)) == part


def test_a_refusal_is_told_with_its_code_cut_and_without_what_a_terminal_would_obey(
    holder: PeerListener,
) -> None:
    with pytest.raises(HolderRefused, match="'NOT_REVEALED'"):
        asked(holder, lambda stream, hello: hand_over(stream, hello, "NOT_REVEALED"))
    with pytest.raises(HolderRefused) as told:
        asked(holder, raw(whole("\x1b[2J" * 100)))
    assert "\x1b" not in str(told.value)
    assert len(str(told.value)) < 500


@pytest.mark.parametrize(
    "data",
    [
        (MOST + 1).to_bytes(LENGTH_BYTES, "big"),
        b"\xff" * LENGTH_BYTES,
        (3).to_bytes(LENGTH_BYTES, "big") + b"\xc1\xc1\xc1",
        (0).to_bytes(LENGTH_BYTES, "big"),
        whole([b"a"]),
        whole(7),
        whole(None),
        whole({"component-1": "text"}),
        whole({"component-1": {"x": b""}}),
    ],
    ids=["one byte too long", "endless", "no value", "empty", "list", "number", "nothing", "text", "nested"],
)
def test_an_answer_that_no_holder_gives_names_it(holder: PeerListener, data: bytes) -> None:
    with pytest.raises(PeerMisbehaved) as told:
        asked(holder, raw(data))
    assert told.value.party == 0


@pytest.mark.parametrize("data", [b"", b"\0\0", (8).to_bytes(LENGTH_BYTES, "big") + b"half"])
def test_a_holder_that_leaves_before_its_answer_is_whole_is_gone(holder: PeerListener, data: bytes) -> None:
    with pytest.raises(PeerGone) as told:
        asked(holder, raw(data))
    assert told.value.party == 0


def test_a_holder_that_answers_for_another_job_or_another_party_misbehaves(holder: PeerListener) -> None:
    def other(stream: TlsStream, hello: JobHello) -> None:
        greet(stream, JobHello(b"K" * 32, hello.receiver, hello.sender))
        stream.close()

    with pytest.raises(PeerMisbehaved, match="another job"):
        asked(holder, other)


def test_another_key_than_the_registered_one_hands_out_nothing(holder: PeerListener) -> None:
    with pytest.raises(PeerMisbehaved, match="does not hold the key"):
        ask(JOB, 1, 0, (*holder.address, STRANGER.public), RECEIVER, MOST, Cancellation())


def test_asking_a_silent_holder_ends_when_it_is_cancelled(holder: PeerListener) -> None:
    stop = Cancellation()

    def silent(stream: TlsStream, hello: JobHello) -> None:
        greet(stream, JobHello(hello.job_id, hello.receiver, hello.sender))
        stop.cancel("the job is over")
        until_dropped(stream)

    with pytest.raises(Cancelled, match="the job is over"):
        asked(holder, silent, stop=stop)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=200))
def test_no_bytes_of_a_holder_raise_anything_but_what_names_it(content: bytes) -> None:
    with suppress(PeerMisbehaved, HolderRefused):
        found = _handed(0, content)
        assert all(isinstance(name, str) and isinstance(one, bytes) for name, one in found.items())
