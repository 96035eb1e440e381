"""Where messages between correct nodes arrive in time, nothing that liars hide costs a correct primary.

Production cores; the check at every event is `Checks._charged`.
"""

from __future__ import annotations

import pytest

from chain.node.orderer import Orderer
from consensus.settings import Timing
from tests.simulation.chain_under_test import Shape
from tests.simulation.cluster import Cluster
from tests.simulation.machine import Machine
from tests.simulation.strategies import SHOWN_TO, Hide

SETTLED_MS = 3_000
HEIGHT_MS = 20_000


def primary_of(cluster: Cluster) -> Machine:
    """Return who leads the next height, as the honest machine that is furthest knows it."""
    leader = cluster.leader
    assert leader is not None
    assert leader.core is not None
    state = leader.core.driver._state
    key = state.rules.primary(state.view, state.delivered + 1)
    return cluster.processes[cluster.index[key]][0]


def in_production(seed: int, block_txs: int = 1_000) -> Cluster:
    """Return a settled cluster of four correct nodes with the timeouts of production, all in view 0."""
    cluster = Cluster(seed, Shape(4, rotation=16, block_txs=block_txs))
    for machine in cluster.machines:
        machine.timing = Timing(timeout_ms=3_000, timeout_max_ms=30_000)
    cluster.start()
    cluster.run(SETTLED_MS)
    cores = [machine.core for machine in cluster.machines]
    assert all(core is not None and core.driver._state.view == 0 for core in cores)
    return cluster


def told_to_one(cluster: Cluster, lonely: Machine) -> None:
    """Submit a transaction to one node, of which nobody else is told as usual."""
    cluster.network.muffled["TXS"] = frozenset(range(4))
    cluster.submit(lonely)
    cluster.run(10)
    cluster.network.muffled.clear()
    assert [len(machine.core.pool) for machine in cluster.machines if machine.core is not None].count(1) == 1


def hiding(seed: int, n: int, shown_to: str) -> Cluster:
    """Return a settled cluster whose f liars hide transactions from some."""
    cluster = Cluster(seed, Shape(n, rotation=16), byzantine=(n - 1) // 3, strategy=Hide)
    for liar in cluster._liars.values():
        assert isinstance(liar.strategy, Hide)
        liar.strategy.shown_to = shown_to
    cluster.start()
    cluster.run(SETTLED_MS)
    cluster.checks.timely = True
    return cluster


def one_height(cluster: Cluster, submitter: Machine) -> None:
    height = max(cluster.checks.headers)
    cluster.submit(submitter)
    assert cluster.run(HEIGHT_MS, lambda: all(machine.settled_height > height for machine in cluster.honest))


@pytest.mark.parametrize("shown_to", SHOWN_TO)
@pytest.mark.parametrize(("seed", "n"), [(1, 4), (2, 4), (3, 4), (4, 7)])
def test_no_correct_primary_is_passed_over_for_what_was_hidden(seed: int, n: int, shown_to: str) -> None:
    """One transaction at a time, for more than a tenure of each, all of them a liar's own."""
    cluster = hiding(seed, n, shown_to)
    liars = [machine for machine in cluster.machines if not machine.honest]
    for number in range(16 * (n + 2)):
        one_height(cluster, liars[number % len(liars)])
        cluster.run(cluster.random.choice([1, 50, 400]))
    assert not any(machine.ledger.passed_over_at(machine.settled_height + 8) for machine in cluster.honest)


def test_what_was_hidden_is_ordered_within_a_small_part_of_the_timeout() -> None:
    cluster = hiding(5, 4, "backups")
    (liar,) = [machine for machine in cluster.machines if not machine.honest]
    longest, hidden = max(machine.timing.timeout_ms for machine in cluster.honest), 0
    while hidden < 20:
        if primary_of(cluster) is liar:
            one_height(cluster, cluster.honest[0])
            continue
        begin, hidden = cluster.now, hidden + 1
        one_height(cluster, liar)
        assert cluster.now - begin < longest // 8


def test_in_calm_nothing_is_forwarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction crosses each link once: single ones, and more of them than a batch holds."""
    cluster = in_production(8, block_txs=3)  # while it starts, links are missing
    forwarded = list[bytes]()
    monkeypatch.setattr(Orderer, "forward", lambda _self, primary, **_: forwarded.append(primary))
    for number in range(400):
        cluster.submit(cluster.random.choice(cluster.machines), 20 if number % 10 == 0 else 1)
        cluster.run(50)
    assert max(cluster.checks.headers) > 200
    assert forwarded == []


@pytest.mark.parametrize("noticed", [False, True])
def test_a_transaction_of_one_node_without_a_link_to_the_primary_is_ordered_without_a_view_change(
    noticed: bool,
) -> None:
    """Others take it to the primary; also where the link is dead and nobody has noticed."""
    cluster = in_production(6)
    cluster.checks.timely = True
    primary = primary_of(cluster)
    lonely = next(machine for machine in cluster.machines if machine is not primary)
    link = (lonely.index, primary.index)
    cluster.network.cut |= {link, link[::-1]}
    if noticed:
        cluster.network.disconnect(*link, 0)
        cluster.run(100)
    told_to_one(cluster, lonely)
    begin, height = cluster.now, max(cluster.checks.headers)
    assert cluster.run(HEIGHT_MS, lambda: max(cluster.checks.headers) > height)
    assert cluster.now - begin < lonely.timing.timeout_ms // 8
    assert primary_of(cluster) is primary


def test_a_silent_primary_is_replaced_though_one_backup_alone_was_told_of_a_transaction() -> None:
    cluster = in_production(7)
    silent = primary_of(cluster)
    silent.crash(power=False)
    lonely = next(machine for machine in cluster.machines if machine is not silent)
    told_to_one(cluster, lonely)
    height = max(cluster.checks.headers)
    assert cluster.run(HEIGHT_MS, lambda: max(cluster.checks.headers) > height)
    assert primary_of(cluster) is not silent
