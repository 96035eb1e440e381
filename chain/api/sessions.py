"""Sessions of members: whoever proves one of their keys to this node gets a secret that stands for it.

A challenge is kept by whoever asks for it, not here, so asking costs this node nothing: it knows its own by
a code that it made over it. One that was answered is remembered until it is over: no answer counts twice.
"""

from __future__ import annotations

import hmac
import os
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from chain.api.principals import ALL_SCOPES, AccessScope, Principal, Unauthorized
from chain.api.tokens import secret_hash
from chain.ledger.ledger import Ledger
from chain.ledger.signers import signer_in
from chain.ledger.state.state import NewestState
from chain.primitives.contractrecords import KeyHolder
from chain.primitives.crypto import ZERO_HASH, verify
from chain.primitives.errors import LimitError
from chain.primitives.sessionproof import CHALLENGE_BYTES, session_digest

CHALLENGE_MS, SESSION_MS = 60_000, 3_600_000
SESSIONS_PER_KEY_MAX = 64
"""Of one key; the oldest ends when there is another: commands open one each and leave it."""
OPENED_PER_KEY_MAX = 600
"""Sessions that one key opens in `CHALLENGE_MS`."""
MEMBER_SCOPES = frozenset({AccessScope.READ, AccessScope.SUBMIT, AccessScope.AUDIT})
ADMIN = "admin"
_CODE_BYTES = 16


@dataclass(frozen=True, slots=True)
class _Session:
    """One session."""

    key: bytes
    expires: int
    """Milliseconds since 1970."""


class MemberSessions:
    """The sessions of one node."""

    def __init__(
        self, ledger: Ledger, node: bytes, admitted: Literal["own", "all"], wall_ms: Callable[[], int]
    ) -> None:
        """`node` is its public key; `admitted`: do the keys of its organisation count, or of all."""
        self._ledger, self.node, self._admitted, self._wall_ms = ledger, node, admitted, wall_ms
        self.certificate = ZERO_HASH
        """SHA-256 of the certificate that the port shows."""
        self._secret = os.urandom(32)
        self._sessions: dict[bytes, _Session] = {}
        self._by_key: dict[bytes, OrderedDict[bytes, None]] = {}
        self._known: dict[bytes, Principal] = {}
        self._known_org, self._known_at = "", -1
        """What the ledger says of sessions and of this node, and at which height it said so."""
        self._answered: dict[bytes, bytes] = {}
        """Challenge -> the key that answered it, until it is over: no other key opens one by it."""
        self._opened: Counter[bytes] = Counter()
        """Key -> how many of them it answered."""

    def challenge(self) -> tuple[bytes, int]:
        """Return a fresh challenge, and when it is over (milliseconds since 1970)."""
        expires = self._wall_ms() + CHALLENGE_MS
        start = expires.to_bytes(8) + os.urandom(CHALLENGE_BYTES - 8 - _CODE_BYTES)
        return start + self._code(start), expires

    def open(self, key: bytes, challenge: bytes, signature: bytes) -> tuple[str, int, Principal]:
        """Return the secret of a new session, when it is over, and whose it is; raise Unauthorized."""
        self._check_challenge(key, challenge)
        signed = session_digest(self._ledger.chain_id, self.node, self.certificate, challenge)
        self._look()
        holder = signer_in(NewestState(self._ledger.store), key)
        if not verify(key, signed, signature) or holder is None or not self._admits(holder):
            raise Unauthorized(
                f"key {key.hex()[:16]}: no session: it must be a key, in force, of a member that this node "
                "answers (rpc.members), and sign this node's challenge for this chain and certificate"
            )
        self._answered[challenge] = key
        self._opened[key] += 1
        secret = os.urandom(32).hex()
        proof, expires = secret_hash(secret), self._wall_ms() + SESSION_MS
        self._sessions[proof] = _Session(key, expires)
        of_key = self._by_key.setdefault(key, OrderedDict())
        of_key[proof] = None
        if len(of_key) > SESSIONS_PER_KEY_MAX:
            self._end(next(iter(of_key)))
        return secret, expires, self._principal(holder, key, proof)

    def find(self, proof: bytes) -> Principal | None:
        """Return whose session has a secret of this hash; None when it, or its key, is over."""
        session = self._sessions.get(proof)
        if session is None:
            return None
        if session.expires <= self._wall_ms():
            self._end(proof)
            return None
        self._look()
        found = self._known.get(proof)
        if found is None:
            holder = signer_in(NewestState(self._ledger.store), session.key)
            if holder is None or not self._admits(holder):
                self._end(proof)
                return None
            found = self._known[proof] = self._principal(holder, session.key, proof)
        return found

    def sweep(self) -> None:
        """Forget sessions and challenges that are over."""
        now = self._wall_ms()
        for proof in [proof for proof, session in self._sessions.items() if session.expires <= now]:
            self._end(proof)
        self._answered = {
            challenge: key for challenge, key in self._answered.items() if _end_of(challenge) > now
        }
        self._opened = Counter(self._answered.values())

    def _check_challenge(self, key: bytes, challenge: bytes) -> None:
        now = self._wall_ms()
        start, code = challenge[:-_CODE_BYTES], challenge[-_CODE_BYTES:]
        ours = len(challenge) == CHALLENGE_BYTES and hmac.compare_digest(code, self._code(start))
        if not ours or _end_of(challenge) <= now or challenge in self._answered:
            raise Unauthorized(
                f"challenge {challenge.hex()[:16]}: not of this node, answered already, or older than "
                f"{CHALLENGE_MS // 1_000} s: ask for another (getChallenge)"
            )
        if self._opened[key] >= OPENED_PER_KEY_MAX:
            raise LimitError(
                f"key {key.hex()[:16]}: {OPENED_PER_KEY_MAX} sessions were opened within "
                f"{CHALLENGE_MS // 1_000} s; go on with one of them (it lasts {SESSION_MS // 60_000} minutes)"
            )

    def _admits(self, holder: KeyHolder) -> bool:
        return not holder.refusal and (self._admitted == "all" or holder.org == self._known_org)

    def _look(self) -> None:
        """Ask the ledger anew once there is another block."""
        height = self._ledger.head.height
        if height == self._known_at:
            return
        self._known_at = height
        self._known.clear()
        nodes = self._ledger.schedule.nodes()
        self._known_org = next((item.node.org for item in nodes if item.node.public_key == self.node), "")

    def _principal(self, holder: KeyHolder, key: bytes, proof: bytes) -> Principal:
        name = f"member:{holder.org}:{key.hex()[:8]}"
        is_ours = ADMIN in holder.roles and holder.org == self._known_org
        return Principal(name, name, ALL_SCOPES if is_ours else MEMBER_SCOPES, proof)

    def _end(self, proof: bytes) -> None:
        session = self._sessions.pop(proof)
        self._known.pop(proof, None)
        of_key = self._by_key[session.key]
        del of_key[proof]
        if not of_key:
            del self._by_key[session.key]

    def _code(self, start: bytes) -> bytes:
        return hmac.digest(self._secret, start, "sha256")[:_CODE_BYTES]


def _end_of(challenge: bytes) -> int:
    """Return when a challenge is over, in milliseconds since 1970."""
    return int.from_bytes(challenge[:8])
