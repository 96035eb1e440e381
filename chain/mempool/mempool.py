"""Mempool: the transactions that wait for a block; pure bookkeeping, every part of it bounded.

A transaction comes in by `prepare` (decode), `screen` (cheap refusals, before a signature is verified) and
`admit`. Nothing is ever marked as in flight: whoever proposes passes the ids that are, so that those of a
failed proposal are selectable again by themselves. Transactions fetched because a proposal names them are
kept apart (`hold`): they may break rules that only the executor decides, and must not be proposed by us.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from chain.ledger.block import DecodedTransaction, Transaction, transaction_id
from chain.ledger.genesis import Limits
from chain.mempool.admission import check_rules, check_size
from chain.mempool.refusals import (
    AlreadyCommitted,
    BadSignature,
    DuplicateTransaction,
    Malformed,
    PoolFull,
    SenderFull,
    SignedForAnotherChain,
    TransactionRefused,
)
from chain.primitives.codec import decode
from chain.primitives.errors import DecodeError


@dataclass(frozen=True, slots=True)
class PoolBounds:
    """Bounds of one node's pool; they are local, so pools may differ."""

    max_transactions: int = 50_000
    max_bytes: int = 67_108_864
    max_per_sender: int = 20_000
    max_held: int = 20_000
    """Transactions kept for proposals, beside the pool; the oldest give way."""
    max_held_bytes: int = 33_554_432


class Mempool:
    """The pool of one node; used by one thread."""

    def __init__(
        self,
        chain_id: bytes,
        limits: Limits,
        signer_refusal: Callable[[bytes], str],
        is_committed: Callable[[bytes], bool],
        bounds: PoolBounds = PoolBounds(),
    ) -> None:
        """Start empty.

        `signer_refusal` returns why a public key may not sign now, "" when it may, and answers at once;
        `is_committed` tells whether an id has a receipt.
        """
        self._chain_id = chain_id
        self.limits = limits
        """Those of the next height: whoever keeps the pool replaces them when the chain changes them."""
        self._signer_refusal = signer_refusal
        self._is_committed = is_committed
        self._bounds = bounds
        self._pool: dict[bytes, DecodedTransaction] = {}
        self._by_sender: dict[bytes, dict[bytes, DecodedTransaction]] = {}
        """sender -> id -> candidate in order of arrival; senders in order of who waits longest."""
        self._by_expiry: dict[int, set[bytes]] = {}
        self._held: dict[bytes, DecodedTransaction] = {}
        self._bytes = 0
        self._held_bytes = 0
        self.dropped_held = 0
        """Held transactions that gave way to newer ones."""

    def __len__(self) -> int:
        """Transactions that wait for a block, those held for proposals not counted."""
        return len(self._pool)

    def prepare(self, raw: bytes) -> DecodedTransaction:
        """Decode a transaction, verify no signature; raise TooLarge, Malformed, SignedForAnotherChain."""
        check_size(raw, self.limits)
        try:
            tx = decode(Transaction, raw)
        except DecodeError as error:
            raise Malformed(str(error)) from None
        if tx.body.chain_id != self._chain_id:
            raise SignedForAnotherChain(
                f"transaction: signed for chain {tx.body.chain_id.hex()[:16]}, this chain is "
                f"{self._chain_id.hex()[:16]}; sign it with the right genesis",
            )
        return DecodedTransaction(tx, transaction_id(tx.body), raw)

    def screen(self, candidate: DecodedTransaction, head_height: int) -> None:
        """Raise a TransactionRefused for whatever can be told without the signature."""
        self._check_new(candidate.id)
        check_rules(candidate, head_height, self.limits, self._signer_refusal)
        self._check_room(candidate)

    def admit(self, candidate: DecodedTransaction, head_height: int, *, verified: bool) -> None:
        """Take a transaction in; raise TransactionRefused. `verified` is what the signature check found."""
        if not verified:  # first: whatever else is wrong, nobody honest passed it on
            raise BadSignature(f"transaction {candidate.id.hex()}: the signature does not hold")
        self.screen(candidate, head_height)
        if candidate.id in self._held:
            self._release(candidate.id)
        self._pool[candidate.id] = candidate
        self._by_sender.setdefault(candidate.tx.body.sender, {})[candidate.id] = candidate
        self._by_expiry.setdefault(candidate.tx.body.valid_until, set()).add(candidate.id)
        self._bytes += len(candidate.raw)

    def hold(self, candidate: DecodedTransaction, *, verified: bool) -> None:
        """Keep a transaction that a proposal names, whatever the pool's own rules say of it."""
        if not verified:
            raise BadSignature(f"transaction {candidate.id.hex()}: the signature does not hold")
        if candidate.id in self._pool or candidate.id in self._held:
            return
        self._held[candidate.id] = candidate
        self._held_bytes += len(candidate.raw)
        bounds = self._bounds
        while len(self._held) > bounds.max_held or self._held_bytes > bounds.max_held_bytes:
            self._release(next(iter(self._held)))
            self.dropped_held += 1

    def select(
        self, max_txs: int, max_bytes: int, exclude: Collection[bytes] = frozenset()
    ) -> list[DecodedTransaction]:
        """Choose a batch: senders take turns, each in its order of arrival, ids in `exclude` left out.

        Who was served last time waits longest next time (`remove_committed`), so that no sender starves
        behind others, however many there are.
        """
        chosen: list[DecodedTransaction] = []
        size = 0
        turns = deque(self._free(queue, exclude) for queue in self._by_sender.values())
        while turns and len(chosen) < max_txs:
            turn = turns.popleft()
            candidate = next(turn, None)
            if candidate is None or size + len(candidate.raw) > max_bytes:
                continue
            chosen.append(candidate)
            size += len(candidate.raw)
            turns.append(turn)
        return chosen

    def get(self, ids: Iterable[bytes]) -> list[DecodedTransaction]:
        """Return the transactions among these ids that are here, in the given order."""
        pool, held = self._pool, self._held
        found = [pool.get(tx_id) or held.get(tx_id) for tx_id in ids]
        return [candidate for candidate in found if candidate is not None]

    def not_waiting(self, ids: Iterable[bytes]) -> list[bytes]:
        """Return the ids that do not wait for a block here, held ones among them, in the given order."""
        return [tx_id for tx_id in ids if tx_id not in self._pool]

    def missing(self, ids: Iterable[bytes]) -> list[bytes]:
        """Return the ids that are not here, in the given order."""
        pool, held = self._pool, self._held
        return [tx_id for tx_id in ids if tx_id not in pool and tx_id not in held]

    def __contains__(self, tx_id: bytes) -> bool:
        """Tell whether a transaction is here, held ones included."""
        return tx_id in self._pool or tx_id in self._held

    def ids(self) -> list[bytes]:
        """Return the ids of the transactions that wait, and of those held for proposals."""
        return [*self._pool, *self._held]

    def remove_committed(
        self, ids: Sequence[bytes], head_height: int, pinned: Container[bytes] = frozenset()
    ) -> int:
        """Drop what a new head decided (`Ledger.decided_ids`) and what expired; return how many expired.

        Expired transactions among `pinned` are held: a batch that names them may be ordered already.
        """
        served: dict[bytes, None] = {}
        for tx_id in ids:
            candidate = self._remove(tx_id)
            if candidate is not None:
                served[candidate.tx.body.sender] = None
            if tx_id in self._held:
                self._release(tx_id)
        for sender in served:
            queue = self._by_sender.pop(sender, None)
            if queue is not None:
                self._by_sender[sender] = queue
        return self._expire(head_height, pinned)

    def _expire(self, head_height: int, pinned: Container[bytes]) -> int:
        past = [height for height in self._by_expiry if height <= head_height]
        expired = [tx_id for height in past for tx_id in self._by_expiry[height]]
        self._drop(expired, pinned)
        return len(expired)

    def rescreen(self, head_height: int, pinned: Container[bytes] = frozenset()) -> int:
        """Drop what would be refused now that limits or keys changed; return how many.

        A primary that meets it only now refuses it, so waiting for it would blame who does what is right.
        Those among `pinned` are held, as expired ones are.
        """
        stale = [tx_id for tx_id, candidate in self._pool.items() if self._is_stale(candidate, head_height)]
        self._drop(stale, pinned)
        return len(stale)

    def _is_stale(self, candidate: DecodedTransaction, head_height: int) -> bool:
        try:
            check_size(candidate.raw, self.limits)
            check_rules(candidate, head_height, self.limits, self._signer_refusal)
        except TransactionRefused:
            return True
        return False

    def _drop(self, ids: Iterable[bytes], pinned: Container[bytes]) -> None:
        for tx_id in ids:
            candidate = self._remove(tx_id)
            if candidate is not None and tx_id in pinned:
                self.hold(candidate, verified=True)

    def _remove(self, tx_id: bytes) -> DecodedTransaction | None:
        candidate = self._pool.pop(tx_id, None)
        if candidate is None:
            return None
        self._bytes -= len(candidate.raw)
        body = candidate.tx.body
        queue = self._by_sender[body.sender]
        del queue[tx_id]
        if not queue:
            del self._by_sender[body.sender]
        expiring = self._by_expiry[body.valid_until]
        expiring.discard(tx_id)
        if not expiring:
            del self._by_expiry[body.valid_until]
        return candidate

    def _release(self, tx_id: bytes) -> None:
        self._held_bytes -= len(self._held.pop(tx_id).raw)

    @staticmethod
    def _free(
        queue: dict[bytes, DecodedTransaction], exclude: Collection[bytes]
    ) -> Iterator[DecodedTransaction]:
        return (candidate for tx_id, candidate in queue.items() if tx_id not in exclude)

    def _check_new(self, tx_id: bytes) -> None:
        if tx_id in self._pool:
            raise DuplicateTransaction(f"transaction {tx_id.hex()}: waits in the pool already")
        if self._is_committed(tx_id):
            raise AlreadyCommitted(f"transaction {tx_id.hex()}: on the ledger; ask its receipt")

    def _check_room(self, candidate: DecodedTransaction) -> None:
        bounds, size = self._bounds, len(candidate.raw)
        if len(self._pool) >= bounds.max_transactions or self._bytes + size > bounds.max_bytes:
            raise PoolFull(
                f"pool: {len(self._pool)} transactions of {self._bytes} bytes; wait, or ask another node",
            )
        queue = self._by_sender.get(candidate.tx.body.sender, ())
        if len(queue) >= bounds.max_per_sender:
            raise SenderFull(
                f"sender: {len(queue)} transactions wait, at most {bounds.max_per_sender}; wait",
            )
