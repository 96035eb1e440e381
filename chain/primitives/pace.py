"""How much of a processor this thread gets when it wants one, from Linux' own account of it.

A share is a part of a second of this thread's work. On a machine that is busy with other things a second
holds less work, so whoever may cost 200 ms of it must cost less by the clock.
"""

from __future__ import annotations

from collections.abc import Callable

LEAST = 0.05
"""However busy the machine is: shares must not vanish."""
WEIGHT = 0.3
"""Of the latest sample in the mean: with two samples a second, a change shows within about two seconds."""
SAMPLE_NS = 1_000_000
"""Less work than this between two samples says nothing."""
Times = Callable[[], tuple[int, int]]
"""Returns for how many nanoseconds the thread ran so far, and for how many it was ready and did not run."""


def thread_times() -> tuple[int, int]:
    """Return the times of the calling thread (`/proc/thread-self/schedstat`); zeros where nobody tells."""
    try:
        with open("/proc/thread-self/schedstat", "rb") as file:
            ran, waited, _ = file.read(96).split()
    except OSError:
        return 0, 0
    return int(ran), int(waited)


class Pace:
    """The part of a processor that the thread gets: 1.0 on a machine with nothing else to do."""

    def __init__(self, times: Times) -> None:
        """Begin with 1.0; `times` is read at every `sample`."""
        self._times, self._last = times, times()
        self.value = 1.0

    def sample(self) -> None:
        """Take what happened since the last sample into the mean; call about twice a second."""
        now = self._times()
        ran, waited = now[0] - self._last[0], now[1] - self._last[1]
        if ran + waited < SAMPLE_NS:
            return
        self._last = now
        self.value += WEIGHT * (max(LEAST, ran / (ran + waited)) - self.value)
