"""A WebSocket's way between its connection and aiohttp: what the client sends goes in piece by piece.

aiohttp sees this as its transport. Nothing but the request that opens the WebSocket reaches aiohttp before
it is one: afterwards aiohttp would answer further requests, which no gate has looked at.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from chain.api.account import Bucket
from chain.api.frames import Frames

if TYPE_CHECKING:
    from chain.api.door import Door
    from chain.api.gate import Gate

CONTROL_PER_S = 16.0
"""Pings, pongs and closes of one WebSocket in a second: clients send one in several seconds. Nobody asked
for more, and each costs as much as a call."""


class Feed(asyncio.Transport):
    """Transport that aiohttp reads a WebSocket from and writes it to."""

    def __init__(
        self, gate: Gate, door: Door, transport: asyncio.Transport, protocol: asyncio.Protocol
    ) -> None:
        super().__init__()
        self.gate, self.protocol = gate, protocol
        self._door, self._transport = door, transport
        self._frames = Frames()
        self._control = Bucket(CONTROL_PER_S, door.now())
        self._open = self._full = False
        """Whether it is a WebSocket, and whether aiohttp takes no more for now."""

    def begin(self, raw_head: bytes) -> None:
        """Show aiohttp the request that opens the WebSocket."""
        self.protocol.connection_made(self)
        self.protocol.data_received(raw_head)

    def more(self) -> None:
        """Pass one piece of what arrived to aiohttp; further pieces, and many reads, take turns."""
        self._open = True
        if self.gate.waits or self._full:
            self.gate.reads.pause()
            return
        arrived = self.gate.rest
        piece = self._frames.cut(arrived)
        if piece.control and not self._allow(piece.control):
            self._door.lost("rpc_control_frames")
            self.gate.abort()  # and what the kernel has of it goes, too
            return
        data = bytes(arrived[: piece.size])
        del arrived[: piece.size]
        self.gate.let_go(piece.size)
        if data:
            self.protocol.data_received(data)
        if (data and arrived) or self.gate.reads.are_many:
            self.gate.read_on_in_turn(light=True)
        else:
            self.gate.reads.resume()

    def _allow(self, control: int) -> bool:
        now = self._door.now()
        if self._control.left(now) < control:
            return False
        self._control.take(now, control)
        return True

    # --- what aiohttp asks of a transport ----------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return a fact about the connection (asyncio.BaseTransport)."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Note that aiohttp takes no more for now (asyncio.ReadTransport)."""
        self._full = True

    def resume_reading(self) -> None:
        """Let aiohttp have more, in a turn of this connection (asyncio.ReadTransport)."""
        self._full = False
        if self._open and not self.gate.waits:
            self.gate.read_on_in_turn(light=True)  # not at once: aiohttp is in the midst of reading

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes of an answer (asyncio.Transport)."""
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Tell whether the connection is closed, or closing (asyncio.BaseTransport)."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close the connection once what was written is sent (asyncio.BaseTransport)."""
        self._transport.close()

    def abort(self) -> None:
        """Close the connection at once, and lose what was not sent (asyncio.WriteTransport)."""
        self._transport.abort()
