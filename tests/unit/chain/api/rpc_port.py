"""A real RPC port over real sockets, with its own clock, small limits and methods that tests steer."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from chain.api.accesslog import AccessLog
from chain.api.metrics import Metrics
from chain.api.principals import AccessScope, Principals
from chain.api.rpc import Method
from chain.api.server import RpcServer
from chain.api.streams import Streams
from chain.config import RpcSection
from chain.ledger.testing import ToyChain
from chain.primitives.errors import DecodeError
from chain.primitives.settings import Section

JSON = {"Content-Type": "application/json"}


class Echo(Section):
    text: str
    times: int = 1


class Nothing(Section):
    pass


class Counting:
    """A stream of as many updates as asked for, of some size."""

    def __init__(self, count: int, size: int) -> None:
        self._count, self._size, self._next = count, size, 0

    @property
    def behind(self) -> bool:
        return self._next < self._count

    def step(self) -> bytes:
        self._next += 1
        return str(self._next - 1).encode().rjust(self._size)


class Count:
    """Streams that count."""

    def open(self, params: dict[str, Any]) -> Counting:
        return Counting(params["count"], params.get("size", 1))

    def watch(self, wake: asyncio.Event) -> None: ...

    def unwatch(self, wake: asyncio.Event) -> None: ...


@dataclass
class Port:
    """The port, and what its methods were asked."""

    server: RpcServer
    metrics: Metrics
    time: float = 0.0
    asked: list[str] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    """What calls of `hang` wait for."""
    hanging: int = 0
    connections: list[Connection] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http{'s' if self.server._tls else ''}://{self.server.address}"

    def pass_time(self, seconds: float) -> None:
        """Let the port's clock go on, and the port look at it."""
        self.time += seconds
        self.server.sweep()

    def dropped(self, queue: str) -> float:
        return float(self.metrics.dropped.labels(queue)._value.get())

    def turned_away(self) -> float:
        """Connections that were given up for newer ones, or that were too many in a second."""
        return self.dropped("rpc_connections") + self.dropped("rpc_rate")

    def held(self, what: str) -> int:
        return self.server.door.shares[what].total

    def count_asks(self) -> Callable[[], int]:
        """What tells how many turns were asked for from now on."""
        turns, asked = self.server.door.turns, 0
        ask = turns.ask

        def counting(*args: Any, **named: Any) -> Any:
            nonlocal asked
            asked += 1
            return ask(*args, **named)

        turns.ask = counting  # type: ignore[method-assign]
        return lambda: asked

    async def until(self, holds: Callable[[], bool]) -> None:
        """Let the port work until something holds."""
        while not holds():
            await asyncio.sleep(0)

    async def open(self) -> Connection:
        host, port = self.server.address.split(":")
        made = Connection(*await asyncio.open_connection(host, int(port), limit=2**26))
        self.connections.append(made)
        return made

    async def ask(self, text: str = "alive") -> Any:
        """Ask over a connection of its own; the result."""
        async with await self.open() as connection:
            connection.send(post(a_call(text)))
            return json.loads((await connection.answer()).body)["result"]


@dataclass
class Answer:
    status: int
    head: str
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Connection:
    """One connection that a client may misuse."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> Answer:
        """The next HTTP answer; raises IncompleteReadError when the port closes without."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await self.reader.readexactly(int(fields.get("content-length", 0)))
        return Answer(int(head.split()[1]), head, body)

    async def closed(self) -> bytes:
        """Read to the end; what came before."""
        with suppress(ConnectionError):
            return await self.reader.read()
        return b""

    async def __aenter__(self) -> Connection:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.abort()

    def abort(self) -> None:
        self.writer.transport.abort()


@asynccontextmanager
async def serving(
    principals: Principals | None = None,
    tls: ssl.SSLContext | None = None,
    access: AccessLog | None = None,
    **settings: Any,
) -> AsyncIterator[Port]:
    """Serve on a free port; `echo`, `hang` and `big` are its methods."""
    metrics = Metrics()
    port: Port

    async def echo(params: Echo) -> Any:
        port.asked.append(params.text)
        if params.text == "declared":
            raise DecodeError("that text is not welcome")
        if params.text == "fault":
            raise ZeroDivisionError
        return params.text * params.times

    async def hang(_: Nothing) -> Any:
        port.hanging += 1
        try:
            await port.release.wait()
        finally:
            port.hanging -= 1
        return "released"

    methods = {"echo": Method(AccessScope.READ, Echo, echo), "hang": Method(AccessScope.AUDIT, Nothing, hang)}
    config = RpcSection(listen="127.0.0.1:0", **settings)
    server = RpcServer(
        config, methods, Count(), lambda: "", metrics, lambda: port.time, principals, tls, access=access
    )
    port = Port(server, metrics)
    await server.start()
    try:
        yield port
    finally:
        await server.stop()
        for connection in port.connections:
            connection.abort()


@asynccontextmanager
async def serving_streams(chain: ToyChain) -> AsyncIterator[tuple[str, Streams]]:
    """Serve the streams of a toy chain; the address, and what is to hear of new heights."""
    feed = Streams(chain.ledger)
    server = RpcServer(RpcSection(listen="127.0.0.1:0"), {}, feed, lambda: "", Metrics())
    await server.start()
    try:
        yield f"http://{server.address}", feed
    finally:
        await server.stop()


def a_call(*params: Any, method: str = "echo", **named: Any) -> bytes:
    call = {"jsonrpc": "2.0", "id": 7, "method": method, "params": named or list(params)}
    return json.dumps(call).encode()


def head(length: int, *fields: str, host: str = "127.0.0.1", kind: str = "application/json") -> bytes:
    """The head of a POST."""
    given = [f"Host: {host}", f"Content-Type: {kind}", f"Content-Length: {length}", *fields]
    return "\r\n".join(["POST / HTTP/1.1", *given, "", ""]).encode()


def post(body: bytes, *fields: str, host: str = "127.0.0.1", kind: str = "application/json") -> bytes:
    return head(len(body), *fields, host=host, kind=kind) + body


def get(path: str, *fields: str, host: str = "127.0.0.1") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *fields, "", ""]).encode()
