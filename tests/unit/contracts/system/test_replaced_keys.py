"""A quorum replaces an organisation's last admin key when it is lost, unless the old one objects in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.possession import REPLACEMENT
from chain.primitives.runtimeport import OK
from tests.unit.contracts.system.founding import proof_of, seeded

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

NEW = seeded("bank/new")
PAYLOAD = {"org": "bank", "key": NEW.public, "proof": proof_of(NEW, "bank", REPLACEMENT)}
SECOND = seeded("bank/second")
ANOTHER = {"org": "bank", "key": SECOND.public, "proof": proof_of(SECOND, "bank", REPLACEMENT)}
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
    """Return "ok" if a key signs for the bank as its admin in the next block, else the code."""
    args = {"kind": "set_terms", "payload": {"freeze_blocks": 5}, "reason": "", "not_before": 0}
    later = world.fork()
    later.advance(ms=100)
    outcome = later.run(seeded(who), "governance.propose", **args)
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
        ({**PAYLOAD, "proof": proof_of(NEW, "bureau", REPLACEMENT)}, "BAD_PROOF"),
        ({**PAYLOAD, "proof": proof_of(NEW, "bank")}, "BAD_PROOF"),
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
    payload = {"org": "rival", "key": key.public, "proof": proof_of(key, "rival", REPLACEMENT)}
    args = {"kind": "replace_key", "payload": payload, "reason": "", "not_before": 0}
    assert bare.refusal("bureau", "governance.propose", **args) == "WRONG_STATE"


def test_members_alone_can_not_be_given_keys_by_a_contract_or_a_majority(bare: World) -> None:
    args = {"org": "bank", "key": NEW.public, "proof": PAYLOAD["proof"]}
    assert bare.refusal("bureau", "orgs.replace_admin", **args) == "GOVERNANCE_ONLY"
    policy = {"kind": "replace_key", "rule": "majority", "votes": 0}
    refused = {"kind": "set_policy", "payload": policy, "reason": "", "not_before": 0}
    assert bare.refusal("bureau", "governance.propose", **refused) == "BAD_RULE"


def replace(world: World) -> None:
    """Let members replace the bank's key."""
    seq = ask(world)
    world.advance(ms=THREE_DAYS_MS)
    world.do("bureau", "governance.commit", seq=seq)


def status(world: World, seq: int) -> str:
    found: str = world.ask("governance.readiness", seq=seq)["status"]
    return found


def test_a_second_replacement_does_not_end_the_new_key_without_its_own_three_days(bare: World) -> None:
    first, second = ask(bare), ask(bare, payload=ANOTHER)
    bare.advance(ms=THREE_DAYS_MS)
    bare.do("bureau", "governance.commit", seq=first)
    assert bare.refusal("bureau", "governance.commit", seq=second) == "KEYS_REPLACED"
    assert (status(bare, second), signs(bare)) == ("void", OK)
    bare.do("rival", "governance.expire", seq=second)
    assert bare.read("governance", "open_of", "bureau") == 0
    third = ask(bare, payload=ANOTHER)
    assert bare.refusal("bureau", "governance.commit", seq=third) == "OBJECTION_TIME"
    bare.do("bank/new", "governance.object_to", seq=third, reason="it signs")


def test_votes_of_replaced_keys_do_not_count_in_any_contract(bare: World) -> None:
    payload = {"org": "registry"}
    args = {"kind": "suspend_org", "payload": payload, "reason": "", "not_before": 0}
    seq = bare.do("rival", "governance.propose", **args)
    sealed = bare.read("governance", "proposals", seq)["hash"]
    for who in ("bank", "bureau", "regulator"):
        bare.do(who, "governance.approve", seq=seq, hash=sealed)
    before = bare.ask("governance.readiness", seq=seq)
    assert (before["passed"], "bank" in before["counted"]) == (True, True)
    replace(bare)
    after = bare.ask("governance.readiness", seq=seq)
    assert (after["passed"], after["status"]) == (False, "open")
    assert "bank" not in (*after["counted"], *after["missing"])
    assert bare.refusal("rival", "governance.commit", seq=seq) == "NOT_ENOUGH_VOTES"
    assert bare.refusal("bank/new", "governance.approve", seq=seq, hash=sealed) == "KEYS_REPLACED"


def test_what_replaced_keys_proposed_is_void_whoever_voted_for_it(bare: World) -> None:
    args = {"kind": "suspend_org", "payload": {"org": "registry"}, "reason": "", "not_before": 0}
    seq = bare.do("bank", "governance.propose", **args)
    source = "@view\ndef one() -> int:\n    return 1\n"
    code = bare.do("bank", "lifecycle.propose", name="policy", source=source, arguments={}, terms={})
    for who in OTHERS:
        if who != "registry":
            bare.do(
                who, "governance.approve", seq=seq, hash=bare.read("governance", "proposals", seq)["hash"]
            )
        sealed = bare.read("lifecycle", "proposals", f"policy/{code}")["hash"]
        bare.do(who, "lifecycle.approve", name="policy", seq=code, hash=sealed)
    replace(bare)
    assert bare.refusal("bureau", "governance.commit", seq=seq) == "KEYS_REPLACED"
    assert bare.refusal("bureau", "lifecycle.commit", name="policy", seq=code) == "KEYS_REPLACED"
    assert bare.ask("lifecycle.readiness", name="policy", seq=code)["status"] == "void"
    bare.do("bank/new", "governance.expire", seq=seq)
    bare.do("bank/new", "lifecycle.expire", name="policy", seq=code)
    assert bare.read("governance", "open_of", "bank") == 0


RULE = "@export\ndef act() -> int:\n    return 1\n"


def with_rule(world: World) -> None:
    """Put a contract of five members in force."""
    content = {"name": "rule", "source": RULE, "arguments": {}, "terms": {}}
    seq = world.do("bureau", "lifecycle.propose", **content)
    sealed = world.read("lifecycle", "proposals", "rule/1")["hash"]
    for who in ("registry", "rival"):
        world.do(who, "lifecycle.approve", name="rule", seq=seq, hash=sealed)
    world.do("bureau", "lifecycle.commit", name="rule", seq=seq)
    world.advance()


VERSION = {"name": "rule", "seq": 1}
BALLOTS = [
    ("lifecycle.freeze", VERSION | {"reason": ""}),
    ("lifecycle.unfreeze", VERSION),
    ("lifecycle.revoke", VERSION | {"reason": ""}),
    ("programs.retire", {"id": "private-join", "reason": ""}),
]


def is_decided(world: World, method: str) -> bool:
    """Tell whether a majority of five decided what is voted on."""
    if method == "programs.retire":
        return bool(world.read("programs", "programs", "private-join")["status"] == "retired")
    found = world.read("lifecycle", "active", "rule")
    if method == "lifecycle.freeze":
        return (found["status"], found["frozen_until"]) == ("frozen", 0)
    return bool(found["status"] == {"lifecycle.unfreeze": "active", "lifecycle.revoke": "revoked"}[method])


@pytest.mark.parametrize(("method", "args"), BALLOTS)
def test_a_running_vote_of_replaced_keys_neither_stops_nor_ends_anything(
    bare: World, method: str, args: dict[str, Any]
) -> None:
    """Its row told when it lapses, not when it was cast, so that a thief's counted for days."""
    with_rule(bare)
    if method == "lifecycle.unfreeze":
        for who in ("bureau", "registry", "rival"):
            bare.do(who, "lifecycle.freeze", **VERSION, reason="")
    replacement = ask(bare)
    bare.advance(ms=THREE_DAYS_MS - 60_000)
    for who in ("bank", "bureau"):
        bare.do(who, method, **args)
    bare.advance(ms=60_000)
    bare.do("bureau", "governance.commit", seq=replacement)
    same = bare.fork()
    assert same.run(seeded("bank/new"), method, **args).code == "KEYS_REPLACED"
    bare.advance()
    if method == "programs.retire":
        assert bare.ask("programs.retiring", id="private-join")["counted"] == ["bureau"]
        assert bare.refusal("bank/new", "programs.retract_retirement", id="private-join") == "NOT_VOTED"
    bare.do("registry", method, **args)
    assert not is_decided(bare, method)
    bare.do("bank/new", method, **args)
    assert is_decided(bare, method)


def test_what_the_new_key_says_counts_as_any_members_word(bare: World) -> None:
    replace(bare)
    seq = ask(bare, "set_terms", {"freeze_blocks": 7})
    bare.do("bank/new", "governance.approve", seq=seq, hash=bare.read("governance", "proposals", seq)["hash"])
    assert "bank" in bare.ask("governance.readiness", seq=seq)["counted"]


def test_nothing_is_proposed_that_the_replacement_in_the_same_block_makes_void(bare: World) -> None:
    seq = ask(bare)
    bare.advance(ms=THREE_DAYS_MS)
    bare.do("bureau", "governance.commit", seq=seq)
    same = bare.fork()
    terms = {"kind": "set_terms", "payload": {"freeze_blocks": 7}}
    for who, asked in (("bank/new", terms), ("rival", {"kind": "replace_key", "payload": ANOTHER})):
        outcome = same.run(seeded(who), "governance.propose", **asked, reason="", not_before=0)
        assert outcome.code == "KEYS_REPLACED"


def test_a_key_that_the_organisation_itself_ends_takes_no_vote_back(bare: World) -> None:
    args = {"kind": "set_terms", "payload": {"freeze_blocks": 7}, "reason": "", "not_before": 0}
    seq = bare.do("bank", "governance.propose", **args)
    rotated = {"old": seeded("bank").public, "new": NEW.public, "proof": proof_of(NEW, "bank")}
    bare.do("bank", "orgs.rotate_key", **rotated)
    assert bare.ask("governance.readiness", seq=seq)["counted"] == ["bank"]


@pytest.mark.parametrize("role", ["steward", "agent", "admin"])
def test_the_old_key_registers_the_new_one_for_nothing_with_the_proof_in_the_proposal(
    bare: World, role: str
) -> None:
    seq = ask(bare)
    shown = bare.read("governance", "proposals", seq)["payload"]
    taken = {"key": shown["key"], "roles": [role], "proof": shown["proof"]}
    assert bare.refusal("bank", "orgs.add_key", **taken) == "BAD_PROOF"
    rotated = {"old": seeded("bank/steward").public, "new": shown["key"], "proof": shown["proof"]}
    assert bare.refusal("bank", "orgs.rotate_key", **rotated) == "BAD_PROOF"
    named = {"agent_key": shown["key"], "agent_address": "127.0.0.1:7001", "proof": shown["proof"]}
    assert bare.refusal("bank", "orgs.set_agent", **named) == "BAD_PROOF"
    bare.advance(ms=THREE_DAYS_MS)
    bare.do("bureau", "governance.commit", seq=seq)
    assert signs(bare) == OK
