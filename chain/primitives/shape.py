"""Reading large msgpack along an expected shape, so that hostile bytes build nothing that no record holds.

msgpack makes an object of every byte if it is told to: sixteen megabytes of empty arrays become a gigabyte
of lists before any schema could refuse them. Here containers are opened one by one and only where the shape
has one, with no more items than it allows; everything else is a single string, number or nil.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack

_CONTAINERS = frozenset([*range(0x80, 0xA0), 0xDC, 0xDD, 0xDE, 0xDF])
"""First bytes of msgpack arrays and maps."""


class ShapeMismatch(ValueError):
    """The bytes have a container where the shape has none, or one of another length."""


@dataclass(frozen=True, slots=True)
class Many:
    """An array of at most `high` items of one shape."""

    item: Shape
    high: int


@dataclass(frozen=True, slots=True)
class Fixed:
    """An array of exactly these."""

    items: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class OneOf:
    """A tagged array: its first item, a string, says which of these follow; or nil."""

    fields: Mapping[str, tuple[Shape, ...]]


Shape = Many | Fixed | OneOf | None
"""None is anything that is no container."""


def unpack_shaped(data: bytes, shape: Shape) -> Any:
    """Return what msgpack reads, as lists; raise ShapeMismatch, ValueError or UnpackException."""
    unpacker = msgpack.Unpacker(raw=False, use_list=True, max_buffer_size=len(data))
    unpacker.feed(data)
    found = _read(unpacker, data, shape)
    if unpacker.tell() != len(data):
        raise ShapeMismatch("bytes follow the record")
    return found


def _read(unpacker: Any, data: bytes, shape: Shape) -> Any:
    at = unpacker.tell()
    is_container = at < len(data) and data[at] in _CONTAINERS
    if shape is None or not is_container:
        if shape is None and is_container:
            raise ShapeMismatch(f"byte {at}: a container where the record has none")
        return unpacker.unpack()
    length = unpacker.read_array_header()
    if isinstance(shape, Many):
        if length > shape.high:
            raise ShapeMismatch(f"byte {at}: {length} items, at most {shape.high}")
        item = shape.item
        return [_read(unpacker, data, item) for _ in range(length)]
    if isinstance(shape, Fixed):
        head, items = [], shape.items
    else:
        tag = _read(unpacker, data, None) if length else None
        head, items = [tag], shape.fields.get(tag, ()) if isinstance(tag, str) else ()
    if length != len(head) + len(items):
        raise ShapeMismatch(f"byte {at}: {length} items, expected {len(head) + len(items)}")
    return head + [_read(unpacker, data, item) for item in items]
