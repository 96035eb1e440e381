"""The RPC methods, with the names that operators of this field know, and the parameters of each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from chain.api.params import (
    AboveHeight,
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
from chain.api.render import block_summary, entry_json, receipt_json, transaction_json, validator_json
from chain.api.replacing import while_whole
from chain.api.rpc import Method
from chain.ledger.block import Candidate, Receipt
from chain.ledger.deployed import running
from chain.ledger.explain import explain
from chain.ledger.genesis import genesis_to_json
from chain.ledger.ledger import Ledger
from chain.ledger.mempool import Mempool
from chain.ledger.refusals import Refused
from chain.primitives.codec import Value, decode_value, encode, encode_value
from chain.primitives.errors import AssentError, DecodeError
from chain.primitives.execution import OK, RESULT_BYTES_MAX, Call, Outcome, Runtime, map_key, var_key
from chain.primitives.jsonvalue import from_json, to_json

VIEW_GAS = 10_000_000
STATE_BYTES_MAX = 1_048_576


class NotFound(AssentError):
    """Nothing of that name or hash here: check it, or ask a node that is further on."""

    code = "not_found"


class CallFailed(AssentError):
    """A view that did not end ok: the text has its verdict, code and line."""

    code = "call_failed"


class Status(Protocol):
    """What a node says of itself."""

    def info(self) -> dict[str, Any]:
        """Return the facts of one line of `assent status`."""

    def consensus(self) -> dict[str, Any]:
        """Return what consensus is doing."""

    def peers(self) -> list[dict[str, Any]]:
        """Return one record a member."""

    def sync(self) -> dict[str, Any]:
        """Return where catch-up stands."""

    def evidence(self) -> list[dict[str, Any]]:
        """Return the contradictions of validators that this node has kept."""


class Waits(Protocol):
    """Wakes those who wait for a certified height."""

    async def wait_above(self, height: int) -> int:
        """Wait until the certified height exceeds `height`."""


class Node(Protocol):
    """What the methods need of a node."""

    @property
    def ledger(self) -> Ledger:
        """The ledger."""

    @property
    def pool(self) -> Mempool:
        """The pool."""

    @property
    def runtime(self) -> Runtime:
        """Runs views."""

    @property
    def status(self) -> Status:
        """Its own state."""

    @property
    def streams(self) -> Waits:
        """Its certified heights."""

    async def submit(self, encoded: Sequence[bytes]) -> list[Candidate | Refused]:
        """Take transactions into the pool."""


def method_table(node: Node) -> Mapping[str, Method]:
    """Return every method that a node answers."""
    blocks, transactions, state = _Blocks(node), _Transactions(node), _State(node)
    return while_whole(
        node.ledger,
        {
            "getBlockNumber": Method(Nothing, blocks.number),
            "getBlockByNumber": Method(AtHeight, blocks.by_number),
            "getBlockByHash": Method(ByHash, blocks.by_hash),
            "getHeader": Method(AtHeight, blocks.header),
            "getGenesis": Method(Nothing, blocks.genesis),
            "getSealerList": Method(Nothing, blocks.validators),
            "getSetChanges": Method(AboveHeight, blocks.set_changes),
            "getObserverList": Method(Nothing, blocks.observers),
            "getConsensusStatus": Method(Nothing, blocks.consensus),
            "getSyncStatus": Method(Nothing, blocks.sync),
            "getPeers": Method(Nothing, blocks.peers),
            "getNodeInfo": Method(Nothing, blocks.info),
            "getEvidence": Method(Nothing, blocks.evidence),
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

    def __init__(self, node: Node) -> None:
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
            raise self._ledger.read.holding.missing_header(params.height)
        return found

    async def by_hash(self, params: ByHash) -> dict[str, Any]:
        height = self._ledger.read.height_of(bytes.fromhex(params.hash))
        if height is None:
            raise NotFound(f"block {params.hash}: not on this node's ledger")
        return await self.by_number(AtHeight(height=height))

    async def header(self, params: AtHeight) -> dict[str, Any]:
        return {"proof": encode(self._ledger.prove.header(params.height)).hex()}

    async def genesis(self, _: Nothing) -> dict[str, Any]:
        return genesis_to_json(self._ledger.genesis)

    async def validators(self, _: Nothing) -> list[dict[str, Any]]:
        return [
            validator_json(item)
            for item in self._ledger.schedule.set_at(self._ledger.certified_height + 1).validators
        ]

    async def set_changes(self, params: AboveHeight) -> list[dict[str, Any]]:
        changes = self._ledger.prove.set_changes(params.aboveHeight)
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

    async def evidence(self, _: Nothing) -> list[dict[str, Any]]:
        return self._node.status.evidence()


class _Transactions:
    """Sending, and asking what became of what was sent."""

    def __init__(self, node: Node) -> None:
        self._node, self._ledger, self._pool = node, node.ledger, node.pool
        self._background: set[asyncio.Task[Any]] = set()
        self._explaining = asyncio.Lock()
        """One replay at a time: each may cost as much as a block."""

    async def send(self, params: SendOne) -> dict[str, Any]:
        raw = bytes.fromhex(params.transaction)
        if params.mode == "async":
            candidate = self._pool.prepare(raw)
            task = asyncio.create_task(self._node.submit([raw]))
            self._background.add(task)
            task.add_done_callback(self._background.discard)
            return {"id": candidate.id.hex()}
        (result,) = await self._node.submit([raw])
        if isinstance(result, Refused):
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
        results = await self._node.submit([bytes.fromhex(text) for text in params.transactions])
        return [
            {"error": {"code": result.code, "message": str(result)}}
            if isinstance(result, Refused)
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
                shown["proof"] = encode(self._ledger.prove.transaction(tx_id)).hex()
            return shown
        waiting = self._pool.get([tx_id])
        if not waiting:
            self._require_known(tx_id)
            return None
        return transaction_json(waiting[0].tx) | {"status": "pending", "height": None, "index": None}

    async def explain(self, params: ById) -> dict[str, Any]:
        """Run a transaction again on the state that it met, and say where and why it failed."""
        receipt = self._ledger.read.receipt(bytes.fromhex(params.id))
        if receipt is None:
            raise NotFound(f"transaction {params.id}: no receipt on this node's ledger; it may be on its way")
        async with self._explaining:
            outcome = await asyncio.to_thread(explain, self._ledger.read, self._node.runtime, receipt)
        return {
            "id": params.id,
            "height": receipt.height,
            "status": outcome.status,
            "code": outcome.code,
            "gasUsed": outcome.gas_used,
            "line": outcome.line,
            "why": outcome.why,
            "trace": [asdict(place) for place in outcome.trace],
        }

    async def receipt(self, params: ReceiptOf) -> dict[str, Any] | None:
        tx_id = bytes.fromhex(params.id)
        receipt = await self._wait(tx_id, params.waitMs)
        if receipt is None:
            self._require_known(tx_id)
            return None
        shown = receipt_json(receipt) | {"raw": encode(receipt).hex()}
        if params.withProof:
            proof = await asyncio.to_thread(self._ledger.prove.receipt, tx_id)
            shown["proof"] = encode(proof).hex()
        return shown

    def _require_known(self, tx_id: bytes) -> None:
        """Raise NotHeld when an older block, which is not here, may hold an id that does not wait."""
        missing = self._ledger.read.holding.missing_transaction(tx_id)
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
        try:
            async with asyncio.timeout(wait_ms / 1000 if wait_ms else None):
                while True:
                    certified = self._ledger.certified_height
                    receipt = self._ledger.read.receipt(tx_id)
                    if receipt is not None and receipt.height <= certified:
                        return receipt
                    if not wait_ms:
                        return None
                    await self._node.streams.wait_above(certified)
        except TimeoutError:
            return None


class _State:
    """Contracts, their state, events and histories."""

    def __init__(self, node: Node) -> None:
        self._node, self._ledger = node, node.ledger

    async def call(self, params: CallView) -> dict[str, Any]:
        args = from_json(params.args)
        if not isinstance(args, dict):
            raise DecodeError("args: expected an object of argument names and values")
        outcome = await asyncio.to_thread(self._view, params.contract, params.method, args)
        if outcome.status != OK:
            place = f" (line {outcome.line})" if outcome.line else ""
            what = (
                f"{params.contract}.{params.method}: {outcome.status} {outcome.code}{place} {outcome.detail}"
            )
            raise CallFailed(what.strip())
        value = decode_value(outcome.result, max_bytes=RESULT_BYTES_MAX) if outcome.result else None
        return {"result": to_json(value), "raw": encode_value(value).hex(), "gasUsed": outcome.gas_used}

    def _view(self, contract: str, method: str, args: dict[str, Value]) -> Outcome:
        with self._ledger.read.view() as view:
            call = Call(
                contract=contract,
                method=method,
                args=encode_value(args),
                sender=bytes(32),
                tx_id=bytes(32),
                gas_limit=VIEW_GAS,
                height=view.header.height,
                block_time=view.header.time,
                chain_id=self._ledger.chain_id,
            )
            return self._node.runtime.view(call, view.state)

    async def code(self, params: ContractName) -> dict[str, Any]:
        active = self._active(params.contract)
        source = self._read("lifecycle", "sources", active["source_hash"])
        return {"contract": params.contract, "source": source, "active": to_json(active)}

    async def abi(self, params: ContractName) -> Any:
        active = self._active(params.contract)
        proposal = self._read("lifecycle", "proposals", f"{params.contract}/{active['seq']}")
        if proposal is None:
            raise NotFound(
                f"contract {params.contract!r} is a system contract: see contracts/system/README.md"
            )
        return to_json(proposal["abi"])

    def _active(self, contract: str) -> dict[str, Any]:
        found: dict[str, Any] | None = self._read("lifecycle", "active", contract)
        if found is None:
            raise NotFound(f"contract {contract!r}: none of that name is in force")
        return running(found, self._ledger.head.height)

    def _read(self, contract: str, map_name: str, key: Value) -> Value:
        raw = self._ledger.read.state(contract, map_key(map_name, key))
        return None if raw is None else decode_value(raw, max_bytes=STATE_BYTES_MAX)

    async def entry(self, params: StateEntry) -> dict[str, Any]:
        key = var_key(params.var) if params.var else map_key(params.map or "", from_json(params.key))
        height = self._ledger.certified_height if params.height is None else params.height
        if not params.withProof:
            raw = self._ledger.read.state_at(params.contract, key, height)
            return {"height": height} | _value_json(raw)
        proved = self._ledger.prove.state(params.contract, key, height)
        return {"height": height, "proof": encode(proved).hex()} | _value_json(proved.value)

    async def range(self, params: StateRange) -> dict[str, Any]:
        prefix = params.map.encode() + b"/"
        after = None if params.after is None else bytes.fromhex(params.after)
        page = self._ledger.read.state_range(params.contract, prefix, after=after, limit=params.limit)
        entries = [
            {"key": key[len(prefix) :].hex(), "value": _value_json(raw)["value"], "raw": raw.hex()}
            for key, raw in page.rows
        ]
        return {"entries": entries, "next": None if page.next is None else page.next.hex()}

    async def events(self, params: EventQuery) -> dict[str, Any]:
        top = self._ledger.certified_height
        page = self._ledger.read.entries(
            subject=params.subject,
            contract=params.contract,
            name=params.name,
            first=params.fromHeight,
            last=top if params.toHeight is None else min(top, params.toHeight),
            limit=params.limit,
            after=None if params.after is None else bytes.fromhex(params.after),
        )
        entries = [entry_json(entry) for entry in page.entries]
        return {"entries": entries, "next": None if page.next is None else page.next.hex(), "height": top}

    async def history(self, params: History) -> dict[str, Any]:
        top = self._ledger.certified_height
        last = top if params.toHeight is None else min(top, params.toHeight)
        proved = await asyncio.to_thread(self._ledger.prove.history, params.subject, params.fromHeight, last)
        return {"height": last, "proof": encode(proved).hex()}


def _value_json(raw: bytes | None) -> dict[str, Any]:
    if raw is None:
        return {"value": None, "raw": None}
    return {"value": to_json(decode_value(raw, max_bytes=STATE_BYTES_MAX)), "raw": raw.hex()}
