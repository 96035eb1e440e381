"""HTTP answers as bytes, and the pages that are answered always.

`/health`, `/ready` and `/metrics` are for whoever watches the node: a hundred a second take no turn, however
busy everything else is, and cost tens of microseconds each.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from chain.api.head import JSON, PAGES, RequestHead
from chain.api.principals import AccessScope, Principal
from chain.config import RpcSection
from chain.primitives.words import SPEAKS_TLS

TEXT = "text/plain; charset=utf-8"
METRICS_KEPT_S = 0.25
"""The text of the metrics is made no more often; it takes a millisecond or two."""
HEAD_KEPT_S = 0.25
"""A statement is signed no more often."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
TLS_BEGINS = 0x16
"""First byte of whoever begins TLS: a record of its handshake (RFC 8446, 5.1), and no request of HTTP."""
IN_THE_CLEAR = f"{SPEAKS_TLS}: write https:// for http:// ([rpc] tls of its node is on)"
NO_TLS = "this port speaks no TLS: write http:// for https:// ([rpc] tls of its node is off)"
"""Whoever begins TLS sees by it that the answer is none of TLS; people read it in a capture."""

UNAUTHORIZED = 401


def answer_head(status: int, kind: str, length: int, *, last: bool = False) -> bytes:
    """Return the head of an answer; the connection ends with the answer if it is the last."""
    fields = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        f"Content-Type: {kind}",
        f"Content-Length: {length}",
        *(["WWW-Authenticate: Bearer"] if status == UNAUTHORIZED else []),  # RFC 9110, 15.5.2
        *(["Connection: close"] if last else []),
    ]
    return "\r\n".join([*fields, "", ""]).encode()


def no_content(*, last: bool) -> bytes:
    """Return the answer to a request that gets none (RFC 9110, 15.3.5): a head without a length."""
    return b"HTTP/1.1 204 No Content\r\n" + (b"Connection: close\r\n" if last else b"") + b"\r\n"


def refusal(status: int, text: str, *, bare: bool = False) -> bytes:
    """Return a refusal, without its text if it shall be bare; the connection ends with it."""
    body = f"{text}\n".encode()
    return answer_head(status, TEXT, len(body), last=True) + (b"" if bare else body)


def late(config: RpcSection) -> str:
    """Tell whose request did not arrive by when it had to."""
    return (
        f"the request did not arrive in time: its header within {config.header_timeout_ms} ms, "
        f"its body within {config.transfer_timeout_ms} ms and at {config.least_bytes_per_second} bytes "
        "a second at least"
    )


class Pages:
    """`/health`, `/ready`, `/metrics` and `/head` of a node."""

    def __init__(
        self,
        ready: Callable[[], str],
        metrics: Callable[[], bytes],
        now: Callable[[], float],
        head: Callable[[], Any],
    ) -> None:
        """`ready()` returns "" when the node can serve, else why not; `head()` its head statement."""
        self._head, self._said, self._said_until = head, b"", float("-inf")
        self._ready, self._metrics, self._now = ready, metrics, now
        self._kept, self._kept_until = b"", float("-inf")

    def answer(self, head: RequestHead, principal: Principal) -> bytes | None:
        """Return the page that a request asks for; None when it asks for no page."""
        if head.path not in PAGES:
            return None
        status, kind, body = self._page(head.path, told=AccessScope.OPERATE in principal.scopes)
        start = answer_head(status, kind, len(body), last=head.last)
        return start if head.method == "HEAD" else start + body

    def _page(self, path: str, *, told: bool) -> tuple[int, str, bytes]:
        """Return status, kind and text; why the node is not ready is for its operators alone."""
        if path == "/health":
            return 200, JSON, b'{"status": "alive"}'
        if path == "/ready":
            reason = self._ready()
            body = json.dumps({"ready": not reason, "reason": reason if told else ""}).encode()
            return (503 if reason else 200), JSON, body
        if path == "/head":
            if self._now() >= self._said_until:
                self._said, self._said_until = json.dumps(self._head()).encode(), self._now() + HEAD_KEPT_S
            return 200, JSON, self._said
        if self._now() >= self._kept_until:
            self._kept, self._kept_until = self._metrics(), self._now() + METRICS_KEPT_S
        return 200, "text/plain; version=0.0.4; charset=utf-8", self._kept
