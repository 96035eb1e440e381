"""An agent refuses whatever its own node does not show as authorised, and says why with a stable code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.system import PROFILES
from privcompute.config import LocalPolicy
from privcompute.data.datasets import LocalDataset
from privcompute.data.schema import Schema
from privcompute.data.sources import DataSource
from privcompute.job.enforcement import JobRefusal, OwnFacts, ProvedFacts, check_following, check_job
from privcompute.job.profiles import RUN_WITH, check_runnable
from privcompute.job.view import GrantedInput, JobSpec, JobView, Participant
from privcompute.pages.derived import Following

NOW = 1_000_000
ROOT, PAGE, PLAN = b"r" * 32, b"p" * 32, b"q" * 32
KEYS = {org: org.encode().ljust(32, b"k") for org in ("bank", "bureau", "registry")}
JOB = "ab" * 32
SPEC = JobSpec(
    program="logistic-regression",
    parameters={},
    purpose="credit-risk-model",
    profile="rep3",
    min_group=10,
    inputs=(
        GrantedInput("bank/g-bank", "bank/loans", 1, {"id": "join", "label": "encrypted"}, "loans"),
        GrantedInput("bank/g-bureau", "bureau/history", 2, {"id": "join", "score": "encrypted"}, "history"),
    ),
    participants=tuple(Participant(org, "owner", key) for org, key in KEYS.items()),
    receivers=("bank",),
    raw={},
    page=PAGE,
    plan=PLAN,
)
VIEW = JobView(
    id=JOB,
    spec=SPEC,
    state="proposed",
    entered_height=1,
    initiator="bank",
    deadline_ms=NOW + 60_000,
    owners=("bank", "bureau"),
    roots=(ROOT, ROOT),
    accepted=frozenset(),
    bound=frozenset(),
    transcripts=frozenset(),
    reveals=frozenset(),
    results=frozenset(),
    signed=frozenset(),
    running_height=0,
    revealed_height=0,
)
GRANT: dict[str, Any] = {
    "id": "bank/g-bureau",
    "owner": "bureau",
    "grantee": "bank",
    "expires": NOW + 1_000,
    "not_before": NOW - 1_000,
    "dataset": "bureau/history",
    "version": 2,
    "purpose": "credit-risk-model",
    "programs": ["logistic-regression"],
    "columns": {"id": "join-only", "score": "encrypted-only"},
    "profile": "rep3",
    "min_group": 10,
    "co_parties": ["registry"],
    "membership": ["bank"],
    "receivers": ["bank"],
    "quota_runs": 2,
    "run_epsilon": 500_000_000,
}
STANDING = {"status": "active", "used": 1, "reserved": 0, "revealed": 1}
LOCAL = LocalDataset(
    "bureau/history", 2, DataSource(Path("history.csv")), Schema((), ("id",)), 800, ROOT, b"s" * 32
)
OWN = OwnFacts("bureau", KEYS["bureau"], {("bureau/history", 2): LOCAL}, LocalPolicy())
ORGS = {org: {"status": "active", "agent_key": key} for org, key in KEYS.items()}
PROGRAM = {"id": "logistic-regression", "page": PAGE, "status": "active"}


def facts(view: JobView = VIEW, **changes: Any) -> ProvedFacts:
    return ProvedFacts(
        view=view,
        grants={"bank/g-bureau": GRANT | changes.pop("grant", {})},
        standing={"bank/g-bureau": STANDING | changes.pop("standing", {})},
        held={"bank/g-bureau": changes.pop("held", None)},
        datasets={"bureau/history": {"owner": "bureau", "status": "active"}},
        versions={("bureau/history", 2): {"root": ROOT}},
        orgs=ORGS,
        program=PROGRAM | changes.pop("program", {}),
        ranks={"dealer": 0, "rep3": 1, "rep4": 3},
    )


def refusal(shown: ProvedFacts, own: OwnFacts = OWN, phase: str = "accepted", now_ms: int = NOW) -> str:
    with pytest.raises(JobRefusal) as caught:
        check_job(phase, shown, own, now_ms)
    assert caught.value.reason in str(caught.value)
    return caught.value.reason


def test_a_job_that_everything_covers_is_allowed() -> None:
    check_job("accepted", facts(), OWN, NOW)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"owner": "registry"}, "UNKNOWN_GRANT"),
        ({"grantee": "regulator"}, "NOT_GRANTEE"),
        ({"expires": NOW}, "GRANT_EXPIRED"),
        ({"not_before": NOW + 1}, "GRANT_NOT_YET_VALID"),
        ({"dataset": "payments"}, "DATASET_NOT_GRANTED"),
        ({"version": 1}, "VERSION_NOT_GRANTED"),
        ({"purpose": "marketing"}, "PURPOSE_MISMATCH"),
        ({"programs": ["statistics"]}, "PROGRAM_NOT_GRANTED"),
        ({"columns": {"id": "join-only"}}, "COLUMN_NOT_GRANTED"),
        ({"columns": {"id": "join-only", "score": "join-only"}}, "CONSTRAINT_VIOLATED"),
        ({"profile": "rep4"}, "PROFILE_TOO_WEAK"),
        ({"profile": "never-heard-of"}, "PROFILE_TOO_WEAK"),
        ({"min_group": 11}, "MIN_GROUP_TOO_LOW"),
        ({"co_parties": []}, "CO_PARTY_NOT_GRANTED"),
        ({"receivers": ["bureau"]}, "RECEIVER_NOT_GRANTED"),
        ({"quota_runs": 1}, "QUOTA_EXHAUSTED"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_grant_that_does_not_cover_the_job_is_refused(changes: dict[str, Any], reason: str) -> None:
    assert refusal(facts(grant=changes)) == reason


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("withdrawn", "GRANT_NOT_ACTIVE"),
        ("revoked", "GRANT_REVOKED"),
        ("suspended", "GRANT_SUSPENDED"),
        ("expired", "GRANT_EXPIRED"),
    ],
)
def test_a_grant_that_is_not_active_is_refused(status: str, reason: str) -> None:
    assert refusal(facts(standing={"status": status})) == reason


def test_an_absent_grant_is_refused() -> None:
    assert refusal(replace(facts(), grants={"bank/g-bureau": None})) == "UNKNOWN_GRANT"


def test_a_run_must_be_free_unless_this_job_holds_one() -> None:
    taken = {"used": 1, "reserved": 1}
    assert refusal(facts(standing=taken)) == "QUOTA_EXHAUSTED"
    check_job("accepted", facts(standing=taken, held="reserved"), OWN, NOW)


def test_a_grant_that_is_only_requested_is_refused() -> None:
    assert refusal(replace(facts(), standing={"bank/g-bureau": None})) == "GRANT_NOT_ACTIVE"


@pytest.mark.parametrize(
    ("phase", "state", "held"),
    [("running", "running", "reserved"), ("running", "running", "used"), ("reveal", "computed", "used")],
)
def test_revocation_is_seen_at_every_phase(phase: str, state: str, held: str) -> None:
    view = replace(VIEW, state=state)
    check_job(phase, facts(view, held=held), OWN, NOW)
    revoked = facts(view, held=held, standing={"status": "revoked"})
    assert refusal(revoked, phase=phase) == "GRANT_REVOKED"
    assert refusal(facts(view), phase=phase) == "QUOTA_EXHAUSTED", "no run is held for this job"


@pytest.mark.parametrize(
    ("phase", "state", "held"),
    [
        ("accepted", "proposed", None),
        ("meeting", "accepted", "reserved"),
        ("running", "running", "used"),
        ("reveal", "computed", "used"),
    ],
)
def test_a_job_needs_its_page_in_force_at_every_phase(phase: str, state: str, held: str | None) -> None:
    view = replace(VIEW, state=state)
    check_job(phase, facts(view, held=held), OWN, NOW)
    assert refusal(facts(view, held=held, program={"page": b"x" * 32}), OWN, phase) == "PAGE_DIFFERS"
    assert refusal(facts(view, held=held, program={"status": "retired"}), OWN, phase) == "PROGRAM_NOT_ACTIVE"


def test_a_page_may_use_a_dataset_without_joining_it_and_joins_by_whole_keys() -> None:
    def of(columns: dict[str, str]) -> ProvedFacts:
        inputs = (SPEC.inputs[0], replace(SPEC.inputs[1], columns=columns))
        view = replace(VIEW, spec=replace(SPEC, inputs=inputs))
        granted = {"columns": {"id": "plain", "score": "plain"}}
        return facts(view, grant=granted)

    check_job("accepted", of({"score": "encrypted"}), OWN, NOW)
    assert refusal(of({"score": "join"})) == "JOIN_NOT_BY_KEY"
    assert refusal(of({"score": "join", "id": "join"})) == "JOIN_NOT_BY_KEY"


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (replace(OWN, agent_key=b"x" * 32), "AGENT_KEY_MISMATCH"),
        (replace(OWN, org="regulator"), "NOT_PARTICIPANT"),
        (replace(OWN, datasets={}), "DATASET_NOT_HELD"),
        (replace(OWN, datasets={("bureau/history", 2): replace(LOCAL, root=b"x" * 32)}), "ROOT_MISMATCH"),
        *[
            (
                replace(OWN, datasets={("bureau/history", 2): replace(LOCAL, schema=Schema((), key))}),
                "JOIN_NOT_BY_KEY",
            )
            for key in ((), ("score",), ("id", "born"))
        ],
        (replace(OWN, policy=LocalPolicy(refused_purposes=("credit-risk-model",))), "LOCAL_PURPOSE_REFUSED"),
        (replace(OWN, policy=LocalPolicy(refused_organisations=("registry",))), "LOCAL_ORGANISATION_REFUSED"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_agent_knows_itself_counts_too(own: OwnFacts, reason: str) -> None:
    assert refusal(facts(), own) == reason


def retired_program(shown: ProvedFacts) -> ProvedFacts:
    return replace(shown, program=PROGRAM | {"status": "retired"})


def unknown_program(shown: ProvedFacts) -> ProvedFacts:
    return replace(shown, program=None)


def rotated_key(shown: ProvedFacts) -> ProvedFacts:
    return replace(shown, orgs=ORGS | {"registry": {"status": "active", "agent_key": b"n" * 32}})


def suspended_party(shown: ProvedFacts) -> ProvedFacts:
    return replace(shown, orgs=ORGS | {"registry": ORGS["registry"] | {"status": "suspended"}})


def expelled_initiator(shown: ProvedFacts) -> ProvedFacts:
    view = replace(VIEW, initiator="user")
    grants = {"bank/g-bureau": GRANT | {"grantee": "user"}}
    gone = {"status": "expelled", "agent_key": b"u" * 32}
    return replace(shown, view=view, grants=grants, orgs=ORGS | {"user": gone})


def suspended_dataset(shown: ProvedFacts) -> ProvedFacts:
    return replace(shown, datasets={"bureau/history": {"owner": "bureau", "status": "suspended"}})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (retired_program, "PROGRAM_NOT_ACTIVE"),
        (unknown_program, "UNKNOWN_PROGRAM"),
        (rotated_key, "AGENT_KEY_MISMATCH"),
        (suspended_party, "ORG_NOT_ACTIVE"),
        (expelled_initiator, "ORG_NOT_ACTIVE"),
        (suspended_dataset, "DATASET_NOT_ACTIVE"),
    ],
)
def test_what_the_node_shows_beside_the_grant_counts_too(
    change: Callable[[ProvedFacts], ProvedFacts], reason: str
) -> None:
    assert refusal(change(facts())) == reason


def test_two_inputs_of_one_owner_are_refused() -> None:
    assert refusal(facts(replace(VIEW, owners=("bureau", "bureau")))) == "PROFILE_DATASETS"


def test_a_job_that_moved_on_is_not_checked_for_its_old_phase() -> None:
    assert refusal(facts(replace(VIEW, state="aborted"))) == "WRONG_STATE"


def test_a_profile_runs_only_with_as_many_parties_as_it_has() -> None:
    check_runnable(SPEC)
    with pytest.raises(JobRefusal, match="PROFILE_PARTIES"):
        check_runnable(replace(SPEC, participants=SPEC.participants[:2]))
    with pytest.raises(JobRefusal, match="PROFILE_NOT_RUN"):
        check_runnable(replace(SPEC, profile="rep4"))


def test_the_agent_runs_a_profile_with_as_many_as_the_ledger_lets_propose() -> None:
    """What the contract admits and no agent runs would be rejected only later, by every agent."""
    registered = {str(profile["name"]): profile for profile in PROFILES}
    for name, profile in RUN_WITH.items():
        record = registered[name]
        assert (record["rank"], record["datasets_max"]) == (profile.rank, 1), name
        assert (record["parties_min"], record["parties_max"]) == (profile.parties_min, profile.parties_max)


# --- membership -------------------------------------------------------------------------------------------
INPUT = VIEW.inputs_of("bureau")[0].name


@pytest.mark.parametrize(
    ("told", "granted", "stranger"),
    [
        ({}, [], ""),
        ({INPUT: ["bank"]}, ["bank"], ""),
        ({INPUT: ["bureau"]}, [], ""),
        ({"another": ["regulator"]}, [], ""),
        ({INPUT: ["bank"]}, [], "bank"),
        ({INPUT: ["bank", "registry"]}, ["bank"], "registry"),
    ],
)
def test_who_learns_which_of_our_rows_are_joined_is_refused_unless_our_grant_names_it(
    told: dict[str, list[str]], granted: list[str], stranger: str
) -> None:
    """Whatever the ledger's guard said of it: the agent has derived it of the page itself."""
    shown = facts(grant={"membership": granted})
    if not stranger:
        check_following(shown, "bureau", Following(told, {}))
        return
    with pytest.raises(JobRefusal, match="MEMBERSHIP_NOT_GRANTED") as caught:
        check_following(shown, "bureau", Following(told, {}))
    assert caught.value.detail == {"grant": "bank/g-bureau", "org": stranger}


def test_a_job_that_takes_more_epsilon_than_our_grant_lets_a_run_take_is_refused() -> None:
    """Whatever the ledger's guard said of it, and whatever another input takes of its own account."""
    check_following(facts(), "bureau", Following({}, {INPUT: 500_000_000, "another": 10**9}))
    with pytest.raises(JobRefusal, match="EPSILON_NOT_GRANTED") as caught:
        check_following(facts(), "bureau", Following({}, {INPUT: 500_000_001}))
    assert caught.value.detail == {"grant": "bank/g-bureau", "granted": "0.5", "asked": "0.500000001"}
