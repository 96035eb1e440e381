"""Durable votes of a validator, and the transactions that they pin.

Who votes for a batch must be able to execute it after any crash, but a batch only names its transactions. So
a vote pins them: they are written in the same synced write as the vote. They are deleted once the block that
executed them is durable, or once the height of their batch is certified and executed: what was not executed
then is in no batch of that height.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated

from chain.ledger.block import BATCH_BYTES_MAX, BATCH_TXS_MAX, TX_BYTES_MAX, DecodedTransaction, Transaction
from chain.ledger.store.port import Store
from chain.ledger.store.rows import VOTES
from chain.node.marker import Marker
from chain.primitives.codec import U64, Bound, decode, encode, record
from consensus.errors import VotesDamaged
from consensus.votes import EVIDENCE

_VOTE, _PINNED, _WRITES, _EVIDENCE = VOTES + b"v", VOTES + b"t", VOTES + b"w", VOTES + EVIDENCE


@record("promised", max_bytes=BATCH_BYTES_MAX + 8 * BATCH_TXS_MAX + 64)
class PinnedTransactions:
    """Transactions of one batch that votes pin, without those in other rows or executed by a block."""

    height: U64
    """The highest height whose batch names them."""
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
        """Id of a pinned transaction -> key of its row."""
        self._rows: dict[bytes, dict[bytes, bytes]] = {}
        """Key of a row -> id -> encoded transaction."""
        self._heights: dict[bytes, int] = {}
        """Key of a row -> the height for which it is pinned."""
        self._next_row = 0
        self._staged: dict[bytes, bytes] = {}
        self._executed: list[bytes] = []

    def load(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all rows of votes."""
        for key, value in self._store.iterate(prefix=self._vote):
            yield key[len(self._vote) :], value
        for key, value in self._store.iterate(prefix=_EVIDENCE):
            yield key[len(VOTES) :], value

    def get(self, key: bytes) -> bytes | None:
        """Return one row of votes."""
        return self._store.get(self._row(key))

    def pinned(self) -> Iterator[DecodedTransaction]:
        """Yield the transactions that earlier votes pinned; call once, at start."""
        for key, row in self._store.iterate(prefix=_PINNED):
            read = decode(PinnedTransactions, row)
            candidates = [DecodedTransaction.of(decode(Transaction, raw)) for raw in read.transactions]
            self._hold(key, read.height, candidates)
            yield from candidates

    def pinned_ids(self) -> list[bytes]:
        """Return the ids of the transactions that are pinned now."""
        return list(self._row_of)

    def __contains__(self, tx_id: object) -> bool:
        """Tell whether a vote pins this transaction and no durable block has it."""
        return tx_id in self._row_of

    def pin(self, candidates: Iterable[DecodedTransaction], height: int) -> None:
        """Add transactions of a batch for a height to the next write, in one row.

        Those that are pinned for that height or a higher one already are not written again.
        """
        fresh = [item for item in candidates if self._pinned_for(item.id) < height]
        if fresh:
            self._take_out([item.id for item in fresh])
            key = _PINNED + self._next_row.to_bytes(8, "big")
            self._hold(key, height, fresh)
            self._stage(key)

    def executed(self, tx_ids: Iterable[bytes], certified: int) -> list[bytes]:
        """Let the next write delete what no vote needs any more; the rest of a row stays.

        These are transactions that a durable block has, and those pinned for heights up to `certified`, which
        are executed; return the ids of the latter, whose batches came to nothing.
        """
        self._take_out(tx_ids)
        lapsed: list[bytes] = []
        for key in [key for key, height in self._heights.items() if height <= certified]:
            lapsed += self._rows[key]
        self._take_out(lapsed)
        return lapsed

    def _pinned_for(self, tx_id: bytes) -> int:
        key = self._row_of.get(tx_id)
        return -1 if key is None else self._heights[key]

    def _take_out(self, tx_ids: Iterable[bytes]) -> None:
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
            del self._rows[key], self._heights[key]
            self._staged.pop(key, None)
            self._executed.append(key)

    def _hold(self, key: bytes, height: int, candidates: Iterable[DecodedTransaction]) -> None:
        self._next_row = int.from_bytes(key[len(_PINNED) :], "big") + 1
        held = self._rows[key] = {candidate.id: candidate.raw for candidate in candidates}
        self._heights[key] = height
        self._row_of.update(dict.fromkeys(held, key))

    def _stage(self, key: bytes) -> None:
        self._staged[key] = encode(PinnedTransactions(self._heights[key], tuple(self._rows[key].values())))

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes]) -> None:
        """Write votes and pinned transactions at once; all is durable when this returns."""
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
