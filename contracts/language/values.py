"""Walking contract values, metered: equality, order, copies, sizes, canonical bytes.

CPython's own comparison and copying would walk shared structure without paying (a list doubled into itself
forty times has 2^40 paths), so every walk here charges per node and stops at the nesting cap. A walk over
a cyclic list therefore ends with a verdict too.
"""

from __future__ import annotations

from chain.primitives.values import Value, decode_stored, encode_value
from contracts.language.faults import LimitExceeded, Reverted
from contracts.language.limits import (
    ELEMENTS_MAX,
    GAS_DECODE,
    GAS_DECODE_TUPLE,
    GAS_EQUAL,
    GAS_EQUAL_ITEM,
    GAS_ITEM_TEST,
    GAS_WALK,
    GAS_WALK_BIG,
    GAS_WALK_ENTRY,
    GAS_WALK_ITEM,
    GAS_WALK_TUPLE,
    KEY_INT_BOUND,
    MEM_CONTAINER,
    MEM_ENTRY,
    MEM_ITEM,
    NESTING_MAX,
    TEXT_MAX,
)
from contracts.language.machine import Machine

NoneType = type(None)
SCALARS = frozenset({int, str, bytes, bool, NoneType})
_SMALL = frozenset({int, bool, NoneType})
_SIZED = frozenset({str, bytes})
_WORD = 2**63
NAMES: dict[type, str] = {
    int: "int",
    str: "str",
    bytes: "bytes",
    bool: "bool",
    NoneType: "None",
    list: "list",
    dict: "dict",
    tuple: "tuple",
}


def type_name(value: Value) -> str:
    """Return the language's name for the type of a value."""
    return NAMES.get(type(value), "value")


def wrong_type(message: str) -> Reverted:
    """Return the revert for an operation on values that it does not take."""
    return Reverted("TYPE_ERROR", message)


def check_key(key: Value) -> None:
    """Revert unless a value may be a dict key: str, or int in 0..2^60-1 (so that hashes cannot collide)."""
    if type(key) is str:
        return
    if type(key) is not int:
        raise wrong_type(f"a dict key is a str or an int, not {type_name(key)}")
    if not 0 <= key < KEY_INT_BOUND:
        raise Reverted("VALUE_ERROR", "an int key of a dict is in 0..2^60-1")


def equal(m: Machine, a: Value, b: Value, depth: int = NESTING_MAX) -> bool:
    """Tell whether two values are equal, charging per node and per 1,024 characters."""
    kind = type(a)
    if kind is not type(b):
        return kind in (int, bool) and type(b) in (int, bool) and bool(a == b)
    if kind is str or kind is bytes:
        if len(a) != len(b):
            return False
        m.charge(len(a) >> 10)
        return bool(a == b)
    if kind in SCALARS:
        return bool(a == b)
    if depth == 0:
        raise _too_deep()
    if len(a) != len(b):
        return False
    m.charge(GAS_EQUAL + GAS_EQUAL_ITEM * len(a))
    if kind is dict:
        return all(key in b and equal(m, item, b[key], depth - 1) for key, item in a.items())
    return all(equal(m, x, y, depth - 1) for x, y in zip(a, b, strict=True))


def less(m: Machine, a: Value, b: Value, depth: int = NESTING_MAX) -> bool:
    """Tell whether a < b: two numbers, two texts, two bytes, or two lists or tuples item by item."""
    kind = type(a)
    if kind in (int, bool) and type(b) in (int, bool):
        return bool(a < b)
    if kind is not type(b) or kind not in (str, bytes, list, tuple):
        raise wrong_type(f"{type_name(a)} and {type_name(b)} have no order")
    if kind is str or kind is bytes:
        m.charge(min(len(a), len(b)) >> 10)
        return bool(a < b)
    if depth == 0:
        raise _too_deep()
    m.charge(GAS_EQUAL + GAS_EQUAL_ITEM * min(len(a), len(b)))
    for x, y in zip(a, b, strict=False):
        if not equal(m, x, y, depth - 1):
            return less(m, x, y, depth - 1)
    return len(a) < len(b)


def pay_scan(m: Machine, items: Value, wanted: Value) -> None:
    """Pay for comparing a scalar with every item of a list or tuple."""
    size = len(wanted) >> 9 if type(wanted) in _SIZED else 0
    m.charge((len(items) * (1 + size)) >> 2)


def contains(m: Machine, items: Value, wanted: Value) -> bool:
    """Tell whether a list or tuple holds an equal item."""
    if type(wanted) in SCALARS:
        pay_scan(m, items, wanted)
        return wanted in items
    m.charge(GAS_ITEM_TEST * len(items))
    return any(equal(m, item, wanted) for item in items)


def measure(m: Machine, value: Value, depth: int = NESTING_MAX) -> None:
    """Charge for encoding a value: by container, item, entry and 512 characters; at most 32 levels."""
    if type(value) in SCALARS:
        m.charge(_scalar_cost(value))
        return
    if depth == 0:
        raise _too_deep()
    cost, inner = GAS_WALK_TUPLE if type(value) is tuple else GAS_WALK, []
    if type(value) is dict:
        cost += GAS_WALK_ENTRY * len(value) + sum([len(key) >> 9 for key in value if type(key) is str])
        value = value.values()
    for item in value:
        kind = type(item)
        if kind in _SMALL:
            cost += GAS_WALK_ITEM if kind is not int or -_WORD < item < _WORD else GAS_WALK_BIG
        elif kind in _SIZED:
            cost += GAS_WALK_ITEM + (len(item) >> 9)
        else:
            inner.append(item)
    m.charge(cost)
    for item in inner:
        measure(m, item, depth - 1)


def _scalar_cost(value: Value) -> int:
    if type(value) in _SIZED:
        return GAS_WALK_ITEM + (len(value) >> 9)
    return GAS_WALK_ITEM if type(value) is not int or -_WORD < value < _WORD else GAS_WALK_BIG


def encode(m: Machine, value: Value, depth: int = NESTING_MAX) -> bytes:
    """Return the canonical bytes of a value, paying for the walk first."""
    kind = type(value)
    if kind is str:
        if len(value) < 32:
            text: bytes = value.encode()
            if len(text) < 32:
                return _SHORT[len(text)] + text
        m.charge(len(value) >> 9)
    elif kind is int:
        if 0 <= value < 128:
            return _FIXINT[value]
        if not -_WORD < value < _WORD:
            m.charge(GAS_WALK_BIG)
    elif kind is bytes:
        m.charge(len(value) >> 9)
    elif kind not in SCALARS:
        measure(m, value, depth)
    return encode_value(value)


_FIXINT = [bytes((number,)) for number in range(128)]
_SHORT = [bytes((0xA0 + length,)) for length in range(32)]


def decode(m: Machine, data: bytes) -> Value:
    """Return the value of stored bytes, paid by item; the caller has paid for the bytes."""
    first = data[0]
    if len(data) == 1 and first < 128:
        return first
    value = decode_stored(data)
    book(m, value)
    return value


def book(m: Machine, value: Value) -> None:
    """Pay for a value that has just been made from bytes, and book its memory."""
    kind = type(value)
    if kind is dict:
        _check_size(value, ELEMENTS_MAX, "ELEMENTS")
        m.charge(GAS_DECODE + 2 * len(value))
        m.allocate(MEM_CONTAINER + MEM_ENTRY * len(value))
        for item in value.values():
            if type(item) not in _SMALL:
                book(m, item)
    elif kind is list or kind is tuple:
        _check_size(value, ELEMENTS_MAX, "ELEMENTS")
        m.charge((GAS_DECODE if kind is list else GAS_DECODE_TUPLE) + len(value))
        m.allocate(MEM_CONTAINER + MEM_ITEM * len(value))
        for item in value:
            if type(item) not in _SMALL:
                book(m, item)
    elif kind is str or kind is bytes:
        _check_size(value, TEXT_MAX, "TEXT_LENGTH")
        m.allocate(len(value))


def _check_size(value: Value, most: int, code: str) -> None:
    if len(value) > most:
        raise LimitExceeded(code, f"{type_name(value)} of length {len(value)}, at most {most}")


def isolate(m: Machine, value: Value) -> Value:
    """Return a copy that shares nothing with the original, dicts in canonical order; scalars pass through."""
    if type(value) in SCALARS:
        return value
    data = encode(m, value)
    m.charge(len(data) >> 5)
    return decode(m, data)


def _too_deep() -> LimitExceeded:
    return LimitExceeded("NESTING", f"a value nested deeper than {NESTING_MAX}")
