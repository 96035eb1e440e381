"""Log of our own faults, bounded in rate, since clients may bring them about as often as they like."""

from __future__ import annotations

import logging
from collections.abc import Callable

log = logging.getLogger("assent.rpc")

FAULT_LOG_S = 10.0
"""Faults are logged, with their traceback, no more often."""


class FaultLog:
    """Logs the exception that is being handled, unless another was logged a moment ago."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._logged_at = float("-inf")
        self._more = 0

    def log(self, what: str) -> None:
        """Log that `what` failed, with the traceback, unless another fault was logged a moment ago."""
        now = self._now()
        if now - self._logged_at < FAULT_LOG_S:
            self._more += 1
            return
        log.exception("%s failed (%d faults before it were not logged)", what, self._more)
        self._logged_at, self._more = now, 0
