"""RPC methods about who votes and who follows: validators, their changes, observers."""

from __future__ import annotations

from typing import Any

from chain.api.params import AboveHeight, Nothing
from chain.api.port import NodePort
from chain.api.render import validator_json
from chain.primitives.codec import encode

SET_CHANGES_PAGE = 16
"""Validator sets in an answer, each with its proof: of 100 validators about 30 kB."""


class MembershipMethods:
    """The RPC methods about validators and observers, over one node."""

    def __init__(self, node: NodePort) -> None:
        self._node, self._ledger = node, node.ledger

    async def validators(self, _: Nothing) -> list[dict[str, Any]]:
        """Return the validators of the next height, in the order in which they lead."""
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
        """Return the members among the peers that do not vote, with what the node knows of each."""
        voting = {item["key"] for item in await self.validators(Nothing())}
        return [peer for peer in self._node.status.peers() if peer["key"] not in voting]
