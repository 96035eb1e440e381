"""The methods of values, in a table by name and type: no attribute of a value is ever looked up.

Each function takes the machine, the receiver and the arguments; it checks their types, pays, then works.
"""

from __future__ import annotations

from typing import Any

from chain.primitives.values import INT_BITS_MAX, Value
from contracts.language import vocabulary
from contracts.language.faults import Reverted
from contracts.language.limits import ELEMENTS_MAX, GAS_ITEM_TEST, MEM_ENTRY, MEM_ITEM
from contracts.language.run.machine import UNSET, Machine
from contracts.language.run.payments import (
    check_grown,
    copied,
    count_cap,
    deleted,
    entry_cap,
    need,
    new_items,
    pay_key,
    pay_merge,
)
from contracts.language.run.sorting import sort_values
from contracts.language.run.texts import BOTH, BYTES, TEXT, Method
from contracts.language.run.values import SCALARS, check_key, equal, pay_scan, type_name, wrong_type

Entry = tuple[Method, int, int]
"""(function, least, most) number of arguments."""

# --- list, tuple, dict -----------------------------------------------------------------------------------


def _append(m: Machine, items: list[Value], item: Value) -> None:
    if len(items) >= ELEMENTS_MAX:
        count_cap(len(items) + 1)
    m.allocate(MEM_ITEM)
    items.append(item)


def _extend(m: Machine, items: list[Value], more: Value) -> None:
    if type(more) not in (list, tuple):
        raise wrong_type(f"extend takes a list or tuple, not {type_name(more)}")
    count_cap(len(items) + len(more))
    new_items(m, len(more))
    items.extend(more)


def _insert(m: Machine, items: list[Value], place: Value, item: Value) -> None:
    count_cap(len(items) + 1)
    m.charge(len(items) >> 6)
    m.allocate(MEM_ITEM)
    items.insert(_clip(need(place, int, "insert")), item)


def _clip(place: int) -> int:
    return max(-ELEMENTS_MAX, min(ELEMENTS_MAX, place))


def _list_pop(m: Machine, items: list[Value], place: Value = -1) -> Value:
    need(place, int, "pop")
    if not -len(items) <= place < len(items):
        raise Reverted("INDEX_ERROR", f"pop({place}) of a list of {len(items)}")
    m.charge((len(items) - place if place >= 0 else -place) >> 6)
    return items.pop(place)


def _remove(m: Machine, items: list[Value], item: Value) -> None:
    items.pop(_item_index(m, items, item))


def _item_index(m: Machine, items: Value, wanted: Value) -> int:
    if type(wanted) in SCALARS:
        pay_scan(m, items, wanted)
        try:
            return int(items.index(wanted))
        except ValueError:
            raise Reverted("VALUE_ERROR", "no such item") from None
    m.charge(GAS_ITEM_TEST * len(items))
    for place, item in enumerate(items):
        if equal(m, item, wanted):
            return place
    raise Reverted("VALUE_ERROR", "no such item")


def _item_count(m: Machine, items: Value, wanted: Value) -> int:
    if type(wanted) in SCALARS:
        pay_scan(m, items, wanted)
        return int(items.count(wanted))
    m.charge(GAS_ITEM_TEST * len(items))
    return sum([equal(m, item, wanted) for item in items])


def _reverse(m: Machine, items: list[Value]) -> None:
    m.charge(len(items) >> 8)
    items.reverse()


def _sort(m: Machine, items: list[Value], reverse: Value = False) -> None:
    items[:] = sort_values(m, items, need(reverse, bool, "sort"))


def _copy(m: Machine, items: list[Value]) -> list[Value]:
    new_items(m, len(items))
    return items.copy()


def _clear(m: Machine, items: Value) -> None:
    m.charge(len(items) >> 5)
    items.clear()


def _dict_get(m: Machine, entries: dict[Any, Value], key: Value, default: Value = None) -> Value:
    check_key(key)
    pay_key(m, key)
    return entries.get(key, default)


def _dict_pop(m: Machine, entries: dict[Any, Value], key: Value, *default: Value) -> Value:
    check_key(key)
    pay_key(m, key)
    value = entries.pop(key, UNSET)
    if value is not UNSET:
        deleted(m, entries)
        return value
    if not default:
        raise Reverted("KEY_ERROR", "pop: no such key")
    return default[0]


def _set_default(m: Machine, entries: dict[Any, Value], key: Value, default: Value = None) -> Value:
    check_key(key)
    pay_key(m, key)
    before = len(entries)
    value = entries.setdefault(key, default)
    if len(entries) != before:
        check_grown(m, entries, key)
        m.allocate(MEM_ENTRY)
    return value


def _update(m: Machine, entries: dict[Any, Value], more: Value) -> None:
    need(more, dict, "update")
    m.allocate(MEM_ENTRY * len(more))
    most = pay_merge(m, entries, more)
    entries.update(more)
    entry_cap(len(entries), most)


def _dict_copy(m: Machine, entries: dict[Any, Value]) -> dict[Any, Value]:
    return copied(m, entries)


# --- int -------------------------------------------------------------------------------------------------


def _bit_length(_: Machine, number: int) -> int:
    return number.bit_length()


def _to_bytes(m: Machine, number: int, length: Value, order: Value) -> bytes:
    need(length, int, "to_bytes")
    if order not in ("big", "little"):
        raise Reverted("VALUE_ERROR", 'to_bytes: the byte order is "big" or "little"')
    if not 0 <= length <= INT_BITS_MAX // 8:
        raise Reverted("VALUE_ERROR", f"to_bytes: {INT_BITS_MAX // 8} bytes at most")
    if number < 0 or number.bit_length() > 8 * length:
        raise Reverted("VALUE_ERROR", f"to_bytes: the number does not fit {length} bytes")
    m.text(length)
    return number.to_bytes(length, "big" if order == "big" else "little")


_BY_TYPE: dict[type, dict[str, Method]] = {
    str: {**TEXT, **BOTH},
    bytes: {**BYTES, **BOTH},
    int: {"bit_length": _bit_length, "to_bytes": _to_bytes},
    tuple: {"index": _item_index, "count": _item_count},
    list: {
        "append": _append,
        "clear": _clear,
        "copy": _copy,
        "count": _item_count,
        "extend": _extend,
        "index": _item_index,
        "insert": _insert,
        "pop": _list_pop,
        "remove": _remove,
        "reverse": _reverse,
        "sort": _sort,
    },
    dict: {
        "clear": _clear,
        "copy": _dict_copy,
        "get": _dict_get,
        "pop": _dict_pop,
        "setdefault": _set_default,
        "update": _update,
    },
}
METHODS: dict[str, dict[type, Entry]] = {}
"""name -> type of the receiver -> (function, least, most) number of arguments."""
for _kind, _methods in _BY_TYPE.items():
    for _name, _method in _methods.items():
        METHODS.setdefault(_name, {})[_kind] = (_method, *vocabulary.METHODS[_kind.__name__][_name])
