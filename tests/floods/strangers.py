"""What strangers do to the port for nodes: connections that say nothing, certificates that are none."""

from __future__ import annotations

import asyncio
import ssl

from tests.floods.attack import Attack
from tests.floods.leaves import LEAVES, leaf_context
from tests.floods.link import node_key
from tests.floods.target import RECONNECT_S, Clock, Tally, Target, connect, hang_up


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
