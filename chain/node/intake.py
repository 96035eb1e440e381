"""How transactions get into the pool: cheap refusals first, then signatures in batches beside the loop.

No thread of its own: the workers port verifies. Each signature is verified once, here, and never again in
blocks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chain.ledger.block import DecodedTransaction
from chain.mempool.mempool import Mempool
from chain.mempool.refusals import (
    AlreadyCommitted,
    BadSignature,
    DuplicateTransaction,
    KeyRevoked,
    OrgExpelled,
    OrgSuspended,
    PoolFull,
    SenderFull,
    TransactionExpired,
    TransactionRefused,
)
from chain.node.ports import Workers

BATCH = 256
WAITING_MAX = 100_000
WAITING_BYTES_MAX = 33_554_432
"""Transactions that wait for verification: a flood of large ones costs no more than this."""
PEER_WAITING_MAX = 16_384
PEER_WAITING_BYTES_MAX = 8_388_608
"""Of one peer: whoever floods fills its own queue. Queues have their turns, whatever their lengths."""

Answer = Callable[[list[DecodedTransaction | TransactionRefused]], None]


@dataclass(frozen=True, slots=True)
class AdmissionOutcome:
    """What became of one transaction; `refusal` is None when the pool took it."""

    candidate: DecodedTransaction
    refusal: TransactionRefused | None
    peer: bytes | None
    """Who sent it; None for a client of this node."""


@dataclass(slots=True)
class _Request:
    """Transactions that one client gave at once."""

    results: list[DecodedTransaction | TransactionRefused]
    undecided: int
    answer: Answer

    def decide(self, position: int, refusal: TransactionRefused | None) -> None:
        if refusal is not None:
            self.results[position] = refusal
        self.undecided -= 1
        if not self.undecided:
            self.answer(self.results)


@dataclass(frozen=True, slots=True)
class _Waiting:
    candidate: DecodedTransaction
    peer: bytes | None
    request: _Request | None = None
    position: int = 0


@dataclass(slots=True)
class _Queue:
    """What one source sent and nobody verified yet."""

    items: deque[_Waiting] = field(default_factory=deque)
    bytes: int = 0

    def take(self, count: int) -> list[_Waiting]:
        taken = [self.items.popleft() for _ in range(min(count, len(self.items)))]
        self.bytes -= sum([len(item.candidate.raw) for item in taken])
        return taken


class Intake:
    """Verifies and admits what clients and peers send; no input or output of its own."""

    def __init__(
        self,
        pool: Mempool,
        head: Callable[[], int],
        is_wanted: Callable[[bytes], bool],
        decided: Callable[[Sequence[AdmissionOutcome]], None],
        workers: Workers,
    ) -> None:
        """`is_wanted`: a proposal names it, so it is held even if the pool refuses it."""
        self._pool, self._head, self._is_wanted, self._decided = pool, head, is_wanted, decided
        self._workers = workers
        self._queues: dict[bytes | None, _Queue] = {}
        """By who sent them; None for the clients of this node. None of them is empty."""
        self._under_way: list[_Waiting] = []
        self._count = self._bytes = 0
        self.refusals: Counter[str] = Counter()
        """Transactions refused so far, by code."""
        self.dropped = 0
        """Transactions given up because too many waited for verification."""

    def submit(self, encoded: Sequence[bytes], answer: Answer) -> None:
        """Take transactions of a client; `answer` hears each as admitted, or why it was refused."""
        request = _Request([], 1, answer)
        for position, raw in enumerate(encoded):
            try:
                candidate = self._pool.prepare(raw)
                self._pool.screen(candidate, self._head())
            except TransactionRefused as refusal:
                self.refusals[refusal.code] += 1
                request.results.append(refusal)
                continue
            request.results.append(candidate)
            if not self._has_room(candidate, None):
                request.results[position] = PoolFull(
                    f"{self._count} transactions of {self._bytes} bytes wait for "
                    "verification; wait, or ask another node"
                )
                continue
            request.undecided += 1
            self._wait(_Waiting(candidate, None, request, position))
        request.undecided -= 1
        if request.undecided:
            self._verify()
        else:
            answer(request.results)

    def take(self, received: Sequence[tuple[DecodedTransaction, bytes]]) -> None:
        """Take (transaction, peer) pairs that a peer sent; `decided` hears what became of each."""
        for candidate, peer in received:
            if self._has_room(candidate, peer):
                self._wait(_Waiting(candidate, peer))
            else:
                refusal = PoolFull("too many transactions wait for verification")
                self._decided([AdmissionOutcome(candidate, refusal, peer)])
        self._verify()

    def _has_room(self, candidate: DecodedTransaction, peer: bytes | None) -> bool:
        size = len(candidate.raw)
        room = self._count < WAITING_MAX and self._bytes + size <= WAITING_BYTES_MAX
        queue = self._queues.get(peer)
        if peer is not None and queue is not None:
            room &= len(queue.items) < PEER_WAITING_MAX and queue.bytes + size <= PEER_WAITING_BYTES_MAX
        self.dropped += not room
        return room

    def _wait(self, item: _Waiting) -> None:
        queue = self._queues.setdefault(item.peer, _Queue())
        queue.items.append(item)
        size = len(item.candidate.raw)
        queue.bytes += size
        self._bytes += size
        self._count += 1

    def _verify(self) -> None:
        """Give the workers the next batch, unless one is under way."""
        if self._under_way or not self._queues:
            return
        self._under_way = batch = self._next_batch()
        self._workers.verify([item.candidate for item in batch], self._on_verified)

    def _next_batch(self) -> list[_Waiting]:
        """Take equal parts of every queue, and more from some where others have less."""
        batch: list[_Waiting] = []
        while self._queues and len(batch) < BATCH:
            part = max(1, (BATCH - len(batch)) // len(self._queues))
            for peer, queue in list(self._queues.items())[: BATCH - len(batch)]:
                self._bytes -= queue.bytes
                batch += queue.take(part)
                self._bytes += queue.bytes
                del self._queues[peer]
                if queue.items:
                    self._queues[peer] = queue  # behind the others: its next turn comes after theirs
        self._count -= len(batch)
        return batch

    def _on_verified(self, held: Sequence[bool]) -> None:
        batch, self._under_way = self._under_way, []
        verdicts = []
        for item, valid in zip(batch, held, strict=True):
            refusal = self._admit(item.candidate, valid)
            verdicts.append(AdmissionOutcome(item.candidate, refusal, item.peer))
            if item.request is not None:
                item.request.decide(item.position, refusal)
        self._decided(verdicts)
        self._verify()

    def _admit(self, candidate: DecodedTransaction, valid: bool) -> TransactionRefused | None:
        try:
            self._pool.admit(candidate, self._head(), verified=valid)
        except TransactionRefused as refusal:
            self.refusals[refusal.code] += 1
            if not valid or not self._is_wanted(candidate.id):
                return refusal
            self._pool.hold(candidate, verified=True)
        return None


_UNAVOIDABLE = (
    PoolFull, SenderFull, DuplicateTransaction, AlreadyCommitted, TransactionExpired, KeyRevoked,
    OrgSuspended, OrgExpelled,
)  # fmt: skip


def is_avoidable(refusal: TransactionRefused) -> bool:
    """Tell whether an honest peer would have refused it itself; pools differ in what they hold and when."""
    return not isinstance(refusal, _UNAVOIDABLE)


def is_forged(refusal: TransactionRefused) -> bool:
    """Tell whether no honest peer would have sent it."""
    return isinstance(refusal, BadSignature)
