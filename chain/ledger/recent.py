"""A dict that forgets what was not used lately, in two generations: little bookkeeping for each use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Holds at most twice `weight_max`; for one thread."""

    __slots__ = ("_former", "_items", "_weigh", "_weight", "_weight_max")

    def __init__(self, weight_max: int, weigh: Callable[[K, V], int]) -> None:
        """`weight_max` is what the weights of a generation's items may sum up to, `weigh` tells one's."""
        self._items: dict[K, V] = {}
        self._former: dict[K, V] = {}
        self._weight, self._weight_max, self._weigh = 0, weight_max, weigh

    def __len__(self) -> int:
        """Items at hand; those of both generations count twice."""
        return len(self._items) + len(self._former)

    def get(self, key: K) -> V | None:
        """Return what was put last under a key, None when it is forgotten."""
        found = self._items.get(key)
        return self._former.get(key) if found is None else found

    def put(self, key: K, value: V) -> None:
        """Keep a value in the place of a former one."""
        items, weight = self._items, self._weigh(key, value)
        old = items.get(key)
        self._weight += weight if old is None else weight - self._weigh(key, old)
        if self._weight > self._weight_max:
            self._former, self._items, self._weight = items, {}, weight
            items = self._items
        items[key] = value

    def discard(self, keys: Iterable[K]) -> None:
        """Forget some items."""
        for key in keys:
            old = self._items.pop(key, None)
            self._weight -= 0 if old is None else self._weigh(key, old)
            self._former.pop(key, None)
