"""Every phase asks again for all that may have changed: members, agents, program, dataset, policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

PARTIES = ("bank", "bureau", "registry")
PHASES = ("proposed", "accepted", "running", "reveal")
ONE = bytes([1]) * 32
VIEW_POLICY = """
@view
def allow(job: dict, phase: str) -> bool:
    return True
"""


def retire(world: World) -> None:
    for who in PARTIES:
        world.do(who, "programs.retire", id="statistics", reason="")


CHANGES: dict[str, Callable[[World], object]] = {
    "ORG_NOT_ACTIVE": lambda w: w.decide("suspend_org", org="bureau"),
    "PROGRAM_NOT_ACTIVE": retire,
    "DATASET_NOT_ACTIVE": lambda w: w.do("bureau", "datasets.retire", id="bureau/data", reason=""),
    "POLICY_FROZEN": lambda w: w.do("rival", "lifecycle.freeze", name="rules", seq=1, reason="leaks"),
}


@pytest.fixture
def ruled(world: World) -> World:
    """The same consortium, where the bureau's grant asks a contract whose answer is a view."""
    world.policy("rules", VIEW_POLICY)
    world.do("bureau", "grants.narrow", id="bank/g-bureau", terms={"policy": "rules"})
    return world


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("code", list(CHANGES))
def test_what_changed_around_a_job_is_seen_at_the_next_phase(ruled: World, phase: str, code: str) -> None:
    attempt = ruled.brink(phase)
    CHANGES[code](ruled)
    assert attempt() == code


@pytest.mark.parametrize("phase", PHASES)
def test_what_is_as_before_stops_no_phase(ruled: World, phase: str) -> None:
    assert ruled.brink(phase)() == ""


@pytest.mark.parametrize("phase", ["accepted", "running", "reveal"])
def test_a_suspended_grantee_gets_no_result_and_a_reinstated_one_does(world: World, phase: str) -> None:
    """The grantee is initiator, participant and receiver: suspended after it did its part, then let back."""
    attempt = world.brink(phase)
    world.decide("suspend_org", org="bank")
    assert attempt() == "ORG_NOT_ACTIVE"
    world.decide("reinstate_org", org="bank")
    assert attempt() == ""


@pytest.mark.parametrize("phase", PHASES)
def test_a_receiver_that_was_expelled_receives_nothing(world: World, phase: str) -> None:
    grants = {name: f"bank/r-{name}" for name in PARTIES}
    for name in PARTIES:
        both = ["bank", "rival"]
        world.granted(grants[name], f"{name}/data", name, receivers=both, co_parties=[*PARTIES, "rival"])
    key = world.ask("orgs.org_of", id="rival")["agent_key"]
    inputs = [world.use(grants[name], f"{name}/data", {"id": "join"}) for name in PARTIES]
    spec = world.spec(inputs=inputs, receivers=["bank", "rival"], profile="dh-psi")
    spec["participants"].append({"org": "rival", "role": "receiver", "agent_key": key})
    parties = (*PARTIES, "rival")
    steps: dict[str, Callable[[str, str], Any]] = {
        "accepted": lambda job, who: world.accept(job, who),
        "running": lambda job, who: world.bind(job, who),
        "reveal": lambda job, who: world.reveal(job, who),
    }
    if phase == "proposed":
        world.decide("expel_org", org="rival")
        assert world.refusal("bank", "jobs.propose", spec=spec) == "ORG_NOT_ACTIVE"
        return
    job: str = world.do("bank", "jobs.propose", spec=spec)
    for name, step in steps.items():
        acting = [who for who in parties if who != "rival" or name == "accepted"]
        if name == phase:
            for who in acting if name == "accepted" else acting[:-1]:
                if who != "registry":
                    step(job, who)
            break
        for who in acting:
            step(job, who)
        if name == "running":
            for who in parties:
                world.stage(job, who)
                channels = dict.fromkeys((other for other in parties if other != who), ONE)
                said = {"job": job, "profile": "dh-psi", "channels": channels}
                world.do(f"{who}/agent", "jobs.commit_transcript", **said)
    world.decide("expel_org", org="rival")
    step = {"accepted": "accept", "running": "bind", "reveal": "approve_reveal"}[phase]
    args = {"accepted": {"plan": spec["plan"]}, "running": {"commitment": ONE}, "reveal": {}}[phase]
    assert world.refusal("registry/agent", f"jobs.{step}", job=job, **args) == "ORG_NOT_ACTIVE"


@pytest.mark.parametrize("phase", ["accepted", "running", "reveal"])
def test_a_party_whose_agent_was_replaced_takes_no_further_part(world: World, phase: str) -> None:
    """Its old key is in the job, and results would go to whoever holds it."""
    attempt = world.brink(phase)
    record = world.read("orgs", "orgs", "bureau")
    world.put("orgs", "orgs", "bureau", {**record, "agent_key": ONE})
    assert attempt() == "AGENT_KEY_MISMATCH"


def test_a_policy_that_has_not_begun_is_refused_when_it_is_set(world: World) -> None:
    terms = {"active_at": world.height + 100}
    proposal = {"name": "rules", "source": VIEW_POLICY, "arguments": {}, "terms": terms}
    seq = world.do("bank", "lifecycle.propose", **proposal)
    voted = world.read("lifecycle", "proposals", f"rules/{seq}")["hash"]
    for who in ("bureau", "registry"):
        world.do(who, "lifecycle.approve", name="rules", seq=seq, hash=voted)
    world.do("bank", "lifecycle.commit", name="rules", seq=seq)
    terms = {"policy": "rules"}
    assert world.refusal("bureau", "grants.narrow", id="bank/g-bureau", terms=terms) == "POLICY_NOT_ACTIVE"
    world.advance(blocks=100)
    world.do("bureau", "grants.narrow", id="bank/g-bureau", terms=terms)


def test_a_frozen_policy_is_refused_when_it_is_set(ruled: World) -> None:
    ruled.do("rival", "lifecycle.freeze", name="rules", seq=1, reason="leaks")
    terms = {"policy": "rules"}
    assert ruled.refusal("registry", "grants.narrow", id="bank/g-registry", terms=terms) == "POLICY_FROZEN"
    request = ruled.terms("bank/g1", "bureau/data") | terms
    assert ruled.refusal("bank", "grants.request", **request) == "POLICY_FROZEN"
