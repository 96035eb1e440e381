"""A seeded storm of faults over bare replicas, followed by calm; used where validator sets change."""

from __future__ import annotations

from chain.primitives.certificate import fault_bound
from tests.simulation.replicas import Cluster, Faults, Node

CALM_LIMIT_MS = 90_000


def storm(n: int, seed: int, *, rounds: int = 12, twin: bool = False, observers: int = 0) -> Cluster:
    """Run one seed; safety is asserted all along, liveness in the calm at the end."""
    cluster = Cluster(n, seed=seed, window=4 + seed % 5, rotation=1 + seed % 7, observers=observers)
    if twin:
        first, second, third = ((seed + step) % n for step in (1, 2, 3))
        cluster.add_twin(seed % n, left={first, second}, right={second, third})
    for _ in range(rounds):
        one_fault(cluster, n, may_crash=not twin)
        cluster.submit(cluster.random.randint(0, 6), nodes=some(cluster))
        cluster.run_for(cluster.random.choice([20, 150, 800, 3_000]))
    calm(cluster)
    return cluster


def calm(cluster: Cluster) -> None:
    """End all faults; everything submitted before must be executed, and new requests certified, in time."""
    for node in cluster.nodes:
        node.votes.fail_next = ""
        if not node.up:
            node.boot()
    cluster.heal()
    for node in cluster.nodes:
        for request in range(cluster.requests):
            if node.honest:
                node.submit(request)
    live = [node for node in cluster.nodes if node.honest]
    everything = set(range(cluster.requests))
    cluster.run_until(lambda: all(everything <= node.ledger.done for node in live), CALM_LIMIT_MS)
    cluster.settle(CALM_LIMIT_MS)


def some(cluster: Cluster) -> list[Node]:
    honest = [node for node in cluster.nodes if node.honest]
    if cluster.random.random() < 0.5:
        return honest
    return cluster.random.sample(honest, cluster.random.randint(1, len(honest)))


def one_fault(cluster: Cluster, n: int, *, may_crash: bool) -> None:
    chance = cluster.random
    match chance.randint(0, 9):
        case 0 | 1:
            cluster.faults = Faults(chance.choice([0.0, 0.05, 0.3]), 0.1, (1, chance.choice([5, 60, 400])))
        case 2:
            nodes = list(range(n))
            chance.shuffle(nodes)
            cut = chance.randint(0, n)
            cluster.partition(nodes[:cut], nodes[cut:])
        case 3:  # one direction of one link
            cluster.cut |= {(chance.randrange(n), chance.randrange(n))}
        case 4 | 5:
            cluster.heal()
        case 6 | 7 if may_crash:
            _crash(cluster, chance.randrange(n))
        case 8 if may_crash:
            cluster.nodes[chance.randrange(n)].votes.fail_next = chance.choice(["before", "after"])
        case _:
            for node in cluster.nodes:
                if not node.up:
                    node.boot()


def _crash(cluster: Cluster, index: int) -> None:
    down = sum(not node.up for node in cluster.nodes)
    if down < max(1, fault_bound(len(cluster.keys)) + 1):
        cluster.nodes[index].crash()
