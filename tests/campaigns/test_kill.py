"""The table of the campaign `kill`: complete, and sampled over every stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.system import standard_pages
from privcompute.cli.page_jobs import exact
from privcompute.data.proposals import propose
from privcompute.data.sources import DataSource, open_source
from privcompute.job.inputs import input_column
from privcompute.pages.derived import PageInput, derive, known_types, not_granted
from tests.campaigns import kill
from tests.campaigns.kill_table import (
    APART,
    FAULTS,
    JOIN,
    ORGS,
    PROGRAMS,
    STAGES,
    Case,
    cases,
    expected,
    sample,
)


def test_every_stage_role_and_fault_of_every_program_is_a_case_with_an_outcome() -> None:
    every = cases()
    assert len(every) == len(set(every)) == len(PROGRAMS) * len(STAGES) * len(ORGS) * len(FAULTS)
    assert all(expected(case) for case in every)


def test_nothing_that_was_sealed_is_lost_to_a_crash_a_pause_or_a_full_disk() -> None:
    sealed = [case for case in cases() if case.stage in ("approving", "releasing", "signing")]
    harmless = [case for case in sealed if case.fault not in ("changed", "missing")]
    assert {outcome for case in harmless for outcome in expected(case)} == {("certified", 1)}


def test_a_sample_is_the_same_for_a_seed_and_touches_every_stage() -> None:
    assert sample(9, 4) == sample(9, 4) != sample(9, 5)
    assert {case.stage for case in sample(len(STAGES), 4)} == set(STAGES)
    assert all(case.fault != "stop75" for case in sample(100, 4))


def test_nothing_is_lost_by_a_crash_or_a_pause_before_the_parties_are_tied_together() -> None:
    apart = [case for case in cases() if case.stage in APART and case.fault not in ("changed", "missing")]
    assert {outcome for case in apart for outcome in expected(case)} == {("certified", 1)}


def test_a_case_that_ran_on_the_same_sources_is_left_out_and_on_others_is_not(tmp_path: Path) -> None:
    chosen = [Case("joint-statistics", "reading", "bank", fault) for fault in FAULTS]
    ran = [
        kill.Ran("here", "c" * 40, str(chosen[0]), 9, []),
        kill.Ran("elsewhere", "d" * 40, str(chosen[1]), 9, ["aborted"]),
    ]
    path = tmp_path / "docs" / "kill.jsonl"
    kill.write(ran, path)
    assert kill.read(path) == ran
    rest = kill.left(chosen, kill.read(path), "here", 1)
    assert sorted(map(str, rest)) == sorted(map(str, chosen[1:]))
    assert rest == kill.left(chosen, ran, "here", 1)
    assert kill.figures(ran) == {
        "cases": 2,
        "wrong": 1,
        "minutes": 0,
        "fault kill": 1,
        "fault stop15": 1,
    }


def test_what_a_case_comes_to_depends_on_the_agents_and_the_contracts() -> None:
    names = {path.name for pattern in kill.SOURCES for path in kill.ROOT.glob(pattern)}
    assert {"machine.py", "jobs.py", "kill_table.py", "client.py"} <= names


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_jobs_of_the_campaign_are_such_as_their_pages_and_grants_take(name: str, tmp_path: Path) -> None:
    """One whose label had another use was refused each time, and each of its cases waited for a hit."""
    inputs = []
    for org in ORGS:
        path = tmp_path / f"{org}.csv"
        path.write_text(kill.table_of(org))
        schema = propose(open_source(DataSource(path)), ["person"]).schema
        columns = [input_column(column, "plain") for column in schema.columns]
        inputs.append(PageInput(org, org, ("person",), known_types(columns)))
    found = derive(standard_pages()[name], inputs, exact(kill.PARAMETERS[name]), "bank")
    granted = {(org, column): kill.TERMS[column] for org in ORGS for column in kill.columns_of(org)}
    assert not_granted(found, granted) == ()
    assert set(found.receivers) <= set(ORGS)
    assert ("dh-psi" if name == JOIN else "rep3") in found.profiles
