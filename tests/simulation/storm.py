"""One seed: a cluster drawn by it, a storm of faults, then calm in which everything must come right."""

from __future__ import annotations

import time
from dataclasses import dataclass

from chain.primitives.certificate import fault_bound
from tests.simulation.chain_under_test import Shape
from tests.simulation.clockwork import Violation
from tests.simulation.cluster import Cluster
from tests.simulation.faults import heal, one_fault

SIZES = (1, 4, 4, 4, 5, 7, 10)
STEPS = 60
CALM_MS = 90_000
"""Once faults stop, every honest machine certifies new heights, and every call is settled, in this time."""
CALLS_MS = 45_000
"""So long clients call on."""
RUSH = 8
"""Transactions that every member gets when the calm begins: heights follow one another in flight."""
SETTLING_MS = 5_000
"""Skews and bans pass away before the promise is measured."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one seed."""

    seed: int
    nodes: int
    failure: str
    """Empty when every promise held."""
    height: int
    transactions: int
    virtual_s: float
    recovery_s: float
    """Virtual time from the end of faults until every machine had certified new heights."""
    cpu_s: float
    events: int
    frames: int
    trace: str


def simulate(seed: int, nodes: int | None = None, steps: int = STEPS) -> Outcome:
    """Run one seed; a broken promise is told in `failure`, with where and when."""
    begin = time.process_time()
    cluster = draw(seed, nodes)
    failure, recovery = "", 0
    try:
        storm(cluster, steps)
        recovery = calm(cluster)
    except Violation as violation:
        failure = f"at {cluster.now} ms: {violation}"
    return Outcome(
        seed=seed,
        nodes=cluster.shape.validators,
        failure=failure,
        height=max(cluster.checks.headers, default=0),
        transactions=len(cluster.checks.ran),
        virtual_s=(cluster.now - 1_000_000) / 1000,
        recovery_s=recovery / 1000,
        cpu_s=time.process_time() - begin,
        events=cluster.events,
        frames=cluster.network.frames,
        trace=cluster.trace,
    )


def draw(seed: int, nodes: int | None = None) -> Cluster:
    """Return the cluster of a seed: its size, rules, Byzantine members and observers follow from it."""
    n = SIZES[seed % len(SIZES)] if nodes is None else nodes
    pick = seed // len(SIZES)
    shape = Shape(
        validators=n,
        window=(2, 4, 8)[pick % 3],
        rotation=(1, 5, 100)[pick // 3 % 3],
        block_txs=(1_000, 3)[pick % 2],
        validity=(600, 40)[pick // 2 % 2],
        spares=(0, 0, 2, 3, 0)[pick % 5],
        passed_over=(8, 1_024)[pick // 3 % 2],
        snapshot_lag=(0, 0, 6)[pick // 2 % 3],
    )
    f = fault_bound(n)
    liars = (0, f, max(1, f - 1) if f else 0, f, 0)[pick // 2 % 5]
    return Cluster(seed, shape, byzantine=liars, tactics=3)


def storm(cluster: Cluster, steps: int) -> None:
    """Do one random thing after another, about one a virtual second, under a trickle of transactions."""
    cluster.start()
    for _ in range(steps):
        one_fault(cluster)
        if cluster.random.random() < 0.7:
            target = cluster.random.choice(cluster.machines)
            cluster.submit(target, cluster.random.choice([1, 1, 1, 2, 3, 8]))
            if cluster.random.random() < 0.2:
                again = cluster.random.sample(cluster.sent, min(3, len(cluster.sent)))
                cluster.give(cluster.random.choice(cluster.machines), again)
        cluster.run(int(cluster.random.expovariate(1 / 1_000)))
        cluster.checks.now_and_then()


def calm(cluster: Cluster) -> int:
    """End all faults; return how long it took until everyone had certified new heights, in milliseconds."""
    heal(cluster)
    for machine in cluster.machines:
        machine.skew_ms = cluster.random.randint(-500, 500)
        machine.paused_until = 0
        machine.disk.mend()
        if not machine.up:
            machine.boot()
    cluster.run(SETTLING_MS)
    begin, start = cluster.now, max(cluster.checks.headers, default=0)
    for machine in cluster.members():
        cluster.submit(machine, RUSH)

    def certified() -> bool:
        return all(machine.settled_height >= start + 2 for machine in cluster.members())

    def recovered() -> bool:
        return not cluster.open_transactions() and certified()

    while cluster.now < begin + CALM_MS or (certified() and cluster.now < begin + CALLS_MS + CALM_MS):
        for machine in cluster.members():
            cluster.give(machine, cluster.open_transactions()[:20])
        stuck = max(cluster.checks.headers, default=0) < start + 2
        if stuck or (cluster.now < begin + CALLS_MS and cluster.random.random() < 0.3):
            cluster.submit(cluster.random.choice(cluster.members()))
        if cluster.run(500, recovered):
            break
        cluster.checks.now_and_then()
        _expire(cluster)
    else:
        passed = cluster.now - begin
        raise Violation(f"no recovery within {passed} ms after faults stopped: {describe(cluster)}")
    for machine in cluster.honest:
        cluster.boot_if_down(machine)  # a wiped node that is no member may have crashed again meanwhile
        cluster.checks.kept(machine)
    return cluster.now - begin


def _expire(cluster: Cluster) -> None:
    """Forget admitted transactions whose time has passed everywhere."""
    low = min(machine.settled_height for machine in cluster.members())
    for candidate in cluster.open_transactions():
        if candidate.tx.body.valid_until <= low:
            del cluster.admitted[candidate.id]


def describe(cluster: Cluster) -> str:
    """Say where every machine stands."""
    lines = []
    for machine in cluster.machines:
        if machine.core is None:
            lines.append(f"{machine}: down")
            continue
        status = machine.core.driver.status(cluster.now)
        where = f"height {status['height']}/{status['executed']} view {status['view']}: {status['phase']}"
        lines.append(
            f"{machine}{'' if machine.honest else ' (liar)'}: {where}, pool {len(machine.core.pool)}"
        )
    missing = [item.id.hex()[:8] for item in cluster.open_transactions()]
    return "; ".join([*lines, f"{len(missing)} transactions are open: {missing[:8]}"])
