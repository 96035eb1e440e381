"""The builtin functions: they check types and pay before they work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from chain.primitives.values import INT_BITS_MAX, Value
from contracts.language.faults import Reverted
from contracts.language.limits import (
    INT_MAX,
    MEM_DICT,
    MEM_ENTRY,
)
from contracts.language.run import dates
from contracts.language.run.machine import Machine
from contracts.language.run.operators import INTS, divide_both, made, to_int, to_text, too_many_bits
from contracts.language.run.payments import copied, count_cap, need, new_entries, put
from contracts.language.run.sorting import sort_values
from contracts.language.run.values import check_key, less, type_name, wrong_type
from contracts.language.run.walks import (
    Lazy,
    collect,
    each_of,
    lazy_enumerate,
    lazy_range,
    lazy_reversed,
    lazy_zip,
    pulled_items,
)

Builtin = Callable[..., Value]


NONE: Any = object()
"""The extreme of nothing."""


def _len(_: Machine, value: Value) -> int:
    if type(value) not in (list, dict, tuple, str, bytes):
        raise wrong_type(f"len() of {type_name(value)}")
    return len(value)


def _abs(m: Machine, value: Value) -> int:
    if type(value) not in INTS:
        raise wrong_type(f"abs() of {type_name(value)}")
    return made(m, abs(value))


def _extreme(wanted: bool) -> Builtin:
    """max when wanted, else min; the first of equals wins, as in Python."""

    def builtin(m: Machine, *values: Any) -> Value:
        if len(values) == 1:
            items = each_of(m, values[0], 5)
        else:
            m.charge(5 * len(values))
            items = iter(values)
        best = next(items, NONE)
        if best is NONE:
            raise Reverted("VALUE_ERROR", "the extreme of nothing; default=… says what it is then")
        for item in items:
            if less(m, best, item) if wanted else less(m, item, best):
                best = item
        return best

    return builtin


def keyed_extreme(m: Machine, items: Iterator[Any], key: Callable[[Any], Value], wanted: bool) -> Value:
    """max when wanted, else min, by what `key` gives for each item; `NONE` of nothing."""
    best, measure = NONE, None
    for item in items:
        size = key(item)
        if best is NONE or (less(m, measure, size) if wanted else less(m, size, measure)):
            best, measure = item, size
    return best


def _sum(m: Machine, values: Any) -> Value:
    total = 0
    for item in each_of(m, values, 5):
        if type(item) not in INTS:
            raise wrong_type(f"sum() of {type_name(item)}")
        total += item
        if not -INT_MAX <= total <= INT_MAX:
            raise too_many_bits()
    return made(m, total)


def _all(m: Machine, values: Any) -> bool:
    return all(_tested(m, values))


def _any(m: Machine, values: Any) -> bool:
    return any(_tested(m, values))


def _tested(m: Machine, values: Any) -> Iterator[Value]:
    if type(values) is Lazy and values.pulled:
        return pulled_items(m, values.items, 1)
    items = collect(m, values)
    m.charge(len(items) >> 4)
    return iter(items)


def _dict(m: Machine, pairs: Any = None) -> dict[Any, Value]:
    if type(pairs) is dict:
        return copied(m, pairs)
    made: dict[Any, Value] = {}
    if type(pairs) is Lazy and pairs.pulled:
        m.allocate(MEM_DICT)
        items = _growing(m, made, pairs.items)
    else:
        found = [] if pairs is None else collect(m, pairs)
        new_entries(m, len(found))
        m.charge(4 * len(found))
        items = iter(found)
    for pair in items:
        if type(pair) not in (tuple, list) or len(pair) != 2:
            raise wrong_type("dict() takes a dict, or pairs")
        check_key(pair[0])
        put(m, made, pair[0], pair[1])
    return made


def _growing(m: Machine, made: dict[Any, Value], items: Iterator[Any]) -> Iterator[Any]:
    for item in items:
        count_cap(len(made) + 1)
        m.charge(4)
        m.allocate(MEM_ENTRY)
        yield item


def _tuple(m: Machine, values: Any = ()) -> tuple[Value, ...]:
    return values if type(values) is tuple else tuple(collect(m, values))


def _sorted(m: Machine, values: Any, reverse: Value = False) -> list[Value]:
    return sort_values(m, collect(m, values), need(reverse, bool, "sorted"))


def _ord(_: Machine, text: Value) -> int:
    if type(text) is not str or len(text) != 1:
        raise wrong_type("ord() takes one character")
    return ord(text)


def _chr(m: Machine, code: Value) -> str:
    need(code, int, "chr")
    if not 0 <= code <= 0x10FFFF or 0xD800 <= code < 0xE000:
        raise Reverted("VALUE_ERROR", "chr() of a number that is no character")
    m.text(1, code < 128)
    return chr(code)


def from_hex(m: Machine, text: Value) -> bytes:
    """`bytes.fromhex(text)`: pairs of hex digits, nothing else."""
    need(text, str, "fromhex")
    m.text(len(text) >> 1)
    m.charge(len(text) >> 6)
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if 2 * len(data) != len(text):  # CPython skips white space between pairs
        raise Reverted("VALUE_ERROR", "fromhex takes pairs of hex digits")
    return data


def from_bytes(m: Machine, data: Value, order: Value) -> int:
    """`int.from_bytes(data, "big")`: unsigned, at most 512 bytes."""
    need(data, bytes, "from_bytes")
    if order not in ("big", "little"):
        raise Reverted("VALUE_ERROR", 'from_bytes: the byte order is "big" or "little"')
    if len(data) > INT_BITS_MAX // 8:
        raise Reverted("VALUE_ERROR", f"from_bytes: {INT_BITS_MAX // 8} bytes at most")
    return made(m, int.from_bytes(data, "big" if order == "big" else "little"))


def is_instance(value: Value, kinds: tuple[type, ...]) -> bool:
    """`isinstance(value, int)`; a bool counts as an int here, as in Python."""
    return type(value) in kinds or (type(value) is bool and int in kinds)


FUNCTIONS: dict[str, Builtin] = {
    "abs": _abs,
    "all": _all,
    "any": _any,
    "bool": lambda _, value=False: bool(value),
    "chr": _chr,
    "dict": _dict,
    "divmod": divide_both,
    "int": to_int,
    "len": _len,
    "list": lambda m, values=(): collect(m, values),
    "max": _extreme(True),
    "min": _extreme(False),
    "ord": _ord,
    "sorted": _sorted,
    "str": lambda m, value="": to_text(m, value),
    "sum": _sum,
    "tuple": _tuple,
    "enumerate": lazy_enumerate,
    "range": lazy_range,
    "reversed": lazy_reversed,
    "zip": lazy_zip,
}
STATIC_FUNCTIONS: dict[tuple[str, str], Builtin] = {
    ("bytes", "fromhex"): from_hex,
    ("int", "from_bytes"): from_bytes,
    **dates.FUNCTIONS,
}
