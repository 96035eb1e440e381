"""Each fault planted into the tracer or its tables is noticed."""

from __future__ import annotations

import pytest

from tests.unit.contracts.pages.plants import PLANTS, noticed


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_fault_is_noticed(name: str) -> None:
    assert noticed(PLANTS[name]) != ""
