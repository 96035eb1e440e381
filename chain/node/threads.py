"""The workers of the production node: one thread verifies signatures, one executes heights.

libsodium is called without the interpreter lock, so verification runs beside the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from chain.ledger.block import DecodedTransaction

T = TypeVar("T")


class ThreadWorkers:
    """`chain.node.ports.Workers` over two threads and the running event loop."""

    def __init__(
        self,
        enter: Callable[[Callable[..., None], Any], None],
        failed: Callable[[BaseException], None],
        executed_s: Callable[[float], None],
    ) -> None:
        """`enter(done, result)` calls back; `failed` hears what work or its continuation raises.

        `executed_s` hears how long each height took, in seconds.
        """
        self._enter, self._failed, self._executed_s = enter, failed, executed_s
        self._verifying = ThreadPoolExecutor(1, "verify")
        self._executing = ThreadPoolExecutor(1, "execute")
        self._closed = False

    def verify(
        self, candidates: Sequence[DecodedTransaction], done: Callable[[Sequence[bool]], None]
    ) -> None:
        """Verify signatures in their thread."""
        self._run(self._verifying, lambda: [candidate.signature_holds for candidate in candidates], done)

    def execute(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Run work on the ledger in its thread."""
        begin = time.perf_counter()

        def measured(result: T) -> None:
            self._executed_s(time.perf_counter() - begin)
            done(result)

        self._run(self._executing, work, measured)

    def close(self) -> None:
        """Let the height under way finish, then stop the threads; nothing is called back from now on.

        What is under way comes to its end on the ledger, and the next start finds it there. Its continuation
        would find a store that is closed.
        """
        self._closed = True
        self._verifying.shutdown(cancel_futures=True)
        self._executing.shutdown(wait=True, cancel_futures=True)

    def _run(self, pool: ThreadPoolExecutor, work: Callable[[], T], done: Callable[[T], None]) -> None:
        future = asyncio.get_running_loop().run_in_executor(pool, work)
        future.add_done_callback(lambda finished: self._finish(finished, done))

    def _finish(self, future: asyncio.Future[T], done: Callable[[T], None]) -> None:
        if future.cancelled():
            return
        try:
            result = future.result()
            if not self._closed:
                self._enter(done, result)
        except Exception as error:  # a part that fails stops the node: it must not go on half alive
            self._failed(error)
