"""JSON-RPC 2.0 over HTTP and WebSocket: framing, limits and errors; the methods stand in methods.py."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import pydantic
from aiohttp import WSCloseCode, WSMsgType, web

from chain.api.metrics import Metrics
from chain.config import Rpc
from chain.primitives.errors import AssentError, LimitError, PortBusy
from chain.primitives.settings import Section, split_address

log = logging.getLogger("assent.rpc")

PARSE_ERROR, INVALID_REQUEST, UNKNOWN_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602
INTERNAL_ERROR, DECLARED_ERROR = -32603, -32000
CALLS_PER_REQUEST_MAX = 256
SUBSCRIPTIONS_PER_SOCKET_MAX = 64
BODIES_MAX = 4
"""Largest request bodies held at once, in multiples of `rpc.max_request_bytes`."""
SOCKETS_MAX = 256
SOCKET_MESSAGE_BYTES_MAX = 262_144
"""WebSockets subscribe; large batches of transactions go by POST, whose bodies share one bound."""

Notify = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC method: the model of its parameters and the coroutine that answers."""

    params: type[Section]
    answer: Callable[[Any], Awaitable[Any]]


class Subscriptions(Protocol):
    """Streams of notifications for WebSockets."""

    async def run(self, params: dict[str, Any], notify: Notify) -> None:
        """Send notifications until cancelled; raise AssentError for parameters that make no stream."""


class _Refused(AssentError):
    """A request that is answered with a JSON-RPC error of its own number."""

    def __init__(self, number: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.number, self.data = number, data


class RateLimit:
    """A token bucket in requests a second, with one second's worth of burst."""

    def __init__(self, per_second: int) -> None:
        self._rate, self._tokens, self._at = per_second, float(per_second), 0.0

    def take(self, count: int, now: float) -> None:
        """Take `count` tokens at loop time `now` (s); raise LimitError when too few are left."""
        self._tokens = min(self._rate, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < count:
            raise LimitError(f"more than {self._rate} requests a second: slow down, or send in batches")
        self._tokens -= count


class RpcServer:
    """Serves a table of methods on one address."""

    def __init__(
        self,
        config: Rpc,
        methods: Mapping[str, Method],
        subscriptions: Subscriptions,
        ready: Callable[[], str],
        metrics: Metrics,
    ) -> None:
        """`ready()` returns "" when the node can serve, else why not."""
        self._config, self._methods, self._subscriptions = config, methods, subscriptions
        self._ready, self._metrics = ready, metrics
        self._rate = RateLimit(config.requests_per_second)
        self._connections = 0
        self._body_bytes = 0
        """Bodies of POST requests that are read or answered now, as their lengths claim."""
        self._sockets: set[web.WebSocketResponse] = set()
        app = web.Application(client_max_size=config.max_request_bytes, middlewares=[self._bound_connections])
        app.add_routes(
            [
                web.post("/", self._on_post),
                web.get("/ws", self._on_socket),
                web.get("/health", self._on_health),
                web.get("/ready", self._on_ready),
                web.get("/metrics", self._on_metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        self.address = config.listen

    async def start(self) -> None:
        """Bind the port; raise PortBusy naming it when it is taken."""
        host, port = split_address(self._config.listen)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            raise PortBusy(
                f"rpc.listen = {self._config.listen}: {error.strerror}; stop what uses the port, "
                "or set another address in the configuration"
            ) from None
        self.address = "{}:{}".format(*self._runner.addresses[0][:2])

    async def stop(self) -> None:
        """Close every connection and free the port."""
        for socket in list(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the node stops")
        await self._runner.cleanup()

    @web.middleware
    async def _bound_connections(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self._connections >= self._config.max_connections:
            raise self._busy("rpc_connections", f"{self._config.max_connections} requests")
        self._connections += 1
        try:
            answer: web.StreamResponse = await handler(request)
            return answer
        finally:
            self._connections -= 1

    def _busy(self, queue: str, bound: str) -> web.HTTPServiceUnavailable:
        self._metrics.dropped.labels(queue).inc()
        return web.HTTPServiceUnavailable(text=f"more than {bound} at once: wait, or ask another node")

    async def _on_post(self, request: web.Request) -> web.Response:
        most = self._config.max_request_bytes
        size = most if request.content_length is None else min(request.content_length, most)
        if self._body_bytes + size > BODIES_MAX * most:
            raise self._busy("rpc_bodies", f"{BODIES_MAX * most} bytes of requests")
        self._body_bytes += size
        try:
            answer = await self._answer_text(await request.read())
            return web.Response(text=json.dumps(answer), content_type="application/json")
        finally:
            self._body_bytes -= size

    async def _on_health(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def _on_ready(self, _: web.Request) -> web.Response:
        reason = self._ready()
        return web.json_response({"ready": not reason, "reason": reason}, status=503 if reason else 200)

    async def _on_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.render(), content_type="text/plain")

    async def _on_socket(self, request: web.Request) -> web.WebSocketResponse:
        if len(self._sockets) >= SOCKETS_MAX:
            raise self._busy("rpc_sockets", f"{SOCKETS_MAX} WebSockets")
        most = min(self._config.max_request_bytes, SOCKET_MESSAGE_BYTES_MAX)
        socket = web.WebSocketResponse(heartbeat=20.0, max_msg_size=most)
        await socket.prepare(request)
        self._sockets.add(socket)
        streams: dict[str, asyncio.Task[None]] = {}
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    raw = message.data.encode() if isinstance(message.data, str) else message.data
                    await socket.send_json(await self._answer_text(raw, socket, streams))
        finally:
            self._sockets.discard(socket)
            for task in streams.values():
                task.cancel()
            await asyncio.gather(*streams.values(), return_exceptions=True)
        return socket

    async def _answer_text(
        self,
        raw: bytes,
        socket: web.WebSocketResponse | None = None,
        streams: dict[str, asyncio.Task[None]] | None = None,
    ) -> Any:
        try:
            request = json.loads(raw)
        except (ValueError, RecursionError):
            return _failure(None, PARSE_ERROR, "the request is not JSON")
        calls = request if isinstance(request, list) else [request]
        if not 1 <= len(calls) <= CALLS_PER_REQUEST_MAX:
            return _failure(
                None, INVALID_REQUEST, f"{len(calls)} calls: 1..{CALLS_PER_REQUEST_MAX} fit a request"
            )
        answers = [await self._answer_call(call, socket, streams) for call in calls]
        return answers if isinstance(request, list) else answers[0]

    async def _answer_call(
        self,
        call: Any,
        socket: web.WebSocketResponse | None,
        streams: dict[str, asyncio.Task[None]] | None,
    ) -> dict[str, Any]:
        ident = call.get("id") if isinstance(call, dict) else None
        name = call.get("method") if isinstance(call, dict) else None
        try:
            if not isinstance(name, str) or call.get("jsonrpc") != "2.0":
                raise _Refused(INVALID_REQUEST, 'a call needs "jsonrpc": "2.0" and a "method"')
            self._take_one()
            if name in ("subscribe", "unsubscribe") and socket is not None and streams is not None:
                result = self._stream(name, call.get("params") or {}, socket, streams)
            else:
                async with asyncio.timeout(self._config.request_timeout_ms / 1000):
                    result = await self._call(name, call.get("params"))
            self._metrics.rpc_requests.labels(name if name in self._methods else "other", "ok").inc()
            return {"jsonrpc": "2.0", "id": ident, "result": result}
        except _Refused as error:
            return self._refuse(ident, name, error.number, str(error), error.data)
        except AssentError as error:
            return self._refuse(ident, name, DECLARED_ERROR, str(error), {"code": error.code})
        except TimeoutError:
            text = f"no answer within {self._config.request_timeout_ms} ms; ask again, or for less"
            return self._refuse(ident, name, DECLARED_ERROR, text, {"code": "timeout"})
        except Exception:  # a fault of ours: the caller learns that, the log learns what
            log.exception("method %s failed", name)
            return self._refuse(ident, name, INTERNAL_ERROR, "internal error; the node's log has the details")

    def _take_one(self) -> None:
        try:
            self._rate.take(1, asyncio.get_running_loop().time())
        except LimitError:
            self._metrics.dropped.labels("rpc_rate").inc()
            raise

    def _refuse(self, ident: Any, name: Any, number: int, text: str, data: Any = None) -> dict[str, Any]:
        known = name if isinstance(name, str) and name in self._methods else "other"
        self._metrics.rpc_requests.labels(known, "error").inc()
        return _failure(ident, number, text, data)

    async def _call(self, name: str, given: Any) -> Any:
        method = self._methods.get(name)
        if method is None:
            raise _Refused(
                UNKNOWN_METHOD, f"no method {name[:64]!r}; the methods are: {', '.join(self._methods)}"
            )
        fields = list(method.params.model_fields)
        if isinstance(given, list):
            if len(given) > len(fields):
                raise _Refused(
                    INVALID_PARAMS, f"{name}: {len(given)} parameters, at most {len(fields)}: {fields}"
                )
            given = dict(zip(fields, given, strict=False))
        try:
            params = method.params.model_validate(given or {})
        except pydantic.ValidationError as error:
            faults = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
            raise _Refused(INVALID_PARAMS, f"{name}: " + "; ".join(faults), {"parameters": fields}) from None
        return await method.answer(params)

    def _stream(
        self,
        name: str,
        params: Any,
        socket: web.WebSocketResponse,
        streams: dict[str, asyncio.Task[None]],
    ) -> Any:
        if not isinstance(params, dict):
            raise _Refused(INVALID_PARAMS, f"{name}: takes named parameters")
        if name == "unsubscribe":
            task = streams.pop(str(params.get("subscription")), None)
            if task is not None:
                task.cancel()
            return task is not None
        if len(streams) >= SUBSCRIPTIONS_PER_SOCKET_MAX:
            raise LimitError(f"at most {SUBSCRIPTIONS_PER_SOCKET_MAX} subscriptions a connection")
        ident = str(max((int(key) for key in streams), default=0) + 1)

        async def notify(result: Any) -> None:
            update = {"subscription": ident, "result": result}
            await socket.send_json({"jsonrpc": "2.0", "method": "subscription", "params": update})

        streams[ident] = asyncio.create_task(self._run_stream(params, notify))
        return ident

    async def _run_stream(self, params: dict[str, Any], notify: Notify) -> None:
        try:
            await self._subscriptions.run(params, notify)
        except AssentError as error:
            await notify({"error": {"code": error.code, "message": str(error)}})
        except ConnectionError:
            return


def _failure(ident: Any, number: int, message: str, data: Any = None) -> dict[str, Any]:
    error = {"code": number, "message": message} | ({"data": data} if data is not None else {})
    return {"jsonrpc": "2.0", "id": ident, "error": error}
