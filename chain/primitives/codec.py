"""Canonical bytes of records: msgpack arrays with a leading type tag; each record has exactly one encoding.

*Records* (`@record`) are frozen dataclasses whose annotations are their schema: field types, lengths and
ranges. What contracts compute with follows the same rules in `chain.primitives.values`. msgpack alone is not
canonical (``cc 01`` and ``01`` both decode to 1), so every decoder re-encodes what it read and compares.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import types
import typing
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar, dataclass_transform

import msgpack

from chain.primitives.errors import DecodeError
from chain.primitives.shape import Fixed, Many, OneOf, Shape, unpack_shaped

U64_MAX = 2**64 - 1
PLAIN_BYTES_MAX = 327_680
"""Records up to this are unpacked at once; larger ones along their shape (see chain/primitives/shape.py)."""

R = TypeVar("R")
Check = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Bound:
    """Inclusive range of an int, or of the length of str, bytes or a tuple."""

    low: int
    high: int


U64 = Annotated[int, Bound(0, U64_MAX)]
U32 = Annotated[int, Bound(0, 2**32 - 1)]
Hash = Annotated[bytes, Bound(32, 32)]
PublicKey = Annotated[bytes, Bound(32, 32)]
Signature = Annotated[bytes, Bound(64, 64)]
Name = Annotated[str, Bound(1, 64)]
Text = Annotated[str, Bound(0, 65_536)]


class _Schema(typing.NamedTuple):
    tag: str
    max_bytes: int
    checks: tuple[Check, ...]
    values: Callable[[Any], tuple[Any, ...]]
    """Returns a record's field values in order."""
    nested: tuple[int, ...]
    """Places in the wire array (the tag is at 0) of fields that may hold records."""


_TAGS: dict[type, tuple[str, int]] = {}
_SCHEMAS: dict[type, _Schema] = {}


@dataclass_transform(frozen_default=True)
def record(tag: str, *, max_bytes: int) -> Callable[[type[R]], type[R]]:
    """Make a class a frozen, slotted wire record with this tag and encoded-size bound (bytes)."""

    def wrap(cls: type[R]) -> type[R]:
        made = dataclasses.dataclass(frozen=True, slots=True)(cls)
        _TAGS[made] = (tag, max_bytes)
        return made

    return wrap


def encode(item: Any) -> bytes:
    """Return the canonical bytes of a record."""
    packed: bytes = msgpack.packb(_to_wire(item), use_bin_type=True)
    return packed


def encode_parts(cls: type, fields: Sequence[bytes]) -> bytes:
    """Return the canonical bytes of a record whose fields are encoded already; nothing is checked."""
    return encode_list([msgpack.packb(tag_of(cls)), *fields])


def encode_list(items: Sequence[bytes]) -> bytes:
    """Return the encoding of a tuple whose items are encoded already."""
    head: bytes = msgpack.Packer().pack_array_header(len(items))
    return head + b"".join(items)


def decode(cls: type[R], data: bytes) -> R:
    """Read exactly one record of this class; raise DecodeError for anything else."""
    schema = _schema(cls)
    raw = _unpack_canonical(data, schema.max_bytes, schema.tag, (cls,))
    result: R = _check_record(cls, raw)
    return result


def decode_any(classes: tuple[type[Any], ...], data: bytes) -> Any:
    """Read one record of any of these classes, chosen by its tag; raise DecodeError otherwise."""
    by_tag = {_schema(cls).tag: cls for cls in classes}
    bound = max(_schema(cls).max_bytes for cls in classes)
    raw = _unpack_canonical(data, bound, "|".join(by_tag), classes)
    tag = raw[0] if isinstance(raw, list) and raw else None
    if not isinstance(tag, str) or tag not in by_tag:
        raise DecodeError(f"record tag {_clip(tag)}: expected one of {sorted(by_tag)}")
    if len(data) > _schema(by_tag[tag]).max_bytes:
        raise DecodeError(f"{tag}: {len(data)} bytes, at most {_schema(by_tag[tag]).max_bytes}")
    return _check_record(by_tag[tag], raw)


def tag_in_front(data: bytes) -> str:
    """Return the tag that bytes begin with if they are a record, read no further; "" when they are none."""
    if len(data) < 2 or data[0] >> 4 != 0x9 or data[1] >> 5 != 0b101:
        return ""
    return data[2 : 2 + (data[1] & 0x1F)].decode("ascii", "replace")


def tag_of(cls: type) -> str:
    """Return the wire tag of a record class."""
    return _TAGS[cls][0]


def max_bytes_of(cls: type) -> int:
    """Return the encoded-size bound (bytes) of a record class."""
    return _TAGS[cls][1]


def _unpack_canonical(data: bytes, max_bytes: int, what: str, classes: tuple[type[Any], ...]) -> Any:
    if len(data) > max_bytes:
        raise DecodeError(f"{what}: {len(data)} bytes, at most {max_bytes}")
    try:
        if len(data) > PLAIN_BYTES_MAX:
            raw = unpack_shaped(data, _shape(classes))
        else:
            raw = msgpack.unpackb(data, raw=False, use_list=True, strict_map_key=True)
        again = msgpack.packb(raw, use_bin_type=True)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise DecodeError(f"{what}: not msgpack ({type(error).__name__})") from None
    if again != data:
        raise DecodeError(f"{what}: not the canonical encoding")
    return raw


def _to_wire(item: Any) -> Any:
    """Return what msgpack packs for a record, a tuple that may hold records, or a plain value."""
    kind = type(item)
    if kind is tuple:
        return [_to_wire(part) for part in item]
    if kind not in _TAGS:
        return item
    schema = _SCHEMAS.get(kind) or _schema(kind)
    wire = [schema.tag, *schema.values(item)]
    for position in schema.nested:  # msgpack packs tuples of plain values by itself
        wire[position] = _to_wire(wire[position])
    return wire


def _schema(cls: type) -> _Schema:
    found = _SCHEMAS.get(cls)
    if found is None:
        tag, max_bytes = _TAGS[cls]
        hints = typing.get_type_hints(cls, include_extras=True)
        names = tuple(field.name for field in dataclasses.fields(cls))
        checks = tuple(_checker(hints[name], f"{tag}.{name}") for name in names)
        nested = tuple(position for position, name in enumerate(names, 1) if _mentions_record(hints[name]))
        found = _SCHEMAS[cls] = _Schema(tag, max_bytes, checks, _values_getter(names), nested)
    return found


def _values_getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda item: tuple([getattr(item, name) for name in names])


def _mentions_record(hint: Any) -> bool:
    return hint in _TAGS or any(
        _mentions_record(part) for part in typing.get_args(hint) if part is not Ellipsis
    )


def _check_record(cls: type, raw: Any) -> Any:
    schema = _schema(cls)
    if type(raw) is not list or len(raw) != len(schema.checks) + 1 or raw[0] != schema.tag:
        raise DecodeError(f"{schema.tag}: expected a record of {len(schema.checks)} fields")
    return cls(*[check(part) for check, part in zip(schema.checks, raw[1:], strict=True)])


@functools.cache
def _shape(classes: tuple[type[Any], ...]) -> OneOf:
    """Return the shape of any of these record classes."""
    fields = {}
    for cls in classes:
        hints = typing.get_type_hints(cls, include_extras=True)
        fields[_TAGS[cls][0]] = tuple(_hint_shape(hints[field.name]) for field in dataclasses.fields(cls))
    return OneOf(fields)


def _hint_shape(hint: Any) -> Shape:
    high = 0
    if typing.get_origin(hint) is Annotated:
        base, *extra = typing.get_args(hint)
        high = next((item.high for item in extra if isinstance(item, Bound)), 0)
        hint = base
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    records = tuple(option for option in options if option in _TAGS)
    if records:
        return _shape(records)
    if typing.get_origin(hint) is not tuple:
        return None
    args = typing.get_args(hint)
    if len(args) == 2 and args[1] is Ellipsis:
        return Many(_hint_shape(args[0]), high)
    return Fixed(tuple(_hint_shape(arg) for arg in args))


def _checker(hint: Any, where: str) -> Check:
    """Compile one annotation into a function that returns the checked value or raises DecodeError."""
    bound: Bound | None = None
    if typing.get_origin(hint) is Annotated:
        base, *extra = typing.get_args(hint)
        bound = next((item for item in extra if isinstance(item, Bound)), None)
        hint = base
    if hint in (int, str, bytes):
        if bound is None:
            raise TypeError(f"{where}: every int, str and bytes field needs a Bound")
        return _bounded(hint, bound, where)
    if hint is bool:
        return _boolean(where)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _union(typing.get_args(hint), where)
    if origin is tuple:
        return _tuple(typing.get_args(hint), bound, where)
    if hint in _TAGS:
        return lambda raw: _check_record(hint, raw)
    raise TypeError(f"{where}: {hint!r} has no wire form")


def _bounded(kind: type, bound: Bound, where: str) -> Check:
    low, high = bound.low, bound.high
    if kind is int:

        def check_int(raw: Any) -> Any:
            if type(raw) is not int or not low <= raw <= high:
                raise DecodeError(f"{where}: {_clip(raw)}, expected int in {low}..{high}")
            return raw

        return check_int

    sized: Any = kind

    def check_sized(raw: Any) -> Any:
        if type(raw) is not sized or not low <= len(raw) <= high:
            raise DecodeError(f"{where}: {_clip(raw)}, expected {kind.__name__} of length {low}..{high}")
        return raw

    return check_sized


def _boolean(where: str) -> Check:
    def check(raw: Any) -> Any:
        if type(raw) is not bool:
            raise DecodeError(f"{where}: {_clip(raw)}, expected a bool")
        return raw

    return check


def _union(options: tuple[Any, ...], where: str) -> Check:
    plain = [option for option in options if option is not type(None) and option not in _TAGS]
    tagged = {_TAGS[option][0]: option for option in options if option in _TAGS}
    if len(plain) > 1 or (plain and tagged):
        raise TypeError(f"{where}: a union may hold records, or one plain type and None")
    other = _checker(plain[0], where) if plain else None
    optional = type(None) in options

    def check(raw: Any) -> Any:
        if raw is None and optional:
            return None
        if other is not None:
            return other(raw)
        tag = raw[0] if type(raw) is list and raw else None
        if not isinstance(tag, str) or tag not in tagged:
            raise DecodeError(f"{where}: expected one of {sorted(tagged)}")
        return _check_record(tagged[tag], raw)

    return check


def _tuple(args: tuple[Any, ...], bound: Bound | None, where: str) -> Check:
    if len(args) == 2 and args[1] is Ellipsis:
        if bound is None:
            raise TypeError(f"{where}: a tuple of any length needs a Bound")
        low, high = bound.low, bound.high
        item = _checker(args[0], where)

        def check_many(raw: Any) -> Any:
            if type(raw) is not list or not low <= len(raw) <= high:
                raise DecodeError(f"{where}: expected {low}..{high} items")
            return tuple([item(part) for part in raw])

        return check_many
    items = [_checker(arg, where) for arg in args]

    def check_fixed(raw: Any) -> Any:
        if type(raw) is not list or len(raw) != len(items):
            raise DecodeError(f"{where}: expected {len(items)} items")
        return tuple([check(part) for check, part in zip(items, raw, strict=True)])

    return check_fixed


def _clip(raw: Any) -> str:
    if isinstance(raw, (str, bytes, list, dict)):
        return f"{type(raw).__name__} of length {len(raw)}"
    text = repr(raw)
    return text if len(text) <= 40 else text[:37] + "..."
