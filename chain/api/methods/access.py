"""RPC methods by which a member proves a key to this node."""

from __future__ import annotations

from typing import Any

from chain.api.params import Nothing, SessionRequest
from chain.api.port import NodePort, NotFound
from chain.api.sessions import MemberSessions


class AccessMethods:
    """The RPC methods about who asks, over one node."""

    def __init__(self, node: NodePort) -> None:
        self._node = node

    async def challenge(self, _: Nothing) -> dict[str, Any]:
        """Answer `getChallenge`: what a member's key is to sign within a minute."""
        sessions = self._sessions()
        challenge, expires = sessions.challenge()
        return {
            "challenge": challenge.hex(),
            "expires": expires,
            "chainId": self._node.ledger.chain_id.hex(),
            "node": sessions.node.hex(),
        }

    async def session(self, params: SessionRequest) -> dict[str, Any]:
        """Answer `openSession`: the token of a session, for a challenge that a member's key signed."""
        secret, expires, principal = self._sessions().open(
            bytes.fromhex(params.key), bytes.fromhex(params.challenge), bytes.fromhex(params.signature)
        )
        return {
            "token": secret,
            "expires": expires,
            "principal": principal.name,
            "scopes": sorted(scope.value for scope in principal.scopes),
        }

    def _sessions(self) -> MemberSessions:
        found = self._node.sessions
        if found is None:
            raise NotFound("sessions: this node answers whoever reaches it (rpc.principals = false)")
        return found
