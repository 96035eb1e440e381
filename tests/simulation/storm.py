"""One seed: a cluster drawn by it, a storm of faults, then calm in which everything must come right."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from chain.primitives.certificate import fault_bound
from tests.simulation.chain_under_test import SKEW_FACTOR, Shape
from tests.simulation.clockwork import Violation
from tests.simulation.cluster import Cluster
from tests.simulation.machine import Machine
from tests.simulation.network import CALM, Weather

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
        snapshot_gap=(0, 0, 6)[pick // 2 % 3],
    )
    return Cluster(seed, shape, byzantine=(0, fault_bound(n))[pick % 2], tactics=3)


def storm(cluster: Cluster, steps: int) -> None:
    """Do one random thing after another, about one a virtual second, under a trickle of transactions."""
    cluster.start()
    for _ in range(steps):
        _fault(cluster)
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
        machine.paused_until, machine.disk.fail_next = 0, ""
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
    return "; ".join([*lines, f"open: {missing}"])


def heal(cluster: Cluster) -> None:
    """Let every frame pass, and soon."""
    network = cluster.network
    network.weather = CALM
    network.cut.clear()
    network.banned.clear()
    for link in sorted(network.clogged):
        network.release(link)


# --- faults ---------------------------------------------------------------------------------------


def _fault(cluster: Cluster) -> None:
    fault = cluster.random.choice(FAULTS)
    cluster.note(fault.__name__.encode())
    fault(cluster)


def _some(cluster: Cluster) -> Machine:
    return cluster.random.choice(cluster.honest)


def change_weather(cluster: Cluster) -> None:
    """Lose, double and delay frames."""
    chance = cluster.random
    cluster.network.weather = Weather(
        chance.choice([0.0, 0.02, 0.2]), chance.choice([0.0, 0.1]), (1, chance.choice([4, 50, 400]))
    )


def cut_one_way(cluster: Cluster) -> None:
    """Lose everything in one direction of one link."""
    total = len(cluster.processes)
    if total > 1:
        cluster.network.cut.add(tuple(cluster.random.sample(range(total), 2)))  # type: ignore[arg-type]


def partition(cluster: Cluster) -> None:
    """Split the nodes in two, one way or both; some links notice and hang up."""
    total, chance = len(cluster.processes), cluster.random
    nodes = list(range(total))
    chance.shuffle(nodes)
    edge = chance.randint(0, total)
    both, hang_up = chance.random() < 0.7, chance.random() < 0.5
    for a in nodes[:edge]:
        for b in nodes[edge:]:
            cluster.network.cut.add((a, b))
            if both:
                cluster.network.cut.add((b, a))
            if hang_up:
                cluster.network.disconnect(a, b, 0)


def clog(cluster: Cluster) -> None:
    """Hold back one direction of one link."""
    total = len(cluster.processes)
    if total > 1:
        link = tuple(cluster.random.sample(range(total), 2))
        cluster.network.clogged.setdefault(link, [])  # type: ignore[arg-type]


def release_one(cluster: Cluster) -> None:
    """Release one clogged direction, in random order."""
    if cluster.network.clogged:
        cluster.network.release(cluster.random.choice(sorted(cluster.network.clogged)))


def good_weather(cluster: Cluster) -> None:
    """End the network's faults, so that the chain moves between storms."""
    heal(cluster)


def crash(cluster: Cluster) -> None:
    """Kill a node, with or without its power; it restarts after a while, or not before the calm."""
    machine = _some(cluster)
    if machine.up and _may_lose(cluster):
        machine.crash(power=cluster.random.random() < 0.7)
        _restart_later(cluster, machine)


def crash_all(cluster: Cluster) -> None:
    """The power of the whole building."""
    if cluster.random.random() < 0.3:
        for machine in cluster.honest:
            if machine.up:
                machine.crash(power=True)
                cluster.after(cluster.random.randint(0, 400), cluster.boot_if_down, machine)


def restart_all(cluster: Cluster) -> None:
    """Start what is down."""
    for machine in cluster.machines:
        cluster.boot_if_down(machine)


def pause(cluster: Cluster) -> None:
    """Stop a process for a while, as SIGSTOP or a long collection does."""
    machine = _some(cluster)
    machine.paused_until = cluster.now + cluster.random.choice([100, 1_000, 6_000])


def fail_disk(cluster: Cluster) -> None:
    """Let the next write fail, before or after it took effect."""
    machine = _some(cluster)
    if _may_lose(cluster):
        machine.disk.fail_next = cluster.random.choice(["before", "after"])


def wipe(cluster: Cluster) -> None:
    """Lose a whole disk but not the key: with the liars, at most f nodes in a run may lie or forget."""
    machine = _some(cluster)
    if cluster.faulty < cluster.tolerated and cluster.random.random() < 0.5:
        cluster.wipes += 1
        cluster.submit(machine, 2)  # so that it has votes to forget
        cluster.run(cluster.random.randint(1, 40))
        if machine.up:
            machine.crash(power=True)
        machine.wipe()
        _restart_later(cluster, machine)
        if cluster.random.random() < 0.5:  # and again, perhaps before it votes
            cluster.after(cluster.random.randint(60, 3_500), _crash_again, cluster, machine)


def _crash_again(cluster: Cluster, machine: Machine) -> None:
    if machine.up:
        machine.crash(power=True)
        _restart_later(cluster, machine)


def govern(cluster: Cluster) -> None:
    """Add, remove, promote or demote a node."""
    cluster.governance.act()


def skew(cluster: Cluster) -> None:
    """Set a wall clock wrong."""
    limit = cluster.shape.max_skew_ms
    machine, far = _some(cluster), SKEW_FACTOR * limit
    machine.skew_ms = cluster.random.choice([-far, -limit // 2, 0, 0, limit // 2, far])


def nothing(cluster: Cluster) -> None:
    """Let time pass."""
    del cluster


def _may_lose(cluster: Cluster) -> bool:
    """More than f may be down, but not often: a stopped cluster finds nothing."""
    down = sum(not machine.up for machine in cluster.honest)
    return down <= cluster.tolerated or cluster.random.random() < 0.1


def _restart_later(cluster: Cluster, machine: Machine) -> None:
    delay = cluster.random.choice([1, 50, 500, 3_000, 10_000])
    cluster.after(delay, cluster.boot_if_down, machine)


Fault = Callable[[Cluster], None]
FAULTS: tuple[Fault, ...] = (
    *[change_weather] * 2,
    cut_one_way,
    partition,
    *[clog] * 2,
    *[release_one] * 2,
    *[good_weather] * 3,
    *[crash] * 3,
    crash_all,
    restart_all,
    pause,
    fail_disk,
    wipe,
    *[govern] * 6,
    skew,
    *[nothing] * 3,
)
