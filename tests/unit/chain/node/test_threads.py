"""The threads of a node end with it: what they were at is done, and nobody is called back any more."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from chain.node.threads import ThreadWorkers


class Told:
    """What a node hears of its threads."""

    def __init__(self) -> None:
        self.results: list[Any] = []
        self.failures: list[str] = []
        self.workers = ThreadWorkers(lambda done, result: done(result), self.fail, lambda _: None)

    def fail(self, error: BaseException) -> None:
        self.failures.append(str(error))


async def turns() -> None:
    """Let what is due in the loop have its turn."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_height_under_way_when_the_node_stops_ends_and_its_continuation_is_not_called() -> None:
    """It found a closed store: a node stopped soon after its start ended with a traceback."""
    told, begun, go, ended = Told(), threading.Event(), threading.Event(), []

    def height() -> int:
        begun.set()
        go.wait()
        ended.append(1)
        return 1

    told.workers.execute(height, told.results.append)
    await asyncio.to_thread(begun.wait)
    threading.Timer(0.0, go.set).start()
    told.workers.close()
    await turns()
    assert (ended, told.results, told.failures) == ([1], [], [])


async def test_a_height_that_fails_while_the_node_stops_is_told_all_the_same() -> None:
    told, begun, go = Told(), threading.Event(), threading.Event()

    def height() -> int:
        begun.set()
        go.wait()
        raise OSError("the disk is full")

    told.workers.execute(height, told.results.append)
    await asyncio.to_thread(begun.wait)
    threading.Timer(0.0, go.set).start()
    told.workers.close()
    await turns()
    assert (told.results, told.failures) == ([], ["the disk is full"])


async def test_what_ends_before_is_called_back() -> None:
    told = Told()
    told.workers.execute(lambda: 7, told.results.append)
    while not told.results:
        await asyncio.sleep(0)
    told.workers.close()
    assert (told.results, told.failures) == ([7], [])
