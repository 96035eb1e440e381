"""The desk hangs up on whoever asks, however its answer ends, and serves on whatever bytes come."""

from __future__ import annotations

import asyncio
import random
import ssl
from contextlib import closing, suppress
from types import SimpleNamespace
from typing import Any

import pytest

from chain.primitives.crypto import PrivateKey
from chain.primitives.tls import client_context
from privcompute.agent.desk import ReleaseDesk
from privcompute.config import LocalPolicy
from privcompute.errors import HolderRefused
from privcompute.net.asking import ask, release_id
from privcompute.net.cancellation import Cancellation
from privcompute.net.hello import JobHello
from privcompute.net.listener import PeerListener
from tests.unit.privcompute.net.connections import ME, dial, say

JOB = "4a" * 32
HELLO = JobHello(bytes(32), 1, 0)


class Stream:
    """A connection that notes its end."""

    closed = False

    def close(self) -> None:
        """End it."""
        self.closed = True


def desk(reading: Any) -> ReleaseDesk:
    """Return a desk whose node answers so."""
    reader = SimpleNamespace(job=reading)
    environment: Any = SimpleNamespace(
        identity=None, stores=None, node=SimpleNamespace(reader=reader), place=None, now_ms=lambda: 0
    )
    return ReleaseDesk(environment)


async def test_an_answer_that_fails_by_a_fault_of_our_own_hangs_up() -> None:
    async def broken(_: str) -> None:
        raise RuntimeError("a bug")

    stream: Any = Stream()
    with pytest.raises(RuntimeError, match="a bug"):
        await desk(broken)._answer(JOB, HELLO, bytes(32), stream)
    assert stream.closed


async def test_an_answer_that_is_under_way_when_the_agent_stops_hangs_up() -> None:
    began = asyncio.Event()

    async def never(_: str) -> None:
        began.set()
        await asyncio.Event().wait()

    stream: Any = Stream()
    answer = asyncio.create_task(desk(never)._answer(JOB, HELLO, bytes(32), stream))
    await began.wait()
    answer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answer
    assert stream.closed


RECEIVER, STRANGER = (PrivateKey(bytes((index,)) * 32) for index in (1, 2))
PART = {"component-0": b"share" * 10}


def holding(listener: PeerListener) -> ReleaseDesk:
    """Return a desk that holds something of a revealed job for party 1, the receiver."""
    participants = [
        SimpleNamespace(org=f"org{index}", agent_key=key.public) for index, key in enumerate((ME, RECEIVER))
    ]
    view = SimpleNamespace(
        state="revealed", may_release=True, is_final=False, ended_ms=0,
        receiver_parties=(1,), spec=SimpleNamespace(participants=participants),
    )  # fmt: skip

    async def job(_: str) -> Any:
        return view

    offer = SimpleNamespace(to=lambda party, *_: dict(PART) if party == 1 else {})
    environment: Any = SimpleNamespace(
        identity=SimpleNamespace(org="org0", policy=LocalPolicy()),
        stores=SimpleNamespace(
            held=SimpleNamespace(jobs=list), evidence=SimpleNamespace(append=lambda *_: None)
        ),
        node=SimpleNamespace(reader=SimpleNamespace(job=job)),
        place=SimpleNamespace(listener=listener, offers={JOB: offer}),
        now_ms=lambda: 0,
    )
    return ReleaseDesk(environment)


def hostile(draw: random.Random) -> bytes:
    """Return bytes in the place of a hello: any, cut, changed in a byte, or for what nobody holds."""
    good = JobHello(release_id(bytes.fromhex(JOB)), 1, 0).encode()
    place = draw.randrange(len(good))
    return draw.choice(
        [
            draw.randbytes(draw.randrange(1, 200)),
            good[:place],
            good[:place] + bytes((good[place] ^ 1 << draw.randrange(8),)) + good[place + 1 :],
            JobHello(draw.randbytes(32), draw.randrange(256), draw.randrange(256)).encode()
            + draw.randbytes(99),
        ]
    )


async def test_whatever_comes_to_the_desk_a_receiver_still_gets_its_part() -> None:
    """Random, cut and changed hellos, by a registered key, before, between and beside the one who may ask."""
    draw = random.Random(11)
    with closing(PeerListener("127.0.0.1", 0, ME, [RECEIVER.public, STRANGER.public])) as listener:
        counter = holding(listener)
        serving = asyncio.create_task(counter.run(lambda _: True, lambda _: None, lambda: None))

        def asks(party: int, key: PrivateKey) -> dict[str, bytes]:
            peer = (*listener.address, ME.public)
            return ask(bytes.fromhex(JOB), party, 0, peer, key, 1_000, Cancellation())

        def disturb() -> None:
            stream = dial(listener, client_context(RECEIVER, [ME.public]))
            with suppress(OSError, ssl.SSLError):
                say(stream, hostile(draw))
            stream.close()

        for _ in range(6):
            for _ in range(4):
                await asyncio.to_thread(disturb)
            assert await asyncio.to_thread(asks, 1, RECEIVER) == PART
        for party, key in ((1, STRANGER), (0, RECEIVER), (7, STRANGER)):
            with pytest.raises(HolderRefused, match="NOT_PARTICIPANT"):
                await asyncio.to_thread(asks, party, key)
        assert await asyncio.to_thread(asks, 1, RECEIVER) == PART
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert not counter._answers
