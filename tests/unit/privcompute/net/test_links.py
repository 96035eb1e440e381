"""A round ends in time whatever arrives, and a timeout names the party that is late, or nobody.

The tests own the clock: a wait takes a second when there is something to read, else all of its time.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import select
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from chain.primitives.crypto import PrivateKey
from privcompute.errors import (
    PartiesStalled,
    PeerFault,
    PeerGone,
    PeerMisbehaved,
    PeerTimeout,
    PeerTooLarge,
    PortCrowded,
    TimeOver,
)
from privcompute.job.failures import others_first_s
from privcompute.job.runner import agree_on_rows, check_rows
from privcompute.mpc.protocols.psi import PsiSpec, match
from privcompute.mpc.rounds import Round, as_round
from privcompute.net import links as links_module
from privcompute.net.cancellation import Cancellation
from privcompute.net.hello import JobHello
from privcompute.net.links import IDLE_TIMEOUT_S, LEAST_BYTES_PER_S, Links
from privcompute.net.listener import PeerListener
from privcompute.net.peer_link import READS_MAX, PeerLink, channel_tag
from privcompute.net.pulse import HEADER, PULSES_BURST, Pulse
from privcompute.net.tls_stream import TlsStream
from tests.unit.privcompute.net.connections import arrive, say, soon

JOB = hashlib.sha256(b"a job").digest()
KEYS = [PrivateKey(bytes((index,)) * 32) for index in range(3)]
LONG_S = 1e9
pytestmark = pytest.mark.usefixtures("clock")
STAGE = 5


class Clock:
    """Stands in for the modules `time` and `select`: time passes in waits alone, and peers act meanwhile."""

    POLLIN, POLLOUT, POLLRDHUP = select.POLLIN, select.POLLOUT, select.POLLRDHUP

    def __init__(self) -> None:
        self.now = 0.0
        self.waits = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now

    def poll(self) -> Poll:
        return Poll(self)


class Poll:
    """A poll object that never blocks."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.real = clock, select.poll()
        self.register = self.real.register

    def poll(self, wait_ms: float) -> list[tuple[int, int]]:
        self.clock.meanwhile()
        self.clock.waits += 1
        events = self.real.poll(0)
        self.clock.now += min(1.0, wait_ms / 1_000) if events else wait_ms / 1_000
        return events


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(links_module, "time", made)
    monkeypatch.setattr(links_module, "select", made)
    return made


class Peers:
    """Party 0 with real links to parties 1 and 2, which are driven by hand."""

    def __init__(self, stack: ExitStack) -> None:
        listener = stack.enter_context(
            closing(PeerListener("127.0.0.1", 0, KEYS[0], [k.public for k in KEYS]))
        )
        self.theirs: dict[int, TlsStream] = {}
        self.ours: dict[int, PeerLink] = {}
        for party in (1, 2):
            hello = JobHello(JOB, party, 0)
            self.theirs[party] = stack.enter_context(closing(arrive(listener, KEYS[party], hello)))
            stream = listener.claim(hello, KEYS[party].public, soon(), Cancellation())
            self.ours[party] = stack.enter_context(closing(PeerLink(stream, JOB, 0, party)))

    def say(self, party: int, *records: bytes) -> None:
        """Send records as a party, and wait until the other end's kernel has acknowledged them."""
        for record in records:
            say(self.theirs[party], record)
        deadline = soon()
        while fcntl.ioctl(self.theirs[party].fileno(), termios.TIOCOUTQ, bytes(4)) != bytes(4):
            assert time.monotonic() < deadline

    def links(self, *parties: int, deadline: float = LONG_S) -> Links:
        return Links({party: self.ours[party] for party in parties}, deadline=deadline)


@pytest.fixture
def peers() -> Iterator[Peers]:
    with ExitStack() as stack:
        yield Peers(stack)


def frame(party: int, payload: bytes) -> bytes:
    return HEADER.pack(channel_tag(JOB, party, 0), STAGE, 0, len(payload)) + payload


def pulse(party: int, *waits: int, step: int = 0, hears: tuple[int, ...] = (), stops: bool = False) -> bytes:
    return Pulse(step, frozenset(waits), frozenset(hears), stops).encode(channel_tag(JOB, party, 0))


# --- time ------------------------------------------------------------------------------------------


def test_bytes_that_drip_in_buy_no_time(peers: Peers, clock: Clock) -> None:
    """One byte a second of a frame that will be whole, but not in the time of a round."""
    data = iter(frame(1, bytes(100)))
    clock.meanwhile = lambda: peers.say(1, bytes((next(data),)))
    with pytest.raises(PeerTimeout, match="party 1 is alive") as caught:
        peers.links(1).exchange(Round({}, {1: 100}), STAGE)
    assert caught.value.party == 1
    assert clock.now <= IDLE_TIMEOUT_S + 10


def test_a_large_message_has_the_time_that_a_slow_line_needs(peers: Peers, clock: Clock) -> None:
    length = 100 * LEAST_BYTES_PER_S
    with pytest.raises(PeerTimeout):
        peers.links(1).exchange(Round({}, {1: length}), STAGE)
    assert IDLE_TIMEOUT_S + 100 <= clock.now <= IDLE_TIMEOUT_S + 110


def test_the_time_of_a_round_never_shrinks_within_a_job(peers: Peers, clock: Clock) -> None:
    """Who waits for the silent party itself must run out of time before those who wait for the waiting."""
    links = peers.links(1)
    peers.say(1, frame(1, bytes(LEAST_BYTES_PER_S)))
    links.exchange(Round({}, {1: LEAST_BYTES_PER_S}), STAGE)
    began = clock.now
    with pytest.raises(PeerTimeout):
        links.exchange(Round({}, {1: 1}), STAGE)
    assert clock.now - began >= IDLE_TIMEOUT_S + 1


def test_a_peer_that_reads_nothing_is_late_as_well(peers: Peers) -> None:
    links = peers.links(1)
    with pytest.raises(PeerTimeout, match="party 1"):
        links.exchange(Round({1: bytes(60_000_000)}, {}), STAGE)


def test_the_party_that_took_most_of_a_whole_run_is_named_when_it_is_over(peers: Peers, clock: Clock) -> None:
    """Time is held against a party while it alone keeps us."""
    peers.say(1, frame(1, bytes(9)))
    beats(peers, clock, 1)
    peers.say(2, frame(2, bytes(9))[:-1])
    with pytest.raises(PeerTimeout, match=r"party 2 took .* of the .* that this job has") as caught:
        peers.links(1, 2, deadline=40.0).exchange(Round({}, {1: 9, 2: 9}), STAGE)
    assert caught.value.party == 2


def test_nobody_is_named_when_the_time_of_a_run_is_over_and_no_party_took_most_of_it(peers: Peers) -> None:
    with pytest.raises(TimeOver, match=r"policy\.job_time_max_ms"):
        peers.links(1, 2, deadline=40.0).exchange(Round({}, {1: 9}), STAGE)


def test_a_flood_of_tiny_records_does_not_keep_a_deadline_from_being_seen(peers: Peers, clock: Clock) -> None:
    """A payload in records of one byte each, as fast as it can be read, is still looked up from."""
    length = 20_000
    peers.say(1, frame(1, bytes(length))[: HEADER.size], *[b"\0"] * length)
    assert len(peers.links(1).exchange(Round({}, {1: length}), STAGE)[1]) == length
    assert clock.waits >= length // READS_MAX


# --- whom to name ----------------------------------------------------------------------------------


def beats(peers: Peers, clock: Clock, *parties: int, **says: Any) -> None:
    """Let parties say this of themselves whenever we wait."""

    def say_it() -> None:
        for party in parties:
            peers.say(party, pulse(party, *says.get("waits", ()), hears=says.get("hears", ())))

    clock.meanwhile = say_it


def test_a_party_that_says_it_waits_is_not_named_for_another(peers: Peers, clock: Clock) -> None:
    """Party 1 waits for party 2, as we do: that is known when the time is over."""
    beats(peers, clock, 1, waits=(2,))
    with pytest.raises(PeerTimeout, match="nothing has come from party 2") as caught:
        peers.links(1, 2).exchange(Round({}, {1: 9, 2: 9}), STAGE)
    assert caught.value.party == 2


def test_a_party_that_waits_for_us_who_sent_everything_is_named(peers: Peers, clock: Clock) -> None:
    beats(peers, clock, 1, waits=(0,))
    with pytest.raises(PeerTimeout, match="party 1 says that it waits for us") as caught:
        peers.links(1, 2).exchange(Round({}, {1: 9}), STAGE)
    assert caught.value.party == 1


def test_pulses_buy_a_party_that_does_not_work_no_time(peers: Peers, clock: Clock) -> None:
    beats(peers, clock, 1)
    with pytest.raises(PeerTimeout, match="party 1 is alive, waits for nobody") as caught:
        peers.links(1, 2).exchange(Round({}, {1: 9}), STAGE)
    assert caught.value.party == 1
    assert clock.now <= IDLE_TIMEOUT_S + 10


def test_a_party_that_only_counts_steps_is_named_when_the_whole_run_is_over(
    peers: Peers, clock: Clock
) -> None:
    steps = iter(range(10_000))
    clock.meanwhile = lambda: peers.say(1, pulse(1, step=next(steps)))
    with pytest.raises(PeerTimeout, match=r"party 1 took .* of the 100\.0 s that this job has"):
        peers.links(1, 2, deadline=100.0).exchange(Round({}, {1: 9}), STAGE)


def test_an_agent_that_hears_nobody_names_its_own_network(peers: Peers) -> None:
    with pytest.raises(PartiesStalled, match="the network of party 0 were cut off") as caught:
        peers.links(1, 2).exchange(Round({}, {1: 9, 2: 9}), STAGE)
    assert caught.value.parties == (0,)


def test_a_party_that_stopped_inside_a_frame_waits_for_nobody(peers: Peers, clock: Clock) -> None:
    peers.say(1, pulse(1, 2) + frame(1, bytes(9))[:-1])
    beats(peers, clock, 2)
    with pytest.raises(PeerTimeout) as caught:
        peers.links(1, 2).exchange(Round({}, {1: 9, 2: 9}), STAGE)
    assert caught.value.party == 1


def test_the_only_peer_cannot_wait_for_another(peers: Peers) -> None:
    peers.say(1, pulse(1, 0))
    with pytest.raises(PeerTimeout):
        peers.links(1).exchange(Round({}, {1: 9}), STAGE)


def test_an_agent_that_stood_still_itself_begins_to_count_anew(peers: Peers, clock: Clock) -> None:
    """It was stopped for an hour: what it had seen of a slow party before tells nothing any more."""

    def stop_once() -> None:
        peers.say(1, pulse(1))
        if clock.now == 5.0:
            clock.now += 3_600.0

    clock.meanwhile = stop_once
    with pytest.raises(PeerTimeout):
        peers.links(1, 2).exchange(Round({}, {1: 9}), STAGE)
    assert clock.now >= 3_605.0 + IDLE_TIMEOUT_S


def test_a_party_says_what_it_waits_for_and_a_pulse_is_no_part_of_the_transcript(
    peers: Peers, clock: Clock
) -> None:
    links = peers.links(1, 2)
    before = links.transcripts()
    said: list[bytes] = []

    def beat() -> None:
        peers.say(1, pulse(1, 2))
        if not said:
            links.beat()
            data = bytearray(3 * HEADER.size)
            peers.theirs[2].wait(soon())
            said.append(bytes(data[: peers.theirs[2].read_into(memoryview(data))]))

    clock.meanwhile = beat
    with pytest.raises(PeerTimeout):
        links.exchange(Round({}, {1: 9, 2: 9}), STAGE)
    assert said == [Pulse(0, frozenset({1, 2}), frozenset({1, 2})).encode(channel_tag(JOB, 0, 2))]
    assert links.transcripts() == before


def test_a_flood_of_pulses_is_misbehaviour(peers: Peers) -> None:
    peers.say(1, (PULSES_BURST + 9) * pulse(1))
    with pytest.raises(PeerMisbehaved, match="more than 64 pulses in the time that we are linked"):
        peers.links(1).exchange(Round({}, {1: 9}), STAGE)


def test_pulses_that_waited_while_we_computed_are_no_flood(peers: Peers, clock: Clock) -> None:
    links = peers.links(1)
    peers.say(1, 300 * pulse(1), frame(1, bytes(9)))
    clock.now = 600.0
    links.beat()
    assert links.exchange(Round({}, {1: 9}), STAGE)[1] == bytes(9)


@pytest.mark.parametrize(
    "said",
    [
        pulse(1, 7),
        pulse(1, hears=(9,)),
        pulse(1, 1),
        pulse(1, step=5) + pulse(1, step=4),
        pulse(1)[:-1] + b"\1",
        pulse(1)[:-3] + b"\7\0\0",
    ],
    ids=["stranger", "hears a stranger", "itself", "backwards", "reserved", "unknown flag"],
)
def test_a_pulse_that_makes_no_sense_is_its_senders_fault(peers: Peers, said: bytes) -> None:
    peers.say(1, said)
    with pytest.raises(PeerMisbehaved, match="pulse") as caught:
        peers.links(1, 2).exchange(Round({}, {1: 9}), STAGE)
    assert caught.value.party == 1


def test_pulses_of_a_party_that_we_do_not_wait_for_keep_nobody_busy(peers: Peers, clock: Clock) -> None:
    """They are read when they come: a poll that found them unread would return at once, again and again."""
    beats(peers, clock, 1, waits=(2,))
    with pytest.raises(PeerTimeout):
        peers.links(1, 2).exchange(Round({}, {2: 9}), STAGE)
    assert clock.waits <= 2 * IDLE_TIMEOUT_S


def test_a_party_that_left_because_of_another_is_not_named_for_it(peers: Peers) -> None:
    """Party 1 had seen the end of party 2 first, said so, and closed its connection."""
    peers.say(1, pulse(1, 2, stops=True))
    for party in (1, 2):
        peers.theirs[party].close()
    with pytest.raises(PeerGone, match="the link to party 2 broke") as caught:
        peers.links(1, 2).exchange(Round({}, {1: 9}), STAGE)
    assert caught.value.party == 2


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (PeerTimeout(1, ""), PeerGone(1, "")),
        (PeerMisbehaved(1, ""), PeerGone(1, "")),
        (PeerGone(1, ""), PartiesStalled((1, 2), "")),
        (PeerGone(1, ""), TimeOver("")),
        (PeerGone(1, ""), PortCrowded("")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whoever_knows_better_whose_fault_it_is_reports_first(error: Exception, after: Exception) -> None:
    """A broken link may be a third party's doing, and its victim says so; who names nobody comes last."""
    assert others_first_s(error) < others_first_s(after)


# --- how much --------------------------------------------------------------------------------------


def test_a_message_of_unknown_length_is_small(peers: Peers) -> None:
    peers.say(1, HEADER.pack(channel_tag(JOB, 1, 0), STAGE, 0, 2**30))
    with pytest.raises(PeerMisbehaved, match="1073741824 bytes, allowed are 1048576"):
        peers.links(1).exchange(as_round({1: b"x"}), STAGE)


def test_a_list_longer_than_this_owner_takes_is_refused_before_a_point_of_it_arrives() -> None:
    def refuse(party: int, points: int) -> None:
        check_rows(party, points, 1_000)

    spec = PsiSpec(bytes(32), (0, 1), matcher=1)
    theirs = match(spec, 1, [str(number) for number in range(1_001)], random=os.urandom)
    ours = match(spec, 0, ["a"], random=os.urandom, check_size=refuse)
    opening = next(theirs)
    next(ours)
    assert isinstance(opening, Round)
    with pytest.raises(PeerTooLarge, match=r"party 1 brings 1001 rows.*policy\.max_party_rows") as caught:
        ours.send({1: memoryview(bytes(opening.send[0]))})
    assert caught.value.party == 1


def test_a_count_of_rows_that_no_memory_holds_is_its_senders_fault() -> None:
    told = agree_on_rows(0, 3, (1, 2), None, 1_000)
    next(told)
    with pytest.raises(PeerTooLarge, match="party 1 brings 18446744073709551615 rows") as caught:
        told.send({1: memoryview(b"\xff" * 8), 2: memoryview(b"\xff" * 8)})
    assert isinstance(caught.value, PeerFault)
