"""Crashes, damaged and wiped vote stores: a replica never contradicts what it has said.

The harness remembers every vote that a correct replica ever sent and fails when one is contradicted, so
each run here checks it; the tests add what must hold besides.
"""

from __future__ import annotations

from typing import Any

import pytest

from chain.primitives.certificate import Certificate
from chain.primitives.crypto import PrivateKey
from consensus.errors import VotesDamaged
from consensus.messages import Checkpoint, Commit, NewView, Prepare, Proposal, payload_digest, signing_digest
from consensus.slot import PAYLOADS_MAX
from consensus.votes import BIRTH, NEW_VIEW, payload_key, prepare_key
from tests.simulation.replicas import CHAIN_ID, Cluster, Node


def in_the_middle(cluster: Cluster, *lost: type) -> None:
    """Bring height 1 as far as the loss of these messages allows."""
    cluster.filters = [lambda _a, _b, message: not isinstance(message, lost)]
    cluster.submit()
    cluster.run_for(60)


def restart(*nodes: Node) -> None:
    for node in nodes:
        node.crash()
    for node in nodes:
        node.first_start = False
        node.boot()


@pytest.mark.parametrize("lost", [Prepare, Commit, Checkpoint])
def test_a_cluster_that_crashes_whole_at_any_stage_goes_on_from_its_votes(lost: type) -> None:
    """Prepared, committed or executed before the crash: the same payload is decided after it."""
    cluster = Cluster(4)
    in_the_middle(cluster, lost)
    accepted = cluster.nodes[1].state.slots[1].digest
    restart(*cluster.nodes)
    assert cluster.nodes[1].state.slots[1].digest == accepted
    cluster.heal()
    for node in cluster.nodes:
        node.submit(0)
    cluster.run_to_height(1, 5_000)
    assert cluster.nodes[1].state.view == 0


def test_a_vote_keeps_its_payload_across_a_restart_however_many_views_proposed_others() -> None:
    """Found by simulation: after five views of a height, a restart could drop the one that was voted for."""
    cluster = Cluster(4)
    in_the_middle(cluster, Commit)
    node = cluster.nodes[1]
    digest = node.state.slots[1].digest
    for view in range(2 * PAYLOADS_MAX):
        payload = b"a proposal of view %d" % view
        node.votes.rows[payload_key(1, payload_digest(payload))] = payload
    restart(node)
    assert node.state.slots[1].digest == digest
    assert len(node.state.slots[1].payloads) == PAYLOADS_MAX
    cluster.heal()
    for other in cluster.nodes:
        other.submit(0)
    cluster.run_to_height(1, 10_000)
    cluster.submit()  # rows go with a later write
    cluster.run_to_height(2, 10_000)
    kept = [key for key in node.votes.rows if key.startswith(payload_key(1, b""))]
    assert kept == [], "the rows of a certified height go, all of them"


def test_29_votes_are_sent_again_as_they_were_not_signed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """tendermint 8739: a signer that refuses to sign a vote twice does not halt a restarted replica."""
    cluster = Cluster(4)
    in_the_middle(cluster, Commit)
    node = cluster.nodes[1]
    slot = node.state.slots[1]
    before = [slot.prepares[node.key.public], slot.commits[node.key.public]]
    signed = {signing_digest(vote, CHAIN_ID) for vote in before}
    sign = PrivateKey.sign

    def sign_once(key: PrivateKey, message: bytes) -> bytes:
        assert message not in signed
        return sign(key, message)

    monkeypatch.setattr(PrivateKey, "sign", sign_once)
    restart(node)
    slot = node.state.slots[1]
    assert before == [slot.prepares[node.key.public], slot.commits[node.key.public]]
    cluster.heal()
    cluster.run_to_height(1, 5_000)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("index", [0, 1])
def test_nothing_is_sent_when_the_vote_could_not_be_made_durable(moment: str, index: int) -> None:
    """Write first, then send: a failing disk silences the replica instead of making it a liar."""
    cluster = Cluster(4)
    cluster.run_for(100)
    node, sent = cluster.nodes[index], list[Any]()
    cluster.filters = [lambda a, _b, message: not (a is node and sent.append(message))]
    node.votes.fail_next = moment
    cluster.submit()
    cluster.run_for(50)
    assert not node.up
    assert not [message for message in sent if isinstance(message, Proposal | Prepare)]
    node.boot()
    cluster.settle()


def test_a_replica_remembers_the_view_it_is_in() -> None:
    """After a view change and a restart it neither votes in the old view nor forgets the new one."""
    cluster = Cluster(4)
    cluster.silence(0)
    cluster.submit()
    cluster.run_to_height(1, 10_000, cluster.nodes[1:])
    restart(*cluster.nodes[1:])
    assert {(node.state.view, node.state.active) for node in cluster.nodes[1:]} == {(1, True)}
    cluster.heal()
    cluster.settle()


def test_a_replica_that_asked_for_a_view_goes_on_asking_after_a_restart() -> None:
    """Its view change is durable, and it does not vote below it."""
    cluster = Cluster(4)
    cluster.filters = [lambda _a, _b, message: not isinstance(message, NewView)]
    cluster.silence(0)
    cluster.submit()
    cluster.run_until(lambda: all(node.state.view == 1 for node in cluster.nodes[1:]), 10_000)
    shown = dict(cluster.nodes[2].state.view_changes)
    restart(cluster.nodes[2])
    own = cluster.nodes[2].key.public
    assert (cluster.nodes[2].state.view, cluster.nodes[2].state.active) == (1, False)
    assert cluster.nodes[2].state.view_changes[own] == shown[own]
    cluster.heal()
    for node in cluster.nodes:
        node.submit(0)
    cluster.run_to_height(1, 30_000)


def test_25_a_quorum_with_wiped_votes_resumes_only_when_the_operator_says_so() -> None:
    """Besu 8307: wiped replicas abstain; told that nothing was lost, they vote again."""
    cluster = Cluster(4)
    cluster.submit()
    cluster.settle()
    for node in cluster.nodes[1:]:
        node.crash()
        node.votes.rows.clear()
    for node in cluster.nodes[1:]:
        node.first_start = False
        node.boot()
    cluster.heal()
    (request,) = cluster.submit()
    cluster.run_for(30_000)
    assert not any(request in node.ledger.done for node in cluster.nodes)
    for node in cluster.nodes[1:]:
        node.crash()
        node.votes.rows.clear()
        node.first_start = True
        node.boot()
    for node in cluster.nodes:
        node.submit(request)
    cluster.settle()


def test_28_a_damaged_vote_log_is_refused_with_the_key_and_the_remedy() -> None:
    """tendermint 3295: truncated, altered, foreign or incomplete rows; the replica does not start voting."""
    cluster = Cluster(4)
    in_the_middle(cluster, Commit)
    node = cluster.nodes[1]
    node.crash()
    rows = dict(node.votes.rows)
    for key in rows:
        node.votes.rows = {**rows, key: rows[key][:-1] if rows[key] else b"x"}
        with pytest.raises(VotesDamaged, match="restore the data directory"):
            node.boot()
    payload_row = next(key for key in rows if key[:1] == b"p")
    for lost in (payload_row, BIRTH):
        node.votes.rows = {key: value for key, value in rows.items() if key != lost}
        with pytest.raises(VotesDamaged):
            node.boot()
    node.votes.rows = dict(cluster.nodes[2].votes.rows)
    with pytest.raises(VotesDamaged):
        node.boot()
    node.votes.rows = rows
    node.boot()


def wipe(node: Node) -> None:
    """Its data directory is gone; the key, and that it has voted, are known."""
    node.crash()
    node.votes.rows.clear()
    node.ledger = node.cluster.new_ledger()
    node.first_start = False
    node.boot()


def votes_of(cluster: Cluster, key: bytes) -> set[Any]:
    return {slot for slot in cluster.said if slot[0] == key and slot[1] != "checkpoint"}


def test_30_a_wiped_replica_votes_on_nothing_until_its_epoch_ends() -> None:
    """tendermint 3418: no double signing after a wipe, in no view; another key takes its seat."""
    cluster = Cluster(4)
    for _ in range(3):
        cluster.submit()
        cluster.run_for(60)
    in_the_middle(cluster, Commit)
    node = cluster.nodes[1]
    old, said = node.key.public, votes_of(cluster, node.key.public)
    wipe(node)
    cluster.heal()
    for height in range(5, 4 * cluster.rules.consensus_window):
        cluster.submit()
        cluster.run_to_height(height)
    assert node.state.lost.muted == 0
    restart(node)
    assert node.state.lost.muted == 0, "it remembers that it lost its votes"
    cluster.silence(0)  # others ask for another view; it does not, for it may have asked before
    cluster.submit()
    cluster.run_for(10_000)
    assert votes_of(cluster, old) == said
    signed = {slot[-1] for slot in cluster.said if slot[0] == old and slot[1] == "checkpoint"}
    assert max(signed) > 3 * cluster.rules.consensus_window, "it follows and certifies what others decide"
    cluster.heal()
    new = cluster.rotate_key(1).public
    cluster.run_until(lambda: node.key.public == new, 60_000)
    cluster.nodes[3].crash()
    cluster.settle()
    assert votes_of(cluster, new)
    assert votes_of(cluster, old) == said


def test_a_wiped_replica_is_answered_though_heights_go_by_without_a_pause() -> None:
    """Progress puts off repair; what it asks for is not repaired by progress: found by torture."""
    cluster = Cluster(4)
    cluster.submit()
    cluster.settle()
    node, others = cluster.nodes[1], [cluster.nodes[index] for index in (0, 2, 3)]
    wipe(node)
    height = cluster.nodes[0].certified_height
    for _ in range(150):
        cluster.submit()
        height += 1
        cluster.run_to_height(height, nodes=others)
    assert not node.state.lost.listening


def test_a_key_that_was_wiped_votes_again_once_another_set_is_in_force() -> None:
    """What it forgot is of an epoch that is over; views begin anew."""
    cluster = Cluster(4, window=2)
    cluster.submit()
    cluster.settle()
    node = cluster.nodes[1]
    wipe(node)
    cluster.run_until(lambda: not node.state.lost.listening, 5_000)
    said = votes_of(cluster, node.key.public)
    new = cluster.rotate_key(2).public
    cluster.run_until(lambda: cluster.nodes[2].key.public == new, 60_000)
    cluster.nodes[3].crash()
    cluster.settle()
    assert votes_of(cluster, node.key.public) > said


def test_a_wiped_replica_that_entered_a_view_and_never_voted_restarts() -> None:
    """A NEW-VIEW is nobody's vote but its leader's: without a birth it tells of a wipe."""
    cluster = Cluster(4)
    cluster.silence(0)
    cluster.submit()
    cluster.run_to_height(1, 10_000, cluster.nodes[1:])
    node = cluster.nodes[2]
    rows = {NEW_VIEW: node.votes.rows[NEW_VIEW]}
    node.crash()
    node.votes.rows = rows
    node.first_start = False
    node.boot()
    assert node.state.lost.listening
    assert node.state.view == 1
    cluster.heal()
    cluster.settle()


def test_votes_of_certified_heights_are_pruned() -> None:
    """The vote store holds the window and little more, however long the chain."""
    cluster = Cluster(4)
    for _ in range(60):
        cluster.submit()
        cluster.run_for(40)
    cluster.settle()
    for node in cluster.nodes:
        assert node.certified_height > 50
        assert len(node.votes.rows) < 3 * cluster.rules.consensus_window + 4
        assert prepare_key(1) not in node.votes.rows


def test_a_replica_whose_disk_fails_reports_it_and_says_nothing_more() -> None:
    """The error reaches the caller once; afterwards the driver is inert and says why."""
    cluster = Cluster(1, boot=False)
    node = cluster.nodes[0]
    node.boot()
    driver = node.driver
    assert driver is not None
    node.votes.fail_next = "before"
    node.submit(0)
    assert not node.up
    assert "DiskFailure" in driver.status(cluster.now)["halted"]
    driver.on_tick(cluster.now + 10_000)
    assert driver.status(cluster.now)["phase"] == "halted"


@pytest.mark.parametrize("crashed", [False, True])
def test_a_certificate_missed_is_asked_for_though_the_chain_moves_on(crashed: bool) -> None:
    """Nothing waits for it and later ones come in time, also when everyone restarts: found by torture."""
    cluster = Cluster(4)
    late = cluster.nodes[3]
    missed = (Checkpoint, Certificate)
    cluster.filters = [
        lambda _a, to, message: not (to is late and isinstance(message, missed) and message.height == 1)
    ]
    for height in (1, 2):
        cluster.submit()
        cluster.run_to_height(height, 5_000, nodes=cluster.nodes[:3])
    cluster.run_until(lambda: late.certified_height == 2, 5_000)
    assert 1 not in late.ledger.certificates
    if crashed:
        restart(*cluster.nodes)
    cluster.filters = []
    cluster.run_until(lambda: 1 in late.ledger.certificates, 2_000)


def test_a_certificate_missed_long_ago_is_served_from_the_ledger() -> None:
    """Memory reaches two windows back; whoever lacks an older one keeps asking: found by torture."""
    cluster = Cluster(4)
    late = cluster.nodes[3]
    cluster.filters = [
        lambda _a, to, message: (
            not (to is late and isinstance(message, (Checkpoint, Certificate)) and message.height == 1)
        )
    ]
    for height in range(1, 3 * cluster.rules.consensus_window):
        cluster.submit()
        cluster.run_to_height(height, 9_000, nodes=cluster.nodes[:3])
    assert 1 not in late.ledger.certificates
    cluster.filters = []
    cluster.run_until(lambda: 1 in late.ledger.certificates, 2_000)
