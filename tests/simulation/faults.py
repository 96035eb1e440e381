"""The faults of a storm: each does one thing to a cluster, drawn by its random source."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.chain_under_test import SKEW_FACTOR
from tests.simulation.cluster import Cluster
from tests.simulation.machine import Machine
from tests.simulation.network import CALM, Weather

POWER_MS = 40
"""Within so long a power failure takes down all whom it meets."""
CERTIFYING = frozenset({"checkpoint", "certificate", "status", "STATUS", "BLOCKS", "ANCHOR"})
"""What shows others that a height is certified."""
DECIDING = frozenset({"proposal", "payload", "commit", "certificate", "checkpoint", "BLOCKS", "new-view"})
"""What a replica needs in order not to ask for a view alone."""
MUFFLED = ("proposal", "prepare", "commit", "checkpoint", "certificate", "view-change", "new-view", "status",
           "payload")  # fmt: skip


def heal(cluster: Cluster) -> None:
    """Let every frame pass, and soon."""
    network = cluster.network
    network.weather = CALM
    network.cut.clear()
    network.banned.clear()
    network.muffled.clear()
    for link in sorted(network.clogged):
        network.release(link)


# --- faults ---------------------------------------------------------------------------------------


def one_fault(cluster: Cluster) -> None:
    """Do one random thing."""
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
        machine.disk.fail_after(0, cluster.random.choice(["before", "after"]))


def power_failure(cluster: Cluster) -> None:
    """Cut the power of several nodes at about the same time, of some in the middle of a write step."""
    chance = cluster.random
    up = [machine for machine in cluster.honest if machine.up]
    if len(up) < 2 or chance.random() < 0.5:
        return
    for machine in chance.sample(up, chance.randint(2, len(up))):
        if chance.random() < 0.7:
            machine.disk.fail_after(chance.randint(0, 3), chance.choice(["before", "after"]), power=True)
        cluster.after(chance.randint(1, POWER_MS), _lose_power, cluster, machine, machine.life)


def _lose_power(cluster: Cluster, machine: Machine, life: int) -> None:
    if machine.up and machine.life == life:
        machine.crash(power=True)
        cluster.after(cluster.random.choice([1, 50, 400, 2_000]), cluster.boot_if_down, machine)


def muffle(cluster: Cluster) -> None:
    """Lose all messages of one or two kinds on their way to some nodes."""
    chance, total = cluster.random, len(cluster.processes)
    for what in chance.sample(MUFFLED, chance.choice([1, 1, 2])):
        cluster.network.muffled[what] = frozenset(chance.sample(range(total), chance.randint(1, total)))


def wipe(cluster: Cluster) -> None:
    """Lose a whole disk but not the key: with the liars, at most f nodes of a set may lie or forget."""
    machine = _some(cluster)
    if cluster.may_forget(machine) and cluster.random.random() < 0.5:
        cluster.random.choice(PRELUDES)(cluster, machine)
        if machine.up:
            machine.crash(power=True)
        machine.wipe()
        cluster.network.muffled.clear()
        _restart_later(cluster, machine)
        if cluster.random.random() < 0.5:  # and again, perhaps before it votes
            cluster.after(cluster.random.randint(60, 3_500), _crash_again, cluster, machine)


def _with_votes(cluster: Cluster, machine: Machine) -> None:
    """Let it cast votes that it will have forgotten."""
    cluster.submit(machine, 2)
    cluster.run(cluster.random.randint(1, 40))


def _with_certificates(cluster: Cluster, machine: Machine) -> None:
    """Let it alone learn what is certified: it votes higher than others know of."""
    others = frozenset(range(len(cluster.processes))) - {machine.index}
    cluster.network.muffled.update(dict.fromkeys(CERTIFYING, others))
    for _ in range(cluster.random.randint(2, 12)):
        cluster.submit(machine, 1)
        cluster.run(cluster.random.randint(20, 200))


def _with_a_view(cluster: Cluster, machine: Machine) -> None:
    """Let it ask for a view alone."""
    cluster.network.muffled.update(dict.fromkeys(DECIDING, frozenset({machine.index})))
    for _ in range(cluster.random.randint(2, 8)):
        cluster.submit(cluster.random.choice(cluster.honest), 1)
        cluster.run(cluster.random.randint(100, 600))


PRELUDES: tuple[Callable[[Cluster, Machine], None], ...] = (
    *[_with_votes] * 3,
    *[_with_certificates] * 2,
    _with_a_view,
)


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
    *[power_failure] * 2,
    *[muffle] * 2,
    restart_all,
    pause,
    fail_disk,
    wipe,
    *[govern] * 6,
    skew,
    *[nothing] * 3,
)
