"""What is told of refused connections: one line for many, however many there are; seconds, no clock."""

from __future__ import annotations

from collections import Counter

PERIOD_S = 10.0
"""At most one line in so long."""
CAUSES_MAX = 16
"""Causes told apart."""


class Refusals:
    """Counts refused connections until the next line is due."""

    def __init__(self) -> None:
        """Begin with none; the first one is told of at once."""
        self._counts: Counter[str] = Counter()
        self._last = ""
        self._told_at: float | None = None

    def note(self, cause: str, address: str, why: str) -> None:
        """Count one; `cause` is one of our own words, `why` may quote the other side, made safe to log."""
        if cause in self._counts or len(self._counts) < CAUSES_MAX:
            self._counts[cause] += 1
        self._last = f"{address}: {why}"

    def due(self, now: float) -> str:
        """Return a line that tells of all since the last one; empty when none is due."""
        if not self._counts or (self._told_at is not None and now - self._told_at < PERIOD_S):
            return ""
        causes = ", ".join(f"{count} {cause}" for cause, count in self._counts.most_common())
        total = self._counts.total()
        self._counts.clear()
        self._told_at = now
        return f"{total} connections refused ({causes}); the last from {self._last}"
