"""The simulator finds faults planted into the production code; `scripts/simulate --planted all` tries all."""

from __future__ import annotations

import pytest

from consensus.slot import Slot
from tests.simulation import planted

QUICK = (
    "wrong-quorum",
    "replay-ids-not-kept",
    "payload-not-stored",
    "unsynced-votes",
)
REQUIRED = {
    "wrong-quorum",
    "vote-before-durable",
    "reproposal-not-recomputed",
    "view-jump-on-one-message",
    "unsynced-votes",
    "sync-certificate-unchecked",
    "replay-ids-not-kept",
}


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_fault_is_caught_within_a_few_seeds(name: str) -> None:
    """These are the quick ones; the patch is gone afterwards."""
    found = planted.seeds_until_caught(name, most=8)
    assert found is not None


def test_the_list_of_planted_faults_is_complete() -> None:
    """Every kind that a consensus must survive is represented."""
    assert set(planted.PLANTS) >= REQUIRED
    assert len(planted.PLANTS) >= 14


@pytest.mark.parametrize("name", planted.PLANTS)
def test_every_planted_fault_fits_the_code(name: str) -> None:
    """A fault of one line names the line as it is now."""
    with planted.planted(name) as plant:
        assert plant.says


def test_a_planted_fault_is_taken_out_again() -> None:
    """Nothing of it stays behind."""
    before = Slot.__dict__["decide"]
    with planted.planted("early-decision"):
        assert Slot.__dict__["decide"] is not before
    assert Slot.__dict__["decide"] is before
