"""Canonical bytes of values: what contracts read, write, take and return; each has exactly one encoding.

msgpack with sorted dict keys, and with tuples and big integers as extensions; decoders encode what they read
again and compare, as those of records do (`chain.primitives.codec`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from threading import local
from typing import Any

import msgpack

from chain.primitives.codec import U64_MAX
from chain.primitives.errors import DecodeError

VALUE_DEPTH_MAX = 32
INT_BITS_MAX = 4096
INT_KEY_BOUND = 2**60
INT_KEYED_MAX = 128
"""Entries of a dict that has any int key. CPython's hash of an int is the int, so who chooses the keys can
lead every search through all entries (`docs/decisions/int-keyed-dicts.md`); a text's hash nobody knows.
"""
_INT_KEYED_BYTES = 2 * INT_KEYED_MAX + 5
"""Fewest bytes of a dict with more int keys than that: a head of 3, and 2 an entry."""
_EXT_TUPLE = 1
_EXT_BIG_INT = 2

Value = Any
"""None, bool, int (|v| < 2^4096), str, bytes, list, tuple, or dict with str or int keys; depth 32."""
Unpack = Callable[[bytes], Value]
Entries = Callable[[list[tuple[Any, Value]]], Value]


def encode_value(value: Value) -> bytes:
    """Return the canonical bytes of a contract value; dict keys are sorted, ints before strings."""
    packed: bytes = _packers.pack(_lower(value, VALUE_DEPTH_MAX))
    return packed


class _Packers(local):
    """One packer a thread.

    A fresh one for every value would allocate 256 KiB, and none may be shared, since a collection of garbage
    in the midst of packing lets other threads run.
    """

    def __init__(self) -> None:
        self.pack = msgpack.Packer(use_bin_type=True).pack


_packers = _Packers()


def decode_value(data: bytes, *, max_bytes: int) -> Value:
    """Read one contract value; raise DecodeError unless the bytes are its canonical encoding."""
    if len(data) > max_bytes:
        raise DecodeError(f"value: {len(data)} bytes, at most {max_bytes}")
    unpack = _LARGE if len(data) >= _INT_KEYED_BYTES else _SMALL
    try:
        raw = unpack(data)
        again = encode_value(raw)
    except DecodeError:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise DecodeError(f"value: not msgpack ({type(error).__name__})") from None
    if again != data:
        raise DecodeError("value: not the canonical encoding")
    return raw


def decode_stored(data: bytes) -> Value:
    """Read a value from bytes that this process made with `encode_value`: no canonical check."""
    return _SMALL(data)


def _entries(pairs: list[tuple[Any, Value]]) -> dict[Any, Value]:
    """Return the dict of these pairs, whose keys are looked at before a table is made of them."""
    if not _TEXT.issuperset([type(key) for key, _ in pairs]):
        _check_int_keyed([key for key, _ in pairs])
    return dict(pairs)


def _unpacker(depth: int, entries: Entries | None) -> Unpack:
    """Return the reader of bytes that hold tuples at most `depth` deep, and make dicts by `entries`."""
    read = _ext_reader(depth, entries)

    def unpack(data: bytes) -> Value:
        return msgpack.unpackb(
            data,
            raw=False,
            use_list=True,
            strict_map_key=False,
            ext_hook=read,
            object_pairs_hook=entries,
        )

    return unpack


def _ext_reader(depth: int, entries: Entries | None) -> Callable[[int, bytes], Value]:
    """Return the reader of extensions under which tuples nest at most `depth` deeper.

    Each level is a call from C, so a hostile nesting would exhaust the C stack and kill the process.
    """
    inner = _unpacker(depth - 1, entries) if depth else None

    def read(code: int, data: bytes) -> Value:
        if code == _EXT_BIG_INT:
            return int.from_bytes(data, "big", signed=True)
        if code != _EXT_TUPLE:
            raise DecodeError(f"value: unknown extension {code}")
        if inner is None:
            raise DecodeError(f"value: nested deeper than {VALUE_DEPTH_MAX}")
        items = inner(data)
        if type(items) is not list:
            raise DecodeError("value: a tuple must hold an array")
        return tuple(items)

    return read


_SMALL = _unpacker(VALUE_DEPTH_MAX, None)
_LARGE = _unpacker(VALUE_DEPTH_MAX, _entries)


def _lower(value: Value, depth: int) -> Any:
    kind = type(value)
    if kind is str or kind is bytes or value is None or kind is bool:
        return value
    if kind is int:
        return value if -(2**63) <= value <= U64_MAX else _big_int(value)
    if depth == 0:
        raise DecodeError(f"value: nested deeper than {VALUE_DEPTH_MAX}")
    if kind is list:
        return [item if type(item) in _AS_IS else _lower(item, depth - 1) for item in value]
    if kind is tuple:
        items = [item if type(item) in _AS_IS else _lower(item, depth - 1) for item in value]
        return msgpack.ExtType(_EXT_TUPLE, _packers.pack(items))
    if kind is dict:
        return {
            key: item if type(item := value[key]) in _AS_IS else _lower(item, depth - 1)
            for key in _ordered(value)
        }
    raise DecodeError(f"value: {kind.__name__} is not a contract value")


_AS_IS = frozenset({str, bytes, bool, type(None)})
_TEXT = frozenset({str})


def _ordered(value: dict[Any, Value]) -> list[Any]:
    """Return the keys in canonical order; that of texts by code point is that of their UTF-8 bytes."""
    if _TEXT.issuperset(map(type, value)):
        return sorted(value)
    _check_int_keyed(value)
    return sorted(value, key=_key_order)


def _check_int_keyed(keys: Collection[Any]) -> None:
    """Refuse these keys, not all of them texts, unless each is allowed and they are few."""
    if not all(type(key) is str or (type(key) is int and 0 <= key < INT_KEY_BOUND) for key in keys):
        raise DecodeError("value: dict keys are str, or int in 0..2^60-1")
    if len(keys) > INT_KEYED_MAX:
        raise DecodeError(
            f"value: a dict of {len(keys)} entries has int keys; at most {INT_KEYED_MAX} entries, "
            "or texts as keys alone; keep more in a Map or a list"
        )


def _key_order(key: Any) -> tuple[int, int, bytes]:
    return (0, key, b"") if type(key) is int else (1, 0, key.encode())


def _big_int(value: int) -> Any:
    if value.bit_length() > INT_BITS_MAX:
        raise DecodeError(f"value: int of {value.bit_length()} bits, at most {INT_BITS_MAX}")
    return msgpack.ExtType(_EXT_BIG_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
