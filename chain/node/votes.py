"""The durable votes of a validator, with the transactions that they promise to be able to execute.

A vote for a batch is a promise that outlives a crash, but a batch only names its transactions. They are
written in the same synced write as the vote, and deleted once the block that executed them is durable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from chain.ledger.block import Candidate, Transaction
from chain.ledger.rows import VOTES
from chain.ledger.store import Store
from chain.node.marker import Marker
from chain.primitives.codec import decode
from consensus.errors import VotesDamaged
from consensus.votes import EVIDENCE

_VOTE, _PROMISED, _WRITES, _EVIDENCE = VOTES + b"v", VOTES + b"t", VOTES + b"w", VOTES + EVIDENCE


class DurableVotes:
    """Rows of consensus in the node's store (`consensus.ports.VoteStore`); used by one thread.

    Each key that ever votes here has rows of its own; evidence against others is kept for all of them.
    """

    def __init__(self, store: Store, voter: bytes, marker: Marker) -> None:
        """`marker`, the voter's, outlives the store; raise VotesDamaged when it counts writes that are lost.

        A store without any write of votes is not damaged but wiped: the replica listens before it votes.
        """
        self._store, self._marker = store, marker
        self._vote, self._count = _VOTE + voter, _WRITES + voter
        row, counted = store.get(self._count), marker.read()
        self.first_start = counted is None
        """Whether this key has certainly never voted."""
        held, counted = int.from_bytes(row or b"", "big"), counted or 0
        if row is not None and held < counted:
            raise VotesDamaged(
                f"vote store: the last {counted - held} of {counted} writes of votes are gone (a damaged "
                "disk, or an older copy of the data directory); do not vote with it: remove the data "
                "directory and start again: the node fetches the chain and rejoins without voting twice"
            )
        self._writes = max(held, counted)
        self._promised: set[bytes] = set()
        self._staged: dict[bytes, bytes] = {}
        self._executed: list[bytes] = []

    def load(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all rows of votes."""
        for key, value in self._store.iterate(prefix=self._vote):
            yield key[len(self._vote) :], value
        for key, value in self._store.iterate(prefix=_EVIDENCE):
            yield key[len(VOTES) :], value

    def promised(self) -> Iterator[Candidate]:
        """Yield the transactions that earlier votes promised; call once, at start."""
        for key, raw in self._store.iterate(prefix=_PROMISED):
            self._promised.add(key[len(_PROMISED) :])
            yield Candidate.of(decode(Transaction, raw))

    def promised_ids(self) -> list[bytes]:
        """Return the ids of the transactions that are promised now."""
        return list(self._promised)

    def promise(self, candidates: Iterable[Candidate]) -> None:
        """Add transactions to the next write; those already written are not written again."""
        for candidate in candidates:
            if candidate.id not in self._promised:
                self._promised.add(candidate.id)
                self._staged[_PROMISED + candidate.id] = candidate.raw

    def executed(self, tx_ids: Iterable[bytes]) -> None:
        """Let the next write delete transactions that a durable block holds."""
        for tx_id in tx_ids:
            if tx_id in self._promised:
                self._promised.discard(tx_id)
                if self._staged.pop(_PROMISED + tx_id, None) is None:
                    self._executed.append(_PROMISED + tx_id)

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes]) -> None:
        """Write votes and promised transactions at once, durable when this returns."""
        if self.first_start:
            self._marker.advance(0)
            self.first_start = False
        rows = [(self._row(key), value) for key, value in puts.items()]
        rows.append((self._count, (self._writes + 1).to_bytes(8, "big")))
        gone = [self._row(key) for key in deletes]
        self._store.write([*self._staged.items(), *rows], [*gone, *self._executed], sync=True)
        self._writes += 1
        self._marker.advance(self._writes)
        self._staged, self._executed = {}, []

    def _row(self, key: bytes) -> bytes:
        return VOTES + key if key.startswith(EVIDENCE) else self._vote + key
