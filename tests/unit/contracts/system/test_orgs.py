"""Members, keys and agents."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from chain.primitives.crypto import PrivateKey
from chain.primitives.runtimeport import REVERTED
from chain.primitives.values import Value
from tests.unit.contracts.system.founding import proof_of

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

NEW = PrivateKey(bytes([9]) * 32)
PROOF = proof_of(NEW, "bank")
GIVEN = {"key": NEW.public, "proof": PROOF}
BANK = PrivateKey(sha256(b"bank").digest())
DAY_MS = 86_400_000


def test_genesis_lists_members_in_order_and_registers_their_agent_keys(bare: World) -> None:
    assert bare.ask("orgs.active_members") == ["bank", "bureau", "registry", "regulator", "rival"]
    record = bare.ask("orgs.org_of", id="bank")
    assert record["roles"] == ["owner", "user", "compute"]
    assert bare.read("orgs", "keys", record["agent_key"].hex())["roles"] == ["agent"]
    assert bare.trail("org:bank")[0] == "OrgJoined"


def test_an_added_key_signs_and_a_revoked_one_is_refused(bare: World) -> None:
    bare.do("bank", "orgs.add_key", roles=["admin"], **GIVEN)
    assert (
        bare.run(NEW, "orgs.set_agent", agent_key=_agent("bank"), agent_address="h:1", proof=b"").status
        == "ok"
    )
    bare.advance()
    bare.do("bank", "orgs.revoke_key", key=NEW.public, reason="laptop lost")
    bare.advance()
    outcome = bare.run(NEW, "orgs.set_agent", **same("h:2"))
    assert (outcome.status, outcome.code) == (REVERTED, "KEY_REVOKED")
    record = bare.read("orgs", "keys", NEW.public.hex())
    assert (record["status"], record["until"]) == ("revoked", bare.height - 1)
    assert record["since"] < record["until"]


def test_rotation_keeps_the_roles_and_ends_the_old_key(bare: World) -> None:
    bare.do("bank", "orgs.rotate_key", old=BANK.public, new=NEW.public, proof=PROOF)
    assert bare.read("orgs", "keys", NEW.public.hex())["roles"] == ["admin"]
    assert bare.read("orgs", "keys", BANK.public.hex())["status"] == "revoked"
    assert (
        bare.run(NEW, "orgs.set_agent", agent_key=_agent("bank"), agent_address="h:1", proof=b"").status
        == "ok"
    )


def test_the_last_admin_key_cannot_be_revoked(bare: World) -> None:
    assert bare.refusal("bank", "orgs.revoke_key", key=BANK.public, reason="") == "LAST_ADMIN_KEY"


def test_a_key_is_never_registered_twice(bare: World) -> None:
    assert (
        bare.refusal(
            "bureau", "orgs.add_key", key=BANK.public, roles=["admin"], proof=proof_of(BANK, "bureau")
        )
        == "KEY_EXISTS"
    )
    bare.do("bank", "orgs.add_key", roles=["steward"], **GIVEN)
    bare.do("bank", "orgs.revoke_key", key=NEW.public, reason="")
    assert bare.refusal("bank", "orgs.add_key", roles=["steward"], **GIVEN) == "KEY_EXISTS"


def test_a_new_agent_key_replaces_the_old_one(bare: World) -> None:
    old = _agent("bank")
    bare.do("bank", "orgs.set_agent", agent_key=NEW.public, agent_address="10.0.0.1:7001", proof=PROOF)
    record = bare.ask("orgs.org_of", id="bank")
    assert (record["agent_key"], record["agent_address"]) == (NEW.public, "10.0.0.1:7001")
    assert bare.read("orgs", "keys", old.hex())["status"] == "revoked"
    assert bare.trail("org:bank")[-2:] == ["KeyRevoked", "AgentSet"]


def test_an_org_without_an_agent_may_start_one(bare: World) -> None:
    assert bare.ask("orgs.org_of", id="regulator")["agent_key"] == b""
    proof = proof_of(NEW, "regulator")
    bare.do("regulator", "orgs.set_agent", agent_key=NEW.public, agent_address="10.0.0.9:7000", proof=proof)
    assert bare.read("orgs", "keys", NEW.public.hex())["roles"] == ["agent"]


@pytest.mark.parametrize(
    ("who", "method", "args", "code"),
    [
        (
            "bank/steward",
            "add_key",
            {**GIVEN, "roles": ["admin"]},
            "KEY_ROLE_MISSING",
        ),
        ("bank", "add_key", {"key": NEW.public[:31], "roles": ["admin"], "proof": PROOF}, "BAD_PROOF"),
        ("bank", "add_key", {**GIVEN, "roles": ["root"]}, "BAD_ROLE"),
        ("bank", "add_key", {**GIVEN, "roles": []}, "BAD_ROLE"),
        ("bank", "add_key", {**GIVEN, "roles": ["agent"] * 2}, "BAD_ROLE"),
        ("bank", "add_key", {**GIVEN, "roles": "agent"}, "TYPE_ERROR"),
        ("bank", "revoke_key", {"key": NEW.public, "reason": ""}, "UNKNOWN_KEY"),
        ("bureau", "revoke_key", {"key": BANK.public, "reason": ""}, "UNKNOWN_KEY"),
        ("bank", "revoke_key", {"key": BANK.public, "reason": "x" * 257}, "TEXT_TOO_LONG"),
    ],
)
def test_a_bad_key_change_is_refused(
    bare: World, who: str, method: str, args: dict[str, object], code: str
) -> None:
    assert bare.refusal(who, f"orgs.{method}", **args) == code


def test_the_agent_key_is_changed_by_set_agent_alone(bare: World) -> None:
    assert bare.refusal("bank", "orgs.revoke_key", key=_agent("bank"), reason="") == "USE_SET_AGENT"
    assert (
        bare.refusal("bank", "orgs.rotate_key", old=_agent("bank"), new=NEW.public, proof=PROOF)
        == "USE_SET_AGENT"
    )


def _agent(org: str) -> bytes:
    return PrivateKey(sha256(f"{org}/agent".encode()).digest()).public


def same(address: str) -> dict[str, Value]:
    """The arguments that change nothing of the bank's agent but its address."""
    return {"agent_key": _agent("bank"), "agent_address": address, "proof": b""}


# --- how many keys one member registers


def _key(number: int) -> PrivateKey:
    return PrivateKey(sha256(b"many %d" % number).digest())


def _given(number: int) -> dict[str, Value]:
    key = _key(number)
    return {"key": key.public, "proof": proof_of(key, "bank")}


def _fill_the_day(bare: World) -> None:
    """Register 64 keys: by adding and revoking, by rotating, and as the agent's."""
    bare.do("bank", "orgs.add_key", roles=["steward"], **_given(0))
    for number in range(1, 32):
        proof = proof_of(_key(number), "bank")
        bare.do("bank", "orgs.rotate_key", old=_key(number - 1).public, new=_key(number).public, proof=proof)
    for number in range(32, 48):
        bare.do("bank", "orgs.add_key", roles=["steward"], **_given(number))
        bare.do("bank", "orgs.revoke_key", key=_key(number).public, reason="")
    for number in range(48, 64):
        key = _key(number)
        agent = {"agent_key": key.public, "agent_address": "h:1", "proof": proof_of(key, "bank")}
        bare.do("bank", "orgs.set_agent", **agent)


def test_a_member_registers_sixty_four_keys_a_day_by_whatever_call(bare: World) -> None:
    rows = sum(name == "orgs" for name, _ in bare.state)
    _fill_the_day(bare)
    assert sum(name == "orgs" for name, _ in bare.state) == rows + 64 + 1
    more = {"key": NEW.public, "proof": PROOF}
    assert bare.refusal("bank", "orgs.add_key", roles=["steward"], **more) == "TOO_MANY_KEYS_TODAY"
    turned = {"old": BANK.public, "new": NEW.public, "proof": PROOF}
    assert bare.refusal("bank", "orgs.rotate_key", **turned) == "TOO_MANY_KEYS_TODAY"
    agent = {"agent_key": NEW.public, "agent_address": "h:1", "proof": PROOF}
    assert bare.refusal("bank", "orgs.set_agent", **agent) == "TOO_MANY_KEYS_TODAY"
    bare.do("bank", "orgs.set_agent", agent_key=_key(63).public, agent_address="h:2", proof=b"")
    bare.do("bank", "orgs.revoke_key", key=_key(31).public, reason="stolen")
    other = PrivateKey(sha256(b"another's").digest())
    bare.do("bureau", "orgs.add_key", key=other.public, roles=["agent"], proof=proof_of(other, "bureau"))
    bare.advance(DAY_MS)
    bare.do("bank", "orgs.rotate_key", **turned)


def test_a_member_replaces_all_of_its_keys_twice_on_the_day_of_a_theft(bare: World) -> None:
    held = len(bare.read("orgs", "org_keys", "bank"))
    for number in range(held, 32):
        bare.do("bank", "orgs.add_key", roles=["steward"], **_given(number))
    bare.advance(DAY_MS)
    number = 100
    agent = bare.ask("orgs.org_of", id="bank")["agent_key"].hex()
    for _ in range(2):
        for name in bare.read("orgs", "org_keys", "bank"):
            record = bare.read("orgs", "keys", name)
            if "admin" in record["roles"]:
                continue
            key, number = _key(number), number + 1
            proof = proof_of(key, "bank")
            if name == agent:
                agent = key.public.hex()
                bare.do("bank", "orgs.set_agent", agent_key=key.public, agent_address="h:1", proof=proof)
            else:
                bare.do("bank", "orgs.rotate_key", old=record["key"], new=key.public, proof=proof)
    assert number == 100 + 2 * 31, "all but the admin key, which signs all this and goes last"
    bare.do("bank", "orgs.rotate_key", old=BANK.public, new=NEW.public, proof=PROOF)
