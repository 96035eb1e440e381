"""The RPC methods, with the names that operators of this field know, and the parameters of each."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any

from chain.api.params import (
    AboveHeight,
    AfterEvidence,
    AtHeight,
    ByHash,
    ById,
    CallView,
    ContractName,
    EventQuery,
    History,
    Nothing,
    ReceiptOf,
    SendMany,
    SendOne,
    StateEntry,
    StateRange,
)
from chain.api.port import NodePort, NotFound
from chain.api.render import block_summary, decision_json, receipt_json, transaction_json, validator_json
from chain.api.replacing import while_whole
from chain.api.rpc import Method
from chain.api.state_methods import PAGE_BYTES, StateMethods
from chain.ledger.batch_executor import SKIPPED_BY_DECISION
from chain.ledger.block import DecodedTransaction, Receipt
from chain.ledger.explain import explain
from chain.ledger.genesis import genesis_to_json
from chain.ledger.pruned import NotHeld
from chain.mempool.refusals import TransactionRefused
from chain.primitives.codec import encode
from chain.primitives.runtimeport import Outcome

SET_CHANGES_PAGE = 16
"""Validator sets in an answer, each with its proof: of 100 validators about 30 kB."""
EVIDENCE_PAGE = 16
"""Contradictions in an answer: each has two signatures that are checked again, 80 µs together."""
SUBMIT_PIECE = 100
"""Transactions that are decoded in one go: two milliseconds of the loop."""


def method_table(node: NodePort) -> Mapping[str, Method]:
    """Return every method that a node answers."""
    blocks, transactions, state = _Blocks(node), _Transactions(node), StateMethods(node)
    return while_whole(
        node.ledger,
        {
            "getBlockNumber": Method(Nothing, blocks.number),
            "getBlockByNumber": Method(AtHeight, blocks.by_number),
            "getBlockByHash": Method(ByHash, blocks.by_hash),
            "getHeader": Method(AtHeight, blocks.header),
            "getGenesis": Method(Nothing, blocks.genesis),
            "getSealerList": Method(Nothing, blocks.validators),
            "getSkipDecision": Method(AtHeight, blocks.skip),
            "getSetChanges": Method(AboveHeight, blocks.set_changes),
            "getObserverList": Method(Nothing, blocks.observers),
            "getConsensusStatus": Method(Nothing, blocks.consensus),
            "getSyncStatus": Method(Nothing, blocks.sync),
            "getPeers": Method(Nothing, blocks.peers),
            "getNodeInfo": Method(Nothing, blocks.info),
            "getEvidence": Method(AfterEvidence, blocks.evidence),
            "sendTransaction": Method(SendOne, transactions.send),
            "sendTransactions": Method(SendMany, transactions.send_many),
            "getTransaction": Method(ById, transactions.get),
            "getTransactionReceipt": Method(ReceiptOf, transactions.receipt),
            "explainTransaction": Method(ById, transactions.explain),
            "getPendingTxSize": Method(Nothing, transactions.pending),
            "getTotalTransactionCount": Method(Nothing, transactions.total),
            "call": Method(CallView, state.call),
            "getCode": Method(ContractName, state.code),
            "getABI": Method(ContractName, state.abi),
            "getState": Method(StateEntry, state.entry),
            "getStateRange": Method(StateRange, state.range),
            "getEvents": Method(EventQuery, state.events),
            "getHistory": Method(History, state.history),
        },
    )


class _Blocks:
    """Blocks, membership, and the node itself."""

    def __init__(self, node: NodePort) -> None:
        self._node, self._ledger = node, node.ledger

    async def number(self, _: Nothing) -> int:
        return self._ledger.certified_height

    async def by_number(self, params: AtHeight) -> dict[str, Any]:
        if params.height > self._ledger.certified_height:
            raise NotFound(
                f"height {params.height}: the newest certified one is {self._ledger.certified_height}"
            )
        found = block_summary(self._ledger, params.height)
        if found is None:
            raise self._ledger.read.pruned.missing_header(params.height)
        return found

    async def by_hash(self, params: ByHash) -> dict[str, Any]:
        height = self._ledger.read.height_of(bytes.fromhex(params.hash))
        if height is None:
            raise NotFound(f"block {params.hash}: not on this node's ledger")
        return await self.by_number(AtHeight(height=height))

    async def header(self, params: AtHeight) -> dict[str, Any]:
        return {"proof": encode(self._ledger.prove.header(params.height)).hex()}

    async def skip(self, params: AtHeight) -> dict[str, Any] | None:
        """Return the decision that kept transactions of a height from running; None when there was none."""
        header = self._ledger.read.header(params.height)
        if header is None:
            raise self._ledger.read.pruned.missing_header(params.height)
        decision = self._ledger.read.skip(params.height) if header.skip else None
        if header.skip and decision is None:
            raise NotHeld(
                f"skip decision of height {params.height}: this node began above it; ask another node"
            )
        return None if decision is None else decision_json(decision) | {"proof": encode(decision).hex()}

    async def genesis(self, _: Nothing) -> dict[str, Any]:
        return self._genesis

    @cached_property
    def _genesis(self) -> dict[str, Any]:
        return genesis_to_json(self._ledger.genesis)

    async def validators(self, _: Nothing) -> list[dict[str, Any]]:
        return [
            validator_json(item)
            for item in self._ledger.schedule.set_at(self._ledger.certified_height + 1).validators
        ]

    async def set_changes(self, params: AboveHeight) -> list[dict[str, Any]]:
        """Return the next validator sets above a height, a page of them; nothing when there are no more."""
        changes = self._ledger.prove.set_changes(params.aboveHeight, limit=SET_CHANGES_PAGE)
        return [
            {
                "first": change.first,
                "validators": [key.hex() for key in change.validators],
                "proof": encode(change).hex(),
            }
            for change in changes
        ]

    async def observers(self, _: Nothing) -> list[dict[str, Any]]:
        voting = {item["key"] for item in await self.validators(Nothing())}
        return [peer for peer in self._node.status.peers() if peer["key"] not in voting]

    async def consensus(self, _: Nothing) -> dict[str, Any]:
        return self._node.status.consensus()

    async def sync(self, _: Nothing) -> dict[str, Any]:
        return self._node.status.sync()

    async def peers(self, _: Nothing) -> list[dict[str, Any]]:
        return self._node.status.peers()

    async def info(self, _: Nothing) -> dict[str, Any]:
        return self._node.status.info()

    async def evidence(self, params: AfterEvidence) -> list[dict[str, Any]]:
        """Return the next contradictions by key and kind, a page of them; nothing when there are no more."""
        return self._node.status.evidence(params.after, EVIDENCE_PAGE, PAGE_BYTES)


class _Transactions:
    """Sending, and asking what became of what was sent."""

    def __init__(self, node: NodePort) -> None:
        self._node, self._ledger, self._pool = node, node.ledger, node.pool
        self._background: set[asyncio.Task[Any]] = set()

    async def send(self, params: SendOne) -> dict[str, Any]:
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
        receipt = await self._wait(result.id, params.timeoutMs)
        shown = None if receipt is None else receipt_json(receipt)
        return {
            "id": result.id.hex(),
            "outcome": "unknown" if shown is None else "certified",
            "receipt": shown,
        }

    async def send_many(self, params: SendMany) -> list[dict[str, Any]]:
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
        tx_id = bytes.fromhex(params.id)
        receipt = await self._wait(tx_id, params.waitMs)
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
        return len(self._pool)

    async def total(self, _: Nothing) -> dict[str, int]:
        head = self._ledger.head
        return {
            "height": head.height,
            "transactions": head.transactions,
            "failed": head.failed,
            "events": head.events,
        }

    async def _wait(self, tx_id: bytes, wait_ms: int) -> Receipt | None:
        """Return a receipt once its height is certified, None if that takes longer than `wait_ms`."""
        certified = self._ledger.certified_height
        receipt = self._certified_receipt(tx_id, certified)
        if receipt is not None or not wait_ms:
            return receipt
        with contextlib.suppress(TimeoutError):
            async with self._node.waits.at_most(wait_ms / 1000):
                while receipt is None:
                    certified = await self._node.streams.wait_above(certified)
                    receipt = self._certified_receipt(tx_id, certified)
        return receipt

    def _certified_receipt(self, tx_id: bytes, certified: int) -> Receipt | None:
        receipt = self._ledger.read.receipt(tx_id)
        return receipt if receipt is not None and receipt.height <= certified else None
