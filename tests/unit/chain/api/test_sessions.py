"""A member's key opens a session at one node, for one chain and certificate, once a challenge."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from chain.api.principals import ALL_SCOPES, Unauthorized
from chain.api.sessions import (
    CHALLENGE_MS,
    MEMBER_SCOPES,
    OPENED_PER_KEY_MAX,
    SESSION_MS,
    SESSIONS_PER_KEY_MAX,
    MemberSessions,
)
from chain.api.tokens import secret_hash
from chain.ledger.testing import ToyChain, toy_key
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import LimitError
from chain.primitives.sessionproof import session_digest

NODE = toy_key("bank-node").public
CERTIFICATE = b"\7" * 32


@dataclass
class Place:
    """A node of the bank, with a clock of its own."""

    chain: ToyChain = field(default_factory=ToyChain)
    now: int = 1_000
    admitted: str = "own"

    def __post_init__(self) -> None:
        self.chain.add(self.chain.govern(["bank-node", "bureau-node", "registry-node", "regulator-node"]))
        self.sessions = self.another()

    def another(self, node: bytes = NODE) -> MemberSessions:
        made = MemberSessions(self.chain.ledger, node, self.admitted, lambda: self.now)  # type: ignore[arg-type]
        made.certificate = CERTIFICATE
        return made

    def signed(self, key: PrivateKey, challenge: bytes, **other: bytes) -> bytes:
        parts = {"chain_id": self.chain.genesis.chain_id, "node": NODE, "certificate": CERTIFICATE} | other
        return key.sign(session_digest(challenge=challenge, **parts))

    def opened(self, org: str = "bank") -> bytes:
        """Open a session with an organisation's key; the hash of its secret."""
        challenge, _ = self.sessions.challenge()
        key = toy_key(org)
        return secret_hash(self.sessions.open(key.public, challenge, self.signed(key, challenge))[0])


def test_a_key_of_the_nodes_organisation_opens_a_session_with_all_scopes() -> None:
    place = Place()
    found = place.sessions.find(place.opened())
    assert found is not None
    assert found.name == f"member:bank:{toy_key('bank').public.hex()[:8]}"
    assert found.scopes == ALL_SCOPES


def test_a_key_of_another_member_opens_one_only_where_all_are_admitted_and_never_operates() -> None:
    with pytest.raises(Unauthorized, match=r"rpc\.members"):
        Place().opened("bureau")
    place = Place(admitted="all")
    found = place.sessions.find(place.opened("bureau"))
    assert found is not None
    assert found.scopes == MEMBER_SCOPES


@pytest.mark.parametrize("other", ["chain_id", "node", "certificate", "challenge"])
def test_a_signature_for_anything_else_opens_nothing(other: str) -> None:
    place = Place()
    challenge, _ = place.sessions.challenge()
    key = toy_key("bank")
    wrong = b"\1" * len(challenge) if other == "challenge" else challenge
    signature = place.signed(key, wrong, **({} if other == "challenge" else {other: b"\1" * 32}))
    with pytest.raises(Unauthorized, match="no session"):
        place.sessions.open(key.public, challenge, signature)


def test_a_stranger_opens_nothing_and_leaves_nothing_behind() -> None:
    place = Place()
    stranger = toy_key("stranger")
    for _ in range(5):
        challenge, _ = place.sessions.challenge()
        with pytest.raises(Unauthorized, match="no session"):
            place.sessions.open(stranger.public, challenge, place.signed(stranger, challenge))
    assert not place.sessions._answered
    assert not place.sessions._sessions


def test_a_challenge_is_answered_once_in_time_and_at_the_node_that_gave_it() -> None:
    place = Place(admitted="all")
    key = toy_key("bank")
    challenge, expires = place.sessions.challenge()
    signature = place.signed(key, challenge)
    place.sessions.open(key.public, challenge, signature)
    with pytest.raises(Unauthorized, match="answered already"):
        place.sessions.open(key.public, challenge, signature)
    for other in ("bureau", "registry"):
        with pytest.raises(Unauthorized, match="answered already"):
            place.sessions.open(toy_key(other).public, challenge, place.signed(toy_key(other), challenge))
    of_another, _ = place.another().challenge()
    altered = (expires + 1).to_bytes(8) + challenge[8:]
    for wrong in (of_another, altered, challenge[:-1], b""):
        with pytest.raises(Unauthorized, match="not of this node"):
            place.sessions.open(key.public, wrong, place.signed(key, wrong))
    late, _ = place.sessions.challenge()
    place.now += CHALLENGE_MS
    with pytest.raises(Unauthorized, match="older than 60 s"):
        place.sessions.open(key.public, late, place.signed(key, late))
    place.sessions.sweep()
    assert not place.sessions._answered


def test_a_session_ends_with_its_time_and_with_its_key() -> None:
    place = Place()
    proof = place.opened()
    place.now += SESSION_MS - 1
    assert place.sessions.find(proof) is not None
    place.now += 1
    assert place.sessions.find(proof) is None
    proof = place.opened()
    place.chain.add(place.chain.call("revoke", {"key": toy_key("bank").public}))
    assert place.sessions.find(proof) is None


def test_of_one_key_only_so_many_sessions_stand_and_so_many_are_opened_a_minute() -> None:
    place = Place()
    first = place.opened()
    for _ in range(SESSIONS_PER_KEY_MAX):
        last = place.opened()
    assert place.sessions.find(first) is None
    assert place.sessions.find(last) is not None
    assert len(place.sessions._sessions) == SESSIONS_PER_KEY_MAX
    for _ in range(OPENED_PER_KEY_MAX - SESSIONS_PER_KEY_MAX - 1):
        place.opened()
    with pytest.raises(LimitError, match="go on with one of them"):
        place.opened()
    place.now += CHALLENGE_MS
    place.sessions.sweep()
    place.opened()
