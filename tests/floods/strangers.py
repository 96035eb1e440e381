"""What strangers do to the port for nodes: connections that say nothing, certificates that are none."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import ssl
from collections.abc import Iterator

from tests.floods.attack import Attack
from tests.floods.leaves import LEAVES, leaf_context
from tests.floods.link import node_key
from tests.floods.target import RECONNECT_S, Clock, Tally, Target, connect, hang_up

CROWD_PER_S, CROWD_AT_ONCE, KNOCK_S = 500, 400, 2.0
"""Of a crowd, at each node: strangers a second, how many of them at once, and how long each stays."""


class SilentConnections(Attack):
    """Connections that never begin a handshake, at every node, while a validator restarts."""

    name = "silent-connections"
    port = "peer"
    sends = "nothing; a validator is restarted meanwhile and must find its peers"
    bound = "200 connections a node, again when closed"
    victims_max = 3

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        async def one(where: str, number: int) -> None:
            await clock.sleep(number * 0.002)
            while not clock.over:
                streams = await connect(target, where, tally)
                if streams is not None:
                    await self._hold(streams, clock, tally)
                await clock.sleep(RECONNECT_S)

        await asyncio.gather(*[one(where, number) for where in target.peer.values() for number in range(200)])

    @staticmethod
    async def _hold(
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], clock: Clock, tally: Tally
    ) -> None:
        reader, writer = streams
        try:
            async with asyncio.timeout(clock.left_s):
                while await reader.read(4_096):
                    pass
            tally.close()
        except TimeoutError:
            pass
        except OSError as error:
            tally.close(type(error).__name__)
        finally:
            await hang_up(writer)


def crowd_address(number: int) -> str:
    """Return a loopback address of a neighbourhood (24 bits) of its own, for 65,024 numbers in a row."""
    return f"127.{1 + number % 254}.{number // 254 % 256}.1"


def client_hello() -> bytes:
    """Return the first bytes of a TLS handshake: what a stranger can send without any key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    sent = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent).do_handshake()
    return sent.read()


class DoorwayCrowd(Attack):
    """Ever new strangers that begin a handshake, at every node, while a validator restarts."""

    name = "doorway-crowd"
    port = "peer"
    sends = "the beginning of a TLS handshake, each from a neighbourhood of its own, 127.1.0.1 and on"
    bound = "500 connections a second a node, 400 at once, 2 s each"
    victims_max = 3
    with_others = False

    def prepare(self, target: Target) -> None:
        del target
        self._hello = client_hello()

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        numbers = itertools.count()
        await asyncio.gather(
            *[self._at(where, target, clock, tally, numbers) for where in target.peer.values()]
        )

    async def _at(
        self, where: str, target: Target, clock: Clock, tally: Tally, numbers: Iterator[int]
    ) -> None:
        async with asyncio.TaskGroup() as group:
            at_once: set[asyncio.Task[None]] = set()
            async for _ in clock.ticks(CROWD_PER_S):
                if len(at_once) < CROWD_AT_ONCE:
                    stranger = dataclasses.replace(target, source=crowd_address(next(numbers)))
                    task = group.create_task(self._knock(where, stranger, clock, tally))
                    at_once.add(task)
                    task.add_done_callback(at_once.discard)

    async def _knock(self, where: str, target: Target, clock: Clock, tally: Tally) -> None:
        streams = await connect(target, where, tally)
        if streams is None:
            return
        reader, writer = streams
        try:
            writer.write(self._hello)
            tally.count(len(self._hello))
            async with asyncio.timeout(min(KNOCK_S, clock.left_s)):
                while await reader.read(4_096):
                    pass
            tally.close()
        except TimeoutError:
            pass
        except (OSError, RuntimeError) as error:  # uvloop raises the latter for a closed transport
            tally.close(type(error).__name__)
        finally:
            await hang_up(writer)


class MalformedLeaves(Attack):
    """Certificates that OpenSSL accepts and a stricter reader does not."""

    name = "malformed-leaves"
    port = "peer"
    who = "member"
    sends = "TLS handshakes with the member's key in seven kinds of malformed certificates"
    bound = "4 connections at once"
    must_be_named = True

    def prepare(self, target: Target) -> None:
        accepted = [node_key(target.load_genesis(), target.victim)]
        self._contexts = [leaf_context(target.key("member"), accepted, kind) for kind in LEAVES]

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        await asyncio.gather(*[self._one(target, clock, tally, self._contexts) for _ in range(4)])

    @staticmethod
    async def _one(target: Target, clock: Clock, tally: Tally, contexts: list[ssl.SSLContext]) -> None:
        number = 0
        while not clock.over:
            number += 1
            context = contexts[number % len(contexts)]
            streams = await connect(
                target, target.peer[target.victim], tally, ssl=context, server_hostname=""
            )
            if streams is None:
                await clock.sleep(0.01)
                continue
            reader, writer = streams
            tally.count(0)
            try:
                async with asyncio.timeout(min(2.0, max(0.01, clock.left_s))):
                    while await reader.read(4_096):
                        pass
                tally.close()
            except (TimeoutError, OSError) as error:
                tally.answer(type(error).__name__)
            finally:
                await hang_up(writer)
