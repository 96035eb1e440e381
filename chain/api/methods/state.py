"""RPC methods about entries of the state."""

from __future__ import annotations

from typing import Any

from chain.api.methods.bounds import PAGE_BYTES, STATE_BYTES_MAX
from chain.api.params import StateEntry, StateRange
from chain.api.port import NodePort
from chain.primitives.codec import encode
from chain.primitives.jsonvalue import from_json, to_json
from chain.primitives.runtimeport import map_key, var_key
from chain.primitives.values import Value, decode_value


class StateMethods:
    """The RPC methods about entries of the state, over one node."""

    def __init__(self, node: NodePort) -> None:
        self._ledger = node.ledger

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


def _key(key: Value) -> Value:
    """Return the key of a Map's entry: a JSON list stands for a tuple, since no key is a list."""
    return tuple([_key(part) for part in key]) if isinstance(key, list) else key


def _value_json(raw: bytes | None) -> dict[str, Any]:
    if raw is None:
        return {"value": None, "raw": None}
    return {"value": to_json(decode_value(raw, max_bytes=STATE_BYTES_MAX)), "raw": raw.hex()}
