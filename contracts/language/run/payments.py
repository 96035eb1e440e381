"""Payments and checks that operators, methods and builtins share: types of arguments, sizes of results."""

from __future__ import annotations

from typing import Any

from chain.primitives.values import INT_KEYED_MAX, Value
from contracts.language.faults import LimitExceeded
from contracts.language.limits import (
    ELEMENTS_MAX,
    GAS_DELETE,
    GAS_ITEMS,
    GAS_MERGE,
    MEM_CONTAINER,
    MEM_DICT,
    MEM_ENTRY,
    MEM_ITEM,
)
from contracts.language.run.machine import Machine
from contracts.language.run.values import size_of, type_name, wrong_type


def need(value: Value, kind: type, what: str) -> Any:
    """Return the value if it has exactly this type; revert otherwise."""
    if type(value) is not kind:
        raise wrong_type(f"{what} takes {kind.__name__}, not {type_name(value)}")
    return value


def count_cap(count: int) -> None:
    """Refuse a container of more than 10,000 elements."""
    if count > ELEMENTS_MAX:
        raise LimitExceeded("ELEMENTS", f"{count} elements, at most {ELEMENTS_MAX}")


def entry_cap(count: int, most: int = INT_KEYED_MAX) -> None:
    """Refuse a dict of more entries than it may have, which are few when any key is an int."""
    if count > most:
        count_cap(count)
        raise LimitExceeded(
            "ELEMENTS",
            f"{count} entries of a dict with int keys, at most {INT_KEYED_MAX}; "
            "more in a Map, in a list, or with texts as keys: str(key)",
        )


def put(m: Machine, entries: dict[Any, Value], key: Value, value: Value) -> bool:
    """Store under a key that is checked and paid for, unless the dict is full; tell whether it is new.

    One search: that for a chosen int may pass every place of the table.
    """
    before = len(entries)
    entries[key] = value
    if len(entries) == before:
        return False
    if before >= INT_KEYED_MAX:
        check_grown(m, entries, key)
    return True


def check_grown(m: Machine, entries: dict[Any, Value], key: Value) -> None:
    """Refuse a dict that has too many entries with this key; one of more than 128 has texts alone."""
    count = len(entries)
    if count > INT_KEYED_MAX:
        count_cap(count)
        if type(key) is int or (count == INT_KEYED_MAX + 1 and _has_ints(m, entries, count)):
            entry_cap(count)


def pay_merge(
    m: Machine, one: dict[Any, Value], other: dict[Any, Value], *, both_copied: bool = False
) -> int:
    """Pay for putting the entries of `other` among those of `one`; return how many there may be then.

    Int keys pay for the worst searches: each passes the entries of `other` that are there already and the
    places of `one`, of which deletions leave up to six for each entry (`deleted`). `both_copied`: the entries
    of `one` go into a new dict before.
    """
    had, more = len(one), len(other)
    m.charge(GAS_MERGE + ((had + more if both_copied else more) >> 3))
    if not _has_ints(m, one) and not _has_ints(m, other):
        return ELEMENTS_MAX
    passed = more * (6 * had + more)
    m.charge((passed + had * had if both_copied else passed) >> 6)
    return INT_KEYED_MAX


def _has_ints(m: Machine, entries: dict[Any, Value], most: int = INT_KEYED_MAX) -> bool:
    """Tell whether any key is an int; in a dict of more than `most` entries none is."""
    if not 0 < len(entries) <= most:
        return False
    m.charge(len(entries) >> 2)
    return not _TEXT.issuperset(map(type, entries))


_TEXT = frozenset({str})
_ENTRY_ROOM = 160
"""Bytes that CPython may keep for each entry of a dict before its empty places are closed up. A table has at
most 108 for each entry when it has grown, so at least a third of them was deleted since.
"""
_TABLE_ROOM = 1024


def deleted(m: Machine, entries: dict[Any, Value]) -> None:
    """Pay for a key that was deleted. CPython keeps its place, which every walk and search then passes.

    Whether places are closed up here depends on CPython's tables, and can be seen in time alone.
    """
    m.charge(GAS_DELETE)
    count = len(entries)
    if not count & 7 and entries.__sizeof__() > _TABLE_ROOM + _ENTRY_ROOM * count:
        kept = {**entries}
        entries.clear()
        entries.update(kept)


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


def copied(m: Machine, entries: dict[Any, Value]) -> dict[Any, Value]:
    """Return a copy of a dict, paid for."""
    m.allocate(MEM_DICT + MEM_ENTRY * len(entries))
    pay_merge(m, {}, entries)
    return entries.copy()


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
