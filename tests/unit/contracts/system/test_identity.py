"""A key signs exactly while it and its organisation may, and nobody registers a key that is not theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.possession import prove_possession
from chain.primitives.runtimeport import OK
from tests.unit.contracts.system.founding import CHAIN_ID, ORGS, proof_of, seat_of, seeded

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

GHOST = seeded("ghost")
RELAY = """
orgs = Contract("orgs")

@export
def has(id: str, role: str) -> bool:
    return orgs.has_role(id=id, role=role)
"""


def decide(world: World, kind: str, payload: dict[str, Any]) -> int:
    """Propose and have a quorum of members other than the last vote for it; return the proposal's number."""
    seq: int = world.do("bank", "governance.propose", kind=kind, payload=payload, reason="", not_before=0)
    for who in ("bureau", "registry", "regulator"):
        world.do(who, "governance.approve", seq=seq, hash=world.read("governance", "proposals", seq)["hash"])
    return seq


def carry_out(world: World, kind: str, payload: dict[str, Any]) -> None:
    world.do("bank", "governance.commit", seq=decide(world, kind, payload))


def adopt(world: World, name: str, source: str) -> None:
    content = {"name": name, "source": source, "arguments": {}, "terms": {}}
    seq = world.do("bank", "lifecycle.propose", **content)
    voted = world.read("lifecycle", "proposals", f"{name}/{seq}")["hash"]
    for who in ("bureau", "registry"):
        world.do(who, "lifecycle.approve", name=name, seq=seq, hash=voted)
    world.do("bank", "lifecycle.commit", name=name, seq=seq)
    world.advance()


def given(name: str, org: str) -> dict[str, Any]:
    return {"key": seeded(name).public, "proof": proof_of(seeded(name), org)}


# --- who lost its right acts no more, from the next transaction on ---


ATTEMPTS: list[tuple[str, dict[str, Any]]] = [
    ("orgs.add_key", {"roles": ["admin"], **given("ghost", "rival")}),
    (
        "orgs.rotate_key",
        {"old": seeded("rival").public, "new": GHOST.public, "proof": proof_of(GHOST, "rival")},
    ),
    (
        "orgs.set_agent",
        {"agent_key": GHOST.public, "agent_address": "h:1", "proof": proof_of(GHOST, "rival")},
    ),
    (
        "governance.propose",
        {"kind": "set_limits", "payload": {"block_txs": 7}, "reason": "", "not_before": 0},
    ),
    ("datasets.retire", {"id": "rival/d-rival", "reason": ""}),
    ("relay.has", {"id": "rival", "role": "owner"}),
]


@pytest.mark.parametrize(("kind", "code"), [("expel_org", "ORG_EXPELLED"), ("suspend_org", "ORG_SUSPENDED")])
@pytest.mark.parametrize(("target", "args"), ATTEMPTS, ids=[target for target, _ in ATTEMPTS])
def test_an_organisation_that_lost_its_right_acts_no_more_in_the_same_block(
    bare: World, kind: str, code: str, target: str, args: dict[str, Any]
) -> None:
    adopt(bare, "relay", RELAY)
    bare.register("rival", "rival/d-rival")
    before, after = bare.fork(), bare
    seq = decide(after, kind, {"org": "rival"})
    after.do("bank", "governance.commit", seq=seq)
    for _ in range(2):  # in the block of the decision, and in the next
        outcome = after.run(seeded("rival"), target, **args)
        assert (outcome.status, outcome.code) == ("reverted", code)
        after.advance()
    assert after.run(GHOST, "datasets.retire", id="rival/d-rival", reason="").code == "UNKNOWN_SENDER"
    assert before.run(seeded("rival"), target, **args).status == OK, "the same call before the decision"


def test_what_is_ordered_before_the_decision_in_its_block_counts(bare: World) -> None:
    seq = decide(bare, "expel_org", {"org": "rival"})
    bare.advance()
    assert bare.run(seeded("rival"), "orgs.add_key", roles=["admin"], **given("ghost", "rival")).status == OK
    assert bare.run(seeded("bank"), "governance.commit", seq=seq).status == OK
    for key in (seeded("rival"), seeded("rival/agent"), seeded("rival/steward"), GHOST):
        assert bare.run(key, "orgs.revoke_key", key=bytes(32), reason="").code == "ORG_EXPELLED"
    record = bare.read("orgs", "keys", GHOST.public.hex())
    assert (record["status"], record["since"], record["until"]) == ("expelled", bare.height, bare.height)


def test_a_revoked_key_cannot_strike_back_in_its_own_block(bare: World) -> None:
    """A thief's key, revoked by its owner, neither adds a key nor revokes the owner's."""
    thief = seeded("thief")
    bare.do("bank", "orgs.add_key", roles=["admin"], **given("thief", "bank"))
    bare.do("bank", "orgs.revoke_key", key=thief.public, reason="stolen")
    ghost = bare.run(thief, "orgs.add_key", roles=["admin"], **given("ghost", "bank"))
    strike = bare.run(thief, "orgs.revoke_key", key=seeded("bank").public, reason="")
    assert (ghost.code, strike.code) == ("KEY_REVOKED", "KEY_REVOKED")
    bare.do("bank", "orgs.add_key", roles=["steward"], **given("other", "bank"))


def test_a_replaced_agent_signs_nothing_in_the_block_of_its_successor(world: World) -> None:
    job = world.propose()
    agent = {"agent_key": GHOST.public, "agent_address": "h:1", "proof": proof_of(GHOST, "bureau")}
    world.do("bureau", "orgs.set_agent", **agent)
    accept = world.run(seeded("bureau/agent"), "jobs.accept", job=job, plan=bytes(32))
    assert accept.code == "KEY_REVOKED"


def test_a_role_is_one_of_active_members_alone(bare: World) -> None:
    def has() -> bool:
        return bool(bare.ask("orgs.has_role", id="rival", role="owner"))

    assert has()
    carry_out(bare, "suspend_org", {"org": "rival"})
    assert not has()
    carry_out(bare, "reinstate_org", {"org": "rival"})
    assert has()
    carry_out(bare, "expel_org", {"org": "rival"})
    assert not has()


def test_reinstated_keys_sign_again(bare: World) -> None:
    carry_out(bare, "suspend_org", {"org": "rival"})
    carry_out(bare, "reinstate_org", {"org": "rival"})
    assert bare.run(seeded("rival"), "orgs.add_key", roles=["admin"], **given("ghost", "rival")).status == OK


# --- possession ---


def test_a_members_key_is_not_registered_by_another_before_its_admission(bare: World) -> None:
    """Else one member vetoes every admission, and the newcomer's key signs for that member."""
    clinic = seeded("clinic")
    entry = {"key": clinic.public, "roles": ["admin"], "proof": proof_of(clinic, "clinic")}
    member = {
        "id": "clinic", "name": "Clinic", "roles": ["owner"], "keys": [entry],
        "agent_key": b"", "agent_address": "", "agent_proof": b"",
    }  # fmt: skip
    seq = decide(bare, "admit_org", {"org": member})
    for proof in (entry["proof"], proof_of(seeded("rival"), "rival"), b"", bytes(64)):
        theft = {"key": clinic.public, "roles": ["agent"], "proof": proof}
        assert bare.refusal("rival", "orgs.add_key", **theft) == "BAD_PROOF"
    agent = {"agent_key": clinic.public, "agent_address": "h:1", "proof": entry["proof"]}
    assert bare.refusal("rival", "orgs.set_agent", **agent) == "BAD_PROOF"
    rotation = {"old": seeded("rival/steward").public, "new": clinic.public, "proof": entry["proof"]}
    assert bare.refusal("rival", "orgs.rotate_key", **rotation) == "BAD_PROOF"
    bare.do("bank", "governance.commit", seq=seq)
    assert bare.read("orgs", "keys", clinic.public.hex())["org"] == "clinic"
    joined = next(event for event in reversed(bare.events) if event.name == "OrgJoined")
    assert joined.subjects == ("org:clinic", "org:bank"), "who joined, and who committed it"


def test_a_nodes_key_is_not_taken_by_another_member(bare: World) -> None:
    key = seeded("rival/node")
    seq = decide(bare, "add_node", seat_of("rival"))
    theft = {"name": "bank-node", "public_key": key.public, "proof": proof_of(key, "rival")}
    assert bare.refusal("bank", "governance.rotate_node_key", **theft) == "BAD_PROOF"
    wish = {"kind": "add_node", "payload": {**seat_of("rival"), "org": "bank"}, "reason": "", "not_before": 0}
    assert bare.refusal("bank", "governance.propose", **wish) == "BAD_PROOF"
    bare.do("bank", "governance.commit", seq=seq)
    listed = bare.variable("governance", "nodes")[-1]
    assert listed == {field: value for field, value in seat_of("rival").items() if field != "proof"}


def test_a_proof_is_of_one_chain(bare: World) -> None:
    other = prove_possession(GHOST, CHAIN_ID[::-1], "bank")
    args = {"key": GHOST.public, "roles": ["agent"], "proof": other}
    assert bare.refusal("bank", "orgs.add_key", **args) == "BAD_PROOF"


@pytest.mark.parametrize("key", [bytes(32), b"\x01" + bytes(31), bytes(31), b""])
def test_a_key_that_nobody_can_hold_is_not_registered(bare: World, key: bytes) -> None:
    args = {"key": key, "roles": ["agent"], "proof": bytes(64)}
    assert bare.refusal("bank", "orgs.add_key", **args) == "BAD_PROOF"


# --- thirty-two keys ---


def test_an_organisation_with_all_its_keys_can_still_rotate_each(bare: World) -> None:
    held = len(bare.read("orgs", "org_keys", "bank"))
    for number in range(32 - held):
        bare.do("bank", "orgs.add_key", roles=["agent"], **given(f"key {number}", "bank"))
    assert bare.refusal("bank", "orgs.add_key", roles=["agent"], **given("more", "bank")) == "TOO_MANY_KEYS"
    new = {"new": GHOST.public, "proof": proof_of(GHOST, "bank")}
    bare.do("bank", "orgs.rotate_key", old=seeded("key 0").public, **new)
    agent = seeded("new agent")
    bare.do(
        "bank", "orgs.set_agent", agent_key=agent.public, agent_address="h:1", proof=proof_of(agent, "bank")
    )
    assert len(bare.read("orgs", "org_keys", "bank")) == 32
    assert set(ORGS) == set(bare.ask("orgs.active_members"))
