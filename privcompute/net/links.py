"""Links of one party in one job: they carry out rounds, keep deadlines, and name who missed one.

All peers of a round are written to and read from at the same time (non-blocking sockets, one poll), so a
round cannot deadlock however large its messages are.

A party that waits looks once a second at what it sees of the others (pulse.py), and follows who waits for
whom to the end (blame.py). Who has ended its connection there is named at once. Any other fault is named when
it has stood for `IDLE_TIMEOUT_S`, and the time that the largest message so far takes at `LEAST_BYTES_PER_S`.
Nothing that arrives moves that: bytes that drip in buy no time, and neither do pulses. A whole run has a
deadline, too.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterable, Mapping
from typing import TypeVar

from chain.primitives.crypto import digest
from chain.primitives.errors import AssentError
from privcompute.errors import (
    PartiesStalled,
    PeerFault,
    PeerGone,
    PeerMisbehaved,
    PeerTimeout,
    ProgramFault,
    TimeOver,
)
from privcompute.mpc.rounds import Received, Round, Steps, as_bytes, as_round
from privcompute.net.blame import SILENT_S, Cause, Inquest, Suspicion, Witness, accuse
from privcompute.net.cancellation import Cancellation
from privcompute.net.heart import Heart
from privcompute.net.peer_link import PeerLink, Transcript
from privcompute.net.pulse import PULSE_S, Pulse

IDLE_TIMEOUT_S = 60.0
"""How long a party may keep others waiting, beside the time for its bytes: to compute."""
LOOK_S = 1.0
"""Who waits looks so often at whom it waits for."""
STOOD_STILL_S = SILENT_S
"""Who looks again only after so long stood still itself: what it believed before counts no more."""
LEAST_BYTES_PER_S = 131_072
"""About 1 Mbit/s: a link that is slower ends the job."""

T = TypeVar("T")


class Links:
    """Links of one party to all its peers in one job."""

    def __init__(
        self,
        links: Mapping[int, PeerLink],
        *,
        deadline: float,
        cancellation: Cancellation | None = None,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
    ) -> None:
        """Take one link per peer. `deadline` is a `time.monotonic()` value that ends every wait."""
        self._links = dict(links)
        self._idle_timeout_s = idle_timeout_s
        self._largest = 0
        """Bytes of the largest message so far, sent or awaited."""
        self.cancellation = cancellation or Cancellation()
        self.rounds = 0
        self._steps = 0
        self._late: Iterable[PeerLink] = ()
        self._stops = False
        self._named: frozenset[int] = frozenset()
        """For whose sake we stop."""
        self._heart: Heart | None = None
        for link in self._links.values():
            link.listen(time.monotonic())
        self.allow_until(deadline)

    def allow_until(self, deadline: float) -> None:
        """Begin a span of time with a deadline of its own (`time.monotonic()`)."""
        self._deadline, self._began = deadline, time.monotonic()
        for link in self._links.values():
            link.charged_s = 0.0

    @property
    def peers(self) -> tuple[int, ...]:
        """Indices of the peers, ascending."""
        return tuple(sorted(self._links))

    @property
    def sent_bytes(self) -> int:
        """Bytes sent in frames to all peers, headers included, TLS excluded."""
        return sum(link.sent_bytes for link in self._links.values())

    def transcripts(self) -> dict[int, Transcript]:
        """Return the running hashes of every link, by peer."""
        return {peer: link.transcript() for peer, link in sorted(self._links.items())}

    def channel_hash(self, me: int, peer: int) -> bytes:
        """Return one hash over both directions of a link: equal at both of its ends."""
        seen = self._links[peer].transcript()
        first, second = (seen.sent, seen.received) if me < peer else (seen.received, seen.sent)
        return digest("assent/mpc-channel-transcript", first, second)

    def start_beating(self) -> None:
        """Say to every peer until `close` what we do, also while we compute: from a thread of its own."""
        self._heart = Heart(self.beat, PULSE_S)

    def beat(self) -> None:
        """Say once to every peer that we are alive, for whom we wait, and whom we hear."""
        now = time.monotonic()
        for link in self._links.values():
            link.listen(now)
        hears = frozenset(peer for peer, link in self._links.items() if link.witness(now).heard)
        waits = self._named if self._stops else frozenset(link.peer for link in self._late)
        for link in self._links.values():
            link.beat(Pulse(self._steps, waits, hears, self._stops))

    def stop(self, error: BaseException) -> None:
        """Say to every peer that we do nothing more, and whom we name for it."""
        named: Iterable[int] = ()
        if isinstance(error, PeerFault):
            named = (error.party,)
        elif isinstance(error, PartiesStalled):
            named = error.parties
        known = {*self._links, *(link.me for link in self._links.values())}
        self._named, self._stops = frozenset(known.intersection(named)), True
        self.beat()

    def exchange(self, step: Round, stage: int) -> Received:
        """Carry out one round; raise a PeerFault, PartiesStalled, TimeOver, or Cancelled."""
        self.cancellation.check()
        unknown = (set(step.send) | set(step.receive)) - set(self._links)
        if unknown:
            raise ProgramFault(f"a round with parties {sorted(unknown)}, linked are {list(self.peers)}")
        self.rounds += bool(step.send or step.receive)
        turn = _Turn(time.monotonic() + min(LOOK_S, self._idle_timeout_s))
        if len(self._links) == 1:
            turn.charged = list(self._links.values())
        sending = self._start(step, stage)
        waiting = {self._links[peer]: limit for peer, limit in step.receive.items()}
        received: dict[int, memoryview] = {}
        while True:
            sending = [link for link in sending if not link.push()]
            for link, limit in list(waiting.items()):
                payload = link.pull(stage, limit, step.exact)
                if payload is not None:
                    received[link.peer] = payload
                    del waiting[link]
            if not sending and not waiting:
                self._late, self._steps = (), self._steps + 1
                return received
            self._wait(sending, list(waiting), turn)

    def close(self) -> None:
        """Close every link."""
        if self._heart is not None:
            self._heart.stop()
        for link in self._links.values():
            link.close()

    def _start(self, step: Round, stage: int) -> list[PeerLink]:
        sending = []
        self._largest = max(self._largest, *step.receive.values(), 0)
        for peer, message in step.send.items():
            link, view = self._links[peer], as_bytes(message)
            self._largest = max(self._largest, view.nbytes)
            link.begin_send(stage, view)
            if not link.push():
                sending.append(link)
        for peer in {*step.send, *step.receive}:
            self._links[peer].settle()
        return sending

    def _wait(self, sending: list[PeerLink], waiting: list[PeerLink], turn: _Turn) -> None:
        """Wait for any of these links, but not beyond the time that others have, or the whole span's."""
        now, late = time.monotonic(), {*sending, *waiting}
        self._late = late
        if now >= self._deadline:
            raise self._over(late)
        if now >= turn.look_at or any(link.broken for link in late):
            self._look(late, turn, now)
        poll = select.poll()
        poll.register(self.cancellation, select.POLLIN)
        reading: dict[int, PeerLink] = {}
        for link in self._links.values():
            if not link.broken:
                poll.register(link, _awaited(link, link in sending, link in waiting))
                reading[link.fileno()] = link
        more = any(link.has_more for link in waiting)
        events = poll.poll(0.0 if more else max(0.0, min(self._deadline, turn.look_at) - now) * 1000)
        for descriptor, _ in events:
            link_read = reading.get(descriptor)
            if link_read is not None and link_read not in late:
                link_read.attend()
        self.cancellation.check()
        waited_s = time.monotonic() - now
        for link in turn.charged:
            link.charged_s += waited_s

    def _look(self, late: set[PeerLink], turn: _Turn, now: float) -> None:
        """See how the others do; raise what names the party that has kept us waiting too long."""
        if now - turn.look_at > STOOD_STILL_S:
            turn.inquest.forget()
        seen = {peer: self._see(link, now) for peer, link in self._links.items()}
        me = next(iter(late)).me
        suspicions = accuse(me, [link.peer for link in late], seen)
        accused = {party for one in suspicions for party in one.parties}
        turn.charged = [self._links[party] for party in accused if len(accused) == 1 and party != me]
        allowed_s = self._idle_timeout_s + self._largest / LEAST_BYTES_PER_S
        turn.look_at = now + min(LOOK_S, allowed_s)
        standing = turn.inquest.standing(suspicions, now, allowed_s)
        if standing:
            raise self._charge(standing, allowed_s)

    def _see(self, link: PeerLink, now: float) -> Witness:
        link.listen(now)
        link.hear()
        seen = link.witness(now)
        strangers = (seen.pulse.waits | seen.pulse.hears) - {*self._links, link.me}
        if strangers:
            raise PeerMisbehaved(
                link.peer,
                f"party {link.peer} names a party {min(strangers)} in its pulses, which no job has",
            )
        return seen

    def _charge(self, standing: list[Suspicion], waited_s: float) -> AssentError:
        """Turn what has stood too long into the error that names its parties."""
        one, parties = standing[0], sorted({party for one in standing for party in one.parties})
        names = f"part{'ies' if len(parties) > 1 else 'y'} {', '.join(map(str, parties))}"
        text = f"no progress, {_WHY[one.cause].format(names, waited_s)}; {_REMEDY}"
        if len(parties) > 1 or one.cause is Cause.CUT_OFF:
            return PartiesStalled(tuple(parties), text)
        if one.cause is Cause.GONE:
            link = self._links[parties[0]]
            return PeerGone(link.peer, f"the link to party {link.peer} broke ({link.broken}); {_REMEDY}")
        return PeerTimeout(parties[0], text)

    def _over(self, late: Iterable[PeerLink]) -> AssentError:
        """Name the party that took more than half of the whole span, if one did."""
        span_s = self._deadline - self._began
        for link in self._links.values():
            if 2 * link.charged_s > span_s:
                return PeerTimeout(
                    link.peer,
                    f"party {link.peer} took {link.charged_s:.1f} s of the {span_s:.1f} s that this job has;"
                    " check agent and network there, then propose the job anew",
                )
        return TimeOver(
            f"the {span_s:.1f} s that this job has here are over, and {_names(late)} still due: raise"
            " policy.job_time_max_ms in agent.toml, or propose the job anew with a longer deadline"
        )


def run_party(protocol: Steps[T], links: Links, stage: int = 0) -> T:
    """Drive one party's protocol over its links to its end and return its result.

    Every frame carries `stage`; all parties number their stages alike. All peers are told when it ends early.
    """
    try:
        step = next(protocol)
        while True:
            step = protocol.send(links.exchange(as_round(step), stage))
    except StopIteration as stop:
        result: T = stop.value
        return result
    except BaseException as error:
        links.stop(error)
        raise
    finally:
        protocol.close()


class _Turn:
    """One wait of ours: when we look again, what we saw so far, and whom this time is held against."""

    __slots__ = ("charged", "inquest", "look_at")

    def __init__(self, look_at: float) -> None:
        self.look_at = look_at
        self.inquest = Inquest()
        self.charged: list[PeerLink] = []


_REMEDY = "check agent and network there, then propose the job anew"
_WHY = {
    Cause.GONE: "the connections to {0} ended",
    Cause.CUT_OFF: "nothing has come from anybody else for {1:.0f} s, as if the network of {0} were cut off",
    Cause.SILENT: "nothing has come from {0} for {1:.0f} s, neither here nor elsewhere",
    Cause.SLOW: "{0} is alive, waits for nobody, and has done nothing further for {1:.0f} s",
    Cause.DENIES: "{0} says that it waits for us, who have sent everything, and has done so for {1:.0f} s",
    Cause.LINK: "{0} have not heard each other for {1:.0f} s, though both are alive",
    Cause.CIRCLE: "{0} have said for {1:.0f} s that they wait for each other",
}


def _awaited(link: PeerLink, sending: bool, waiting: bool) -> int:
    """Return the poll events to wait for: pulses of all peers, but nothing behind a frame that came early."""
    events = select.POLLOUT if sending else 0
    return events | (select.POLLIN if waiting or not link.ahead else select.POLLRDHUP)


def _names(links: Iterable[PeerLink]) -> str:
    parties = sorted(link.peer for link in links)
    return f"part{'ies' if len(parties) > 1 else 'y'} {', '.join(map(str, parties))}"
