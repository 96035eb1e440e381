"""Runs that return, and those who would use that to probe data for nothing (docs/decisions)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

PARTIES = ("bank", "bureau", "registry")
ONE = bytes([1]) * 32
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
FREE = 3


def abort(world: World, job: str, who: str = "bank") -> None:
    world.do(who, "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=ONE)


def disclaim(world: World, job: str, *owners: str) -> None:
    for owner in owners:
        world.do(f"{owner}/agent", "jobs.disclaim", job=job)


def quotas(world: World) -> list[tuple[int, int]]:
    return [world.quota(f"bank/g-{name}") for name in PARTIES]


def grants(*runs: int) -> list[tuple[int, int]]:
    return [(used, 0) for used in runs]


def begun(world: World, by: str = "bank") -> str:
    """Return a job whose join an owner has begun, and no more."""
    job = world.job_at("running")
    world.begin(job, by)
    return job


@pytest.fixture
def world(fresh: Callable[[], World]) -> World:
    """Grants of many runs."""
    made = fresh()
    for name in PARTIES:
        grant = made.read("grants", "grants", f"bank/g-{name}")
        made.put("grants", "grants", f"bank/g-{name}", grant | {"quota_runs": 20})
    return made


# --- by rule


def test_a_job_that_ends_before_anybody_s_data_moved_returns_the_runs_of_all_its_grants(world: World) -> None:
    job = world.job_at("running")
    abort(world, job, "registry")
    assert quotas(world) == grants(0, 0, 0)
    assert world.read("jobs", "jobs", job)["returned"] == [f"bank/g-{name}" for name in PARTIES]
    assert world.fields("GrantUsed")["note"] == "run returned"


@pytest.mark.parametrize("end", ["abort", "expire"])
def test_one_owner_that_begins_to_join_spends_the_runs_of_all(world: World, end: str) -> None:
    job = begun(world, "registry")
    if end == "abort":
        abort(world, job)
    else:
        world.advance(HOUR_MS + 1)
        world.do("rival", "jobs.expire", job=job)
    assert quotas(world) == grants(1, 1, 1)
    assert world.read("jobs", "jobs", job)["returned"] == []


def test_a_requester_that_aborts_again_and_again_before_data_move_gets_three_runs_a_day_back(
    world: World,
) -> None:
    for number in range(1, 6):
        abort(world, world.job_at("running"))
        spent = max(0, number - FREE)
        assert quotas(world) == grants(spent, spent, spent)
    assert world.fields("GrantUsed")["note"] == "run spent"
    world.advance(DAY_MS)
    for _ in range(FREE):
        abort(world, world.job_at("running"))
    assert quotas(world) == grants(2, 2, 2)


def test_the_day_of_returns_is_that_of_each_grant_alone(world: World) -> None:
    world.granted("bank/other", "bank/data", "bank", quota_runs=20)
    for _ in range(FREE):
        abort(world, world.job_at("running"))
    job = world.propose(
        inputs=[
            world.use("bank/other", "bank/data"),
            world.use("bank/g-bureau", "bureau/data"),
            world.use("bank/g-registry", "registry/data"),
        ]
    )
    world.accept(job)
    world.bind(job)
    abort(world, job)
    assert [world.quota(f"bank/{name}") for name in ("other", "g-bureau", "g-registry")] == grants(0, 1, 1)
    assert world.read("jobs", "jobs", job)["returned"] == ["bank/other"]


def test_an_owner_s_answers_about_its_data_return_its_run_three_times_a_day_and_twelve_ever(
    world: World,
) -> None:
    """Before data are joined an owner answers, too: it binds, or ends the job with a code."""
    for number in range(1, 6):
        job = world.job_at("accepted")
        if number % 2:
            world.bind(job, "bureau")
            abort(world, job)
        else:
            abort(world, job, "bureau")
        assert quotas(world) == grants(0, max(0, number - FREE), 0), "who did not answer loses nothing"
    for _ in range(4):
        world.advance(DAY_MS)
        for _ in range(FREE):
            abort(world, world.job_at("accepted"), "bureau")
    assert world.read("grants", "returns", "bank/g-bureau")["ever"] == 12
    assert quotas(world) == grants(0, 5, 0)


def test_ends_before_the_run_are_not_counted_against_the_day(world: World) -> None:
    for _ in range(2 * FREE):
        abort(world, world.job_at("accepted"))
    abort(world, world.job_at("running"))
    assert quotas(world) == grants(0, 0, 0)


def test_the_last_run_of_a_grant_that_is_spent_at_an_end_exhausts_it(world: World) -> None:
    record = world.read("grants", "grants", "bank/g-bureau")
    world.put("grants", "grants", "bank/g-bureau", record | {"quota_runs": 1})
    for _ in range(FREE):
        abort(world, world.job_at("running"))
    assert world.ask("grants.state_of", id="bank/g-bureau") == "active"
    abort(world, world.job_at("running"))
    assert world.ask("grants.state_of", id="bank/g-bureau") == "exhausted"
    assert "GrantExhausted" in world.trail("grant:bank/g-bureau")


# --- by statements


def test_the_runs_return_when_every_owner_but_the_initiator_has_said_that_it_sent_nothing(
    world: World,
) -> None:
    job = begun(world)
    abort(world, job)
    disclaim(world, job, "bureau")
    assert quotas(world) == grants(1, 1, 1), "one owner's word is not that of all"
    disclaim(world, job, "registry")
    assert quotas(world) == grants(0, 0, 0)
    assert world.fields("ReleaseDisclaimed")["returned"] == [f"bank/g-{name}" for name in PARTIES]


def test_a_run_returns_once_however_often_it_is_stated(world: World) -> None:
    abort(world, begun(world))
    job = begun(world)
    abort(world, job)
    for _ in range(3):
        disclaim(world, job, "bureau", "registry")
        assert quotas(world) == grants(1, 1, 1)


def test_what_returned_by_rule_is_not_returned_again_by_statement(world: World) -> None:
    abort(world, begun(world))
    job = world.job_at("running")
    abort(world, job)
    assert world.refusal("bureau/agent", "jobs.disclaim", job=job) == "WRONG_STATE"
    assert quotas(world) == grants(1, 1, 1)


def test_a_party_that_refuses_to_state_anything_costs_the_run_and_nothing_else(world: World) -> None:
    job = begun(world)
    abort(world, job)
    disclaim(world, job, "registry")
    world.advance(WEEK_MS + 1_000)
    assert world.refusal("bureau/agent", "jobs.disclaim", job=job) == "DEADLINE_PASSED"
    assert quotas(world) == grants(1, 1, 1)


def test_two_who_collude_do_not_return_a_run_for_which_a_third_sent_data(world: World) -> None:
    """Requester and bureau want the registry's answers for nothing; the registry has sent its part."""
    for number in range(1, 4):
        job = begun(world, "registry")
        abort(world, job, "bureau")
        disclaim(world, job, "bureau")
        assert world.refusal("bank/agent", "jobs.disclaim", job=job) == "OWN_CASE"
        assert quotas(world) == grants(number, number, number)


@pytest.mark.parametrize("state", ["computed", "revealed", "committed"])
def test_whoever_computed_cannot_say_that_it_sent_nothing(world: World, state: str) -> None:
    job = world.job_at(state)
    abort(world, job)
    for owner in ("bureau", "registry"):
        assert world.refusal(f"{owner}/agent", "jobs.disclaim", job=job) == "STAGE_COMMITTED"
    assert quotas(world) == grants(1, 1, 1)


def test_a_certified_job_never_returns_its_runs(world: World) -> None:
    job = world.job_at("certified")
    assert world.refusal("bureau/agent", "jobs.disclaim", job=job) == "WRONG_STATE"
    assert world.refusal("rival/agent", "jobs.disclaim", job=job) == "NOT_DATA_OWNER"


def test_statements_return_no_more_runs_a_day_than_ends_by_rule_do(world: World) -> None:
    """A requester with accomplices at every owner still gets three a day, of both kinds together."""
    for _ in range(FREE - 1):
        abort(world, world.job_at("running"))
    for number in range(3):
        job = begun(world)
        abort(world, job)
        disclaim(world, job, "bureau", "registry")
        assert quotas(world) == grants(number, number, number)
        assert len(world.read("jobs", "jobs", job)["returned"]) == (3 if number == 0 else 0)


# --- what is used is used under grants in force


def test_no_join_begins_under_a_grant_that_was_revoked_while_the_job_waited_for_its_turn(
    world: World,
) -> None:
    job = world.job_at("running")
    world.do("bureau", "grants.revoke", id="bank/g-bureau", reason="")
    assert world.refusal("bank/agent", "jobs.begin_join", job=job) == "GRANT_REVOKED"
    abort(world, job)
    assert quotas(world) == grants(0, 0, 0)


def test_nothing_is_computed_on_the_ledger_before_a_join_began(world: World) -> None:
    job = world.job_at("running")
    stage = {"job": job, "stage": 0, "kind": "k", "hash": ONE, "previous": bytes(32)}
    figures = {"bytes_sent": 0, "rounds": 0, "cpu_ms": 0}
    assert world.refusal("bank/agent", "jobs.commit_stage", **stage, **figures) == "JOIN_NOT_BEGUN"
    channels = {"bureau": ONE, "registry": ONE}
    said = {"job": job, "profile": "rep3", "channels": channels}
    assert world.refusal("bank/agent", "jobs.commit_transcript", **said) == "STAGE_MISSING"


def test_a_second_owner_that_begins_changes_nothing(world: World) -> None:
    job = begun(world)
    before = world.read("jobs", "jobs", job)
    world.begin(job, "bureau")
    assert world.read("jobs", "jobs", job) == before
