"""Attacks on a node's RPC port that hold things: bodies, connections, answers. Nobody needs a key."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import zlib
from typing import cast

from tests.floods.attack import Attack
from tests.floods.http import (
    call,
    crowd,
    post,
    rpc,
    skip_head,
    text_frame,
    until_closed,
    upgrade,
)
from tests.floods.target import Clock, Tally, Target

BODY_BYTES = 8_388_608
"""The largest body that a node takes by default."""
WINDOW_BYTES = 16_384
"""Receive buffer of a client that does not read."""


class SlowBodies(Attack):
    """Bodies that are announced and never sent."""

    name = "slow-bodies"
    port = "rpc"
    sends = "POST with Content-Length 8388608 and not one byte of it"
    bound = "16 connections"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        head = post(b"", target.rpc[target.victim], Content_Length=str(BODY_BYTES))

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(head)
            tally.count(len(head))
            await until_closed(reader, tally)

        await crowd(target, clock, tally, 16, speak)


class SlowHeads(Attack):
    """Requests whose head never ends."""

    name = "slow-heads"
    port = "rpc"
    sends = "a request line, then one byte of a header a second"
    bound = "200 connections"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        async def drip(writer: asyncio.StreamWriter) -> None:
            writer.write(b"POST / HTTP/1.1\r\nX: ")
            while True:
                writer.write(b"x")
                tally.count(1)
                await asyncio.sleep(1.0)

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            dripping = asyncio.create_task(drip(writer))
            try:
                await until_closed(reader, tally)
            finally:
                dripping.cancel()

        await crowd(target, clock, tally, 200, speak)


class LongPolls(Attack):
    """Every request that may be under way at once waits for a receipt that never comes."""

    name = "long-polls"
    port = "rpc"
    sends = "getTransactionReceipt of unknown ids with waitMs 20000, again when answered"
    bound = "1,030 connections"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        where = target.rpc[target.victim]

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            request = rpc(where, call("getTransactionReceipt", id=os.urandom(32).hex(), waitMs=20_000))
            writer.write(request)
            tally.count(len(request))
            await until_closed(reader, tally)

        await crowd(target, clock, tally, 1_030, speak, gap_s=0.001)


class WebSockets(Attack):
    """Nearly all WebSockets that a node keeps, by one client that says nothing on them."""

    name = "websockets"
    port = "rpc"
    sends = "the opening of a WebSocket, then nothing"
    bound = "255 connections"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        opening = upgrade(target.rpc[target.victim])

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(opening)
            tally.count(len(opening))
            await until_closed(reader, tally)

        await crowd(target, clock, tally, 255, speak, gap_s=0.001)


class IdleConnections(Attack):
    """Connections that never send a byte, while storage needs descriptors for new files."""

    name = "idle-connections"
    port = "rpc"
    sends = "nothing; meanwhile 400 ordinary transactions of 60 kB go to another node (ulimit -n is 1024)"
    bound = "1,010 connections"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        async def speak(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await until_closed(reader, tally)

        await crowd(target, clock, tally, 1_010, speak, gap_s=0.001)


def _deaf(writer: asyncio.StreamWriter) -> None:
    """Stop reading for good, with a small window, so that the other side has to keep what it answers."""
    transport = writer.transport
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
    if isinstance(transport, asyncio.ReadTransport):
        transport.pause_reading()


async def _until_reset(writer: asyncio.StreamWriter) -> None:
    """Wait until the other side is gone, without reading: only writing tells."""
    while not writer.transport.is_closing():
        await asyncio.sleep(0.5)
        writer.write(b" ")
    raise ConnectionResetError


class UnreadBatches(Attack):
    """Answers a thousand times as large as their requests, to a client that never reads."""

    name = "unread-batches"
    port = "rpc"
    sends = "batches of 256 getStateRange (limit 1000) and 256 getGenesis; the answers are never read"
    bound = "12 connections"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        where = target.rpc[target.victim]
        ranges = [call("getStateRange", contract="lifecycle", map="sources", limit=1_000)] * 256
        requests = [rpc(where, ranges), rpc(where, [call("getGenesis")] * 256)]

        async def speak(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            _deaf(writer)
            request = requests[tally.sent % 2]
            writer.write(request)
            tally.count(len(request))
            await _until_reset(writer)

        await crowd(target, clock, tally, 12, speak)


class UnreadSockets(Attack):
    """The same over WebSockets, one call after another."""

    name = "unread-sockets"
    port = "rpc"
    sends = "200 getGenesis a WebSocket; the answers are never read"
    bound = "40 connections, 200 messages each"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        opening = upgrade(target.rpc[target.victim])
        messages = b"".join(text_frame(call("getGenesis", number)) for number in range(200))

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(opening)
            status = await skip_head(reader)
            tally.answer(status)
            if not status.startswith("101"):
                return
            _deaf(writer)
            writer.write(messages)
            tally.count(len(messages), 200)
            while not writer.transport.is_closing():
                await asyncio.sleep(0.5)

        await crowd(target, clock, tally, 40, speak)


class SlowReaders(Attack):
    """Clients that read their answers one kilobyte at a time."""

    name = "slow-readers"
    port = "rpc"
    sends = "batches of 16 getGenesis (2 MB of answer), read at 2 kB a second"
    bound = "64 connections"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        where = target.rpc[target.victim]
        request = rpc(where, [call("getGenesis")] * 16)

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            _deaf(writer)
            writer.write(request)
            tally.count(len(request))
            transport = cast(asyncio.Transport, writer.transport)
            while not reader.at_eof() and not transport.is_closing():
                transport.resume_reading()
                await reader.read(1_024)
                transport.pause_reading()
                await asyncio.sleep(0.5)

        await crowd(target, clock, tally, 64, speak)


class UnfinishedGzip(Attack):
    """Compressed bodies that unfold a thousandfold, and miss their last byte."""

    name = "gzip-unfinished"
    port = "rpc"
    sends = "7 MiB of spaces as gzip (7 kB) without the last byte"
    bound = "150 connections"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        body = gzip.compress(b" " * 7 * 1_048_576)
        request = post(body, target.rpc[target.victim], Content_Encoding="gzip")[:-1]

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(request)
            tally.count(len(request))
            await until_closed(reader, tally)

        await crowd(target, clock, tally, 150, speak, gap_s=0.01)


class GzipBombs(Attack):
    """Compressed bodies of half a gigabyte."""

    name = "gzip-bombs"
    port = "rpc"
    sends = "500 MiB of zeros as gzip (500 kB), again and again"
    bound = "4 connections"

    def prepare(self, target: Target) -> None:
        block = bytes(1_048_576)
        packer = zlib.compressobj(wbits=31)  # gzip
        body = b"".join([*[packer.compress(block) for _ in range(500)], packer.flush()])
        self._request = post(body, target.rpc[target.victim], Content_Encoding="gzip")

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(self._request)
            tally.count(len(self._request))
            await writer.drain()
            await until_closed(reader, tally)

        await crowd(target, clock, tally, 4, speak)
