"""The head of an HTTP request: read by aiohttp's parser, and what is refused by it alone."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Collection
from dataclasses import dataclass

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpProcessingError, HttpRequestParser, RawRequestMessage

from chain.api.origin import host_fault, origin_fault

HEAD_BYTES_MAX = 16_384
"""Request line and header fields."""
FIELDS_MAX = 64
PAGES = ("/health", "/ready", "/metrics", "/head")
OPEN_PAGES = PAGES[:2]
"""Probes ask for them by whatever name; they tell nothing that a page of elsewhere could use."""
RPC, SOCKET = "/", "/ws"
JSON = "application/json"
SINGLE = ("Authorization", "Origin")
"""Fields by which a request is let in: of two, what stands before this node may have believed the other."""
SOCKET_VERSION, SOCKET_KEY_BYTES = "13", 16


class BadHead(Exception):
    """A head that is refused: HTTP status and text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


@dataclass(frozen=True, slots=True)
class RequestHead:
    """Head of one HTTP request, as far as an answer needs it."""

    method: str
    path: str
    length: int
    """Bytes of its body."""
    last: bool
    """The client wants the connection closed afterwards."""
    waits: bool
    """The client sends the body when it is told to continue."""
    authorization: str | None = None
    """Who it says that it is."""


class Heads:
    """Parser of request heads for one port."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, own_hosts: Collection[str], body_bytes_max: int
    ) -> None:
        """`own_hosts` are the names of this node."""
        self._loop, self._own_hosts, self._body_bytes_max = loop, own_hosts, body_bytes_max
        self._nobody = BaseProtocol(loop)

    def read(self, raw: bytes) -> RequestHead:
        """Return a complete head; raise BadHead for what gets no answer."""
        parser = HttpRequestParser(
            self._nobody,
            self._loop,
            HEAD_BYTES_MAX,
            max_line_size=HEAD_BYTES_MAX,
            max_field_size=HEAD_BYTES_MAX,
            max_headers=FIELDS_MAX,
            auto_decompress=False,
        )
        try:
            messages, _, _ = parser.feed_data(raw)
        except HttpProcessingError as error:
            raise BadHead(400, f"no HTTP request: {' '.join(error.message.split())[:200]}") from None
        if len(messages) != 1:
            raise BadHead(400, "no HTTP/1.1 request")
        message = messages[0][0]
        fields, path = message.headers, message.path.partition("?")[0]
        for name in SINGLE:
            if len(fields.getall(name, ())) > 1:
                raise BadHead(400, f"{name} stands more than once: send it once, or not at all")
        if "Transfer-Encoding" in fields:
            raise BadHead(411, "a request states its Content-Length; it does not come in chunks")
        expected = fields.get("Expect", "").lower()
        if expected not in ("", "100-continue"):
            raise BadHead(417, "nothing but 100-continue can be expected")
        head = RequestHead(
            message.method,
            path,
            int(fields.get("Content-Length", "0")),
            message.should_close,
            bool(expected),
            fields.get("Authorization"),
        )
        self._check(head, fields.get("Host", ""), fields.get("Origin"))
        if path == SOCKET:
            self._check_upgrade(head, message)
        if path == RPC:
            self._check_post(head, fields.get("Content-Type", ""), fields.get("Content-Encoding", "identity"))
        return head

    def _check(self, head: RequestHead, host: str, origin: str | None) -> None:
        if head.path not in OPEN_PAGES:
            if fault := host_fault(host, self._own_hosts):
                raise BadHead(421, fault)
            if fault := origin_fault(origin, host):
                raise BadHead(403, fault)
        if head.path not in (RPC, SOCKET, *PAGES):
            raise BadHead(404, f"nothing here; there are {RPC} (POST), {SOCKET}, {', '.join(PAGES)}")
        if head.path != RPC and (head.method not in ("GET", "HEAD") or head.length):
            raise BadHead(405, f"{head.path} takes GET without a body")

    def _check_upgrade(self, head: RequestHead, message: RawRequestMessage) -> None:
        """Refuse what aiohttp would answer otherwise than by opening a WebSocket (RFC 6455, 4.2.1)."""
        fields = message.headers
        if head.method != "GET":
            raise BadHead(405, f"{SOCKET} takes GET")
        if not message.upgrade or fields.get("Upgrade", "").strip().lower() != "websocket":
            raise BadHead(426, f"{SOCKET} opens a WebSocket: Connection: Upgrade, Upgrade: websocket")
        if fields.get("Sec-WebSocket-Version", "") != SOCKET_VERSION:
            raise BadHead(426, f"Sec-WebSocket-Version: expected {SOCKET_VERSION}")
        if not _is_socket_key(fields.get("Sec-WebSocket-Key", "")):
            raise BadHead(400, "Sec-WebSocket-Key: expected 16 bytes as base64")

    def _check_post(self, head: RequestHead, kind: str, coding: str) -> None:
        if head.method != "POST":
            raise BadHead(405, f"{RPC} takes POST")
        if head.length > self._body_bytes_max:
            raise BadHead(
                413,
                f"a body of {head.length} bytes, at most {self._body_bytes_max} (rpc.max_request_bytes): "
                "send less at once",
            )
        if kind.partition(";")[0].strip().lower() != JSON:
            raise BadHead(415, f"Content-Type {kind[:64]!r}: expected {JSON}")
        if coding.lower() != "identity":
            raise BadHead(415, f"Content-Encoding {coding[:64]!r}: bodies come uncompressed")


def _is_socket_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == SOCKET_KEY_BYTES
    except ValueError:
        return False
