"""RPC method getHistory: the events of a subject, with the proof that they are all."""

from __future__ import annotations

from typing import Any

from chain.api.params import History
from chain.api.port import NodePort
from chain.primitives.codec import encode

HISTORY_BYTES = 1_048_576
"""A proved history ends with the height that takes it here; the rest is another proof."""


class HistoryMethods:
    """The RPC method about histories, over one node."""

    def __init__(self, node: NodePort) -> None:
        self._node, self._ledger = node, node.ledger

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
