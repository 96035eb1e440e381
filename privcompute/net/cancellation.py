"""Cancellation of a worker thread from another thread, also while it waits."""

from __future__ import annotations

import contextlib
import os
import select

from privcompute.errors import Cancelled


class Cancellation:
    """A switch that stops a job's worker thread from another thread, also while it waits for peers."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._reason: str | None = None

    def cancel(self, reason: str) -> None:
        """Make every wait of the job raise Cancelled(reason), now and later."""
        if self._reason is None:
            self._reason = reason
            os.write(self._writer, b"\0")

    def check(self) -> None:
        """Raise Cancelled if the switch was thrown."""
        if self._reason is not None:
            raise Cancelled(f"stopped by this party: {self._reason}")

    def pause(self, seconds: float) -> None:
        """Sleep, unless and until the switch is thrown; then raise Cancelled."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.poll(seconds * 1000)
        self.check()

    def fileno(self) -> int:
        """A descriptor that becomes readable at cancellation."""
        return self._reader

    def __del__(self) -> None:
        for descriptor in (self._reader, self._writer):
            with contextlib.suppress(OSError):
                os.close(descriptor)
