"""Bounded cache: a map that forgets what it has known longest when it grows beyond a bound."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Values by key, up to a weight in all; any thread may call `get` and `add`.

    It keeps results that can be had again: forgetting one costs time and changes nothing. `get` is one
    lookup in a dict, so a value that is looked up often is kept no longer than others. None is no value.
    """

    __slots__ = ("_items", "_lock", "_most", "_weigh", "_weight", "get")

    def __init__(self, most: int, weigh: Callable[[V], int] | None = None) -> None:
        """Keep values that weigh at most `most` together, or the last one; without `weigh` each weighs 1."""
        self._items: dict[K, V] = {}
        self._most, self._weigh, self._weight = most, weigh, 0
        self._lock = Lock()
        self.get: Callable[[K], V | None] = self._items.get
        """Returns the value under a key, None when it is not known (any more)."""

    def __len__(self) -> int:
        """How many values are known."""
        return len(self._items)

    def add(self, key: K, value: V) -> V:
        """Keep a value, instead of the one that was kept under its key, and return it."""
        items, weigh = self._items, self._weigh
        with self._lock:
            former = items.pop(key, None)
            items[key] = value
            if weigh is not None:
                self._weight += weigh(value) - (0 if former is None else weigh(former))
            elif former is None:
                self._weight += 1
            if self._weight > self._most:
                self._forget()
        return value

    def get_or_make(self, key: K, make: Callable[[K], V]) -> V:
        """Return the value under a key, made and kept if it is not known."""
        found = self.get(key)
        return self.add(key, make(key)) if found is None else found

    def _forget(self) -> None:
        """Forget an eighth at once: finding the first items of a dict costs a walk over those that went."""
        items, weigh = self._items, self._weigh
        while self._weight > self._most and len(items) > 1:
            for key in list(islice(items, len(items) // 8 or 1)):
                value = items.pop(key)
                self._weight -= 1 if weigh is None else weigh(value)
