"""RPC methods about the node itself: consensus, synchronisation, peers, evidence that it holds."""

from __future__ import annotations

from typing import Any

from chain.api.methods.bounds import PAGE_BYTES
from chain.api.params import AfterEvidence, Nothing
from chain.api.port import NodePort

EVIDENCE_PAGE = 16
"""Contradictions in an answer: each has two signatures that are checked again, 80 µs together."""


class StatusMethods:
    """The RPC methods about one node itself."""

    def __init__(self, node: NodePort) -> None:
        self._status = node.status

    async def consensus(self, _: Nothing) -> dict[str, Any]:
        """Return what consensus does at this node: height, view, phase, and who is missing."""
        return self._status.consensus()

    async def sync(self, _: Nothing) -> dict[str, Any]:
        """Return how far this node is behind, and what it fetches."""
        return self._status.sync()

    async def peers(self, _: Nothing) -> list[dict[str, Any]]:
        """Return what this node knows of each peer."""
        return self._status.peers()

    async def info(self, _: Nothing) -> dict[str, Any]:
        """Return what this node is: key, role, chain, heights, and why it stands still."""
        return self._status.info()

    async def evidence(self, params: AfterEvidence) -> list[dict[str, Any]]:
        """Return the next contradictions by key and kind, a page of them; nothing when there are no more."""
        return self._status.evidence(params.after, EVIDENCE_PAGE, PAGE_BYTES)
