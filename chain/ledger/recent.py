"""A dict of bounded size, which forgets what it has known longest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V", bound=Sized)


class Recent(Generic[K, V]):
    """Holds at most `bytes_max`, or one value, and what was added since the last update; for one thread."""

    __slots__ = ("_bytes", "_bytes_max", "_extra", "_items", "get")

    def __init__(self, bytes_max: int, extra: int) -> None:
        """`bytes_max` is what the lengths of values may sum up to, `extra` is added for each of them."""
        self._items: dict[K, V] = {}
        self._bytes, self._bytes_max, self._extra = 0, bytes_max, extra
        self.get: Callable[[K], V | None] = self._items.get
        """Returns what is kept under a key, None when it is forgotten."""

    def add(self, key: K, value: V) -> None:
        """Keep a value under a key that has none."""
        self._bytes += len(value) + self._extra
        self._items[key] = value

    def update(self, values: Mapping[K, V]) -> None:
        """Keep several values at once, and forget what is too much."""
        olds = [old for old in map(self.get, values) if old is not None]
        self._bytes += sum(map(len, values.values())) - sum(map(len, olds))
        self._bytes += (len(values) - len(olds)) * self._extra
        self._items.update(values)
        if self._bytes > self._bytes_max:
            self._forget()

    def _forget(self) -> None:
        """Forget an eighth at once: finding the first items of a dict costs a walk over those that went."""
        while self._bytes > self._bytes_max and len(self._items) > 1:
            for key in list(islice(self._items, len(self._items) // 8 or 1)):
                self._bytes -= len(self._items.pop(key)) + self._extra
