"""The durable votes of a validator, with the transactions that they promise to be able to execute.

A vote for a batch is a promise that outlives a crash, but a batch only names its transactions. They are
written in the same synced write as the vote, and deleted once the block that executed them is durable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated

from chain.ledger.block import BATCH_BYTES_MAX, BATCH_TXS_MAX, TX_BYTES_MAX, Candidate, Transaction
from chain.ledger.rows import VOTES
from chain.ledger.store import Store
from chain.node.marker import Marker
from chain.primitives.codec import Bound, decode, encode, record
from consensus.errors import VotesDamaged
from consensus.votes import EVIDENCE

_VOTE, _PROMISED, _WRITES, _EVIDENCE = VOTES + b"v", VOTES + b"t", VOTES + b"w", VOTES + EVIDENCE


@record("promised", max_bytes=BATCH_BYTES_MAX + 8 * BATCH_TXS_MAX + 64)
class Promised:
    """Transactions of one batch that are promised: less what other rows hold or a block executed."""

    transactions: Annotated[
        tuple[Annotated[bytes, Bound(1, TX_BYTES_MAX + 128)], ...], Bound(1, BATCH_TXS_MAX)
    ]


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
        self.first_start = row is None and not counted
        """Whether this key has certainly never voted: a first write may have been begun, none ended."""
        held, counted = int.from_bytes(row or b"", "big"), counted or 0
        if row is not None and held < counted:
            raise VotesDamaged(
                f"vote store: the last {counted - held} of {counted} writes of votes are gone (a damaged "
                "disk, or an older copy of the data directory); do not vote with it: remove the data "
                "directory and start again: the node fetches the chain and rejoins without voting twice"
            )
        self._writes = max(held, counted)
        self._row_of: dict[bytes, bytes] = {}
        """Promised transaction -> key of the row that holds it."""
        self._rows: dict[bytes, dict[bytes, bytes]] = {}
        """Key of a row -> id -> encoded transaction."""
        self._next_row = 0
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
        for key, row in self._store.iterate(prefix=_PROMISED):
            candidates = [
                Candidate.of(decode(Transaction, raw)) for raw in decode(Promised, row).transactions
            ]
            self._hold(key, candidates)
            yield from candidates

    def promised_ids(self) -> list[bytes]:
        """Return the ids of the transactions that are promised now."""
        return list(self._row_of)

    def __contains__(self, tx_id: object) -> bool:
        """Tell whether a vote promises this transaction and no durable block holds it."""
        return tx_id in self._row_of

    def promise(self, candidates: Iterable[Candidate]) -> None:
        """Add transactions to the next write, in one row; those already written are not written again."""
        fresh = [candidate for candidate in candidates if candidate.id not in self._row_of]
        if fresh:
            key = _PROMISED + self._next_row.to_bytes(8, "big")
            self._hold(key, fresh)
            self._stage(key)

    def executed(self, tx_ids: Iterable[bytes]) -> None:
        """Let the next write delete transactions that a durable block holds; the rest of a row stays."""
        changed: dict[bytes, None] = {}
        for tx_id in tx_ids:
            key = self._row_of.pop(tx_id, None)
            if key is not None:
                del self._rows[key][tx_id]
                changed[key] = None
        for key in changed:
            if self._rows[key]:
                self._stage(key)
                continue
            del self._rows[key]
            self._staged.pop(key, None)
            self._executed.append(key)

    def _hold(self, key: bytes, candidates: Iterable[Candidate]) -> None:
        self._next_row = int.from_bytes(key[len(_PROMISED) :], "big") + 1
        held = self._rows[key] = {candidate.id: candidate.raw for candidate in candidates}
        self._row_of.update(dict.fromkeys(held, key))

    def _stage(self, key: bytes) -> None:
        self._staged[key] = encode(Promised(tuple(self._rows[key].values())))

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
