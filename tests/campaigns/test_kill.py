"""The table of the campaign `kill`: complete, and sampled over every stage."""

from __future__ import annotations

from tests.campaigns.kill_table import FAULTS, JOIN, ORGS, PROGRAMS, STAGES, cases, expected, sample


def test_every_stage_role_and_fault_of_every_program_is_a_case_with_an_outcome() -> None:
    every = cases()
    assert len(every) == len(set(every)) == (len(PROGRAMS) * len(STAGES) - 1) * len(ORGS) * len(FAULTS)
    assert not [case for case in every if case.program == JOIN and case.stage == "computing"]
    assert all(expected(case) for case in every)


def test_nothing_that_was_sealed_is_lost_to_a_crash_a_pause_or_a_full_disk() -> None:
    sealed = [case for case in cases() if case.stage in ("approving", "releasing", "signing")]
    harmless = [case for case in sealed if case.fault not in ("changed", "missing")]
    assert {outcome for case in harmless for outcome in expected(case)} == {("certified", 1)}


def test_a_sample_is_the_same_for_a_seed_and_touches_every_stage() -> None:
    assert sample(9, 4) == sample(9, 4) != sample(9, 5)
    assert {case.stage for case in sample(len(STAGES), 4)} == set(STAGES)
    assert all(case.fault != "stop75" for case in sample(100, 4))
