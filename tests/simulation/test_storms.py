"""Seeded storms: safety at every step, liveness once the faults stop. A failing id names its seed."""

from __future__ import annotations

import pytest

from tests.simulation.cluster import Cluster
from tests.simulation.storm import storm


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n", [1, 4, 5, 7])
def test_a_cluster_survives_a_storm(n: int, seed: int) -> None:
    """Drops, duplicates, reordering, partitions, crashes, failing disks: no contradiction, then progress."""
    storm(n, seed)


@pytest.mark.parametrize("seed", range(100, 112))
def test_one_equivocating_twin_among_four_is_survived(seed: int) -> None:
    """A validator that says different things to different sides neither forks nor stops the others."""
    storm(4, seed, twin=True)


@pytest.mark.parametrize("seed", range(200, 204))
def test_an_observer_follows_through_a_storm(seed: int) -> None:
    """A node outside the validator set ends at the same height, without ever voting."""
    cluster = storm(4, seed, observers=1)
    observer = cluster.keyring[4].public
    assert not any(said[0] == observer for said in cluster.said)


@pytest.mark.parametrize(("n", "seed"), [(7, 1755)])
def test_seeds_that_once_failed_pass(n: int, seed: int) -> None:
    """1755: a decision of view 1 reached a replica still in view 0, which took it for a broken assumption."""
    storm(n, seed)


def test_the_same_seed_gives_the_same_bytes() -> None:
    """A run is a function of its seed, to the byte."""
    assert storm(4, 7).trace == storm(4, 7).trace
    assert storm(4, 7).trace != storm(4, 8).trace


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 10])
def test_any_number_of_validators_orders_requests(n: int) -> None:
    """The normal case, for every small cluster size."""
    cluster = Cluster(n)
    cluster.submit(12)
    cluster.settle(5_000)
    assert {node.state.view for node in cluster.nodes} == {0}
