"""The wires between nodes: one TCP proxy before each node, which can cut, silence, delay and throttle.

Genesis names the proxies, so every connection between two nodes passes here as real bytes on 127.0.0.1.
Who dialled is learnt from the kernel: the process that owns the other end of the accepted connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

CHUNK_BYTES = 65_536
CHUNKS_MAX = 64
"""Chunks that one direction of a connection keeps before it stops reading."""


@dataclass(slots=True)
class Wire:
    """What happens to bytes between one pair of nodes, in both directions."""

    cut: bool = False
    """Connections are closed, new ones refused."""
    silent: bool = False
    """Nothing passes, and nobody is told: connections stay open."""
    delay_s: float = 0.0
    bytes_per_s: int = 0
    """0: as fast as the machine."""
    bytes: int = 0
    transports: set[asyncio.WriteTransport] = field(default_factory=set)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def set(
        self, *, cut: bool = False, silent: bool = False, delay_s: float = 0.0, bytes_per_s: int = 0
    ) -> None:
        """Change the wire; called without arguments it is whole again."""
        self.cut, self.silent, self.delay_s, self.bytes_per_s = cut, silent, delay_s, bytes_per_s
        if cut:
            for transport in list(self.transports):
                transport.abort()
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class Wires:
    """All wires of a cluster; `dialler(port)` names the node whose process owns a local port."""

    def __init__(self, names: list[str], dialler: Callable[[int], str | None]) -> None:
        self._dialler = dialler
        self._wires = {frozenset((a, b)): Wire() for a in names for b in names if a < b}
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.strangers = 0
        """Connections whose dialler was gone before it could be named; closed."""

    def between(self, a: str, b: str) -> Wire:
        """Return the wire of a pair."""
        return self._wires[frozenset((a, b))]

    def of(self, name: str) -> list[Wire]:
        """Return every wire of one node."""
        return [wire for pair, wire in self._wires.items() if name in pair]

    def all(self) -> list[Wire]:
        """Return every wire."""
        return list(self._wires.values())

    async def open(self, name: str, proxy_port: int, node_port: int) -> None:
        """Listen before one node."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self._carry(name, node_port, reader, writer)
            writer.transport.abort()
            self._tasks.discard(task)

        self._servers.append(await asyncio.start_server(accept, "127.0.0.1", proxy_port))

    async def close(self) -> None:
        """Close every listener and connection."""
        for server in self._servers:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(
        self, name: str, node_port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        port = writer.get_extra_info("peername")[1]
        other = await asyncio.to_thread(self._dialler, port)
        if other is None or other == name:
            self.strangers += other is None
            return
        wire = self.between(name, other)
        if wire.cut:
            return
        onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", node_port)
        ends = {writer.transport, onward_writer.transport}
        wire.transports |= ends
        try:
            if not wire.cut:
                await _first_done(_pump(wire, reader, onward_writer), _pump(wire, onward_reader, writer))
        finally:
            wire.transports -= ends
            onward_writer.transport.abort()


async def _first_done(*work: object) -> None:
    """Run both directions until either ends."""
    tasks = [asyncio.ensure_future(item) for item in work]  # type: ignore[call-overload]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pump(wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way: delay shifts them, a rate spreads them, silence holds them."""
    loop = asyncio.get_running_loop()
    held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_MAX)

    async def deliver() -> None:
        while True:
            due, data = await held.get()
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            while wire.silent:
                await wire.changed.wait()
            if not data:
                return
            if wire.bytes_per_s:
                await asyncio.sleep(len(data) / wire.bytes_per_s)
            wire.bytes += len(data)
            writer.write(data)
            await writer.drain()

    delivery = asyncio.create_task(deliver())
    try:
        while True:
            data = await reader.read(CHUNK_BYTES)
            await held.put((loop.time() + wire.delay_s, data))
            if not data:
                break
        await delivery
    finally:
        delivery.cancel()
