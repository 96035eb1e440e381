"""Fair shares at the agent's port: places, rates and log lines of each holder; no IO, no clock.

A *holder* is what a connection can be charged to: the address that it comes from until it has proved a key,
that key from then on. Every rule here takes from the holder that has the most, so that nobody's flood costs
another holder its place. Where several have the most, one of them loses by chance: a crowd of holders with
one item each cannot push a given one out for certain by coming often enough, as it could if the oldest went.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

H = TypeVar("H", bound=Hashable)
T = TypeVar("T", bound=Hashable)


class Places(Generic[H, T]):
    """Bounded set of places for items of holders; the holder with the most items gives way."""

    def __init__(self, total: int, each: int, source: random.Random) -> None:
        """Hold at most `total` items, at most `each` of one holder; `source` is the chance among equals."""
        self._total, self._each, self._random = total, each, source
        self._holder_of: dict[T, H] = {}  # in the order in which they came
        self._counts: Counter[H] = Counter()

    def add(self, holder: H, item: T) -> T | None:
        """Give an item a place; return the item that lost its own for it, None when there was room.

        A holder beyond its share loses its own oldest item. When all places are taken, the oldest item of
        the holder with the most goes: the newcomer's own unless another holds more, of several one by chance.
        """
        evicted = self._to_evict(holder)
        if evicted is not None:
            self.remove(evicted)
        self._holder_of[item] = holder
        self._counts[holder] += 1
        return evicted

    def remove(self, item: T) -> None:
        """Free an item's place, if it has one."""
        holder = self._holder_of.pop(item, None)
        if holder is not None:
            self._counts[holder] -= 1
            if not self._counts[holder]:
                del self._counts[holder]

    def count(self, holder: H) -> int:
        """Return how many places a holder has."""
        return self._counts[holder]

    def __len__(self) -> int:
        return len(self._holder_of)

    def __contains__(self, item: object) -> bool:
        return item in self._holder_of

    def __iter__(self) -> Iterator[T]:
        """Yield the items, the oldest first."""
        return iter(list(self._holder_of))

    def _to_evict(self, holder: H) -> T | None:
        own = self._counts[holder]
        if own >= self._each:
            return self._oldest(lambda other: other == holder)
        if len(self) < self._total:
            return None
        most = max(self._counts.values())
        if own == most:
            return self._oldest(lambda other: other == holder)
        loser = self._random.choice([other for other, count in self._counts.items() if count == most])
        return self._oldest(lambda other: other == loser)

    def _oldest(self, chosen: Callable[[H], bool]) -> T:
        return next(item for item, holder in self._holder_of.items() if chosen(holder))


class Rates(Generic[H]):
    """Token bucket of each holder; a holder that was forgotten, because others came since, has a full one."""

    def __init__(self, per_second: float, burst: float, holders: int) -> None:
        """Allow each holder `burst` at once and `per_second` in the long run; remember so many holders."""
        self._per_second, self._burst, self._holders = per_second, burst, holders
        self._buckets: dict[H, tuple[float, float]] = {}
        """Holder -> (tokens, when they were counted), the least recent first."""

    def allow(self, holder: H, now: float) -> bool:
        """Take a token of a holder's; False when it has none. `now` is in seconds and never goes back."""
        tokens, then = self._buckets.pop(holder, (self._burst, now))
        tokens = min(self._burst, tokens + (now - then) * self._per_second)
        allowed = tokens >= 1.0
        self._buckets[holder] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > self._holders:
            del self._buckets[next(iter(self._buckets))]
        return allowed


class Lines(Generic[H]):
    """Bound on log lines in a span of time, of each holder and in all; lines beyond it are counted."""

    def __init__(self, each: int, total: int, window_s: float) -> None:
        self._each, self._total, self._window_s = each, total, window_s
        self._ends = 0.0
        self._written: Counter[H] = Counter()
        self._kept_back: Counter[H] = Counter()
        self._unnamed = 0

    def allow(self, holder: H, now: float) -> bool:
        """Tell whether a line about a holder may be written; one that may not is counted."""
        if not self._written and not self.kept_back:
            self._ends = now + self._window_s
        if self._written[holder] < self._each and self._written.total() < self._total:
            self._written[holder] += 1
            return True
        if holder in self._kept_back or len(self._kept_back) < self._total:
            self._kept_back[holder] += 1
        else:
            self._unnamed += 1
        return False

    @property
    def kept_back(self) -> int:
        """How many lines of this window were not written."""
        return self._kept_back.total() + self._unnamed

    def summary(self, now: float) -> tuple[int, H | None] | None:
        """Begin a new window when this one is over; return (lines kept back, who most of them named).

        None when the window is not over, or nothing was kept back in it.
        """
        if now < self._ends or not (self._written or self.kept_back):
            return None
        count = self.kept_back
        most = next((holder for holder, _ in self._kept_back.most_common(1)), None)
        self._written.clear()
        self._kept_back.clear()
        self._unnamed = 0
        return (count, most) if count else None
