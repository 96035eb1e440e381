"""Payload fetches of one replica: which payloads are missing, who is asked for each next, and when.

Pure: time is an argument, in milliseconds of a monotonic clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from consensus.settings import Timing

GRACE_SHARE = 8
"""A payload is asked for after `status_ms` divided by this: proposals and COMMITs overtake one another."""
RETRY_SHARE = 2
"""The next validator is asked after `status_ms` divided by this."""


@dataclass(frozen=True, slots=True)
class PayloadFetch:
    """One payload that is being fetched."""

    attempts: int
    """How many validators were asked."""
    ask_at: int
    """When the next one is asked, in ms."""


class PayloadFetches:
    """All payloads that are being fetched: at most two for each height of the consensus window."""

    def __init__(self, timing: Timing) -> None:
        """Fetch nothing yet."""
        self._timing = timing
        self._fetches: dict[tuple[int, bytes], PayloadFetch] = {}

    def due(
        self, missing: Collection[tuple[int, bytes]], now: int, others: Callable[[int], Sequence[bytes]]
    ) -> list[tuple[bytes, int, bytes]]:
        """Return (peer, height, digest) of what is asked for now, of one peer after another.

        `missing` holds (height, digest) of every payload that is needed and unknown: a new one is asked for
        after a moment, one that is gone no more. `others(height)` are the peers that vote on a height; where
        there are none, nobody is asked.
        """
        first = PayloadFetch(0, now + self._timing.status_ms // GRACE_SHARE)
        self._fetches = {key: self._fetches.get(key) or first for key in missing}
        found: list[tuple[bytes, int, bytes]] = []
        for (height, digest), fetch in self._fetches.items():
            if now < fetch.ask_at:
                continue
            later = now + self._timing.status_ms // RETRY_SHARE
            self._fetches[height, digest] = PayloadFetch(fetch.attempts + 1, later)
            peers = others(height)
            if peers:
                found.append((peers[fetch.attempts % len(peers)], height, digest))
        return found

    def deadlines(self) -> list[int]:
        """Return when somebody is asked next for each payload, in ms."""
        return [fetch.ask_at for fetch in self._fetches.values()]
