"""A vote is of one content or version, can be taken back, lapses, and counts while its member is active."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.contracts.system.founding import seat_of

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

WEEK_MS = 7 * 24 * 3_600_000
SOURCE = "@export\ndef act() -> int:\n    return 1\n\n@view\ndef told() -> int:\n    return 1\n"
NEXT = SOURCE.replace("return 1", "return 2")
READER = """
rule = Contract("rule")

@export
def decide() -> int:
    return rule.told()

@view
def look() -> int:
    return rule.told()
"""
RULE = {"name": "rule", "seq": 1}


def adopt(world: World, name: str = "rule", source: str = SOURCE) -> int:
    content = {"name": name, "source": source, "arguments": {}, "terms": {}}
    seq: int = world.do("bank", "lifecycle.propose", **content)
    voted = world.read("lifecycle", "proposals", f"{name}/{seq}")["hash"]
    for who in ("bureau", "registry"):
        world.do(who, "lifecycle.approve", name=name, seq=seq, hash=voted)
    world.do("bank", "lifecycle.commit", name=name, seq=seq)
    world.advance()
    return seq


def wish(world: World, kind: str, payload: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Propose a decision as the bank; return its number and what an approval of it says."""
    seq = world.do("bank", "governance.propose", kind=kind, payload=payload, reason="", not_before=0)
    return seq, {"seq": seq, "hash": world.read("governance", "proposals", seq)["hash"]}


def status(world: World) -> str:
    return str(world.ask("lifecycle.contract_of", name="rule")["status"])


# --- proposals ---


def test_a_vote_for_a_decision_is_taken_back_until_it_is_counted(bare: World) -> None:
    seq, vote = wish(bare, "set_limits", {"block_txs": 7})
    for who in ("bureau", "registry", "rival"):
        bare.do(who, "governance.approve", **vote)
    bare.do("registry", "governance.retract", seq=seq)
    assert bare.refusal("registry", "governance.retract", seq=seq) == "NOT_VOTED"
    assert bare.refusal("bank", "governance.commit", seq=seq) == "NOT_ENOUGH_VOTES"
    bare.do("registry", "governance.approve", **vote)
    bare.do("bank", "governance.commit", seq=seq)
    assert bare.refusal("registry", "governance.retract", seq=seq) == "WRONG_STATE"
    assert bare.trail(f"proposal:{seq}").count("Retracted") == 1


def test_a_vote_for_a_contract_is_taken_back_until_it_is_counted(bare: World) -> None:
    content = {"name": "rule", "source": SOURCE, "arguments": {}, "terms": {}}
    seq = bare.do("bank", "lifecycle.propose", **content)
    vote = {"name": "rule", "seq": seq, "hash": bare.read("lifecycle", "proposals", "rule/1")["hash"]}
    for who in ("bureau", "registry"):
        bare.do(who, "lifecycle.approve", **vote)
    bare.do("bank", "lifecycle.retract", name="rule", seq=seq)
    assert bare.refusal("bank", "lifecycle.retract", name="rule", seq=seq) == "NOT_VOTED"
    assert bare.refusal("bank", "lifecycle.commit", name="rule", seq=seq) == "NOT_ENOUGH_VOTES"
    bare.do("rival", "lifecycle.approve", **vote)
    bare.do("bank", "lifecycle.commit", name="rule", seq=seq)
    approved = bare.ask("lifecycle.contract_of", name="rule")["approved_by"]
    assert approved == ["bureau", "registry", "rival"]
    assert bare.trail("contract:rule").count("ContractRetracted") == 1


def test_what_is_recorded_as_approved_is_what_counted(bare: World) -> None:
    content = {"name": "rule", "source": SOURCE, "arguments": {}, "terms": {}}
    seq = bare.do("rival", "lifecycle.propose", **content)
    vote = {"name": "rule", "seq": seq, "hash": bare.read("lifecycle", "proposals", "rule/1")["hash"]}
    for who in ("bureau", "registry", "regulator"):
        bare.do(who, "lifecycle.approve", **vote)
    expel, ballot = wish(bare, "expel_org", {"org": "rival"})
    for who in ("bureau", "registry", "regulator"):
        bare.do(who, "governance.approve", **ballot)
    bare.do("bank", "governance.commit", seq=expel)
    bare.do("bank", "lifecycle.commit", name="rule", seq=seq)
    approved = bare.ask("lifecycle.contract_of", name="rule")["approved_by"]
    assert approved == ["bureau", "registry", "regulator"]


def test_readiness_does_not_promise_what_the_guards_refuse(bare: World) -> None:
    """Votes and height are one thing, the guards of the kind another, which a view asks as a commit would."""
    first, vote = wish(bare, "add_node", seat_of("rival"))
    second, other = wish(bare, "add_node", seat_of("rival"))
    for who in ("bureau", "registry", "rival"):
        bare.do(who, "governance.approve", **vote)
        bare.do(who, "governance.approve", **other)
    assert bare.ask("governance.check_proposal", seq=second) is None
    bare.do("bank", "governance.commit", seq=first)
    ready = bare.ask("governance.readiness", seq=second)
    assert (ready["due"], "committable" in ready) == (True, False)
    with pytest.raises(Exception, match="NODE_EXISTS"):
        bare.ask("governance.check_proposal", seq=second)
    assert bare.refusal("bank", "governance.commit", seq=second) == "NODE_EXISTS"


# --- freezing and revoking ---


def test_votes_to_revoke_are_of_one_version(bare: World) -> None:
    """Two votes because of a fault of version 1 do not help to revoke the version that mended it."""
    adopt(bare)
    for who in ("bank", "bureau"):
        bare.do(who, "lifecycle.revoke", **RULE, reason="bug")
    adopt(bare, source=NEXT)
    mended = {**RULE, "seq": 2}
    assert bare.refusal("registry", "lifecycle.revoke", **RULE, reason="bug") == "WRONG_VERSION"
    bare.do("registry", "lifecycle.revoke", **mended, reason="other")
    assert status(bare) == "active"
    for who in ("bank", "bureau"):
        bare.do(who, "lifecycle.revoke", **mended, reason="other")
    assert status(bare) == "revoked"


@pytest.mark.parametrize("method", ["revoke", "freeze"])
def test_votes_of_different_times_do_not_add_up(bare: World, method: str) -> None:
    adopt(bare)
    for who in ("bank", "bureau", "registry"):
        bare.do(who, f"lifecycle.{method}", **RULE, reason="bug")
        bare.advance(WEEK_MS + 1, blocks=2_000)
    assert bare.ask("lifecycle.is_active", name="rule")
    for who in ("bank", "bureau", "registry"):
        bare.do(who, f"lifecycle.{method}", **RULE, reason="bug")
    assert not bare.ask("lifecycle.is_active", name="rule")
    assert bare.ask("lifecycle.contract_of", name="rule")["frozen_until"] == 0


def test_votes_to_freeze_a_system_contract_lapse_and_are_taken_back(bare: World) -> None:
    jobs = {"name": "jobs", "seq": 1}
    for who in ("bank", "bureau", "registry"):
        bare.do(who, "lifecycle.freeze", **jobs, reason="bug")
    bare.do("bureau", "lifecycle.retract_vote", **jobs, ballot="freeze")
    assert bare.refusal("bureau", "lifecycle.retract_vote", **jobs, ballot="freeze") == "NOT_VOTED"
    bare.do("rival", "lifecycle.freeze", **jobs, reason="bug")
    assert bare.ask("lifecycle.is_active", name="jobs"), "three of five, and a quorum is four"
    bare.advance(WEEK_MS + 1)
    bare.do("bureau", "lifecycle.freeze", **jobs, reason="bug")
    assert bare.ask("lifecycle.is_active", name="jobs")
    assert bare.trail("contract:jobs").count("ContractVoteRetracted") == 1


@pytest.mark.parametrize("ballot", ["revoke", "unfreeze"])
def test_a_vote_about_a_version_is_taken_back(bare: World, ballot: str) -> None:
    adopt(bare)
    if ballot == "unfreeze":
        for who in ("bank", "bureau", "registry"):
            bare.do(who, "lifecycle.freeze", **RULE, reason="bug")
    args = {} if ballot == "unfreeze" else {"reason": "bug"}
    for who in ("bank", "bureau"):
        bare.do(who, f"lifecycle.{ballot}", **RULE, **args)
    bare.do("bank", "lifecycle.retract_vote", **RULE, ballot=ballot)
    before = status(bare)
    bare.do("registry", f"lifecycle.{ballot}", **RULE, **args)
    assert status(bare) == before
    bare.do("bank", f"lifecycle.{ballot}", **RULE, **args)
    assert status(bare) != before
    assert bare.refusal("bank", "lifecycle.retract_vote", **RULE, ballot="mood") in (
        "UNKNOWN_BALLOT", "WRONG_STATE",
    )  # fmt: skip


def test_votes_of_members_that_left_do_not_count(bare: World) -> None:
    adopt(bare)
    for who in ("rival", "bureau"):
        bare.do(who, "lifecycle.revoke", **RULE, reason="bug")
    suspend, vote = wish(bare, "suspend_org", {"org": "rival"})
    for who in ("bureau", "registry", "regulator"):
        bare.do(who, "governance.approve", **vote)
    bare.do("bank", "governance.commit", seq=suspend)
    bare.do("registry", "lifecycle.revoke", **RULE, reason="bug")
    assert status(bare) == "active", "two of four"
    bare.do("regulator", "lifecycle.revoke", **RULE, reason="bug")
    assert status(bare) == "revoked"


def test_a_lone_freeze_ends_with_its_own_vote_and_not_with_anothers(bare: World) -> None:
    adopt(bare)
    bare.do("rival", "lifecycle.freeze", **RULE, reason="bug")
    until = bare.ask("lifecycle.contract_of", name="rule")["frozen_until"]
    bare.advance(blocks=100)
    bare.do("bank", "lifecycle.freeze", **RULE, reason="bug")
    assert bare.ask("lifecycle.contract_of", name="rule")["frozen_until"] > until
    bare.do("bank", "lifecycle.retract_vote", **RULE, ballot="freeze")
    assert bare.ask("lifecycle.contract_of", name="rule")["frozen_until"] == until
    bare.do("rival", "lifecycle.retract_vote", **RULE, ballot="freeze")
    assert status(bare) == "active"
    bare.do("rival", "lifecycle.freeze", **RULE, reason="again")
    assert status(bare) == "active", "once a version by its own word"


def test_a_later_freeze_does_not_end_an_earlier_one_that_would_have_lasted_longer(bare: World) -> None:
    adopt(bare)
    bare.do("rival", "lifecycle.freeze", **RULE, reason="bug")
    until = bare.ask("lifecycle.contract_of", name="rule")["frozen_until"]
    seq, vote = wish(bare, "set_terms", {"freeze_blocks": 10})
    for who in ("bureau", "registry", "rival"):
        bare.do(who, "governance.approve", **vote)
    bare.do("bank", "governance.commit", seq=seq)
    bare.do("bank", "lifecycle.freeze", **RULE, reason="bug")
    assert bare.fields("ContractFrozen")["until"] == until
    assert bare.ask("lifecycle.contract_of", name="rule")["frozen_until"] == until


def test_a_confirmed_freeze_is_not_voted_for_again_and_its_votes_are_spent(bare: World) -> None:
    adopt(bare)
    for who in ("bank", "bureau", "registry"):
        bare.do(who, "lifecycle.freeze", **RULE, reason="bug")
    assert bare.refusal("rival", "lifecycle.freeze", **RULE, reason="") == "WRONG_STATE"
    assert bare.refusal("bank", "lifecycle.retract_vote", **RULE, ballot="freeze") == "NOT_VOTED"
    for who in ("bank", "bureau", "registry"):
        bare.do(who, "lifecycle.unfreeze", **RULE)
    assert status(bare) == "active"
    for who in ("bank", "bureau"):
        bare.do(who, "lifecycle.freeze", **RULE, reason="again")
        assert status(bare) == "active"


# --- a frozen contract ---


def test_nothing_is_decided_on_the_word_of_a_frozen_contract(bare: World) -> None:
    adopt(bare)
    adopt(bare, "reader", READER)
    assert bare.do("bank", "reader.decide") == 1
    bare.do("rival", "lifecycle.freeze", **RULE, reason="wrong")
    assert bare.refusal("bank", "reader.decide") == "CONTRACT_FROZEN"
    assert bare.refusal("bank", "reader.look") == "CONTRACT_FROZEN"
    assert (bare.ask("reader.look"), bare.ask("rule.told"), bare.do("bank", "rule.told")) == (1, 1, 1)
    bare.advance(blocks=1_001)
    assert bare.do("bank", "reader.decide") == 1
