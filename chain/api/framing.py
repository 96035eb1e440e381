"""JSON-RPC 2.0 as bytes: reading requests strictly, and writing answers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chain.primitives.errors import AssentError

PARSE_ERROR, INVALID_REQUEST, UNKNOWN_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602
INTERNAL_ERROR, DECLARED_ERROR = -32603, -32000
WORDS = {
    PARSE_ERROR: "no_json",
    INVALID_REQUEST: "bad_request",
    UNKNOWN_METHOD: "unknown_method",
    INVALID_PARAMS: "bad_params",
    INTERNAL_ERROR: "internal",
}
"""The errors of JSON-RPC itself, as the access log has them."""
CALLS_PER_REQUEST_MAX = 256
ID_CHARS_MAX = 256
ITEM_BYTES = 64
"""Memory of one parsed comma, colon or half a bracket, at least: `{"a":1},` is four of them and 240 bytes."""


class Refused(AssentError):
    """A request that is answered with a JSON-RPC error of its own number."""

    def __init__(self, number: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.number, self.data = number, data


@dataclass(slots=True)
class RpcCall:
    """One call of a request, checked as far as its frame goes."""

    ident: str | int | float | None
    name: str
    params: Any


def parsed_bytes(raw: bytes) -> int:
    """Return about how much memory a text takes when it is parsed, beside its strings; a millisecond a MB."""
    return ITEM_BYTES * (raw.count(b",") + raw.count(b":") + 2 * (raw.count(b"[") + raw.count(b"{")))


def read_request(raw: bytes) -> tuple[list[Any], bool]:
    """Return the calls of a request, and whether it is a batch; raise Refused."""
    try:
        request = json.loads(
            raw.decode(), parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_unique
        )
    except (ValueError, RecursionError) as error:
        raise Refused(PARSE_ERROR, f"the request is not JSON in UTF-8: {_short(str(error))}") from None
    batch = isinstance(request, list)
    calls = request if batch else [request]
    if not 1 <= len(calls) <= CALLS_PER_REQUEST_MAX:
        raise Refused(INVALID_REQUEST, f"{len(calls)} calls: 1..{CALLS_PER_REQUEST_MAX} fit a request")
    return calls, batch


def read_call(given: Any) -> RpcCall:
    """Return one call; raise Refused."""
    if not isinstance(given, dict) or not _is_call(given):
        raise Refused(INVALID_REQUEST, 'a call needs "jsonrpc": "2.0" and a "method"')
    if ident_of(given) != given.get("id"):
        raise Refused(INVALID_REQUEST, f"id: expected null, a number, or a text of at most {ID_CHARS_MAX}")
    return RpcCall(given.get("id"), given["method"], given.get("params"))


def is_notification(given: Any) -> bool:
    """Tell whether this is a call that names no id, and so gets no answer (JSON-RPC 2.0, section 4.1)."""
    return isinstance(given, dict) and "id" not in given and _is_call(given)


def _is_call(given: Mapping[str, Any]) -> bool:
    return given.get("jsonrpc") == "2.0" and type(given.get("method")) is str


def ident_of(given: Any) -> str | int | float | None:
    """Return a call's id, which its answer repeats; None when it has none that may be repeated."""
    ident = given.get("id") if isinstance(given, dict) else None
    if isinstance(ident, str):
        return ident if len(ident) <= ID_CHARS_MAX else None
    return ident if isinstance(ident, (int, float)) and not isinstance(ident, bool) else None


def encode_result(ident: Any, result: Any) -> bytes:
    """Return the answer of a call."""
    return _bytes({"jsonrpc": "2.0", "id": ident, "result": result})


def encode_failure(ident: Any, number: int, message: str, data: Any = None) -> bytes:
    """Return the error of a call."""
    error = {"code": number, "message": message} | ({"data": data} if data is not None else {})
    return _bytes({"jsonrpc": "2.0", "id": ident, "error": error})


def encode_update(subscription: str, result: bytes) -> bytes:
    """Return a notification around a result that is JSON already: many subscriptions share it."""
    head = b'{"jsonrpc": "2.0", "method": "subscription", "params": {"subscription": '
    return b'%b%b, "result": %b}}' % (head, _bytes(subscription), result)


def encode_json(value: Any) -> bytes:
    """Return a value as JSON."""
    return _bytes(value)


def _bytes(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{_short(text)} is too large a number")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the key {_short(name)!r} stands twice in one object")
            seen.add(name)
    return found


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
