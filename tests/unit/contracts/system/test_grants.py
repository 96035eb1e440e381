"""Requests, approvals, narrowing, and the owner's hand on a grant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

START_MS = 1_760_000_000_000
DAY_MS = 24 * 3_600_000


def status(world: World, grant: str) -> str:
    return str(world.ask("grants.grant_of", id=grant)["status"])


# --- request -> approved, rejected, withdrawn, expired


def test_the_approver_s_word_makes_a_grant_active(world: World) -> None:
    world.request("bank/g1", "bureau/data")
    assert status(world, "bank/g1") == "requested"
    assert world.do("bureau", "grants.approve", id="bank/g1", terms={}) == "active"
    assert world.trail("grant:bank/g1") == ["GrantRequested", "GrantApproved", "GrantActivated"]
    assert world.trail("dataset:bureau/data")[-3:] == ["GrantRequested", "GrantApproved", "GrantActivated"]


def test_two_of_three_approvers_are_needed_and_each_counts_once(world: World) -> None:
    world.register("bureau", "bureau/shared", approvers=["bureau", "registry", "regulator"], threshold=2)
    world.request("bank/g1", "bureau/shared")
    assert world.do("registry", "grants.approve", id="bank/g1", terms={}) == "requested"
    assert world.refusal("registry", "grants.approve", id="bank/g1", terms={}) == "ALREADY_VOTED"
    assert world.do("regulator", "grants.approve", id="bank/g1", terms={}) == "active"


def test_only_an_approver_approves(world: World) -> None:
    world.request("bank/g1", "bureau/data")
    assert world.refusal("registry", "grants.approve", id="bank/g1", terms={}) == "NOT_APPROVER"


def test_nobody_approves_their_own_request(world: World) -> None:
    world.register("bureau", "bureau/shared", approvers=["bureau", "bank"], threshold=1)
    world.request("bank/g1", "bureau/shared", by="bank")
    assert world.refusal("bank", "grants.approve", id="bank/g1", terms={}) == "OWN_REQUEST"


def test_an_owner_among_several_approvers_does_not_approve_its_own_request(world: World) -> None:
    world.register("bank", "bank/shared", approvers=["bank", "bureau"], threshold=1)
    world.request("bank/g1", "bank/shared", by="bank")
    assert world.refusal("bank", "grants.approve", id="bank/g1", terms={}) == "OWN_REQUEST"
    assert world.do("bureau", "grants.approve", id="bank/g1", terms={}) == "active"


def test_a_sole_approver_may_use_its_own_data(world: World) -> None:
    world.register("bank", "bank/own")
    world.request("bank/g1", "bank/own", by="bank")
    assert world.do("bank", "grants.approve", id="bank/g1", terms={}) == "active"


def test_an_approver_who_was_replaced_no_longer_counts(world: World) -> None:
    world.register("bureau", "bureau/shared", approvers=["registry", "regulator"], threshold=2)
    world.request("bank/g1", "bureau/shared")
    world.do("registry", "grants.approve", id="bank/g1", terms={})
    world.do(
        "bureau", "datasets.set_approvers", id="bureau/shared", approvers=["bureau", "regulator"], threshold=2
    )
    assert world.do("regulator", "grants.approve", id="bank/g1", terms={}) == "requested"
    assert world.do("bureau", "grants.approve", id="bank/g1", terms={}) == "active"


def test_the_owner_s_rejection_is_final(world: World) -> None:
    world.request("bank/g1", "bureau/data")
    assert world.do("bureau", "grants.reject", id="bank/g1", reason="no basis") == "rejected"
    assert world.refusal("bureau", "grants.approve", id="bank/g1", terms={}) == "WRONG_STATE"
    assert world.trail("grant:bank/g1")[-1] == "GrantRejected"


def test_a_request_is_rejected_when_the_threshold_is_out_of_reach(world: World) -> None:
    world.register("bureau", "bureau/shared", approvers=["registry", "regulator", "rival"], threshold=2)
    world.request("bank/g1", "bureau/shared")
    assert world.do("registry", "grants.reject", id="bank/g1", reason="") == "requested"
    assert world.refusal("registry", "grants.approve", id="bank/g1", terms={}) == "ALREADY_VOTED"
    assert world.do("rival", "grants.reject", id="bank/g1", reason="") == "rejected"


def test_a_stranger_does_not_reject(world: World) -> None:
    world.request("bank/g1", "bureau/data")
    assert world.refusal("rival", "grants.reject", id="bank/g1", reason="") == "NOT_APPROVER"


def test_the_requester_withdraws(world: World) -> None:
    world.request("bank/g1", "bureau/data")
    assert world.refusal("rival", "grants.withdraw", id="bank/g1") == "NOT_REQUESTER"
    world.do("bank", "grants.withdraw", id="bank/g1")
    assert status(world, "bank/g1") == "withdrawn"


def test_an_undecided_request_expires_and_can_no_longer_be_approved(world: World) -> None:
    world.request("bank/g1", "bureau/data", expires=START_MS + DAY_MS)
    assert world.refusal("rival", "grants.expire", id="bank/g1") == "TOO_EARLY"
    world.advance(2 * DAY_MS)
    assert world.refusal("bureau", "grants.approve", id="bank/g1", terms={}) == "DEADLINE_PASSED"
    world.do("rival", "grants.expire", id="bank/g1")
    assert status(world, "bank/g1") == "expired"


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"id": "bank/g-bureau"}, "GRANT_EXISTS"),
        ({"id": "bank/G"}, "BAD_ID"),
        ({"id": "g1"}, "BAD_ID"),
        ({"id": "bank/a/b"}, "BAD_ID"),
        ({"id": "bureau/g1"}, "ID_NOT_OWN"),
        ({"dataset": "none"}, "UNKNOWN_DATASET"),
        ({"version": 2}, "UNKNOWN_VERSION"),
        ({"columns": {}}, "BAD_COLUMNS"),
        ({"columns": {"wealth": "plain"}}, "UNKNOWN_COLUMN"),
        ({"columns": {"age": "free"}}, "BAD_CONSTRAINT"),
        ({"purpose": "Any Purpose"}, "BAD_ID"),
        ({"legal_basis": "x" * 257}, "TEXT_TOO_LONG"),
        ({"asked_because": "x" * 257}, "TEXT_TOO_LONG"),
        ({"programs": []}, "BAD_PROGRAMS"),
        ({"programs": ["statistics", "statistics"]}, "BAD_PROGRAMS"),
        ({"receivers": []}, "BAD_RECEIVERS"),
        ({"receivers": ["nobody"]}, "UNKNOWN_ORG"),
        ({"co_parties": ["nobody"]}, "UNKNOWN_ORG"),
        ({"membership": ["nobody"]}, "UNKNOWN_ORG"),
        ({"membership": ["bank", "bank"]}, "BAD_ORGS"),
        ({"co_parties": ["bank", "bank"]}, "BAD_ORGS"),
        ({"profile": "rot13"}, "UNKNOWN_PROFILE"),
        ({"expires": START_MS}, "BAD_TERM"),
        ({"not_before": START_MS + 60 * DAY_MS}, "BAD_TERM"),
        ({"expires": START_MS + 4_000 * DAY_MS}, "BAD_TERM"),
        ({"quota_runs": 0}, "BAD_QUOTA"),
        ({"quota_runs": 1_000_001}, "BAD_QUOTA"),
        ({"run_epsilon": -1}, "BAD_EPSILON"),
        ({"run_epsilon": 10**12 + 1}, "BAD_EPSILON"),
        ({"min_group": 0}, "BAD_MIN_GROUP"),
        ({"policy": "none"}, "POLICY_UNKNOWN"),
    ],
)
def test_a_bad_request_is_refused(world: World, over: dict[str, object], code: str) -> None:
    args = {**world.terms("bank/g1", "bureau/data"), **over}
    assert world.refusal("bank", "grants.request", **args) == code


def test_requesting_needs_the_roles_and_an_active_dataset(world: World) -> None:
    args = world.terms("bank/g1", "bureau/data")
    assert world.refusal("bank/agent", "grants.request", **args) == "KEY_ROLE_MISSING"
    assert world.refusal("registry", "grants.request", **args | {"id": "registry/g1"}) == "ORG_ROLE_MISSING"
    world.do("bureau", "datasets.suspend", id="bureau/data", reason="")
    assert world.refusal("bank", "grants.request", **args) == "DATASET_NOT_ACTIVE"


# --- narrowing, at approval and later

NARROWER = [
    {"columns": {"id": "join-only"}},
    {"columns": {"id": "join-only", "income": "encrypted-only", "age": "compare-only"}},
    {"co_parties": ["bank"]},
    {"profile": "rep3-malicious"},
    {"not_before": START_MS + DAY_MS},
    {"expires": START_MS + DAY_MS},
    {"quota_runs": 1},
    {"run_epsilon": 0},
    {"run_epsilon": 10**9 - 1},
    {"min_group": 50},
    {"co_parties": []},
    {"membership": ["bureau"]},
    {"membership": []},
]
WIDER = [
    {"columns": {"secret": "plain"}},
    {"columns": {"id": "plain"}},
    {"columns": {"income": "join-only"}},
    {"columns": {}},
    {"co_parties": ["rival"]},
    {"membership": ["rival"]},
    {"receivers": ["bank", "bureau"]},
    {"receivers": []},
    {"programs": ["scoring"]},
    {"profile": "dealer"},
    {"expires": START_MS + 60 * DAY_MS},
    {"quota_runs": 3},
    {"quota_runs": 0},
    {"run_epsilon": 10**9 + 1},
    {"min_group": 9},
]


@pytest.mark.parametrize("terms", NARROWER)
def test_an_approval_may_narrow(world: World, terms: dict[str, object]) -> None:
    world.request("bank/g1", "bureau/data")
    world.do("bureau", "grants.approve", id="bank/g1", terms=terms)
    grant = world.read("grants", "grants", "bank/g1")
    assert {name: grant[name] for name in terms} == terms


@pytest.mark.parametrize("terms", WIDER)
def test_neither_approver_nor_owner_may_widen(world: World, terms: dict[str, object]) -> None:
    world.request("bank/g1", "bureau/data")
    assert world.refusal("bureau", "grants.approve", id="bank/g1", terms=terms) == "NOT_NARROWER"
    assert world.refusal("bureau", "grants.narrow", id="bank/g-bureau", terms=terms) == "NOT_NARROWER"


def test_terms_that_are_no_terms_are_refused(world: World) -> None:
    for name in ("purpose", "owner", "quota", "status"):
        assert world.refusal("bureau", "grants.narrow", id="bank/g-bureau", terms={name: "x"}) == "BAD_TERMS"
    assert (
        world.refusal("bureau", "grants.narrow", id="bank/g-bureau", terms={"expires": "x"}) == "TYPE_ERROR"
    )


def test_the_quota_is_not_narrowed_below_what_is_in_use(world: World) -> None:
    world.job_at("accepted")
    world.job_at("running")
    assert (
        world.refusal("bureau", "grants.narrow", id="bank/g-bureau", terms={"quota_runs": 1})
        == "QUOTA_IN_USE"
    )


def test_a_grant_is_not_narrowed_to_an_end_that_is_past_nor_after_its_end(world: World) -> None:
    narrow = {"id": "bank/g-bureau", "terms": {"expires": world.time}}
    assert world.refusal("bureau", "grants.narrow", **narrow) == "BAD_TERM"
    world.advance(30 * 24 * 3_600_000)
    over = {"id": "bank/g-bureau", "terms": {"quota_runs": 1}}
    assert world.refusal("bureau", "grants.narrow", **over) == "BAD_TERM"


# --- the owner alone


def test_only_the_owner_suspends_resumes_narrows_and_revokes(world: World) -> None:
    calls: list[tuple[str, dict[str, object]]] = [
        ("narrow", {"terms": {}}),
        ("suspend", {"reason": ""}),
        ("resume", {}),
        ("revoke", {"reason": ""}),
    ]
    for method, args in calls:
        for who in ("bank", "registry", "regulator"):
            assert world.refusal(who, f"grants.{method}", id="bank/g-bureau", **args) == "NOT_OWNER"
        assert (
            world.refusal("bureau/agent", f"grants.{method}", id="bank/g-bureau", **args)
            == "KEY_ROLE_MISSING"
        )


def test_active_suspended_active_revoked(world: World) -> None:
    world.do("bureau", "grants.suspend", id="bank/g-bureau", reason="review")
    assert status(world, "bank/g-bureau") == "suspended"
    assert world.refusal("bureau", "grants.suspend", id="bank/g-bureau", reason="") == "WRONG_STATE"
    world.do("bureau", "grants.resume", id="bank/g-bureau")
    assert world.refusal("bureau", "grants.resume", id="bank/g-bureau") == "WRONG_STATE"
    world.do("bureau", "grants.revoke", id="bank/g-bureau", reason="misuse")
    assert world.refusal("bureau", "grants.resume", id="bank/g-bureau") == "WRONG_STATE"
    assert world.refusal("bureau", "grants.revoke", id="bank/g-bureau", reason="") == "WRONG_STATE"
    assert world.trail("grant:bank/g-bureau")[-3:] == ["GrantSuspended", "GrantResumed", "GrantRevoked"]


def test_an_active_grant_expires_at_its_time_whoever_says_so(world: World) -> None:
    assert world.refusal("rival", "grants.expire", id="bank/g-bureau") == "TOO_EARLY"
    world.advance(31 * DAY_MS)
    assert world.ask("grants.state_of", id="bank/g-bureau") == "expired"
    world.do("rival", "grants.expire", id="bank/g-bureau")
    assert status(world, "bank/g-bureau") == "expired"
    assert world.refusal("rival", "grants.expire", id="bank/g-bureau") == "WRONG_STATE"


def test_the_methods_of_jobs_are_for_jobs_alone(world: World) -> None:
    calls: list[tuple[str, dict[str, object]]] = [
        ("admit", {"use": {}, "joined": b"", "by": "org:bank"}),
        ("reserve", {"use": {}, "org": "bank"}),
        ("begin", {"use": {}, "by": "org:bank"}),
        ("consume", {"ids": [], "job": "j", "joined": b"", "by": "org:bank"}),
        ("reveal", {"use": {}, "ids": [], "final": True, "by": "org:bank"}),
        ("record", {"ids": [], "job": "j", "phase": "p", "by": "org:bank"}),
        ("finish", {"ids": [], "job": "j", "outcome": "aborted", "answered": [], "by": "org:bank"}),
        ("give_back", {"ids": [], "job": "j", "by": "org:bank"}),
    ]
    for method, args in calls:
        assert world.refusal("bureau", f"grants.{method}", **args) == "JOBS_ONLY"


def test_an_unknown_grant_is_named(world: World) -> None:
    assert world.refusal("bureau", "grants.revoke", id="none", reason="") == "UNKNOWN_GRANT"
