"""The OpenRPC document (spec.open-rpc.org, 1.3.2) of the methods: what each takes, answers and refuses.

It is made of the very table and models that answer calls, so it says what they do. A node serves its own as
`rpc.discover`; `docs/openrpc.json` is the same, for whoever has no node yet.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from chain.api.framing import (
    DECLARED_ERROR,
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    UNKNOWN_METHOD,
)
from chain.api.port import NotFound
from chain.api.principals import AccessScope, Forbidden, Unauthorized
from chain.api.replacing import ABOUT_THE_NODE, Replacing
from chain.api.request_timeout import TimedOut
from chain.api.results import BOOL, COMPONENTS, TEXT, Schema
from chain.api.rpc import AnswerTooLarge, Method
from chain.api.streams import Subscribe
from chain.api.turns import Busy
from chain.ledger.proof.prover import NotCertified
from chain.ledger.pruned import NotHeld, UnknownHeight
from chain.primitives.errors import AssentError, ConfigError, DecodeError, LimitError
from chain.primitives.settings import Section

DOCUMENT_VERSION = "1"
"""Raised when a method changes so that a client of before no longer works."""
ANYWHERE = (Unauthorized, Forbidden, Busy, TimedOut, AnswerTooLarge, LimitError)
"""What any call may end with."""
OF_THE_LEDGER = (NotFound, NotHeld, UnknownHeight, NotCertified, DecodeError, Replacing)
"""What a call that reads the ledger may end with, too."""
FRAMING = {
    PARSE_ERROR: "the request is not JSON in UTF-8",
    INVALID_REQUEST: "the request is no call of JSON-RPC 2.0, or has too many of them",
    UNKNOWN_METHOD: "there is no such method",
    INVALID_PARAMS: "a parameter is missing, unknown or out of its range",
    INTERNAL_ERROR: "a fault of the node itself, which its log has",
}


def openrpc_document(methods: Mapping[str, Method]) -> dict[str, Any]:
    """Return the document of a table of methods, and of the two that a WebSocket has beside them."""
    errors = {str(number): {"code": number, "message": text} for number, text in FRAMING.items()}
    listed = [_method(name, method, errors) for name, method in methods.items()]
    listed += _of_sockets(errors)
    return {
        "openrpc": "1.3.2",
        "info": {
            "title": "Assent node",
            "version": DOCUMENT_VERSION,
            "description": "JSON-RPC 2.0 by HTTP POST at / and over a WebSocket at /ws (docs/rpc.md). "
            "Parameters come by name or by position. x-scope is what a principal needs.",
        },
        "methods": listed,
        "components": {"schemas": COMPONENTS, "errors": errors},
    }


def _method(name: str, method: Method, errors: dict[str, Any]) -> dict[str, Any]:
    own = () if name in ABOUT_THE_NODE or method.scope is AccessScope.OPEN else OF_THE_LEDGER
    told = {"name": name, "summary": _words(method.answer), "x-scope": method.scope.value}
    return told | _shape(method.params, method.result, (*own, *method.errors), errors)


def _of_sockets(errors: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield the methods of a WebSocket itself."""
    follow = (
        "Follow certified blocks or events from a height on; each comes as a notification `subscription` "
        "with the number that this answers. Over a WebSocket alone."
    )
    read = AccessScope.READ.value
    yield {"name": "subscribe", "summary": follow, "x-scope": read} | _shape(
        Subscribe, TEXT, (ConfigError, NotHeld), errors
    )
    end = "Follow no longer; false for a number that is not followed. Over a WebSocket alone."
    yield {"name": "unsubscribe", "summary": end, "x-scope": read} | _shape(Unsubscribe, BOOL, (), errors)


class Unsubscribe(Section):
    """One subscription of this WebSocket."""

    subscription: str


def _shape(
    params: type[Section], result: Schema, own: Iterable[type[AssentError]], errors: dict[str, Any]
) -> dict[str, Any]:
    """Return what a method takes, answers and refuses; its errors join those of the document, by code."""
    codes = [str(INVALID_PARAMS), str(INTERNAL_ERROR)]
    declared: list[type[AssentError]] = [*ANYWHERE, *own]
    for error in declared:
        told = {"code": DECLARED_ERROR, "message": _words(error), "data": {"code": error.code}}
        errors.setdefault(error.code, told)
        codes.append(error.code)
    return {
        "description": _words(params),
        "paramStructure": "either",
        "params": list(_params(params)),
        "result": {"name": "result", "schema": result},
        "errors": [{"$ref": f"#/components/errors/{code}"} for code in dict.fromkeys(codes)],
    }


def _params(params: type[Section]) -> Iterable[dict[str, Any]]:
    """Yield the parameters of a model, each with its JSON Schema."""
    shape = params.model_json_schema()
    for name, schema in shape.get("properties", {}).items():
        del schema["title"]
        yield {"name": name, "required": name in shape.get("required", ()), "schema": schema}


def _words(told: object) -> str:
    return " ".join((inspect.getdoc(told) or "").split())
