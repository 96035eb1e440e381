"""The operators: they test types, and know, cap and pay every size before the work."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from chain.primitives.values import INT_BITS_MAX, Value
from contracts.language.faults import LimitExceeded, Reverted
from contracts.language.limits import (
    DIGITS_MAX,
    INT_MAX,
    KEY_INT_BOUND,
    MEM_DICT,
    MEM_ENTRY,
    MEM_NUMBER,
    MEM_TEXT,
    MEM_TUPLE,
    MEM_TUPLE_ITEM,
)
from contracts.language.run.machine import UNSET, Machine
from contracts.language.run.payments import (
    count_cap,
    deleted,
    entry_cap,
    new_items,
    pay_key,
    pay_merge,
    pay_search,
    put,
)
from contracts.language.run.values import check_key, contains, equal, is_narrow, less, type_name, wrong_type

Operator = Callable[[Machine, Value, Value], Value]
INTS = frozenset({int, bool})
WORD = 64
SMALL = 2**62
"""Numbers below this are booked with the places that hold them, and their work with the operator."""


def made(m: Machine, value: int) -> int:
    """Return an int that was just computed: book a large one, refuse one of more than 4,096 bits."""
    if -SMALL < value < SMALL:
        return value
    if not -INT_MAX <= value <= INT_MAX:
        raise too_many_bits()
    m.allocate(MEM_NUMBER + value.bit_length() // 7)
    return value


def too_many_bits() -> LimitExceeded:
    """Return the refusal of an int beyond the cap."""
    return LimitExceeded("INT_BITS", f"an int of more than {INT_BITS_MAX} bits")


def _mismatch(symbol: str, a: Value, b: Value) -> Reverted:
    return wrong_type(f"{type_name(a)} {symbol} {type_name(b)}")


def add(m: Machine, a: Value, b: Value) -> Value:
    """Return `a + b` of two numbers, texts, bytes, lists or tuples."""
    kind = type(a)
    if kind in INTS and type(b) in INTS:
        return made(m, a + b)
    if kind is not type(b) or kind not in (str, bytes, list, tuple):
        raise _mismatch("+", a, b)
    if kind is str or kind is bytes:
        m.text(len(a) + len(b), kind is bytes or (a.isascii() and b.isascii()))
    else:
        new_items(m, len(a) + len(b))
    return a + b


def subtract(m: Machine, a: Value, b: Value) -> Value:
    """Return `a - b` of two numbers."""
    if type(a) in INTS and type(b) in INTS:
        return made(m, a - b)
    raise _mismatch("-", a, b)


def _words(value: int) -> int:
    return value.bit_length() // WORD + 1


def multiply(m: Machine, a: Value, b: Value) -> Value:
    """Return `a * b` of two numbers, or a text, bytes, list or tuple repeated; pay the product of words."""
    if type(a) in INTS and type(b) in INTS:
        m.charge(_words(a) * _words(b) >> 3)
        if a.bit_length() + b.bit_length() > INT_BITS_MAX + 1:
            raise too_many_bits()
        return made(m, a * b)
    if type(a) in INTS:
        a, b = b, a
    if type(a) not in (str, bytes, list, tuple) or type(b) not in INTS:
        raise _mismatch("*", a, b)
    length = len(a) * max(0, b)
    if type(a) is str or type(a) is bytes:
        m.text(length, is_narrow(a))
    else:
        new_items(m, length)
    return a * b if length else a * 0


def _whole(symbol: str, work: Operator) -> Operator:
    def operator(m: Machine, a: Value, b: Value) -> Value:
        if type(a) not in INTS or type(b) not in INTS:
            raise _mismatch(symbol, a, b)
        m.charge(_words(a) * _words(b) >> 3)
        if b == 0:
            raise Reverted("ZERO_DIVISION", f"{symbol} by 0")
        return work(m, a, b)

    return operator


def power(m: Machine, a: Value, b: Value) -> Value:
    """Return `a ** b` of two numbers, the exponent 0 or more; the result is bounded beforehand."""
    if type(a) not in INTS or type(b) not in INTS:
        raise _mismatch("**", a, b)
    if b < 0:
        raise Reverted("VALUE_ERROR", "a negative exponent makes a fraction")
    if a in (0, 1, -1) or b == 0:
        return 1 if b == 0 or a == 1 or (a == -1 and b % 2 == 0) else int(a)
    if (a.bit_length() - 1) * b > INT_BITS_MAX:
        raise too_many_bits()
    words = a.bit_length() * b // WORD + 1
    m.charge(b.bit_length() + (words * words >> 6))
    return made(m, a**b)


def shift_left(m: Machine, a: Value, b: Value) -> Value:
    """Return `a << b` of two numbers; the bits of the result are bounded beforehand."""
    if type(a) not in INTS or type(b) not in INTS:
        raise _mismatch("<<", a, b)
    if b < 0:
        raise Reverted("VALUE_ERROR", "a shift by a negative count")
    if a == 0:
        return 0
    if a.bit_length() + b > INT_BITS_MAX + 1:
        raise too_many_bits()
    m.charge(1)
    return made(m, a << b)


def shift_right(m: Machine, a: Value, b: Value) -> Value:
    """Return `a >> b` of two numbers."""
    if type(a) not in INTS or type(b) not in INTS:
        raise _mismatch(">>", a, b)
    if b < 0:
        raise Reverted("VALUE_ERROR", "a shift by a negative count")
    m.charge(1)
    return made(m, a >> min(b, INT_BITS_MAX + 1))


def _bits(symbol: str, work: Callable[[int, int], Value]) -> Operator:
    def operator(m: Machine, a: Value, b: Value) -> Value:
        if type(a) not in INTS or type(b) not in INTS:
            raise _mismatch(symbol, a, b)
        m.charge(1)
        return made(m, work(a, b))

    return operator


_or = _bits("|", lambda a, b: a | b)


def _union(m: Machine, a: Value, b: Value) -> Value:
    """Two numbers, or two dicts, of which the later entries win."""
    if type(a) is not dict or type(b) is not dict:
        return _or(m, a, b)
    m.allocate(MEM_DICT + MEM_ENTRY * (len(a) + len(b)))
    most = pay_merge(m, a, b, both_copied=True)
    united = a | b
    entry_cap(len(united), most)
    return united


BINARY: dict[str, Operator] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "//": _whole("//", lambda m, a, b: made(m, a // b)),
    "%": _whole("%", lambda m, a, b: made(m, a % b)),
    "**": power,
    "<<": shift_left,
    ">>": shift_right,
    "|": _union,
    "&": _bits("&", lambda a, b: a & b),
    "^": _bits("^", lambda a, b: a ^ b),
}


def _both(m: Machine, a: int, b: int) -> tuple[int, int]:
    m.allocate(MEM_TUPLE + 2 * MEM_TUPLE_ITEM)
    whole, rest = divmod(a, b)
    return made(m, whole), made(m, rest)


divide_both = _whole("divmod", _both)


def in_place(symbol: str) -> Operator:
    """Return the function of `x op= y`: lists and dicts change in place; else it is x = x op y."""
    plain = BINARY[symbol]
    if symbol == "|":
        return _unite

    def operator(m: Machine, a: Value, b: Value) -> Value:
        if type(a) is not list:
            return plain(m, a, b)
        if symbol == "+":
            return _grow(m, a, b)
        a[:] = plain(m, a, b)
        return a

    return operator


def _unite(m: Machine, a: Value, b: Value) -> Value:
    if type(a) is not dict or type(b) is not dict:
        return _union(m, a, b)
    m.allocate(MEM_ENTRY * len(b))
    most = pay_merge(m, a, b)
    a |= b
    entry_cap(len(a), most)
    return a


def _grow(m: Machine, items: list[Value], more: Value) -> Value:
    if type(more) not in (list, tuple):
        raise _mismatch("+=", items, more)
    count_cap(len(items) + len(more))
    new_items(m, len(more))
    items += more
    return items


def negative(m: Machine, a: Value) -> Value:
    """Return `-a`."""
    if type(a) not in INTS:
        raise wrong_type(f"-{type_name(a)}")
    return made(m, -a)


def positive(_: Machine, a: Value) -> Value:
    """Return `+a`."""
    if type(a) not in INTS:
        raise wrong_type(f"+{type_name(a)}")
    return int(a)


def invert(m: Machine, a: Value) -> Value:
    """Return `~a`."""
    if type(a) not in INTS:
        raise wrong_type(f"~{type_name(a)}")
    return made(m, ~a)


UNARY: dict[str, Callable[[Machine, Value], Value]] = {"-": negative, "+": positive, "~": invert}


def member(m: Machine, wanted: Value, held: Value) -> bool:
    """Return `wanted in held` of a list, tuple, dict, text or bytes."""
    kind = type(held)
    if kind is dict:
        if type(wanted) is not str and (type(wanted) is not int or not 0 <= wanted < KEY_INT_BOUND):
            check_key(wanted)
        pay_key(m, wanted)
        return wanted in held
    if kind is list or kind is tuple:
        return contains(m, held, wanted)
    if kind is str or (kind is bytes and type(wanted) is bytes):
        pay_search(m, held, wanted)
        return wanted in held
    raise _mismatch("in", wanted, held)


COMPARE: dict[str, Operator] = {
    "==": equal,
    "!=": lambda m, a, b: not equal(m, a, b),
    "<": less,
    ">": lambda m, a, b: less(m, b, a),
    "<=": lambda m, a, b: not less(m, b, a),
    ">=": lambda m, a, b: not less(m, a, b),
    "in": member,
    "not in": lambda m, a, b: not member(m, a, b),
}


def get_item(m: Machine, held: Value, key: Value) -> Value:
    """Return `held[key]`."""
    kind = type(held)
    if kind is dict:
        check_key(key)
        pay_key(m, key)
        item = held.get(key, UNSET)
        if item is UNSET:
            raise Reverted("KEY_ERROR", f"no key {shown(key)}")
        return item
    if kind not in (list, tuple, str, bytes):
        raise wrong_type(f"{type_name(held)} has no items")
    return held[place_of(held, key)]


def place_of(held: Value, place: Value) -> int:
    """Return a checked position in a list, tuple, str or bytes."""
    if type(place) not in INTS:
        raise wrong_type(f"a position is an int, not {type_name(place)}")
    if not -len(held) <= place < len(held):
        raise Reverted("INDEX_ERROR", f"position {shown(place)} of {len(held)}")
    return int(place)


def get_slice(m: Machine, held: Value, low: Value, high: Value, step: Value) -> Value:
    """Return `held[low:high:step]`."""
    if type(held) not in (list, tuple, str, bytes):
        raise wrong_type(f"{type_name(held)} has no slices")
    if any(part is not None and type(part) not in INTS for part in (low, high, step)):
        raise wrong_type("the bounds of a slice are ints")
    if step is not None and step == 0:
        raise Reverted("VALUE_ERROR", "a slice with step 0")
    cut = slice(low, high, step)
    length = len(range(*cut.indices(len(held))))
    if type(held) is str or type(held) is bytes:
        m.text(length, is_narrow(held))
        if cut.step is not None and cut.step != 1:  # copied one character after another
            m.charge(length >> 6)
    else:
        new_items(m, length)
    return held[cut]


def set_item(m: Machine, held: Value, key: Value, value: Value) -> None:
    """Do `held[key] = value`."""
    kind = type(held)
    if kind is dict:
        check_key(key)
        pay_key(m, key)
        if put(m, held, key, value):
            m.allocate(MEM_ENTRY)
    elif kind is list:
        held[place_of(held, key)] = value
    else:
        raise wrong_type(f"{type_name(held)} does not take items")


def delete_item(m: Machine, held: Value, key: Value) -> None:
    """Do `del held[key]`."""
    kind = type(held)
    if kind is dict:
        check_key(key)
        pay_key(m, key)
        if held.pop(key, UNSET) is UNSET:
            raise Reverted("KEY_ERROR", f"no key {shown(key)}")
        deleted(m, held)
    elif kind is list:
        m.charge(len(held) >> 6)
        del held[place_of(held, key)]
    else:
        raise wrong_type(f"{type_name(held)} does not give up items")


def to_text(m: Machine, value: Value) -> str:
    """`str(value)` and `{name}` in an f-string: str, int and bool; anything else has no one text."""
    if type(value) is str:
        return value
    if type(value) is int:
        words = _words(value)
        m.charge(words * words >> 3)
        m.allocate(MEM_TEXT + 20 * words)
        return str(value)
    if type(value) is bool:
        return "True" if value else "False"
    raise wrong_type(f"{type_name(value)} has no text; use .hex() for bytes, or its parts")


_DIGITS_A_WORD = {"b": 80, "o": 28}
"""Most digits, with their separators, of 64 bits; 27 in decimal and in hexadecimal."""
_WIDTH = re.compile(r"[1-9][0-9]{0,2}(?=[,_]?[dxXbos]?$)")


def format_text(m: Machine, value: Value, spec: str) -> str:
    """`{value:spec}` of an int, a bool or a text, as CPython formats them."""
    kind = type(value)
    if kind is not str and kind not in INTS:
        raise wrong_type(f"{type_name(value)} has no format; use .hex() for bytes, or its parts")
    found = _WIDTH.search(spec)
    width = int(found.group()) if found else 0
    if kind is str:
        m.text(max(width, len(value)), value.isascii())
    else:
        words = _words(value)
        m.charge(2 + (words * words >> 3))
        m.text(max(width, _DIGITS_A_WORD.get(spec[-1:], 27) * words + 1))
    try:
        return format(value, spec)
    except ValueError:
        raise Reverted("VALUE_ERROR", f"{type_name(value)} has no format {spec!r}") from None


def to_int(m: Machine, value: Value) -> int:
    """`int(value)`: an int, a bool, or ASCII digits with an optional sign."""
    if type(value) in INTS:
        return int(value)
    if type(value) is not str:
        raise wrong_type(f"int() takes int, bool or str, not {type_name(value)}")
    digits = value[1:] if value[:1] in ("-", "+") else value
    m.charge(1 + (min(len(digits), DIGITS_MAX) ** 2 >> 11))
    if not 0 < len(digits) <= DIGITS_MAX or not digits.isascii() or not digits.isdigit():
        raise Reverted("VALUE_ERROR", "int() of a text that is not decimal digits")
    return made(m, int(value))


def shown(value: Any) -> str:
    """Return a short text of a key for a diagnostic; never part of a receipt."""
    text = f'"{value}"' if type(value) is str else str(value) if type(value) is int else type_name(value)
    return text if len(text) <= 40 else text[:37] + "..."
