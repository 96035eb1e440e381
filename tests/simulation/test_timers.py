"""Whom a replica waits for, when nobody asks it for anything."""

from __future__ import annotations

from consensus.messages import Commit, Message
from tests.simulation.replicas import Cluster, Node


def undecided_at_one_with_one_down(view: int) -> Cluster:
    """Return a cluster of which one replica is down and one never sees the COMMITs of a view."""
    cluster = Cluster(4)
    deaf = cluster.nodes[2]
    cluster.nodes[3].crash()

    def passes(_sender: Node, receiver: Node, message: Message) -> bool:
        return not (isinstance(message, Commit) and message.view == view and receiver is deaf)

    cluster.filters = [passes]
    cluster.submit()
    return cluster


def test_who_executed_a_height_that_others_cannot_decide_asks_for_a_view() -> None:
    """Found by simulation: with nothing to order, no timer ran for a certificate that could not come.

    The one that cannot decide asks for a view, but is not enough for the others to join.
    """
    cluster = undecided_at_one_with_one_down(view=0)
    cluster.run_until(lambda: all(node.state.executed == 1 for node in cluster.nodes[:2]), 2_000)
    assert [node.state.certified for node in cluster.nodes[:3]] == [0, 0, 0]
    assert not any(node.state.pending for node in cluster.nodes[:2])
    wait = cluster.nodes[0].state.waiting()
    assert wait is not None
    assert wait.kind == "certificate"
    cluster.run_to_height(1, 30_000, cluster.nodes[:3])
    assert all(node.state.view >= 1 for node in cluster.nodes[:3])
