"""What a replica brings back from its votes: it says the same again, and shows what it committed."""

from __future__ import annotations

import dataclasses

import pytest

from chain.primitives.certificate import Epoch
from chain.primitives.codec import encode
from consensus.authenticity import Verifier
from consensus.errors import VotesDamaged
from consensus.events import Head, Retransmit
from consensus.messages import NULL_DIGEST, NULL_REQUEST, PayloadReply, ViewChange, payload_digest
from consensus.restart import revive
from consensus.slot import PAYLOADS_MAX, Check
from consensus.votes import (
    BIRTH,
    NEW_VIEW,
    VIEW_CHANGE,
    StoredVotes,
    commit_key,
    payload_key,
    prepare_key,
    recall,
)
from tests.unit.consensus.onereplica import (
    NONCE,
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
    status,
    view_change,
)


def test_a_view_change_after_a_restart_shows_what_was_committed_before_it() -> None:
    """Two heights, one of them committed in a later view than it was first prepared in."""
    one = One()
    one.commit(1, A)
    one.commit(2, B)
    one.restart()
    change = only(ViewChange, one.expire())
    assert [(item.view, item.height, item.payload_digest) for item in change.prepared] == [
        (0, 1, payload_digest(A)),
        (0, 2, payload_digest(B)),
    ]


def test_votes_are_sent_again_after_a_restart_as_they_were() -> None:
    one = One()
    before = one.hear(proposal(1), prepare(1, 0), prepare(1, 2))
    assert kinds(before) == ["Prepare", "Commit"]
    one.restart()
    assert one.announced == [], "not before somebody lacks them"
    assert one.hear(status(3)) == before
    assert one.hear(prepare(1, 0), prepare(1, 2), prepare(1, 3)) == [], "nothing is signed anew"


def test_a_prepare_counts_towards_the_quorum_after_a_restart() -> None:
    """Own PREPARE from before, two others' after it: a COMMIT."""
    one = One()
    one.hear(proposal(1))
    one.restart()
    assert one.hear(prepare(1, 0)) == []
    assert kinds(one.hear(prepare(1, 2))) == ["Commit"]


def test_a_restarted_replica_knows_that_what_it_voted_for_is_valid() -> None:
    """It is not judged again: the application might refuse it now, for its age."""
    one = One()
    one.hear(proposal(1))
    one.restart()
    assert one.state.slots[1].check is Check.VALID
    assert one.hear(prepare(1, 0), prepare(1, 2)) != []
    assert len(one.checks) == 1


def test_a_proposal_of_an_earlier_view_does_not_stand_in_the_way_of_the_present_one() -> None:
    """Prepared in view 0, then view 1 was entered, then came the crash: view 1 may propose anything there."""
    one = One()
    one.hear(proposal(1, A))
    one.hear(fresh_view(2))
    one.restart()
    assert (one.state.view, one.state.active) == (2, True)
    assert one.state.slots[1].digest is None
    assert kinds(one.hear(proposal(1, B, view=2))) == ["Prepare"]


def test_the_reproposals_of_a_view_are_known_again_after_a_restart() -> None:
    """Nobody repeats them but a NEW-VIEW; fresh proposals begin above them."""
    one = One()
    entered = new_view(2, *(view_change(2, index, items=(prepared(1, A),)) for index in (0, 2, 3)))
    one.hear(entered)
    one.restart()
    assert one.state.reproposals == {1: payload_digest(A)}
    assert one.state.fresh_from == 2
    assert one.hear(proposal(1, B, view=2)) == [], "at a re-proposed height nothing else is accepted"
    assert one.hear(status(3, view=1)) == [entered], "who is behind gets the NEW-VIEW from us"


def test_a_replica_that_asked_for_a_view_asks_the_same_again_and_votes_no_lower() -> None:
    one = One()
    one.commit(1)
    asked = only(ViewChange, one.expire())
    one.restart()
    assert (one.state.view, one.state.active) == (1, False)
    assert one.hear(proposal(2), prepare(2, 0), prepare(2, 2)) == []
    assert asked in one.hear(Retransmit())
    sent = one.hear(view_change(1, 0), view_change(1, 2))
    assert kinds(sent) == ["NewView", "Prepare"], "and it leads the view"


def test_a_replica_that_entered_the_view_it_had_asked_for_is_active_in_it() -> None:
    one = One()
    one.commit(1)
    one.expire()
    one.hear(view_change(1, 0), view_change(1, 2))
    one.restart()
    assert (one.state.view, one.state.active) == (1, True)
    assert one.state.good_view == 1, "timeouts begin anew"


def test_views_of_an_epoch_before_are_forgotten_on_a_start() -> None:
    """Both the one entered and the one asked for."""
    epochs = (Epoch(0, PUBLIC[:4]), Epoch(7, PUBLIC[:5]))
    one = One(certified=6, epochs=epochs)
    one.rows[NEW_VIEW] = encode(fresh_view(2))
    one.rows[VIEW_CHANGE] = encode(view_change(5, 1))
    one.restart()
    assert (one.state.view, one.state.active, one.state.new_view) == (0, True, None)


def test_a_muted_replica_stays_muted_over_restarts() -> None:
    """Its votes were lost in this epoch: it gives none in it, asks for no view, leads none."""
    one = One(wiped=True)
    one.hear(status(0, answers=NONCE), status(2, answers=NONCE))
    assert one.state.lost.muted == 0
    assert BIRTH in one.rows
    for _ in range(2):
        assert one.hear(proposal(1), prepare(1, 0), prepare(1, 2), view_change(1, 0), view_change(1, 2)) == []
        assert one.state.waiting() is None
        one.restart()
        assert one.state.lost.muted == 0


def test_a_muted_replica_votes_again_where_another_set_takes_over() -> None:
    one = One(wiped=True, certified=5, epochs=(Epoch(0, PUBLIC[:4]), Epoch(7, PUBLIC[:5])))
    one.hear(status(0, delivered=5, answers=NONCE), status(2, delivered=5, answers=NONCE))
    for _ in range(2):
        assert [one.state.votes_on(height) for height in (6, 7)] == [False, True]
        one.restart()


def test_a_replica_without_memory_votes_on_nothing_before_it_has_listened() -> None:
    one = One(wiped=True)
    assert one.state.listening
    assert one.state.lost.nonce == NONCE
    assert one.hear(proposal(1), prepare(1, 0), prepare(1, 2)) == []
    assert BIRTH not in one.rows
    assert only(type(status(0)), one.hear(Retransmit())).asks == NONCE


def test_who_abstains_leads_no_view_though_it_had_asked_for_it() -> None:
    """An old VIEW-CHANGE of its own may come back; a quorum then asks, and it would lead."""
    one = One()
    one.commit(1)
    one.expire()
    one.restart()
    one.state.lost.muted = 0
    assert one.hear(view_change(1, 0), view_change(1, 2)) == []
    assert not one.state.active


def test_a_contradiction_on_record_is_not_recorded_again_after_a_restart() -> None:
    one = One()
    one.hear(proposal(1, A))
    for expected in (1, 0):
        one.hear(prepare(1, 3, A), prepare(1, 3, B))
        assert len(one.last.evidence) == expected
        one.restart()
    one.hear(prepare(1, 2, A), prepare(1, 2, B))
    assert len(one.last.evidence) == 1, "somebody else's is"


def test_a_vote_for_a_gap_is_known_again_without_a_payload_row() -> None:
    one = One()
    one.hear(new_view(2, *(view_change(2, index, items=(prepared(2, A),)) for index in (0, 2, 3))))
    assert one.state.slots[1].digest == NULL_DIGEST
    one.restart()
    assert one.state.slots[1].payload() == NULL_REQUEST
    one.rows.pop(payload_key(1, NULL_DIGEST), None)
    one.restart()
    assert one.state.slots[1].payload() == NULL_REQUEST


def test_what_was_executed_is_known_as_decided_after_a_restart() -> None:
    """So that no later view can have another payload there."""
    one = One()
    one.decide(1, A)
    assert one.state.certified == 0
    one.restart()
    assert one.state.slots[1].committed == payload_digest(A)
    assert one.state.slots[1].committed_view is None
    other = (prepared(1, B, view=1),)
    assert one.hear(new_view(2, *(view_change(2, index, items=other) for index in (0, 2, 3)))) == []
    assert one.state.halted == "", "its view is unknown: nothing is voted for, nor concluded"


def test_an_executed_height_whose_payload_the_ledger_did_not_give_is_not_voted_on() -> None:
    """What a new view proposes there cannot be compared with what was executed."""
    one = One(certified=3, executed=4)
    one.hear(new_view(2, *(view_change(2, index, 3, (prepared(4, B),)) for index in (0, 2, 3))))
    assert one.hear(PayloadReply(4, B)) == []
    assert one.state.slots[4].payload() == B
    assert one.checks == []


def test_checkpoints_of_executed_heights_are_signed_again() -> None:
    one = One(certified=3, executed=5)
    assert one.announced == [checkpoint(4, 1), checkpoint(5, 1)]
    assert [one.state.checkpoints[height][PUBLIC[1]] for height in (4, 5)] == [
        checkpoint(4, 1),
        checkpoint(5, 1),
    ]


def test_the_payloads_of_votes_outlive_those_that_other_views_proposed() -> None:
    """Of a height with many payloads in store a few come back, those voted for among them."""
    one = One()
    one.commit(1, A)
    many = [b"\x00%d" % number for number in range(3 * PAYLOADS_MAX)]
    one.rows |= {payload_key(1, payload_digest(payload)): payload for payload in many}
    one.restart()
    slot = one.state.slots[1]
    assert payload_digest(A) in slot.payloads
    assert len(slot.payloads) == PAYLOADS_MAX
    assert len(slot.stored) == 1 + len(many), "all of them are promised, and will be deleted"
    one.decide(1, A)
    one.hear(checkpoint(1, 0), checkpoint(1, 2))
    gone = [payload_key(1, digest) for digest in sorted(map(payload_digest, [A, *many]))]
    assert one.last.delete == [prepare_key(1), commit_key(1), *gone], "in one order everywhere"


def test_the_rows_of_heights_certified_meanwhile_are_deleted() -> None:
    one = One()
    one.commit(1, A)
    one.executed = one.certified = 1
    one.payloads[1] = A
    head = Head(certificate(1), {}, {}, {})
    replica = revive(one.rules, one.key, head, _memory(one), first_start=False, nonce=NONCE)
    assert replica.state.slots == {}
    gone = {prepare_key(1), commit_key(1), payload_key(1, payload_digest(A))}
    assert set(replica.state.out.delete) == gone


def _memory(one: One) -> StoredVotes:
    return recall(sorted(one.rows.items()))


@pytest.mark.parametrize("vote", ["accepted", "committing"])
def test_votes_that_do_not_fit_are_refused(vote: str) -> None:
    """Of another key, or without their payload."""
    one = One()
    one.commit(1, A)
    memory = _memory(one)
    memory.payloads.clear()
    with pytest.raises(VotesDamaged, match="lost its payload"):
        revive(one.rules, one.key, Head(), memory, first_start=False, nonce=NONCE)
    memory = _memory(one)
    if vote == "accepted":
        memory.prepares[1] = dataclasses.replace(memory.prepares[1], prepare=prepare(1, 2))
    else:
        memory.commits[1] = dataclasses.replace(memory.commits[1], commit=commit(1, 2))
    with pytest.raises(VotesDamaged, match="or its sender"):
        revive(one.rules, one.key, Head(), memory, first_start=False, nonce=NONCE)


def test_a_view_change_of_another_key_is_refused() -> None:
    memory = StoredVotes(birth=_memory(One()).birth, view_change=view_change(1, 2))
    with pytest.raises(VotesDamaged, match="another replica"):
        revive(One().rules, One().key, Head(), memory, first_start=False, nonce=NONCE)


def test_a_vote_of_a_later_height_alone_comes_back_too() -> None:
    """Rows of one kind may lack the other: a PREPARE without a COMMIT, payloads without either."""
    one = One()
    one.hear(proposal(1, A), proposal(2, B))
    one.rows[payload_key(3, payload_digest(C))] = C
    one.restart()
    assert [slot.digest for _, slot in sorted(one.state.slots.items())] == [
        payload_digest(A),
        payload_digest(B),
        None,
    ]
    assert one.state.slots[3].stored == {payload_digest(C)}


def test_what_the_tests_say_to_a_replica_is_genuine() -> None:
    """A replica gets such messages from a verifier only."""
    verifier = Verifier(One().rules)
    for message in (
        proposal(1),
        prepare(1, 0),
        commit(1, 0),
        checkpoint(1, 0),
        certificate(1),
        status(0),
        view_change(1, 0, 1, (prepared(2),)),
        fresh_view(2),
    ):
        verifier.check(message)
