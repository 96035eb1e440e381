"""The hostile programs within the test's own process, where `compare_hosts` follows each on other hosts.

Not collected by itself: `tests/unit/contracts/test_hosts.py` names it.
"""

from __future__ import annotations

import pytest
from corpus import CATEGORIES, everything
from measure import verdict_of

PROGRAMS = everything()


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_verdicts_of_a_category_are_the_expected_ones(category: str) -> None:
    for name, program in PROGRAMS.items():
        if name.startswith(f"{category}/"):
            verdict = verdict_of(program)
            assert (verdict["status"], verdict["code"] or "") == (program.status, program.code), name
