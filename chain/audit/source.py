"""Port of an audit: where its evidence comes from (`chain.client.proofs.NodeProofs` in production)."""

from __future__ import annotations

from typing import Protocol

from chain.ledger.block import EventEntry, SkipDecision
from chain.ledger.proof.proofs import (
    HeaderProof,
    ProvedHistory,
    ProvedReceipt,
    ProvedState,
    ProvedTransaction,
    SetChange,
)
from chain.primitives.values import Value


class EvidenceSource(Protocol):
    """What an audit asks for. Proofs are data, and whoever uses them checks them."""

    async def head(self) -> int:
        """Return the highest height that can be proved."""

    async def header_proof(self, height: int) -> HeaderProof:
        """Return a header, which comes first in its proof, with that proof; raise UnknownHeight."""

    async def entries(
        self, subject: str, first: int, last: int, after: str | None
    ) -> tuple[tuple[EventEntry, ...], str | None]:
        """Return one page of a subject's log at heights first..last, and the cursor of the next page."""

    async def transaction(self, tx_id: bytes) -> ProvedTransaction | None:
        """Return a transaction with its proof; None when unknown."""

    async def receipt(self, tx_id: bytes) -> ProvedReceipt | None:
        """Return a receipt with its proof; None when unknown."""

    async def state(self, contract: str, map_name: str, key: Value, height: int) -> ProvedState:
        """Return an entry of a contract's Map at a height, or its absence, with the proof."""

    async def variable(self, contract: str, name: str, height: int) -> ProvedState:
        """Return a contract's Var at a height, or its absence, with the proof."""

    async def history(self, subject: str, first: int, last: int) -> ProvedHistory:
        """Return all entries of a subject at heights first..last with the proof that they are all."""

    async def set_changes(self, above: int) -> tuple[SetChange, ...]:
        """Return the validator sets in force from heights above this one; call again above the last."""

    async def skip(self, height: int) -> SkipDecision | None:
        """Return the skip decision that a height's header names; None when the source has none."""
