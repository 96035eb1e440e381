"""RPC methods about contracts, their state, events and histories."""

from __future__ import annotations

from typing import Any

from chain.api.params import (
    CallView,
    ContractName,
    EventQuery,
    History,
    StateEntry,
    StateRange,
)
from chain.api.port import NodePort, NotFound, ViewFailed
from chain.api.render import entry_json
from chain.primitives.codec import encode
from chain.primitives.contractrecords import versions_of
from chain.primitives.errors import DecodeError, LimitError
from chain.primitives.jsonvalue import from_json, to_json
from chain.primitives.runtimeport import (
    ARGS_BYTES_MAX,
    OK,
    RESULT_BYTES_MAX,
    Call,
    Outcome,
    map_key,
    var_key,
)
from chain.primitives.values import Value, decode_value, encode_value

VIEW_GAS = 10_000_000
STATE_BYTES_MAX = 1_048_576
PAGE_BYTES = 262_144
"""A page of state or events ends here: making it keeps the loop for some milliseconds."""
HISTORY_BYTES = 1_048_576
"""A proved history ends with the height that takes it here; the rest is another proof."""


class StateMethods:
    """The RPC methods about contracts, their state, events and histories, over one node."""

    def __init__(self, node: NodePort) -> None:
        self._node, self._ledger = node, node.ledger

    async def call(self, params: CallView) -> dict[str, Any]:
        """Answer `call`: run a view on the newest state in a thread; raise CallFailed unless it ends ok."""
        args = from_json(params.args)
        if not isinstance(args, dict):
            raise DecodeError("args: expected an object of argument names and values")
        encoded = encode_value(args)
        if len(encoded) > ARGS_BYTES_MAX:
            raise LimitError(f"args: {len(encoded)} bytes, at most {ARGS_BYTES_MAX}, as in a transaction")
        outcome = await self._node.lane.run(lambda: self._view(params.contract, params.method, encoded))
        if outcome.status != OK:
            place = f" (line {outcome.line})" if outcome.line else ""
            what = (
                f"{params.contract}.{params.method}: {outcome.status} {outcome.code}{place} {outcome.detail}"
            )
            raise ViewFailed(what.strip(), outcome.code or outcome.status)
        value = decode_value(outcome.result, max_bytes=RESULT_BYTES_MAX) if outcome.result else None
        return {"result": to_json(value), "raw": encode_value(value).hex(), "gasUsed": outcome.gas_used}

    def _view(self, contract: str, method: str, args: bytes) -> Outcome:
        with self._ledger.read.view() as view:
            call = Call(
                contract=contract,
                method=method,
                args=args,
                sender=bytes(32),
                tx_id=bytes(32),
                gas_limit=VIEW_GAS,
                height=view.header.height,
                block_time=view.header.time,
                chain_id=self._ledger.chain_id,
            )
            return self._node.runtime.view(call, view.state)

    async def code(self, params: ContractName) -> dict[str, Any]:
        """Answer `getCode`: return the source in force, with its entry in `lifecycle`; raise NotFound."""
        active = self._active(params.contract)
        source = self._read("lifecycle", "sources", active["source_hash"])
        return {"contract": params.contract, "source": source, "active": to_json(active)}

    async def abi(self, params: ContractName) -> Any:
        """Answer `getABI`: return the methods that the contract's proposal declared; raise NotFound."""
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
        return versions_of(found).at(self._ledger.head.height)

    def _read(self, contract: str, map_name: str, key: Value) -> Value:
        raw = self._ledger.read.state(contract, map_key(map_name, key))
        return None if raw is None else decode_value(raw, max_bytes=STATE_BYTES_MAX)

    async def entry(self, params: StateEntry) -> dict[str, Any]:
        """Answer `getState`: return one entry at a height, with its proof if asked; raise NotHeld."""
        key = var_key(params.var) if params.var else map_key(params.map or "", _key(from_json(params.key)))
        height = self._ledger.certified_height if params.height is None else params.height
        if not params.withProof:
            raw = self._ledger.read.state_at(params.contract, key, height)
            return {"height": height} | _value_json(raw)
        proved = self._ledger.prove.state(params.contract, key, height)
        return {"height": height, "proof": encode(proved).hex()} | _value_json(proved.value)

    async def range(self, params: StateRange) -> dict[str, Any]:
        """Answer `getStateRange`: return a page of a Map in key order, and where the next one starts."""
        prefix = params.map.encode() + b"/"
        after = None if params.after is None else bytes.fromhex(params.after)
        page = self._ledger.read.state_range(
            params.contract, prefix, after=after, limit=params.limit, max_bytes=PAGE_BYTES
        )
        entries = [
            {"key": key[len(prefix) :].hex(), "value": _value_json(raw)["value"], "raw": raw.hex()}
            for key, raw in page.rows
        ]
        return {"entries": entries, "next": None if page.next is None else page.next.hex()}

    async def events(self, params: EventQuery) -> dict[str, Any]:
        """Answer `getEvents`: return a page of certified events, and where the next one starts."""
        top = self._ledger.certified_height
        page = self._ledger.read.entries(
            subject=params.subject,
            contract=params.contract,
            name=params.name,
            first=params.fromHeight,
            last=top if params.toHeight is None else min(top, params.toHeight),
            limit=params.limit,
            max_bytes=PAGE_BYTES,
            after=None if params.after is None else bytes.fromhex(params.after),
        )
        entries = [entry_json(entry) for entry in page.entries]
        return {"entries": entries, "next": None if page.next is None else page.next.hex(), "height": top}

    async def history(self, params: History) -> dict[str, Any]:
        """Answer `getHistory`: return a subject's events with the proof that they are all."""
        top = self._ledger.certified_height
        last = top if params.toHeight is None else min(top, params.toHeight)

        def prove() -> dict[str, Any]:
            proved = self._ledger.prove.history(
                params.subject, params.fromHeight, last, max_bytes=HISTORY_BYTES
            )
            return {"height": proved.last, "proof": encode(proved).hex()}

        return await self._node.lane.run(prove)


def _key(key: Value) -> Value:
    """Return the key of a Map's entry: a JSON list stands for a tuple, since no key is a list."""
    return tuple([_key(part) for part in key]) if isinstance(key, list) else key


def _value_json(raw: bytes | None) -> dict[str, Any]:
    if raw is None:
        return {"value": None, "raw": None}
    return {"value": to_json(decode_value(raw, max_bytes=STATE_BYTES_MAX)), "raw": raw.hex()}
