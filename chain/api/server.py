"""The RPC port: JSON-RPC over HTTP POST and WebSocket, and the pages for whoever watches the node."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, cast

from aiohttp import web

from chain.api.accesslog import AccessLog
from chain.api.arrivals import Arrivals
from chain.api.behind import Behind
from chain.api.door import Door
from chain.api.feed import Feed
from chain.api.gate import Gate
from chain.api.head import SOCKET, Heads
from chain.api.metrics import Metrics
from chain.api.plain import Pages
from chain.api.principals import Everybody, Principals
from chain.api.rpc import Calls, Method
from chain.api.shares import CALLER
from chain.api.sockets import Sockets, Subscriptions
from chain.api.turns import Metered
from chain.config import RpcSection
from chain.primitives.acceptor import REST_S, Acceptor, cannot_listen, listening
from chain.primitives.pace import Pace, thread_times
from chain.primitives.settings import join_address, split_address

log = logging.getLogger("assent.rpc")

SWEEP_S = 0.25
"""How often deadlines are looked at."""
BACKLOG: Final = 1_024
"""Connections that the kernel keeps for us."""
ACCEPTS_MAX: Final = 16
"""Connections accepted in one turn of the loop: half a millisecond, for which consensus waits. With very few
the kernel's queue fills on a busy machine, and whoever comes then tries again a second later."""
OVER_MAX: Final = 64
"""So many more connections than the bound may be open for a moment: those that just came, or just go."""
SILENT_S: Final = 1
"""A client that connects sends its request: the kernel waits for it so long before it bothers us."""
SHUTDOWN_S = 1.0


class RpcServer:
    """Serves a table of methods on one address."""

    def __init__(
        self,
        config: RpcSection,
        methods: Mapping[str, Method],
        subscriptions: Subscriptions,
        ready: Callable[[], str],
        metrics: Metrics,
        now: Callable[[], float] | None = None,
        principals: Principals | None = None,
        tls: ssl.SSLContext | None = None,
        head: Callable[[], Any] = dict,
        access: AccessLog | None = None,
    ) -> None:
        """`ready()` returns "" when the node can serve, else why not; `now()` is the clock of deadlines.

        Without `principals` whoever reaches the port is its operator; without `tls` it speaks plainly.
        `head()` returns the node's head statement, as JSON; `access` notes who asks what, and is closed here.
        """
        self._access = access
        self._principals, self._tls, self._head = principals or Everybody(), tls, head
        self._config, self._methods, self._subscriptions = config, methods, subscriptions
        self._ready, self._metrics, self._now = ready, metrics, now
        self._listener: socket.socket | None = None
        self._sweeping: asyncio.Handle | None = None
        self._pace = Pace(thread_times)
        self.address = config.listen

    async def start(self) -> None:
        """Bind the port; raise CannotListen naming it, PortBusy when it is taken."""
        loop = asyncio.get_running_loop()
        self.door = door = Door(
            self._config, self._metrics, loop, self._now or loop.time, self._principals, self._access
        )
        calls = Calls(self._config, self._methods, door.parsed_max, self._metrics, door.faults, self._access)
        self._sockets = Sockets(self._config, door, calls, self._subscriptions)
        self._runner = runner = self._websockets()
        await runner.setup()
        host, port = split_address(self._config.listen)
        self._behind = Behind(
            Heads(loop, {host.lower(), *self._config.hosts}, self._config.max_request_bytes).read,
            Pages(self._ready, self._metrics.render, door.now, self._head).answer,
            calls.answer,
            cast(web.Server, runner.server),
        )
        try:
            self._listener = listening(host, port, BACKLOG, silent_s=SILENT_S)
        except OSError as error:
            await runner.cleanup()
            raise cannot_listen("rpc.listen", self._config.listen, error) from None
        self.address = join_address(*self._listener.getsockname()[:2])
        self._arrivals = Arrivals(door, self._listener, partial(Gate, door, self._behind), self._tls)
        self._acceptor = Acceptor(self._listener, self._arrivals.take, self._exhausted, at_once=ACCEPTS_MAX)
        self._acceptor.open()
        for what, shares in door.shares.items():
            self._metrics.rpc_held.labels(what).set_function(partial(getattr, shares, "total"))
        self._sweep_for_ever(loop)

    async def stop(self) -> None:
        """Close every connection and free the port."""
        if self._listener is None:
            return
        self._acceptor.close()
        self._listener.close()
        self._arrivals.close()
        if self._sweeping is not None:
            self._sweeping.cancel()
        await self._sockets.close()
        await self._runner.cleanup()
        for gate in list(self.door.gates):
            gate.abort()
        self.door.turns.close()
        if self._access is not None:
            await self._access.close()

    def _exhausted(self, why: str) -> None:
        self.door.lost("rpc_descriptors")
        log.warning("the RPC port cannot accept connections (%s); again in %.1f s", why, REST_S)

    def sweep(self) -> None:
        """Close connections that are late and refuse turns that waited too long; a few times a second."""
        now = self.door.now()
        self._principals.refresh()
        for gate in list(self.door.gates):
            gate.check(now)
        self._arrivals.sweep()
        self._pace.sample()
        self.door.turns.settle(self._pace.value)
        self.door.report()
        if self._access is not None:
            self._access.flush()

    def _sweep_for_ever(self, loop: asyncio.AbstractEventLoop) -> None:
        self.sweep()
        self._sweeping = loop.call_later(SWEEP_S, self._sweep_for_ever, loop)

    def _websockets(self) -> web.AppRunner:
        """Return what serves the WebSockets that gates hand over."""
        app = web.Application()
        app.add_routes([web.get(SOCKET, self._on_socket)])
        quiet = logging.getLogger("assent.rpc.http")
        quiet.setLevel(logging.CRITICAL)  # it would log a traceback for each connection that breaks off
        return web.AppRunner(
            app, access_log=None, logger=quiet, shutdown_timeout=SHUTDOWN_S, handler_cancellation=True
        )

    async def _on_socket(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        if not isinstance(transport, Feed):  # the client left before its request was begun
            raise ConnectionResetError("the connection is closed")
        gate = transport.gate
        CALLER.set(gate.client)
        try:
            return await Metered(self._sockets.serve(request, gate), gate.spent)
        except web.HTTPException as answer:
            answer.force_close()  # it is no WebSocket: nothing else may come to aiohttp on this connection
            raise
        except ConnectionError:
            raise
        except Exception:
            self.door.faults.log("a WebSocket")
            raise
