"""What a participant of a job, or a stranger, does to an agent's port while the others want to compute."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from concurrent.futures import ThreadPoolExecutor

from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import AssentError
from privcompute.errors import PeerTimeout
from privcompute.mpc.rounds import Round
from privcompute.net.hello import JobHello
from privcompute.net.links import Links
from privcompute.net.listener import PeerListener
from privcompute.net.peer_link import channel_tag
from privcompute.net.pulse import HEADER
from privcompute.net.transport import connect_peers
from tests.floods.attack import Attack
from tests.floods.leaves import LEAVES, context_of, fresh_leaf, leaf_context
from tests.floods.target import RECONNECT_S, Clock, Tally, Target, connect, hang_up

FRESH = 96
"""More keys than a listener keeps connections that no job has claimed."""


def agent_key(target: Target) -> bytes:
    """Return the public key of the attacked agent."""
    genesis = target.load_genesis()
    return next(org.agent_key for org in genesis.orgs if org.id == AGENT_VICTIM)


AGENT_VICTIM = "bank"
"""Party 0 of the job: the others dial it."""


async def _until_closed(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], clock: Clock, tally: Tally, seconds: float
) -> None:
    """Keep a connection for so long at most; note its end."""
    reader, writer = streams
    try:
        async with asyncio.timeout(min(seconds, max(0.01, clock.left_s))):
            while await reader.read(4_096):
                pass
        tally.close()
    except TimeoutError:
        tally.answer("kept until we left")
    except OSError as error:
        tally.close(type(error).__name__)
    finally:
        await hang_up(writer)


class AgentLeaves(Attack):
    """A participant whose certificate OpenSSL accepts and a stricter reader does not."""

    name = "agent-leaves"
    port = "agent"
    who = "participant"
    sends = "TLS handshakes with the participant's key in seven kinds of malformed certificates"
    bound = "1 connection at a time, 20 a second"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        key, accepted, where = target.key("participant"), [agent_key(target)], target.agent[AGENT_VICTIM]
        contexts = [leaf_context(key, accepted, kind) for kind in LEAVES]
        async for number in clock.ticks(20):
            streams = await connect(
                target, where, tally, ssl=contexts[number % len(contexts)], server_hostname=""
            )
            tally.count(0)
            if streams is not None:
                streams[1].write(JobHello(os.urandom(32), 2, 0).encode())
                await _until_closed(streams, clock, tally, 0.2)


class AgentFreshKeys(Attack):
    """A participant that signs certificates of ever new keys, each of which looks like another party."""

    name = "agent-fresh-keys"
    port = "agent"
    who = "participant"
    sends = "TLS handshakes with sound certificates of fresh keys, signed by the participant's; then a hello"
    bound = f"{FRESH} connections, again when closed"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        issuer, accepted = target.key("participant"), [agent_key(target)]
        await asyncio.gather(*[self._one(target, clock, tally, issuer, accepted, n) for n in range(FRESH)])

    @staticmethod
    async def _one(
        target: Target, clock: Clock, tally: Tally, issuer: PrivateKey, accepted: list[bytes], number: int
    ) -> None:
        await clock.sleep(number * 0.01)
        while not clock.over:
            fresh = PrivateKey.generate()
            context: ssl.SSLContext = context_of(fresh, accepted, fresh_leaf(issuer, fresh.public))
            streams = await connect(
                target, target.agent[AGENT_VICTIM], tally, ssl=context, server_hostname=""
            )
            if streams is not None:
                streams[1].write(JobHello(os.urandom(32), 1, 0).encode())
                tally.count(46)
                await _until_closed(streams, clock, tally, clock.left_s)
            await clock.sleep(RECONNECT_S)


class AgentSilence(Attack):
    """Strangers that connect to an agent and never begin a handshake."""

    name = "agent-silence"
    port = "agent"
    sends = "nothing"
    bound = "200 connections, again when closed"

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        async def one(number: int) -> None:
            await clock.sleep(number * 0.005)
            while not clock.over:
                streams = await connect(target, target.agent[AGENT_VICTIM], tally)
                if streams is not None:
                    await _until_closed(streams, clock, tally, clock.left_s)
                await clock.sleep(0.1)

        await asyncio.gather(*[one(number) for number in range(200)])


class AgentDrip(Attack):
    """A party of a job that sends a byte a second of a message (both parties are in this process)."""

    name = "agent-drip"
    port = "agent"
    who = "participant"
    sends = "the header of a frame of 256 kB, then a byte a second, where idling is bounded by 2 s"
    bound = "1 connection"
    with_others = False

    IDLE_S = 2.0
    ENDED_S = 7.0
    """A party that waits for a whole message must have given up by then."""
    SIZE = 262_144

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        del target
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(2) as pool:
            took, error = await loop.run_in_executor(pool, self._exchange, pool, clock, tally)
        said = "to its deadline" if error is None else f"until {type(error).__name__}: {error}"
        tally.answer(f"the honest party waited {took:.1f} s, {said}")
        if took > self.ENDED_S:
            tally.missed.append(
                f"a dripping party held the other for {took:.1f} s, at most {self.ENDED_S:.0f}"
            )
        elif not isinstance(error, PeerTimeout):
            tally.missed.append(f"a dripping party was not named: {error!r}")

    def _exchange(
        self, pool: ThreadPoolExecutor, clock: Clock, tally: Tally
    ) -> tuple[float, AssentError | None]:
        keys = [PrivateKey.generate() for _ in range(2)]
        listeners = [PeerListener("127.0.0.1", 0, key, [k.public for k in keys]) for key in keys]
        peers = {i: (*listener.address, keys[i].public) for i, listener in enumerate(listeners)}
        deadline, job = time.monotonic() + clock.left_s, os.urandom(32)

        def party(me: int) -> Links:
            return connect_peers(
                job, me, peers, keys[me], listeners[me], deadline, idle_timeout_s=self.IDLE_S
            )

        hostile = pool.submit(party, 1)
        links = party(0)
        dripping = pool.submit(self._drip, hostile.result(10), job, clock, tally)
        began = time.monotonic()
        error: AssentError | None = None
        try:
            links.exchange(Round({}, {1: self.SIZE}), 0)
        except AssentError as fault:
            error = fault
        took = time.monotonic() - began
        links.close()
        dripping.result(30)
        for listener in listeners:
            listener.close()
        return took, error

    def _drip(self, links: Links, job: bytes, clock: Clock, tally: Tally) -> None:
        stream = links._links[0]._stream  # the hostile party's own end: below its frames
        stream.write(memoryview(HEADER.pack(channel_tag(job, 1, 0), 0, 0, self.SIZE)))
        try:
            while not clock.over:
                stream.write(memoryview(b"x"))
                stream.flush()
                tally.count(1)
                time.sleep(min(1.0, clock.left_s))
        except OSError as error:
            tally.close(type(error).__name__)
        finally:
            links.close()
