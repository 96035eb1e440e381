"""What a stopped node knows of the height that it would execute next: which batch, and how sure it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from chain.ledger.batches import batch_ids
from chain.ledger.block import DecodedTransaction
from chain.ledger.ledger import Ledger
from chain.node.begun import Begun, read_begun
from chain.node.votes import DurableVotes
from chain.primitives.certificate import payload_digest
from consensus.messages import Prepared
from consensus.votes import StoredVotes, recall


class Standing(Enum):
    """How far a batch came at its height; the best comes first."""

    DECIDED = "decided"
    """Consensus handed it over here, or a certified block holds it: it is the batch of the height."""
    PREPARED = "prepared"
    """A quorum prepared it here: it is the height's batch unless a later view prepared another."""
    PROPOSED = "proposed"
    """This validator accepted it; others may have another."""


@dataclass(frozen=True, slots=True)
class KnownBatch:
    """A batch that this node holds for its next height."""

    standing: Standing
    payload: bytes
    prepared: Prepared | None = None
    """The certificate that a quorum prepared it, which anyone can check."""

    @property
    def digest(self) -> bytes:
        """The hash by which votes and skips name the batch."""
        return payload_digest(self.payload)

    @property
    def tx_ids(self) -> tuple[bytes, ...]:
        """The transactions that it orders; a null request orders none."""
        return batch_ids(self.payload)


@dataclass(frozen=True, slots=True)
class NextHeight:
    """What a stopped node knows of the height above its head."""

    height: int
    batches: tuple[KnownBatch, ...]
    """What is known to stand there, the surest first."""
    begun: Begun | None
    """What processes before began to execute and did not finish."""
    transactions: dict[bytes, DecodedTransaction]
    """Id -> the transactions that votes pin."""

    def batch(self, digest: bytes) -> KnownBatch | None:
        """Return the batch with this digest, if it is known here."""
        return next((item for item in self.batches if item.digest == digest), None)


def read_next(ledger: Ledger, votes: DurableVotes) -> NextHeight:
    """Return what a stopped node's store holds about its next height; raise VotesDamaged, DataDamaged."""
    head = ledger.head.height
    begun, memory = read_begun(ledger.store, head), recall(votes.load())
    found: dict[bytes, KnownBatch] = {}
    for item in _candidates(begun, memory, head + 1):
        known = found.setdefault(item.digest, item)
        if known.prepared is None and item.prepared is not None:
            found[item.digest] = replace(known, prepared=item.prepared)
    pinned = {candidate.id: candidate for candidate in votes.pinned()}
    return NextHeight(head + 1, tuple(found.values()), begun, pinned)


def _candidates(begun: Begun | None, memory: StoredVotes, height: int) -> Iterable[KnownBatch]:
    """Yield every trace of a batch for a height, the surest first."""
    if begun is not None:
        yield KnownBatch(Standing.DECIDED, begun.payload)
    payloads = {payload_digest(payload): payload for payload in memory.payloads.get(height, [])}
    commit, prepare = memory.commits.get(height), memory.prepares.get(height)
    if commit is not None and commit.prepared.payload_digest in payloads:
        prepared = commit.prepared
        yield KnownBatch(Standing.PREPARED, payloads[prepared.payload_digest], prepared)
    if prepare is not None and prepare.payload_digest in payloads:
        yield KnownBatch(Standing.PROPOSED, payloads[prepare.payload_digest])
