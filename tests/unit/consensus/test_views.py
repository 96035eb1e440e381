"""View changes of one replica: when it asks, joins, leads and enters, what it shows, what it refuses."""

from __future__ import annotations

import pytest

from chain.primitives.certificate import Epoch
from chain.primitives.codec import encode
from consensus.events import Checked, Expired, Pending, Retransmit, Synced, Wait
from consensus.messages import (
    NULL_DIGEST,
    NULL_REQUEST,
    NewView,
    PayloadReply,
    Prepare,
    Prepared,
    ViewChange,
    payload_digest,
)
from consensus.selection import base_height, choose_reproposals, select_quorum
from consensus.votes import NEW_VIEW, VIEW_CHANGE, PrepareRow, recall
from tests.unit.consensus.onereplica import (
    PUBLIC,
    A,
    B,
    C,
    One,
    certificate,
    checkpoint,
    commit,
    kinds,
    new_view,
    only,
    prepare,
    prepared,
    proposal,
    status,
    view_change,
)


def votes_for(view: int, items: tuple[Prepared, ...] = (), base: int = 0) -> NewView:
    """The NEW-VIEW of three view changes that show the same."""
    return new_view(view, *(view_change(view, index, base, items) for index in (0, 2, 3)))


# --- asking ---------------------------------------------------------------------------------------


def test_a_view_change_shows_the_latest_prepared_certificate_of_each_height() -> None:
    """Two heights committed in view 0, of which the first is prepared again in view 2."""
    one = One()
    one.commit(1, A)
    one.commit(2, B)
    one.hear(votes_for(2, (prepared(1, A), prepared(2, B))), prepare(1, 0, A, 2), prepare(1, 2, A, 2))
    change = only(ViewChange, one.expire())
    assert (change.view, change.certificate) == (3, None)
    assert [(item.view, item.height) for item in change.prepared] == [(2, 1), (0, 2)]
    assert all(len(item.signatures) == 3 for item in change.prepared)


def test_a_view_change_shows_the_last_certificate_and_nothing_at_or_below_it() -> None:
    one = One()
    one.certify(1, A)
    one.commit(2, B)
    change = only(ViewChange, one.expire())
    assert change.certificate == one.state.certificate
    assert [item.height for item in change.prepared] == [2]


def test_a_view_change_is_durable_in_the_step_that_sends_it() -> None:
    one = One()
    one.hear(proposal(1))
    (sent,) = one.expire()
    assert one.last.put[VIEW_CHANGE] == encode(sent)


def test_who_asked_for_a_view_gives_no_vote_below_it() -> None:
    """What was under way in view 0 is over: no PREPARE, no COMMIT, though a quorum prepares."""
    one = One()
    one.hear(proposal(1), prepare(1, 0))
    one.expire()
    assert one.hear(prepare(1, 2), prepare(1, 3), proposal(2), prepare(2, 0), prepare(2, 2)) == []
    assert one.state.turn() is None


def test_a_timer_that_ends_late_asks_for_nothing() -> None:
    """What it waited for was delivered meanwhile, or another view was entered."""
    one = One()
    one.hear(proposal(1))
    wait = one.state.waiting()
    assert wait is not None
    one.decide(1)
    assert one.hear(Expired(wait)) == []
    assert one.hear(Expired(Wait("progress", 0, 7))) == []
    assert one.state.view == 0


@pytest.mark.parametrize(("voters", "waits"), [((3,), False), ((2, 3), True)])
def test_votes_start_a_timer_only_if_a_correct_replica_is_among_them(
    voters: tuple[int, ...], waits: bool
) -> None:
    """One liar alone cannot pretend that a height is being decided."""
    one = One()
    one.hear(*(commit(1, index) for index in voters))
    assert (one.state.waiting() is not None) == waits
    one = One()
    one.hear(*(prepare(1, index) for index in voters))
    assert (one.state.waiting() is not None) == waits


def test_no_timer_runs_for_a_new_view_before_a_quorum_asks_for_it() -> None:
    one = One()
    one.hear(Pending(True))
    assert one.state.waiting() == Wait("progress", 0, 0)
    one.expire()
    assert one.state.waiting() is None
    one.state.view_changes[PUBLIC[0]] = view_change(1, 0)
    assert one.state.waiting() is None
    one.state.view_changes[PUBLIC[2]] = view_change(1, 2)
    assert one.state.waiting() == Wait("new-view", 1, 0)


def test_no_timer_runs_where_nothing_is_owed() -> None:
    """Idle, with the window full, with blocks missing, or where it does not vote."""
    one = One(window=1)
    assert one.state.waiting() is None
    one.hear(Pending(True))
    one.decide(1)
    assert one.state.waiting() == Wait("certificate", 0, 0), "the window of one height is full"
    one.hear(certificate(9))
    assert one.state.waiting() is None, "first the blocks up to 9"
    observer = One(5)
    observer.hear(Pending(True), proposal(1))
    assert observer.state.waiting() is None


# --- joining --------------------------------------------------------------------------------------


def test_f_plus_one_views_above_ours_are_followed_to_the_smallest() -> None:
    one = One()
    assert one.hear(view_change(7, 0)) == []
    change = only(ViewChange, one.hear(view_change(3, 2)))
    assert change.view == 3
    assert (one.state.view, one.state.active) == (3, False)


def test_observers_follow_nobody_to_a_view() -> None:
    observer = One(5)
    assert observer.hear(view_change(1, 0), view_change(1, 2), view_change(1, 3)) == []
    assert observer.state.view == 0


def test_the_latest_view_change_of_each_sender_counts() -> None:
    """An older one changes nothing; two of one view that differ convict."""
    one = One()
    one.hear(view_change(5, 3), view_change(4, 3))
    assert one.state.view_changes[PUBLIC[3]].view == 5
    assert one.last.evidence == []
    one.hear(view_change(5, 3, 0, (prepared(1),)))
    assert len(one.last.evidence) == 1
    assert one.state.view_changes[PUBLIC[3]].prepared == ()
    one.hear(view_change(6, 3))
    assert one.state.view_changes[PUBLIC[3]].view == 6


def test_view_changes_of_other_epochs_count_for_nothing_in_this_one() -> None:
    """Those of a later one wait until we are there; those of an earlier one are dropped."""
    epochs = (Epoch(0, PUBLIC[:4]), Epoch(7, PUBLIC[:5]))
    one = One(certified=5, epochs=epochs)
    later = [view_change(1, index, 6, epoch=7) for index in (0, 2, 3)]
    one.hear(*later)
    assert one.state.view == 0
    assert one.state.asking() == []
    one.hear(Synced(certificate(6)))
    assert one.state.epoch.first == 7
    assert one.state.view == 1, "f+1 of the new set ask for it"
    before = len(one.state.view_changes)
    one.hear(view_change(9, 3, 5))
    assert one.state.view_changes[PUBLIC[3]] == later[2]
    assert len(one.state.view_changes) == before


def test_nothing_of_an_epoch_before_is_kept_in_the_next() -> None:
    epochs = (Epoch(0, PUBLIC[:4]), Epoch(7, PUBLIC[:5]))
    one = One(certified=5, executed=6, epochs=epochs)
    one.hear(votes_for(2, base=5), view_change(3, 3, 5))
    assert (one.state.view, one.state.base, one.state.fresh_from) == (2, 5, 6)
    one.hear(checkpoint(6, 0), checkpoint(6, 2))
    state = one.state
    assert (state.view, state.active, state.good_view, state.new_view) == (0, True, 0, None)
    assert (state.view_changes, state.base, state.fresh_from) == ({}, 6, 7)


# --- leading --------------------------------------------------------------------------------------


def test_the_leader_starts_a_view_with_a_quorum_and_not_before() -> None:
    """Its own view change counts among them; it enters what it sends, durably."""
    one = One()
    one.commit(1, A)
    one.expire()
    assert one.hear(view_change(1, 0)) == []
    sent = one.hear(view_change(1, 3))
    message = only(NewView, sent)
    assert [change.sender for change in message.view_changes] == [PUBLIC[0], PUBLIC[1], PUBLIC[3]]
    assert message.reproposals == ((1, payload_digest(A)),)
    assert recall(sorted(one.rows.items())).new_view == message
    assert kinds(sent) == ["NewView", "Prepare"]
    assert (one.state.view, one.state.active) == (1, True)
    assert one.hear(view_change(1, 2)) == [], "once"


@pytest.mark.parametrize("view", [2, 3, 4])
def test_who_does_not_lead_a_view_does_not_start_it(view: int) -> None:
    one = One()
    sent = one.hear(*(view_change(view, index) for index in (0, 2, 3)))
    assert kinds(sent) == ["ViewChange"]
    assert not one.state.active


def test_who_did_not_ask_for_a_view_does_not_start_it() -> None:
    """The leader of view 1 that has moved on to view 2 itself."""
    one = One()
    one.hear(view_change(2, 0), view_change(2, 3))
    assert one.state.view == 2
    assert one.hear(view_change(1, 2), Retransmit())[0].view == 2


def test_the_quorum_that_a_leader_shows_has_the_highest_certificate_it_can_lead_with() -> None:
    one = One(n=5, certified=2)
    one.hear(Pending(True))
    one.expire()
    sent = one.hear(view_change(1, 0, 1), view_change(1, 2, 1), view_change(1, 3, 1), view_change(1, 4, 2))
    shown = only(NewView, sent).view_changes
    assert len(shown) == 4
    assert max(change.certificate.height for change in shown if change.certificate) == 2


def test_the_highest_certificate_is_shown_whoever_has_it() -> None:
    """Of five that asked, four are shown: the last in order is among them if it knows most."""
    changes = [view_change(1, index, 1) for index in range(4)] + [view_change(1, 4, 2)]
    shown = select_quorum(changes, 4)
    assert [change.sender for change in shown] == [PUBLIC[index] for index in (0, 1, 2, 4)]


def test_without_any_certificate_a_view_begins_at_genesis() -> None:
    assert base_height(()) == base_height([view_change(1, 0)]) == 0
    assert choose_reproposals(()) == ()


def test_a_certificate_that_leads_elsewhere_does_not_keep_a_quorum_without_it_from_leading() -> None:
    """With a tenure of four heights, view 1 above height 3 is led by another than below it."""
    one = One(n=5, rotation=4, certified=2)
    one.hear(Pending(True))
    one.expire()
    higher = view_change(1, 4, 3)
    sent = one.hear(higher, view_change(1, 0, 2), view_change(1, 2, 2), view_change(1, 3, 2))
    assert [change.sender for change in only(NewView, sent).view_changes] == list(PUBLIC[:4])


# --- entering -------------------------------------------------------------------------------------


def test_entering_a_view_is_durable_before_any_vote_in_it() -> None:
    one = One()
    entered = votes_for(2, (prepared(1),))
    one.hear(proposal(1))
    sent = one.hear(entered)
    assert kinds(sent) == ["Prepare"]
    rows = recall(sorted(one.rows.items()))
    assert rows.new_view == entered
    assert rows.prepares[1].view == 2


def test_reproposals_are_prepared_and_asked_for_as_such() -> None:
    """The application is told that age, view and proposer are not to be judged again, but it is asked."""
    one = One()
    one.judges = lambda candidate: candidate.payload != B
    one.hear(votes_for(2, (prepared(1, A), prepared(2, B))))
    assert [(slot.digest, slot.claim) for slot in one.state.slots.values()] == [
        (payload_digest(A), None),
        (payload_digest(B), None),
    ]
    assert one.state.missing_payloads() == ((1, payload_digest(A)), (2, payload_digest(B)))
    sent = one.hear(PayloadReply(1, A), PayloadReply(2, B))
    assert [(vote.height, vote.view) for vote in sent if isinstance(vote, Prepare)] == [(1, 2)]
    assert [(item.height, item.fresh, item.proposer) for item in one.checks] == [
        (1, False, PUBLIC[2]),
        (2, False, PUBLIC[2]),
    ]
    assert [item.parents for item in one.checks] == [(), (A,)]


def test_a_gap_is_prepared_without_asking_anybody() -> None:
    one = One()
    sent = one.hear(votes_for(2, (prepared(2, A),)))
    assert [(vote.height, vote.payload_digest) for vote in sent] == [(1, NULL_DIGEST)]
    assert one.checks == []
    assert one.state.slots[1].payload() == NULL_REQUEST


def test_fresh_proposals_begin_above_the_reproposals_and_gaps() -> None:
    """Heights 1 (a null request), 2 (unknown payload): nothing else there; 3 is free."""
    one = One()
    one.hear(votes_for(2, (prepared(2, A),)))
    assert one.state.fresh_from == 3
    assert one.hear(proposal(1, C, 2), proposal(2, C, 2)) == []
    assert one.state.slots[2].digest == payload_digest(A)
    one.hear(proposal(3, C, 2))
    assert one.state.slots[3].digest == payload_digest(C)


def test_nothing_fresh_is_accepted_at_or_below_the_height_that_a_view_began_above() -> None:
    """It is certified; who lacks it gets it by sync, and does not vote on anything else there."""
    one = One()
    one.hear(votes_for(2, base=3))
    assert one.hear(*(proposal(height, C, 2) for height in (1, 2, 3))) == []
    assert {slot.digest for slot in one.state.slots.values()} <= {None}
    one.hear(proposal(4, C, 2))
    assert one.state.slots[4].digest == payload_digest(C)


def test_a_leader_proposes_above_its_reproposals() -> None:
    one = One(2)
    one.commit(1, A)
    one.hear(proposal(2, B))
    one.hear(Pending(True), *(view_change(2, index, 0, (prepared(1, A),)) for index in (0, 1, 3)))
    assert one.state.active
    turn = one.state.turn()
    assert turn is not None
    assert (turn.height, turn.view, turn.parents, turn.in_flight, turn.base) == (2, 2, (A,), 1, 0)


@pytest.mark.parametrize("views", [(2, 2), (3, 2)])
def test_a_view_is_not_entered_twice_and_none_below_the_present_one(views: tuple[int, int]) -> None:
    one = One()
    present, later = votes_for(views[0]), votes_for(views[1], (prepared(1),))
    one.hear(present, proposal(1, A, views[0]))
    assert one.hear(later) == []
    assert one.state.new_view == present
    assert one.state.slots[1].claim is not None


def test_a_view_above_the_one_asked_for_is_entered() -> None:
    one = One()
    one.hear(Pending(True))
    one.expire()
    one.hear(votes_for(3))
    assert (one.state.view, one.state.active) == (3, True)
    one.expire()
    one.hear(votes_for(4))
    assert (one.state.view, one.state.active) == (4, True), "and the very one asked for"


def test_the_certificates_in_a_new_view_are_learnt() -> None:
    """Height 1 is executed here and was not certified; the view begins above it."""
    one = One()
    one.decide(1)
    assert one.state.certified == 0
    one.hear(votes_for(2, base=1))
    assert one.state.certified == 1
    assert (one.state.base, one.state.fresh_from) == (1, 2)
    one.hear(votes_for(3, base=5))
    assert one.state.behind == certificate(5), "what is not executed here becomes the target"


def test_the_certificate_in_a_view_change_is_learnt_whatever_becomes_of_it() -> None:
    """Also of one that is older than what its sender said, or of an epoch that is over."""
    one = One()
    one.decide(1)
    one.hear(view_change(5, 3))
    one.hear(view_change(4, 3, 1))
    assert one.state.certified == 1
    one.hear(view_change(3, 2, 6))
    assert one.state.behind == certificate(6)


def test_a_new_view_of_a_later_epoch_tells_how_far_behind_we_are() -> None:
    epochs = (Epoch(0, PUBLIC[:4]), Epoch(7, PUBLIC[:5]))
    one = One(certified=2, epochs=epochs)
    later = new_view(1, *(view_change(1, index, 6, epoch=7) for index in (0, 2, 3, 4)), epoch=7)
    assert one.hear(later) == []
    assert (one.state.view, one.state.new_view) == (0, None)
    assert one.state.behind == certificate(6)


def test_held_votes_of_a_view_count_once_it_is_entered() -> None:
    """A proposal and a PREPARE that overtook the NEW-VIEW; a COMMIT counts at once."""
    one = One()
    assert one.hear(proposal(1, A, 2), prepare(1, 2, A, 2), prepare(1, 0, A, 2)) == []
    assert len(one.state.future) == 3
    assert kinds(one.hear(votes_for(2))) == ["Prepare", "Commit"]
    assert one.state.future == {}


def test_what_was_asked_of_the_application_before_is_void_in_the_next_view() -> None:
    """Its answer comes late: the slot has another proposal by then, or the same one of another view."""
    one = One()
    one.judges = lambda _candidate: None
    one.hear(proposal(1, A), votes_for(2), proposal(1, A, 2))
    assert one.hear(Checked(1, 0, payload_digest(A), True)) == []
    assert one.hear(Checked(1, 2, payload_digest(B), True)) == []
    assert one.hear(Checked(9, 2, payload_digest(A), True)) == []
    assert kinds(one.hear(Checked(1, 2, payload_digest(A), True))) == ["Prepare"]
    assert one.hear(Checked(1, 2, payload_digest(A), False)) == [], "it has been judged"


def test_a_new_view_in_memory_is_sent_to_who_is_behind_and_a_view_change_to_who_is_not_asked() -> None:
    one = One()
    entered = votes_for(2)
    one.hear(entered)
    assert one.hear(status(3, view=1)) == [entered]
    assert one.hear(status(3, view=2, active=False)) == [entered]
    assert one.hear(status(3, view=2)) == []
    one.hear(Pending(True))
    (asked,) = one.expire()
    assert one.hear(status(3, view=2)) == [asked]
    assert one.hear(status(3, view=3, active=False)) == [asked]
    assert one.hear(status(3, view=4)) == []


def test_votes_of_a_view_are_durable_with_their_view() -> None:
    """The PREPARE of a re-proposal has no claim of a primary."""
    one = One()
    one.hear(proposal(1, A))
    assert _accepted(one).claim is not None
    one.hear(votes_for(2, (prepared(1, A),)))
    assert (_accepted(one).view, _accepted(one).claim) == (2, None)


def _accepted(one: One) -> PrepareRow:
    return recall(sorted(one.rows.items())).prepares[1]


def test_the_row_of_a_view_is_that_of_the_last_one_entered() -> None:
    one = One()
    for entered in (votes_for(2), votes_for(3)):
        one.hear(entered)
        assert one.rows[NEW_VIEW] == encode(entered)
