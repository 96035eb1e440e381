"""Failures that other ledgers had with consensus, by their numbers in consensus/README.md.

Each runs whole replicas with their drivers on virtual time.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.certificate import Certificate
from chain.primitives.codec import encode
from chain.primitives.errors import AssentError
from consensus.messages import (
    UNSIGNED,
    Checkpoint,
    Commit,
    Fetch,
    NewView,
    PayloadReply,
    Prepare,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
    payload_digest,
    sign,
)
from consensus.settings import Timing
from tests.simulation.replicas import CHAIN_ID, Cluster, Faults, Node, make_payload, parse


def say(cluster: Cluster, sender: int, message: Any, to: list[int]) -> None:
    """Send a message signed with a node's key, as a Byzantine node would."""
    node = cluster.nodes[sender]
    node.honest = False
    if hasattr(message, "signature"):
        message = sign(dataclasses.replace(message, sender=node.key.public), node.key, CHAIN_ID)
    for index in to:
        cluster.deliver_bytes(node, cluster.nodes[index], encode(message))


def proposal(cluster: Cluster, sender: int, height: int, payload: bytes, view: int = 0) -> Proposal:
    node = cluster.nodes[sender]
    claim = PrePrepare(view, height, payload_digest(payload), node.key.public, UNSIGNED)
    return Proposal(sign(claim, node.key, CHAIN_ID), payload)


def views(cluster: Cluster) -> set[int]:
    return {node.state.view for node in cluster.nodes if node.up and node.honest}


def drop(*kinds: type, sender: int | None = None, receiver: int | None = None) -> Any:
    """A filter that loses messages of these kinds."""

    def keep(a: Node, b: Node, message: Any) -> bool:
        matches = isinstance(message, kinds) and sender in (None, a.index) and receiver in (None, b.index)
        return not matches

    return keep


def test_every_failure_of_others_is_a_test() -> None:
    """Numbers 1 to 38, each in the name of a test, and each in the table of consensus/README.md."""
    root = Path(__file__).parents[2]
    texts = [path.read_text() for path in (root / "tests").rglob("test_*.py")]
    named = {int(number) for text in texts for number in re.findall(r"def test_(\d\d)_", text)}
    assert named >= set(range(1, 39))
    table = (root / "consensus" / "README.md").read_text()
    assert set(re.findall(r"^\| (\d+) \|", table, re.MULTILINE)) == {str(at) for at in range(1, 39)}


def test_01_one_replicas_huge_view_moves_nobody() -> None:
    """FISCO-BCOS 2211."""
    cluster = Cluster(4)
    say(cluster, 3, ViewChange(0, 2**62, None, (), b"", UNSIGNED), [0, 1, 2])
    cluster.settle()
    assert views(cluster) == {0}


def test_05_a_payload_prepared_long_ago_is_proposed_again_whatever_its_age() -> None:
    """indy-plenum 1488: the age of a payload is judged once, when it is fresh."""
    cluster = Cluster(4)
    cluster.filters = [drop(Commit)]
    (request,) = cluster.submit()
    cluster.run_for(100)
    assert all(node.state.slots[1].prepared is not None for node in cluster.nodes)
    cluster.cut = {(a, b) for a in range(4) for b in range(4)}
    cluster.run_for(600_000)
    cluster.heal()
    cluster.silence(0)
    cluster.run_to_height(1, 120_000, cluster.nodes[1:])
    assert all(request in node.ledger.done for node in cluster.nodes[1:])


def test_06_a_replayed_quorum_of_view_changes_does_not_rewind_the_view() -> None:
    """A recorded NEW-VIEW and its view changes, sent again later, change nothing."""
    cluster, recorded = Cluster(4), list[Any]()
    cluster.filters = [
        lambda _a, _b, m: recorded.append(m) or True if isinstance(m, NewView | ViewChange) else True
    ]
    for silent in (0, 1):
        cluster.cut = set()
        cluster.silence(silent)
        cluster.submit()
        cluster.run_until(lambda silent=silent: views(cluster) >= {silent + 1}, 30_000)
    cluster.heal()
    cluster.settle()
    before = views(cluster)
    old = [encode(item) for item in recorded if isinstance(item, NewView | ViewChange) and item.view == 1]
    assert old
    assert min(before) >= 2
    for data in old:
        for node in cluster.nodes:
            cluster.deliver_bytes(cluster.nodes[0], node, data)
    cluster.settle()
    assert views(cluster) == before


def test_07_timeouts_grow_and_are_capped() -> None:
    """Quorum 1681: 327,680 s at round 15."""
    cluster = Cluster(4, timing=Timing(timeout_ms=1_000, timeout_max_ms=8_000))
    driver = cluster.nodes[0].driver
    assert driver is not None
    seen = []
    for view in (0, 1, 2, 3, 4, 15, 2**40):
        driver._state.view = view
        seen.append(driver._timers.timeout())
    assert seen == [1_000, 2_000, 4_000, 8_000, 8_000, 8_000, 8_000]


def test_08_view_changes_are_repeated_until_a_partition_has_passed() -> None:
    """hyperledger-archives/fabric 1917: the first ones are all lost."""
    cluster = Cluster(4)
    cluster.silence(0)
    cluster.filters = [drop(ViewChange)]
    cluster.submit()
    cluster.run_for(10_000)
    assert views(cluster) == {1}
    assert not any(node.state.active for node in cluster.nodes)
    cluster.filters = []
    cluster.run_to_height(1, 5_000, cluster.nodes[1:])


def test_09_no_timer_runs_before_a_quorum_asks_for_a_view() -> None:
    """sawtooth-pbft 133: a replica alone in asking stays at the view it asked for."""
    cluster = Cluster(4)
    alone = cluster.nodes[3]
    cluster.submit(nodes=[alone])
    cluster.filters = [lambda a, _b, m: not (a is alone and isinstance(m, ViewChange))]
    for node in cluster.nodes[1:3]:  # it hears them, but they have no reason to ask
        say(cluster, node.index, Status(0, 0, True, None, 0, (), (), b"", b"", b"", UNSIGNED), [3])
    for _ in range(100):
        for node in cluster.nodes[1:3]:
            say(cluster, node.index, Status(0, 0, True, None, 0, (), (), b"", b"", b"", UNSIGNED), [3])
        cluster.nodes[0].pool.clear()
        cluster.cut = {(3, 0), (3, 1), (3, 2)}
        cluster.run_for(400)
    assert alone.state.view == 1
    assert alone.state.waiting() is None


def test_10_commits_count_during_a_view_change() -> None:
    """sawtooth-pbft 90, 117: a decision that completes while asking for a view is delivered."""
    cluster = Cluster(4)
    late: list[tuple[Node, Node, bytes]] = []
    cluster.filters = [
        lambda a, b, m: not (isinstance(m, Commit) and (late.append((a, b, encode(m))) or True)),
        drop(NewView),
    ]
    cluster.submit()
    cluster.run_until(lambda: all(not node.state.active for node in cluster.nodes), 10_000)
    assert late
    for sender, receiver, data in late:
        cluster.deliver_bytes(sender, receiver, data)
    cluster.run_for(50)
    assert [node.ledger.height for node in cluster.nodes] == [1, 1, 1, 1]


def test_12_local_timing_of_one_node_does_not_stop_the_chain() -> None:
    """FISCO-BCOS 4656: a node with absurd local settings is a nuisance to itself only."""
    cluster = Cluster(4, boot=False)
    for node in cluster.nodes:
        cluster.timing = Timing(timeout_ms=20, timeout_max_ms=20, status_ms=5, batch_interval_ms=0)
        if node.index != 3:
            cluster.timing = Timing()
        node.boot()
    for _ in range(5):
        cluster.submit(2)
        cluster.run_for(300)
    cluster.settle(20_000)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 10])
def test_13_any_number_of_validators_orders_requests_with_its_own_quorum(n: int) -> None:
    """Quorum 796: the normal case, for every small cluster size; quorums by brute force are a unit test."""
    cluster = Cluster(n)
    cluster.submit(12)
    cluster.settle(5_000)
    assert {node.state.view for node in cluster.nodes} == {0}


def test_14_certificates_name_the_header_that_was_executed() -> None:
    """Besu 6613: the certificate and the executed block agree at every node and height."""
    cluster = Cluster(4)
    for _ in range(10):
        cluster.submit(2)
        cluster.run_for(40)
    cluster.settle()
    for node in cluster.nodes:
        assert sorted(node.ledger.certificates) == list(range(1, node.ledger.height + 1))
        for height, certificate in node.ledger.certificates.items():
            assert certificate.header_hash == node.ledger.headers[height - 1]


def test_14_a_ledger_that_a_quorum_contradicts_halts_its_replica() -> None:
    """A nondeterministic execution shows at once, names the height, and votes no more."""
    cluster, reasons = Cluster(4), list[str]()
    odd = cluster.nodes[3]
    odd.halted = reasons.append
    driver = odd.driver
    assert driver is not None
    cluster.submit(nodes=cluster.nodes[:3])
    cluster.filters = [drop(Checkpoint, Certificate, receiver=3)]
    cluster.run_for(20)
    odd.state.headers[1] = bytes(32)
    cluster.heal()
    cluster.run_for(3_000)
    assert reasons
    assert "height 1" in reasons[0]


def test_15_a_payload_that_was_checked_against_another_parent_still_executes() -> None:
    """FISCO-BCOS 2307: null requests and replaced parents never make an agreed payload unexecutable."""
    cluster = Cluster(4)
    cluster.filters = [lambda _a, _b, m: not (isinstance(m, Prepare) and m.height == 1 and m.view == 0)]
    cluster.submit()
    cluster.run_for(60)
    cluster.submit()
    cluster.run_for(60)
    assert any(node.state.slots[2].prepared for node in cluster.nodes)
    cluster.silence(0)
    cluster.run_to_height(2, 20_000, cluster.nodes[1:])
    assert cluster.decided[1] == b""
    assert cluster.decided[2] != b""


def test_16_requests_of_a_failed_proposal_are_proposed_again() -> None:
    """FISCO-BCOS 3809, 4198: nothing stays marked, since a turn names what is in flight."""
    cluster = Cluster(4)
    cluster.filters = [drop(Prepare)]
    requests = cluster.submit(3)
    cluster.run_for(100)
    cluster.filters = []
    cluster.silence(0)
    cluster.run_until(lambda: all(set(requests) <= node.ledger.done for node in cluster.nodes[1:]), 20_000)


def test_17_a_request_that_one_replica_knows_is_ordered_when_that_replica_leads() -> None:
    """FISCO-BCOS 2124: rotation gives every replica its turn without a view change."""
    cluster = Cluster(4, rotation=2)
    for node in cluster.nodes:
        node.skew_ms = 0
    (lonely,) = cluster.submit(nodes=[cluster.nodes[2]])
    for _ in range(8):
        cluster.submit(nodes=[cluster.nodes[0], cluster.nodes[1], cluster.nodes[3]])
        cluster.run_for(50)
    for node in cluster.nodes:  # the others learn it when it is proposed
        node.submit(lonely)
    cluster.run_until(lambda: all(lonely in node.ledger.done for node in cluster.nodes), 5_000)
    assert views(cluster) == {0}


def test_19_hostile_bytes_change_nothing() -> None:
    """Every refused message leaves the state as it was and the cluster working."""
    cluster = Cluster(4)
    cluster.submit()
    cluster.settle()
    victim, liar = cluster.nodes[1], cluster.nodes[3]
    good = encode(proposal(cluster, 0, 3, b"payload"))
    assert victim.driver is not None

    def seen() -> tuple[Any, ...]:
        state = victim.state
        return state.view, state.certified, set(state.slots), len(state.future), dict(victim.votes.rows)

    before, refused = seen(), 0
    for position in range(len(good)):
        data = good[:position] + bytes([good[position] ^ 0x55]) + good[position + 1 :]
        try:
            victim.driver.on_message(liar.key.public, data, cluster.now)
        except AssentError:
            refused += 1  # all but those whose height became irrelevant, which are dropped unread
    assert refused >= len(good) - 1
    assert seen() == before
    cluster.settle()


def test_20_a_block_brought_by_sync_is_not_delivered_again() -> None:
    """SmartBFT 570: sync and consensus race for the same heights (asserted in the harness, too)."""
    cluster, delivered = Cluster(4), list[int]()
    node = cluster.nodes[3]
    deliver = node.deliver
    node.deliver = lambda height, payload: (delivered.append(height), deliver(height, payload))
    for _ in range(6):
        cluster.cut = {(a, 3) for a in range(3)}
        for _ in range(4):
            cluster.submit(2)
            cluster.run_for(60)
        cluster.heal()
        cluster.submit(2)
        cluster.run_for(120)
    cluster.settle()
    assert node.synced_times > 0
    assert delivered == sorted(set(delivered))


def test_21_a_decision_at_some_replicas_survives_the_view_change_of_the_others() -> None:
    """SmartBFT 622: decision and view abort at the same time."""
    cluster = Cluster(4)
    cluster.filters = [lambda _a, b, m: not (isinstance(m, Commit) and b.index != 1)]
    cluster.submit()
    cluster.run_until(lambda: cluster.nodes[1].ledger.height == 1, 1_000)
    cluster.silence(0)
    cluster.run_until(lambda: 1 in views(cluster), 10_000)
    cluster.filters = []
    cluster.run_to_height(1, 20_000, cluster.nodes[1:])


def test_22_sync_to_the_same_height_resets_nothing() -> None:
    """SmartBFT 663."""
    cluster = Cluster(4)
    cluster.submit()
    cluster.settle()
    node = cluster.nodes[1]
    assert node.driver is not None
    certificate = node.ledger.certificates[node.certified_height]
    before = (
        node.state.view,
        node.state.good_view,
        node.state.certified,
        node.driver._timers.since,
        node.driver._timers.wait,
    )
    node.driver.on_synced(certificate, cluster.now)
    after = (
        node.state.view,
        node.state.good_view,
        node.state.certified,
        node.driver._timers.since,
        node.driver._timers.wait,
    )
    assert before == after


def test_23_an_honest_laggard_catches_up_and_votes_again() -> None:
    """hyperledger-archives/fabric 1454: far behind, under load, without help from its own proposals."""
    cluster = Cluster(4)
    cluster.nodes[3].crash()
    for _ in range(40):
        cluster.submit(3)
        cluster.run_for(50)
    assert cluster.nodes[0].certified_height > 30
    cluster.nodes[3].boot()
    for _ in range(20):
        cluster.submit(3)
        cluster.run_for(50)
    cluster.settle()
    cluster.nodes[0].crash()  # now its vote is needed
    cluster.settle()


def test_24_a_claimed_height_without_a_certificate_moves_nobody() -> None:
    """CometBFT 5801: a faked maximum height blocks sync."""
    cluster = Cluster(4)
    fake = Certificate(10**6, bytes(32), tuple((key, bytes(64)) for key in sorted(cluster.keys)))
    say(cluster, 3, Status(0, 0, True, fake, 10**6, (), (), b"", b"", b"", UNSIGNED), [0, 1, 2])
    say(cluster, 3, Checkpoint(10**6, bytes(32), b"", UNSIGNED), [0, 1, 2])
    assert cluster.refused
    assert all(node.state.behind is None for node in cluster.nodes)
    cluster.settle()


def test_26_messages_that_arrive_out_of_order_are_kept_and_used() -> None:
    """sawtooth-pbft 166: heavy reordering delays, but needs no view change."""
    cluster = Cluster(4, seed=26)
    cluster.faults = Faults(delay_ms=(1, 300))
    for _ in range(10):
        cluster.submit(2)
        cluster.run_for(100)
    cluster.settle(20_000)
    assert views(cluster) == {0}


def test_27_one_crash_looping_node_hangs_nobody() -> None:
    """FISCO-BCOS 4417: it restarts for ever; the others go on at their pace."""
    cluster = Cluster(4)
    for _ in range(20):
        cluster.nodes[2].crash()
        cluster.submit()
        cluster.run_for(50)
        cluster.nodes[2].boot()
        cluster.run_for(50)
    assert min(node.certified_height for node in cluster.nodes if node.index != 2) >= 19
    cluster.settle()


def test_34_messages_of_another_chain_are_refused() -> None:
    """Replay across chains: same keys, same slots, another chain id."""
    cluster = Cluster(4)
    node = cluster.nodes[0]
    foreign = sign(Prepare(0, 1, bytes(32), node.key.public, UNSIGNED), node.key, bytes(32))
    assert cluster.nodes[1].driver is not None
    with pytest.raises(AssentError):
        cluster.nodes[1].driver.on_message(node.key.public, encode(foreign), cluster.now)


def test_36_a_skewed_primary_cannot_ratchet_the_time_of_blocks() -> None:
    """Its proposals are refused by the applications' checks, and it is replaced."""
    cluster = Cluster(4)
    cluster.nodes[0].skew_ms = 10_000_000
    cluster.submit()
    cluster.run_to_height(1, 20_000)
    assert max(cluster.nodes[1].ledger.times) < cluster.now + 30_000
    assert min(views(cluster)) >= 1


def test_37_a_primary_that_proposes_only_empty_batches_is_replaced() -> None:
    """An empty batch is refused by the check; an empty payload is not even a message."""
    cluster = Cluster(4)
    cluster.silence(0)
    cluster.submit()
    empty = make_payload(0, cluster.nodes[0].key.public, cluster.now + 1, [])
    say(cluster, 0, proposal(cluster, 0, 1, empty), [1, 2, 3])
    say(cluster, 0, Prepare(0, 1, payload_digest(empty), b"", UNSIGNED), [1, 2, 3])
    cluster.run_to_height(1, 20_000, cluster.nodes[1:])
    assert views(cluster) == {1}


def test_38_a_censoring_primary_keeps_its_place_for_one_rotation_only() -> None:
    """It behaves otherwise, so nobody suspects it; rotation ends its tenure."""
    cluster = Cluster(4, rotation=3)
    (censored,) = cluster.submit(nodes=cluster.nodes[1:])
    for _ in range(6):
        cluster.submit()
        cluster.run_for(60)
        cluster.nodes[0].pool.discard(censored)
    done_at = next(height for height, payload in cluster.decided.items() if censored in parse(payload)["ids"])
    assert done_at <= 4
    assert all(censored in node.ledger.done for node in cluster.nodes[1:])
    assert views(cluster) == {0}


def test_38_a_follower_that_is_left_out_follows_all_the_same() -> None:
    """The primary never sends it a proposal: it sees the commits and fetches the payload by its digest."""
    cluster = Cluster(4)
    cluster.filters = [drop(Proposal, sender=0, receiver=3)]
    cluster.submit(3)
    cluster.run_to_height(1, 1_500)
    assert views(cluster) == {0}
    assert cluster.nodes[3].synced_times == 0


def test_a_silent_primary_is_replaced() -> None:
    """A view change elects the next primary (PBFT, 4.4)."""
    cluster = Cluster(4)
    cluster.silence(0)
    cluster.submit()
    cluster.run_to_height(1, 10_000, cluster.nodes[1:])
    assert {node.state.view for node in cluster.nodes[1:]} == {1}


def test_two_silent_primaries_in_a_row_are_replaced() -> None:
    """Seven validators bear two faults; the view change to a silent leader runs out of time."""
    cluster = Cluster(7)
    cluster.silence(0, 1)
    cluster.submit()
    cluster.run_to_height(1, 15_000, cluster.nodes[2:])
    assert {node.state.view for node in cluster.nodes[2:]} == {2}


def test_an_idle_chain_makes_no_blocks_and_no_view_changes() -> None:
    """An hour without requests: statuses only."""
    cluster = Cluster(4)
    cluster.submit()
    cluster.settle()
    sent = cluster.sent
    cluster.run_for(3_600_000)
    assert {node.ledger.height for node in cluster.nodes} == {2}
    assert views(cluster) == {0}
    assert cluster.sent - sent <= 3_600_000 / Timing().heartbeat_ms * 12 + 100


def test_lost_messages_are_repaired_without_a_view_change() -> None:
    """Nothing depends on a link that loses nothing (statuses bring resends)."""
    for kind in (Proposal, Prepare, Commit, Checkpoint):
        cluster = Cluster(4)
        cluster.filters = [drop(kind)]
        cluster.submit()
        cluster.run_for(300)
        cluster.filters = []
        cluster.run_to_height(1, 1_500)
        assert views(cluster) == {0}, kind


def test_payloads_of_a_view_change_are_fetched_by_who_lacks_them() -> None:
    """The new leader and one backup never saw the payload that was prepared."""
    cluster = Cluster(4)
    cluster.filters = [drop(Proposal, receiver=1), drop(Commit), drop(PayloadReply)]
    (request,) = cluster.submit()
    cluster.run_for(200)
    assert 1 not in cluster.nodes[1].state.slots or not cluster.nodes[1].state.slots[1].payloads
    cluster.filters = []
    cluster.silence(0)
    cluster.run_to_height(1, 20_000, cluster.nodes[1:])
    assert all(request in node.ledger.done for node in cluster.nodes[1:])


def test_a_payload_that_cannot_be_checked_yet_blocks_nothing_but_itself() -> None:
    """Missing transactions: the others decide; the one that lacks them is served by the decision."""
    cluster = Cluster(4)
    cluster.submit(nodes=cluster.nodes[:3])
    cluster.run_to_height(1, 2_000)
    assert views(cluster) == {0}


def test_a_payload_that_nobody_can_check_is_given_up_by_a_view_change() -> None:
    """The primary proposes what only it knows; after the view change the others order their own."""
    cluster = Cluster(4)
    (unknown,) = cluster.submit(nodes=[cluster.nodes[0]])
    cluster.run_for(50)
    (known,) = cluster.submit(nodes=cluster.nodes[1:])
    cluster.run_until(lambda: all(known in node.ledger.done for node in cluster.nodes[1:]), 20_000)
    assert unknown not in cluster.nodes[1].ledger.done


def test_evidence_of_an_equivocating_primary_is_kept_and_exported() -> None:
    """Two proposals for one slot reach one replica: kept durably, once, across restarts."""
    cluster = Cluster(4)
    cluster.nodes[0].honest = False
    for name in (b"one", b"two", b"three"):
        say(cluster, 0, proposal(cluster, 0, 1, name), [1])
    node = cluster.nodes[1]
    assert len(node.contradictions) == 1
    node.crash()
    node.boot()
    say(cluster, 0, proposal(cluster, 0, 1, b"four"), [1])
    say(cluster, 0, proposal(cluster, 0, 1, b"five"), [1])
    assert node.driver is not None
    assert [node.driver.evidence(*name) for name in node.driver.accused()] == node.contradictions
    assert len(node.contradictions) == 1


def test_a_flood_of_future_messages_costs_bounded_memory() -> None:
    """Held messages: per sender one of each kind and height, up to 2W ahead, whatever the views."""
    cluster = Cluster(4)
    for height in range(2, 60):
        for view in range(1, 30, 7):
            say(cluster, 3, Prepare(view, height, bytes(32), b"", UNSIGNED), [1])
            say(cluster, 3, Commit(view, height, bytes(32), b"", UNSIGNED), [1])
            say(cluster, 3, Checkpoint(height, bytes(32), b"", UNSIGNED), [1])
    state = cluster.nodes[1].state
    assert len(state.future) <= 2 * 2 * state.rules.consensus_window
    assert len(state.slots) <= state.rules.consensus_window
    assert len(state.checkpoints) <= 2 * state.rules.consensus_window
    cluster.settle()


def test_fetches_and_statuses_of_one_peer_are_answered_at_a_bounded_rate() -> None:
    """A small question must not buy unbounded large answers."""
    cluster = Cluster(4)
    cluster.filters = [drop(Commit)]
    cluster.submit()
    cluster.run_for(50)
    cluster.filters = [drop(Status, Prepare, Commit)]
    sent = cluster.sent
    digest = cluster.nodes[1].state.slots[1].digest
    for _ in range(50):
        say(cluster, 3, Fetch(1, digest), [1])
    assert cluster.sent - sent == 1


def test_a_paused_replica_suspects_nobody_when_it_wakes() -> None:
    """SIGSTOP for a minute: the clock jumps, its timer starts anew."""
    cluster = Cluster(4)
    node = cluster.nodes[3]
    assert node.driver is not None
    cluster.submit(nodes=[node])
    node.life += 1  # its ticks stop
    cluster.cut = {(a, 3) for a in range(3)}
    cluster.run_for(60_000)
    node.driver.on_tick(cluster.now)
    assert node.state.view == 0


def test_a_replica_that_is_cut_off_does_not_give_up_its_vote() -> None:
    """Without a quorum in hearing a view change cannot succeed; it keeps its view and votes on return."""
    cluster = Cluster(4)
    cluster.partition([3], [0, 1, 2])
    cluster.submit()
    cluster.run_for(30_000)
    assert cluster.nodes[3].state.view == 0
    cluster.heal()
    cluster.run_to_height(1, 5_000)
    cluster.nodes[2].crash()
    cluster.settle(5_000)
    assert views(cluster) == {0}


def test_steady_load_fills_batches_and_light_load_is_fast() -> None:
    """One request alone is certified in tens of milliseconds; many share a block."""
    cluster = Cluster(4)
    start = cluster.now
    cluster.submit()
    cluster.run_to_height(1, 1_000)
    assert cluster.now - start <= 60
    for _ in range(200):
        cluster.submit()
        cluster.run_for(4)
    cluster.settle()
    assert cluster.nodes[0].ledger.height < 60
