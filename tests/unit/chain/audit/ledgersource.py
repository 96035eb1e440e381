"""Audit evidence from a ledger in this process."""

from __future__ import annotations

from chain.client.proofs import PAGE_ENTRIES
from chain.ledger.block import EventEntry, SkipDecision
from chain.ledger.proof.proofs import (
    HeaderProof,
    ProvedHistory,
    ProvedReceipt,
    ProvedState,
    ProvedTransaction,
    SetChange,
)
from chain.ledger.proof.prover import Prover
from chain.ledger.queries import Queries
from chain.primitives.runtimeport import map_key, var_key
from chain.primitives.values import Value


class LedgerSource:
    """Reads a ledger in this process."""

    def __init__(self, queries: Queries, prover: Prover) -> None:
        self._queries, self._prover = queries, prover

    async def head(self) -> int:
        """Return the highest certified height."""
        height = self._queries.head().height
        while height > 0 and self._queries.certificate(height) is None:
            height -= 1
        return height

    async def header_proof(self, height: int) -> HeaderProof:
        """Return a header with its proof; raise UnknownHeight, NotHeld."""
        return self._prover.header(height)

    async def entries(
        self, subject: str, first: int, last: int, after: str | None
    ) -> tuple[tuple[EventEntry, ...], str | None]:
        """Return one page of a subject's log."""
        cursor = None if after is None else bytes.fromhex(after)
        page = self._queries.entries(
            subject=subject, first=first, last=last, limit=PAGE_ENTRIES, after=cursor
        )
        return page.entries, None if page.next is None else page.next.hex()

    async def transaction(self, tx_id: bytes) -> ProvedTransaction | None:
        """Return a transaction with its proof."""
        return self._prover.transaction(tx_id)

    async def receipt(self, tx_id: bytes) -> ProvedReceipt | None:
        """Return a receipt with its proof."""
        return self._prover.receipt(tx_id)

    async def state(self, contract: str, map_name: str, key: Value, height: int) -> ProvedState:
        """Return an entry of a contract's Map with its proof."""
        return self._prover.state(contract, map_key(map_name, key), height)

    async def variable(self, contract: str, name: str, height: int) -> ProvedState:
        """Return a contract's Var with its proof."""
        return self._prover.state(contract, var_key(name), height)

    async def history(self, subject: str, first: int, last: int) -> ProvedHistory:
        """Return a subject's complete history with its proof."""
        return self._prover.history(subject, first, last)

    async def set_changes(self, above: int) -> tuple[SetChange, ...]:
        """Return the validator sets in force from heights above this one."""
        return self._prover.set_changes(above)

    async def skip(self, height: int) -> SkipDecision | None:
        """Return the skip decision of a height."""
        return self._queries.skip(height)
