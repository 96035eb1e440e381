"""How a job ends otherwise: aborted, expired, disputed; and what becomes of its runs."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from chain.primitives.crypto import PrivateKey
from tests.unit.contracts.system.founding import proof_of

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

PARTIES = ("bank", "bureau", "registry")
HOUR_MS = 3_600_000
WEEK_MS = 7 * 24 * HOUR_MS
ONE = bytes([1]) * 32
UPHELD = {"outcome": "upheld", "blamed": ["bureau"], "evidence": ONE}
STATES = ("proposed", "accepted", "running", "computed", "revealed", "committed")
BEFORE_JOINING = ("proposed", "accepted", "running")


def report(world: World, job: str, who: str = "bank", against: str = "bureau") -> int:
    number: int = world.do(who, "jobs.report", job=job, kind="late", against=against, evidence=ONE)
    return number


# --- aborted


@pytest.mark.parametrize("state", STATES)
def test_a_participant_aborts_and_only_an_unused_run_returns(world: World, state: str) -> None:
    job = world.job_at(state)
    world.do("bureau/agent", "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=ONE)
    assert world.state_of(job) == "aborted"
    spent = (0, 0) if state in BEFORE_JOINING else (1, 0)
    assert [world.quota(f"bank/g-{name}") for name in PARTIES] == [spent] * 3
    assert world.trail("dataset:bureau/data")[-1] == "aborted"


def test_an_abort_once_running_needs_evidence(world: World) -> None:
    job = world.job_at("accepted")
    assert (
        world.refusal("rival", "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=b"")
        == "NOT_PARTICIPANT"
    )
    assert (
        world.refusal("bank", "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=b"1") == "BAD_HASH"
    )
    world.bind(job)
    assert (
        world.refusal("bank", "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=b"")
        == "EVIDENCE_REQUIRED"
    )


# --- expired


@pytest.mark.parametrize("state", STATES)
def test_anyone_ends_a_state_past_its_deadline(world: World, state: str) -> None:
    job = world.job_at(state)
    assert world.refusal("rival", "jobs.expire", job=job) == "TOO_EARLY"
    world.advance(HOUR_MS + 1)
    absent = world.ask("jobs.missing", id=job)
    assert absent == (["bank"] if state == "revealed" else list(PARTIES))
    world.do("rival", "jobs.expire", job=job)
    assert world.state_of(job) == "expired"
    assert world.quota("bank/g-registry") == ((0, 0) if state in BEFORE_JOINING else (1, 0))


@pytest.mark.parametrize(
    ("state", "method", "args"),
    [
        ("proposed", "accept", {"plan": ONE}),
        ("proposed", "reject", {"cause": "STOPPED", "detail": {}}),
        ("accepted", "bind", {"commitment": ONE}),
        ("running", "commit_transcript", {"profile": "rep3", "channels": {}}),
        ("computed", "approve_reveal", {}),
        ("revealed", "commit_result", {"hash": ONE, "schema": "", "metrics": {}}),
        ("committed", "certify", {"digest": ONE, "signature": bytes(64)}),
    ],
)
def test_a_step_after_the_deadline_is_refused(
    world: World, state: str, method: str, args: dict[str, object]
) -> None:
    job = world.job_at(state)
    world.advance(HOUR_MS + 1)
    assert world.refusal("bank/agent", f"jobs.{method}", job=job, **args) == "DEADLINE_PASSED"


GUARDED = ("proposed", "accepted", "computed")
AGREED = GUARDED[1:]


def new_agent(world: World, org: str) -> None:
    key = PrivateKey(sha256(b"another agent of " + org.encode()).digest())
    agent = {"agent_key": key.public, "agent_address": "h:1", "proof": proof_of(key, org)}
    world.do(org, "orgs.set_agent", **agent)


def retire(world: World) -> None:
    for who in ("bank", "bureau", "registry"):
        world.do(who, "programs.retire", id="statistics", reason="")


def ended(world: World, job: str, *, unfit: tuple[str, ...] = ()) -> list[str]:
    """Let a job's time pass and end it; return whom its end names, having asked the view and an abort too.

    Before anybody binds, of those whom the view names only who is `unfit` is to blame.
    """
    world.advance(HOUR_MS + 1)
    named = [f"org:{org}" for org in world.ask("jobs.missing", id=job)]
    if world.state_of(job) == "proposed":
        named = []
    if world.state_of(job) == "accepted" and not world.read("jobs", "jobs", job)["bound"]:
        named = [org for org in named if org in unfit]
    aborted = world.fork()
    aborted.do("bank", "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=ONE)
    assert aborted.fields("JobAborted")["missing"] == named
    world.do("rival", "jobs.expire", job=job)
    assert world.fields("JobExpired")["missing"] == named
    return named


@pytest.mark.parametrize("state", AGREED)
def test_a_party_whose_new_agent_key_keeps_the_others_from_their_steps_is_missing_alone(
    world: World, state: str
) -> None:
    job = world.job_at(state)
    new_agent(world, "registry")
    assert ended(world, job, unfit=("org:registry",)) == ["org:registry"]


def test_the_last_owner_is_not_missing_whom_another_s_new_agent_key_keeps_from_binding(world: World) -> None:
    job = world.job_at("accepted")
    world.bind(job, "bureau", "registry")
    new_agent(world, "registry")
    args = {"job": job, "commitment": ONE}
    assert world.refusal("bank/agent", "jobs.bind", **args) == "AGENT_KEY_MISMATCH"
    assert ended(world, job) == ["org:registry"]


@pytest.mark.parametrize("state", AGREED)
def test_a_suspended_party_is_missing_alone(world: World, state: str) -> None:
    job = world.job_at(state)
    world.decide("suspend_org", org="bureau")
    assert ended(world, job, unfit=("org:bureau",)) == ["org:bureau"]


@pytest.mark.parametrize("state", GUARDED)
@pytest.mark.parametrize("what", ["revoked", "suspended", "dataset", "program"])
def test_nobody_is_missing_where_no_step_could_pass(world: World, state: str, what: str) -> None:
    job = world.job_at(state)
    if what == "revoked":
        world.do("bureau", "grants.revoke", id="bank/g-bureau", reason="")
    elif what == "suspended":
        world.do("bureau", "grants.suspend", id="bank/g-bureau", reason="")
    elif what == "dataset":
        world.do("bureau", "datasets.suspend", id="bureau/data", reason="")
    else:
        retire(world)
    assert ended(world, job) == []


YES = "@view\ndef allow(job: dict, phase: str) -> bool:\n    return True\n"


@pytest.mark.parametrize(
    "terms",
    [
        {"min_group": 11},
        {"columns": {"id": "join-only"}},
        {"co_parties": ["bureau"]},
        {"membership": []},
        {"profile": "rep3-malicious"},
        {"receivers": ["registry"]},
        {"programs": ["other"]},
        {"not_before": 1_760_086_400_000},
    ],
    ids=lambda terms: next(iter(terms)),
)
@pytest.mark.parametrize("state", AGREED)
def test_who_narrows_its_grant_once_its_own_step_is_in_makes_nobody_missing(
    world: World, state: str, terms: dict[str, object]
) -> None:
    """Else a dishonest owner has honest ones named: their steps are refused, and they stand as silent."""
    wide = {"receivers": ["bank", "registry"], "programs": ["statistics", "other"]}
    for name in terms.keys() & wide.keys():
        grant = world.read("grants", "grants", "bank/g-bureau")
        world.put("grants", "grants", "bank/g-bureau", {**grant, name: wide[name]})
    job = world.job_at(state)
    step = ("jobs.bind", {"commitment": ONE}) if state == "accepted" else ("jobs.approve_reveal", {})
    world.do("bureau/agent", step[0], job=job, **step[1])
    world.do("bureau", "grants.narrow", id="bank/g-bureau", terms=terms)
    assert ended(world, job) == []


@pytest.mark.parametrize("what", ["frozen", "shape"])
@pytest.mark.parametrize("state", AGREED)
def test_nobody_is_missing_while_a_policy_cannot_answer(world: World, state: str, what: str) -> None:
    world.policy("rules", YES)
    world.do("bureau", "grants.narrow", id="bank/g-bureau", terms={"policy": "rules"})
    job = world.job_at(state)
    assert world.fork().ask("jobs.missing", id=job) == list(PARTIES)
    if what == "frozen":
        world.do("rival", "lifecycle.freeze", name="rules", seq=1, reason="")
    else:
        world.policy("rules", YES.replace("allow", "permit"))
    assert ended(world, job) == []


def test_nobody_is_missing_from_a_job_whose_run_another_job_took(world: World) -> None:
    world.do("bureau", "grants.narrow", id="bank/g-bureau", terms={"quota_runs": 1})
    first, second = world.propose(), world.propose(nonce=bytes([9]) * 16)
    world.accept(first)
    assert world.ask("jobs.missing", id=second) == []
    assert ended(world, second) == []


def test_who_never_agreed_to_a_job_is_missing_from_none(world: World) -> None:
    """A second after a member proposed it, a stranger would else be named for all to see."""
    job = world.propose()
    world.accept(job, "bank")
    assert world.ask("jobs.missing", id=job) == ["bureau", "registry"]
    new_agent(world, "registry")
    assert ended(world, job) == []


@pytest.mark.parametrize("state", ["running", "revealed", "committed"])
def test_an_agent_key_that_changed_where_no_step_is_refused_for_it_accuses_nobody_else(
    world: World, state: str
) -> None:
    job = world.job_at(state)
    silent = [f"org:{org}" for org in world.ask("jobs.missing", id=job)]
    new_agent(world, "registry")
    assert ended(world, job) == silent


@pytest.mark.parametrize("final", ["certified", "aborted", "expired", "rejected"])
def test_a_final_job_never_changes(world: World, final: str) -> None:
    job = world.job_at("certified" if final == "certified" else "proposed")
    if final == "aborted":
        world.do("bank", "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=b"")
    if final == "rejected":
        world.do("bank", "jobs.reject", job=job, cause="STOPPED", detail={})
    if final == "expired":
        world.advance(HOUR_MS + 1)
        world.do("rival", "jobs.expire", job=job)
    world.advance(WEEK_MS)
    assert (
        world.refusal("bank", "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=ONE)
        == "WRONG_STATE"
    )
    assert world.refusal("rival", "jobs.expire", job=job) == "WRONG_STATE"
    assert world.ask("jobs.missing", id=job) == []


# --- disputed


@pytest.mark.parametrize("state", STATES)
def test_a_dispute_stops_an_open_job_and_a_dismissal_lets_it_go_on(world: World, state: str) -> None:
    job = world.job_at(state)
    number = report(world, job)
    assert world.state_of(job) == "disputed"
    args = {"job": job, "number": number, "outcome": "dismissed", "blamed": [], "evidence": ONE}
    assert world.do("regulator", "jobs.resolve", **args) == state
    record = world.read("jobs", "jobs", job)
    assert record["deadline"] == world.time + HOUR_MS
    assert world.refusal("regulator", "jobs.resolve", **args) == "WRONG_STATE"


@pytest.mark.parametrize("state", ["accepted", "computed"])
def test_an_upheld_dispute_aborts_an_open_job(world: World, state: str) -> None:
    job = world.job_at(state)
    args = {"job": job, "number": report(world, job), **UPHELD}
    assert world.do("regulator", "jobs.resolve", **args) == "aborted"
    assert world.quota("bank/g-bank") == ((0, 0) if state == "accepted" else (1, 0))


def test_a_job_goes_on_only_when_every_dispute_is_dismissed(world: World) -> None:
    job = world.job_at("computed")
    first, second = report(world, job), report(world, job, "registry")
    args = {"job": job, "outcome": "dismissed", "blamed": [], "evidence": ONE}
    assert world.do("regulator", "jobs.resolve", **args, number=first) == "disputed"
    assert world.do("regulator", "jobs.resolve", **args, number=second) == "computed"


def test_only_a_neutral_auditor_resolves(world: World) -> None:
    job = world.job_at("running")
    args = {"job": job, **UPHELD}
    number = report(world, job)
    assert world.refusal("rival", "jobs.resolve", **args, number=number) == "ORG_ROLE_MISSING"
    assert world.refusal("regulator", "jobs.resolve", **args, number=9) == "UNKNOWN_DISPUTE"
    bad = {**args, "outcome": "maybe"}
    assert world.refusal("regulator", "jobs.resolve", **bad, number=number) == "BAD_OUTCOME"
    own = report(world, job, "regulator")
    assert world.refusal("regulator", "jobs.resolve", **args, number=own) == "NOT_NEUTRAL"


def test_reports_come_from_those_concerned_and_name_a_participant(world: World) -> None:
    job = world.job_at("running")
    args = {"job": job, "kind": "late", "evidence": ONE}
    assert world.refusal("rival", "jobs.report", **args, against="bank") == "NOT_PARTICIPANT"
    assert world.refusal("bank", "jobs.report", **args, against="rival") == "NOT_PARTICIPANT"


def test_an_undecided_dispute_ends_the_job_and_lapses(world: World) -> None:
    job = world.job_at("computed")
    number = report(world, job)
    assert world.refusal("rival", "jobs.lapse", job=job, number=number) == "TOO_EARLY"
    world.advance(WEEK_MS + 1)
    args = {"job": job, "number": number, **UPHELD}
    assert world.refusal("regulator", "jobs.resolve", **args) == "DEADLINE_PASSED"
    world.do("rival", "jobs.expire", job=job)
    world.do("rival", "jobs.lapse", job=job, number=number)
    assert world.state_of(job) == "expired"
    assert world.read("jobs", "disputes", (job, number))["status"] == "lapsed"


def test_a_dispute_of_an_ended_job_is_recorded_and_rewrites_nothing(world: World) -> None:
    job = world.job_at("certified")
    certificate = world.read("jobs", "certificates", job)
    number = report(world, job)
    assert world.state_of(job) == "certified"
    args = {"job": job, "number": number, **UPHELD}
    assert world.do("regulator", "jobs.resolve", **args) == "certified"
    assert world.read("jobs", "certificates", job) == certificate
    world.advance(WEEK_MS + HOUR_MS)
    late = {"job": job, "kind": "late", "against": "bureau", "evidence": ONE}
    assert world.refusal("bank", "jobs.report", **late) == "DEADLINE_PASSED"


def test_each_member_reports_a_job_twice_at_most_and_takes_no_place_from_others(world: World) -> None:
    job = world.job_at("running")
    for _ in range(2):
        report(world, job)
    args = {"job": job, "kind": "late", "against": "bureau", "evidence": ONE}
    assert world.refusal("bank", "jobs.report", **args) == "TOO_MANY_REPORTS"
    assert report(world, job, "bureau", "bank") == 3
