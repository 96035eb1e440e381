"""The builtin functions, on checked types and paid beforehand; walkables are bounded at 10,000 items."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from chain.primitives.codec import INT_BITS_MAX, Value
from contracts.language.faults import Reverted
from contracts.language.limits import ELEMENTS_MAX
from contracts.language.machine import Machine
from contracts.language.operators import INTS, add, divide_both, to_int, to_text
from contracts.language.payments import need, new_entries, new_items
from contracts.language.sorting import sort_values
from contracts.language.values import check_key, less, type_name, wrong_type

Builtin = Callable[..., Value]
_WALKS: tuple[object, ...] = (reversed([]), reversed(()), iter(range(1)), iter(range(2**70)))
LAZY_TYPES = frozenset({range, zip, enumerate, *[type(walk) for walk in _WALKS]})


def walk(m: Machine, value: Value) -> Any:
    """Return what a loop walks: items as they are, a dict by the keys it has now."""
    kind = type(value)
    if kind is list or kind is tuple or kind is range:
        return value
    if kind is dict:
        new_items(m, len(value))
        return list(value)
    if kind is str or kind is bytes or kind in LAZY_TYPES:
        return value
    raise wrong_type(f"{type_name(value)} cannot be walked")


def collect(m: Machine, value: Any) -> list[Value]:
    """Return the items of anything that can be walked, at most 10,000 of them, paid for."""
    kind = type(value)
    if kind in (list, tuple, str, bytes):
        new_items(m, len(value))
        return list(value)
    items = list(islice(walk(m, value), min(m.gas, ELEMENTS_MAX) + 1))
    new_items(m, len(items))
    return items


def lazy_range(m: Machine, *bounds: Value) -> range:
    """`range(…)` of ints."""
    for bound in bounds:
        need(bound, int, "range")
    if len(bounds) == 3 and bounds[2] == 0:
        raise Reverted("VALUE_ERROR", "range with step 0")
    m.charge(1)
    return range(*bounds)


def lazy_enumerate(m: Machine, value: Any, start: Value = 0) -> Iterator[tuple[int, Value]]:
    """`enumerate(items, start)`."""
    return enumerate(walk(m, value), need(start, int, "enumerate"))


def lazy_zip(m: Machine, *values: Any) -> Iterator[tuple[Value, ...]]:
    """`zip(a, b, …)`, to the end of the shortest."""
    return zip(*[walk(m, value) for value in values], strict=False)


def lazy_reversed(m: Machine, value: Any) -> Any:
    """`reversed(items)`."""
    if type(value) in (list, tuple, range):
        return reversed(value)
    return reversed(collect(m, value))


def view_of(m: Machine, entries: Value, name: str) -> list[Value]:
    """`d.keys()`, `d.values()`, `d.items()`: as they are when the walk begins."""
    need(entries, dict, name)
    new_items(m, len(entries))
    if name == "items":
        m.charge(len(entries))
        m.allocate(64 * len(entries))
        return list(entries.items())
    return list(entries) if name == "keys" else list(entries.values())


def _len(_: Machine, value: Value) -> int:
    if type(value) not in (list, dict, tuple, str, bytes):
        raise wrong_type(f"len() of {type_name(value)}")
    return len(value)


def _abs(_: Machine, value: Value) -> int:
    if type(value) not in INTS:
        raise wrong_type(f"abs() of {type_name(value)}")
    return abs(int(value))


def _extreme(wanted: bool) -> Builtin:
    """max when wanted, else min; the first of equals wins, as in Python."""

    def builtin(m: Machine, *values: Any) -> Value:
        items = collect(m, values[0]) if len(values) == 1 else values
        if not items:
            raise Reverted("VALUE_ERROR", "the extreme of nothing")
        best = items[0]
        m.charge(2 * len(items))
        for item in items[1:]:
            if less(m, best, item) if wanted else less(m, item, best):
                best = item
        return best

    return builtin


def _sum(m: Machine, values: Any) -> Value:
    items = collect(m, values)
    m.charge(len(items))
    total: Value = 0
    for item in items:
        if type(item) not in INTS:
            raise wrong_type(f"sum() of {type_name(item)}")
        total = add(m, total, item)
    return total


def _all(m: Machine, values: Any) -> bool:
    return all(collect(m, values))


def _any(m: Machine, values: Any) -> bool:
    return any(collect(m, values))


def _dict(m: Machine, pairs: Any = None) -> dict[Any, Value]:
    if type(pairs) is dict:
        new_entries(m, len(pairs))
        return dict(pairs)
    made: dict[Any, Value] = {}
    items = [] if pairs is None else collect(m, pairs)
    new_entries(m, len(items))
    for pair in items:
        if type(pair) not in (tuple, list) or len(pair) != 2:
            raise wrong_type("dict() takes a dict, or pairs")
        check_key(pair[0])
        made[pair[0]] = pair[1]
    return made


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
    m.text(1)
    return chr(code)


def from_hex(m: Machine, text: Value) -> bytes:
    """`bytes.fromhex(text)`: pairs of hex digits, nothing else."""
    need(text, str, "fromhex")
    m.text(len(text) >> 1)
    if len(text) % 2 or not text.isascii() or not (text.isalnum() or not text):
        raise Reverted("VALUE_ERROR", "fromhex takes pairs of hex digits")
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise Reverted("VALUE_ERROR", "fromhex takes pairs of hex digits") from None


def from_bytes(_: Machine, data: Value, order: Value) -> int:
    """`int.from_bytes(data, "big")`: unsigned, at most 512 bytes."""
    need(data, bytes, "from_bytes")
    if order not in ("big", "little"):
        raise Reverted("VALUE_ERROR", 'from_bytes: the byte order is "big" or "little"')
    if len(data) > INT_BITS_MAX // 8:
        raise Reverted("VALUE_ERROR", f"from_bytes: {INT_BITS_MAX // 8} bytes at most")
    return int.from_bytes(data, "big" if order == "big" else "little")


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
}
