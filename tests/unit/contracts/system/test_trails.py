"""Every act is told in the history of everything that it concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

PARTIES = ("bank", "bureau", "registry")
ONE = bytes([1]) * 32


def test_a_revocation_is_told_to_every_job_that_it_stops_or_is_too_late_for(world: World) -> None:
    world.do("bureau", "grants.revoke", id="bank/g-bureau", reason="other terms")
    world.granted("bank/g-new", "bureau/data", "bureau", quota_runs=9)
    inputs = [
        world.use("bank/g-new" if name == "bureau" else f"bank/g-{name}", f"{name}/data") for name in PARTIES
    ]
    proposed, running = world.propose(inputs=inputs), world.job_at("running", inputs=inputs)
    revealed = world.job_at("revealed", inputs=inputs)
    world.do("bureau", "grants.revoke", id="bank/g-new", reason="complaint")
    event = world.fields("GrantRevoked")
    assert event["stopped"] == [f"job:{proposed}", f"job:{running}"]
    assert event["too_late"] == [f"job:{revealed}"]
    for job in (proposed, running, revealed):
        assert world.trail(f"job:{job}")[-1] == "GrantRevoked"


@pytest.mark.parametrize("change", ["narrow", "suspend", "resume", "revoke", "expire"])
def test_a_change_of_a_grant_is_told_to_all_its_open_jobs_however_many(world: World, change: str) -> None:
    jobs = [world.propose() for _ in range(40)]
    if change == "resume":
        world.do("bureau", "grants.suspend", id="bank/g-bureau", reason="")
    if change == "expire":
        world.advance(31 * 24 * 3_600_000)
    args: dict[str, Any] = {
        "narrow": {"terms": {"min_group": 11}},
        "suspend": {"reason": "x"},
        "revoke": {"reason": "x"},
    }
    before = len(world.events)
    world.do("bureau", f"grants.{change}", id="bank/g-bureau", **args.get(change, {}))
    told = world.events[before:]
    for job in jobs:
        assert sum(f"job:{job}" in event.subjects for event in told) == 1
    assert len(told) <= 1 + 3
    assert all(event.name.startswith("Grant") or event.name == "UsesConcerned" for event in told)


@pytest.mark.parametrize("change", ["suspend", "resume", "retire"])
def test_a_change_of_a_dataset_is_told_to_its_active_grants_and_their_open_jobs(
    world: World, change: str
) -> None:
    world.granted("bank/g-2", "bureau/data", "bureau")
    world.granted("bank/g-3", "bureau/data", "bureau")
    world.do("bureau", "grants.revoke", id="bank/g-3", reason="")
    job = world.job_at("running")
    if change == "resume":
        world.do("bureau", "datasets.suspend", id="bureau/data", reason="audit")
    args = {} if change == "resume" else {"reason": "audit"}
    world.do("bureau", f"datasets.{change}", id="bureau/data", **args)
    cause = {"suspend": "DatasetSuspended", "resume": "DatasetResumed", "retire": "DatasetRetired"}[change]
    for subject in ("grant:bank/g-bureau", "grant:bank/g-2", f"job:{job}"):
        assert world.trail(subject)[-1] == "UsesConcerned"
        last = world.fields("UsesConcerned")
        assert (last["cause"], last["about"], last["unnamed"]) == (cause, "dataset:bureau/data", 0)
    assert world.trail("grant:bank/g-3")[-1] == "GrantRevoked"
    assert world.trail("dataset:bureau/data")[-1] == cause
    assert world.trail("grant:bank/g-registry")[-1] == "running"


def test_narrowing_to_exhaustion_says_so(world: World) -> None:
    world.job_at("certified")
    world.do("bureau", "grants.narrow", id="bank/g-bureau", terms={"quota_runs": 1})
    assert world.trail("grant:bank/g-bureau")[-2:] == ["GrantNarrowed", "GrantExhausted"]
    assert world.ask("grants.state_of", id="bank/g-bureau") == "exhausted"
    world.do("bureau", "grants.narrow", id="bank/g-bureau", terms={"min_group": 11})
    assert world.trail("grant:bank/g-bureau")[-1] == "GrantNarrowed", "it was exhausted before"


def test_a_job_is_in_the_history_of_all_whom_it_asks_to_take_part_and_of_its_program(world: World) -> None:
    job = world.propose()
    for subject in (*[f"org:{name}" for name in PARTIES], "program:statistics", f"job:{job}"):
        assert "JobProposed" in world.trail(subject)


@pytest.mark.parametrize(
    ("status", "state"), [("suspended", "suspended"), ("active", "active"), ("requested", "requested")]
)
def test_the_state_of_a_grant_is_expired_once_its_time_is_over_whatever_its_status(
    world: World, status: str, state: str
) -> None:
    grant = "bank/g-bureau"
    if status == "suspended":
        world.do("bureau", "grants.suspend", id=grant, reason="")
    if status == "requested":
        grant = "bank/g1"
        world.request(grant, "bureau/data")
    assert world.ask("grants.state_of", id=grant) == state
    world.advance(31 * 24 * 3_600_000)
    assert world.ask("grants.state_of", id=grant) == "expired"
