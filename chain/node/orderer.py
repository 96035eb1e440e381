"""Between consensus and the ledger: makes batches from the pool, judges those of others, hands them on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from chain.ledger.batches import (
    FIRST_HEIGHT,
    BatchInvalid,
    batch_ids,
    batch_or_none,
    batch_time,
    check_proposal,
)
from chain.ledger.block import TX_BYTES_MAX, Batch
from chain.ledger.ledger import Ledger
from chain.mempool.mempool import Mempool
from chain.node.transactions import TransactionFinder
from chain.node.votes import DurableVotes
from chain.primitives.certificate import Certificate
from chain.primitives.codec import encode
from consensus.events import Candidate, Turn
from consensus.evidence import read_evidence
from consensus.votes import Evidence

log = logging.getLogger("assent.orderer")

WAITING_MAX = 64
FORWARDED_MAX = 16
"""Transactions sent to a primary that proposes nothing: one would do if none is decided on the way."""
FORWARDED_BYTES_MAX = TX_BYTES_MAX
"""Bytes of them: the largest transaction fits."""


SKEW_TOLD_MS = 60_000
"""A clock that was wrong is spoken of so long after its last proposal: it may be right since."""


class OrdererPort(Protocol):
    """What the orderer asks of the node around it."""

    def want(self, tx_ids: Sequence[bytes], source: bytes) -> None:
        """Fetch transactions, from `source` first."""

    def forward(self, encoded: Sequence[bytes], primary: bytes, *, widely: bool) -> None:
        """Send transactions to the primary, which seems to lack them, or to everyone."""

    def execute(self, height: int, payload: bytes) -> None:
        """Execute a delivered payload, in the order of the calls."""

    def certified(self, certificate: Certificate) -> None:
        """Keep a certificate."""

    def behind(self, certificate: Certificate) -> None:
        """Catch up to this height by blocks."""

    def judged(self, candidate: Candidate, valid: bool) -> None:
        """Tell consensus what a candidate was found to be."""

    def accused(self, key: bytes, kind: str) -> None:
        """Take note that a validator signed two conflicting messages."""

    def halted(self, reason: str) -> None:
        """Tell the operator that this validator stopped itself."""


class Orderer:
    """The application of consensus (`consensus.ports.Application`); no input or output of its own."""

    def __init__(
        self,
        key: bytes,
        ledger: Ledger,
        pool: Mempool,
        votes: DurableVotes,
        clock: Callable[[], int],
        node: OrdererPort,
    ) -> None:
        """`clock` returns wall time in milliseconds since the epoch."""
        self._key, self._ledger, self._pool = key, ledger, pool
        self._votes, self._clock, self._node = votes, clock, node
        self._transactions = TransactionFinder(pool, ledger)
        self._waiting: dict[bytes, tuple[Candidate, Batch]] = {}
        self._empty: Candidate | None = None
        self._skews: dict[bytes, tuple[int, int]] = {}
        """Proposer -> (how far its last proposal was ahead of our clock, when by our clock), milliseconds."""
        self.dropped = 0
        """Proposals given up because too many waited for their transactions."""

    @property
    def skews_ms(self) -> dict[bytes, int]:
        """Proposer -> how far its last proposal was ahead of our clock, while that says something of now."""
        now = self._clock()
        return {key: ahead for key, (ahead, at) in self._skews.items() if abs(now - at) <= SKEW_TOLD_MS}

    def pending(self) -> bool:
        """Tell whether transactions wait, the genesis its first block, or an announced change its height."""
        return len(self._pool) > 0 or self._ledger.head.height < FIRST_HEIGHT or self._ledger.announced

    def propose(self, turn: Turn) -> bytes | None:
        """Return the next batch, or None while waiting makes it fuller.

        Above a batch that is not executed yet only a full one is proposed: what every block costs is shared
        by many transactions under load, and without load nothing is there to wait for.
        """
        in_flight = {tx_id for payload in turn.parents for tx_id in batch_ids(payload)}
        limits = self._ledger.schedule.limits_at(turn.height)
        if turn.parents and len(self._pool) - len(in_flight) < limits.block_txs:
            return None
        chosen = self._pool.select(limits.block_txs, limits.block_bytes, in_flight)
        if not chosen and not self._may_be_empty(turn.height, turn.parents):
            return None
        time = max(self._clock(), self._parent_time(turn.parents) + 1)
        ids = tuple([candidate.id for candidate in chosen])
        self._votes.pin(chosen, turn.height)
        return encode(Batch(turn.height, turn.view, turn.base, self._key, time, ids))

    def forward(self, primary: bytes, *, widely: bool) -> None:
        """Send the primary some of what has waited longest: any one of them is something to propose."""
        if chosen := self._pool.select(FORWARDED_MAX, FORWARDED_BYTES_MAX):
            self._node.forward([candidate.raw for candidate in chosen], primary, widely=widely)

    def check(self, candidate: Candidate) -> bool | None:
        """Judge a proposal; one that names transactions we lack waits until they are here.

        An empty one waits until all below it is executed: then it shows whether the chain needs it.
        """
        batch = self._acceptable(candidate)
        if batch is None:
            return False
        if not batch.tx_ids and candidate.fresh and not self._may_be_empty(candidate.height, ()):
            if not candidate.parents:
                return False
            self._empty = candidate
            return None
        missing = self._transactions.missing(batch.tx_ids)
        if missing:
            self._wait_for(candidate, batch, missing)
            return None
        return self._pin(batch)

    def arrived(self, tx_ids: Iterable[bytes]) -> None:
        """Judge the proposals that waited and now have all of theirs: these came in, or were decided.

        What left the pool because it is final, and is not on the ledger here, is asked for anew.
        """
        if not self._waiting:
            return
        news = set(tx_ids)
        for digest, (candidate, batch) in list(self._waiting.items()):
            if news.isdisjoint(batch.tx_ids):
                continue
            if missing := self._transactions.missing(batch.tx_ids):
                if gone := [tx_id for tx_id in missing if tx_id in news]:
                    self._node.want(gone, candidate.proposer)
                continue
            del self._waiting[digest]
            self._node.judged(candidate, self._pin(batch))

    def executed(self) -> None:
        """Judge the empty proposal that waited for the heights below it, if they are all executed now."""
        candidate = self._empty
        if candidate is not None and candidate.height <= self._ledger.head.height + 1:
            self._empty = None
            self._node.judged(candidate, self._may_be_empty(candidate.height, ()))

    def named(self) -> set[bytes]:
        """Return the transactions of the proposals that wait."""
        return {tx_id for _, batch in self._waiting.values() for tx_id in batch.tx_ids}

    def lacking(self) -> list[bytes]:
        """Return the transactions that proposals wait for."""
        waiting = self._waiting.values()
        return [tx_id for _, batch in waiting for tx_id in self._transactions.missing(batch.tx_ids)]

    def deliver(self, height: int, payload: bytes) -> None:
        """Hand an ordered payload to execution."""
        self._forget_below(height)
        self._node.execute(height, payload)

    def certified(self, certificate: Certificate) -> None:
        """Pass a certificate on to the ledger."""
        self._node.certified(certificate)

    def certificate(self, height: int) -> Certificate | None:
        """Return a certificate from the ledger."""
        return self._ledger.read.certificate(height)

    def behind(self, certificate: Certificate) -> None:
        """Pass on that others certified what we have not."""
        self._node.behind(certificate)

    def evidence(self, evidence: Evidence) -> None:
        """Log that a validator contradicted itself; the record is in the vote store."""
        said = read_evidence(evidence, self._ledger.chain_id)
        log.error(
            "%s signed two conflicting %s messages; see: assent node evidence list",
            said.accused.hex()[:16], said.kind,
        )  # fmt: skip
        self._node.accused(said.accused, said.kind)

    def halted(self, reason: str) -> None:
        """Pass on that consensus stopped itself here."""
        self._node.halted(reason)

    def _acceptable(self, candidate: Candidate) -> Batch | None:
        """Return the batch of a proposal that keeps the rules; what a quorum prepared is not judged again."""
        try:
            limits = self._ledger.schedule.limits_at(candidate.height)
            batch = check_proposal(candidate.payload, candidate.height, limits)
        except BatchInvalid as error:
            log.warning("proposal of %s refused: %s", candidate.proposer.hex()[:16], error)
            return None
        return batch if not candidate.fresh or self._is_timely_and_new(candidate, batch) else None

    def _may_be_empty(self, height: int, parents: Sequence[bytes]) -> bool:
        """Tell whether an empty batch has a purpose: it certifies the genesis, or brings a change into force.

        An idle chain would otherwise never come to the height from which what it has decided holds.
        """
        return height == FIRST_HEIGHT or (self._ledger.announced and not parents)

    def _is_timely_and_new(self, candidate: Candidate, batch: Batch) -> bool:
        said, due = (batch.view, batch.base), (candidate.view, candidate.base)
        if said != due or batch.proposer != candidate.proposer:
            return False
        now = self._clock()
        self._skews[candidate.proposer] = (batch.time - now, now)
        skew = self._ledger.schedule.limits_at(batch.height).max_clock_skew_ms
        if not self._parent_time(candidate.parents) < batch.time <= now + skew:
            log.warning(
                "proposal of height %d refused: its time is %d, ours %d", batch.height, batch.time, now
            )
            return False
        in_flight = {tx_id for payload in candidate.parents for tx_id in batch_ids(payload)}
        # what waits in the pool was new when it came, and leaves as soon as a height settles it
        strangers = self._pool.not_waiting(batch.tx_ids)
        return in_flight.isdisjoint(batch.tx_ids) and not any(map(self._ledger.is_final, strangers))

    def _parent_time(self, parents: Sequence[bytes]) -> int:
        time = self._ledger.head_header.time
        for payload in parents:
            time = batch_time(batch_or_none(payload), time)
        return time

    def _pin(self, batch: Batch) -> bool:
        found = self._transactions.get(batch.tx_ids)
        limits = self._ledger.schedule.limits_at(batch.height)
        if sum(len(candidate.raw) for candidate in found) > limits.block_bytes:
            return False
        self._votes.pin(found, batch.height)
        return True

    def _wait_for(self, candidate: Candidate, batch: Batch, missing: list[bytes]) -> None:
        while len(self._waiting) >= WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
            self.dropped += 1
        self._waiting[candidate.digest] = (candidate, batch)
        self._node.want(missing, candidate.proposer)

    def _forget_below(self, height: int) -> None:
        gone = [digest for digest, (candidate, _) in self._waiting.items() if candidate.height <= height]
        for digest in gone:
            del self._waiting[digest]
