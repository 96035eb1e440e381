"""Whoever reports first, the abort names the party at the end of the chain: a table of faults and positions.

Four parties have real links and a thread each. They share a clock that moves when all of them wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import select
import termios
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from chain.primitives.crypto import PrivateKey
from privcompute.errors import PartiesStalled, PeerFault, PeerGone, PeerTimeout
from privcompute.mpc.rounds import Round, Steps
from privcompute.net import links as links_module
from privcompute.net.blame import SILENT_S, Cause, Suspicion, Witness, accuse
from privcompute.net.links import IDLE_TIMEOUT_S, Links, run_party
from privcompute.net.listener import PeerListener
from privcompute.net.pulse import PULSE_S, Pulse
from privcompute.net.transport import connect_peers
from tests.unit.privcompute.net.connections import PATIENCE_S, soon

JOB = hashlib.sha256(b"a job").digest()
KEYS = [PrivateKey(bytes((index,)) * 32) for index in range(4)]
PARTIES = range(4)


class Lockstep:
    """Stands in for the modules `time` and `select` of several threads: time passes when all of them wait."""

    POLLIN, POLLOUT, POLLRDHUP = select.POLLIN, select.POLLOUT, select.POLLRDHUP

    def __init__(self) -> None:
        self.now = 0.0
        self.next_beat = 0.0
        self.beating: list[Links] = []
        self.running = 0
        self.changed = threading.Condition()
        self.asleep: dict[LockstepPoll, float] = {}

    def monotonic(self) -> float:
        return self.now

    def poll(self) -> LockstepPoll:
        return LockstepPoll(self)

    def ended(self) -> None:
        with self.changed:
            self.running -= 1
            self.go_on()

    def go_on(self) -> None:
        """Wake those who can read something; if nobody can, move time to where somebody wakes or beats."""
        if not self.asleep or len(self.asleep) < self.running:
            return
        if not any(until <= self.now or poll.real.poll(0) for poll, until in self.asleep.items()):
            self.now = min(*self.asleep.values(), self.next_beat)
            if self.now == self.next_beat:
                self.next_beat += PULSE_S
                for links in self.beating:
                    links.beat()
                settle(self.beating)
        self.changed.notify_all()


class LockstepPoll:
    """A poll object whose time is the clock's."""

    def __init__(self, clock: Lockstep) -> None:
        self.clock, self.real = clock, select.poll()
        self.register = self.real.register

    def poll(self, wait_ms: float) -> list[tuple[int, int]]:
        clock = self.clock
        until = clock.now + wait_ms / 1_000
        with clock.changed:
            while not (events := self.real.poll(0)) and clock.now < until:
                clock.asleep[self] = until
                clock.go_on()
                if clock.now < until and not self.real.poll(0):
                    assert clock.changed.wait(PATIENCE_S), "nobody moved the clock"
                clock.asleep.pop(self, None)
        return events


def settle(all_links: list[Links]) -> None:
    """Wait until the kernel has carried over whatever was sent."""
    for links, other in itertools.permutations(all_links, 2):
        (me,) = set(PARTIES) - set(links.peers)
        (peer,) = set(PARTIES) - set(other.peers)
        descriptor = links._links[peer].fileno()
        deadline = soon()
        if not (links._links[peer].broken or other._links[me].broken):
            while fcntl.ioctl(descriptor, termios.TIOCOUTQ, bytes(4)) != bytes(4):
                assert time.monotonic() < deadline


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Lockstep:
    made = Lockstep()
    monkeypatch.setattr(links_module, "time", made)
    monkeypatch.setattr(links_module, "select", made)
    monkeypatch.setattr(Links, "start_beating", lambda _: None)
    return made


@pytest.fixture
def mesh(clock: Lockstep) -> Iterator[list[Links]]:
    """Four parties, each linked with every other."""
    assert clock.now == 0.0
    with ExitStack() as stack:
        keys = [key.public for key in KEYS]
        ports = [stack.enter_context(closing(PeerListener("127.0.0.1", 0, key, keys))) for key in KEYS]
        peers = {party: (*ports[party].address, keys[party]) for party in PARTIES}
        threads = stack.enter_context(ThreadPoolExecutor(len(KEYS)))
        linking = [
            threads.submit(connect_peers, JOB, me, peers, KEYS[me], ports[me], soon()) for me in PARTIES
        ]
        made = [stack.enter_context(closing(future.result(PATIENCE_S))) for future in linking]
        for links in made:
            links.allow_until(1e9)
        yield made


def wait_for(party: int) -> Steps[None]:
    yield Round({}, {party: 9})


def reports(clock: Lockstep, mesh: list[Links], chain: tuple[int, ...]) -> dict[int, BaseException]:
    """Let each party of a chain wait for the next; return what each of them reports, but for the last."""
    waiting = list(itertools.pairwise(chain))
    clock.running = len(waiting)
    found: dict[int, BaseException] = {}

    def work(me: int, other: int) -> None:
        try:
            run_party(wait_for(other), mesh[me])
        except (PeerFault, PartiesStalled) as error:
            found[me] = error
        finally:
            clock.ended()

    with ThreadPoolExecutor(len(waiting)) as threads:
        for future in [threads.submit(work, me, other) for me, other in waiting]:
            future.result(PATIENCE_S)
    assert set(found) == {me for me, _ in waiting}
    return found


def named(error: BaseException) -> tuple[int, ...]:
    return error.parties if isinstance(error, PartiesStalled) else (error.party,)  # type: ignore[attr-defined]


FAULTS = {"dead": PeerGone, "stopped": PeerTimeout, "slow": PeerTimeout}
CHAINS = [(0, 1, 2, 3), (2, 0, 3, 1), (3, 2, 1, 0), (1, 3, 0, 2)]
"""Each party stands once at each place."""


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: "".join(map(str, chain)))
@pytest.mark.parametrize("fault", list(FAULTS))
def test_every_party_names_the_end_of_the_chain_whatever_its_fault_and_its_place(
    clock: Lockstep, mesh: list[Links], fault: str, chain: tuple[int, ...]
) -> None:
    culprit = chain[-1]
    clock.beating = [mesh[party] for party in PARTIES if party != culprit or fault == "slow"]
    if fault == "dead":
        mesh[culprit].close()
    found = reports(clock, mesh, chain)
    assert {named(error) for error in found.values()} == {(culprit,)}
    assert {type(error) for error in found.values()} == {FAULTS[fault]}
    assert clock.now <= (2 if fault == "dead" else IDLE_TIMEOUT_S + SILENT_S)


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: "".join(map(str, chain)))
def test_every_party_names_both_ends_of_a_link_that_was_cut(
    clock: Lockstep, mesh: list[Links], chain: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last but one waits for the last, which is alive: but no byte passes between them any more."""
    ends = chain[-2:]
    for me, peer in (ends, ends[::-1]):
        link = mesh[me]._links[peer]
        monkeypatch.setattr(link, "beat", lambda _: None)
    clock.beating = mesh
    found = reports(clock, mesh, chain)
    assert {tuple(sorted(ends))} == {named(error) for error in found.values()}


# --- the rules themselves --------------------------------------------------------------------------


def says(*waits: int, hears: tuple[int, ...] = (0, 1, 2, 3), silence_s: float = 0.0, **more: bool) -> Witness:
    stops = more.pop("stops", False)
    return Witness(Pulse(7, frozenset(waits), frozenset(hears), stops), silence_s, **more)


AWAY = says(silence_s=SILENT_S)
DEAF = says(hears=(0, 1))
RULES = {
    "slow": ({1: says(2), 2: says(3), 3: says()}, {Suspicion(Cause.SLOW, (3,), 7)}),
    "silent": ({1: says(2, hears=(0, 3)), 2: AWAY, 3: DEAF}, {Suspicion(Cause.SILENT, (2,))}),
    "gone": ({1: says(2), 2: says(gone=True), 3: says()}, {Suspicion(Cause.GONE, (2,))}),
    "left by itself": ({1: says(stops=True), 2: says(), 3: says()}, {Suspicion(Cause.GONE, (1,))}),
    "left because of us": ({1: says(0, stops=True), 2: says(), 3: says()}, {Suspicion(Cause.GONE, (1,))}),
    "left because of a dead one": (
        {1: says(3, stops=True, gone=True), 2: says(), 3: says(gone=True)},
        {Suspicion(Cause.GONE, (3,))},
    ),
    "left because of its link": (
        {1: says(1, 3, stops=True, gone=True), 2: says(), 3: says()},
        {Suspicion(Cause.LINK, (1, 3))},
    ),
    "our own link": ({1: AWAY, 2: says(), 3: DEAF}, {Suspicion(Cause.LINK, (0, 1))}),
    "their link": ({1: says(2, hears=(0, 3)), 2: says(), 3: says()}, {Suspicion(Cause.LINK, (1, 2))}),
    "everybody": ({1: AWAY, 2: AWAY, 3: AWAY}, {Suspicion(Cause.CUT_OFF, (0,))}),
    "denies": ({1: says(0), 2: says(), 3: says()}, {Suspicion(Cause.DENIES, (1,))}),
    "circle": ({1: says(2), 2: says(3), 3: says(2)}, {Suspicion(Cause.CIRCLE, (2, 3))}),
    "several": (
        {1: says(2, 3), 2: says(), 3: says(gone=True)},
        {Suspicion(Cause.SLOW, (2,), 7), Suspicion(Cause.GONE, (3,))},
    ),
    "inside a frame": (
        {1: says(2, inside_frame=True), 2: says(), 3: says()},
        {Suspicion(Cause.SLOW, (1,), 7)},
    ),
}


@pytest.mark.parametrize(("seen", "expected"), RULES.values(), ids=RULES)
def test_who_keeps_party_0_that_waits_for_party_1(seen: dict[int, Witness], expected: set[Suspicion]) -> None:
    assert accuse(0, [1], seen) == expected
