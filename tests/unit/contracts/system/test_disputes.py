"""Disputes say the truth: what the contract found stands, is not crowded out, and blames no honest party."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.values import encode_value

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

PARTIES = ("bank", "bureau", "registry")
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
ONE = bytes([1]) * 32


def report(world: World, job: str, who: str = "bank", against: str = "bureau") -> int:
    number: int = world.do(who, "jobs.report", job=job, kind="late", against=against, evidence=ONE)
    return number


def decision(job: str, number: int, outcome: str, *blamed: str) -> dict[str, Any]:
    return {"job": job, "number": number, "outcome": outcome, "blamed": list(blamed), "evidence": ONE}


def mismatch(world: World) -> str:
    """A job in which the party that commits last names another hash for its channel with the first."""
    job = world.job_at("running")
    for name in PARTIES:
        world.stage(job, name)
    world.transcript(job, "bank")
    assert world.transcript(job, "bureau", bank=ONE) == "aborted"
    return job


# --- what the contract found


def test_an_equivocation_ends_the_job_at_once_and_stands_for_good(world: World) -> None:
    job = world.job_at("running")
    world.stage(job, "bureau")
    assert world.stage(job, "bureau", hash=ONE) == "aborted"
    dispute = world.read("jobs", "disputes", (job, 1))
    assert (dispute["kind"], dispute["origin"], dispute["by"]) == ("EQUIVOCATION", "contract", "")
    assert (dispute["status"], dispute["against"], dispute["blamed"]) == ("upheld", ["bureau"], ["bureau"])
    assert world.fields("JobAborted")["cause"] == "EQUIVOCATION"
    assert world.fields("JobAborted")["missing"] == []
    assert report(world, job, "bureau", "bank") == 2
    world.do("regulator", "jobs.resolve", **decision(job, 2, "dismissed"))
    world.advance(WEEK_MS + 1)
    assert world.refusal("rival", "jobs.lapse", job=job, number=1) == "WRONG_STATE"
    assert world.state_of(job) == "aborted"
    assert world.quota("bank/g-bank") == (1, 0)


@pytest.mark.parametrize(
    "over",
    [
        {"kind": "other"},
        {"previous": ONE},
        {"bytes_sent": 1_001},
        {"rounds": 2},
        {"cpu_ms": 6},
        {"hash": ONE},
    ],
)
def test_a_stage_that_differs_in_anything_is_an_equivocation_whose_evidence_shows_it(
    world: World, over: dict[str, Any]
) -> None:
    job = world.job_at("running")
    world.stage(job, "bank")
    known = world.read("jobs", "stages", (job, "bank", 0))
    known.pop("height")
    assert world.stage(job, "bank", **over) == "aborted"
    said = {**known, **{("bytes" if name == "bytes_sent" else name): value for name, value in over.items()}}
    assert said != known
    evidence = sha256(encode_value([known, said])).digest()
    assert world.read("jobs", "disputes", (job, 1))["evidence"] == evidence


@pytest.mark.parametrize("over", [{"schema": "other"}, {"metrics": {"rounds": 4}}, {"hash": ONE}])
def test_a_result_that_differs_in_anything_is_an_equivocation_whose_evidence_shows_it(
    world: World, over: dict[str, Any]
) -> None:
    job = world.job_at("committed")
    known = world.read("jobs", "results", (job, "bank"))
    known.pop("height")
    assert world.result(job, **over) == "aborted"
    evidence = sha256(encode_value([known, {**known, **over}])).digest()
    assert world.read("jobs", "disputes", (job, 1))["evidence"] == evidence
    assert world.read("jobs", "certificates", job) is None


def test_results_that_are_equal_and_not_the_same_are_an_equivocation(world: World) -> None:
    job = world.job_at("revealed")
    assert world.result(job, metrics={"converged": 1}) == "committed"
    assert world.result(job, metrics={"converged": 1}) == "committed"
    assert world.result(job, metrics={"converged": True}) == "aborted"


def test_a_repeated_transcript_of_another_profile_is_refused(world: World) -> None:
    job = world.job_at("running")
    world.stage(job, "bank")
    world.transcript(job, "bank")
    channels = world.read("jobs", "transcripts", (job, "bank"))
    args = {"job": job, "profile": "dealer", "channels": channels}
    assert world.refusal("bank/agent", "jobs.commit_transcript", **args) == "PROFILE_MISMATCH"


def test_one_equivocation_of_a_party_is_recorded_even_of_an_ended_job_for_a_week(world: World) -> None:
    job = world.job_at("certified")
    assert world.stage(job, "bank", hash=ONE) == "certified"
    assert world.read("jobs", "disputes", (job, 1))["blamed"] == ["bank"]
    again = {"job": job, "hash": ONE, "schema": "", "metrics": {}}
    assert world.refusal("bank/agent", "jobs.commit_result", **again) == "ALREADY_RECORDED"
    world.advance(WEEK_MS + HOUR_MS)
    stage = {"stage": 0, "kind": "share", "hash": ONE, "previous": bytes(32)}
    figures = {"bytes_sent": 0, "rounds": 0, "cpu_ms": 0}
    late = world.refusal("bureau/agent", "jobs.commit_stage", job=job, **stage, **figures)
    assert late == "DEADLINE_PASSED"


def test_a_report_does_not_bring_back_a_job_whose_time_is_over(world: World) -> None:
    job = world.job_at("running")
    world.advance(world.read("jobs", "jobs", job)["deadline"] - world.time + 1)
    accused = {"job": job, "kind": "late", "against": "bureau", "evidence": ONE}
    assert world.refusal("bank", "jobs.report", **accused) == "DEADLINE_PASSED"
    world.do("rival", "jobs.expire", job=job)
    assert world.do("bank", "jobs.report", **accused) == 1
    assert world.state_of(job) == "expired"


def test_reports_use_up_no_place_of_what_the_contract_finds(world: World) -> None:
    job = world.job_at("running")
    world.stage(job, "bureau")
    for who, against in (
        ("bureau", "bank"),
        ("bank", "bureau"),
        ("registry", "bureau"),
        ("regulator", "bank"),
    ):
        for _ in range(2):
            report(world, job, who, against)
        args = {"job": job, "kind": "late", "against": against, "evidence": ONE}
        assert world.refusal(who, "jobs.report", **args) == "TOO_MANY_REPORTS"
    assert world.stage(job, "bureau", hash=ONE) == "aborted"
    assert world.read("jobs", "disputes", (job, 9))["kind"] == "EQUIVOCATION"


def test_transcripts_that_disagree_name_both_ends_and_blame_nobody(world: World) -> None:
    job = mismatch(world)
    dispute = world.read("jobs", "disputes", (job, 1))
    assert (dispute["kind"], dispute["status"], dispute["blamed"]) == ("TRANSCRIPT_MISMATCH", "open", [])
    assert dispute["against"] == ["bank", "bureau"]
    assert world.fields("JobDisputed")["against"] == ["org:bank", "org:bureau"]
    for org in ("bank", "bureau"):
        assert "JobDisputed" in world.trail(f"org:{org}")
    assert world.refusal("regulator", "jobs.resolve", **decision(job, 1, "dismissed")) == "NOT_DISMISSIBLE"
    stranger = decision(job, 1, "upheld", "registry")
    assert world.refusal("regulator", "jobs.resolve", **stranger) == "BAD_BLAME"


@pytest.mark.parametrize("blamed", [["bureau"], ["bank"], ["bank", "bureau"], []])
def test_an_auditor_says_which_end_lied_or_that_nobody_can_tell(world: World, blamed: list[str]) -> None:
    job = mismatch(world)
    world.do("regulator", "jobs.resolve", **decision(job, 1, "upheld", *blamed))
    dispute = world.read("jobs", "disputes", (job, 1))
    assert (dispute["status"], dispute["blamed"], dispute["resolved_by"]) == ("upheld", blamed, "regulator")
    assert world.fields("DisputeResolved")["blamed"] == [f"org:{name}" for name in blamed]


def test_a_mismatch_that_nobody_decides_stands_and_blames_nobody(world: World) -> None:
    job = mismatch(world)
    world.advance(WEEK_MS + 1)
    assert (
        world.refusal("regulator", "jobs.resolve", **decision(job, 1, "upheld", "bank")) == "DEADLINE_PASSED"
    )
    world.do("rival", "jobs.lapse", job=job, number=1)
    dispute = world.read("jobs", "disputes", (job, 1))
    assert (dispute["status"], dispute["blamed"]) == ("upheld", [])
    assert world.fields("DisputeLapsed")["outcome"] == "upheld"


# --- reports


def test_a_job_never_goes_on_after_its_deadline(world: World) -> None:
    """The later of two reports is dismissed in its own time, after the job's."""
    job = world.job_at("running")
    report(world, job)
    world.advance(DAY_MS)
    report(world, job, "bureau", "bank")
    world.advance(WEEK_MS - DAY_MS)
    world.do("rival", "jobs.lapse", job=job, number=1)
    assert world.do("regulator", "jobs.resolve", **decision(job, 2, "dismissed")) == "disputed"
    assert world.refusal("bank/agent", "jobs.commit_transcript", job=job, profile="rep3", channels={})
    world.do("rival", "jobs.expire", job=job)
    assert world.state_of(job) == "expired"


@pytest.mark.parametrize("state", ["proposed", "accepted", "running", "computed", "revealed", "committed"])
def test_nobody_is_missing_from_a_job_that_a_dispute_held(world: World, state: str) -> None:
    job = world.job_at(state)
    report(world, job, "bureau", "bank")
    assert world.ask("jobs.missing", id=job) == []
    world.advance(WEEK_MS + 1)
    world.do("rival", "jobs.expire", job=job)
    event = world.fields("JobExpired")
    assert (event["phase"], event["missing"]) == ("disputed", [])


def test_an_abort_in_time_names_nobody_missing_and_one_after_the_deadline_does(world: World) -> None:
    jobs = [world.job_at("running"), world.job_at("running")]
    world.do("bank", "jobs.abort", job=jobs[0], cause="STOPPED", detail={}, evidence=ONE)
    assert world.fields("JobAborted")["missing"] == []
    world.stage(jobs[1], "bank")
    world.transcript(jobs[1], "bank")
    world.advance(HOUR_MS)
    world.do("bank", "jobs.abort", job=jobs[1], cause="STOPPED", detail={}, evidence=ONE)
    assert world.fields("JobAborted")["missing"] == ["org:bureau", "org:registry"]


def test_nobody_reports_itself(world: World) -> None:
    job = world.job_at("running")
    args = {"job": job, "kind": "late", "against": "bank", "evidence": ONE}
    assert world.refusal("bank", "jobs.report", **args) == "OWN_CASE"


@pytest.mark.parametrize("state", ["proposed", "accepted"])
def test_a_job_disputed_before_it_ran_is_aborted_without_evidence(world: World, state: str) -> None:
    job = world.job_at(state)
    report(world, job)
    world.do("bank", "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=b"")
    assert (world.state_of(job), world.quota("bank/g-bank")) == ("aborted", (0, 0))


def test_a_job_disputed_while_running_still_needs_evidence(world: World) -> None:
    job = world.job_at("running")
    report(world, job)
    assert (
        world.refusal("bank", "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=b"")
        == "EVIDENCE_REQUIRED"
    )


def test_an_upheld_report_blames_whom_it_is_against_and_a_dismissed_one_nobody(world: World) -> None:
    job = world.job_at("running")
    number = report(world, job)
    for outcome, blamed in (("upheld", []), ("upheld", ["bank"]), ("dismissed", ["bureau"])):
        wrong = decision(job, number, outcome, *blamed)
        assert world.refusal("regulator", "jobs.resolve", **wrong) == "BAD_BLAME"
    twice = decision(job, number, "upheld", "bureau", "bureau")
    assert world.refusal("regulator", "jobs.resolve", **twice) == "BAD_BLAME"
    world.do("regulator", "jobs.resolve", **decision(job, number, "upheld", "bureau"))
    assert world.trail(f"job:{job}")[-2:] == ["JobAborted", "DisputeResolved"]
    assert world.fields("JobAborted")["cause"] == "DISPUTE_UPHELD"
    assert world.fields("JobAborted")["detail"] == {"dispute": number, "kind": "late"}


def test_a_dismissed_dispute_names_the_new_deadline(world: World) -> None:
    job = world.job_at("computed")
    number = report(world, job)
    world.do("regulator", "jobs.resolve", **decision(job, number, "dismissed"))
    event = world.fields("DisputeResolved")
    assert (event["state"], event["deadline"]) == ("computed", world.time + HOUR_MS)


def test_where_every_auditor_takes_part_only_time_decides_and_anyone_ends_the_job(
    new_world: type[World],
) -> None:
    roles = {name: ["owner", "user", "compute", "auditor"] for name in PARTIES}
    world = new_world({**roles, "rival": ["user"]})
    for name in PARTIES:
        world.register(name, f"{name}/data")
        world.granted(f"bank/g-{name}", f"{name}/data", name)
    job = world.job_at("running")
    number = report(world, job)
    for name in PARTIES:
        refused = world.refusal(name, "jobs.resolve", **decision(job, number, "dismissed"))
        assert refused == "NOT_NEUTRAL"
    world.advance(WEEK_MS + 1)
    world.do("rival", "jobs.expire", job=job)
    world.do("rival", "jobs.lapse", job=job, number=number)
    assert world.state_of(job) == "expired"


def test_contracts_end_nothing_in_a_members_name(world: World) -> None:
    job = world.job_at("proposed")
    world.advance(HOUR_MS + 1)
    source = (
        "jobs = Contract('jobs')\ngrants = Contract('grants')\n\n"
        f"@export\ndef play():\n    jobs.expire(job='{job}')\n\n"
        "@export\ndef end():\n    grants.expire(id='bank/g-bank')\n\n"
        f"@export\ndef lapse():\n    jobs.lapse(job='{job}', number=1)\n\n"
        "@export\ndef settle():\n    grants.settle(id='bank/g-bank')\n"
    )
    world.policy("player", source)
    for method in ("play", "end", "lapse", "settle"):
        assert world.refusal("bank", f"player.{method}") == "DIRECT_ONLY"
