"""Agents that are killed in the midst of a job: one case of the campaign `kill`, with real processes."""

from __future__ import annotations

import pytest

from tests.campaigns.kill import run
from tests.campaigns.kill_table import Case

pytestmark = pytest.mark.functional


def test_a_receiver_that_is_killed_at_the_release_gets_its_result_from_the_others() -> None:
    assert run([Case("joint-statistics", "releasing", "bank", "kill")], print, disks=False) == []
