"""The tracer's labels are those that a brute-force reference finds in the cells (soundness.py)."""

from __future__ import annotations

from tests.unit.contracts.pages.soundness import compared


def test_uses_of_random_pages_are_what_a_brute_force_reference_finds() -> None:
    found = compared(range(150))
    print(found)
    assert found.differ == []
    assert found.equal > 75
    assert found.wider > 10
