"""The metered codec of contract values: bytes of what leaves a contract, and values of what comes in.

A value of a few objects may have any number of bytes when it is written out, for its parts may be shared.
So every encoding has a cap, and a walk pays for every path and counts its bytes before anything is made: it
stops as soon as they pass the cap. The count is a lower bound (a number is one byte, a character is one), so
what is made after it has at most nine times the cap; the cap itself is held against the bytes. Bytes that
stay are booked where they do: as the text that `encode` gives, as what a transaction writes, as the copy.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from chain.primitives.errors import DecodeError
from chain.primitives.runtimeport import RESULT_BYTES_MAX
from chain.primitives.values import Value, decode_stored, encode_value
from contracts.language.faults import LimitExceeded, Reverted
from contracts.language.limits import (
    COPY_BYTES_MAX,
    ELEMENTS_MAX,
    GAS_DECODE,
    GAS_DECODE_TUPLE,
    GAS_WALK,
    GAS_WALK_BIG,
    GAS_WALK_ENTRY,
    GAS_WALK_ITEM,
    GAS_WALK_TUPLE,
    KEY_BYTES_MAX,
    MEM_CONTAINER,
    MEM_DICT,
    MEM_ENTRY,
    MEM_ITEM,
    MEM_TEXT,
    MEM_WIDE,
    NESTING_MAX,
    TEXT_MAX,
    WRITTEN_BYTES_MAX,
)
from contracts.language.run.machine import Machine
from contracts.language.run.values import SCALARS, SIZED, SMALL, too_deep, type_name

_WORD = 2**63
_SHORT_TEXT = 64
"""Below this length a wide text encodes in about the time of an ASCII one."""


@dataclass(frozen=True, slots=True)
class Cap:
    """The most bytes that an encoding may have at one place, and the verdict when it has more."""

    code: str
    what: str
    most: int

    def refuse(self) -> LimitExceeded:
        """Return the verdict of an encoding beyond the cap."""
        return LimitExceeded(self.code, f"{self.what} of more than {self.most} bytes")


RESULT = Cap("RESULT_BYTES", "a result", RESULT_BYTES_MAX)
EVENT = Cap("EVENT_BYTES", "an event", RESULT_BYTES_MAX)
WRITTEN = Cap("WRITTEN_BYTES", "a stored value", WRITTEN_BYTES_MAX)
KEY = Cap("KEY_LENGTH", "a Map's key", KEY_BYTES_MAX)
ENCODED = Cap("ENCODED_BYTES", "the encoding of a value", TEXT_MAX)
COPY = Cap("COPY_BYTES", "a value that crosses between contracts", COPY_BYTES_MAX)
CONSTANT = Cap("ALLOCATION", "a constant", COPY_BYTES_MAX)


def measure(m: Machine, value: Value, cap: Cap, depth: int = NESTING_MAX) -> None:
    """Pay for encoding a container; refuse one over the cap, or deeper than 32 levels."""
    _measure(m, value, cap, cap.most, depth)


def text_gas(text: Value) -> int:
    """Return the gas for the UTF-8 of a text, beyond an item's: 1 per 512 characters, or per 64 wide ones."""
    if len(text) < _SHORT_TEXT:
        return 0
    return len(text) >> (9 if type(text) is bytes or text.isascii() else 6)


def _measure(m: Machine, value: Value, cap: Cap, room: int, depth: int) -> int:
    """Measure a container within `room` bytes; return how many are left."""
    if depth == 0:
        raise too_deep()
    before, count, kind = room, len(value), type(value)
    if kind is dict:
        m.charge(GAS_WALK + (GAS_WALK_ITEM + GAS_WALK_ENTRY) * count)
        keys = [key for key in value if type(key) is str]
        items, size, cost = value.values(), sum(map(len, keys)), 0
        if size >= _SHORT_TEXT:
            cost = sum(map(text_gas, keys))
    else:
        m.charge((GAS_WALK if kind is list else GAS_WALK_TUPLE) + GAS_WALK_ITEM * count)
        items, size, cost = value, 0, 0
    inner = []
    for item in items:
        item_kind = type(item)
        if item_kind in SMALL:
            if item_kind is int and not -_WORD < item < _WORD:
                cost += GAS_WALK_BIG
                size += item.bit_length() >> 3
        elif item_kind in SIZED:
            length = len(item)
            size += length
            if length >= _SHORT_TEXT:
                cost += text_gas(item)
        else:
            inner.append(item)
    room -= count + size
    if room < 0:
        raise cap.refuse()
    if cost:
        m.charge(cost)
    for item in inner:
        room = _measure(m, item, cap, room, depth - 1)
    if kind is tuple:  # a tuple's bytes are made, and then copied into what holds it
        m.charge((before - room) >> 8)
    return room


def encode(m: Machine, value: Value, cap: Cap, depth: int = NESTING_MAX) -> bytes:
    """Return the canonical bytes of a value, at most those of the cap, paying for the walk first."""
    kind = type(value)
    if kind is str and len(value) < 32:
        text: bytes = value.encode()
        if len(text) < 32:
            return _SHORT[len(text)] + text
    elif kind is int:
        if 0 <= value < 128:
            return _FIXINT[value]
        if not -_WORD < value < _WORD:
            m.charge(GAS_WALK_BIG)
    elif kind in SIZED:
        if len(value) > cap.most:
            raise cap.refuse()
        m.charge(text_gas(value))
    elif kind not in SCALARS:
        measure(m, value, cap, depth)
    data = encoded(value)
    if len(data) > cap.most:
        raise cap.refuse()
    return data


def encoded(value: Value) -> bytes:
    """Return the canonical bytes of what a contract made; what is no value ends the call, not the node."""
    try:
        return encode_value(value)
    except DecodeError as error:
        raise Reverted("VALUE_ERROR", str(error)) from None


_FIXINT = [bytes((number,)) for number in range(128)]
_SHORT = [bytes((0xA0 + length,)) for length in range(32)]


def decode(m: Machine, data: bytes) -> Value:
    """Return the value of stored bytes, at most 128 KiB; the caller has paid for reading them.

    Its structure is booked once it is there: until then it takes at most 80 bytes for each of `data`.
    """
    first = data[0]
    if len(data) == 1 and first < 128:
        return first
    m.allocate(len(data))
    value = decode_stored(data)
    book(m, value)
    return value


def book(m: Machine, value: Value) -> None:
    """Pay for a value that has just been made from bytes, and book what it takes beyond those."""
    kind = type(value)
    if kind is dict:
        _check_size(value, ELEMENTS_MAX, "ELEMENTS")
        m.charge(GAS_DECODE + 2 * len(value))
        m.allocate(MEM_DICT + MEM_ENTRY * len(value))
        _book_items(m, value.values())
    elif kind is list or kind is tuple:
        _check_size(value, ELEMENTS_MAX, "ELEMENTS")
        m.charge((GAS_DECODE if kind is list else GAS_DECODE_TUPLE) + len(value))
        m.allocate(MEM_CONTAINER + MEM_ITEM * len(value))
        _book_items(m, value)
    elif kind in SIZED:
        _check_size(value, TEXT_MAX, "TEXT_LENGTH")
        narrow = kind is bytes or value.isascii()
        m.allocate(MEM_TEXT if narrow else MEM_TEXT + MEM_WIDE * len(value))


def _book_items(m: Machine, items: Collection[Value]) -> None:
    for item in items:
        if type(item) not in SMALL:
            book(m, item)


def _check_size(value: Value, most: int, code: str) -> None:
    if len(value) > most:
        raise LimitExceeded(code, f"{type_name(value)} of length {len(value)}, at most {most}")


def isolate(m: Machine, value: Value) -> Value:
    """Return a copy that shares nothing with the original, dicts in canonical order; scalars pass through."""
    if type(value) in SCALARS:
        return value
    data = encode(m, value, COPY)
    m.charge(len(data) >> 5)
    return decode(m, data)
