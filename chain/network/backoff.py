"""When to try again: exponential, capped, jittered."""

from __future__ import annotations

import random

BASE_S = 0.1
CAP_S = 5.0


class Backoff:
    """Delays that double from BASE_S to CAP_S, each drawn from the upper half of its range.

    The jitter keeps nodes that lost one another together from dialling in step; the cap keeps a healed
    network from waiting (Quorum 1681 reached 327,680 s without one).
    """

    __slots__ = ("_failures", "_random")

    def __init__(self, source: random.Random) -> None:
        self._random, self._failures = source, 0

    def reset(self) -> None:
        """Forget the failures: the last attempt worked."""
        self._failures = 0

    def next(self) -> float:
        """Return the seconds to wait after one more failure."""
        ceiling = min(CAP_S, BASE_S * 2.0 ** min(self._failures, 16))
        self._failures += 1
        return ceiling * (0.5 + self._random.random() / 2)
