"""Every reason for which a job ends has a row of the table, and hostile facts never pass for checked ones."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from contracts.system import sources
from privcompute.causes import CAUSES, CODE, EVERYWHERE, FIELDS, EndCause, filed
from privcompute.errors import PeerMisbehaved, PeerTooLarge, TooFewRows
from privcompute.job import exposure
from privcompute.job.enforcement import JobRefusal
from privcompute.job.failures import cause_of
from privcompute.pages.judging import CODES

ROOT = Path(__file__).parents[3] / "privcompute"
NAMES_FIRST = {"JobRefusal": 0, "TooFewRows": 0, "filed": 0, "_require": 1, "_found": 1, "need": 1}
"""Call -> the place of its argument that is a code."""
CONTRACT = {"EQUIVOCATION", "TRANSCRIPT_MISMATCH", "DISPUTE_UPHELD", "DEADLINE_PASSED"}
"""What the contract `jobs` itself writes as a cause."""
NO_END = {
    "MPC_LISTEN": "ends the agent before it takes a job",
    "MPC_LISTENER_FAILED": "ends the agent",
    "AGENT_RUNNING": "ends the agent before it takes a job",
    "MPC_MAGNITUDE": "the plaintext engine alone raises it, and no agent runs that",
    "MPC_PEER": "only those below it are raised",
    "REFUSED": "a refusal has a code of its own",
    "TOO_FEW_ROWS": "it has a code of its own",
    "PSI_BAD_POINT": "the protocol tells it as what a peer did",
    "DATASET_ID": "commands alone name datasets",
    "SCHEMA": "commands alone read schema files",
    "JOB_ID": "jobs that the ledger names have ids",
    "JOB_FILE": "a damaged file counts as a run that was lost",
    "EVIDENCE": "a damaged log ends the agent",
    "USAGE": "of commands",
    "PAGE_FILE": "of commands",
    "PAGE_NOT_JUDGED": "of commands",
    "GRANT_TOO_WIDE": "of commands",
    "DOUBTFUL": "of commands",
    "NOT_CONFIRMED": "of commands",
    "JOB_NOT_CERTIFIED": "of commands",
    "WATCH_TIMEOUT": "of commands",
    "NOT_WRITTEN": "the step is tried again",
    "SEALED": "what is lost shows in the step that needs it",
    "MPC_HOLDER_REFUSED": "it is asked again",
}
"""Codes of errors with which no job ends, and why."""
SAMPLE: dict[str, Any] = {
    "org": "bureau",
    "other": "registry",
    "grant": "bank/g1",
    "dataset": "bureau/data",
    "version": 2,
    "column": "Einkünfte [€]",
    "use": "aggregate",
    "allowed": "encrypted-only",
    "granted": "0.5",
    "asked": "0.500000001",
    "profile": "rep3",
    "least": 20,
    "limit": 1_000,
    "stage": "join",
    "step": "begin_join",
    "code": "GRANT_REVOKED",
    "error": "FileExistsError",
    "note": "not today",
    "dispute": 1,
    "kind": "late",
}


def given(name: str, body: list[ast.stmt]) -> set[str]:
    """Return the texts that are given this name, alone or in a dict, among these statements."""
    return {
        node.value
        for one in body
        if isinstance(one, ast.Assign)
        and any(isinstance(to, ast.Name) and to.id == name for to in one.targets)
        for node in ast.walk(one.value)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def raised() -> set[str]:
    """Return every code with which privcompute ends a job, or might."""
    found: set[str] = {"LEDGER_REFUSED", "CANCELLED", "INTERNAL_FAULT", *CODES, *exposure.CODES}
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text())
        if path.name == "enforcement.py":
            statements = [one for one in ast.walk(tree) if isinstance(one, ast.stmt)]
            texts = given("_STATUS_CODES", statements) | given("judged", statements)
            found |= {code for code in texts if CODE.fullmatch(code)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NAMES_FIRST:
                place = NAMES_FIRST[node.func.id]
                parts = ast.walk(node.args[place]) if len(node.args) > place else ()
                codes = [one.value for one in parts if isinstance(one, ast.Constant)]
                found |= {code for code in codes if isinstance(code, str) and CODE.fullmatch(code)}
            if isinstance(node, ast.ClassDef):
                found |= {code.upper() for code in given("code", node.body)} - NO_END.keys()
    return found


def test_every_code_that_ends_a_job_has_a_row_and_every_row_a_user() -> None:
    assert raised() | CONTRACT == CAUSES.keys()


def test_the_contract_files_no_other_codes_than_those_of_the_table() -> None:
    text = sources()["jobs"]
    assert all(f'"{code}"' in text for code in CONTRACT)


def test_every_code_and_fact_is_one_that_the_ledger_takes() -> None:
    for code, cause in CAUSES.items():
        assert CODE.fullmatch(code)
        assert cause.fields <= FIELDS.keys()
        assert len(cause.fields | EVERYWHERE) <= 8
    assert all(len(name) <= 32 and name.replace("_", "a").isalpha() for name in FIELDS)
    assert set(SAMPLE) == set(FIELDS)


@pytest.mark.parametrize("cause", CAUSES.values(), ids=lambda cause: cause.code)
def test_every_cause_is_a_sentence_with_its_facts_and_without_them(cause: EndCause) -> None:
    detail = {name: SAMPLE[name] for name in cause.fields}
    assert cause.fits({**detail, "stage": "join"})
    for said in (cause.sentence("bank", detail), cause.sentence("bank", {})):
        assert said.endswith(".")
        assert not {"{", "}"} & set(said)
    assert "{" not in cause.remedy
    for name in cause.fields - {"dispute"}:
        shown = f"{SAMPLE[name]:,}" if isinstance(SAMPLE[name], int) else SAMPLE[name]
        assert shown in cause.sentence("bank", detail), name


HOSTILE = [
    "x" * 129,
    "\x1b[2J",
    "a\nrevoked by bank",
    "\u202egnp.exe",
    "[bold]bank[/bold]/x",
    "",
    -1,
    2**63,
    True,
    None,
    1.5,
    b"bank",
    ["bank"],
    {"org": "bank"},
]


@pytest.mark.parametrize("fact", HOSTILE, ids=repr)
@pytest.mark.parametrize("name", sorted(FIELDS.keys() - {"column", "note"}))
def test_a_fact_beyond_its_bounds_is_neither_filed_nor_said(name: str, fact: Any) -> None:
    assert not FIELDS[name].holds(fact)
    cause = next(one for one in CAUSES.values() if name in one.fields | EVERYWHERE)
    assert not cause.fits({name: fact})
    assert cause.sentence("bank", {name: fact}) == cause.sentence("bank", {})
    assert filed(cause.code, {name: fact}).detail == {}


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.too_slow], deadline=None, max_examples=40)
@hypothesis.given(
    st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.booleans(), st.binary(), st.none()))
)
def test_whatever_a_member_files_is_said_on_one_printable_line(detail: dict[str, Any]) -> None:
    for cause in CAUSES.values():
        assert cause.sentence("bank", detail).isprintable()


def test_a_fact_of_another_cause_is_not_filed() -> None:
    assert filed("GRANT_REVOKED", {"grant": "bank/g1", "rows": 17, "least": 20}).detail == {
        "grant": "bank/g1"
    }


def test_a_failure_that_has_no_row_is_a_fault_of_ours_and_tells_its_kind_alone() -> None:
    error = FileExistsError("/srv/secret/path")
    assert cause_of(error, stage="release") == filed(
        "INTERNAL_FAULT", {"error": "FileExistsError", "stage": "release"}
    )


def test_the_causes_of_too_few_rows_are_told_apart_and_count_nobody() -> None:
    few = TooFewRows("ROWS_BELOW_MIN_GROUP", "7 rows", least=10)
    assert cause_of(few) == filed("ROWS_BELOW_MIN_GROUP", {"least": 10})
    assert 7 not in cause_of(few).detail.values()


def test_what_an_agent_files_names_the_stage_and_what_the_refusal_knows() -> None:
    refused = JobRefusal("COLUMN_NOT_GRANTED", "text of ours", grant="bank/g1", column="age")
    assert cause_of(refused, stage="check").detail == {"grant": "bank/g1", "column": "age", "stage": "check"}


def test_a_peer_is_told_only_where_it_is_known() -> None:
    assert cause_of(PeerMisbehaved(1, "bytes")).detail == {}
    assert cause_of(PeerTooLarge(1, "rows", 10)).detail == {}
