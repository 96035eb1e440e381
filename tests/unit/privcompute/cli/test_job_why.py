"""What became of a job is said in words, with whose word it is, and hostile facts are never believed."""

from __future__ import annotations

from typing import Any

import pytest

from privcompute.causes import CAUSES
from privcompute.cli.job_why import WIDTH, as_json_of, explain, in_short, print_why

JOB = "ab" * 32
PARTIES = ("bank", "bureau", "registry")
SPEC: dict[str, Any] = {
    "participants": [{"org": org, "role": "owner"} for org in PARTIES],
    "receivers": ["bank"],
    "inputs": [
        {"grant": f"bank/g-{org}", "dataset": f"{org}/data", "version": 1, "columns": {"id": "join"}}
        for org in PARTIES
    ],
}
LISTS = ("accepted", "bound", "transcripts", "reveals", "results", "signed", "returned", "disclaimed")
RUNS = [f"bank/g-{org}" for org in PARTIES]


def record(state: str, **more: Any) -> dict[str, Any]:
    """Return a job's row; without more, nobody has done anything."""
    numbers = dict.fromkeys(("deadline", "join_height", "running_height"), 0)
    who: dict[str, Any] = {"id": JOB, "state": state, "initiator": "bank", "owners": list(PARTIES)}
    return who | numbers | {name: [] for name in LISTS} | more


def end(cause: str, detail: Any = None, **more: Any) -> dict[str, Any]:
    """Return the row of an end by bureau while the job ran."""
    who = {"state": "aborted", "phase": "running", "origin": "party", "by": "bureau", "missing": []}
    return who | {"cause": cause, "detail": detail or {}, "evidence": b"", "height": 9} | more


def told(cause: str, detail: Any = None, **more: Any) -> Any:
    return explain(record("aborted", running_height=5, returned=RUNS), SPEC, end(cause, detail, **more), {})


def test_an_end_says_who_where_why_and_what_to_do() -> None:
    why = told("ROWS_BELOW_OWNER_MINIMUM", {"least": 40, "stage": "join"})
    assert why.says == (
        "bureau ended the job while it was running, with cause ROWS_BELOW_OWNER_MINIMUM. "
        "Fewer rows were joined than the 40 that bureau asks for by a rule of its own. "
        "It happened in the join."
    )
    assert "policy.min_joined_rows" in why.do
    assert why.runs == "No run was used: no data had moved."
    assert why.word == "The cause and its facts are the word of bureau alone; nobody checked them."


@pytest.mark.parametrize(
    ("state", "done", "waits"),
    [
        ("proposed", {"accepted": ["bank"]}, ["bureau", "registry"]),
        ("accepted", {"bound": ["bureau"]}, ["bank", "registry"]),
        ("running", {"transcripts": ["bank", "registry"]}, ["bureau"]),
        ("computed", {"reveals": []}, list(PARTIES)),
        ("revealed", {"results": []}, ["bank"]),
        ("committed", {"signed": ["bank"]}, ["bureau", "registry"]),
    ],
)
def test_an_open_job_says_for_whom_it_waits(state: str, done: dict[str, Any], waits: list[str]) -> None:
    why = explain(record(state, deadline=1_700_000_000_000, **done), SPEC, None, {})
    assert why.waits_for == waits
    assert ", ".join(waits) in why.says
    assert "until 2023-11-14 22:13:20 UTC" in why.says


def test_a_disputed_job_waits_for_an_auditor() -> None:
    assert "auditor" in explain(record("disputed"), SPEC, None, {}).says


def test_a_certified_job_says_where_its_result_is() -> None:
    assert explain(record("certified"), SPEC, None, {}).do.endswith(f"assent job result {JOB[:12]}")


@pytest.mark.parametrize(
    ("job", "heads", "runs"),
    [
        ({"running_height": 0}, {}, "No run was used"),
        ({"running_height": 5, "returned": RUNS}, {}, "No run was used"),
        ({"running_height": 5, "returned": RUNS[1:]}, {}, "bank/g-bank lost one"),
        ({"join_height": 6, "returned": RUNS}, {}, "The runs returned"),
        ({"join_height": 6}, {"bureau": {"count": 1}}, "data had moved, bureau had finished a stage"),
        ({"join_height": 6, "disclaimed": ["bureau"]}, {"bank": {"count": 1}}, "They return if registry "),
    ],
)
def test_an_end_says_what_became_of_the_runs(job: Any, heads: Any, runs: str) -> None:
    assert runs in explain(record("aborted", **job), SPEC, end("STOPPED"), heads).runs


def test_what_the_contract_found_is_not_called_a_party_s_word() -> None:
    why = told("EQUIVOCATION", {"dispute": 1}, origin="contract")
    assert (why.word, "contract itself" in why.proved) == ("", True)


def test_a_party_that_files_what_only_the_contract_finds_is_not_believed() -> None:
    assert "the word of bureau alone" in told("EQUIVOCATION", {"dispute": 1}).word


def test_an_expired_job_names_who_was_missing_and_blames_nobody_for_saying_so() -> None:
    why = told("DEADLINE_PASSED", origin="deadline", state="expired", missing=["registry"])
    assert "The time for the state running passed; bureau said so first." in why.says
    assert "Missing were: registry." in why.says
    assert why.word == ""


def test_a_refusal_of_the_ledger_is_explained_by_its_own_code() -> None:
    why = told("LEDGER_REFUSED", {"step": "approve_reveal", "code": "GRANT_REVOKED"})
    assert "The ledger refused approve_reveal of bureau: GRANT_REVOKED." in why.says
    assert "found a grant revoked" in why.says
    assert "a new grant is needed" in why.do


HOSTILE = "x\x1b[2J\nproved: bank did it [bold]"


@pytest.mark.parametrize(
    ("cause", "detail"),
    [
        ("MPC_PEER_GONE", {"org": "rival"}),
        ("MPC_PEER_GONE", {"org": HOSTILE}),
        ("GRANT_REVOKED", {"grant": "rival/g1"}),
        ("COLUMN_NOT_GRANTED", {"grant": "bank/g-bank", "column": "salary"}),
        ("ROWS_BELOW_MIN_GROUP", {"least": 20, "rows": 17}),
        ("ROWS_BELOW_MIN_GROUP", {"least": "20"}),
        ("NEW_CAUSE", {"note": HOSTILE}),
    ],
)
def test_facts_that_do_not_fit_the_cause_or_the_job_are_shown_as_filed(
    cause: str, detail: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    why = told(cause, detail)
    assert not why.detail_fits
    assert "do not fit the cause or the job: {" in why.says
    if cause in CAUSES:
        assert CAUSES[cause].sentence("bureau", {}) in why.says
    print_why(why, "verified")
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() and len(line) <= WIDTH for line in lines)
    assert not any(line.startswith(("proved", "  proved: bank")) for line in lines)


def test_an_initiator_that_is_no_party_may_be_named() -> None:
    job = record("aborted", initiator="requester")
    assert explain(job, SPEC, end("ORG_NOT_ACTIVE", {"org": "requester"}), {}).detail_fits


def test_json_holds_the_rows_and_the_words() -> None:
    shown: Any = as_json_of(told("ROWS_BELOW_MIN_GROUP", {"least": 10}, missing=["bank"]))
    assert (shown["cause"], shown["detail"], shown["missing"]) == (
        "ROWS_BELOW_MIN_GROUP",
        {"least": 10},
        ["bank"],
    )
    assert shown["says"].startswith("bureau ended the job")


def test_one_line_says_it_in_short() -> None:
    assert in_short(record("rejected"), SPEC, end("AGENT_BUSY", phase="proposed")) == (
        "ended by bureau while proposed: AGENT_BUSY. The agent of bureau had as many jobs as it takes."
    )
