"""Votes on requests and programs: of exact terms, of members, taken back, never met without effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

PARTIES = ("bank", "bureau", "registry")
START_MS = 1_760_000_000_000
DAY_MS = 24 * 3_600_000
ONE = bytes([1]) * 32


def shared(world: World, approvers: list[str], threshold: int, **over: Any) -> None:
    """A dataset of the bureau with these approvers, and the bank's request for it."""
    world.register("bureau", "bureau/shared", approvers=approvers, threshold=threshold)
    world.request("bank/g1", "bureau/shared", **over)


def approve(world: World, who: str, **terms: Any) -> str:
    state: str = world.do(who, "grants.approve", id="bank/g1", terms=terms)
    return state


def status(world: World) -> str:
    return str(world.ask("grants.grant_of", id="bank/g1")["status"])


# --- of exact terms


def test_approvals_of_different_terms_do_not_add_up(world: World) -> None:
    shared(world, ["bureau", "registry", "regulator"], 2)
    assert approve(world, "bureau") == "requested"
    assert approve(world, "registry", min_group=50) == "requested"
    assert approve(world, "regulator", min_group=50) == "active"
    grant = world.ask("grants.grant_of", id="bank/g1")
    assert (grant["min_group"], grant["approvals"]) == (50, ["registry", "regulator"])
    event = world.fields("GrantActivated")
    assert (event["terms"], event["approvals"]) == ({"min_group": 50}, ["registry", "regulator"])


def test_one_approver_cannot_make_a_request_worthless_for_the_others(world: World) -> None:
    """Its terms are its own: the others approve what was asked."""
    shared(world, ["bureau", "registry", "regulator"], 2)
    approve(world, "bureau", min_group=10**9, quota_runs=1, expires=world.time + DAY_MS)
    approve(world, "registry")
    assert approve(world, "regulator") == "active"
    assert world.read("grants", "grants", "bank/g1")["min_group"] == 10


def test_terms_as_requested_are_the_same_as_none(world: World) -> None:
    shared(world, ["bureau", "registry"], 2)
    approve(world, "bureau", min_group=10, quota_runs=2)
    assert approve(world, "registry") == "active"


@pytest.mark.parametrize("term", [{"quota_runs": True}, {"min_group": True}, {"not_before": False}])
def test_terms_that_only_equal_what_was_requested_are_of_a_wrong_type(
    world: World, term: dict[str, object]
) -> None:
    shared(world, ["bureau"], 1)
    name = next(iter(term))
    record = world.read("grants", "grants", "bank/g1")
    world.put("grants", "grants", "bank/g1", {**record, name: int(bool(term[name]))})
    assert world.refusal("bureau", "grants.approve", id="bank/g1", terms=term) == "TYPE_ERROR"


def test_an_offer_whose_policy_cannot_answer_does_not_hide_one_that_has_the_votes(world: World) -> None:
    world.policy("rules", "@view\ndef allow(job: dict, phase: str) -> bool:\n    return True\n")
    shared(world, ["bureau", "registry"], 2)
    approve(world, "bureau", policy="rules")
    approve(world, "registry")
    world.do(
        "bureau", "datasets.set_approvers", id="bureau/shared", approvers=["bureau", "registry"], threshold=1
    )
    frozen = world.fork()
    assert world.do("rival", "grants.settle", id="bank/g1") == "active"
    assert world.read("grants", "grants", "bank/g1")["policy"] == "rules"
    frozen.do("rival", "lifecycle.freeze", name="rules", seq=1, reason="")
    assert frozen.do("rival", "grants.settle", id="bank/g1") == "active"
    assert frozen.read("grants", "grants", "bank/g1")["policy"] == ""
    assert frozen.fields("GrantActivated")["approvals"] == ["registry"]


def test_an_approval_never_lets_a_grant_end_in_the_past(world: World) -> None:
    shared(world, ["bureau", "registry", "regulator"], 2)
    for expires in (1, world.time):
        args = {"id": "bank/g1", "terms": {"expires": expires}}
        assert world.refusal("bureau", "grants.approve", **args) == "BAD_TERM"
    approve(world, "bureau", expires=world.time + 5_000)
    world.advance(6_000)
    late = {"id": "bank/g1", "terms": {"expires": world.time - 1_000}}
    assert world.refusal("registry", "grants.approve", **late) == "BAD_TERM"
    world.do("bureau", "datasets.set_approvers", id="bureau/shared", approvers=["bureau"], threshold=1)
    assert world.refusal("rival", "grants.settle", id="bank/g1") == "NOT_DECIDED"
    assert (status(world), world.trail("grant:bank/g1").count("GrantActivated")) == ("requested", 0)


# --- taken back, and lapsing


def test_a_vote_is_taken_back_and_given_anew(world: World) -> None:
    shared(world, ["bureau", "registry", "regulator"], 2)
    approve(world, "registry")
    assert world.do("registry", "grants.retract", id="bank/g1") == "approval"
    assert approve(world, "regulator") == "requested"
    world.do("registry", "grants.reject", id="bank/g1", reason="")
    assert world.do("registry", "grants.retract", id="bank/g1") == "rejection"
    assert world.refusal("registry", "grants.retract", id="bank/g1") == "NOT_VOTED"
    assert approve(world, "registry") == "active"
    assert world.refusal("registry", "grants.retract", id="bank/g1") == "WRONG_STATE"


def test_votes_lapse_with_the_request_and_leave_nothing_behind(world: World) -> None:
    shared(world, ["bureau", "registry", "regulator"], 2)
    approve(world, "registry", min_group=20)
    assert [vote["org"] for vote in world.ask("grants.ballot_for", id="bank/g1")] == ["registry"]
    world.advance(30 * DAY_MS)
    assert world.refusal("regulator", "grants.approve", id="bank/g1", terms={}) == "DEADLINE_PASSED"
    assert world.refusal("registry", "grants.retract", id="bank/g1") == "DEADLINE_PASSED"
    assert world.ask("grants.state_of", id="bank/g1") == "expired"
    world.do("rival", "grants.expire", id="bank/g1")
    assert world.ask("grants.ballot_for", id="bank/g1") == []
    assert not [key for contract, key in world.state if contract == "grants" and key.startswith(b"offers/")]


# --- of members that may decide


def test_an_approval_of_a_member_that_was_expelled_does_not_count(world: World) -> None:
    shared(world, ["rival", "registry", "regulator"], 2)
    approve(world, "rival")
    world.decide("expel_org", org="rival")
    assert approve(world, "registry") == "requested"
    assert approve(world, "regulator") == "active"
    assert world.read("grants", "standing", "bank/g1")["approvals"] == ["registry", "regulator"]


def test_a_threshold_that_is_met_by_new_approvers_takes_effect_at_anyone_s_word(world: World) -> None:
    shared(world, ["bureau", "registry"], 2)
    approve(world, "registry")
    assert world.refusal("rival", "grants.settle", id="bank/g1") == "NOT_DECIDED"
    world.do("bureau", "datasets.set_approvers", id="bureau/shared", approvers=["registry"], threshold=1)
    assert world.refusal("registry", "grants.approve", id="bank/g1", terms={}) == "ALREADY_VOTED"
    assert world.do("rival", "grants.settle", id="bank/g1") == "active"


def test_a_grantee_that_is_suspended_is_granted_nothing_until_it_is_back(world: World) -> None:
    shared(world, ["bureau"], 1)
    world.decide("suspend_org", org="bank")
    assert world.refusal("bureau", "grants.approve", id="bank/g1", terms={}) == "ORG_NOT_ACTIVE"
    assert world.refusal("rival", "grants.settle", id="bank/g1") == "NOT_DECIDED"
    world.decide("reinstate_org", org="bank")
    assert approve(world, "bureau") == "active"


# --- out of reach


def test_a_request_that_its_own_approver_cannot_carry_is_rejected(world: World) -> None:
    """Two of three, of whom one asks and one says no."""
    shared(world, ["bank", "bureau", "registry"], 2)
    assert world.do("registry", "grants.reject", id="bank/g1", reason="no") == "rejected"
    assert world.trail("grant:bank/g1")[-2:] == ["GrantRejectVoted", "GrantRejected"]


def test_a_request_that_can_never_succeed_is_not_taken(world: World) -> None:
    world.register("bureau", "bureau/shared", approvers=["bank", "bureau"], threshold=2)
    args = world.terms("bank/g1", "bureau/shared")
    assert world.refusal("bank", "grants.request", **args) == "THRESHOLD_OUT_OF_REACH"


@pytest.mark.parametrize("change", ["expelled", "retired", "grantee"])
def test_a_request_out_of_reach_is_rejected_at_anyone_s_word(world: World, change: str) -> None:
    shared(world, ["rival", "registry"], 2)
    approve(world, "registry")
    if change == "expelled":
        world.decide("expel_org", org="rival")
    elif change == "retired":
        world.do("bureau", "datasets.retire", id="bureau/shared", reason="")
        assert world.refusal("rival", "grants.approve", id="bank/g1", terms={}) == "DATASET_NOT_ACTIVE"
    else:
        world.decide("remove_node", name="bank-node")
        world.decide("expel_org", org="bank")
    assert world.do("registry", "grants.settle", id="bank/g1") == "rejected"
    assert world.trail("grant:bank/g1")[-1] == "GrantRejected"


def test_a_suspended_approver_may_come_back_so_its_request_stays_open(world: World) -> None:
    shared(world, ["rival", "registry"], 2)
    approve(world, "registry")
    world.decide("suspend_org", org="rival")
    assert world.refusal("regulator", "grants.settle", id="bank/g1") == "NOT_DECIDED"
    world.decide("reinstate_org", org="rival")
    assert approve(world, "rival") == "active"
