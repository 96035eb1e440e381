"""Patience with slow primaries: how long one may make us wait in all, measured by what the others take.

The timer of a view restarts with every delivery, so a primary could take just under the timeout for each of
its heights. This is the second bound: over a tenure (heights in a row of one primary), waiting may cost

    grace + FACTOR · (median of what the other primaries took a height) · heights

before its replica asks for the next view (Clement et al., "Making Byzantine Fault Tolerant Systems Tolerate
Byzantine Faults", NSDI 2009, compare a primary with its predecessors likewise). Grace is half the timeout and
doubles whenever it ran out, up to the longest timeout, so that a network on which everybody is slow settles.
"""

from __future__ import annotations

from statistics import median_high

from consensus.settings import Timing

FACTOR = 3
"""A primary may be as many times slower than the median of the others."""
GRACE_SHARE = 2
"""A tenure's grace begins at the timeout divided by this."""


class Patience:
    """What the last tenure of each primary took a height, and what the present one has cost; all in ms."""

    def __init__(self, timing: Timing) -> None:
        """Know nobody yet: until enough others were measured, only the view timer bounds a primary."""
        self._timing = timing
        self._grace = timing.timeout_ms // GRACE_SHARE
        self._taken: dict[bytes, float] = {}
        """Primary -> what its last tenure took a height; it has validators in force only."""
        self._primary = b""
        self._waited = self._spent = self._heights = 0

    def follow(self, primary: bytes, validators: tuple[bytes, ...]) -> None:
        """Begin another tenure where another primary leads the next height."""
        if primary == self._primary:
            return
        if self._heights:
            self._taken[self._primary] = self._waited / self._heights
            if self._spent <= self._grace // 2:
                self._grace = max(self._grace // 2, self._timing.timeout_ms // GRACE_SHARE)
        if not self._taken.keys() <= set(validators):
            self._taken = {key: taken for key, taken in self._taken.items() if key in validators}
        self._primary, self._waited, self._spent, self._heights = primary, 0, 0, 0

    def waited(self, milliseconds: int, *, charged: bool) -> None:
        """Add time for which the primary, or the votes on what it proposed, made us wait.

        Time that is not `charged` counts among what a tenure took and is not held against this primary, which
        may not have known what waited.
        """
        self._waited += milliseconds
        self._spent += milliseconds if charged else 0

    def delivered(self, heights: int) -> None:
        """Count as many heights of this tenure as delivered."""
        self._heights += heights

    def left(self, faults: int) -> int | None:
        """Return how much more waiting is borne in this tenure, in ms; None while too few are measured.

        Of 2f+1 others at least f+1 are correct, so the median is no higher than what a correct one took, and
        no lower than what another took.
        """
        others = [taken for key, taken in self._taken.items() if key != self._primary]
        if len(others) < 2 * faults + 1:
            return None
        return int(self._grace + FACTOR * median_high(others) * (self._heights + 1)) - self._spent

    def ran_out(self) -> None:
        """Double the grace, since perhaps it was not the primary that was slow, and measure anew."""
        self._grace = min(2 * self._grace, self._timing.timeout_max_ms)
        self._waited = self._spent = self._heights = 0
        self._primary = b""
