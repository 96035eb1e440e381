"""RPC methods about blocks, headers, skip decisions and the genesis."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from chain.api.params import AtHeight, ByHash, Nothing
from chain.api.port import NodePort, NotFound
from chain.api.render import block_summary, decision_json
from chain.ledger.genesis import genesis_to_json
from chain.ledger.pruned import NotHeld
from chain.primitives.codec import encode


class BlockMethods:
    """The RPC methods about blocks, over one node."""

    def __init__(self, node: NodePort) -> None:
        self._ledger = node.ledger

    async def number(self, _: Nothing) -> int:
        """Return the newest certified height."""
        return self._ledger.certified_height

    async def by_number(self, params: AtHeight) -> dict[str, Any]:
        """Return a height's header, its transactions' ids and who certified it; raise NotFound, NotHeld."""
        if params.height > self._ledger.certified_height:
            raise NotFound(
                f"height {params.height}: the newest certified one is {self._ledger.certified_height}"
            )
        found = block_summary(self._ledger, params.height)
        if found is None:
            raise self._ledger.read.pruned.missing_header(params.height)
        return found

    async def by_hash(self, params: ByHash) -> dict[str, Any]:
        """Return the block whose header has a hash; raise NotFound where no block here has."""
        height = self._ledger.read.height_of(bytes.fromhex(params.hash))
        if height is None:
            raise NotFound(f"block {params.hash}: not on this node's ledger")
        return await self.by_number(AtHeight(height=height))

    async def header(self, params: AtHeight) -> dict[str, Any]:
        """Return the proof of a header, encoded, in hexadecimal digits."""
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
        """Return the genesis, as its file has it."""
        return self._genesis

    @cached_property
    def _genesis(self) -> dict[str, Any]:
        return genesis_to_json(self._ledger.genesis)
