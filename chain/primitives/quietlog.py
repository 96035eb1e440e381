"""A log that others cannot fill: of each kind of line only so many in a while, then how many were left out.

The kind of a line is its template, so there are as many kinds as places in the code that log; whatever a
template is filled with, by peers or clients, makes no new one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

PERIOD_S = 10.0
LINES_MAX = 20
"""Of one kind in a period; errors count alike, for what repeats so often is known."""
KINDS_MAX = 1_024
"""Kinds remembered: a library may fill its lines in before it logs them."""


@dataclass(slots=True)
class _Kind:
    began: float
    lines: int = 0
    left_out: int = 0


class Quiet(logging.Filter):
    """A filter for handlers: lets the first LINES_MAX lines of a kind through in every PERIOD_S."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """`now` returns seconds."""
        super().__init__()
        self._now = now
        self._kinds: dict[tuple[str, int, str], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether to write a line; the first one after others were left out tells how many."""
        now = self._now()
        key = (record.name, record.levelno, str(record.msg))
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= KINDS_MAX:
                del self._kinds[next(iter(self._kinds))]
            kind = self._kinds[key] = _Kind(now)
        if now - kind.began >= PERIOD_S:
            left_out = kind.left_out
            kind.began, kind.lines, kind.left_out = now, 0, 0
            if left_out:
                record.msg = f"{record.getMessage()} ({left_out} lines like this were left out before it)"
                record.args = ()
        if kind.lines >= LINES_MAX:
            kind.left_out += 1
            return False
        kind.lines += 1
        return True
