"""RPC methods about contracts: their views, sources and interfaces."""

from __future__ import annotations

from typing import Any

from chain.api.methods.bounds import STATE_BYTES_MAX
from chain.api.params import CallView, ContractName
from chain.api.port import NodePort, NotFound, ViewFailed
from chain.primitives.contractrecords import versions_of
from chain.primitives.errors import DecodeError, LimitError
from chain.primitives.jsonvalue import from_json, to_json
from chain.primitives.runtimeport import ARGS_BYTES_MAX, OK, RESULT_BYTES_MAX, Call, Outcome, map_key
from chain.primitives.values import Value, decode_value, encode_value

VIEW_GAS = 10_000_000


class ContractMethods:
    """The RPC methods about contracts, over one node."""

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
