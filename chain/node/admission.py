"""How transactions get into the pool: cheap refusals first, then signatures, in batches and in a thread.

libsodium is called without the interpreter lock, so verification runs beside the event loop; each signature
is verified once, here, and never again in blocks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from chain.api.metrics import Metrics
from chain.ledger.block import Candidate
from chain.ledger.mempool import Mempool
from chain.ledger.refusals import BadSignature, PoolFull, Refused

BATCH = 256
WAITING_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one transaction; `refusal` is None when the pool took it."""

    candidate: Candidate
    refusal: Refused | None
    peer: bytes | None
    """Who sent it; None for a client of this node."""


class Admission:
    """Verifies and admits what clients and peers send; used by the event loop's thread."""

    def __init__(
        self,
        pool: Mempool,
        head: Callable[[], int],
        is_wanted: Callable[[bytes], bool],
        decided: Callable[[Sequence[Verdict]], None],
        metrics: Metrics,
    ) -> None:
        """`is_wanted`: a proposal names it, so it is held even if the pool refuses it."""
        self._pool, self._head, self._is_wanted, self._decided = pool, head, is_wanted, decided
        self._metrics = metrics
        self._threads = ThreadPoolExecutor(1, "verify")
        self._waiting: deque[tuple[Candidate, bytes | None, asyncio.Future[Refused | None] | None]] = deque()
        self._wake = asyncio.Event()

    async def submit(self, encoded: Sequence[bytes]) -> list[Candidate | Refused]:
        """Take transactions of a client; return each as admitted, or why it was refused."""
        results: list[Candidate | Refused] = []
        futures: list[tuple[int, asyncio.Future[Refused | None]]] = []
        for position, raw in enumerate(encoded):
            try:
                candidate = self._pool.prepare(raw)
                self._pool.screen(candidate, self._head())
            except Refused as refusal:
                self._metrics.refused.labels(refusal.code).inc()
                results.append(refusal)
                continue
            results.append(candidate)
            futures.append((position, self._enqueue(candidate, None)))
        for position, future in futures:
            results[position] = await future or results[position]
        return results

    def take(self, candidate: Candidate, peer: bytes) -> None:
        """Take a transaction that a peer sent; `decided` hears what became of it."""
        if len(self._waiting) < WAITING_MAX:
            self._waiting.append((candidate, peer, None))
            self._wake.set()
        else:
            self._decided([Verdict(candidate, PoolFull("too many transactions wait for verification"), peer)])

    async def run(self) -> None:
        """Verify and admit for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if not batch:
                self._wake.clear()
                continue
            candidates = [candidate for candidate, _, _ in batch]
            held = await loop.run_in_executor(self._threads, _verify, candidates)
            verdicts = []
            for (candidate, peer, future), valid in zip(batch, held, strict=True):
                refusal = self._admit(candidate, valid)
                verdicts.append(Verdict(candidate, refusal, peer))
                if future is not None and not future.done():
                    future.set_result(refusal)
            self._decided(verdicts)

    def close(self) -> None:
        """Stop the thread."""
        self._threads.shutdown(cancel_futures=True)

    def _enqueue(self, candidate: Candidate, peer: bytes | None) -> asyncio.Future[Refused | None]:
        future: asyncio.Future[Refused | None] = asyncio.get_running_loop().create_future()
        if len(self._waiting) >= WAITING_MAX:
            future.set_result(
                PoolFull(f"{WAITING_MAX} transactions wait for verification; wait, or ask another node")
            )
            return future
        self._waiting.append((candidate, peer, future))
        self._wake.set()
        return future

    def _admit(self, candidate: Candidate, valid: bool) -> Refused | None:
        try:
            self._pool.admit(candidate, self._head(), verified=valid)
        except Refused as refusal:
            self._metrics.refused.labels(refusal.code).inc()
            if not valid or not self._is_wanted(candidate.id):
                return refusal
            self._pool.hold(candidate, verified=True)
        return None


def _verify(candidates: Sequence[Candidate]) -> list[bool]:
    return [candidate.signature_holds for candidate in candidates]


def is_forged(refusal: Refused) -> bool:
    """Tell whether no honest peer would have sent it."""
    return isinstance(refusal, BadSignature)
