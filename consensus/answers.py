"""Rate limit of answers: bounds what one peer can make a replica send or verify.

Pure: time is an argument, in milliseconds of a monotonic clock.
"""

from __future__ import annotations

from consensus.settings import Timing

ANSWERS_MAX = 4_096
"""Answers that are remembered: those of one interval to 128 validators, 32 each."""
INTERVAL_SHARE = 4
"""Each answer goes to each peer once in `status_ms` divided by this."""


class AnswerLimit:
    """Lets each peer have each answer once an interval."""

    def __init__(self, timing: Timing) -> None:
        """Have answered nobody."""
        self._interval = timing.status_ms // INTERVAL_SHARE
        self._answered: dict[tuple[bytes, bytes], int] = {}
        """(peer, what it asked) -> when it was answered."""
        self.dropped = 0
        """Questions that stayed unanswered, since their sender asked too often."""

    def __len__(self) -> int:
        """Return how many answers are remembered: ANSWERS_MAX at most."""
        return len(self._answered)

    def take(self, peer: bytes, what: bytes, now: int) -> bool:
        """Tell whether a peer may have this answer now, and count it either way."""
        if len(self._answered) >= ANSWERS_MAX:
            self._answered = {key: at for key, at in self._answered.items() if now - at < self._interval}
        last = self._answered.get((peer, what))
        if len(self._answered) >= ANSWERS_MAX or (last is not None and now - last < self._interval):
            self.dropped += 1
            return False
        self._answered[peer, what] = now
        return True
