"""RPC method getEvents: pages of certified events."""

from __future__ import annotations

from typing import Any

from chain.api.methods.bounds import PAGE_BYTES
from chain.api.params import EventQuery
from chain.api.port import NodePort
from chain.api.render import entry_json


class EventMethods:
    """The RPC method about events, over one node."""

    def __init__(self, node: NodePort) -> None:
        self._ledger = node.ledger

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
