"""Who asks: the principal of a request, and what it may.

A port without principals (`rpc.principals = false`, on loopback alone) takes whoever reaches it for its own
operator. With them, a request says who sends it in its `Authorization`: the operator of this host (a token
that the node writes for itself), a program (`chain.api.tokens`) or a member's key (`chain.api.sessions`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from chain.api.head import RPC, SOCKET, BadHead, RequestHead
from chain.api.tokens import TokenFile, secret_hash
from chain.primitives.errors import AssentError
from chain.primitives.files import replace_file

SCHEME = "Bearer "
STRANGER_BODY_MAX = 16_384
"""Bytes of a request by nobody in particular: enough to prove who one is."""
OPERATOR = "operator"
METRICS = "/metrics"


class AccessScope(Enum):
    """What a principal may do; each RPC method states one (`chain.api.methods.table`)."""

    OPEN = "open"
    """Needs no principal: proving who one is."""
    READ = "read"
    """Blocks, state, contracts, events as they come."""
    SUBMIT = "submit"
    """Handing in transactions, each of which is signed by a member's key."""
    OPERATE = "operate"
    """What the node does and whom it talks to; its metrics."""
    AUDIT = "audit"
    """Histories of subjects with proofs, traces, evidence."""


GRANTABLE = (AccessScope.READ, AccessScope.SUBMIT, AccessScope.OPERATE, AccessScope.AUDIT)
ALL_SCOPES = frozenset(GRANTABLE)


class Unauthorized(AssentError):
    """A call that needs a principal: prove a member's key, or send a token (docs/rpc.md)."""

    code = "unauthorized"


class Forbidden(AssentError):
    """A call beyond the scopes of its principal: ask the node's operator for another token."""

    code = "forbidden"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever a request is from."""

    name: str
    """As logs and metrics have it, such as "token:ci" or "member:bank:1f0a…"."""
    client: str
    """Whose bounds it uses up: its name; "" where bounds go by address."""
    scopes: frozenset[AccessScope]
    proof: bytes = b""
    """Hash of the secret that it showed."""

    def require(self, scope: AccessScope) -> None:
        """Raise Unauthorized or Forbidden unless it has a scope."""
        if scope is AccessScope.OPEN or scope in self.scopes:
            return
        if not self.scopes:
            raise Unauthorized(
                "this node answers principals alone: prove a member's key (assent … --key FILE), or send a "
                "token that its operator made (assent node token new)"
            )
        raise Forbidden(
            f"{self.name} may {', '.join(sorted(item.value for item in self.scopes))}, and this needs "
            f"{scope.value!r}: ask the node's operator for a token with it"
        )


LOCAL = Principal("local", "", ALL_SCOPES)
NOBODY = Principal("nobody", "", frozenset())


class Sessions(Protocol):
    """Members' sessions (`chain.api.sessions`)."""

    def find(self, proof: bytes) -> Principal | None:
        """Return whose session has a secret of this hash; None when it is over."""

    def sweep(self) -> None:
        """Forget what is over."""


class Principals(Protocol):
    """Tells who asks."""

    def of(self, authorization: str | None) -> Principal | None:
        """Return who sends this `Authorization`; None for one that means nobody here."""

    def holds(self, principal: Principal) -> bool:
        """Tell whether a principal that was let in is still one."""

    def requests_per_second(self, client: str) -> int | None:
        """Return the bound that is set for a principal; None without one."""

    def refresh(self) -> None:
        """Look whether anything has changed; a few times a second."""


class Everybody:
    """Whoever reaches the port is its operator: on loopback, unless configured otherwise."""

    def of(self, _authorization: str | None) -> Principal:
        """Return the one principal."""
        return LOCAL

    def holds(self, _principal: Principal) -> bool:
        """Tell that it stays."""
        return True

    def requests_per_second(self, _client: str) -> None:
        """Return no bound."""

    def refresh(self) -> None:
        """Do nothing."""


class KnownPrincipals:
    """The operator, programs with tokens, and members with sessions."""

    def __init__(
        self, tokens: TokenFile, operator_secret: str, sessions: Sessions, wall_ms: Callable[[], int]
    ) -> None:
        self._tokens, self._sessions, self._wall_ms = tokens, sessions, wall_ms
        self._operator = Principal(OPERATOR, OPERATOR, ALL_SCOPES, secret_hash(operator_secret))

    def of(self, authorization: str | None) -> Principal | None:
        """Return who sends this `Authorization`, nobody in particular without one."""
        if authorization is None:
            return NOBODY
        scheme, secret = authorization[: len(SCHEME)], authorization[len(SCHEME) :].strip()
        if scheme.lower() != SCHEME.lower() or not secret.isascii():
            return None
        return self._find(secret_hash(secret))

    def holds(self, principal: Principal) -> bool:
        """Tell whether its secret still means the same."""
        return principal is NOBODY or self._find(principal.proof) == principal

    def requests_per_second(self, client: str) -> int | None:
        """Return the bound of a token that has one."""
        return self._tokens.requests_per_second(client)

    def refresh(self) -> None:
        """Read the file of tokens again if it changed, and forget what is over."""
        self._tokens.refresh()
        self._sessions.sweep()

    def _find(self, proof: bytes) -> Principal | None:
        """Secrets are random and only hashes are looked up, so the time that it takes tells nothing."""
        if proof == self._operator.proof:
            return self._operator
        token = self._tokens.find(proof)
        if token is None:
            return self._sessions.find(proof)
        if token.expires <= self._wall_ms():
            return None
        return Principal(token.client, token.client, frozenset(map(AccessScope, token.scopes)), proof)


def admit(principal: Principal | None, request: RequestHead) -> Principal:
    """Return who may go on with a request; raise BadHead for what its head alone shows to be refused."""
    if principal is None:
        raise BadHead(401, "Authorization: unknown here, expired or withdrawn; ask the node's operator")
    try:
        if request.path == SOCKET:
            principal.require(AccessScope.READ)
        elif request.path == METRICS:
            principal.require(AccessScope.OPERATE)
        elif request.path == RPC and request.length > STRANGER_BODY_MAX and not principal.scopes:
            principal.require(AccessScope.READ)
    except Unauthorized as error:
        raise BadHead(401, str(error)) from None
    except Forbidden as error:
        raise BadHead(403, str(error)) from None
    return principal


def write_operator_token(path: Path) -> str:
    """Write a fresh secret for whoever may read the node's folder; return it (FileTrouble)."""
    secret = os.urandom(32).hex()
    replace_file(path, f"{secret}\n".encode())
    return secret
