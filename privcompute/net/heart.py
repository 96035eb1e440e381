"""Heart of one job's links: a thread that says now and then what this party does, also while it computes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger("assent.agent")


class Heart:
    """A thread that calls `beat` every so many seconds until it is stopped."""

    def __init__(self, beat: Callable[[], None], every_s: float) -> None:
        self._beat, self._every_s = beat, every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait until it has ended."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._beat()
            while not self._stopped.wait(self._every_s):
                self._beat()
        except Exception:
            log.exception("pulses: the thread ended; peers will take this agent for silent")
