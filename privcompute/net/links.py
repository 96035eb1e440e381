"""Links of one party in one job: they carry out rounds, keep deadlines, and name who missed one.

All peers of a round are written to and read from at the same time (non-blocking sockets, one poll), so a
round cannot deadlock however large its messages are.

A round has a deadline from its start: `IDLE_TIMEOUT_S`, and the time that the largest message so far takes at
`LEAST_BYTES_PER_S`. Nothing that arrives moves it: bytes that drip in buy no time. A whole run has one, too.

Whom to name: a party that is silent may itself wait for a third one. So a party that has waited for half of
a round's time tells all its peers (`PeerLink.notify`), and a timeout names the one party that is late and did
not say so, or that stopped inside a frame. If that is not exactly one, nobody is named. The time of a round
never shrinks within a job, so that whoever waits for the silent party itself runs out of it first.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterable, Mapping
from typing import TypeVar

from chain.primitives.crypto import digest
from chain.primitives.errors import AssentError
from privcompute.errors import PartiesStalled, PeerTimeout, ProgramFault, TimeOver
from privcompute.mpc.rounds import Received, Round, Steps, as_bytes, as_round
from privcompute.net.cancellation import Cancellation
from privcompute.net.peer_link import PeerLink, Transcript

IDLE_TIMEOUT_S = 60.0
"""Time for a round, beside that for its bytes: what a party may compute between two messages."""
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

    def exchange(self, step: Round, stage: int) -> Received:
        """Carry out one round; raise a PeerFault, PartiesStalled, TimeOver, or Cancelled."""
        self.cancellation.check()
        unknown = (set(step.send) | set(step.receive)) - set(self._links)
        if unknown:
            raise ProgramFault(f"a round with parties {sorted(unknown)}, linked are {list(self.peers)}")
        self.rounds += bool(step.send or step.receive)
        turn = _Turn(time.monotonic())
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
                return received
            self._wait(sending, list(waiting), turn)

    def close(self) -> None:
        """Close every link."""
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
        """Wait for any of these links, but not beyond the round's deadline or the whole span's."""
        now, late = time.monotonic(), {*sending, *waiting}
        allowed_s = self._idle_timeout_s + self._largest / LEAST_BYTES_PER_S
        if now >= self._deadline:
            raise self._over(late)
        if now >= turn.began + allowed_s:
            raise self._stalled(late)
        if not turn.notified and now >= turn.began + allowed_s / 2:
            turn.notified = True
            for link in self._links.values():
                link.notify()
        poll = select.poll()
        poll.register(self.cancellation, select.POLLIN)
        for link in waiting:
            poll.register(link, select.POLLIN)
        for link in sending:
            poll.register(link, select.POLLOUT | (select.POLLIN if link in waiting else 0))
        until = turn.began + (allowed_s if turn.notified else allowed_s / 2)
        if any(link.has_more for link in waiting):
            until = now
        charged = [link for link in late if len(self._links) == 1 or link.inside_frame]
        poll.poll(max(0.0, min(self._deadline, until) - now) * 1000)
        self.cancellation.check()
        waited_s = time.monotonic() - now
        for link in charged:
            link.charged_s += waited_s

    def _stalled(self, late: Iterable[PeerLink]) -> AssentError:
        """Name the party that kept this round waiting, if it can be but one."""
        for link in late:
            link.hear()
        suspects = [link for link in late if link.inside_frame or not link.waits or len(self._links) == 1]
        begun = [link for link in suspects if link.inside_frame]
        names = _names(begun or suspects or late)
        remedy = "check agent and network there, then propose the job anew"
        if len(begun or suspects) == 1:
            return PeerTimeout((begun or suspects)[0].peer, f"no progress with {names} in time; {remedy}")
        return PartiesStalled(f"no progress with {names} in time, which of them is not clear; {remedy}")

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


class _Turn:
    """When a round began, and whether its peers know that we wait."""

    __slots__ = ("began", "notified")

    def __init__(self, began: float) -> None:
        self.began, self.notified = began, False


def _names(links: Iterable[PeerLink]) -> str:
    parties = sorted(link.peer for link in links)
    return f"part{'ies' if len(parties) > 1 else 'y'} {', '.join(map(str, parties))}"
