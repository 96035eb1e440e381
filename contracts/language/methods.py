"""The methods of values, found in a table by (name, type): never by attribute lookup.

Each entry takes the machine, the receiver and the arguments, checks the arguments' types, pays, then works.
Unicode tables differ between CPython versions, so case, class and white-space methods act on ASCII only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from chain.primitives.codec import INT_BITS_MAX, Value
from contracts.language.faults import LimitExceeded, Reverted
from contracts.language.limits import ELEMENTS_MAX, MEM_CONTAINER, MEM_ENTRY, MEM_ITEM
from contracts.language.machine import Machine
from contracts.language.sorting import sort_values
from contracts.language.values import check_key, equal, type_name, wrong_type

Method = Callable[..., Value]

_WHITE = " \t\n\r\x0b\x0c"
_WHITE_RUN = re.compile(r"[ \t\n\r\x0b\x0c]+")
_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_CLASSES = {
    "isdigit": re.compile(r"[0-9]+"),
    "isalpha": re.compile(r"[A-Za-z]+"),
    "isalnum": re.compile(r"[0-9A-Za-z]+"),
    "isspace": re.compile(r"[ \t\n\r\x0b\x0c]+"),
}
_HAS_LOWER, _HAS_UPPER = re.compile(r"[a-z]"), re.compile(r"[A-Z]")


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
    m.charge(count)
    m.allocate(MEM_CONTAINER + MEM_ITEM * count)


def new_entries(m: Machine, count: int) -> None:
    """Pay for making a dict of this many entries."""
    count_cap(count)
    m.charge(2 * count)
    m.allocate(MEM_CONTAINER + MEM_ENTRY * count)


# --- str and bytes ---------------------------------------------------------------------------------------


def _scan(m: Machine, text: Value) -> None:
    m.charge(len(text) >> 4)


def pay_search(m: Machine, text: Value, part: Value) -> None:
    """Pay for finding one text in another: CPython compares up to 100 characters at each place, then two-way."""
    need(part, type(text), "a search")
    m.charge((len(text) * (1 + (min(len(part), 128) >> 4)) + len(part)) >> 3)


def _case(table: dict[int, int]) -> Method:
    def method(m: Machine, text: str) -> str:
        m.text(len(text))
        _scan(m, text)
        return text.translate(table)

    return method


def _is_class(pattern: re.Pattern[str]) -> Method:
    def method(m: Machine, text: str) -> bool:
        m.charge(len(text) >> 2)
        return pattern.fullmatch(text) is not None

    return method


def _has_only(wanted: re.Pattern[str], other: re.Pattern[str]) -> Method:
    def method(m: Machine, text: str) -> bool:
        m.charge(len(text) >> 2)
        return wanted.search(text) is not None and other.search(text) is None

    return method


def _strip(which: str) -> Method:
    cut = {"strip": str.strip, "lstrip": str.lstrip, "rstrip": str.rstrip}[which]

    def method(m: Machine, text: str, characters: Value = None) -> str:
        chosen = _WHITE if characters is None else need(characters, str, which)
        m.charge((len(text) * (1 + len(chosen)) >> 3) + len(chosen))
        m.text(len(text))
        return cut(text, chosen)

    return method


def _split(m: Machine, text: str, separator: Value = None, most: Value = -1) -> list[str]:
    need(most, int, "split")
    limit = min(most, ELEMENTS_MAX + 1) if most >= 0 else ELEMENTS_MAX + 1
    m.charge(len(text) >> 1)
    m.text(len(text))
    if separator is None:
        parts = _split_white(text, limit)
    elif need(separator, str, "split") == "":
        raise Reverted("VALUE_ERROR", "split by an empty text")
    else:
        parts = text.split(separator, limit)
    new_items(m, len(parts))
    m.allocate(50 * len(parts))
    return parts


def _split_white(text: str, limit: int) -> list[str]:
    stripped = text.lstrip(_WHITE)
    if not stripped:
        return []
    if limit == 0:
        return [stripped]
    parts = _WHITE_RUN.split(stripped, limit)
    return parts if parts[-1] else parts[:-1]


def _join(m: Machine, text: Value, items: Value) -> Value:
    kind = type(text)
    if type(items) not in (list, tuple):
        raise wrong_type(f"join takes a list or tuple, not {type_name(items)}")
    m.charge(len(items))
    for item in items:
        if type(item) is not kind:
            raise wrong_type(f"join of {type_name(item)} by {type_name(text)}")
    length = sum([len(item) for item in items]) + len(text) * max(0, len(items) - 1)
    m.text(length)
    return text.join(items)


def _replace(m: Machine, text: Value, old: Value, new: Value, most: Value = -1) -> Value:
    pay_search(m, text, old)
    need(new, type(text), "replace")
    need(most, int, "replace")
    m.charge(len(text) >> 1)
    found = len(text) + 1 if not old else text.count(old)
    times = found if most < 0 else min(found, most)
    m.text(max(0, len(text) + times * (len(new) - len(old))))
    return text.replace(old, new, times)


def _starts(m: Machine, text: Value, part: Value) -> bool:
    _scan(m, need(part, type(text), "startswith"))
    return bool(text.startswith(part))


def _ends(m: Machine, text: Value, part: Value) -> bool:
    _scan(m, need(part, type(text), "endswith"))
    return bool(text.endswith(part))


def _find(m: Machine, text: Value, part: Value) -> int:
    pay_search(m, text, part)
    return int(text.find(part))


def _rfind(m: Machine, text: Value, part: Value) -> int:
    pay_search(m, text, part)
    m.charge(len(text) >> 3)
    place = text[::-1].find(part[::-1])  # CPython's own rfind is quadratic in the worst case
    return -1 if place < 0 else len(text) - len(part) - int(place)


def _text_index(m: Machine, text: Value, part: Value) -> int:
    place = _find(m, text, part)
    if place < 0:
        raise Reverted("VALUE_ERROR", "index: the part does not occur")
    return place


def _text_count(m: Machine, text: Value, part: Value) -> int:
    pay_search(m, text, part)
    return int(text.count(part))


def _remove_prefix(m: Machine, text: str, part: Value) -> str:
    m.text(len(text))
    return text.removeprefix(need(part, str, "removeprefix"))


def _remove_suffix(m: Machine, text: str, part: Value) -> str:
    m.text(len(text))
    return text.removesuffix(need(part, str, "removesuffix"))


def _partition(m: Machine, text: str, part: Value) -> tuple[str, str, str]:
    pay_search(m, text, part)
    if not part:
        raise Reverted("VALUE_ERROR", "partition by an empty text")
    m.text(len(text))
    new_items(m, 3)
    return text.partition(part)


def _zfill(m: Machine, text: str, width: Value) -> str:
    m.text(max(len(text), need(width, int, "zfill")))
    return text.zfill(max(0, width))


def _is_ascii(_: Machine, text: str) -> bool:
    return text.isascii()


def _encode(m: Machine, text: str) -> bytes:
    m.text(4 * len(text) if not text.isascii() else len(text))
    return text.encode()


def _decode(m: Machine, data: bytes) -> str:
    m.text(len(data))
    m.charge(len(data) >> 3)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Reverted("VALUE_ERROR", "decode: the bytes are not UTF-8") from None


def _hex(m: Machine, data: bytes) -> str:
    m.text(2 * len(data))
    return data.hex()


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
    m.charge(len(items) >> 4)
    m.allocate(MEM_ITEM)
    items.insert(_clip(need(place, int, "insert")), item)


def _clip(place: int) -> int:
    return max(-ELEMENTS_MAX, min(ELEMENTS_MAX, place))


def _list_pop(m: Machine, items: list[Value], place: Value = -1) -> Value:
    need(place, int, "pop")
    if not -len(items) <= place < len(items):
        raise Reverted("INDEX_ERROR", f"pop({place}) of a list of {len(items)}")
    m.charge(len(items) >> 4)
    return items.pop(place)


def _remove(m: Machine, items: list[Value], item: Value) -> None:
    items.pop(_item_index(m, items, item))


def _item_index(m: Machine, items: Value, wanted: Value) -> int:
    m.charge(len(items))
    for place, item in enumerate(items):
        if equal(m, item, wanted):
            return place
    raise Reverted("VALUE_ERROR", "no such item")


def _item_count(m: Machine, items: Value, wanted: Value) -> int:
    m.charge(len(items))
    return sum([equal(m, item, wanted) for item in items])


def _reverse(m: Machine, items: list[Value]) -> None:
    m.charge(len(items) >> 2)
    items.reverse()


def _sort(m: Machine, items: list[Value], reverse: Value = False) -> None:
    items[:] = sort_values(m, items, need(reverse, bool, "sort"))


def _copy(m: Machine, items: list[Value]) -> list[Value]:
    new_items(m, len(items))
    return items.copy()


def _clear(m: Machine, items: Value) -> None:
    m.charge(len(items) >> 2)
    items.clear()


def _dict_get(m: Machine, entries: dict[Any, Value], key: Value, default: Value = None) -> Value:
    check_key(key)
    pay_key(m, key)
    return entries.get(key, default)


def pay_key(m: Machine, key: Value) -> None:
    """Pay for one dict operation with this key: 1 per 32 characters above the static 5."""
    if type(key) is str and len(key) > 32:
        m.charge(len(key) >> 5)


def _dict_pop(m: Machine, entries: dict[Any, Value], key: Value, *default: Value) -> Value:
    check_key(key)
    pay_key(m, key)
    if key not in entries and not default:
        raise Reverted("KEY_ERROR", "pop: no such key")
    return entries.pop(key, *default)


def _set_default(m: Machine, entries: dict[Any, Value], key: Value, default: Value = None) -> Value:
    check_key(key)
    pay_key(m, key)
    if key not in entries:
        count_cap(len(entries) + 1)
        m.allocate(MEM_ENTRY)
    return entries.setdefault(key, default)


def _update(m: Machine, entries: dict[Any, Value], more: Value) -> None:
    need(more, dict, "update")
    new_entries(m, len(more))
    entries.update(more)
    count_cap(len(entries))


def _dict_copy(m: Machine, entries: dict[Any, Value]) -> dict[Any, Value]:
    new_entries(m, len(entries))
    return entries.copy()


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


Entry = tuple[Method, int, int]
"""(function, least, most) number of arguments."""


def _both(entry: Entry) -> dict[type, Entry]:
    return {str: entry, bytes: entry}


METHODS: dict[str, dict[type, Entry]] = {
    "upper": {str: (_case(_UPPER), 0, 0)},
    "lower": {str: (_case(_LOWER), 0, 0)},
    **{name: {str: (_is_class(pattern), 0, 0)} for name, pattern in _CLASSES.items()},
    "islower": {str: (_has_only(_HAS_LOWER, _HAS_UPPER), 0, 0)},
    "isupper": {str: (_has_only(_HAS_UPPER, _HAS_LOWER), 0, 0)},
    "isascii": {str: (_is_ascii, 0, 0)},
    **{name: {str: (_strip(name), 0, 1)} for name in ("strip", "lstrip", "rstrip")},
    "split": {str: (_split, 0, 2)},
    "join": _both((_join, 1, 1)),
    "replace": _both((_replace, 2, 3)),
    "startswith": _both((_starts, 1, 1)),
    "endswith": _both((_ends, 1, 1)),
    "find": _both((_find, 1, 1)),
    "rfind": _both((_rfind, 1, 1)),
    "removeprefix": {str: (_remove_prefix, 1, 1)},
    "removesuffix": {str: (_remove_suffix, 1, 1)},
    "partition": {str: (_partition, 1, 1)},
    "zfill": {str: (_zfill, 1, 1)},
    "encode": {str: (_encode, 0, 0)},
    "decode": {bytes: (_decode, 0, 0)},
    "hex": {bytes: (_hex, 0, 0)},
    "index": {**_both((_text_index, 1, 1)), list: (_item_index, 1, 1), tuple: (_item_index, 1, 1)},
    "count": {**_both((_text_count, 1, 1)), list: (_item_count, 1, 1), tuple: (_item_count, 1, 1)},
    "append": {list: (_append, 1, 1)},
    "extend": {list: (_extend, 1, 1)},
    "insert": {list: (_insert, 2, 2)},
    "pop": {list: (_list_pop, 0, 1), dict: (_dict_pop, 1, 2)},
    "remove": {list: (_remove, 1, 1)},
    "reverse": {list: (_reverse, 0, 0)},
    "sort": {list: (_sort, 0, 1)},
    "copy": {list: (_copy, 0, 0), dict: (_dict_copy, 0, 0)},
    "clear": {list: (_clear, 0, 0), dict: (_clear, 0, 0)},
    "get": {dict: (_dict_get, 1, 2)},
    "setdefault": {dict: (_set_default, 1, 2)},
    "update": {dict: (_update, 1, 1)},
    "bit_length": {int: (_bit_length, 0, 0)},
    "to_bytes": {int: (_to_bytes, 2, 2)},
}
MUTATING = frozenset(
    {"append", "extend", "insert", "pop", "remove", "reverse", "sort", "clear", "setdefault", "update"}
)
