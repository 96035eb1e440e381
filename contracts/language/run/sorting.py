"""Metered sorting: it pays n·log n comparisons of the dearest item, and takes items that all have one shape.

The items are checked to be mutually comparable before CPython's sort runs, so which pairs it happens to
compare (an implementation detail) can never decide between a result and an error.
"""

from __future__ import annotations

from chain.primitives.values import Value
from contracts.language.limits import MEM_CONTAINER, MEM_ITEM
from contracts.language.run.machine import Machine
from contracts.language.run.values import is_narrow, type_name, wrong_type

Shape = tuple[type, ...]


def sort_values(m: Machine, items: list[Value], reverse: bool) -> list[Value]:
    """Return a sorted copy of ints, texts, bytes, or of tuples (or lists) of them, one shape for all."""
    _pay(m, items)
    return sorted(items, reverse=reverse)


def sort_by(m: Machine, items: list[Value], keys: list[Value], reverse: bool) -> list[Value]:
    """Return a copy of the items in the order of their keys, equal ones in the order that they had."""
    _pay(m, keys)
    m.charge(len(items))
    m.allocate(MEM_CONTAINER + MEM_ITEM * len(items))
    return [items[place] for place in sorted(range(len(items)), key=keys.__getitem__, reverse=reverse)]


def _pay(m: Machine, items: list[Value]) -> None:
    """Pay for sorting and for the list that it makes; see to it that any two items can be compared."""
    count = len(items)
    m.charge(3 * count)
    m.allocate(MEM_CONTAINER + MEM_ITEM * count)
    if count < 2:
        return
    shape: dict[int, type] = {}
    kind = _kind(items[0])
    longest = 0
    for item in items:
        if _kind(item) is not kind:
            raise wrong_type(f"sorting {type_name(item)} among {type_name(items[0])}")
        longest = max(longest, _weight(m, item, kind, shape))
    m.charge((count * count.bit_length() * (2 + longest)) >> 2)


def _kind(item: Value) -> type:
    return int if type(item) is bool else type(item)


def _weight(m: Machine, item: Value, kind: type, shape: dict[int, type]) -> int:
    """Return what comparing one item may cost, in quarters of a gas, having checked its shape."""
    if kind is int:
        return item.bit_length() >> 11 if type(item) is int else 0
    if kind is str or kind is bytes:
        return len(item) >> (8 if is_narrow(item) else 6)
    if kind is not tuple and kind is not list:
        raise wrong_type(f"{type_name(item)} has no order")
    m.charge(4 + 3 * len(item))
    weight = 2
    for place, part in enumerate(item):
        part_kind = _kind(part)
        if part_kind not in (int, str, bytes) or shape.setdefault(place, part_kind) is not part_kind:
            raise wrong_type(
                f"sorting {type_name(item)}s: item {place} is of different types, or has no order"
            )
        weight += 1 + _weight(m, part, part_kind, shape)
    return weight
