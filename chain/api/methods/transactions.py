"""RPC methods to send transactions, and to ask what became of them."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from chain.api.params import ById, Nothing, ReceiptOf, SendMany, SendOne
from chain.api.port import NodePort, NotFound
from chain.api.receipt_wait import wait_for_receipt
from chain.api.render import decision_json, receipt_json, transaction_json
from chain.ledger.batch_executor import SKIPPED_BY_DECISION
from chain.ledger.block import DecodedTransaction, Receipt
from chain.ledger.explain import explain
from chain.mempool.refusals import TransactionRefused
from chain.primitives.codec import encode
from chain.primitives.runtimeport import Outcome

SUBMIT_PIECE = 100
"""Transactions that are decoded in one go: two milliseconds of the loop."""


class TransactionMethods:
    """The RPC methods about transactions, over one node."""

    def __init__(self, node: NodePort) -> None:
        self._node, self._ledger, self._pool = node, node.ledger, node.pool
        self._background: set[asyncio.Task[Any]] = set()

    async def send(self, params: SendOne) -> dict[str, Any]:
        """Take a transaction into the pool; return its id, with the receipt where that is waited for."""
        raw = bytes.fromhex(params.transaction)
        if params.mode == "async":
            candidate = self._pool.prepare(raw)
            task = asyncio.create_task(self._node.submit([raw]))
            self._background.add(task)
            task.add_done_callback(self._background.discard)
            return {"id": candidate.id.hex()}
        (result,) = await self._node.submit([raw])
        if isinstance(result, TransactionRefused):
            raise result
        if params.mode == "sync":
            return {"id": result.id.hex()}
        receipt = await wait_for_receipt(self._node, result.id, params.timeoutMs)
        shown = None if receipt is None else receipt_json(receipt)
        return {
            "id": result.id.hex(),
            "outcome": "unknown" if shown is None else "certified",
            "receipt": shown,
        }

    async def send_many(self, params: SendMany) -> list[dict[str, Any]]:
        """Take transactions into the pool; return for each its id, or why it was refused."""
        results: list[DecodedTransaction | TransactionRefused] = []
        for first in range(0, len(params.transactions), SUBMIT_PIECE):
            piece = params.transactions[first : first + SUBMIT_PIECE]
            results += await self._node.submit([bytes.fromhex(text) for text in piece])
        return [
            {"error": {"code": result.code, "message": str(result)}}
            if isinstance(result, TransactionRefused)
            else {"id": result.id.hex()}
            for result in results
        ]

    async def get(self, params: ById) -> dict[str, Any] | None:
        """Return a transaction that is on the ledger or waits; None for one that this node does not know."""
        tx_id = bytes.fromhex(params.id)
        where = self._ledger.read.position(tx_id)
        if where is not None:
            tx = self._ledger.read.transaction(tx_id)
            shown = transaction_json(tx) if tx is not None else {}
            shown |= {"status": "committed", "height": where[0], "index": where[1]}
            if params.withProof:
                proof = await asyncio.to_thread(self._ledger.prove.transaction, tx_id)
                shown["proof"] = encode(proof).hex()
            return shown
        waiting = self._pool.get([tx_id])
        if not waiting:
            self._require_known(tx_id)
            return None
        return transaction_json(waiting[0].tx) | {"status": "pending", "height": None, "index": None}

    async def explain(self, params: ById) -> dict[str, Any]:
        """Run a transaction again on the state that it met; say what was asked, where it failed and why."""
        receipt = self._ledger.read.receipt(bytes.fromhex(params.id))
        if receipt is None:
            raise NotFound(f"transaction {params.id}: no receipt on this node's ledger; it may be on its way")
        found = receipt
        outcome, asked = await self._node.lane.run(lambda: self._explained(found))
        return {
            **asked,
            "id": params.id,
            "height": receipt.height,
            "status": outcome.status,
            "code": outcome.code,
            "gasUsed": outcome.gas_used,
            "line": outcome.line,
            "why": outcome.why,
            "trace": [asdict(place) for place in outcome.trace],
        }

    def _explained(self, receipt: Receipt) -> tuple[Outcome, dict[str, Any]]:
        """Return the outcome behind a receipt, and who asked for what."""
        outcome = explain(self._ledger.read, self._node.runtime, receipt)
        tx = self._ledger.read.transaction(receipt.tx_id)
        shown = transaction_json(tx) if tx is not None else {}
        return outcome, {name: shown.get(name) for name in ("contract", "method", "args", "sender")}

    async def receipt(self, params: ReceiptOf) -> dict[str, Any] | None:
        """Return a receipt of a certified height, with its proof if asked for; None while there is none."""
        tx_id = bytes.fromhex(params.id)
        receipt = await wait_for_receipt(self._node, tx_id, params.waitMs)
        if receipt is None:
            self._require_known(tx_id)
            return None
        shown = receipt_json(receipt) | {"raw": encode(receipt).hex()}
        if receipt.code == SKIPPED_BY_DECISION and (decision := self._ledger.read.skip(receipt.height)):
            shown["skip"] = decision_json(decision)
        if params.withProof:
            proof = await asyncio.to_thread(self._ledger.prove.receipt, tx_id)
            shown["proof"] = encode(proof).hex()
        return shown

    def _require_known(self, tx_id: bytes) -> None:
        """Raise NotHeld when an older block, which is not here, may hold an id that does not wait."""
        missing = self._ledger.read.pruned.missing_transaction(tx_id)
        if missing is not None and tx_id not in self._pool:
            raise missing

    async def pending(self, _: Nothing) -> int:
        """Return how many transactions wait in this node's pool."""
        return len(self._pool)

    async def total(self, _: Nothing) -> dict[str, int]:
        """Return how many transactions, failed ones and events the ledger has, and at which height."""
        head = self._ledger.head
        return {
            "height": head.height,
            "transactions": head.transactions,
            "failed": head.failed,
            "events": head.events,
        }
