"""Executes what consensus delivers and what catch-up fetched: one thread, strictly in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from chain.api.metrics import Metrics
from chain.ledger.block import Block, Candidate, header_hash
from chain.ledger.ledger import BlockInvalid, Ledger, NotNext
from chain.ledger.mempool import Mempool
from chain.node.orderer import batch_ids
from chain.primitives.certificate import Certificate
from chain.primitives.errors import ProofInvalid

log = logging.getLogger("assent.execution")

WAITING_MAX = 1_024
ASK_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Ordered:
    """A payload that consensus delivered."""

    height: int
    payload: bytes


class Listener(Protocol):
    """Who hears of progress; called in the event loop."""

    def want(self, tx_ids: Sequence[bytes], source: bytes) -> None:
        """Transactions that an ordered batch needs are not here."""

    def executed(self, height: int, header_hash: bytes, settled: Sequence[bytes]) -> None:
        """A delivered height is durable."""

    def applied(self, certificate: Certificate, settled: Sequence[bytes]) -> None:
        """A block of catch-up is durable, or was here already."""

    def rejected(self, height: int, reason: str) -> None:
        """A block of catch-up does not hold; its peer is at fault."""


class Executor:
    """The queue between the event loop and the ledger."""

    def __init__(
        self,
        ledger: Ledger,
        pool: Mempool,
        listener: Listener,
        metrics: Metrics,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._ledger, self._pool, self._listener, self._metrics = ledger, pool, listener, metrics
        self._clock = clock
        self._threads = ThreadPoolExecutor(1, "execute")
        self._queue: asyncio.Queue[Ordered | Block] = asyncio.Queue(WAITING_MAX)
        self._arrived = asyncio.Event()

    def put(self, item: Ordered | Block) -> None:
        """Queue one height; consensus and catch-up keep far fewer than the bound in flight."""
        self._queue.put_nowait(item)

    def arrived(self) -> None:
        """Say that transactions came in: a batch that waits for some looks again."""
        self._arrived.set()

    async def run(self) -> None:
        """Execute for ever; whatever the ledger or the runtime raises on its own behalf stops the node."""
        loop = asyncio.get_running_loop()
        while True:
            item = await self._queue.get()
            begin = self._clock()
            if isinstance(item, Ordered):
                await self._execute(item, loop)
            else:
                await self._apply(item, loop)
            self._metrics.execution.observe(self._clock() - begin)

    def close(self) -> None:
        """Let the height under way finish, then stop the thread."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _execute(self, item: Ordered, loop: asyncio.AbstractEventLoop) -> None:
        if item.height <= self._ledger.head.height:
            repeated = self._ledger.execute(item.height, item.payload, ())
            self._listener.executed(item.height, header_hash(repeated), ())
            return
        candidates = await self._candidates(item)
        done, settled = await loop.run_in_executor(self._threads, self._run, item, candidates)
        self._listener.executed(item.height, done, settled)

    def _run(self, item: Ordered, candidates: Sequence[Candidate]) -> tuple[bytes, list[bytes]]:
        header = self._ledger.execute(item.height, item.payload, candidates)
        return header_hash(header), self._ledger.read.settled(item.height)

    async def _candidates(self, item: Ordered) -> list[Candidate]:
        """Return the batch's transactions, waiting for those that are still on their way."""
        ids = batch_ids(item.payload)
        while missing := self._pool.missing(ids):
            if item.height <= self._ledger.head.height:
                return []
            log.info("height %d waits for %d transactions", item.height, len(missing))
            self._arrived.clear()
            self._listener.want(missing, b"")
            try:
                async with asyncio.timeout(ASK_AGAIN_S):
                    await self._arrived.wait()
            except TimeoutError:
                continue
        return self._pool.get(ids)

    async def _apply(self, block: Block, loop: asyncio.AbstractEventLoop) -> None:
        try:
            settled = await loop.run_in_executor(self._threads, self._run_block, block)
        except (ProofInvalid, BlockInvalid, NotNext) as error:
            log.warning("block %d of catch-up refused: %s", block.header.height, error)
            self._listener.rejected(block.header.height, str(error))
            return
        self._listener.applied(block.certificate, settled)

    def _run_block(self, block: Block) -> list[bytes]:
        self._ledger.apply_block(block)
        return self._ledger.read.settled(block.header.height)
