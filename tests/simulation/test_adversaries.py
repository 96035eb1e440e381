"""What one Byzantine validator with full knowledge tried against the protocol, story by story.

Node D is the liar: it runs the honest code behind filters that say what reaches whom, and speaks beside it
with its own key. The bare harness fails whenever two correct replicas execute two payloads at one height, or
one of them contradicts itself.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chain.primitives.certificate import Certificate
from chain.primitives.codec import encode
from consensus.messages import (
    NULL_DIGEST,
    UNSIGNED,
    Checkpoint,
    Commit,
    Fetch,
    NewView,
    PayloadReply,
    Prepare,
    Prepared,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
    payload_digest,
    sign,
)
from consensus.settings import Timing
from consensus.slot import PAYLOADS_MAX
from tests.simulation.replicas import CHAIN_ID, Cluster, Faults, Node, make_payload

MINUTES = 60_000


def say(liar: Node, message: Any, *to: Node) -> None:
    """Send a message with the liar's signature to these only."""
    signed = sign(dataclasses.replace(message, sender=liar.key.public), liar.key, CHAIN_ID)
    for node in to:
        liar.cluster.deliver_bytes(liar, node, encode(signed))


def restart(*nodes: Node) -> None:
    for node in nodes:
        node.crash()
    for node in nodes:
        node.first_start = False
        node.boot()


def no_evidence(cluster: Cluster) -> bool:
    return not any(node.contradictions for node in cluster.nodes if node.honest)


# --- who leads ----------------------------------------------------------------------------------------


def withheld(last: int, rotation: int, *, showing: bool) -> Cluster:
    """Let D, primary of `last`, certify that height for itself alone and show this to one coming leader.

    C gets neither its proposal nor its COMMIT, so two correct replicas execute the height and one does not.
    """
    cluster = Cluster(4, rotation=rotation)
    for height in range(1, last):
        cluster.submit()
        cluster.run_to_height(height)
    liar = next(node for node in cluster.nodes if node.key.public == cluster.rules.primary(0, last))
    left_out = next(node for node in reversed(cluster.nodes) if node is not liar)
    liar.honest = False
    kept = [None]

    def keep(a: Node, b: Node, message: Any) -> bool:
        if a is not liar:
            return True
        return b is not left_out and isinstance(message, Proposal | Prepare | Commit) and kept[0] is None

    cluster.filters = [keep]
    cluster.submit()
    others = [node for node in cluster.nodes if node is not liar]
    cluster.run_until(lambda: liar.certified_height == last, 5_000)
    certificate = liar.ledger.certificates[last]
    kept[0] = certificate  # from now on D says nothing by itself
    shown: set[int] = set()

    def show() -> None:
        """For each view that somebody asks for, D asks too, early, and only to who leads without it."""
        view = max(node.state.view for node in others) + 1
        leader = cluster.rules.primary(view, last)
        if view not in shown and leader != liar.key.public:
            shown.add(view)
            target = next(node for node in others if node.key.public == leader)
            say(liar, ViewChange(0, view, certificate, (), b"", UNSIGNED), target)
        cluster.at(cluster.now + 100, show)

    if showing:
        show()
    cluster.submit()
    return cluster


@pytest.mark.parametrize("showing", [False, True])
@pytest.mark.parametrize(("last", "rotation"), [(15, 16), (7, 8), (3, 2)])
def test_a_certificate_shown_to_each_coming_leader_alone_stops_nobody(
    last: int, rotation: int, showing: bool
) -> None:
    """The last height of a tenure: with its certificate another replica leads than without."""
    cluster = withheld(last, rotation, showing=showing)
    others = [node for node in cluster.nodes if node.honest]
    cluster.run_to_height(last + 1, MINUTES, others)
    assert max(node.state.view for node in others) <= 4


def test_a_replica_leads_with_whatever_quorum_makes_it_the_leader() -> None:
    """Of five view changes two show the last height of a tenure: who leads without them leads."""
    cluster = Cluster(5, rotation=4)
    for height in range(1, 4):
        cluster.submit()
        cluster.run_to_height(height)
    old = {node.index: node.ledger.certificates[2] for node in cluster.nodes}
    view = next(
        view for view in range(1, 6)
        if cluster.rules.primary(view, 3) == cluster.nodes[2].key.public != cluster.rules.primary(view, 4)
    )  # fmt: skip
    leader, sent = cluster.nodes[2], list[Any]()
    leader.state.certificate = old[2]
    cluster.filters = [lambda a, _b, message: not (a is leader and sent.append(message))]
    for node in reversed(cluster.nodes):
        certificate = old[node.index] if node.index != 4 else node.ledger.certificates[3]
        change = ViewChange(0, view, certificate, (), node.key.public, UNSIGNED)
        signed = encode(sign(change, node.key, CHAIN_ID))
        leader.call(lambda driver, now, raw=signed, of=node.key.public: driver.on_message(of, raw, now))
    assert any(isinstance(message, NewView) for message in sent)


def test_everybody_tells_the_highest_certificate_it_knows_though_it_has_not_executed_it() -> None:
    """Two that executed a height need the certificate that only a laggard holds."""
    cluster = Cluster(4)
    laggard = cluster.nodes[3]
    checkpoints = (Checkpoint, Certificate)
    cluster.filters = [
        lambda _a, b, message: not (isinstance(message, checkpoints) and b is not laggard),
        lambda _a, b, message: not (isinstance(message, Proposal | PayloadReply) and b is laggard),
    ]
    laggard.behind = lambda _certificate: None  # type: ignore[method-assign]
    cluster.submit()
    cluster.run_until(lambda: laggard.state.target is not None, 5_000)
    seen = list[Any]()
    cluster.filters = [
        lambda a, _b, message: not (a is laggard and isinstance(message, Status) and seen.append(message)),
        lambda _a, b, _message: b is not laggard,
    ]
    cluster.run_until(lambda: bool(seen), 5_000)
    assert seen[-1].certificate.height == 1
    assert seen[-1].delivered == 0


# --- payloads -----------------------------------------------------------------------------------------


def test_a_payload_that_votes_promise_is_there_however_many_others_are_proposed() -> None:
    """D alone can show that it was prepared, floods those who voted for it, and has it proposed for ever."""
    cluster = Cluster(4)
    cluster.run_for(100)
    liar = cluster.nodes[0]
    voters, apart = cluster.nodes[1:3], cluster.nodes[3]
    liar.honest = False
    mute = [False]
    cluster.filters = [
        lambda a, b, message: not (a is liar and (mute[0] or b is apart or isinstance(message, Prepare))),
        lambda _a, _b, message: not isinstance(message, Commit) or mute[0],
    ]
    cluster.submit()
    cluster.run_until(lambda: liar.state.slots[1].prepared is not None, 2_000)
    prepared = liar.state.slots[1].prepared
    mute[0] = True
    shown: set[int] = set()

    def scheme() -> None:
        view = max(node.state.view for node in cluster.nodes[1:])
        for number in range(2 * PAYLOADS_MAX) if all(node.state.view for node in voters) else ():
            payload = make_payload(0, liar.key.public, 5_000 + number, [])
            claim = PrePrepare(0, 1, payload_digest(payload), liar.key.public, UNSIGNED)
            flood = Proposal(sign(claim, liar.key, CHAIN_ID), payload)
            for node in voters:
                cluster.deliver_bytes(liar, node, encode(flood))
        begun = any(node.state.view == view and node.state.active for node in voters)
        own = cluster.rules.primary(view, 1) == liar.key.public
        if view + 1 not in shown and (begun or own):
            shown.add(view + 1)
            say(liar, ViewChange(0, view + 1, None, (prepared,), b"", UNSIGNED), *cluster.nodes[1:])
        cluster.at(cluster.now + 1, scheme)

    scheme()
    cluster.run_to_height(1, MINUTES, cluster.nodes[1:])
    cluster.settle()


def test_a_payload_is_fetched_from_the_vote_store_of_whoever_promised_it() -> None:
    cluster = Cluster(4)
    cluster.filters = [lambda _a, _b, message: not isinstance(message, Commit)]
    cluster.submit()
    cluster.run_for(100)
    voter, asker = cluster.nodes[1], cluster.nodes[2]
    slot = voter.state.slots[1]
    digest, payload = slot.digest, slot.payload()
    assert voter.driver is not None
    slot.payloads.clear()
    answers = list[Any]()
    cluster.filters = [lambda a, b, message: not (a is voter and b is asker and answers.append(message))]
    asker.driver._send(voter.key.public, Fetch(1, digest))  # type: ignore[union-attr]
    cluster.run_for(20)
    assert PayloadReply(1, payload) in answers


# --- votes and disks ----------------------------------------------------------------------------------


def test_what_was_executed_is_not_voted_for_otherwise_though_a_new_view_says_so() -> None:
    """A replica that restarted on executed heights without their certificate knows what they hold."""
    cluster = Cluster(4)
    cluster.filters = [lambda _a, _b, message: not isinstance(message, Checkpoint | Certificate)]
    cluster.submit()
    cluster.run_until(lambda: all(node.ledger.height == 1 for node in cluster.nodes), 5_000)
    node = cluster.nodes[2]
    node.crash()
    node.votes.rows = {key: row for key, row in node.votes.rows.items() if key[:1] not in b"acp"}
    node.first_start = False
    node.boot()
    others = [cluster.nodes[index] for index in (0, 1, 3)]
    votes = [
        sign(Prepare(0, 2, bytes(32), other.key.public, UNSIGNED), other.key, CHAIN_ID) for other in others
    ]
    signatures = sorted((vote.sender, vote.signature) for vote in votes)
    above = Prepared(0, 2, bytes(32), tuple(signatures))
    changes = [
        sign(ViewChange(0, 1, None, (above,), other.key.public, UNSIGNED), other.key, CHAIN_ID)
        for other in others
    ]
    ordered = tuple(sorted(changes, key=lambda change: change.sender))
    leader = next(item for item in cluster.nodes if item.key.public == cluster.rules.primary(1, 1))
    again = ((1, NULL_DIGEST), (2, bytes(32)))
    new_view = sign(NewView(0, 1, ordered, again, leader.key.public, UNSIGNED), leader.key, CHAIN_ID)
    cluster.deliver_bytes(leader, node, encode(new_view))
    assert (node.state.view, node.state.active) == (1, True)
    assert node.state.slots[1].digest == NULL_DIGEST
    assert node.key.public not in node.state.slots[1].prepares


# --- after a wipe -------------------------------------------------------------------------------------


def wiped_alone_in_view_one(cluster: Cluster) -> tuple[Node, ViewChange]:
    """A asks for view 1 alone and is wiped; somebody keeps what it said."""
    cluster.submit()
    cluster.settle()
    node, kept = cluster.nodes[2], list[ViewChange]()
    cluster.filters = [
        lambda a, _b, message: (
            not (a is node and isinstance(message, ViewChange) and not kept.append(message))
        )
    ]
    cluster.submit(nodes=[node])
    cluster.filters.append(lambda _a, _b, message: not isinstance(message, Proposal))
    cluster.run_until(lambda: bool(kept), 30_000)
    node.crash()
    node.votes.rows.clear()
    node.ledger = cluster.new_ledger()
    node.first_start = False
    node.boot()
    cluster.heal()
    return node, kept[0]


def test_a_wiped_replica_that_rejoined_is_never_convicted() -> None:
    """It had asked for view 1 alone; when the primary dies, an honest chain must not accuse it."""
    cluster = Cluster(4)
    node, old = wiped_alone_in_view_one(cluster)
    for _ in range(3 * cluster.rules.consensus_window):
        cluster.submit()
        cluster.run_for(40)
    for other in cluster.nodes:
        if other is not node:
            cluster.deliver_bytes(node, other, encode(old))
    cluster.silence(0)
    cluster.submit()
    cluster.run_for(10_000)
    cluster.heal()
    cluster.settle()
    assert no_evidence(cluster)


def test_a_kept_view_change_of_a_wiped_replica_cannot_undo_what_it_voted_for_since() -> None:
    """With its new COMMITs and its old VIEW-CHANGE one liar would free a decided height."""
    cluster = Cluster(4)
    node, old = wiped_alone_in_view_one(cluster)
    for _ in range(3 * cluster.rules.consensus_window):
        cluster.submit()
        cluster.run_for(40)
    height = cluster.nodes[0].certified_height
    votes = {slot for slot in cluster.said if slot[0] == node.key.public and slot[1] in ("prepare", "commit")}
    assert old.certificate is not None
    assert max(slot[-1] for slot in votes) <= old.certificate.height + cluster.rules.consensus_window < height


def test_old_statuses_do_not_make_a_wiped_replica_vote() -> None:
    """They tell where others stood once; what it voted for since is above."""
    cluster = Cluster(7)
    cluster.run_for(200)
    recorded = dict[int, bytes]()

    def record(a: Node, _b: Node, message: Any) -> bool:
        if isinstance(message, Status):
            recorded.setdefault(a.index, encode(message))
        return True

    cluster.filters = [record]
    cluster.run_for(12_000)
    cluster.filters = []
    for _ in range(30):
        cluster.submit()
        cluster.run_for(40)
    node, liar = cluster.nodes[3], cluster.nodes[6]
    said = {slot for slot in cluster.said if slot[0] == node.key.public}
    node.crash()
    node.votes.rows.clear()
    node.first_start = False
    cluster.silence(*[other.index for other in cluster.nodes if other is not node])
    node.boot()
    liar.honest = False
    for index, status in recorded.items():
        cluster.run_for(110)
        if index != node.index:
            cluster.deliver_bytes(liar, node, status)
    assert node.state.lost.listening, "it still listens"
    assert cluster.refused, "who brings the status of another is refused"
    cluster.heal()
    cluster.submit()
    cluster.run_for(5_000)
    votes = {slot for slot in cluster.said if slot[0] == node.key.public and slot[1] != "checkpoint"}
    assert votes == {slot for slot in said if slot[1] != "checkpoint"}


# --- requests shown to some ---------------------------------------------------------------------------


def test_requests_that_are_kept_from_the_primary_replace_nobody() -> None:
    """Backups forward what they wait for: whoever was silent because it knew of nothing is not charged."""
    cluster = Cluster(4, rotation=4, timing=Timing(timeout_ms=3_000))
    cluster.run_for(500)
    for height in range(1, 60):
        primary = cluster.rules.primary(0, height)
        cluster.submit(nodes=[node for node in cluster.nodes if node.key.public != primary])
        cluster.run_to_height(height, 1_000)
    assert {node.state.view for node in cluster.nodes} == {0}


# --- slow primaries -----------------------------------------------------------------------------------


def heights_in(cluster: Cluster, duration_ms: int) -> int:
    """One request at a time, as fast as they are certified by the correct nodes."""
    start, first = cluster.now, cluster.nodes[1].certified_height
    while cluster.now - start < duration_ms:
        target = min(node.certified_height for node in cluster.nodes if node.honest) + 1
        cluster.submit()
        cluster.run_to_height(target, MINUTES, [node for node in cluster.nodes if node.honest])
    return cluster.nodes[1].certified_height - first


@pytest.mark.parametrize("slow_ms", [0, 1_900])
def test_a_slow_primary_costs_at_most_a_bounded_part_of_the_throughput(slow_ms: int) -> None:
    """It delays what it says to just under the timeout; the timer of a height never runs out."""
    cluster = Cluster(4, rotation=4, timing=Timing(timeout_ms=2_000, batch_interval_ms=40))
    cluster.faults = Faults(delay_ms=(10, 20))
    liar = cluster.nodes[0]
    undisturbed = heights_in(cluster, 5_000)
    liar.honest = False
    carry = cluster._carry

    def late(sender: Node, node: Node, message: Any, data: bytes) -> None:
        if sender is liar and isinstance(message, Proposal):
            cluster.at(cluster.now + slow_ms, lambda: carry(sender, node, message, data))
        else:
            carry(sender, node, message, data)

    cluster._carry = late  # type: ignore[method-assign]
    heights_in(cluster, 10_000)
    disturbed = heights_in(cluster, 20_000) / 4
    assert disturbed > undisturbed * (0.9 if slow_ms == 0 else 0.25)
