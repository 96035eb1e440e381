"""Rotation: items of several clients, taken in turns; an item that is not wanted any more leaves at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Rotation(Generic[T]):
    """Round-robin queue of items of several clients; those of one client are taken in their order."""

    __slots__ = ("_size", "_waiting")

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, client: str, item: T) -> None:
        """Add an item of a client; it must not be there yet."""
        self._waiting.setdefault(client, OrderedDict())[item] = None
        self._size += 1

    def discard(self, client: str, item: T) -> None:
        """Remove an item, if it is there, in constant time."""
        items = self._waiting.get(client)
        if items is None or item not in items:
            return
        del items[item]
        self._size -= 1
        if not items:
            del self._waiting[client]

    def clients(self) -> Iterator[str]:
        """Yield who has items, in the order of their turns."""
        return iter(self._waiting)

    def number(self, client: str) -> int:
        """Return how many items a client has."""
        return len(self._waiting.get(client, ()))

    def has_others(self, client: str) -> bool:
        """Tell whether anybody else has items."""
        return len(self._waiting) > (client in self._waiting)

    def first(self, client: str) -> T | None:
        """Return the oldest item of a client; None when it has none."""
        return next(iter(self._waiting.get(client, ())), None)

    def pop(self, client: str = "") -> T:
        """Take the next item, or that of a client; there must be one."""
        client = client or next(iter(self._waiting))
        items = self._waiting[client]
        item, _ = items.popitem(last=False)
        self._size -= 1
        if items:
            self._waiting.move_to_end(client)
        else:
            del self._waiting[client]
        return item
