"""Slots of an agent: how many jobs compute here at once, and which of those that wait gets the next one.

A job computes only while it has a slot at every one of its parties. Its agents meet (meeting.py) and tell one
another in rounds whether they have a slot for it. Nothing is held from one round to the next, so there is no
deadlock. Who was first on the ledger is served first, which is the same order everywhere:

- Where nobody says that it is `BUSY`, a job could begin now, and a free slot is kept for it against younger
  ones. So of several jobs that could begin, the eldest does in its next round.
- Where somebody is busy, younger jobs may use what is free here, but only for `OVERTAKEN_S`. After that a
  free slot is kept for the job until those that compute elsewhere have ended. So no job starves.
- A slot is kept for a job no longer than that and the longest time of a job here: then it is itself stuck.

A job whose parties do not all answer does not wait here at all (`wait` follows when they have met).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

OVERTAKEN_S = 600.0
"""How long younger jobs may use a free slot while a job waits for another party's."""


class Offer(IntEnum):
    """What a party says of its slots in a round of a meeting."""

    BUSY = 0
    """Jobs compute in all of them."""
    LATER = 1
    """One is free, and kept for an elder job."""
    NOW = 2
    """One is reserved for this job until the round is over."""


@dataclass(slots=True)
class _Waiting:
    """A job whose parties have met, and wait for slots."""

    order: tuple[int, str]
    since: float
    reserved: bool = False
    others_busy: bool = False
    """Of the last round: a party had no slot to offer."""


class Slots:
    """The slots of one agent; every method may be called from any thread."""

    def __init__(self, total: int, longest_s: float) -> None:
        """Let `total` jobs compute at once, none of them longer than `longest_s` seconds."""
        self._total, self._longest_s = total, longest_s
        self._lock = threading.Lock()
        self._taken: set[str] = set()
        self._waiting: dict[str, _Waiting] = {}

    @property
    def taken(self) -> frozenset[str]:
        """The jobs that have a slot."""
        with self._lock:
            return frozenset(self._taken)

    def wait(self, job: str, height: int, now: float) -> None:
        """Let a job wait whose parties have met; `height` is that of the block in which all had accepted it.

        A job that met before, and lost a party since, keeps its place but begins to wait anew.
        """
        with self._lock:
            self._waiting[job] = _Waiting((height, job), now)

    def offer(self, job: str, now: float) -> Offer:
        """Say what we have for a job in the next round; `NOW` reserves a slot until `close` or `leave`."""
        with self._lock:
            mine = self._waiting[job]
            free = self._total - len(self._taken)
            if job in self._taken:
                return Offer.NOW
            if free <= 0:
                return Offer.BUSY
            others = [other for name, other in self._waiting.items() if name != job]
            kept = sum(other.reserved or self._is_kept(other, mine, now) for other in others)
            if free <= kept:
                return Offer.LATER
            mine.reserved = True
            return Offer.NOW

    def close(self, job: str, offers: Iterable[Offer]) -> bool:
        """End a round with what all parties, we among them, have said; tell whether the job has its slot."""
        with self._lock:
            mine, offers = self._waiting[job], list(offers)
            mine.reserved = False
            mine.others_busy = Offer.BUSY in offers
            if any(one is not Offer.NOW for one in offers):
                return False
            del self._waiting[job]
            self._taken.add(job)
            return True

    def leave(self, job: str) -> None:
        """Let a job wait no more: a party is missing, or it is over."""
        with self._lock:
            self._waiting.pop(job, None)

    def take(self, job: str) -> None:
        """Take a slot for a job that the ledger shows running: it had one before this agent restarted."""
        with self._lock:
            self._taken.add(job)

    def give_back(self, job: str) -> None:
        """Give a job's slot back, if it has one."""
        with self._lock:
            self._taken.discard(job)

    def _is_kept(self, other: _Waiting, mine: _Waiting, now: float) -> bool:
        """Tell whether a free slot is kept for another job against this one."""
        waited_s = now - other.since
        if other.order >= mine.order or waited_s >= OVERTAKEN_S + self._longest_s:
            return False
        return waited_s >= OVERTAKEN_S or not other.others_busy
