"""WebSockets of the RPC port: calls one after another, and notifications of subscriptions.

One task a socket sends all its notifications, each for a turn, so a certified height wakes no more tasks
than there are sockets. A client that reads slowly is behind, never thinned: its streams go on where they are.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from chain.api.door import Door
from chain.api.framing import INVALID_PARAMS, Refused, encode_json, encode_update
from chain.api.gate import WRITE_BUFFER_BYTES, Gate
from chain.api.rpc import Calls
from chain.api.shares import Holding
from chain.api.turns import Busy, Metered
from chain.config import RpcSection
from chain.primitives.errors import AssentError, LimitError

SUBSCRIPTIONS_PER_SOCKET_MAX = 16
SOCKET_MESSAGE_BYTES_MAX = 65_536
"""WebSockets subscribe and ask; transactions go by POST, whose bodies share one bound."""
HEARTBEAT_S = 20.0
FAREWELL_S = 1.0
"""Clients that do not answer the end of a socket by then are cut off."""
BUSY = b"no turn came in time: this node is busy, or this address asks too much of it; wait"
"""At most 123 bytes, as a frame that closes a socket allows."""


class Subscription(Protocol):
    """Subscription: one stream of updates of one WebSocket."""

    @property
    def behind(self) -> bool:
        """Tell whether the stream is behind, so that `step` has something to do."""

    def step(self) -> bytes | None:
        """Go on by one update, returned as JSON, or by what has none; raise AssentError at the end."""


class Subscriptions(Protocol):
    """What opens subscriptions, and wakes those who have some."""

    def open(self, params: dict[str, Any]) -> Subscription:
        """Return the stream that is asked for; raise AssentError for parameters that make none."""

    def watch(self, wake: asyncio.Event) -> None:
        """Set an event from now on whenever streams may be behind."""

    def unwatch(self, wake: asyncio.Event) -> None:
        """Stop setting that event."""


class Sockets:
    """The WebSockets of one port."""

    def __init__(self, config: RpcSection, door: Door, calls: Calls, subscriptions: Subscriptions) -> None:
        self._door, self._calls, self._subscriptions = door, calls, subscriptions
        self._message_bytes_max = min(config.max_request_bytes, SOCKET_MESSAGE_BYTES_MAX)
        self._open: set[web.WebSocketResponse] = set()

    async def serve(self, request: web.Request, gate: Gate) -> web.StreamResponse:
        """Serve a socket to its end; the newcomer is let in, an older one goes."""
        place = Holding(gate.client, lambda: self._give_up(gate))
        if not self._door.sockets.take(place, 1):
            self._door.lost("rpc_sockets")
            raise web.HTTPServiceUnavailable(text="too many WebSockets: wait, or ask another node")
        socket = web.WebSocketResponse(
            timeout=FAREWELL_S,
            heartbeat=HEARTBEAT_S,
            max_msg_size=self._message_bytes_max,
            compress=False,
            writer_limit=WRITE_BUFFER_BYTES,
        )
        try:
            await socket.prepare(request)
            gate.become_socket()
            self._open.add(socket)
            served = _Socket(socket, gate, self._door, self._calls, self._subscriptions, place)
            with suppress(ConnectionError):  # the client went away
                await served.run()
        except Busy:
            self._door.lost("rpc_rate")
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=BUSY)
        finally:
            self._open.discard(socket)
            self._door.sockets.give_back(place)
        return socket

    async def close(self) -> None:
        """Tell every client that the node stops."""
        farewells = [
            socket.close(code=WSCloseCode.GOING_AWAY, message=b"the node stops") for socket in self._open
        ]
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_S):
                await asyncio.gather(*farewells, return_exceptions=True)

    def _give_up(self, gate: Gate) -> None:
        self._door.lost("rpc_sockets")
        gate.abort()


class _Socket:
    """One WebSocket and its subscriptions."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        gate: Gate,
        door: Door,
        calls: Calls,
        subscriptions: Subscriptions,
        place: Holding,
    ) -> None:
        self._socket, self._gate, self._door, self._calls = socket, gate, door, calls
        self._subscriptions, self._place = subscriptions, place
        self._streams: dict[str, Subscription] = {}
        self._numbered = 0
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Answer calls and send notifications until the client leaves."""
        extra = {"subscribe": self._subscribe, "unsubscribe": self._unsubscribe}
        sending = asyncio.create_task(self._notify_for_ever())
        self._subscriptions.watch(self._wake)
        try:
            async for message in self._socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    raw = message.data.encode() if isinstance(message.data, str) else message.data
                    await self._gate.turn(light=True)
                    if answer := await self._calls.answer(raw, self._gate, extra):
                        await self._send(answer)
                    self._wake.set()  # what was subscribed to is sent behind the number of the subscription
        finally:
            self._subscriptions.unwatch(self._wake)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, text: bytes) -> None:
        """Send one message that is held; the gate closes the connection if it is not taken in time."""
        async with self._sending:
            self._gate.sending(len(text))
            await self._socket.send_frame(text, WSMsgType.TEXT)
            self._gate.sent(len(text))

    # --- subscriptions -----------------------------------------------------------------------------

    def _subscribe(self, params: Any) -> str:
        if not isinstance(params, dict):
            raise Refused(INVALID_PARAMS, "subscribe: takes named parameters")
        if len(self._streams) >= SUBSCRIPTIONS_PER_SOCKET_MAX:
            raise LimitError(f"at most {SUBSCRIPTIONS_PER_SOCKET_MAX} subscriptions a connection")
        stream = self._subscriptions.open(params)
        self._numbered += 1
        self._streams[str(self._numbered)] = stream
        self._door.sockets.renew(self._place, 1)
        return str(self._numbered)

    def _unsubscribe(self, params: Any) -> bool:
        if not isinstance(params, dict):
            raise Refused(INVALID_PARAMS, "unsubscribe: takes named parameters")
        return self._streams.pop(str(params.get("subscription")), None) is not None

    async def _notify_for_ever(self) -> None:
        with suppress(ConnectionError):
            await Metered(self._notify(), self._gate.spent)

    async def _notify(self) -> None:
        """Bring every stream up to date, one update of each after another, whenever there may be some."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while behind := [item for item in self._streams.items() if item[1].behind]:
                for number, stream in behind:
                    with suppress(Busy):  # its turn comes later
                        await self._gate.turn()
                        await self._step(number, stream)

    async def _step(self, number: str, stream: Subscription) -> None:
        if self._streams.get(number) is not stream:
            return
        try:
            update = stream.step()
        except AssentError as error:
            del self._streams[number]
            update = encode_json({"error": {"code": error.code, "message": str(error)}})
        if update is not None:
            message = encode_update(number, update)
            if not self._gate.hold(len(message)):
                self._gate.abort()  # nothing may be left out of a stream: the client resumes it
                return
            await self._send(message)
