"""The guard of a grant: every refusal, at every phase; early and late revocation; the policy contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

PARTIES = ("bank", "bureau", "registry")
START_MS = 1_760_000_000_000
DAY_MS = 24 * 3_600_000
PHASES = ("proposed", "accepted", "running", "reveal")

POLICY = """
mode = Var(str, "allow")
asked = Var(list, [])

@export
def set_mode(text: str):
    mode.set(text)

@export(nested=True)
def allow(job: dict, phase: str) -> bool:
    require(mode.get() != "revert", "NOT_TODAY")
    require(ctx.caller == "contract:grants", "GRANTS_ONLY")
    asked.set(asked.get() + [phase])
    return mode.get() != "deny " + phase
"""


# --- no input without an active grant that covers it, at each phase

CHANGES: dict[str, Callable[[World], object]] = {
    "GRANT_REVOKED": lambda w: w.do("bureau", "grants.revoke", id="bank/g-bureau", reason="stop"),
    "GRANT_SUSPENDED": lambda w: w.do("bureau", "grants.suspend", id="bank/g-bureau", reason="wait"),
    "GRANT_NOT_YET_VALID": lambda w: _narrow(w, not_before=START_MS + DAY_MS),
    "GRANT_EXPIRED": lambda w: _narrow(w, expires=w.time + 101),  # a block takes 100 ms
    "DATASET_NOT_ACTIVE": lambda w: w.do("bureau", "datasets.suspend", id="bureau/data", reason=""),
    "COLUMN_NOT_GRANTED": lambda w: _narrow(w, columns={"id": "join-only"}),
    "CO_PARTY_NOT_GRANTED": lambda w: _narrow(w, co_parties=["bureau"]),
    "MEMBERSHIP_NOT_GRANTED": lambda w: _narrow(w, membership=["bank"]),
    "PROFILE_TOO_WEAK": lambda w: _narrow(w, profile="rep3-malicious"),
    "MIN_GROUP_TOO_LOW": lambda w: _narrow(w, min_group=11),
}


def _narrow(world: World, **terms: object) -> object:
    return world.do("bureau", "grants.narrow", id="bank/g-bureau", terms=terms)


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("code", list(CHANGES))
def test_what_the_owner_changed_is_seen_at_the_next_phase(world: World, phase: str, code: str) -> None:
    attempt = world.brink(phase)
    CHANGES[code](world)
    assert attempt() == code


def noisy(world: World) -> dict[str, Any]:
    """Return a job that takes an epsilon of 1 of each dataset."""
    uses = {"id": "join", "income": "noisy"}
    return world.spec(inputs=[world.use(f"bank/g-{name}", f"{name}/data", uses) for name in PARTIES])


def test_a_run_takes_no_more_epsilon_than_whoever_approved_the_grant_had_read(world: World) -> None:
    job = world.do("bank", "jobs.propose", spec=noisy(world))
    _narrow(world, run_epsilon=10**9 - 1)
    assert world.refusal("bank", "jobs.propose", spec=noisy(world)) == "EPSILON_NOT_GRANTED"
    accepted = world.refusal("bureau/agent", "jobs.accept", job=job, plan=world.plan_of(job))
    assert accepted == "EPSILON_NOT_GRANTED", "a grant that is narrowed meanwhile is asked again"


def test_a_grant_that_allows_no_epsilon_lets_figures_without_noise_pass(world: World) -> None:
    _narrow(world, run_epsilon=0)
    world.job_at("accepted")


@pytest.mark.parametrize("phase", PHASES)
def test_time_alone_ends_a_grant(world: World, phase: str) -> None:
    _narrow(world, expires=world.time + 3_000)
    attempt = world.brink(phase)
    world.advance(3_000)
    assert attempt() == "GRANT_EXPIRED"


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"purpose": "marketing"}, "PURPOSE_MISMATCH"),
        ({"program": "scoring"}, "PROGRAM_NOT_GRANTED"),
        ({"min_group": 9}, "MIN_GROUP_TOO_LOW"),
        ({"receivers": ["bank", "bureau"]}, "RECEIVER_NOT_GRANTED"),
    ],
)
def test_a_job_beyond_its_grants_is_not_proposed(world: World, over: dict[str, object], code: str) -> None:
    assert world.refusal("bank", "jobs.propose", spec=world.spec(**over)) == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"columns": {"secret": "plain"}}, "COLUMN_NOT_GRANTED"),
        ({"columns": {"income": "plain"}}, "CONSTRAINT_VIOLATED"),
        ({"columns": {"id": "encrypted"}}, "CONSTRAINT_VIOLATED"),
        ({"dataset": "bank/data"}, "DATASET_NOT_GRANTED"),
        ({"version": 2}, "VERSION_NOT_GRANTED"),
        ({"grant": "none"}, "UNKNOWN_GRANT"),
        ({"columns": {}}, "BAD_INPUTS"),
    ],
)
def test_an_input_beyond_its_grant_is_not_proposed(
    world: World, change: dict[str, object], code: str
) -> None:
    if change == {"version": 2}:
        args = {"schema": world.declare("bureau"), "root": bytes(32), "size_bucket": "<=100"}
        world.do("bureau", "datasets.new_version", id="bureau/data", **args)
    inputs = [world.use(f"bank/g-{name}", f"{name}/data") for name in PARTIES]
    inputs[1] = {**inputs[1], **change}
    assert world.refusal("bank", "jobs.propose", spec=world.spec(inputs=inputs)) == code


def test_a_plain_column_may_be_used_in_any_way(world: World) -> None:
    inputs = [world.use(f"bank/g-{name}", f"{name}/data", {"age": use}) for name, use in
              zip(PARTIES, ("plain", "aggregate", "encrypted"), strict=True)]  # fmt: skip
    assert world.propose(inputs=inputs)


def test_another_org_cannot_use_a_grant(world: World) -> None:
    assert world.refusal("rival", "jobs.propose", spec=world.spec()) == "NOT_GRANTEE"


def test_a_party_outside_the_grant_is_refused(world: World) -> None:
    spec = world.spec()
    key = world.ask("orgs.org_of", id="rival")["agent_key"]
    spec["participants"] = [*spec["participants"], {"org": "rival", "role": "compute", "agent_key": key}]
    assert world.refusal("bank", "jobs.propose", spec=spec) == "CO_PARTY_NOT_GRANTED"


def test_a_grant_that_was_never_approved_covers_nothing(world: World) -> None:
    world.request("bank/g1", "bureau/data")
    inputs = [world.use("bank/g1", "bureau/data", {"age": "encrypted"})]
    assert world.refusal("bank", "jobs.propose", spec=world.spec(inputs=inputs)) == "GRANT_NOT_ACTIVE"


def test_a_third_run_is_refused(world: World) -> None:
    world.job_at("certified")
    world.job_at("certified")
    assert world.refusal("bank", "jobs.propose", spec=world.spec()) == "QUOTA_EXHAUSTED"
    assert world.ask("grants.state_of", id="bank/g-bank") == "exhausted"
    assert "GrantExhausted" in world.trail("grant:bank/g-bank")


def test_runs_are_reserved_atomically_so_that_proposals_cannot_overdraw(world: World) -> None:
    jobs = [world.propose() for _ in range(3)]
    for job in jobs[:2]:
        world.accept(job)
    assert (
        world.refusal("bank/agent", "jobs.accept", job=jobs[2], plan=world.plan_of(jobs[2]))
        == "QUOTA_EXHAUSTED"
    )
    world.do("bank", "jobs.abort", job=jobs[0], cause="STOPPED", detail={}, evidence=b"")
    world.accept(jobs[2])
    assert world.quota("bank/g-bureau") == (0, 2)


def test_the_last_run_of_a_quota_can_be_finished(world: World) -> None:
    _narrow(world, quota_runs=1)
    world.job_at("certified")
    assert world.quota("bank/g-bureau") == (1, 0)


def test_the_guard_can_be_asked_without_a_transaction(world: World) -> None:
    spec = world.spec(purpose="marketing")
    use = {
        **{name: spec[name] for name in ("program", "purpose", "profile", "min_group", "parameters")},
        **{
            "job": "none",
            "grant": "bank/g-bureau",
            "initiator": "bank",
            "dataset": "bureau/data",
            "version": 1,
            "name": "d1",
            "membership": {"d1": ["bank"]},
            "epsilon": {"d1": 0},
        },
        **{"columns": {"age": "plain"}, "participants": ["bank"], "receivers": ["bank"], "inputs": []},
    }
    with pytest.raises(Exception, match="PURPOSE_MISMATCH"):
        world.ask("grants.covers", id="bank/g-bureau", use=use, phase="proposed")
    good = {**use, "purpose": "credit-risk"}
    assert world.ask("grants.covers", id="bank/g-bureau", use=good, phase="proposed") == "bureau"


# --- revocation: in time, and too late


def test_a_revocation_while_a_job_runs_stops_the_result(world: World) -> None:
    job = world.job_at("computed")
    world.reveal(job, "bureau")
    world.do("bureau", "grants.revoke", id="bank/g-bureau", reason="complaint")
    world.reveal(job, "bank")
    assert world.refusal("registry/agent", "jobs.approve_reveal", job=job) == "GRANT_REVOKED"
    assert world.state_of(job) == "computed"
    event = world.fields("GrantRevoked")
    assert (event["stopped"], event["too_late"]) == ([f"job:{job}"], [])
    world.advance(DAY_MS)
    world.do("rival", "jobs.expire", job=job)
    assert world.quota("bank/g-bureau") == (1, 0)


def test_a_revocation_after_the_reveal_is_recorded_as_too_late(world: World) -> None:
    job = world.job_at("revealed")
    world.do("bureau", "grants.revoke", id="bank/g-bureau", reason="complaint")
    event = world.fields("GrantRevoked")
    assert (event["stopped"], event["too_late"], event["revealed"]) == ([], [f"job:{job}"], 1)
    world.result(job)
    world.sign(job)
    assert world.state_of(job) == "certified"
    assert world.refusal("bank", "jobs.propose", spec=world.spec()) == "GRANT_REVOKED"


# --- the policy contract


@pytest.fixture
def ruled(world: World) -> World:
    """The same consortium, where the bureau's grant asks the contract `rules`."""
    world.policy("rules", POLICY)
    _narrow(world, policy="rules")
    return world


def test_the_policy_is_asked_at_every_phase(ruled: World) -> None:
    ruled.job_at("certified")
    from chain.primitives.runtimeport import var_key
    from chain.primitives.values import decode_value

    asked = decode_value(ruled.state["rules", var_key("asked")], max_bytes=1 << 16)
    assert list(dict.fromkeys(asked)) == list(PHASES)


@pytest.mark.parametrize("phase", PHASES)
def test_the_policy_s_no_stops_any_phase(ruled: World, phase: str) -> None:
    attempt = ruled.brink(phase)
    ruled.do("bank", "rules.set_mode", text=f"deny {phase}")
    assert attempt() == "POLICY_DENIED"


@pytest.mark.parametrize("phase", PHASES)
def test_a_policy_that_reverts_denies(ruled: World, phase: str) -> None:
    attempt = ruled.brink(phase)
    ruled.do("bank", "rules.set_mode", text="revert")
    assert attempt() == "NOT_TODAY"


@pytest.mark.parametrize("phase", PHASES)
def test_a_frozen_policy_denies(ruled: World, phase: str) -> None:
    attempt = ruled.brink(phase)
    ruled.do("rival", "lifecycle.freeze", name="rules", seq=1, reason="bug")
    assert attempt()


def test_a_revoked_policy_denies(ruled: World) -> None:
    attempt = ruled.brink("reveal")
    for who in PARTIES:
        ruled.do(who, "lifecycle.revoke", name="rules", seq=1, reason="bug")
    assert attempt()


@pytest.mark.parametrize(
    "source",
    [
        "@view\ndef allow(job: dict, phase: str) -> int:\n    return 1\n",
        "@view\ndef allow(job: dict, phase: str):\n    pass\n",
        "@view\ndef other(job: dict, phase: str) -> bool:\n    return True\n",
        "@view\ndef allow(job: dict) -> bool:\n    return True\n",
    ],
    ids=["int", "none", "missing", "signature"],
)
def test_a_policy_that_cannot_answer_is_refused_when_it_is_set(world: World, source: str) -> None:
    world.policy("rules", source)
    terms = {"policy": "rules"}
    assert world.refusal("bureau", "grants.narrow", id="bank/g-bureau", terms=terms) == "POLICY_SHAPE"
    assert (
        world.refusal("bank", "grants.request", **world.terms("bank/g1", "bureau/data") | terms)
        == "POLICY_SHAPE"
    )
    world.request("bank/g1", "bureau/data")
    assert world.refusal("bureau", "grants.approve", id="bank/g1", terms=terms) == "POLICY_SHAPE"


@pytest.mark.parametrize("name", ["orgs", "lifecycle", "grants", "jobs"])
def test_a_system_contract_is_no_policy(world: World, name: str) -> None:
    terms = {"policy": name}
    assert world.refusal("bureau", "grants.narrow", id="bank/g-bureau", terms=terms) == "POLICY_SYSTEM"
    assert (
        world.refusal("bank", "grants.request", **world.terms("bank/g1", "bureau/data") | terms)
        == "POLICY_SYSTEM"
    )


@pytest.mark.parametrize(
    "source",
    [
        "@view\ndef allow(job: dict, phase: str) -> bool:\n    while True:\n        pass\n",
        "jobs = Contract('jobs')\n\n@view\ndef allow(job: dict, phase: str) -> bool:\n"
        "    jobs.job_of(id='x')\n    return True\n",
        "grants = Contract('grants')\n\n@view\ndef allow(job: dict, phase: str) -> bool:\n"
        "    grants.state_of(id='g-bureau')\n    return True\n",
    ],
    ids=["endless", "enters-jobs", "enters-grants"],
)
def test_only_true_from_a_working_policy_passes(world: World, source: str) -> None:
    world.policy("rules", source)
    _narrow(world, policy="rules")
    assert world.refusal("bank", "jobs.propose", spec=world.spec())


def test_a_policy_is_never_exchanged(ruled: World) -> None:
    for policy in ("", "other"):
        terms = {"policy": policy}
        assert ruled.refusal("bureau", "grants.narrow", id="bank/g-bureau", terms=terms) == "NOT_NARROWER"
    assert ruled.refusal("bank", "grants.narrow", id="bank/g-bank", terms={"policy": "none"})
    bad = {"policy": "none"}
    assert ruled.refusal("registry", "grants.narrow", id="bank/g-registry", terms=bad) == "POLICY_UNKNOWN"
