"""Joined rows are asked for once: the answer stands, and binary search finds nothing more."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest

from chain.primitives.values import encode_value
from tests.unit.contracts.system.conftest import PARTIES, World

SUFFICES, TOO_FEW = "suffices", "too few"


@pytest.fixture
def world(fresh: Callable[[], World]) -> World:
    """Grants of many runs."""
    made = fresh()
    for name in PARTIES:
        grant = made.read("grants", "grants", f"bank/g-{name}")
        made.put("grants", "grants", f"bank/g-{name}", grant | {"quota_runs": 60})
    return made


def asked(world: World, min_group: int = 10) -> str:
    """Return a job that has begun to join."""
    job = world.propose(min_group=min_group)
    world.accept(job)
    world.bind(job)
    world.begin(job)
    return job


def answer(world: World, job: str, *said: bool) -> str:
    outcome = ""
    for name, suffices in zip(PARTIES, said, strict=False):
        outcome = world.do(f"{name}/agent", "jobs.judge_join", job=job, suffices=suffices)
    return outcome


def row(world: World) -> dict[str, object]:
    versions = sorted(f"{name}/data@1" for name in PARTIES)
    found = world.read("jobs", "joins", sha256(encode_value(["assent/joined-versions", versions])).digest())
    assert isinstance(found, dict)
    return found


def test_versions_that_join_too_few_rows_are_refused_for_ever(world: World) -> None:
    job = asked(world)
    assert answer(world, job, True, False) == TOO_FEW
    assert answer(world, job, True, True, True) == TOO_FEW, "an answer stands"
    for min_group in (10, 11, 500):
        assert world.refusal("bank", "jobs.propose", spec=world.spec(min_group=min_group)) == "JOIN_TOO_SMALL"


def test_versions_suffice_when_all_owners_say_so_for_as_many_rows_and_no_more(world: World) -> None:
    job = asked(world, 40)
    assert answer(world, job, True, True) == ""
    assert answer(world, job, True, True, True) == SUFFICES
    again = asked(world, 20)
    assert answer(world, again, False) == SUFFICES, "a later job is not asked"
    assert row(world) == {"min_group": 40, "outcome": SUFFICES, "said": list(PARTIES), "job": job}
    assert world.refusal("bank", "jobs.propose", spec=world.spec(min_group=41)) == "JOIN_NOT_JUDGED"


def test_a_job_that_was_proposed_before_the_answer_is_held_to_it(world: World) -> None:
    early = world.propose(min_group=50)
    world.accept(early)
    bound = world.propose(min_group=50)
    world.accept(bound)
    world.bind(bound)
    answer(world, asked(world, 40), True, True, True)
    world.bind(early, "bank", "bureau")
    refused = world.refusal("registry/agent", "jobs.bind", job=early, commitment=bytes(32))
    assert refused == "JOIN_NOT_JUDGED"
    assert world.refusal("bank/agent", "jobs.begin_join", job=bound) == "JOIN_NOT_JUDGED"


def test_what_nobody_answered_may_be_asked_again_for_as_many_rows_or_fewer(world: World) -> None:
    asked(world, 40)
    assert world.refusal("bank", "jobs.propose", spec=world.spec(min_group=41)) == "JOIN_NOT_JUDGED"
    second = asked(world, 30)
    assert (row(world)["min_group"], row(world)["job"]) == (30, second)
    assert answer(world, second, True, True, True) == SUFFICES
    assert world.refusal("bank", "jobs.propose", spec=world.spec(min_group=31)) == "JOIN_NOT_JUDGED"


@pytest.mark.parametrize("joined", [11, 37, 600])
def test_binary_search_of_the_joined_rows_ends_with_its_first_answer(world: World, joined: int) -> None:
    """Owners answer truly; the requester changes the minimum group as it likes, and learns one bit."""
    low, high, answers = 10, 1_024, 0
    while low < high - 1:
        middle = (low + high) // 2
        if world.outcome("bank", "jobs.propose", spec=world.spec(min_group=middle)) != "":
            high = middle  # the ledger alone refuses: nothing of the rows is in it that is not there already
            continue
        job = asked(world, middle)
        known = bool(answers) and row(world)["outcome"]
        outcome = answer(world, job, *[joined >= middle] * 3)
        answers += not known
        low, high = (middle, high) if outcome == SUFFICES else (low, middle)
    assert row(world)["outcome"] == (SUFFICES if joined >= 517 else TOO_FEW)
    assert answers == 1


def test_a_grants_version_is_joined_with_three_sets_of_versions(world: World) -> None:
    """Versions of a partner's data that differ in one row tell by their joins who that row is."""
    for version in range(2, 5):
        args = {"schema": world.declare("registry"), "root": bytes([version]) * 32, "size_bucket": "<=100"}
        world.do("registry", "datasets.new_version", id="registry/data", **args)
    for version in range(1, 5):
        grant = "bank/g-registry" if version == 1 else f"bank/g{version}"
        if version > 1:
            world.granted(grant, "registry/data", "registry", version=version, quota_runs=60)
        use = world.use(grant, "registry/data") | {"version": version}
        inputs = [world.use("bank/g-bank", "bank/data"), world.use("bank/g-bureau", "bureau/data"), use]
        if version == 4:
            assert world.refusal("bank", "jobs.propose", spec=world.spec(inputs=inputs)) == "PARTNER_VERSIONS"
            return
        job = world.propose(inputs=inputs)
        world.accept(job)
        world.bind(job)
        world.begin(job)


def test_an_owner_narrows_with_how_many_sets_its_version_is_joined(world: World) -> None:
    world.do("bureau", "grants.narrow", id="bank/g-bureau", terms={"partner_versions": 1})
    for terms in ({"partner_versions": 2}, {"partner_versions": 0}):
        assert world.refusal("bureau", "grants.narrow", id="bank/g-bureau", terms=terms) == "NOT_NARROWER"
    asked(world)
    world.put("grants", "partners", "bank/g-bureau", [bytes(32)])
    assert world.refusal("bank", "jobs.propose", spec=world.spec()) == "PARTNER_VERSIONS"
