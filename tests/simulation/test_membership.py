"""Validator sets that change on a running chain: growth, shrinking, new keys, and the faults around them.

Throughout, the cluster checks that no payload or header of a height is ever another, that certificates are by
a quorum of the set in force, and that no correct replica contradicts itself.
"""

from __future__ import annotations

from typing import Any

import pytest

from chain.primitives.crypto import PrivateKey, digest
from consensus.messages import Checkpoint, Commit, NewView, Prepare, Status, ViewChange
from consensus.votes import EPOCH
from tests.simulation.replica_storm import calm, one_fault, some
from tests.simulation.replicas import Cluster, Faults, Node


def members(*indices: int) -> tuple[int, ...]:
    return indices


def in_force(cluster: Cluster, indices: tuple[int, ...]) -> bool:
    """Whether every live node certified a height with this set in force at the next one."""
    keys = {cluster.nodes[index].key.public for index in indices}
    live = [node for node in cluster.nodes if node.up and node.honest]
    return all(set(node.state.epoch.validators) == keys for node in live)


def change(cluster: Cluster, *indices: int, limit_ms: int = 30_000) -> None:
    cluster.change_validators(*indices)
    cluster.run_until(lambda: in_force(cluster, indices), limit_ms)


def drop(*kinds: type, receiver: int | None = None) -> Any:
    return lambda _a, b, message: not (isinstance(message, kinds) and receiver in (None, b.index))


def restart(node: Node) -> None:
    node.crash()
    node.first_start = False
    node.boot()


@pytest.mark.parametrize("window", [1, 3, 8])
def test_a_chain_grows_from_1_to_4_to_7_and_shrinks_back(window: int) -> None:
    """Failure 13 (Quorum 796): growth from 1 to 4 stalls. An idle chain goes on until it is done."""
    cluster = Cluster(1, observers=6, window=window)
    for size in (4, 7, 4, 1, 4):
        cluster.submit(5)
        change(cluster, *range(size))
        cluster.settle()
        top = cluster.nodes[0].certified_height
        signatures = cluster.nodes[0].ledger.certificates[top].signatures
        assert len(signatures) >= cluster.nodes[0].state.rules.quorum(top)
    assert cluster.nodes[6].certified_height == cluster.nodes[0].certified_height


def test_single_steps_of_every_size_work() -> None:
    """1, 2, … 7, … 2, 1: each quorum differs from the last."""
    cluster = Cluster(1, observers=6, window=2)
    for size in [*range(2, 8), *range(6, 0, -1)]:
        change(cluster, *range(size))
    cluster.settle()


def test_a_whole_set_can_be_replaced() -> None:
    """No validator of the new set was in the old one."""
    cluster = Cluster(4, observers=4)
    cluster.submit(10)
    change(cluster, 4, 5, 6, 7)
    cluster.settle()
    for index in range(4):
        cluster.nodes[index].crash()
    cluster.settle()


def test_several_changes_may_be_announced_before_the_first_is_in_force() -> None:
    """Each epoch may be a single height long."""
    cluster = Cluster(4, observers=3, window=8)
    for size in (5, 6, 7, 3, 4):
        cluster.change_validators(*range(size))
        cluster.run_for(25)
    cluster.run_until(lambda: in_force(cluster, members(0, 1, 2, 3)), 30_000)
    cluster.settle()
    assert len(cluster.nodes[0].ledger.epochs) >= 4


def test_growth_to_nodes_that_are_down_stalls_with_words_and_goes_on_when_they_come() -> None:
    """1 to 4 needs 3: the status names who is missing; nothing is lost when they start at last."""
    cluster = Cluster(1, observers=3)
    for index in (1, 2, 3):
        cluster.nodes[index].crash()
    cluster.submit(3, nodes=[cluster.nodes[0]])
    cluster.change_validators(0, 1, 2, 3)
    cluster.run_for(5_000)
    node = cluster.nodes[0]
    edge = node.ledger.epochs[-1].first - 1
    assert node.certified_height == edge, "the founder certifies everything up to the change alone"
    cluster.submit(1, nodes=[node])
    cluster.run_for(5_000)
    assert node.certified_height == edge
    status = node.driver.status(cluster.now)
    assert status["quorum"] == 3
    others = {cluster.nodes[index].key.public.hex() for index in (1, 2, 3)}
    assert set(status["missing"]) & others
    for index in (1, 2):
        cluster.nodes[index].boot()
        for request in range(cluster.requests):
            cluster.nodes[index].submit(request)
    cluster.settle()


def test_11_a_set_change_inside_a_view_change_breaks_nothing() -> None:
    """FISCO-BCOS 2191: the primary fails with the change announced, prepared heights on both of its sides."""
    cluster = Cluster(4, observers=1, window=4)
    cluster.submit(3)
    cluster.settle()
    cluster.change_validators(0, 1, 2, 3, 4)
    cluster.run_until(lambda: len(cluster.nodes[1].ledger.epochs) == 2, 10_000)
    cluster.filters = [drop(Checkpoint)]
    cluster.submit(4)
    cluster.run_for(500)
    cluster.filters = []
    primary = cluster.rules.primary(0, cluster.nodes[1].certified_height + 1)
    next(node for node in cluster.nodes if node.key.public == primary).crash()
    cluster.submit(2)
    cluster.run_until(lambda: all(node.state.epoch.first > 0 for node in cluster.nodes if node.up), 60_000)
    cluster.settle()


def test_views_begin_anew_with_every_set() -> None:
    """What the former set's view changes showed says nothing about the heights of the next."""
    cluster = Cluster(4, observers=1, rotation=1_000_000)
    cluster.nodes[0].crash()
    cluster.submit(3)
    cluster.settle()
    assert {node.state.view for node in cluster.nodes if node.up} != {0}
    cluster.change_validators(1, 2, 3, 4)
    cluster.run_until(lambda: in_force(cluster, members(1, 2, 3, 4)), 30_000)
    assert {node.state.view for node in cluster.nodes if node.up} == {0}
    assert all(not node.state.view_changes for node in cluster.nodes if node.up)


def test_no_vote_is_cast_beyond_the_end_of_an_epoch_before_it_is_certified() -> None:
    """Heights in flight belong to one set: a quorum of the one could not speak for heights of the other."""
    cluster = Cluster(4, observers=3, window=8)
    cluster.submit(2)
    cluster.change_validators(0, 1, 2, 3, 4, 5, 6)
    cluster.run_until(lambda: len(cluster.nodes[1].ledger.epochs) == 2, 10_000)
    first = cluster.nodes[1].ledger.epochs[-1].first
    cluster.filters = [drop(Checkpoint)]
    for _ in range(20):
        cluster.submit(2)
        cluster.run_for(60)
    voted = [slot[-1] for slot in cluster.said if slot[1] in ("pre-prepare", "prepare", "commit")]
    assert max(voted) < first
    assert {node.state.high_watermark for node in cluster.nodes[:4]} <= set(range(first))
    cluster.filters = []
    cluster.run_until(lambda: in_force(cluster, tuple(range(7))), 60_000)
    cluster.settle()


def test_a_removed_validator_votes_to_the_end_of_its_epoch_and_follows_afterwards() -> None:
    """Its votes are needed until the set without it is in force; then it keeps up without voting."""
    cluster = Cluster(4)
    cluster.submit(4)
    change(cluster, 0, 1, 2)
    cluster.submit(6)
    cluster.settle()
    first, removed = cluster.nodes[0].ledger.epochs[-1].first, cluster.nodes[3]
    voted = [slot[-1] for slot in cluster.said if slot[0] == removed.key.public and slot[1] == "checkpoint"]
    assert max(voted) == first - 1
    assert removed.certified_height == cluster.nodes[0].certified_height
    assert removed.driver is not None
    assert removed.driver.status(cluster.now)["validator"] is False


def test_a_validator_that_returns_votes_again_with_its_old_memory() -> None:
    """Out and in again under one key: the votes of the first time stay."""
    cluster = Cluster(4)
    change(cluster, 0, 1, 2)
    change(cluster, 0, 1, 2, 3)
    restart(cluster.nodes[3])
    cluster.nodes[0].crash()
    cluster.settle()


@pytest.mark.parametrize("lost", [Prepare, Commit, Checkpoint, ViewChange, NewView, Status])
@pytest.mark.parametrize("pause_ms", range(0, 120, 15))
def test_a_cluster_that_crashes_whole_around_a_change_goes_on(lost: type, pause_ms: int) -> None:
    """At any stage of the last height of an epoch and the first of the next."""
    cluster = Cluster(4, observers=1, window=2, seed=pause_ms)
    cluster.change_validators(1, 2, 3, 4)
    cluster.run_until(lambda: len(cluster.nodes[1].ledger.epochs) == 2, 10_000)
    cluster.submit(4)
    cluster.run_for(pause_ms)
    cluster.filters = [drop(lost)]
    cluster.run_for(60)
    for node in cluster.nodes:
        node.crash()
    for node in cluster.nodes:
        node.first_start = False
        node.boot()
    cluster.heal()
    cluster.submit(1)
    cluster.run_until(lambda: in_force(cluster, members(1, 2, 3, 4)), 60_000)
    cluster.settle()


def test_a_crash_before_the_ledger_has_the_certificate_keeps_votes_of_the_next_epoch() -> None:
    """The vote store holds the certificate that ends an epoch as soon as it holds votes of the next one."""
    cluster = Cluster(4, observers=1, window=2)
    change(cluster, 1, 2, 3, 4)
    node = cluster.nodes[1]
    cluster.filters = [drop(Checkpoint, Commit)]
    cluster.submit(1)
    cluster.run_for(100)
    first = node.state.epoch.first
    assert [key for key in node.votes.rows if key == EPOCH]
    for height in [item for item in node.ledger.certificates if item >= first - 1]:
        del node.ledger.certificates[height]
    restart(node)
    assert node.state.epoch.first == first
    assert node.certified_height >= first - 1
    cluster.heal()
    cluster.settle()


def test_a_laggard_of_many_epochs_catches_up_and_votes() -> None:
    """It cannot check what sets unknown to it say; blocks teach it set by set."""
    cluster = Cluster(4, observers=4, window=2)
    late = cluster.nodes[3]
    late.crash()
    for indices in ((0, 1, 2, 4), (4, 5, 6, 7), (3, 4, 5, 6, 7)):
        change(cluster, *indices)
        cluster.submit(3)
    late.first_start = False
    late.boot()
    cluster.settle()
    cluster.nodes[4].crash()
    cluster.settle()


def test_30_a_wiped_validator_listens_in_the_epoch_it_votes_in() -> None:
    """Wiped, its ledger begins at the founders, whose quorum knows nothing of its votes in later epochs."""
    cluster = Cluster(1, observers=4, window=3)
    change(cluster, 0, 1, 2, 3)
    change(cluster, 1, 2, 3, 4)
    node = cluster.nodes[1]
    cluster.filters = [drop(Commit)]
    cluster.submit(2)
    cluster.run_for(100)
    said = [slot for slot in cluster.said if slot[0] == node.key.public and slot[1] == "prepare"]
    node.crash()
    node.votes.rows.clear()
    node.ledger = cluster.new_ledger()
    node.first_start = False
    node.boot()
    cluster.heal()
    cluster.run_until(lambda: not node.state.lost.listening, 60_000)
    assert node.state.lost.muted == cluster.nodes[2].state.epoch.first <= max(slot[-1] for slot in said)
    cluster.settle()


def test_the_founder_of_a_grown_chain_does_not_begin_it_anew_after_a_wipe() -> None:
    """At height 0 it is the only validator, and would certify another history all by itself."""
    cluster = Cluster(1, observers=4)
    change(cluster, 0, 1, 2, 3, 4)
    node = cluster.nodes[0]
    node.crash()
    node.votes.rows.clear()
    node.ledger = cluster.new_ledger()
    node.first_start = False
    cluster.partition([0], [1, 2, 3, 4])
    node.boot()
    cluster.submit(2)
    cluster.run_for(10_000)
    assert node.certified_height == 0
    assert "only validator" in node.driver.status(cluster.now)["says"]
    cluster.heal()
    cluster.settle()


@pytest.mark.parametrize("faulty", [False, True])
def test_a_validator_moves_to_a_new_key_without_a_pause_in_the_chain(faulty: bool) -> None:
    """No height is signed by both keys: each votes exactly where its set is in force."""
    cluster = Cluster(4, seed=int(faulty))
    if faulty:
        cluster.faults = Faults(drop=0.1, duplicate=0.1, delay_ms=(1, 60))
    old = cluster.nodes[2].key.public
    cluster.submit(5)
    new = cluster.rotate_key(2).public
    cluster.submit(5)
    cluster.run_until(lambda: cluster.nodes[2].key.public == new, 60_000)
    cluster.heal()
    cluster.submit(5)
    cluster.settle()
    first = cluster.nodes[0].ledger.epochs[-1].first
    kinds = ("prepare", "commit", "checkpoint")
    by_old = {slot[-1] for slot in cluster.said if slot[0] == old and slot[1] in kinds}
    by_new = {slot[-1] for slot in cluster.said if slot[0] == new and slot[1] in kinds}
    assert max(by_old) < first <= min(by_new)
    cluster.nodes[0].crash()
    cluster.settle()


def test_every_key_of_a_set_can_be_replaced_one_after_the_other() -> None:
    cluster = Cluster(4, window=2)
    for index in range(4):
        new = cluster.rotate_key(index).public
        cluster.run_until(lambda index=index, new=new: cluster.nodes[index].key.public == new, 60_000)
    cluster.settle()
    assert PrivateKey(digest("test/key", bytes([0]))).public not in cluster.nodes[0].state.epoch.validators


def membership_storm(seed: int, *, founders: int, twin: bool = False, rounds: int = 14) -> Cluster:
    """Faults of every kind while the validators change; safety all along, liveness in the calm at the end."""
    cluster = Cluster(founders, seed=seed, observers=7 - founders, window=1 + seed % 6, rotation=1 + seed % 5)
    chance = cluster.random
    if twin:
        cluster.add_twin(0, left={1, 2}, right={2, 3})
    for _ in range(rounds):
        one_fault(cluster, 7, may_crash=not twin)
        if chance.random() < 0.4:
            size = chance.randint(4, 7) if twin else chance.randint(1, 7)
            cluster.change_validators(*chance.sample(range(7), size))
        cluster.submit(chance.randint(0, 4), nodes=some(cluster))
        cluster.run_for(chance.choice([20, 150, 800, 3_000]))
    calm(cluster)
    return cluster


@pytest.mark.parametrize("seed", range(300, 330))
def test_changing_sets_survive_a_storm(seed: int) -> None:
    """Any set may follow any other, in the middle of partitions, crashes and failing disks."""
    membership_storm(seed, founders=1 + seed % 5)


@pytest.mark.parametrize("seed", range(400, 412))
def test_changing_sets_survive_a_twin(seed: int) -> None:
    """The faulty founder comes and goes; every set tolerates one."""
    membership_storm(seed, founders=4, twin=True)
