"""Slots: jobs of several agents get theirs without deadlock and without starving, whatever the order.

A simulation in virtual time: each job whose parties are all there makes a round a second, as meetings do.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from privcompute.job.slots import OVERTAKEN_S, Offer, Slots

LONGEST_S = 3_600.0


@dataclass
class Simulated:
    """Agents with slots, and jobs that wait, compute for a while, and end."""

    agents: dict[str, Slots]
    parties: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lasts: dict[str, float] = field(default_factory=dict)
    began: dict[str, float] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    now: float = 0.0

    def add(self, job: str, height: int, lasts: float, *parties: str) -> None:
        self.parties[job], self.lasts[job] = parties, lasts
        for party in parties:
            self.agents[party].wait(job, height, self.now)

    def step(self, chance: random.Random) -> None:
        """Let all waiting jobs make a round, interleaved by chance, and computing ones go on for a second."""
        waiting = [job for job in self.parties if job not in self.began]
        offers: dict[str, dict[str, Offer]] = {job: {} for job in waiting}
        turns = [(job, party) for job in waiting for party in self.parties[job]]
        chance.shuffle(turns)
        for job, party in turns:
            offers[job][party] = self.agents[party].offer(job, self.now)
        for job in waiting:
            has = [self.agents[party].close(job, offers[job].values()) for party in self.parties[job]]
            assert len(set(has)) == 1, "all parties of a job come to the same"
            if has[0]:
                self.began[job] = self.now
        for agent in self.agents.values():
            assert len(agent.taken) <= agent._total
        self.now += 1.0
        for job, began in self.began.items():
            if job not in self.ended and self.now >= began + self.lasts[job]:
                self.ended.append(job)
                for party in self.parties[job]:
                    self.agents[party].give_back(job)


@pytest.mark.parametrize("seed", range(30))
def test_jobs_of_any_parties_all_get_their_slots(seed: int) -> None:
    chance = random.Random(seed)
    names = ["a", "b", "c", "d", "e"]
    world = Simulated({name: Slots(chance.randint(1, 2), LONGEST_S) for name in names})
    for number in range(20):
        some = chance.sample(names, chance.randint(2, 4))
        world.add(f"job {number}", chance.randint(1, 9), chance.randint(1, 30), *some)
    for _ in range(20 * 31):
        world.step(chance)
    assert sorted(world.ended) == sorted(world.parties), f"seed {seed}"


def test_of_two_jobs_that_could_begin_the_elder_does_in_its_next_round() -> None:
    """They take each other's slots in the first round, as in the picture of dining philosophers."""
    world = Simulated({"a": Slots(1, LONGEST_S), "b": Slots(1, LONGEST_S)})
    a, b = world.agents.values()
    world.add("young", 2, 1.0, "a", "b")
    world.add("old", 1, 1.0, "b", "a")
    assert (a.offer("young", 0.0), b.offer("young", 0.0)) == (Offer.LATER, Offer.LATER)
    a.leave("old"), b.leave("old")
    assert a.offer("young", 0.0) is Offer.NOW
    world.add("old", 1, 1.0, "b", "a")
    first = (b.offer("old", 0.0), a.offer("old", 0.0), b.offer("young", 0.0))
    assert first == (Offer.NOW, Offer.LATER, Offer.LATER)
    assert not a.close("young", [Offer.NOW, Offer.LATER])
    assert not b.close("young", [Offer.NOW, Offer.LATER])
    assert [agent.close("old", first[:2]) for agent in (a, b)] == [False, False]
    assert [agent.offer("young", 1.0) for agent in (a, b)] == [Offer.LATER] * 2
    assert [agent.offer("old", 1.0) for agent in (a, b)] == [Offer.NOW] * 2
    assert [agent.close("old", [Offer.NOW] * 2) for agent in (a, b)] == [True, True]


def test_a_job_that_waits_for_a_busy_agent_is_overtaken_for_a_while_and_no_longer() -> None:
    """Small jobs come to a one after another; the large one needs a and b, and b computes for long."""
    chance = random.Random(1)
    long_s = OVERTAKEN_S + 60
    world = Simulated({"a": Slots(1, long_s), "b": Slots(1, long_s), "c": Slots(9, long_s)})
    world.add("long", 0, long_s, "b", "c")
    world.step(chance)
    world.add("large", 1, 5.0, "a", "b")
    for number in range(int(long_s) + 60):
        if number % 3 == 0:
            world.add(f"small {number:04}", 2 + number, 3.0, "a", "c")
        world.step(chance)
    started = [job for job in world.began if job.startswith("small") and world.began[job] < long_s]
    assert len(started) >= OVERTAKEN_S / 4, "nothing waits for the large job at first"
    assert max(world.began[job] for job in started) <= OVERTAKEN_S + 3
    assert long_s <= world.began["large"] <= long_s + 3, "its slots were kept when b was ready"
    assert any(world.began[job] > long_s for job in world.began if job.startswith("small"))


def test_a_job_whose_party_never_has_a_slot_keeps_those_of_others_for_a_bounded_time() -> None:
    """A hostile party says LATER for ever."""
    slots = Slots(1, LONGEST_S)
    slots.wait("stuck", 1, 0.0)
    slots.wait("other", 2, 0.0)
    assert slots.offer("other", 0.0) is Offer.LATER
    last = OVERTAKEN_S + LONGEST_S
    assert slots.offer("other", last - 1) is Offer.LATER
    assert slots.offer("other", last) is Offer.NOW


def test_a_job_that_lost_a_party_keeps_nobodys_slot() -> None:
    slots = Slots(1, LONGEST_S)
    slots.wait("stuck", 1, 0.0)
    assert slots.offer("stuck", 0.0) is Offer.NOW
    slots.leave("stuck")
    slots.wait("other", 2, 0.0)
    assert slots.offer("other", 0.0) is Offer.NOW
    assert slots.close("other", [Offer.NOW, Offer.NOW])
    assert slots.taken == {"other"}


def test_a_job_that_ran_before_a_restart_has_its_slot_back_and_others_wait_for_it() -> None:
    slots = Slots(1, LONGEST_S)
    slots.take("before")
    slots.wait("other", 2, 0.0)
    assert slots.offer("other", 0.0) is Offer.BUSY
    assert not slots.close("other", [Offer.BUSY, Offer.NOW])
    slots.give_back("before")
    assert slots.offer("other", 1.0) is Offer.NOW
