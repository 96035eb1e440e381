"""Bare replicas under schedules: two copies of one validator, and small mutations of what one replica says.

`scripts/simulate --schedules twins` runs every scenario of two rounds; here runs each 64th of them.
"""

from __future__ import annotations

import pytest

from consensus.slot import Slot
from tests.simulation import byzzfuzz, twins
from tests.simulation.campaign import run_schedule, run_schedules

EACH = 64


def test_there_are_as_many_partitions_as_bell_and_stirling_count() -> None:
    """Five processes: one whole, 15 in two, 25 in three."""
    assert [len(twins.partitions(5, sides)) for sides in (1, 2, 3, 5)] == [1, 16, 41, 52]
    assert len(set(twins.every())) == 16 * 16 * 4 * 2 * 2


@pytest.mark.parametrize("first", range(0, EACH, 16))
def test_two_copies_of_one_validator_split_nothing(first: int) -> None:
    """Agreement in every round, and progress once everybody hears everybody."""
    scenarios = list(twins.every())
    for number in range(first, len(scenarios), EACH):
        failure = twins.run(scenarios[number])
        assert not failure, f"{failure}\n{scenarios[number]}\n--schedules twins --seeds {number}"


@pytest.mark.parametrize("kind", ["twins-drawn", "byzzfuzz"])
def test_schedules_drawn_by_seed_break_nothing(kind: str) -> None:
    """Longer partitions around the twins; few and small mutations."""
    for number, words, failure in run_schedules(kind, range(20)):
        assert not failure, f"{failure}\n{words}\n--schedules {kind} --seeds {number}"


def test_a_schedule_is_the_same_whenever_it_is_drawn() -> None:
    """What a number names does not change."""
    assert byzzfuzz.drawn(7) == byzzfuzz.drawn(7) != byzzfuzz.drawn(8)
    assert twins.drawn(7) == twins.drawn(7) != twins.drawn(8)
    assert run_schedule("byzzfuzz", 7) == run_schedule("byzzfuzz", 7)


def test_twins_split_a_chain_that_decides_too_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a quorum of one less, two sides decide two payloads: some schedules see it."""
    decide = Slot.decide
    monkeypatch.setattr(Slot, "decide", lambda slot, quorum: decide(slot, quorum - 1))
    found = (number for number, _, failure in run_schedules("twins", range(3_675, 4_096, 7)) if failure)
    assert next(found, None) is not None
