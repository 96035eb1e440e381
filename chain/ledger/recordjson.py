"""Codec records as JSON for people, driven by the same annotations as their bytes: bytes become hex.

Errors name the field (`validators[2].public_key`), the value and what is allowed there.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Annotated, Any, TypeVar

from chain.primitives.codec import Bound
from chain.primitives.errors import ConfigError

R = TypeVar("R")


def record_to_json(item: Any) -> Any:
    """Return a record as JSON-ready dicts and lists; bytes become hex."""
    if isinstance(item, bytes):
        return item.hex()
    if isinstance(item, tuple):
        return [record_to_json(part) for part in item]
    if dataclasses.is_dataclass(item):
        return {field.name: record_to_json(getattr(item, field.name)) for field in dataclasses.fields(item)}
    return item


def record_from_json(cls: type[R], raw: Any, where: str) -> R:
    """Read a record from parsed JSON; raise ConfigError naming `where`, key, value and range."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: {_show(raw)}: expected an object")
    fields = dataclasses.fields(typing.cast(Any, cls))
    known = {field.name for field in fields}
    for name in raw:
        if name not in known:
            raise ConfigError(f"{where}.{name}: unknown key; remove it or correct its spelling")
    hints = typing.get_type_hints(cls, include_extras=True)
    values: dict[str, Any] = {}
    for field in fields:
        if field.name in raw:
            values[field.name] = _read(hints[field.name], raw[field.name], f"{where}.{field.name}")
        elif field.default is dataclasses.MISSING:
            raise ConfigError(f"{where}.{field.name}: required, but not given")
    return cls(**values)


def _read(hint: Any, raw: Any, where: str) -> Any:
    bound = None
    if typing.get_origin(hint) is Annotated:
        hint, *extra = typing.get_args(hint)
        bound = next((item for item in extra if isinstance(item, Bound)), None)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        (inner,) = [option for option in typing.get_args(hint) if option is not type(None)]
        return None if raw is None else _read(inner, raw, where)
    if origin is tuple:
        return _read_tuple(typing.get_args(hint), bound, raw, where)
    if dataclasses.is_dataclass(hint):
        return record_from_json(typing.cast(type, hint), raw, where)
    return _read_scalar(hint, bound, raw, where)


def _read_tuple(args: tuple[Any, ...], bound: Bound | None, raw: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(raw, list):
        raise ConfigError(f"{where} = {_show(raw)}: expected a list")
    if len(args) == 2 and args[1] is Ellipsis:
        low, high = (bound.low, bound.high) if bound else (0, len(raw))
        hints = [args[0]] * len(raw)
    else:
        low = high = len(args)
        hints = list(args)
    if not low <= len(raw) <= high:
        raise ConfigError(f"{where}: {len(raw)} items, expected {low}..{high}")
    return tuple(
        [_read(item, part, f"{where}[{i}]") for i, (item, part) in enumerate(zip(hints, raw, strict=True))]
    )


def _read_scalar(kind: Any, bound: Bound | None, raw: Any, where: str) -> Any:
    if kind is bool or bound is None:
        if type(raw) is not kind:
            raise ConfigError(f"{where} = {_show(raw)}: expected {kind.__name__}")
        return raw
    if kind is int:
        if type(raw) is not int or not bound.low <= raw <= bound.high:
            raise ConfigError(f"{where} = {_show(raw)}: expected a whole number in {bound.low}..{bound.high}")
        return raw
    unit = "bytes as hex digits" if kind is bytes else "characters"
    value: Any = _from_hex(raw) if kind is bytes else raw
    if type(value) is not kind or not bound.low <= len(value) <= bound.high:
        size = str(bound.low) if bound.low == bound.high else f"{bound.low}..{bound.high}"
        raise ConfigError(f"{where} = {_show(raw)}: expected {size} {unit}")
    return value


def _from_hex(raw: Any) -> bytes | None:
    try:
        return bytes.fromhex(raw)
    except (TypeError, ValueError):
        return None


def _show(raw: Any) -> str:
    text = repr(raw)
    return text if len(text) <= 60 else text[:57] + "..."
