"""The life of a job, one row of the transition table at a time."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from chain.primitives.crypto import PrivateKey, verify
from chain.primitives.values import decode_value, encode_value
from tests.unit.contracts.system.founding import proof_of, seeded

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

PARTIES = ("bank", "bureau", "registry")
HOUR_MS = 3_600_000
ONE = bytes([1]) * 32


def agent_key(org: str) -> PrivateKey:
    return PrivateKey(sha256(f"{org}/agent".encode()).digest())


# --- the whole way


def test_a_job_goes_all_the_way_to_a_certificate(world: World) -> None:
    job = world.job_at("certified")
    certificate = world.read("jobs", "certificates", job)
    assert sorted(certificate["signatures"]) == list(PARTIES)
    assert certificate["digest"] == sha256(encode_value(certificate["body"])).digest()
    for org, signature in certificate["signatures"].items():
        assert verify(agent_key(org).public, certificate["digest"], signature)
    assert world.quota("bank/g-bank") == (1, 0)
    assert world.live("bank/g-bank") == {}


def test_the_certificate_names_everything_that_the_parties_committed_to(world: World) -> None:
    job = world.job_at("committed")
    body = world.ask("jobs.certificate_body", job=job)
    spec = world.read("jobs", "specs", job)
    assert (body["job"], body["profile"], body["purpose"]) == (job, "rep3", "credit-risk")
    assert body["parameters"] == sha256(encode_value(spec["parameters"])).digest()
    assert [item["root"] for item in body["inputs"]] == [
        sha256(f"{name}/data".encode()).digest() for name in PARTIES
    ]
    assert body["bindings"]["bureau"] == sha256(f"{job}/bureau".encode()).digest()
    assert body["stages"]["bank"] == [1, sha256(f"{job}/bank/0".encode()).digest()]
    assert body["transcripts"]["bank"]["bureau"] == body["transcripts"]["bureau"]["bank"]
    assert body["results"]["bank"]["hash"] == sha256(job.encode()).digest()
    assert body["results"]["bank"]["metrics"] == sha256(encode_value({"rounds": 3})).digest()
    assert "columns" not in body["inputs"][0]  # they stand in the spec, which the job's id commits to


def test_the_trail_of_a_dataset_tells_the_whole_story(world: World) -> None:
    world.job_at("certified")
    world.do("bureau", "grants.revoke", id="bank/g-bureau", reason="end of study")
    assert world.trail("dataset:bureau/data") == [
        "DatasetRegistered",
        "GrantRequested",
        "GrantApproved",
        "GrantActivated",
        "proposed",
        "reserved",
        "running",
        "joining",
        "reveal-approved",
        "revealed",
        "committed",
        "certified",
        "GrantRevoked",
    ]


def test_the_trail_of_a_job_tells_every_step(world: World) -> None:
    job = world.job_at("certified")
    steps = [name for name in world.trail(f"job:{job}") if name[0].isupper()]
    assert steps == [
        "JobProposed",
        *["JobAccepted"] * 3,
        "JobReady",
        *["JobBound"] * 3,
        "JobRunning",
        "JoinBegun",
        *["StageCommitted", "TranscriptCommitted"] * 3,
        "JobComputed",
        *["RevealApproved"] * 3,
        "JobRevealed",
        "ResultCommitted",
        "JobCommitted",
        *["JobSigned"] * 3,
        "JobCertified",
    ]


def test_the_id_is_the_hash_of_the_spec(world: World) -> None:
    spec = world.spec()
    job = world.do("bank", "jobs.propose", spec=spec)
    assert job == sha256(encode_value(spec)).hexdigest()
    assert world.read("jobs", "specs", job) == spec
    assert world.refusal("bank", "jobs.propose", spec=spec) == "JOB_EXISTS"


# --- proposed


@pytest.mark.parametrize(
    ("over", "code"),
    [
        ({"program": "none"}, "UNKNOWN_PROGRAM"),
        ({"parameters": {"x": "y" * 9_000}}, "BAD_PARAMETERS"),
        ({"profile": "rep4"}, "PROFILE_NOT_OFFERED"),
        ({"min_group": 0}, "BAD_MIN_GROUP"),
        ({"inputs": []}, "BAD_INPUTS"),
        ({"receivers": []}, "BAD_RECEIVERS"),
        ({"receivers": ["bank", "bank"]}, "BAD_RECEIVERS"),
        ({"participants": []}, "BAD_PARTICIPANTS"),
        ({"deadlines": {}}, "BAD_DEADLINES"),
        ({"nonce": bytes(15)}, "BAD_NONCE"),
        ({"extra": 1}, "BAD_SPEC"),
    ],
)
def test_a_bad_spec_is_refused(world: World, over: dict[str, object], code: str) -> None:
    assert world.refusal("bank", "jobs.propose", spec=world.spec() | over) == code


def test_a_spec_without_one_of_its_keys_is_refused(world: World) -> None:
    for name in world.spec():
        spec = world.spec()
        del spec[name]
        assert world.refusal("bank", "jobs.propose", spec=spec) == "BAD_SPEC"


def test_deadlines_are_bounded_on_both_sides(world: World) -> None:
    for ms in (999, 2_592_000_001):
        deadlines = {**world.spec()["deadlines"], "run": ms}
        assert world.refusal("bank", "jobs.propose", spec=world.spec(deadlines=deadlines)) == "BAD_DEADLINES"


def test_inputs_are_distinct_and_used_as_the_page_says(world: World) -> None:
    spec = world.spec()
    one, other, _ = spec["inputs"]
    for inputs in ([one, one], [one, other | {"name": one["name"]}], [one, other | {"grant": one["grant"]}]):
        assert world.refusal("bank", "jobs.propose", spec=spec | {"inputs": inputs}) == "BAD_INPUTS"
    one["columns"]["income"] = "noisy"
    assert world.refusal("bank", "jobs.propose", spec=spec) == "USES_DIFFER"


def test_participants_fit_their_roles_and_keys(world: World) -> None:
    def parties(**change: object) -> dict[str, object]:
        good = world.spec()["participants"]
        return world.spec(participants=[{**good[0], **change}, *good[1:]])

    assert world.refusal("bank", "jobs.propose", spec=parties(role="king")) == "PARTICIPANT_ROLE"
    assert world.refusal("bank", "jobs.propose", spec=parties(agent_key=ONE)) == "AGENT_KEY_MISMATCH"
    twice = world.spec(participants=world.spec()["participants"][:1] * 2)
    assert world.refusal("bank", "jobs.propose", spec=twice) == "BAD_PARTICIPANTS"


def test_an_org_without_an_agent_takes_no_part(world: World) -> None:
    for name in PARTIES:
        world.granted(
            f"bank/r-{name}",
            f"{name}/data",
            name,
            receivers=["regulator"],
            co_parties=[*PARTIES, "regulator"],
        )
    inputs = [world.use(f"bank/r-{name}", f"{name}/data", {"id": "join"}) for name in PARTIES]
    spec = world.spec(inputs=inputs, receivers=["regulator"], profile="dh-psi")
    spec["participants"].append({"org": "regulator", "role": "receiver", "agent_key": b""})
    assert world.refusal("bank", "jobs.propose", spec=spec) == "NO_AGENT"


def test_every_owner_of_an_input_takes_part(world: World) -> None:
    inputs = [world.use(f"bank/g-{name}", f"{name}/data", {"id": "join"}) for name in PARTIES]
    spec = world.spec(inputs=inputs, profile="dh-psi")
    spec["participants"] = spec["participants"][:2]
    assert world.refusal("bank", "jobs.propose", spec=spec) == "OWNER_NOT_PARTICIPANT"


def test_proposing_needs_the_roles(world: World) -> None:
    assert world.refusal("registry", "jobs.propose", spec=world.spec()) == "ORG_ROLE_MISSING"
    world.do("bank/agent", "jobs.propose", spec=world.spec())
    world.do("bank/steward", "jobs.propose", spec=world.spec())


# --- accepted


def test_each_owner_s_acceptance_reserves_its_own_grant(world: World) -> None:
    job = world.propose()
    world.accept(job, "bank")
    assert (world.quota("bank/g-bank"), world.quota("bank/g-bureau")) == ((0, 1), (0, 0))
    world.accept(job, "bureau", "registry")
    assert world.quota("bank/g-bureau") == (0, 1)
    assert world.state_of(job) == "accepted"


def test_acceptance_is_for_participants_and_names_the_plan(world: World) -> None:
    job = world.propose()
    accept = {"job": job, "plan": world.plan_of(job)}
    assert world.refusal("rival/agent", "jobs.accept", **accept) == "NOT_PARTICIPANT"
    assert world.refusal("bank/steward", "jobs.accept", **accept) == "KEY_ROLE_MISSING"
    assert world.refusal("bank/agent", "jobs.accept", job=job, plan=ONE) == "PLAN_DIFFERS"
    assert world.refusal("bank/agent", "jobs.accept", job="00", plan=ONE) == "UNKNOWN_JOB"
    world.accept(job, "bank")
    assert world.refusal("bank/agent", "jobs.accept", **accept) == "ALREADY_ACCEPTED"


def test_a_party_whose_agent_key_changed_cannot_accept(world: World) -> None:
    job = world.propose()
    new = seeded("bureau/agent/2")
    proof = proof_of(new, "bureau")
    world.do("bureau", "orgs.set_agent", agent_key=new.public, agent_address="h:1", proof=proof)
    assert world.refusal("bureau", "jobs.accept", job=job, plan=ONE) == "AGENT_KEY_MISMATCH"


def test_any_participant_rejects_and_reservations_return(world: World) -> None:
    job = world.propose()
    world.accept(job, "bank")
    assert world.refusal("rival", "jobs.reject", job=job, cause="STOPPED", detail={}) == "NOT_PARTICIPANT"
    world.do("registry/agent", "jobs.reject", job=job, cause="STOPPED", detail={})
    assert (world.state_of(job), world.quota("bank/g-bank")) == ("rejected", (0, 0))
    assert world.trail("grant:bank/g-bank")[-1] == "rejected"


# --- inputs bound, running


def test_the_last_binding_starts_the_run_and_the_first_owner_to_join_uses_every_run(world: World) -> None:
    job = world.job_at("accepted")
    world.bind(job, "bank", "bureau")
    assert (world.state_of(job), world.quota("bank/g-bank")) == ("accepted", (0, 1))
    world.bind(job, "registry")
    assert world.state_of(job) == "running"
    assert [world.quota(f"bank/g-{name}") for name in PARTIES] == [(0, 1)] * 3
    for name in ("bureau", "bank", "bureau"):
        world.begin(job, name)
        assert [world.quota(f"bank/g-{name}") for name in PARTIES] == [(1, 0)] * 3
    assert world.trail(f"job:{job}").count("JoinBegun") == 1


def test_an_owner_binds_once_and_may_resend_the_same(world: World) -> None:
    job = world.job_at("accepted")
    world.bind(job, "bank")
    world.bind(job, "bank")
    assert world.refusal("bank/agent", "jobs.bind", job=job, commitment=ONE) == "ALREADY_BOUND"
    assert world.refusal("rival/agent", "jobs.bind", job=job, commitment=ONE) == "NOT_DATA_OWNER"
    assert world.refusal("bureau/agent", "jobs.bind", job=job, commitment=b"1") == "BAD_HASH"


def test_nothing_is_bound_before_every_participant_accepted(world: World) -> None:
    job = world.propose()
    assert world.refusal("bank/agent", "jobs.bind", job=job, commitment=ONE) == "WRONG_STATE"


# --- stages and transcripts


def test_stages_are_contiguous_and_chained(world: World) -> None:
    job = world.job_at("running")
    world.begin(job)
    stage = {"job": job, "kind": "share", "bytes_sent": 0, "rounds": 0, "cpu_ms": 0}

    def refusal(number: int, previous: bytes) -> str:
        return world.refusal(
            "bank/agent", "jobs.commit_stage", **stage, stage=number, hash=ONE, previous=previous
        )

    assert refusal(1, bytes(32)) == "STAGE_NOT_CONTIGUOUS"
    assert refusal(0, ONE) == "STAGE_CHAIN_BROKEN"
    world.stage(job, "bank", 0)
    world.stage(job, "bank", 0)
    assert refusal(2, ONE) == "STAGE_NOT_CONTIGUOUS"
    assert refusal(1, ONE) == "STAGE_CHAIN_BROKEN"
    world.stage(job, "bank", 1)
    assert world.read("jobs", "stage_heads", (job, "bank"))["count"] == 2


def test_two_differing_commits_of_a_stage_are_evidence(world: World) -> None:
    job = world.job_at("running")
    world.stage(job, "bank")
    assert world.stage(job, "bank", hash=ONE) == "aborted"
    dispute = world.read("jobs", "disputes", (job, 1))
    assert (dispute["kind"], dispute["status"], dispute["blamed"]) == ("EQUIVOCATION", "upheld", ["bank"])
    assert world.read("jobs", "stages", (job, "bank", 0))["hash"] != ONE


def test_the_profile_that_ran_is_the_one_accepted(world: World) -> None:
    job = world.job_at("running")
    world.stage(job, "bank")
    args = {"job": job, "profile": "dealer", "channels": {"bureau": ONE, "registry": ONE}}
    assert world.refusal("bank/agent", "jobs.commit_transcript", **args) == "PROFILE_MISMATCH"


def test_a_transcript_names_every_channel_after_a_stage(world: World) -> None:
    job = world.job_at("running")
    args = {"job": job, "profile": "rep3"}

    def refusal(channels: dict[str, bytes]) -> str:
        return world.refusal("bank/agent", "jobs.commit_transcript", **args, channels=channels)

    assert refusal({"bureau": ONE, "registry": ONE}) == "STAGE_MISSING"
    world.stage(job, "bank")
    assert refusal({"bureau": ONE}) == "BAD_CHANNELS"
    assert refusal({"bureau": ONE, "bank": ONE}) == "BAD_CHANNELS"
    assert refusal({"bureau": ONE, "registry": b"short"}) == "BAD_HASH"
    world.transcript(job, "bank")
    assert (
        world.refusal(
            "bank/agent",
            "jobs.commit_stage",
            job=job,
            stage=1,
            kind="share",
            hash=ONE,
            previous=sha256(f"{job}/bank/0".encode()).digest(),
            bytes_sent=0,
            rounds=0,
            cpu_ms=0,
        )
        == "TRANSCRIPT_CLOSED"
    )


def test_transcripts_that_disagree_dispute_the_job_and_nothing_is_revealed(world: World) -> None:
    job = world.job_at("running")
    for name in PARTIES:
        world.stage(job, name)
    world.transcript(job, "bank")
    assert world.transcript(job, "bureau", bank=ONE) == "aborted"
    assert world.read("jobs", "disputes", (job, 1))["kind"] == "TRANSCRIPT_MISMATCH"
    for name in PARTIES:
        assert world.refusal(f"{name}/agent", "jobs.approve_reveal", job=job) == "WRONG_STATE"
    assert world.quota("bank/g-bank") == (1, 0)


def test_a_second_transcript_that_differs_is_evidence(world: World) -> None:
    job = world.job_at("running")
    world.stage(job, "bank")
    world.transcript(job, "bank")
    assert world.transcript(job, "bank") == "running"
    assert world.transcript(job, "bank", bureau=ONE) == "aborted"
    assert world.read("jobs", "disputes", (job, 1))["kind"] == "EQUIVOCATION"


# --- reveal, result, certificate


def test_a_job_is_revealed_when_every_owner_has_approved(world: World) -> None:
    job = world.job_at("computed")
    assert (
        world.refusal("bank/agent", "jobs.commit_result", job=job, hash=ONE, schema="", metrics={})
        == "WRONG_STATE"
    )
    assert world.refusal("rival/agent", "jobs.approve_reveal", job=job) == "NOT_DATA_OWNER"
    world.reveal(job, "bank", "bureau")
    world.reveal(job, "bank")
    assert world.state_of(job) == "computed"
    world.reveal(job, "registry")
    assert world.state_of(job) == "revealed"
    assert world.read("grants", "standing", "bank/g-bank")["revealed"] == 1


def test_no_reveal_before_all_transcripts_agree(world: World) -> None:
    job = world.job_at("running")
    world.stage(job, "bank")
    world.transcript(job, "bank")
    assert world.refusal("bank/agent", "jobs.approve_reveal", job=job) == "WRONG_STATE"


def test_results_come_from_receivers_alone_and_once(world: World) -> None:
    job = world.job_at("revealed")
    args = {"job": job, "hash": ONE, "schema": "", "metrics": {}}
    assert world.refusal("bureau/agent", "jobs.commit_result", **args) == "NOT_RECEIVER"
    assert (
        world.refusal("bank/agent", "jobs.commit_result", **{**args, "metrics": {"x": "y" * 5_000}})
        == "BAD_METRICS"
    )
    assert world.result(job) == "committed"
    assert world.result(job) == "committed"
    assert world.result(job, hash=ONE) == "aborted"


def test_a_signature_must_hold_over_the_contract_s_own_digest(world: World) -> None:
    job = world.job_at("committed")
    digest = sha256(encode_value(world.ask("jobs.certificate_body", job=job))).digest()
    good = agent_key("bank").sign(digest)
    bad = {"job": job, "digest": ONE, "signature": agent_key("bank").sign(ONE)}
    assert world.refusal("bank/agent", "jobs.certify", **bad) == "DIGEST_MISMATCH"
    forged = {"job": job, "digest": digest, "signature": agent_key("bureau").sign(digest)}
    assert world.refusal("bank/agent", "jobs.certify", **forged) == "BAD_SIGNATURE"
    right = {"job": job, "digest": digest, "signature": good}
    assert world.refusal("rival/agent", "jobs.certify", **right) == "NOT_PARTICIPANT"
    assert world.do("bank/agent", "jobs.certify", **right) == "committed"
    assert world.do("bank/agent", "jobs.certify", **right) == "committed"
    world.sign(job, "bureau", "registry")
    assert world.state_of(job) == "certified"


def test_the_digest_is_announced_when_the_results_are_in(world: World) -> None:
    job = world.job_at("committed")
    event = next(event for event in world.events if event.name == "JobCommitted")
    body = world.ask("jobs.certificate_body", job=job)
    fields = decode_value(event.fields, max_bytes=1 << 16)
    assert fields["digest"] == sha256(encode_value(body)).digest()


# --- gas


def test_no_step_of_a_job_with_three_inputs_is_dear(world: World) -> None:
    world.job_at("certified")
    dear = {name: gas for name, gas in world.gas.items() if gas > 400_000}
    assert not dear


# --- other shapes of a job


def test_a_party_that_only_computes_accepts_computes_and_signs(world: World) -> None:
    """An org without data has nothing to bind or to approve."""
    parties = ("bank", "bureau", "rival")
    for grant, owner in (("bank/g-1", "bank"), ("bank/g-2", "bureau")):
        world.granted(grant, f"{owner}/data", owner, co_parties=list(parties))
    spec = world.spec(
        inputs=[world.use("bank/g-1", "bank/data"), world.use("bank/g-2", "bureau/data")],
        participants=[
            {"org": name, "role": "compute", "agent_key": agent_key(name).public} for name in parties
        ],
    )
    job = world.do("bank", "jobs.propose", spec=spec)
    world.accept(job, *parties)
    assert world.quota("bank/g-2") == (0, 1)
    assert world.ask("jobs.missing", id=job) == ["bank", "bureau"]
    assert world.refusal("rival/agent", "jobs.bind", job=job, commitment=ONE) == "NOT_DATA_OWNER"
    world.bind(job, "bank", "bureau")
    assert world.refusal("rival/agent", "jobs.begin_join", job=job) == "NOT_DATA_OWNER"
    world.begin(job)
    assert world.quota("bank/g-2") == (1, 0)
    for name in parties:
        world.stage(job, name)
        channels = dict.fromkeys((other for other in parties if other != name), ONE)
        args = {"job": job, "profile": "rep3", "channels": channels}
        world.do(f"{name}/agent", "jobs.commit_transcript", **args)
    world.reveal(job, "bureau", "bank")
    world.result(job)
    world.sign(job, *parties)
    assert sorted(world.read("jobs", "certificates", job)["body"]["bindings"]) == ["bank", "bureau"]
