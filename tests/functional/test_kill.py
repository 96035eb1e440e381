"""Agents that are killed in the midst of a job: some cases of the campaign `kill`, with real processes."""

from __future__ import annotations

import pytest

from tests.campaigns.kill import run
from tests.campaigns.kill_table import Case

pytestmark = pytest.mark.functional


def test_a_sample_of_the_campaign_comes_to_what_its_table_says() -> None:
    """A receiver gets its result from the others; one that restarts while all meet is let in at once."""
    chosen = [
        Case("joint-statistics", "releasing", "bank", "kill"),
        Case("joint-statistics", "meeting", "bank", "kill"),
        Case("logistic-regression", "joining", "bureau", "kill"),
    ]
    assert run(chosen, print, disks=False) == []
