"""By which protocol a join is done, and who aids: everybody follows one rule from what the ledger shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from privcompute.job.joining import aided_joins, helper_of, is_join, join_stage, spec_of
from privcompute.job.view import Participant
from privcompute.mpc.protocols.aided import AidedSpec
from privcompute.mpc.protocols.psi import PsiSpec
from privcompute.pages.columns import InputColumn, JobInput
from tests.unit.privcompute.job.standing import standard_work
from tests.unit.privcompute.job.test_enforcement import SPEC

ORGS = ("bank", "bureau", "registry")


def work_of(*owners: int) -> Any:
    inputs = [
        JobInput(f"{ORGS[owner]}/set{owner}", owner, (InputColumn("id", "text", "join"),)) for owner in owners
    ]
    return standard_work("private-join", inputs, {"receivers": ["bank"]})


def spec(orgs: tuple[str, ...] = ORGS, receivers: tuple[str, ...] = ("bank",), profile: str = "rep3") -> Any:
    participants = tuple(Participant(org, "owner", bytes(32)) for org in orgs)
    return replace(SPEC, participants=participants, receivers=receivers, profile=profile)


@pytest.mark.parametrize(
    ("owners", "asks", "reads", "helper"),
    [
        ((0, 1), "bank", ("bank",), 2),
        ((0, 1), "registry", ("bank",), None),
        ((0, 1), "bank", ("registry",), None),
        ((0, 1, 2), "bank", ("bank",), None),
    ],
)
def test_a_party_aids_that_owns_none_of_the_joined_data_and_has_no_interest(
    owners: tuple[int, ...], asks: str, reads: tuple[str, ...], helper: int | None
) -> None:
    """Whoever aids counts the common rows before anybody judges whether these are enough."""
    work, job = work_of(*owners), spec(receivers=reads)
    assert helper_of(work, job, asks, 0) == helper
    assert aided_joins(work, job, asks) == (frozenset() if helper is None else {0})
    made = spec_of(bytes(32), work, job, asks, 0)
    if helper is None:
        assert isinstance(made, PsiSpec)
        assert made.parties == owners
    else:
        assert isinstance(made, AidedSpec)
        assert (made.owners, made.helper) == (owners, helper)


def test_owners_alone_are_aided_by_nobody() -> None:
    assert helper_of(work_of(0, 1), spec(ORGS[:2], profile="dh-psi"), "bank", 0) is None


def test_each_join_of_each_job_has_a_context_of_its_own() -> None:
    work = work_of(0, 1)
    made = [
        spec_of(bytes([job]) * 32, work, spec(receivers=reads), "bank", 0)
        for job in (0, 1)
        for reads in ((), ("registry",))
    ]
    assert len({one.context for one in made}) == 4


def test_the_stage_says_by_which_protocol_a_join_was_done() -> None:
    kinds = [join_stage(number, aided) for aided in (True, False) for number in (0, 1)]
    assert kinds == ["aided-join", "aided-join-2", "join", "join-2"]
    assert all(map(is_join, kinds))
    assert not any(map(is_join, ("rows", "setup", "compute", "seal")))
