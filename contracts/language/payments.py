"""Checks and payments that operators, methods and builtins share: types of arguments, sizes of results."""

from __future__ import annotations

from typing import Any

from chain.primitives.values import Value
from contracts.language.faults import LimitExceeded
from contracts.language.limits import ELEMENTS_MAX, GAS_ITEMS, MEM_CONTAINER, MEM_DICT, MEM_ENTRY, MEM_ITEM
from contracts.language.machine import Machine
from contracts.language.values import size_of, type_name, wrong_type


def need(value: Value, kind: type, what: str) -> Any:
    """Return the value if it has exactly this type; revert otherwise."""
    if type(value) is not kind:
        raise wrong_type(f"{what} takes {kind.__name__}, not {type_name(value)}")
    return value


def count_cap(count: int) -> None:
    """Refuse a container of more than 10,000 elements."""
    if count > ELEMENTS_MAX:
        raise LimitExceeded("ELEMENTS", f"{count} elements, at most {ELEMENTS_MAX}")


def new_items(m: Machine, count: int) -> None:
    """Pay for making a list or tuple of this many items."""
    count_cap(count)
    m.charge(GAS_ITEMS + (count >> 5))
    m.allocate(MEM_CONTAINER + MEM_ITEM * count)


def new_entries(m: Machine, count: int) -> None:
    """Pay for making a dict of this many entries."""
    count_cap(count)
    m.charge(count >> 3)
    m.allocate(MEM_DICT + MEM_ENTRY * count)


def pay_key(m: Machine, key: Value) -> None:
    """Pay for one dict operation with this key: 1 per 256 characters above the static 5."""
    if type(key) is str and len(key) > 255:
        m.charge(size_of(key) >> 8)


def pay_search(m: Machine, text: Value, part: Value) -> None:
    """Pay for a search whose contents are the worst for CPython (Objects/stringlib/fastsearch.h).

    Short problems, and those with few places to look at, compare up to the whole part at each place; longer
    ones are two-way and linear. Other contents are found faster than they are paid for.
    """
    need(part, type(text), "a search")
    length, size = len(text), len(part)
    places = length - size + 1
    if size < 2 or places < 1:
        m.charge(size_of(text) >> 9)
    elif size < 6 or length < 2_500 or places < 2_200 or (size < 100 and length < 30_000):
        m.charge((places >> 4) + (places * size >> 8))
    else:
        m.charge((length + size) >> 4)
