"""What a job is charged goes the way of its runs: held, spent and given back by the same steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

PARTIES = ("bank", "bureau", "registry")
GIGA = 10**9
ONE = bytes([1]) * 32
HOUR_MS = 3_600_000


def charged(world: World) -> dict[str, Any]:
    """Return what makes a job release a figure with noise, of epsilon 1, of each dataset."""
    columns = {"id": "join", "income": "noisy"}
    return {"inputs": [world.use(f"bank/g-{name}", f"{name}/data", columns) for name in PARTIES]}


def sides(world: World, owner: str = "bureau") -> tuple[int, int]:
    """Return the epsilon that open jobs hold of a dataset's account, and what is spent, in units of one."""
    found = world.ask("accounts.account_of", id=f"{owner}/data", version=1)
    return found["reserved"]["epsilon"] // GIGA, found["spent"]["epsilon"] // GIGA


def capped(world: World, **caps: int) -> None:
    world.do("bureau", "accounts.lower_caps", id="bureau/data", caps=caps)


def test_a_job_books_what_follows_of_its_page_for_each_input(world: World) -> None:
    job = world.propose(**charged(world))
    booking = world.ask("accounts.booking_of", job=job)
    assert booking["grantee"] == "bank"
    assert [(one["input"], one["grant"], one["owner"]) for one in booking["charges"]] == [
        (f"d{place}", f"bank/g-{name}", name) for place, name in enumerate(PARTIES)
    ]
    assert {one["epsilon"] for one in booking["charges"]} == {GIGA}
    assert {one["rho"] for one in booking["charges"]} == {GIGA**2 // 2}


def test_a_job_that_no_account_has_room_for_is_refused_and_books_nothing(world: World) -> None:
    capped(world, epsilon=GIGA - 1)
    spec = world.spec(**charged(world))
    assert world.refusal("bank", "jobs.propose", spec=spec) == "ACCOUNT_EPSILON"
    capped(world, delta=1)
    assert world.refusal("bank", "jobs.propose", spec=spec) == "ACCOUNT_DELTA"


@pytest.mark.parametrize(
    ("state", "held", "spent"),
    [("proposed", 0, 0), ("accepted", 1, 0), ("running", 1, 0), ("computed", 0, 1), ("certified", 0, 1)],
)
def test_a_charge_is_held_from_the_last_acceptance_and_spent_from_the_join_on(
    world: World, state: str, held: int, spent: int
) -> None:
    world.job_at(state, **charged(world))
    assert [sides(world, owner) for owner in PARTIES] == [(held, spent)] * 3


def test_no_account_is_held_while_a_party_has_not_agreed(world: World) -> None:
    job = world.propose(**charged(world))
    for org in ("bureau", "bank"):
        world.accept(job, org)
    assert [sides(world, owner)[0] for owner in PARTIES] == [0, 0, 0]
    world.do("registry/agent", "jobs.reject", job=job, cause="STOPPED", detail={})
    assert sides(world) == (0, 0)
    assert "AccountReserved" not in world.trail("dataset:bureau/data")


def test_an_account_is_held_for_a_day_at_most_before_a_job_runs(world: World) -> None:
    deadlines = world.spec(**charged(world))["deadlines"]
    day = {**deadlines, "bind": 24 * HOUR_MS}
    assert (
        world.refusal(
            "bank",
            "jobs.propose",
            spec=world.spec(**charged(world), deadlines=day | {"bind": 24 * HOUR_MS + 1}),
        )
        == "BAD_DEADLINES"
    )
    job = world.job_at("accepted", **charged(world), deadlines=day | {"accept": 48 * HOUR_MS})
    world.advance(24 * HOUR_MS + 1)
    world.do("rival", "jobs.expire", job=job)
    assert sides(world) == (0, 0)


def test_a_job_that_ends_before_its_join_gives_back_what_was_held(world: World) -> None:
    job = world.job_at("accepted", **charged(world))
    world.do("registry/agent", "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=b"")
    assert sides(world) == (0, 0)
    assert world.trail("dataset:bureau/data")[-3:] == ["AccountReserved", "aborted", "AccountReturned"]


def test_a_job_that_expires_before_its_join_gives_back_what_was_held(world: World) -> None:
    job = world.job_at("running", **charged(world))
    world.advance(HOUR_MS + 1)
    world.do("rival", "jobs.expire", job=job)
    assert [sides(world, owner) for owner in PARTIES] == [(0, 0)] * 3


def test_a_job_that_ends_after_its_join_has_spent_until_every_owner_sent_nothing(world: World) -> None:
    job = world.job_at("running", **charged(world))
    world.begin(job)
    world.do("bank", "jobs.abort", job=job, cause="STOPPED", detail={}, evidence=ONE)
    assert sides(world) == (0, 1)
    world.do("bureau/agent", "jobs.disclaim", job=job)
    assert sides(world) == (0, 1)
    world.do("registry/agent", "jobs.disclaim", job=job)
    assert [sides(world, owner) for owner in PARTIES] == [(0, 0)] * 3


def test_where_a_run_does_not_come_back_its_charge_is_spent(world: World) -> None:
    day = world.time // (24 * HOUR_MS)
    world.put("grants", "returns", "bank/g-bureau", {"day": day, "today": 3, "ever": 3})
    job = world.job_at("accepted", **charged(world))
    evidence = {"job": job, "cause": "STOPPED", "detail": {}, "evidence": b""}
    world.do("bureau/agent", "jobs.abort", **evidence)
    assert world.quota("bank/g-bureau") == (1, 0)
    assert [sides(world, owner) for owner in PARTIES] == [(0, 0), (0, 1), (0, 0)]


def test_nobody_is_missing_from_a_job_that_an_account_has_no_room_for(world: World) -> None:
    capped(world, grantee_epsilon=GIGA * 3 // 2)
    late = world.propose(**charged(world))
    world.job_at("accepted", **charged(world))
    assert world.ask("jobs.missing", id=late) == []
    plan = world.plan_of(late)
    assert world.refusal("bureau/agent", "jobs.accept", job=late, plan=plan) == "ACCOUNT_EPSILON"


def test_accounts_that_members_stopped_stop_what_would_be_charged(world: World) -> None:
    job = world.job_at("running", **charged(world))
    for org in ("bank", "bureau", "registry", "regulator"):
        world.do(org, "lifecycle.freeze", name="accounts", seq=1, reason="")
    assert world.refusal("bank/agent", "jobs.begin_join", job=job) == "CONTRACT_FROZEN"
    assert world.state_of(job) == "running"
