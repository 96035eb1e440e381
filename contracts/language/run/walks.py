"""Walks: what a loop, a comprehension or a builtin goes through, at most 10,000 items, each paid for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from chain.primitives.values import Value
from contracts.language.faults import Reverted
from contracts.language.limits import (
    ELEMENTS_MAX,
    GAS_LAZY,
    MEM_ITEM,
    MEM_NUMBER,
    MEM_TUPLE,
    MEM_TUPLE_ITEM,
)
from contracts.language.run.machine import Machine
from contracts.language.run.operators import SMALL
from contracts.language.run.payments import need, new_items
from contracts.language.run.values import type_name, wrong_type

PAIR = MEM_TUPLE + 2 * MEM_TUPLE_ITEM
"""Bytes of a tuple of two."""
_GONE: Any = object()
_DIRECT = frozenset({list, tuple, range, str, bytes})


class Lazy:
    """The walk that `enumerate`, `zip` or `reversed` makes: items, what each costs, and the list walked."""

    __slots__ = ("gas", "held", "items", "kept", "parts", "pulled")

    def __init__(
        self,
        items: Iterator[Any],
        gas: int,
        kept: int,
        parts: int,
        held: list[Value] | None = None,
        *,
        pulled: bool = False,
    ) -> None:
        """Note the bytes of an item that is kept as it is, and of one that is taken apart at once.

        `pulled`: the items are computed by the contract, one at a time, when they are asked for.
        """
        self.pulled = pulled
        self.items = items
        self.gas = gas
        self.kept = kept
        self.parts = parts
        self.held = held


class Entries:
    """The view that `d.keys()`, `d.values()` or `d.items()` makes, which can only be walked."""

    __slots__ = ("entries", "kept", "name")

    def __init__(self, entries: dict[Any, Value], name: str) -> None:
        """Keep both, and the bytes of each item that is made."""
        self.entries = entries
        self.name = name
        self.kept = PAIR if name == "items" else 0


def walk(m: Machine, value: Any, *, apart: bool = False) -> tuple[Any, int, int, list[Value] | None]:
    """Return what a loop walks, the gas and the bytes of each item, and the list that must keep its size.

    A dict is walked by the keys that it has at the beginning; what walks it looks after its keys by itself.
    Items of values are there already; those of Lazy are made, and `apart` tells that the loop unpacks them.
    """
    kind = type(value)
    if kind is list:
        return value, 0, 0, value
    if kind in _DIRECT:
        return value, 0, 0, None
    if kind is dict:
        new_items(m, len(value))
        return _walked(value, "keys"), GAS_LAZY, 0, None
    if kind is Entries:
        items = _entries(m, value.entries, value.name)
        return items, GAS_LAZY, 0 if apart else value.kept, None
    if kind is Lazy:
        return value.items, value.gas, value.parts if apart else value.kept, value.held
    raise wrong_type(f"{type_name(value)} cannot be walked")


def changed_while_walked() -> Reverted:
    """Return the revert of a walk over what has meanwhile got or lost an item or a key."""
    return Reverted("CHANGED_WHILE_WALKED", "what is walked got or lost items; walk a copy: list(…)")


def _walked(entries: dict[Any, Value], name: str) -> Iterator[Any]:
    """CPython raises RuntimeError here, too, but where exactly depends on how its release grows a dict."""
    names = list(entries)
    size = len(names)
    for key in names:
        if len(entries) != size or (item := entries.get(key, _GONE)) is _GONE:
            raise changed_while_walked()
        yield key if name == "keys" else item if name == "values" else (key, item)
    if list(entries) != names:
        raise changed_while_walked()


def _entries(m: Machine, entries: dict[Any, Value], name: str) -> Iterator[Any]:
    new_items(m, len(entries))
    if name == "items":
        m.charge(len(entries))
    return _walked(entries, name)


def _steady(items: Any, held: list[Value] | None) -> Any:
    """Return the items of a walk of which others take no notice, looking after the size of what is walked."""
    return items if held is None else _watched(items, held)


def _watched(items: Any, held: list[Value]) -> Iterator[Any]:
    size = len(held)
    for item in items:
        yield item
        if len(held) != size:
            raise changed_while_walked()


def collect(m: Machine, value: Any) -> list[Value]:
    """Return the items of anything that can be walked, at most 10,000 of them, paid for."""
    kind = type(value)
    if kind is list or kind is tuple or kind is dict:
        new_items(m, len(value))
        return list(value)
    if kind is Entries:
        return _all_of(m, value.entries, value.name)
    walked, gas, size, _ = walk(m, value)
    quarters = 1 + 4 * gas
    most = min(4 * m.gas // quarters, m.memory // (MEM_ITEM + size), ELEMENTS_MAX) + 1
    items = list(islice(walked, most))  # one more than can be paid for, at most
    new_items(m, len(items))
    m.charge(quarters * len(items) >> 2)
    m.allocate(size * len(items))
    return items


def each_of(m: Machine, value: Any, gas: int) -> Iterator[Any]:
    """Give the items of anything that can be walked, for a builtin that pays `gas` for each.

    What a generator computes is taken one item at a time: that it fails, or is never asked for, can be seen.
    """
    if type(value) is Lazy and value.pulled:
        return pulled_items(m, value.items, gas)
    items = collect(m, value)
    m.charge(gas * len(items))
    return iter(items)


def pulled_items(m: Machine, items: Iterator[Any], gas: int) -> Iterator[Any]:
    """Give items that are computed when they are asked for, each for this much gas."""
    for item in items:
        m.charge(gas)
        yield item


def steady_items(m: Machine, value: Any, gas: int) -> Iterator[Any]:
    """Give the items of a walk that runs code of the contract at each: what is walked keeps its size."""
    items, each, room, held = walk(m, value)
    for item in _steady(items, held):
        m.charge(gas + each)
        m.allocate(room)
        yield item


def small(number: Value, what: str) -> int:
    """Return an int of at most 62 bits: what counts on from it makes numbers that their places pay for."""
    if not -SMALL < need(number, int, what) < SMALL:
        raise Reverted("VALUE_ERROR", f"{what}: a number of more than 62 bits; it counts within -2^62..2^62")
    return int(number)


def lazy_range(m: Machine, *bounds: Value) -> range:
    """`range(…)` of ints."""
    for bound in bounds:
        small(bound, "range")
    if len(bounds) == 3 and bounds[2] == 0:
        raise Reverted("VALUE_ERROR", "range with step 0")
    m.charge(1)
    return range(*bounds)


def _inner(value: Any) -> int:
    """Return the bytes that each item of a walk takes inside a tuple that is made of it."""
    if type(value) is Lazy or type(value) is Entries:
        return value.kept
    return MEM_NUMBER if type(value) is range else 0


def lazy_enumerate(m: Machine, value: Any, start: Value = 0) -> Lazy:
    """`enumerate(items, start)`: no walk is so long that its numbers leave a word."""
    small(start, "enumerate")
    items, gas, _, held = walk(m, value)
    inner = _inner(value)
    kept = PAIR + MEM_NUMBER + inner
    return Lazy(enumerate(items, start), GAS_LAZY + gas, kept, inner, held)


def lazy_zip(m: Machine, *values: Any) -> Lazy:
    """`zip(a, b, …)`, to the end of the shortest."""
    walks = [walk(m, value) for value in values]
    gas = GAS_LAZY + len(walks) // 4
    gas += sum([each + GAS_LAZY * (held is not None) for _, each, _, held in walks])
    inner = sum(map(_inner, values))
    kept = MEM_TUPLE + MEM_TUPLE_ITEM * len(walks) + inner
    return Lazy(zip(*[_steady(items, held) for items, _, _, held in walks], strict=False), gas, kept, inner)


def lazy_reversed(m: Machine, value: Any) -> Lazy:
    """`reversed(items)`."""
    if type(value) in (list, tuple, range):
        inner = _inner(value)
        return Lazy(reversed(value), 0, inner, inner, value if type(value) is list else None)
    return Lazy(reversed(collect(m, value)), 0, 0, 0)


def view_of(_: Machine, entries: Value, name: str) -> Entries:
    """`d.keys()`, `d.values()`, `d.items()`."""
    return Entries(need(entries, dict, name), name)


def _all_of(m: Machine, entries: dict[Any, Value], name: str) -> list[Any]:
    new_items(m, len(entries))
    if name == "items":
        m.charge(len(entries))
        m.allocate(PAIR * len(entries))
        return list(entries.items())
    return list(entries) if name == "keys" else list(entries.values())
