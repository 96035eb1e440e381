"""How transactions get into the pool: cheap refusals first, then signatures in batches beside the loop.

No thread of its own: the workers port verifies. Each signature is verified once, here, and never again in
blocks.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chain.ledger.block import Candidate
from chain.ledger.mempool import Mempool
from chain.ledger.refusals import BadSignature, PoolFull, Refused
from chain.node.ports import Workers

BATCH = 256
WAITING_MAX = 100_000
WAITING_BYTES_MAX = 33_554_432
"""Transactions that wait for verification: a flood of large ones costs no more than this."""

Answer = Callable[[list[Candidate | Refused]], None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one transaction; `refusal` is None when the pool took it."""

    candidate: Candidate
    refusal: Refused | None
    peer: bytes | None
    """Who sent it; None for a client of this node."""


@dataclass(slots=True)
class _Request:
    """Transactions that one client gave at once."""

    results: list[Candidate | Refused]
    undecided: int
    answer: Answer

    def decide(self, position: int, refusal: Refused | None) -> None:
        if refusal is not None:
            self.results[position] = refusal
        self.undecided -= 1
        if not self.undecided:
            self.answer(self.results)


@dataclass(frozen=True, slots=True)
class _Waiting:
    candidate: Candidate
    peer: bytes | None
    request: _Request | None = None
    position: int = 0


class Admission:
    """Verifies and admits what clients and peers send; no input or output of its own."""

    def __init__(
        self,
        pool: Mempool,
        head: Callable[[], int],
        is_wanted: Callable[[bytes], bool],
        decided: Callable[[Sequence[Verdict]], None],
        workers: Workers,
    ) -> None:
        """`is_wanted`: a proposal names it, so it is held even if the pool refuses it."""
        self._pool, self._head, self._is_wanted, self._decided = pool, head, is_wanted, decided
        self._workers = workers
        self._waiting: deque[_Waiting] = deque()
        self._under_way: list[_Waiting] = []
        self._waiting_bytes = 0
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
            except Refused as refusal:
                self.refusals[refusal.code] += 1
                request.results.append(refusal)
                continue
            request.results.append(candidate)
            if not self._has_room(candidate):
                request.results[position] = PoolFull(
                    f"{len(self._waiting)} transactions of {self._waiting_bytes} bytes wait for "
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

    def take(self, received: Sequence[tuple[Candidate, bytes]]) -> None:
        """Take (transaction, peer) pairs that a peer sent; `decided` hears what became of each."""
        for candidate, peer in received:
            if self._has_room(candidate):
                self._wait(_Waiting(candidate, peer))
            else:
                refusal = PoolFull("too many transactions wait for verification")
                self._decided([Verdict(candidate, refusal, peer)])
        self._verify()

    def _has_room(self, candidate: Candidate) -> bool:
        size = self._waiting_bytes + len(candidate.raw)
        room = len(self._waiting) < WAITING_MAX and size <= WAITING_BYTES_MAX
        self.dropped += not room
        return room

    def _wait(self, item: _Waiting) -> None:
        self._waiting.append(item)
        self._waiting_bytes += len(item.candidate.raw)

    def _verify(self) -> None:
        """Give the workers the next batch, unless one is under way."""
        if self._under_way or not self._waiting:
            return
        self._under_way = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        self._waiting_bytes -= sum([len(item.candidate.raw) for item in self._under_way])
        self._workers.verify([item.candidate for item in self._under_way], self._on_verified)

    def _on_verified(self, held: Sequence[bool]) -> None:
        batch, self._under_way = self._under_way, []
        verdicts = []
        for item, valid in zip(batch, held, strict=True):
            refusal = self._admit(item.candidate, valid)
            verdicts.append(Verdict(item.candidate, refusal, item.peer))
            if item.request is not None:
                item.request.decide(item.position, refusal)
        self._decided(verdicts)
        self._verify()

    def _admit(self, candidate: Candidate, valid: bool) -> Refused | None:
        try:
            self._pool.admit(candidate, self._head(), verified=valid)
        except Refused as refusal:
            self.refusals[refusal.code] += 1
            if not valid or not self._is_wanted(candidate.id):
                return refusal
            self._pool.hold(candidate, verified=True)
        return None


def is_forged(refusal: Refused) -> bool:
    """Tell whether no honest peer would have sent it."""
    return isinstance(refusal, BadSignature)
