"""Jobs under pages: what one does follows of the page, its parameters and its datasets' schemas alone."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives.values import decode_value, encode_value
from contracts.pages.page import page_hash
from tests.unit.contracts.system.test_programs import committed

if TYPE_CHECKING:
    from tests.unit.contracts.system.conftest import World

PARTIES = ("bank", "bureau", "registry")
PAGE = '''"""Incomes of the people that all three know, for the bank."""


def run(*tables, receivers=("bank",), least=0):
    rows = join(tables)
    for receiver in receivers:
        release(count(rows), to=receiver, exact=True, name="people")
        for table in tables:
            incomes = clip(rows[name_of(table)].income, 0, 9)
            release(sum(incomes), to=receiver, noise=laplace(epsilon=1))
'''
USED = {"id": "join", "income": "noisy"}


def ready(world: World, **over: Any) -> dict[str, Any]:
    """Have the page approved and granted; return the spec of a job under it."""
    committed(world, "incomes", PAGE)
    for name in PARTIES:
        world.granted(f"bank/i-{name}", f"{name}/data", name, programs=["incomes"])
    return paged(world, **over)


def paged(world: World, **over: Any) -> dict[str, Any]:
    inputs = [world.use(f"bank/i-{name}", f"{name}/data", USED) | {"name": name} for name in PARTIES]
    spec = world.spec(program="incomes", parameters={}, inputs=inputs, page=page_hash(PAGE), plan=bytes(32))
    spec |= over
    return spec | {"plan": over.get("plan", derived(world, spec)["plan"])}


def derived(world: World, spec: dict[str, Any]) -> dict[str, Any]:
    inputs = [
        {"name": one["name"], "dataset": one["dataset"], "version": 1, "columns": list(one["columns"])}
        for one in spec["inputs"]
    ]
    asked = {"inputs": inputs, "parameters": spec["parameters"], "initiator": "bank"}
    found = world.ask("programs.derive", id="incomes", **asked)
    return dict(found)


def retired(world: World) -> None:
    for who in ("bank", "bureau", "registry"):
        world.do(who, "programs.retire", id="incomes", reason="")


def test_a_job_under_a_page_runs_to_its_certificate_which_names_page_and_plan(world: World) -> None:
    spec = ready(world)
    job = world.do("bank", "jobs.propose", spec=spec)
    event = next(one for one in reversed(world.events) if one.name == "JobProposed")
    fields = decode_value(event.fields, max_bytes=1 << 16)
    assert (fields["page"], fields["plan"]) == (spec["page"], spec["plan"])
    assert world.refusal("bank/agent", "jobs.accept", job=job, plan=spec["page"]) == "PLAN_DIFFERS"
    for name in PARTIES:
        world.do(f"{name}/agent", "jobs.accept", job=job, plan=spec["plan"])
    for step in (world.bind, world.compute, world.reveal, world.result):
        step(job)
    body = world.ask("jobs.certificate_body", job=job)
    assert (body["plan"], body["page"]) == (spec["plan"], page_hash(PAGE))
    world.sign(job)
    certificate = world.read("jobs", "certificates", job)
    assert certificate["digest"] == sha256(encode_value(body)).digest()


def test_nothing_that_a_proposer_says_of_a_page_counts(world: World) -> None:
    spec = ready(world)
    one, *others = spec["inputs"]
    renamed = [one | {"name": "other"}, *others]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"plan": bytes(32)}, "PLAN_DIFFERS"),
        ({"page": bytes(32)}, "PLAN_DIFFERS"),
        ({"parameters": {"least": 1}, "min_group": 11}, ""),  # a parameter that changes nothing
        ({"parameters": {"receivers": ["bank", "bureau"]}}, "PLAN_DIFFERS"),
        ({"parameters": {"receiver": []}}, "REJECTED_PAGE"),
        ({"parameters": {"least": "0"}}, "REJECTED_PAGE"),
        ({"inputs": renamed}, "PLAN_DIFFERS"),
        ({"inputs": [one | {"columns": {"id": "join", "income": "encrypted"}}, *others]}, "USES_DIFFER"),
        ({"inputs": [one | {"columns": USED | {"age": "plain"}}, *others]}, "USES_DIFFER"),
        ({"inputs": [one | {"columns": {"id": "join"}}, *others]}, "REJECTED_PAGE"),
        ({"inputs": [one | {"columns": USED | {"shoes": "plain"}}, *others]}, "UNKNOWN_COLUMN"),
        ({"inputs": [one | {"version": 2}, *others]}, "UNKNOWN_VERSION"),
        ({"inputs": [one | {"dataset": "bank/none"}, *others]}, "UNKNOWN_DATASET"),
        ({"inputs": [{name: one[name] for name in one if name != "name"}, *others]}, "BAD_INPUTS"),
        ({"receivers": ["bank", "bureau"]}, "RECEIVERS_DIFFER"),
        ({"receivers": ["bureau"]}, "RECEIVERS_DIFFER"),
        ({"profile": "dealer"}, "PROFILE_NOT_OFFERED"),
        ({"program": "none"}, "UNKNOWN_PROGRAM"),
        ({"program": "statistics"}, "PLAN_DIFFERS"),
        ({"page": b"short"}, "BAD_HASH"),
    ]
    for change, code in wrong:
        assert world.outcome("bank", "jobs.propose", spec=spec | change) == code, (change, code)
    without = {name: spec[name] for name in spec if name != "plan"}
    assert world.outcome("bank", "jobs.propose", spec=without) == "BAD_SPEC"


def test_grants_decide_on_what_was_derived(world: World) -> None:
    spec = ready(world)
    both = {"receivers": ["bank", "bureau"]}
    wide = paged(world, parameters=both, receivers=["bank", "bureau"])
    assert world.outcome("bank", "jobs.propose", spec=wide) == "RECEIVER_NOT_GRANTED"
    world.do(
        "bureau",
        "grants.narrow",
        id="bank/i-bureau",
        terms={"columns": {"id": "join-only", "income": "encrypted-only"}},
    )
    assert world.outcome("bank", "jobs.propose", spec=spec) == "CONSTRAINT_VIOLATED"


@pytest.mark.parametrize("phase", ["proposed", "accepted", "running", "join", "reveal"])
def test_a_page_that_members_retired_starts_nothing_more_at_any_phase(world: World, phase: str) -> None:
    spec = ready(world)
    if phase == "proposed":
        retired(world)
        assert world.outcome("bank", "jobs.propose", spec=spec) == "PROGRAM_NOT_ACTIVE"
        return
    job = world.do("bank", "jobs.propose", spec=spec)
    accept = {"job": job, "plan": spec["plan"]}
    steps = [lambda name=name: world.do(f"{name}/agent", "jobs.accept", **accept) for name in PARTIES]
    if phase == "accepted":
        retired(world)
        assert world.outcome("bank/agent", "jobs.accept", **accept) == "PROGRAM_NOT_ACTIVE"
        assert world.ask("jobs.missing", id=job) == [], "that is no party's silence"
        return
    for step in steps:
        step()
    if phase == "running":
        world.bind(job, "bank", "bureau")
        retired(world)
        bound = {"job": job, "commitment": bytes(32)}
        assert world.outcome("registry/agent", "jobs.bind", **bound) == "PROGRAM_NOT_ACTIVE"
        return
    world.bind(job)
    if phase == "join":
        retired(world)
        assert world.outcome("bank/agent", "jobs.begin_join", job=job) == "PROGRAM_NOT_ACTIVE"
        return
    world.compute(job)
    retired(world)
    assert world.outcome("bank/agent", "jobs.approve_reveal", job=job) == "PROGRAM_NOT_ACTIVE"
