"""Metered comparison of contract values: equality, order, membership.

CPython's own comparison would walk shared structure without paying (a list doubled into itself
forty times has 2^40 paths), so every walk here charges per node and stops at the nesting cap. A walk over
a cyclic list therefore ends with a verdict too.
"""

from __future__ import annotations

from typing import Any

from chain.primitives.values import Value
from contracts.language.faults import LimitExceeded, Reverted
from contracts.language.limits import (
    GAS_EQUAL,
    GAS_EQUAL_ITEM,
    GAS_ITEM_TEST,
    KEY_INT_BOUND,
    MEM_WIDE,
    NESTING_MAX,
)
from contracts.language.run.machine import UNSET, Machine

NoneType = type(None)
SCALARS = frozenset({int, str, bytes, bool, NoneType})
SMALL = frozenset({int, bool, NoneType})
SIZED = frozenset({str, bytes})
_NEAR = 15
"""Characters of a text that are read with its head, in one line of the processor's cache."""
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


def is_narrow(text: Value) -> bool:
    """Tell whether each character of a str or bytes takes one byte."""
    return type(text) is bytes or text.isascii()


def size_of(text: Value) -> int:
    """Return the bytes of a str or bytes, beyond its head: every character of a wide one counts four."""
    return len(text) if type(text) is bytes or text.isascii() else MEM_WIDE * len(text)


def order_gas(length: int, *, narrow: bool) -> int:
    """Return what comparing so many characters costs, in gas.

    CPython compares bytes, and texts of one byte a character, by memcmp; of other widths, one character after
    another (Objects/unicodeobject.c, unicode_compare).
    """
    return length >> (10 if narrow else 6)


def equal(m: Machine, a: Value, b: Value, depth: int = NESTING_MAX) -> bool:
    """Tell whether two values are equal, charging per node and per 1,024 characters."""
    kind = type(a)
    if kind is not type(b):
        return kind in (int, bool) and type(b) in (int, bool) and bool(a == b)
    if kind is str or kind is bytes:
        if len(a) != len(b):
            return False
        m.charge(size_of(a) >> 10)
        return bool(a == b)
    if kind in SCALARS:
        return bool(a == b)
    if depth == 0:
        raise too_deep()
    if len(a) != len(b):
        return False
    m.charge(GAS_EQUAL + GAS_EQUAL_ITEM * len(a))
    if kind is dict:
        return _equal_entries(m, a, b, depth - 1)
    return all(equal(m, x, y, depth - 1) for x, y in zip(a, b, strict=True))


def _equal_entries(m: Machine, a: dict[Any, Value], b: dict[Any, Value], depth: int) -> bool:
    for key, item in a.items():
        if type(key) is str and len(key) > 1_023:
            m.charge(size_of(key) >> 10)
        other = b.get(key, UNSET)
        if other is UNSET or not equal(m, item, other, depth):
            return False
    return True


def less(m: Machine, a: Value, b: Value, depth: int = NESTING_MAX) -> bool:
    """Tell whether a < b: two numbers, two texts, two bytes, or two lists or tuples item by item."""
    kind = type(a)
    if kind in (int, bool) and type(b) in (int, bool):
        return bool(a < b)
    if kind is not type(b) or kind not in (str, bytes, list, tuple):
        raise wrong_type(f"{type_name(a)} and {type_name(b)} have no order")
    if kind is str or kind is bytes:
        m.charge(order_gas(min(len(a), len(b)), narrow=is_narrow(a) and is_narrow(b)))
        return bool(a < b)
    if depth == 0:
        raise too_deep()
    m.charge(GAS_EQUAL + GAS_EQUAL_ITEM * min(len(a), len(b)))
    for x, y in zip(a, b, strict=False):
        if not equal(m, x, y, depth - 1):
            return less(m, x, y, depth - 1)
    return len(a) < len(b)


def pay_scan(m: Machine, items: Value, wanted: Value) -> None:
    """Pay for comparing a scalar with every item of a list or tuple; each may lie anywhere in memory.

    A text is compared with those of its length only, and a long number with those of its size: to their ends.
    """
    if type(wanted) in SIZED:
        size = (len(wanted) > _NEAR) + (size_of(wanted) >> 8)
    else:
        size = wanted.bit_length() >> 8 if type(wanted) is int else 0
    m.charge((len(items) * (1 + size)) >> 2)


def contains(m: Machine, items: Value, wanted: Value) -> bool:
    """Tell whether a list or tuple holds an equal item."""
    if type(wanted) in SCALARS:
        pay_scan(m, items, wanted)
        return wanted in items
    m.charge(GAS_ITEM_TEST * len(items))
    return any(equal(m, item, wanted) for item in items)


def too_deep() -> LimitExceeded:
    """Return the refusal of a value beyond the nesting cap."""
    return LimitExceeded("NESTING", f"a value nested deeper than {NESTING_MAX}")


def immutable(value: Value) -> bool:
    """Tell whether no part of a value can change."""
    return type(value) in SCALARS or (type(value) is tuple and all(immutable(part) for part in value))
