"""The example policy `examples/contracts/purpose_hours.py`, deployed by members and asked by grants."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

SOURCE = (Path(__file__).parents[4] / "examples/contracts/purpose_hours.py").read_text(encoding="utf-8")
RULE: dict[str, object] = {
    "min_group": 10,
    "receivers": ["bank", "regulator"],
    "excluded": [],
    "opens": 0,
    "closes": 1_440,
    "weekdays": [0, 1, 2, 3, 4, 5, 6],
}
PARTIES = ("bank", "bureau", "registry")
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS


@pytest.fixture
def policed(world: World) -> World:
    """The consortium, where every grant asks the policy, which lists one purpose."""
    seq = world.do(
        "bank",
        "lifecycle.propose",
        name="purpose-hours",
        source=SOURCE,
        arguments={"initial": {"credit-risk": RULE}},
        terms={},
    )
    voted = world.read("lifecycle", "proposals", f"purpose-hours/{seq}")["hash"]
    for who in ("bureau", "registry"):
        world.do(who, "lifecycle.approve", name="purpose-hours", seq=seq, hash=voted)
    world.do("bank", "lifecycle.commit", name="purpose-hours", seq=seq)
    for who in PARTIES:
        world.do(who, "grants.narrow", id=f"bank/g-{who}", terms={"policy": "purpose-hours"})
    return world


def set_rule(world: World, **change: object) -> None:
    for who in PARTIES:
        world.do(who, "purpose-hours.vote_rule", purpose="credit-risk", rule={**RULE, **change})


def why(world: World, phase: str = "proposed", **change: object) -> str:
    job = {"purpose": "credit-risk", "min_group": 10, "receivers": ["bank"], "participants": list(PARTIES)}
    reason: str = world.ask("purpose-hours.why", job={**job, **change}, phase=phase)
    return reason


def test_a_job_within_the_rules_goes_all_the_way(policed: World) -> None:
    policed.job_at("certified")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"purpose": "marketing"}, "PURPOSE_NOT_LISTED"),
        ({"min_group": 9}, "TOO_FEW_ROWS"),
        ({"receivers": ["bank", "rival"]}, "RECEIVER_NOT_LISTED"),
        ({}, ""),
    ],
)
def test_the_policy_says_why(policed: World, change: dict[str, object], reason: str) -> None:
    assert why(policed, **change) == reason


@pytest.mark.parametrize("change", [{"min_group": 11}, {"excluded": ["registry"]}, {"receivers": ["bureau"]}])
def test_a_stricter_rule_stops_jobs_that_every_grant_allows(
    policed: World, change: dict[str, object]
) -> None:
    job = policed.job_at("computed")
    set_rule(policed, **change)
    assert policed.refusal("bank", "jobs.propose", spec=policed.spec()) == "POLICY_DENIED"
    assert policed.refusal("bank/agent", "jobs.approve_reveal", job=job) == "POLICY_DENIED"


def test_work_starts_in_hours_and_results_may_come_later(policed: World) -> None:
    minute = policed.time // MINUTE_MS % 1_440
    job = policed.job_at("computed")
    set_rule(policed, opens=0, closes=minute if minute else 1, weekdays=[_weekday(policed)])
    policed.advance((MINUTE_MS if minute == 0 else 0) + 10)
    assert policed.refusal("bank", "jobs.propose", spec=policed.spec()) == "POLICY_DENIED"
    policed.reveal(job)
    assert policed.state_of(job) == "revealed"


def test_a_day_off_is_a_day_off(policed: World) -> None:
    set_rule(policed, weekdays=[_weekday(policed)])
    assert why(policed) == ""
    policed.advance(DAY_MS)
    assert why(policed) == "OUTSIDE_HOURS"
    assert why(policed, phase="reveal") == ""
    policed.advance(6 * DAY_MS)
    assert why(policed) == ""


def _weekday(world: World) -> int:
    return (world.time // DAY_MS + 3) % 7


def test_a_purpose_is_added_and_removed_by_a_majority(policed: World) -> None:
    vote = "purpose-hours.vote_rule"
    assert policed.do("bank", vote, purpose="audit", rule=RULE) is False
    assert policed.refusal("bank", vote, purpose="audit", rule=RULE) == "ALREADY_VOTED"
    assert policed.do("rival", vote, purpose="audit", rule={**RULE, "min_group": 1}) is False
    policed.do("bureau", vote, purpose="audit", rule=RULE)
    assert policed.do("regulator", vote, purpose="audit", rule=RULE) is True
    assert policed.ask("purpose-hours.rule_of", purpose="audit") == RULE
    for who in PARTIES:
        policed.do(who, "purpose-hours.vote_removal", purpose="audit")
    assert policed.refusal("bank", "purpose-hours.vote_removal", purpose="audit") == "PURPOSE_NOT_LISTED"
    trail = policed.trail("contract:purpose-hours")
    assert (trail[-1], trail.count("RuleSet")) == ("RuleRemoved", 2)


def test_votes_need_an_admin_key(policed: World) -> None:
    args = {"purpose": "audit", "rule": RULE}
    assert policed.refusal("bank/agent", "purpose-hours.vote_rule", **args) == "KEY_ROLE_MISSING"


@pytest.mark.parametrize(
    "change",
    [
        {"min_group": 0},
        {"opens": 600, "closes": 600},
        {"closes": 1_441},
        {"weekdays": []},
        {"weekdays": [7]},
        {"more": 1},
        {"receivers": ["x"] * 33},
    ],
)
def test_a_bad_rule_is_refused(policed: World, change: dict[str, object]) -> None:
    args = {"purpose": "audit", "rule": {**RULE, **change}}
    assert policed.refusal("bank", "purpose-hours.vote_rule", **args) == "BAD_RULE"
