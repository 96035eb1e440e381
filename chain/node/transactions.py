"""Transactions whose bytes this node has: those in the pool, and those in blocks that the ledger holds.

Final is not the same as here: a state that took the ledger's place brought ids without transactions, and
pruning leaves ids behind. A batch may name one all the same (proposed before it was final, ordered after),
and whoever executes or judges that batch needs its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from chain.ledger.block import DecodedTransaction, Transaction
from chain.ledger.ledger import Ledger
from chain.ledger.pruned import NotHeld
from chain.mempool.mempool import Mempool
from chain.primitives.codec import decode


class TransactionFinder:
    """Finds transactions in pool and ledger; used by one thread."""

    def __init__(self, pool: Mempool, ledger: Ledger) -> None:
        self._pool, self._ledger = pool, ledger

    def raw(self, tx_id: bytes) -> bytes | None:
        """Return an encoded transaction, None when its bytes are not here, final or not."""
        found = self._pool.get((tx_id,))
        return found[0].raw if found else self._on_ledger(tx_id)

    def missing(self, ids: Sequence[bytes]) -> list[bytes]:
        """Return the ids whose bytes are not here, in the given order."""
        return [tx_id for tx_id in self._pool.missing(ids) if self._on_ledger(tx_id) is None]

    def get(self, ids: Sequence[bytes]) -> list[DecodedTransaction]:
        """Return the transactions of a batch, of which none is missing, in its order."""
        found = self._pool.get(ids)
        if len(found) == len(ids):
            return found
        waiting = {candidate.id: candidate for candidate in found}
        return [waiting.get(tx_id) or self._executed(tx_id) for tx_id in ids]

    def _executed(self, tx_id: bytes) -> DecodedTransaction:
        raw = self._on_ledger(tx_id)
        if raw is None:
            raise KeyError(f"transaction {tx_id.hex()}: not here")
        return DecodedTransaction(decode(Transaction, raw), tx_id, raw)

    def _on_ledger(self, tx_id: bytes) -> bytes | None:
        try:
            return self._ledger.read.transaction_bytes(tx_id)
        except NotHeld:
            return None  # pruned, or from before a state that took its place: no fault of who asks
