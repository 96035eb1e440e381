"""What an agent does about a job, given what its node shows: every row of the table in privcompute/job.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privcompute.causes import filed
from privcompute.job.actions import (
    Action,
    CallRefused,
    CallSent,
    CertificateSigned,
    CheckPhase,
    Compute,
    ComputeDone,
    DestroyShares,
    FinishJob,
    GiveSlotBack,
    InputPrepared,
    Meet,
    Met,
    PhaseChecked,
    PrepareInput,
    RecheckRun,
    Recovered,
    ReleaseShares,
    ResultCommit,
    RunAllowed,
    SendCall,
    SharesReleased,
    SignCertificate,
    StageDone,
    StepFailed,
    StopComputing,
    StopJob,
    TranscriptsVerified,
    VerifyTranscripts,
)
from privcompute.job.enforcement import JobRefusal
from privcompute.job.machine import BEGIN_MS, EXPIRE_GRACE_MS, RECHECK, RECHECK_MS, JobMachine
from privcompute.job.view import JobSpec, JobView, Participant

HASH = b"h" * 32
ORGS = ("bank", "bureau", "registry")
SPEC = JobSpec(
    program="statistics",
    parameters={},
    purpose="research",
    profile="rep3",
    min_group=5,
    inputs=(),
    participants=tuple(Participant(org, "owner", org.encode().ljust(32, b"k")) for org in ORGS),
    receivers=("bank",),
    raw={},
    page=HASH,
    plan=HASH,
)
PROPOSED = JobView(
    id="ab" * 32,
    spec=SPEC,
    state="proposed",
    entered_height=1,
    initiator="bank",
    deadline_ms=100_000,
    owners=ORGS,
    roots=(HASH,) * 3,
    accepted=frozenset(),
    bound=frozenset(),
    transcripts=frozenset(),
    reveals=frozenset(),
    results=frozenset(),
    signed=frozenset(),
    running_height=0,
    revealed_height=0,
)
ALL = frozenset(ORGS)
ACCEPTED = replace(PROPOSED, state="accepted", accepted=ALL)
RUNNING = replace(ACCEPTED, state="running", bound=ALL)
COMPUTED = replace(RUNNING, state="computed", transcripts=ALL)
REVEALED = replace(COMPUTED, state="revealed", reveals=ALL)
COMMITTED = replace(REVEALED, state="committed", results=frozenset({"bank"}))
CHANNELS = {"bureau": HASH, "registry": HASH}
RESULT = ResultCommit(HASH, "statistics/1", {})


def stage(number: int) -> StageDone:
    return StageDone(number, "join", bytes([number + 1]) * 32, bytes([number]) * 32, 10, 2, 3)


def at_computed(me: str = "bank") -> JobMachine:
    """Return a machine that has computed and committed its transcript."""
    machine = JobMachine(me)
    machine.on_view(RUNNING)
    machine.on_done(PhaseChecked("running", HASH))
    machine.on_done(stage(0))
    machine.on_done(CallSent("stage-0"))
    machine.on_done(ComputeDone("rep3", CHANNELS, 1))
    machine.on_done(CallSent("commit_transcript"))
    return machine


def ending(state: str) -> list[Action]:
    """Return what the end of a job asks for: only what is certified may be asked for still."""
    return [FinishJob(state)] if state == "certified" else [DestroyShares(state), FinishJob(state)]


def sends(actions: list[Action]) -> list[tuple[str, dict[str, Any]]]:
    return [(action.method, dict(action.args)) for action in actions if isinstance(action, SendCall)]


def test_a_proposal_is_checked_before_it_is_accepted() -> None:
    machine = JobMachine("bank")
    assert machine.on_view(PROPOSED) == [CheckPhase("accepted")]
    assert sends(machine.on_done(PhaseChecked("accepted", HASH))) == [("accept", {"plan": HASH})]


def test_a_proposal_that_fails_the_check_is_rejected_with_its_reason() -> None:
    machine = JobMachine("bank")
    machine.on_view(PROPOSED)
    actions = machine.on_done(StepFailed(filed("PURPOSE_MISMATCH", {}), "grant g1 is for billing"))
    assert actions == [
        DestroyShares("PURPOSE_MISMATCH"),
        StopJob("reject", filed("PURPOSE_MISMATCH", {}), "grant g1 is for billing"),
    ]
    assert machine.on_view(PROPOSED) == []


def test_an_acceptance_that_the_ledger_refuses_becomes_a_rejection() -> None:
    machine = JobMachine("bank")
    machine.on_view(PROPOSED)
    machine.on_done(PhaseChecked("accepted", HASH))
    actions = machine.on_done(CallRefused("accept", "QUOTA_EXHAUSTED"))
    assert [type(action) for action in actions] == [DestroyShares, StopJob]
    assert isinstance(actions[1], StopJob)
    assert (actions[1].method, actions[1].cause) == (
        "reject",
        filed("LEDGER_REFUSED", {"step": "accept", "code": "QUOTA_EXHAUSTED"}),
    )


def test_an_owner_binds_before_anything_runs_and_others_wait() -> None:
    machine = JobMachine("bank")
    assert machine.on_view(ACCEPTED) == [PrepareInput()]
    assert machine.on_done(InputPrepared(HASH)) == [Meet()]
    assert sends(machine.on_done(Met())) == [("bind", {"commitment": HASH})]
    assert machine.on_view(replace(ACCEPTED, bound=frozenset({"bank"}))) == []
    helper = JobMachine("bank")
    assert helper.on_view(replace(ACCEPTED, owners=("bureau", "registry", "registry"))) == [Meet()]
    assert helper.on_done(Met()) == []


@pytest.mark.parametrize("state", ["accepted", "disputed"])
def test_a_slot_goes_back_when_the_job_does_not_begin_and_the_parties_meet_anew(state: str) -> None:
    machine = JobMachine("bank", Recovered(commitment=HASH))
    assert machine.on_view(ACCEPTED) == [Meet()]
    machine.on_done(Met())
    assert machine.on_time(1_000) == []
    machine.on_view(replace(ACCEPTED, state=state, bound=frozenset({"bank"})))
    assert machine.on_time(1_000 + BEGIN_MS - 1) == []
    anew = [GiveSlotBack(), Meet()] if state == "accepted" else [GiveSlotBack()]
    assert machine.on_time(1_000 + BEGIN_MS) == anew
    assert machine.on_time(1_001 + BEGIN_MS) == []


def test_what_allows_a_job_is_asked_again_while_it_waits_for_a_slot() -> None:
    machine = JobMachine("bank", Recovered(commitment=HASH))
    machine.on_view(ACCEPTED)
    machine.on_time(1)
    assert machine.on_time(1 + RECHECK_MS) == [RecheckRun()]
    actions = machine.on_done(StepFailed(filed("GRANT_REVOKED", {}), ""))
    assert [type(action) for action in actions] == [DestroyShares, StopJob]


def test_running_is_checked_again_then_computed_and_stages_are_reported_in_order() -> None:
    machine = JobMachine("bank")
    assert machine.on_view(RUNNING) == [CheckPhase("running")]
    assert machine.on_done(PhaseChecked("running", HASH)) == [Compute()]
    assert sends(machine.on_done(stage(0)))[0][1]["stage"] == 0
    assert sends(machine.on_done(stage(1)))[0][1]["previous"] == b"\x01" * 32
    assert machine.on_done(ComputeDone("rep3", CHANNELS, 2)) == []
    assert machine.on_done(CallSent("stage-0")) == []
    assert sends(machine.on_done(CallSent("stage-1"))) == [
        ("commit_transcript", {"profile": "rep3", "channels": CHANNELS})
    ]


def test_a_revocation_found_at_the_reveal_destroys_the_shares_before_it_is_reported() -> None:
    machine = at_computed()
    assert machine.on_view(COMPUTED) == [VerifyTranscripts()]
    assert machine.on_done(TranscriptsVerified()) == [CheckPhase("reveal")]
    actions = machine.on_done(StepFailed(filed("GRANT_REVOKED", {}), "grant g1 is revoked"))
    assert actions == [
        DestroyShares("GRANT_REVOKED"),
        StopJob("abort", filed("GRANT_REVOKED", {}), "grant g1 is revoked"),
    ]
    assert machine.on_view(REVEALED) == [], "once stopped, not even a revealed state lets shares go"


def test_shares_go_only_when_every_owner_approved() -> None:
    machine = at_computed()
    machine.on_view(COMPUTED)
    machine.on_done(TranscriptsVerified())
    assert sends(machine.on_done(PhaseChecked("reveal", HASH))) == [("approve_reveal", {})]
    assert machine.on_view(replace(COMPUTED, reveals=frozenset({"bank"}))) == []
    assert machine.on_view(replace(COMPUTED, reveals=frozenset({"bank", "bureau"}))) == []
    assert machine.on_view(REVEALED) == [ReleaseShares()]
    assert machine.on_view(REVEALED) == []


def test_a_receiver_commits_its_result_and_everyone_signs_the_rebuilt_digest() -> None:
    machine = at_computed()
    assert machine.on_view(REVEALED) == [ReleaseShares()]
    committed = sends(machine.on_done(SharesReleased(RESULT)))
    assert committed == [("commit_result", {"hash": HASH, "schema": "statistics/1", "metrics": {}})]
    assert machine.on_view(COMMITTED) == [SignCertificate()]
    signed = sends(machine.on_done(CertificateSigned(HASH, b"s" * 64)))
    assert signed == [("certify", {"digest": HASH, "signature": b"s" * 64})]
    assert machine.on_view(replace(COMMITTED, state="certified")) == [FinishJob("certified")], (
        "what is sealed stays"
    )
    assert machine.finished


def test_an_owner_that_receives_nothing_is_done_after_its_release() -> None:
    machine = at_computed("bureau")
    assert machine.on_view(REVEALED) == [ReleaseShares()]
    assert machine.on_done(SharesReleased(None)) == []
    assert machine.on_view(COMMITTED) == [SignCertificate()]


@pytest.mark.parametrize("view", [RUNNING, COMPUTED], ids=lambda view: view.state)
def test_a_restart_that_lost_shares_aborts_by_name(view: JobView) -> None:
    machine = JobMachine("bank", Recovered(commitment=HASH, computing=True))
    actions = machine.on_view(view)
    assert [type(action) for action in actions] == [DestroyShares, StopJob]
    assert isinstance(actions[1], StopJob)
    assert (actions[1].method, actions[1].cause) == ("abort", filed("AGENT_RESTARTED", {}))


def test_a_restart_before_traffic_resumes() -> None:
    machine = JobMachine("bank", Recovered(commitment=HASH))
    assert machine.on_view(ACCEPTED) == [Meet()]
    assert sends(machine.on_done(Met())) == [("bind", {"commitment": HASH})]
    machine = JobMachine("bank", Recovered(commitment=HASH))
    assert machine.on_view(RUNNING) == [CheckPhase("running")]


def sealed() -> Recovered:
    return Recovered(
        HASH, computing=True, computed=ComputeDone("rep3", CHANNELS, 2), stages=(stage(0), stage(1))
    )


def test_a_restart_after_computing_reports_what_was_sealed_and_computes_nothing() -> None:
    machine = JobMachine("bank", sealed())
    said = sends(machine.on_view(RUNNING))
    assert said[0] == ("judge_join", {"suffices": True})
    assert [args["stage"] for _, args in said[1:]] == [0, 1]
    assert machine.on_done(CallSent("stage-0")) == []
    assert sends(machine.on_done(CallSent("stage-1"))) == [
        ("commit_transcript", {"profile": "rep3", "channels": CHANNELS})
    ]
    assert machine.on_view(COMPUTED) == [VerifyTranscripts()]


@pytest.mark.parametrize("recovered", [sealed(), Recovered(HASH, computing=True)], ids=["held", "lost"])
def test_a_restart_once_revealed_asks_for_the_result_whatever_is_held_here(recovered: Recovered) -> None:
    """Two parties hold each share: what is lost here the others hand out."""
    assert JobMachine("bank", recovered).on_view(REVEALED) == [ReleaseShares()]


def test_a_restart_after_the_release_resumes() -> None:
    machine = JobMachine("bank", Recovered(HASH, computing=True, result=RESULT))
    assert [method for method, _ in sends(machine.on_view(REVEALED))] == ["commit_result"]


def test_a_party_signs_once_every_result_is_committed() -> None:
    machine = JobMachine("bureau", sealed())
    assert machine.on_view(COMMITTED) == [SignCertificate()]


@pytest.mark.parametrize("state", ["aborted", "expired"])
def test_an_owner_that_sent_nothing_says_so_when_a_job_ends_after_a_join_began(state: str) -> None:
    machine = JobMachine("bureau")
    machine.on_view(RUNNING)
    ended = replace(RUNNING, state=state, join_height=7)
    assert machine.on_view(ended) == [DestroyShares(state), SendCall("disclaim", "disclaim")]
    assert machine.on_view(ended) == [], "once"
    assert not machine.finished
    assert machine.on_time(10**15) == [], "an ended job does not expire"
    with pytest.raises(JobRefusal, match="STOPPED"):
        machine.note_sending()
    assert machine.on_view(replace(ended, disclaimed=frozenset({"bureau"})))[-1] == FinishJob(state)


def test_a_statement_that_the_ledger_refuses_ends_the_job_for_us() -> None:
    machine = JobMachine("bureau")
    machine.on_view(replace(RUNNING, state="aborted", join_height=7))
    assert machine.on_done(CallRefused("disclaim", "DEADLINE_PASSED"))[-1] == FinishJob("aborted")


@pytest.mark.parametrize(
    ("me", "recovered", "view"),
    [
        ("bureau", Recovered(HASH, computing=True), {"join_height": 7}),  # it had sent before its restart
        ("bank", None, {"join_height": 7}),  # its own job: its word counts for nothing
        ("rival", None, {"join_height": 7}),  # it owns nothing
        ("bureau", None, {}),  # nobody sent: the runs have returned
        ("bureau", None, {"join_height": 7, "disclaimed": frozenset({"bureau"})}),
        ("bureau", None, {"join_height": 7, "state": "certified"}),
    ],
)
def test_nothing_is_stated_by_whom_it_does_not_concern_or_who_sent(
    me: str, recovered: Recovered | None, view: dict[str, Any]
) -> None:
    ended = replace(RUNNING, **{"state": "aborted"} | view)
    assert JobMachine(me, recovered).on_view(ended) == ending(ended.state)


def test_an_owner_that_sent_states_nothing() -> None:
    machine = JobMachine("bureau")
    machine.on_view(RUNNING)
    machine.note_sending()
    ended = replace(RUNNING, state="aborted", join_height=7)
    assert machine.on_view(ended) == [DestroyShares("aborted"), FinishJob("aborted")]


@pytest.mark.parametrize("state", ["rejected", "aborted", "expired", "certified"])
def test_an_end_on_the_ledger_ends_everything_here(state: str) -> None:
    machine = at_computed()
    assert machine.on_view(replace(RUNNING, state=state)) == ending(state)
    assert machine.on_done(StepFailed(filed("MPC_CANCELLED", {}), "stopped")) == []
    assert machine.on_time(10**15) == []


def test_what_is_held_of_a_revealed_job_outlives_its_deadline_and_no_abort() -> None:
    """Its receiver may not have had room to write the result."""
    revealed = replace(RUNNING, revealed_height=9, reveals=frozenset(RUNNING.owners))
    for state, left in (("expired", [FinishJob("expired")]), ("aborted", ending("aborted"))):
        assert at_computed().on_view(replace(revealed, state=state)) == left


def test_a_deadline_that_nobody_ended_is_expired_by_us_now_and_then() -> None:
    machine = JobMachine("bank")
    machine.on_view(PROPOSED)
    late = PROPOSED.deadline_ms + EXPIRE_GRACE_MS
    assert machine.on_time(late - 1) == []
    assert machine.on_time(late) == [StopComputing("deadline"), SendCall("expire", "expire")]
    assert machine.on_time(late + 1) == []
    assert machine.on_done(CallRefused("expire", "TOO_EARLY")) == []
    assert sends(machine.on_time(late + 20_000)) == [("expire", {})]


def computing() -> JobMachine:
    """Return a machine whose job has its turn to compute."""
    machine = JobMachine("bank")
    machine.on_view(replace(RUNNING, deadline_ms=10**9))
    machine.on_done(PhaseChecked("running", HASH))
    assert machine.on_time(0) == machine.on_time(RECHECK_MS) == [], (
        "a job that waits for its turn uses nothing"
    )
    machine.on_done(RunAllowed())
    return machine


def test_whether_a_run_is_allowed_is_asked_again_and_again_and_one_question_at_a_time() -> None:
    machine = computing()
    for begin in (0, 3 * RECHECK_MS):
        assert machine.on_time(begin) == machine.on_time(begin + RECHECK_MS - 1) == []
        assert machine.on_time(begin + RECHECK_MS) == [RecheckRun()]
        assert machine.on_time(begin + 2 * RECHECK_MS) == [], "our node may be away for long"
        machine.on_done(RunAllowed())
    assert machine.on_time(7 * RECHECK_MS) == []
    assert machine.on_time(RECHECK_MS) == [RecheckRun()], "a clock that is set back puts nothing off"


def test_a_grant_revoked_while_we_compute_stops_the_run_before_its_end() -> None:
    machine = computing()
    machine.on_time(0)
    assert machine.on_time(RECHECK_MS) == [RecheckRun()]
    assert machine.on_done(StepFailed(filed("GRANT_REVOKED", {}), "grant g1 is revoked")) == [
        DestroyShares("GRANT_REVOKED"),
        StopJob("abort", filed("GRANT_REVOKED", {}), "grant g1 is revoked"),
    ]
    assert machine.on_time(3 * RECHECK_MS) == []


def test_a_run_goes_on_unasked_in_a_dispute_and_is_asked_about_again_after_it() -> None:
    machine = computing()
    machine.on_time(0)
    assert machine.on_time(RECHECK_MS) == [RecheckRun()]
    assert machine.on_done(CallRefused(RECHECK, "WRONG_STATE")) == []
    machine.on_view(replace(RUNNING, state="disputed", deadline_ms=10**9))
    assert machine.on_time(5 * RECHECK_MS) == machine.on_time(6 * RECHECK_MS) == []
    machine.on_view(replace(RUNNING, deadline_ms=10**9))
    machine.on_time(7 * RECHECK_MS)
    assert machine.on_time(8 * RECHECK_MS) == [RecheckRun()]


def test_what_is_computed_is_checked_at_the_reveal_and_no_more_before_it() -> None:
    machine = computing()
    machine.on_done(ComputeDone("rep3", CHANNELS, 1))
    assert machine.on_time(0) == machine.on_time(RECHECK_MS) == []


def test_a_step_refused_because_the_state_changed_is_tried_again_when_it_changes_back() -> None:
    machine = JobMachine("bank")
    machine.on_view(RUNNING)
    machine.on_done(PhaseChecked("running", HASH))
    machine.on_done(stage(0))
    assert machine.on_done(CallRefused("stage-0", "WRONG_STATE")) == []
    assert machine.on_view(replace(RUNNING, state="disputed")) == []
    assert [method for method, _ in sends(machine.on_view(RUNNING))] == ["commit_stage"]


def test_a_step_refused_in_a_dispute_that_passed_between_two_reads_is_tried_again() -> None:
    """The agent reads the newest state: of a dispute it may see the refusal alone."""
    machine = JobMachine("bank")
    machine.on_view(RUNNING)
    machine.on_done(PhaseChecked("running", HASH))
    machine.on_done(stage(0))
    assert machine.on_done(CallRefused("stage-0", "WRONG_STATE")) == []
    assert machine.on_view(RUNNING) == [], "nothing has changed yet"
    resumed = replace(RUNNING, entered_height=RUNNING.entered_height + 1)
    assert [method for method, _ in sends(machine.on_view(resumed))] == ["commit_stage"]


def test_nothing_is_done_twice_however_often_the_ledger_is_read() -> None:
    machine = JobMachine("bank")
    assert machine.on_view(PROPOSED) == [CheckPhase("accepted")]
    assert machine.on_view(PROPOSED) == machine.on_view(PROPOSED) == []


VIEWS = [PROPOSED, ACCEPTED, RUNNING, COMPUTED, REVEALED, COMMITTED, replace(RUNNING, state="disputed")]
DONES = [
    PhaseChecked("accepted", HASH),
    PhaseChecked("running", HASH),
    PhaseChecked("reveal", HASH),
    InputPrepared(HASH),
    Met(),
    RunAllowed(),
    stage(0),
    CallSent("stage-0"),
    ComputeDone("rep3", CHANNELS, 1),
    TranscriptsVerified(),
    CallRefused("accept", "WRONG_STATE"),
    StepFailed(filed("MPC_PEER_GONE", {}), "bureau"),
]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.sampled_from(VIEWS), st.sampled_from(DONES)), max_size=30))
def test_shares_are_never_released_unless_the_last_view_says_that_all_approved(steps: list[Any]) -> None:
    machine, stopped = JobMachine("bank"), False
    for step in steps:
        actions = machine.on_view(step) if isinstance(step, JobView) else machine.on_done(step)
        if any(isinstance(action, ReleaseShares) for action in actions):
            assert machine.view is not None
            assert machine.view.state in ("revealed", "committed")
            assert machine.view.reveals == ALL
            assert not stopped
        stopped = stopped or any(isinstance(action, StopJob) for action in actions)


def test_the_transcript_waits_for_every_stage_whatever_the_order_of_reports() -> None:
    machine = JobMachine("bank")
    machine.on_view(RUNNING)
    machine.on_done(PhaseChecked("running", HASH))
    machine.on_done(stage(0))
    machine.on_done(CallSent("stage-0"))
    assert machine.on_done(ComputeDone("rep3", CHANNELS, 2)) == []
    assert [method for method, _ in sends(machine.on_done(stage(1)))] == ["commit_stage"]
    assert [method for method, _ in sends(machine.on_done(CallSent("stage-1")))] == ["commit_transcript"]
