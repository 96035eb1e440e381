"""The normal case at one replica: what it checks, prepares, commits, decides, delivers; on whose word."""

from __future__ import annotations

import pytest

from chain.primitives.certificate import Epoch
from chain.primitives.codec import encode
from consensus.events import Checked, Pending, Proposed, Turn
from consensus.messages import Commit, PayloadReply, Prepare, Prepared, Proposal, payload_digest
from consensus.slot import PAYLOADS_MAX, Check
from consensus.votes import CommitRow, PrepareRow, commit_key, payload_key, prepare_key
from tests.unit.consensus.onereplica import (
    PUBLIC,
    A,
    B,
    C,
    One,
    certificate,
    checkpoint,
    commit,
    fresh_view,
    kinds,
    new_view,
    only,
    prepare,
    prepared,
    proposal,
    view_change,
)

# --- PREPARE --------------------------------------------------------------------------------------


def test_a_valid_proposal_is_prepared_durably_with_its_payload() -> None:
    """All three in the step that sends the vote."""
    one = One()
    (vote,) = one.hear(proposal(1, A))
    assert vote == prepare(1, 1, A)
    assert one.last.put == {
        prepare_key(1): encode(PrepareRow(0, 1, payload_digest(A), proposal(1, A).pre_prepare, vote)),
        payload_key(1, payload_digest(A)): A,
    }


@pytest.mark.parametrize("verdict", [None, False])
def test_what_the_application_did_not_find_valid_is_not_prepared(verdict: bool | None) -> None:
    """Not before it answers, and not after it refused; nor is a COMMIT sent on the word of others."""
    one = One()
    one.judges = lambda _candidate: verdict
    assert one.hear(proposal(1), prepare(1, 0), prepare(1, 2), prepare(1, 3)) == []
    assert one.state.slots[1].check is (Check.ASKED if verdict is None else Check.REFUSED)
    assert len(one.checks) == 1, "it is asked once"


def test_payloads_are_checked_in_order_each_above_what_is_valid() -> None:
    """Height 2 waits for 1, and is asked with the payload of 1 as its parent."""
    one = One()
    one.hear(proposal(2, B))
    assert one.checks == []
    one.hear(proposal(1, A))
    assert [(item.height, item.parents, item.fresh, item.view) for item in one.checks] == [
        (1, (), True, 0),
        (2, (A,), True, 0),
    ]
    assert {item.proposer for item in one.checks} == {PUBLIC[0]}
    one.judges = lambda candidate: candidate.height != 3
    one.hear(proposal(3, C), proposal(4, C))
    assert [item.height for item in one.checks] == [1, 2, 3], "nothing above what was refused"


def test_the_first_proposal_of_a_slot_counts_and_another_convicts() -> None:
    one = One()
    assert one.hear(proposal(1, A), proposal(1, A)) == [prepare(1, 1, A)]
    assert one.last.evidence == []
    assert one.hear(proposal(1, B)) == []
    (found,) = one.last.evidence
    assert (found.first, found.second) == tuple(encode(proposal(1, item).pre_prepare) for item in (A, B))
    assert encode(found) in one.last.put.values()
    assert one.state.slots[1].digest == payload_digest(A)


def test_a_proposal_of_an_earlier_view_is_kept_as_a_payload_only() -> None:
    """It may turn out to be committed; it gets no vote, and convicts nobody."""
    one = One()
    one.hear(fresh_view(2))
    assert one.hear(proposal(1, A), proposal(1, B)) == []
    assert one.last.evidence == []
    assert set(one.state.slots[1].payloads.values()) == {A, B}
    assert one.state.slots[1].digest is None


def test_payloads_that_nothing_refers_to_are_few() -> None:
    """And what is proposed, prepared or committed is not among those that go."""
    one = One()
    one.commit(1, A)
    one.hear(fresh_view(2), proposal(1, B, 2))
    for number in range(3 * PAYLOADS_MAX):
        one.hear(proposal(1, b"%d" % number))
    held = one.state.slots[1].payloads.values()
    assert {A, B} <= set(held)
    assert len(held) <= PAYLOADS_MAX


# --- COMMIT ---------------------------------------------------------------------------------------


def test_a_quorum_of_prepares_is_committed_durably_with_its_certificate() -> None:
    """Own PREPARE and q-1 others for the same payload; exactly q signatures, ordered by key."""
    one = One()
    assert one.hear(proposal(1), prepare(1, 3)) == [prepare(1, 1)]
    (vote,) = one.hear(prepare(1, 0))
    assert vote == commit(1, 1)
    shown = Prepared(0, 1, payload_digest(A), tuple((PUBLIC[i], prepare(1, i).signature) for i in (0, 1, 3)))
    assert one.last.put == {commit_key(1): encode(CommitRow(shown, vote))}
    assert one.hear(prepare(1, 2)) == [], "once"


def test_prepares_for_another_payload_count_for_nothing() -> None:
    one = One()
    one.hear(proposal(1, A), prepare(1, 0, B), prepare(1, 2, B), prepare(1, 3, A))
    assert PUBLIC[1] not in one.state.slots[1].commits


def test_no_commit_without_an_own_prepare() -> None:
    """An observer, or a replica whose application refuses, commits nothing on others' word."""
    observer = One(5)
    assert observer.hear(proposal(1), *(prepare(1, index) for index in (0, 1, 2, 3))) == []


def test_the_first_prepare_of_a_sender_counts_and_another_convicts() -> None:
    one = One()
    one.hear(proposal(1, A), prepare(1, 3, B), prepare(1, 3, A))
    assert [(found.first, found.second) for found in one.last.evidence] == [
        (encode(prepare(1, 3, B)), encode(prepare(1, 3, A)))
    ]
    assert one.hear(prepare(1, 0, A)) == [], "own and one more, as the first of 3 was for another"
    assert kinds(one.hear(prepare(1, 2, A))) == ["Commit"]


def test_prepares_count_in_their_own_view_only() -> None:
    """Two from view 0 and one's own of view 2 are no quorum."""
    one = One()
    one.hear(proposal(1, A), fresh_view(2), prepare(1, 0, A), prepare(1, 3, A))
    assert one.hear(proposal(1, A, 2)) == [prepare(1, 1, A, 2)]
    assert PUBLIC[1] not in one.state.slots[1].commits
    assert len(one.state.slots[1].prepares) == 1


def test_a_height_is_committed_again_in_a_higher_view() -> None:
    one = One()
    one.commit(1, A)
    one.hear(new_view(2, *(view_change(2, index, items=(prepared(1, A),)) for index in (0, 2, 3))))
    (vote,) = one.hear(prepare(1, 0, A, 2), prepare(1, 2, A, 2))
    assert vote == commit(1, 1, A, 2)
    assert one.state.slots[1].prepared is not None
    assert one.state.slots[1].prepared.view == 2


# --- deciding and delivering ----------------------------------------------------------------------


def test_a_quorum_of_commits_decides_whatever_view_the_replica_is_in() -> None:
    one = One()
    one.hear(proposal(1))
    one.expire()
    assert one.delivered == []
    one.hear(commit(1, 0), commit(1, 2))
    assert one.delivered == []
    one.hear(commit(1, 3))
    assert one.delivered == [(1, A)]


@pytest.mark.parametrize(
    "votes",
    [
        (commit(1, 0), commit(1, 2)),
        (commit(1, 0, A, 0), commit(1, 2, A, 2), commit(1, 3, A, 2)),
        (commit(1, 0, A), commit(1, 2, B), commit(1, 3, B)),
        (commit(1, 0), commit(1, 0), commit(1, 0)),
    ],
    ids=["two of four", "of two views", "for two payloads", "of one sender"],
)
def test_less_than_a_quorum_for_one_slot_and_payload_decides_nothing(votes: tuple[Commit, ...]) -> None:
    one = One()
    one.judges = lambda _candidate: None
    one.hear(proposal(1), *votes)
    assert one.delivered == []
    assert one.state.slots[1].committed is None


def test_the_commit_of_the_highest_view_of_each_sender_counts() -> None:
    """One that comes late and is older takes nothing back; two of one view that differ convict."""
    one = One()
    one.judges = lambda _candidate: None
    one.hear(proposal(1), commit(1, 0, A, 2), commit(1, 0, A, 0), commit(1, 2, A, 2), commit(1, 3, A, 2))
    assert one.delivered == [(1, A)]
    one = One()
    one.hear(commit(1, 0, A, 0), commit(1, 0, A, 2))
    assert one.state.slots[1].commits[PUBLIC[0]].view == 2
    one.hear(commit(1, 0, B, 2))
    assert len(one.last.evidence) == 1


def test_decided_heights_are_delivered_in_order_each_once() -> None:
    one = One()
    one.judges = lambda _candidate: None
    one.hear(proposal(2, B), *(commit(2, index, B) for index in (0, 2, 3)))
    assert one.delivered == []
    one.hear(proposal(1, A), *(commit(1, index, A) for index in (0, 2, 3)))
    assert one.delivered == [(1, A), (2, B)]
    one.hear(commit(1, 1, A), commit(2, 1, B))
    assert one.delivered == [(1, A), (2, B)]


def test_a_decided_payload_that_is_unknown_is_fetched_and_only_that_is_taken() -> None:
    one = One()
    one.hear(*(commit(1, index, A) for index in (0, 2, 3)))
    assert one.state.missing_payloads() == ((1, payload_digest(A)),)
    one.hear(PayloadReply(1, B), PayloadReply(7, A))
    assert one.delivered == []
    assert one.state.slots[1].payloads == {}
    one.hear(PayloadReply(1, A))
    assert one.delivered == [(1, A)]
    assert one.state.missing_payloads() == ()


def test_what_is_decided_needs_no_judgement_and_is_voted_for() -> None:
    """The application has not answered, or comes later: others decided that it is valid."""
    one = One()
    one.judges = lambda _candidate: None
    one.executes = False
    one.hear(*(commit(1, index) for index in (0, 2, 3)))
    assert one.hear(proposal(1)) == [prepare(1, 1)]
    assert one.checks == []


def test_a_proposal_for_an_executed_height_that_is_not_what_was_decided_gets_no_vote() -> None:
    """In the same view it is the primary's fault alone; nobody halts."""
    one = One()
    one.hear(*(commit(1, index, B) for index in (0, 2, 3)))
    assert one.hear(proposal(1, A)) == []
    assert one.state.halted == ""


@pytest.mark.parametrize(("view", "halts"), [(2, True), (0, False)])
def test_another_payload_above_the_view_of_a_decision_halts_the_replica(view: int, halts: bool) -> None:
    """A quorum of view changes hid what was prepared: more than f are faulty."""
    one = One()
    one.executes = False
    decided = 0 if halts else 2
    one.hear(*(commit(1, index, A, decided) for index in (0, 2, 3)))
    if view:
        one.hear(new_view(2, *(view_change(2, index, items=(prepared(1, B),)) for index in (0, 2, 3))))
    else:
        one.hear(proposal(1, B))
    assert bool(one.state.halted) == halts
    assert ("more than f replicas are faulty" in one.state.halted) == halts
    if halts:
        assert one.hear(proposal(2, C), commit(1, 3)) == [], "and wants nothing any more"
        assert 2 not in one.state.slots, "nor takes anything"


# --- the window, and what comes too early ---------------------------------------------------------


def test_votes_beyond_the_window_wait_and_those_far_beyond_are_dropped() -> None:
    """W is 2: heights 1 and 2 are in flight, 3 and 4 are held, 5 is not."""
    one = One(window=2)
    one.hear(*(commit(height, 0) for height in (2, 3, 4, 5)))
    assert sorted(one.state.slots) == [2]
    assert sorted(key[2] for key in one.state.future) == [3, 4]
    one.certify(1)
    assert sorted(one.state.slots) == [2, 3]
    assert PUBLIC[0] in one.state.slots[3].commits
    assert sorted(key[2] for key in one.state.future) == [4]


def test_of_what_waits_the_latest_view_of_each_sender_and_kind_is_kept() -> None:
    one = One(window=2)
    one.hear(prepare(4, 0, A, 3), prepare(4, 0, B, 2), prepare(4, 2, A, 1), commit(4, 0, A, 3))
    held = {(key[0], key[1]): message for key, message in one.state.future.items()}
    assert held[PUBLIC[0], "prepare"] == prepare(4, 0, A, 3)
    assert len(held) == 3
    one.hear(prepare(4, 0, B, 3))
    assert len(one.state.future) == 3


def test_what_waited_for_a_certified_height_is_dropped() -> None:
    one = One()
    one.hear(prepare(1, 0, A, 5), prepare(2, 0, A, 5))
    one.certify(1)
    assert [key[2] for key in one.state.future] == [2]


def test_nothing_of_the_next_epoch_is_voted_for_before_this_one_ends() -> None:
    """The window would reach beyond it."""
    epochs = (Epoch(0, PUBLIC[:4]), Epoch(3, PUBLIC[:5]))
    one = One(epochs=epochs)
    assert one.state.high_watermark == 2
    one.hear(proposal(1, A), proposal(2, B), proposal(3, C))
    assert sorted(one.state.slots) == [1, 2]
    assert one.state.slot(3) is None


# --- proposing ------------------------------------------------------------------------------------


def test_the_primary_proposes_the_next_free_height_with_its_parents() -> None:
    one = One(0)
    assert one.state.turn() == Turn(1, 0, (), 0, 0)
    sent = one.hear(Proposed(1, 0, A))
    assert kinds(sent) == ["Proposal", "Prepare"]
    assert only(Proposal, sent) == proposal(1, A)
    assert only(Prepare, sent) == prepare(1, 0, A)
    assert one.last.put[payload_key(1, payload_digest(A))] == A
    assert one.state.turn() == Turn(2, 0, (A,), 1, 0)
    assert one.checks == [], "it does not judge its own"


@pytest.mark.parametrize(
    "made", [Proposed(2, 0, A), Proposed(1, 1, A), Proposed(1, 0, b"")], ids=["height", "view", "empty"]
)
def test_a_payload_made_for_another_turn_or_empty_is_not_proposed(made: Proposed) -> None:
    one = One(0)
    assert one.hear(made) == []
    assert one.state.slots == {}


def test_who_is_not_primary_or_lacks_parents_or_blocks_has_no_turn() -> None:
    assert One(1).state.turn() is None
    assert One(5).state.turn() is None
    behind = One(0)
    behind.hear(certificate(9))
    assert behind.state.turn() is None
    full = One(0, window=2)
    full.hear(Proposed(1, 0, A), Proposed(2, 0, B))
    assert full.state.turn() is None, "the window is full"
    silent = One(0, wiped=True)
    assert silent.state.turn() is None
    waits = One(0, rotation=2)
    assert waits.state.turn() is not None
    waits.hear(Proposed(1, 0, A))
    assert waits.state.turn() is None, "another leads from height 2 on"


def test_a_decided_height_is_nobodys_turn() -> None:
    one = One(0)
    one.executes = False
    one.hear(*(commit(1, index) for index in (1, 2, 3)))
    assert one.state.turn() is None
    one.hear(PayloadReply(1, A))
    assert one.delivered == [(1, A)]
    assert one.state.turn() == Turn(2, 0, (A,), 0, 0)


def test_parents_are_what_was_decided_or_else_what_is_valid_here() -> None:
    one = One(0)
    one.executes = False
    one.hear(Proposed(1, 0, A), Proposed(2, 0, B))
    assert one.state.parents(3) == (A, B)
    one.hear(*(commit(2, index, C) for index in (1, 2, 3)))
    assert one.state.parents(3) is None, "another was decided at 2, and is unknown"
    one.hear(PayloadReply(2, C))
    assert one.state.parents(3) == (A, C)
    assert one.state.parents(5) is None
    assert one.state.parents(1) == ()


def test_a_contradiction_is_recorded_once_per_sender_and_kind() -> None:
    """However often it is shown; another kind and another sender are others."""
    one = One()
    for _ in range(2):
        one.hear(prepare(1, 0, A), prepare(1, 0, B), prepare(2, 0, A), prepare(2, 0, B))
    one.hear(checkpoint(1, 0), checkpoint(1, 0, bytes(32)), commit(1, 2, A), commit(1, 2, B))
    recorded = [key for key in one.rows if key[:1] == b"e"]
    assert len(recorded) == len(one.state.accused) == 3


def test_a_replica_without_pending_requests_waits_for_what_is_in_flight() -> None:
    one = One()
    assert one.state.waiting() is None
    one.hear(proposal(1))
    wait = one.state.waiting()
    assert wait is not None
    assert (wait.kind, wait.height) == ("progress", 0)
    one.hear(Pending(True), Pending(False))
    assert one.state.waiting() == wait
    one.hear(Checked(1, 0, payload_digest(A), True))
    assert one.state.waiting() == wait
