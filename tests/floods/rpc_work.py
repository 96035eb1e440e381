"""Attacks on a node's RPC port that make it work: batches, subscriptions, large arguments, foreign pages."""

from __future__ import annotations

import asyncio
import json

from tests.floods.attack import Attack
from tests.floods.http import (
    READ_BYTES,
    call,
    crowd,
    post,
    read_one,
    rpc,
    skip_head,
    text_frame,
    upgrade,
)
from tests.floods.target import RECONNECT_S, Clock, Tally, Target, connect, hang_up

PIPELINED = 1_000
PONG = b"\x8a\x80" + bytes(4)
"""An empty pong that nobody asked for: six bytes, and nothing comes back."""
PONGS, SOCKETS = 20_000, 30
FOREIGN = 30
"""Requests of a foreign page in one go."""
SERVED = ("101", "200")
"""Beginnings of the status of an answer that a foreign page could read or use."""


class LargeArguments(Attack):
    """Arguments of a view that are all structure: expensive to read, worth nothing."""

    name = "large-arguments"
    port = "rpc"
    sends = "`call` with 8 MB of [] as arguments, again when answered"
    bound = "2 connections"

    def prepare(self, target: Target) -> None:
        view = call("call", contract="orgs", method="has", args={"a": "LISTS"})
        body = json.dumps(view).replace('"LISTS"', "[" + "[]," * 2_700_000 + "[]]").encode()
        self._request = post(body, target.rpc[target.victim])

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(self._request)
                tally.count(len(self._request))
                await writer.drain()
                tally.answer(await read_one(reader))

        await crowd(target, clock, tally, 2, speak)


class BatchRate(Attack):
    """One client that uses up the requests of a second for everybody."""

    name = "batch-rate"
    port = "rpc"
    sends = "batches of 256 getBlockNumber, one after another"
    bound = "4 connections"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        request = rpc(target.rpc[target.victim], [call("getBlockNumber")] * 256)

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(request)
                tally.count(len(request), 256)
                tally.answer(await read_one(reader))

        await crowd(target, clock, tally, 4, speak)


class ReadBatches(Attack):
    """Large answers to clients that read them: the node builds them as fast as it can."""

    name = "read-batches"
    port = "rpc"
    sends = "batches of 256 getStateRange (limit 1000), read at once, again when answered"
    bound = "4 connections"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        ranges = [call("getStateRange", contract="lifecycle", map="sources", limit=1_000)] * 256
        request = rpc(target.rpc[target.victim], ranges)

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(request)
                tally.count(len(request), 256)
                tally.answer(await read_one(reader))

        await crowd(target, clock, tally, 4, speak)


class Subscriptions(Attack):
    """As many subscriptions as sockets and the bound a socket allow, to subjects that do not exist."""

    name = "subscriptions"
    port = "rpc"
    sends = "64 subscriptions to events of absent subjects a WebSocket"
    bound = "255 connections, 16,320 subscriptions"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        opening = upgrade(target.rpc[target.victim])

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(opening)
            status = await skip_head(reader)
            tally.answer(status)
            if not status.startswith("101"):
                return
            for number in range(64):
                wanted = {"kind": "events", "subject": f"job:{tally.sent:064x}", "fromHeight": 1}
                frame = text_frame(call("subscribe", number, **wanted))
                writer.write(frame)
                tally.count(len(frame))
            while await reader.read(READ_BYTES):
                pass

        await crowd(target, clock, tally, 255, speak, gap_s=0.004)


class Pipelining(Attack):
    """Requests without waiting for an answer."""

    name = "pipelining"
    port = "rpc"
    sends = f"{PIPELINED} getConsensusStatus at once on one connection, again when all are answered"
    bound = "8 connections"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        requests = rpc(target.rpc[target.victim], call("getConsensusStatus")) * PIPELINED

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(requests)
                tally.count(len(requests), PIPELINED)
                for _ in range(PIPELINED):
                    tally.answer(await read_one(reader))

        await crowd(target, clock, tally, 8, speak)


class Connects(Attack):
    """New connections as fast as they can be made."""

    name = "connects"
    port = "rpc"
    sends = "GET /health on a new connection each, as fast as one client can"
    bound = "4 connections at once"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        where = target.rpc[target.victim]
        request = f"GET /health HTTP/1.1\r\nHost: {where}\r\nConnection: close\r\n\r\n".encode()

        async def one() -> None:
            while not clock.over:
                streams = await connect(target, where, tally)
                if streams is None:
                    await clock.sleep(0.05)
                    continue
                reader, writer = streams
                writer.write(request)
                tally.count(len(request))
                tally.answer(await skip_head(reader))
                await hang_up(writer)

        await asyncio.gather(*[one() for _ in range(4)])


class ForeignPages(Attack):
    """What a browser sends for a page of somebody else; all of it must be refused."""

    name = "foreign-pages"
    port = "rpc"
    sends = "WebSockets and POSTs with a foreign Origin, and with a foreign Host (DNS rebinding)"
    bound = "1 connection at a time, 5 a second"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        where, body = target.rpc[target.victim], [call("getPeers")]
        port = where.rpartition(":")[2]
        requests = {
            "WebSocket, Origin": upgrade(where, Origin="http://evil.example"),
            "WebSocket, Host": upgrade(f"evil.example:{port}"),
            "POST, Origin": rpc(where, body, Origin="http://evil.example", Content_Type="text/plain"),
            "POST, Host": rpc(f"evil.example:{port}", body),
        }
        served: set[str] = set()
        async for number in clock.ticks(5):
            what, request = list(requests.items())[number % len(requests)]
            streams = await connect(target, where, tally)
            if streams is None:
                continue
            reader, writer = streams
            writer.write(request)
            tally.count(len(request))
            status = await skip_head(reader)
            tally.answer(f"{what}: {status}")
            if status.startswith(SERVED) and what not in served:
                served.add(what)
                tally.missed.append(f"served a foreign page: {what} ({status})")
            await hang_up(writer)


class Health(Attack):
    """The page that takes no turn, as often as one client can ask for it."""

    name = "health"
    port = "rpc"
    sends = "GET /health on open connections, again when answered"
    bound = "60 connections"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        where = target.rpc[target.victim]
        request = f"GET /health HTTP/1.1\r\nHost: {where}\r\n\r\n".encode()

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(request)
                tally.count(len(request))
                tally.answer(await read_one(reader))

        await crowd(target, clock, tally, 60, speak)


class Pongs(Attack):
    """Answers to pings that nobody sent: a library reads them in one go, and lets nobody in between."""

    name = "pongs"
    port = "rpc"
    sends = "the opening of a WebSocket, then empty pongs as fast as they are taken; nothing is read"
    bound = f"{SOCKETS} connections a node"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        flood = PONG * PONGS

        async def one(where: str) -> None:
            while not clock.over:
                if (streams := await connect(target, where, tally)) is None:
                    await clock.sleep(RECONNECT_S)
                    continue
                reader, writer = streams
                writer.write(upgrade(where))
                tally.answer(await skip_head(reader))
                try:
                    async with asyncio.timeout(clock.left_s):
                        while True:
                            writer.write(flood)
                            await writer.drain()
                            tally.count(len(flood), PONGS)
                except TimeoutError:
                    pass  # the attack is over
                except (OSError, RuntimeError) as error:  # uvloop raises the latter for a closed transport
                    tally.close(type(error).__name__)
                await hang_up(writer)

        victims = [target.rpc[org] for org in target.victims[: self.victims_max]]
        await asyncio.gather(*[one(where) for where in victims for _ in range(SOCKETS)])


class PongsTwo(Pongs):
    """The same at two of four nodes: one more than may fail, so the chain would stand still."""

    name = "pongs-two"
    victims_max = 2
    with_others = False


class HandOver(Attack):
    """Requests behind one that pretends to open a WebSocket, which another server would answer unchecked."""

    name = "hand-over"
    port = "rpc"
    sends = f"GET /ws without Upgrade, then {FOREIGN} requests of a foreign page at once"
    bound = "60 connections"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        where = target.rpc[target.victim]
        first = f"GET /ws HTTP/1.1\r\nHost: {where}\r\n\r\n".encode()
        more = upgrade("evil.example", Origin="http://evil.example", Connection="keep-alive") * FOREIGN

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(first)
            tally.count(len(first))
            tally.answer(await read_one(reader))
            while True:
                writer.write(more)
                tally.count(len(more), FOREIGN)
                status = await read_one(reader)
                tally.answer(status)
                if not tally.missed:
                    tally.missed.append(f"answered behind a request that opened no WebSocket: {status}")

        await crowd(target, clock, tally, 60, speak)
