"""The desk hangs up on whoever asks, however its answer ends."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from privcompute.agent.desk import ReleaseDesk
from privcompute.net.hello import JobHello

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
