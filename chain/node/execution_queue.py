"""Execution queue: what consensus delivered and catch-up fetched, executed one height at a time, in order.

A state machine without threads: the workers port runs the ledger beside the event loop.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Protocol

from chain.ledger.batches import batch_ids
from chain.ledger.block import Block, DecodedTransaction, header_hash
from chain.ledger.blockcheck import NotNext
from chain.ledger.history.snapshot import SnapshotTooOld, StateLoad
from chain.ledger.ledger import Ledger
from chain.ledger.store.faults import DataDamaged, StorageFailed
from chain.ledger.writer import LedgerDiverged
from chain.mempool.mempool import Mempool
from chain.node.begun import Beginnings, Begun, advise, describe
from chain.node.ports import Workers
from chain.node.transactions import TransactionFinder
from chain.node.upkeep import Upkeep
from chain.primitives.certificate import Certificate, payload_digest
from chain.primitives.errors import AssentError, ProofInvalid

log = logging.getLogger("assent.execution")

WAITING_MAX = 1_024
ASK_AGAIN_MS = 1_000
TIMES_MANY = 2
"""Processes in a row that ended within one height: more than a power failure explains."""
HOLD_MS = 10_000
"""How long such a height is left to catch-up: if others got past it by a skip, their block says how. Long
enough to connect and fetch, and so that a node that dies of it can be asked and stopped in between."""
OF_THIS_DISK = (StorageFailed, DataDamaged, LedgerDiverged)
"""What stops a node while it executes, and no other node with it."""


class ExecutionFailed(AssentError):
    """An ordered height that this node cannot execute: the text says why and what can be done."""

    code = "execution_failed"


@dataclass(frozen=True, slots=True)
class Ordered:
    """A payload that consensus delivered."""

    height: int
    payload: bytes


class Listener(Protocol):
    """Who hears of progress; called in the event loop."""

    def want(self, tx_ids: Sequence[bytes], source: bytes) -> None:
        """Transactions that an ordered batch needs are not here."""

    def executed(self, height: int, header_hash: bytes, decided: Sequence[bytes]) -> None:
        """A delivered height is durable."""

    def applied(self, certificate: Certificate | None, decided: Sequence[bytes]) -> None:
        """A block of catch-up is durable, or was here already; None when only one above has a certificate."""

    def rejected(self, height: int, reason: str) -> None:
        """A block of catch-up does not hold; its peer is at fault."""

    def installed(self, load: StateLoad) -> None:
        """A fetched state is the ledger's now, or was not needed any more."""


class ExecutionQueue:
    """Queue of heights between the event loop and the ledger, which executes them in another thread."""

    def __init__(
        self,
        ledger: Ledger,
        pool: Mempool,
        listener: Listener,
        workers: Workers,
        clock: Callable[[], int],
        signed: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """`clock` returns milliseconds of the monotonic clock.

        `signed` are the heights to come that this node's key signed skips of, with the highest attempt: it
        promised to execute them under no lower attempt, so that no header of a lower one can be certified.
        """
        self._ledger, self._listener, self._workers = ledger, listener, workers
        self._transactions = TransactionFinder(pool, ledger)
        self._clock = clock
        self._queue: deque[Ordered | Block | StateLoad] = deque()
        self._installed = 0
        """Height of the last state installed: what consensus delivered up to there needs no execution."""
        self._busy = False
        self._upkeep: Upkeep | None = None
        """Pruning that waits for its turn, or is under way."""
        self._ask_at: int | None = None
        """When to ask again for transactions that the next batch lacks."""
        self._begun = Beginnings(ledger.store, ledger.head.height)
        self._hold_until: int | None = None
        """Until when the height that earlier processes did not finish is left to catch-up."""
        self._signed, begun = signed, self.unfinished()
        died = begun is not None and begun.times >= TIMES_MANY and ledger.skips.waiting(begun.height) is None
        self._held_back = begun.height if begun is not None and died else 0

    def unfinished(self) -> Begun | None:
        """Return the height that earlier processes began and did not finish, until this one has."""
        return self._begun.unfinished(self._ledger.head.height)

    def says(self) -> str:
        """Return in words what keeps the next height from being executed; empty while nothing is known to."""
        height = self._ledger.head.height + 1
        if self._is_promised(height):
            return (
                f"height {height} waits: this validator signed a skip of it (attempt {self._signed[height]}) "
                "and executes it under that decision alone, or as a certified block: stop it and run `assent "
                "node skip apply` with the files of a quorum (docs/skip.md)"
            )
        begun = self.unfinished()
        return "" if begun is None else f"{describe(begun)}: {advise(begun)}"

    def __len__(self) -> int:
        """Heights that wait or are under way."""
        return len(self._queue)

    def lacking(self) -> list[bytes]:
        """Return the transactions that the next height waits for."""
        item = self._queue[0] if self._queue and self._ask_at is not None else None
        return self._transactions.missing(batch_ids(item.payload)) if isinstance(item, Ordered) else []

    def named(self) -> set[bytes]:
        """Return the transactions of the batches that wait."""
        waiting = [item.payload for item in self._queue if isinstance(item, Ordered)]
        return {tx_id for payload in waiting for tx_id in batch_ids(payload)}

    def put(self, item: Ordered | Block) -> None:
        """Queue one height; consensus and catch-up keep far fewer than the bound in flight."""
        assert len(self._queue) < WAITING_MAX, "more heights handed over than can be in flight"
        self._queue.append(item)
        self._advance()

    def install(self, load: StateLoad) -> None:
        """Put a fetched state in the ledger's place, ahead of all that waits; `Listener.installed` hears."""
        under_way = self._busy and self._upkeep is None
        self._queue.insert(1 if under_way else 0, load)
        self._ask_at = None
        self._advance()

    def tend(self, upkeep: Upkeep) -> None:
        """Take one step of pruning, if any is due, before the next height."""
        if self._upkeep is None and upkeep.due:
            self._upkeep = upkeep
            self._advance()

    def _tended(self, _did: bool) -> None:
        self._upkeep, self._busy = None, False
        self._advance()

    def arrived(self) -> None:
        """Say that transactions came in: a batch that waits for some looks again."""
        if self._ask_at is not None:
            self._advance()

    def next_deadline(self) -> int | None:
        """Return when `on_time` is due, None while nothing waits for time."""
        return min((at for at in (self._ask_at, self._hold_until) if at is not None), default=None)

    def on_time(self, now: int) -> None:
        """Ask again for what is missing, and stop holding back, once that is due."""
        due = False
        if self._ask_at is not None and now >= self._ask_at:
            self._ask_at, due = None, True
        if self._hold_until is not None and now >= self._hold_until:
            self._held_back, self._hold_until, due = 0, None, True
        if due:
            self._advance()

    def _advance(self) -> None:
        """Start the next height, unless one is under way or its transactions are not here."""
        if self._upkeep is not None and not self._busy:
            self._busy = True
            self._workers.execute(self._upkeep.step, self._tended)
        while self._queue and not self._busy:
            item = self._queue[0]
            if isinstance(item, StateLoad):
                self._start(partial(self._run_install, item))
            elif not isinstance(item, Ordered):
                self._start(partial(self._run_block, item))
            elif item.height <= self._installed:
                self._queue.popleft()
            elif item.height <= self._ledger.head.height:
                self._queue.popleft()
                self._ask_at = None
                repeated = self._ledger.execute(item.height, item.payload, ())
                self._listener.executed(item.height, header_hash(repeated), ())
            elif item.height == self._held_back or self._is_promised(item.height):
                if not self._overtaken(item.height):
                    self._hold_back(item.height)
                    return
            elif missing := self._transactions.missing(ids := batch_ids(item.payload)):
                if not self._overtaken(item.height):
                    self._wait_for(item.height, missing)
                    return
            else:
                self._start(partial(self._run, item, self._transactions.get(ids)))

    def _overtaken(self, height: int) -> bool:
        """Let the block of a height run before the batch that lacks transactions: it brings them."""
        found = (item for item in self._queue if isinstance(item, Block) and item.header.height == height)
        block = next(found, None)
        if block is None:
            return False
        self._queue.remove(block)
        self._queue.appendleft(block)
        return True

    def _is_promised(self, height: int) -> bool:
        """Tell whether a height must wait for a decision that this key signed, or for its certified block."""
        if height not in self._signed:
            return False
        decided = self._ledger.skips.waiting(height)
        return decided is None or decided.skip.attempt < self._signed[height]

    def _hold_back(self, height: int) -> None:
        """Leave a height to catch-up: for a while, or, where it is promised, until its block comes."""
        if self._hold_until is None and not self._is_promised(height):
            log.warning("height %d waits %d s for a certified block of it", height, HOLD_MS // 1_000)
            self._hold_until = self._clock() + HOLD_MS

    def _wait_for(self, height: int, missing: Sequence[bytes]) -> None:
        if self._ask_at is None:
            log.info("height %d waits for %d transactions", height, len(missing))
            self._ask_at = self._clock() + ASK_AGAIN_MS
            self._listener.want(missing, b"")

    def _start(self, work: Callable[[], Callable[[], None]]) -> None:
        self._busy, self._ask_at, self._hold_until = True, None, None
        self._workers.execute(work, self._finish)

    def _finish(self, tell: Callable[[], None]) -> None:
        self._queue.popleft()
        self._busy = False
        tell()
        self._advance()

    # --- beside the event loop: what is to be told is returned ----------------------------------------

    def _run(self, item: Ordered, candidates: Sequence[DecodedTransaction]) -> Callable[[], None]:
        self._begun.note(item.height, item.payload, certified=False)
        try:
            done = header_hash(self._ledger.execute(item.height, item.payload, candidates))
        except OF_THIS_DISK:
            raise
        except Exception as error:
            log.error("height %d could not be executed", item.height, exc_info=error)
            raise ExecutionFailed(
                f"height {item.height}, batch {payload_digest(item.payload).hex()}: executing it failed "
                f"({type(error).__name__}: {error}), and will again after a restart. If others fail, too, a "
                "quorum of validators can skip it: `assent node skip show` (docs/skip.md)"
            ) from error
        return partial(self._listener.executed, item.height, done, self._ledger.decided_ids(item.height))

    def _run_block(self, block: Block) -> Callable[[], None]:
        height = block.header.height
        if height == self._ledger.head.height + 1:
            self._begun.note(height, block.payload, certified=True)
        try:
            self._ledger.apply_block(block)
        except NotNext:
            # One below it was refused, or a state took its place: catch-up goes on from the ledger's height,
            # and who served this one is not at fault.
            return _nothing
        except ProofInvalid as error:
            log.warning("block %d of catch-up refused: %s", height, error)
            return partial(self._listener.rejected, height, str(error))
        certificate = None if block.above else block.certificate
        return partial(self._listener.applied, certificate, self._ledger.decided_ids(height))

    def _run_install(self, load: StateLoad) -> Callable[[], None]:
        try:
            self._ledger.replace(load.install)
            self._installed = load.height
        except SnapshotTooOld as error:
            log.info("a fetched state is not needed: %s", error)
            self._ledger.replace(load.abandon)
        return partial(self._listener.installed, load)


def _nothing() -> None:
    """Tell nobody."""
