"""A few threads for calls that compute: views, proofs of histories, explanations.

They share the interpreter lock with consensus, so few run at once, clients take turns, and a queue that is
full gives up what waits longest: the answer says that the node is busy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from chain.api.rotation import Rotation
from chain.api.shares import CALLER, Holding, Shares
from chain.api.turns import Busy

T = TypeVar("T")

THREADS = 2
WAITING_MAX, WAITING_PER_CLIENT_MAX = 16, 12


class _Job:
    __slots__ = ("answer", "holding", "work")

    def __init__(self, work: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
        self.work, self.answer = work, answer
        self.holding = Holding(CALLER.get(), self._give_up)

    def _give_up(self) -> None:
        if not self.answer.done():
            self.answer.set_exception(
                Busy("too many views and proofs wait on this node: wait, ask another node, or run your own")
            )


class Lane:
    """Runs work in threads, in the order of its rotation among clients."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, "rpc")
        self._running = 0
        self._places = Shares(WAITING_MAX, WAITING_PER_CLIENT_MAX)
        self._waiting: Rotation[_Job] = Rotation()

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread; raise what it raises, or Busy."""
        job = _Job(work, asyncio.get_running_loop().create_future())
        if not self._places.take(job.holding, 1):
            raise Busy("too many views and proofs run on this node: wait, or ask another node")
        self._waiting.push(job.holding.client, job)
        self._start()
        try:
            result: T = await job.answer
            return result
        finally:
            self._waiting.discard(job.holding.client, job)
            self._places.give_back(job.holding)

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        while self._running < THREADS and self._waiting:
            job = self._waiting.pop()
            if job.answer.done():  # given up, or its caller is gone
                continue
            self._places.give_back(job.holding)  # it waits no more
            self._running += 1
            running = asyncio.get_running_loop().run_in_executor(self._threads, job.work)
            running.add_done_callback(lambda done, job=job: self._finish(job, done))  # type: ignore[misc]

    def _finish(self, job: _Job, done: asyncio.Future[Any]) -> None:
        self._running -= 1
        self._start()
        if job.answer.done() or done.cancelled():
            return
        error = done.exception()
        if error is None:
            job.answer.set_result(done.result())
        else:
            job.answer.set_exception(error)
