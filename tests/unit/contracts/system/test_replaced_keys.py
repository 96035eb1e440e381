"""A quorum replaces an organisation's last admin key when it is lost, unless the old one objects in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.runtimeport import OK
from tests.unit.contracts.system.founding import proof_of, seeded

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

NEW = seeded("bank/new")
PAYLOAD = {"org": "bank", "key": NEW.public, "proof": proof_of(NEW, "bank")}
OTHERS = ("bureau", "registry", "regulator", "rival")
THREE_DAYS_MS = 3 * 86_400_000


def ask(world: World, kind: str = "replace_key", payload: dict[str, Any] = PAYLOAD) -> int:
    """Let a quorum propose and approve; return the number."""
    reason = {"reason": "asked by telephone", "not_before": 0}
    seq: int = world.do("bureau", "governance.propose", kind=kind, payload=payload, **reason)
    for who in OTHERS[1:]:
        world.do(who, "governance.approve", seq=seq, hash=world.read("governance", "proposals", seq)["hash"])
    return seq


def signs(world: World, who: str = "bank/new") -> str:
    """Return "ok" if a key signs for the bank as its admin, else the code."""
    args = {"kind": "set_terms", "payload": {"freeze_blocks": 5}, "reason": "", "not_before": 0}
    outcome = world.fork().run(seeded(who), "governance.propose", **args)
    return outcome.status if outcome.status == OK else outcome.code


def test_a_quorum_replaces_the_key_after_three_days_and_the_old_one_signs_no_more(bare: World) -> None:
    seq = ask(bare)
    proposed = bare.read("governance", "proposals", seq)
    ready = bare.ask("governance.readiness", seq=seq)
    assert (ready["passed"], ready["due"]) == (True, False)
    assert ready["from_time"] == proposed["proposed_at"] + THREE_DAYS_MS
    assert bare.refusal("bureau", "governance.commit", seq=seq) == "OBJECTION_TIME"
    assert (signs(bare), signs(bare, "bank")) == ("UNKNOWN_SENDER", OK)
    bare.advance(ms=ready["from_time"] - bare.time - 101)
    assert bare.refusal("bureau", "governance.commit", seq=seq) == "OBJECTION_TIME"
    bare.do("rival", "governance.commit", seq=seq)
    assert (signs(bare), signs(bare, "bank")) == (OK, "KEY_REVOKED")
    assert bare.read("orgs", "keys", NEW.public.hex())["roles"] == ["admin"]
    assert bare.trail("org:bank")[-3:] == ["KeyRevoked", "KeyAdded", "Committed"]
    assert "Proposed" in bare.trail("org:bank")


def test_stewards_and_agents_keys_stay(bare: World) -> None:
    kept = [
        name
        for name in bare.read("orgs", "org_keys", "bank")
        if bare.read("orgs", "keys", name)["roles"] != ["admin"]
    ]
    assert kept
    seq = ask(bare)
    bare.advance(ms=THREE_DAYS_MS)
    bare.do("bureau", "governance.commit", seq=seq)
    assert bare.read("orgs", "org_keys", "bank") == [*kept, NEW.public.hex()]


def test_the_old_key_stops_it_alone_and_everybody_concerned_is_named(bare: World) -> None:
    seq = ask(bare)
    for who in OTHERS:
        assert bare.refusal(who, "governance.object_to", seq=seq, reason="") == "NOT_CONCERNED"
    assert bare.refusal("bank/steward", "governance.object_to", seq=seq, reason="") == "KEY_ROLE_MISSING"
    assert bare.refusal("bank", "governance.object_to", seq=seq, reason="x" * 257) == "TEXT_TOO_LONG"
    bare.do("bank", "governance.object_to", seq=seq, reason="it is here")
    assert bare.refusal("bureau", "governance.commit", seq=seq) == "UNKNOWN_PROPOSAL"
    assert signs(bare, "bank") == OK
    for subject in ("org:bank", f"proposal:{seq}"):
        assert bare.trail(subject)[-1] == "Objected"
    assert bare.read("governance", "open_of", "bureau") == 0


def test_nobody_objects_to_another_decision_about_one(bare: World) -> None:
    seq = ask(bare, "suspend_org", {"org": "bank"})
    assert bare.refusal("bank", "governance.object_to", seq=seq, reason="") == "NOT_CONCERNED"


def test_it_can_be_committed_for_as_long_as_any_proposal_after_the_three_days(bare: World) -> None:
    short = ask(bare, "set_terms", {"proposal_ms": 3_600_000})
    bare.do("bureau", "governance.commit", seq=short)
    seq = ask(bare)
    bare.advance(ms=THREE_DAYS_MS + 3_600_000)
    assert bare.refusal("bureau", "governance.commit", seq=seq) == "DEADLINE_PASSED"
    other = ask(bare)
    bare.advance(ms=THREE_DAYS_MS + 3_000_000)
    bare.do("bureau", "governance.commit", seq=other)
    assert signs(bare) == OK


def test_a_thief_is_suspended_first_and_the_new_key_signs_from_the_reinstatement_on(bare: World) -> None:
    down = ask(bare, "suspend_org", {"org": "bank"})
    bare.do("bureau", "governance.commit", seq=down)
    seq = ask(bare)
    assert bare.refusal("bank", "governance.object_to", seq=seq, reason="") == "ORG_SUSPENDED"
    bare.advance(ms=THREE_DAYS_MS)
    bare.do("bureau", "governance.commit", seq=seq)
    assert (signs(bare), signs(bare, "bank")) == ("ORG_SUSPENDED", "KEY_REVOKED")
    up = ask(bare, "reinstate_org", {"org": "bank"})
    bare.do("bureau", "governance.commit", seq=up)
    assert (signs(bare), signs(bare, "bank")) == (OK, "KEY_REVOKED")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({**PAYLOAD, "proof": proof_of(NEW, "bureau")}, "BAD_PROOF"),
        ({**PAYLOAD, "key": b"short"}, "BAD_KEY"),
        ({**PAYLOAD, "key": seeded("rival").public}, "KEY_EXISTS"),
        ({**PAYLOAD, "org": "nobody"}, "UNKNOWN_ORG"),
        ({**PAYLOAD, "roles": ["admin"]}, "BAD_PAYLOAD"),
    ],
)
def test_a_key_that_its_holder_did_not_prove_for_this_organisation_is_refused(
    bare: World, payload: dict[str, Any], code: str
) -> None:
    args = {"kind": "replace_key", "payload": payload, "reason": "", "not_before": 0}
    assert bare.refusal("bureau", "governance.propose", **args) == code


def test_an_expelled_organisation_gets_no_key(bare: World) -> None:
    out = ask(bare, "expel_org", {"org": "rival"})
    bare.do("bureau", "governance.commit", seq=out)
    key = seeded("rival/new")
    payload = {"org": "rival", "key": key.public, "proof": proof_of(key, "rival")}
    args = {"kind": "replace_key", "payload": payload, "reason": "", "not_before": 0}
    assert bare.refusal("bureau", "governance.propose", **args) == "WRONG_STATE"


def test_members_alone_can_not_be_given_keys_by_a_contract_or_a_majority(bare: World) -> None:
    args = {"org": "bank", "key": NEW.public, "proof": PAYLOAD["proof"]}
    assert bare.refusal("bureau", "orgs.replace_admin", **args) == "GOVERNANCE_ONLY"
    policy = {"kind": "replace_key", "rule": "majority", "votes": 0}
    refused = {"kind": "set_policy", "payload": policy, "reason": "", "not_before": 0}
    assert bare.refusal("bureau", "governance.propose", **refused) == "BAD_RULE"
