"""Contract values as JSON and back, for RPC, command line and reports."""

from __future__ import annotations

from typing import Any

from chain.primitives.errors import DecodeError
from chain.primitives.values import Value

BYTES_KEY = "$bytes"
DEPTH_MAX = 32


def to_json(value: Value) -> Any:
    """Return a JSON-ready copy: bytes become {"$bytes": hex}, tuples become lists, int keys strings."""
    if isinstance(value, bytes):
        return {BYTES_KEY: value.hex()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    return value


def from_json(value: Any, depth: int = DEPTH_MAX) -> Value:
    """Return the contract value of parsed JSON; raise DecodeError for floats and bad {"$bytes": …}."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _text(value)
    if depth == 0:
        raise DecodeError(f"JSON value: nested deeper than {DEPTH_MAX}")
    if isinstance(value, list):
        return [from_json(item, depth - 1) for item in value]
    if isinstance(value, dict):
        if set(value) == {BYTES_KEY}:
            return _bytes(value[BYTES_KEY])
        return {_text(key): from_json(item, depth - 1) for key, item in value.items()}
    raise DecodeError(f"JSON value: {type(value).__name__} is not a contract value; use integers or strings")


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DecodeError(
            "JSON value: a text holds half of a surrogate pair; send whole characters"
        ) from None
    return text


def _bytes(text: Any) -> bytes:
    try:
        return bytes.fromhex(text)
    except (TypeError, ValueError):
        raise DecodeError(f'JSON value: {{"{BYTES_KEY}": …}} takes a string of hex digits') from None
