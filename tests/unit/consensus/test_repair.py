"""What is sent again to whom, what is worth a signature check, whom a replica without memory hears."""

from __future__ import annotations

from typing import Any

import pytest

from chain.primitives.certificate import Epoch
from consensus.events import Pending, Proposed, Retransmit
from consensus.messages import Fetch, PayloadReply, Status, ViewChange, payload_digest
from consensus.relevance import relevant
from consensus.repair import answer_fetch
from consensus.slot import PAYLOADS_MAX
from tests.unit.consensus.onereplica import (
    NONCE,
    PUBLIC,
    A,
    B,
    One,
    certificate,
    checkpoint,
    commit,
    fresh_view,
    header,
    new_view,
    only,
    prepare,
    prepared,
    proposal,
    status,
    view_change,
)

W = 8
"""The window of the replica under test."""


# --- statuses -------------------------------------------------------------------------------------


def test_a_status_says_where_its_sender_stands() -> None:
    one = One(certified=3, executed=4)
    one.hear(commit(6, 0), proposal(7, B), proposal(5, A))
    said = only(Status, one.hear(Retransmit()))
    assert (said.epoch, said.view, said.active, said.delivered) == (0, 0, True, 4)
    assert said.certificate == certificate(3)
    assert said.proposed == (5, 7), "of height 6 it has votes and no proposal"
    assert said.uncertified == (4,)
    assert (said.asks, said.answers, said.sender) == (b"", b"", PUBLIC[1])


def test_a_status_names_executed_heights_without_a_certificate_a_few_and_the_lowest_first() -> None:
    one = One(window=2, certified=1)
    one.state.headers |= {height: header(height) for height in (7, 3, 5, 9, 11)}
    said = only(Status, one.hear(Retransmit()))
    assert said.uncertified == (3, 5, 7, 9)


def test_a_status_shows_the_highest_certificate_known_executed_or_not() -> None:
    """Those who need it may have nobody else who holds it."""
    one = One(certified=3)
    one.hear(certificate(9))
    assert only(Status, one.hear(Retransmit())).certificate == certificate(9)
    assert certificate(9) in one.hear(status(0, certificate=certificate(3)))


def test_who_waits_for_a_view_repeats_its_view_change_and_nobody_else_does() -> None:
    one = One()
    one.hear(Pending(True))
    (asked,) = one.expire()
    assert one.hear(Retransmit(PUBLIC[3]))[1:] == [asked]
    assert {to for to, _ in one.last.send} == {PUBLIC[3]}
    one.hear(fresh_view(2))
    assert [type(message) for message in one.hear(Retransmit())] == [Status]


def test_a_question_is_answered_with_what_it_asked_to_its_sender_alone() -> None:
    one = One()
    (answer,) = one.hear(status(3, asks=NONCE))
    assert (answer.answers, answer.asks) == (NONCE, b"")
    assert one.last.send == [(PUBLIC[3], answer)]
    assert one.hear(status(3)) == []


def test_a_certificate_in_a_status_is_learnt() -> None:
    one = One(certified=1, executed=2)
    one.hear(status(3, certificate=certificate(2), delivered=2))
    assert one.state.certified == 2
    one.hear(status(3, certificate=certificate(7), delivered=7))
    assert one.state.behind == certificate(7)


def test_what_a_status_lacks_is_sent_again_and_nothing_else() -> None:
    """Certified 1, executed 2, voting on 3: each status gets what is above it."""
    one = One()
    one.certify(1)
    one.decide(2)
    one.commit(3)
    whole = [one.state.certificate, commit(1, 1), prepare(2, 1), commit(2, 1), prepare(3, 1), commit(3, 1)]
    assert one.hear(status(3)) == whole
    at_one = status(3, certificate=certificate(1), delivered=1)
    assert one.hear(at_one) == [prepare(2, 1), commit(2, 1), prepare(3, 1), commit(3, 1)]
    at_two = status(3, certificate=certificate(1), delivered=2)
    assert one.hear(at_two) == [checkpoint(2, 1), prepare(3, 1), commit(3, 1)]
    asks_for_two = status(3, certificate=certificate(1), delivered=2, uncertified=(2,))
    assert one.hear(asks_for_two) == [checkpoint(2, 1), prepare(3, 1), commit(3, 1)], "once"
    at_three = status(3, certificate=certificate(1), delivered=3, uncertified=(1, 9))
    assert one.hear(at_three) == [one.state.recent[1], checkpoint(2, 1)]
    ahead = status(3, certificate=certificate(3), delivered=3)
    assert one.hear(ahead) == []


def test_votes_of_another_view_are_not_sent_but_commits_are() -> None:
    """They decide in whatever view they were cast; PREPAREs count in the receiver's view only."""
    one = One()
    one.commit(1)
    assert one.hear(status(3, view=1)) == [commit(1, 1)]
    assert one.hear(status(3, epoch=5)) == [commit(1, 1)]
    one.expire()
    assert one.hear(status(3, view=1)) == [commit(1, 1)], "nor while we wait for a view ourselves"


def test_only_its_primary_sends_a_proposal_again_and_only_if_it_is_missing() -> None:
    primary = One(0)
    primary.hear(Proposed(1, 0, A))
    assert primary.hear(status(3)) == [proposal(1, A), prepare(1, 0)]
    assert primary.hear(status(3, proposed=(1,))) == [prepare(1, 0)]
    other = One(1)
    other.hear(proposal(1, A))
    assert other.hear(status(3)) == [prepare(1, 1)]
    leader = One(2)
    leader.hear(new_view(2, *(view_change(2, index, items=(prepared(1, A),)) for index in (0, 1, 3))))
    leader.hear(PayloadReply(1, A))
    assert leader.hear(status(3, view=2)) == [prepare(1, 2, A, 2)], "a re-proposal is in the NEW-VIEW"


def test_news_of_a_view_go_to_who_is_below_it_or_waits_for_it() -> None:
    epochs = (Epoch(0, PUBLIC[:4]), Epoch(3, PUBLIC[:5]))
    one = One(certified=2, epochs=epochs)
    entered = new_view(5, *(view_change(5, index, 2, epoch=3) for index in (0, 2, 3, 4)), epoch=3)
    one.hear(entered)
    at = {"certificate": certificate(2), "delivered": 2}
    assert one.hear(status(3, epoch=0, view=9, **at)) == [entered], "an epoch before, whatever its view"
    assert one.hear(status(3, epoch=3, view=4, **at)) == [entered]
    assert one.hear(status(3, epoch=3, view=5, **at)) == []
    assert one.hear(status(3, epoch=3, view=6, active=False, **at)) == []
    assert one.hear(status(3, epoch=4, view=0, **at)) == []


def test_a_view_without_a_new_view_has_no_news() -> None:
    one = One(certified=2, epochs=(Epoch(0, PUBLIC[:4]), Epoch(3, PUBLIC[:5])))
    assert one.hear(status(3, epoch=0, certificate=certificate(2), delivered=2)) == []


def test_a_view_change_that_was_answered_is_not_sent_again() -> None:
    """Asked for view 1, joined 3: who lags gets the one for 3."""
    one = One()
    one.hear(Pending(True))
    one.expire()
    one.hear(view_change(3, 0), view_change(3, 3))
    assert one.state.view == 3
    (sent,) = one.hear(status(3, view=1))
    assert isinstance(sent, ViewChange)
    assert sent.view == 3
    one.state.view_changes[PUBLIC[1]] = view_change(2, 1)
    assert one.hear(status(3, view=1)) == []


# --- payloads -------------------------------------------------------------------------------------


def nothing_stored(_height: int, _digest: bytes) -> bytes | None:
    return None


def test_a_payload_is_answered_from_flight_or_from_what_was_in_flight_a_moment_ago() -> None:
    one = One()
    one.certify(1, A)
    one.hear(proposal(2, B))
    for height, payload in ((1, A), (2, B)):
        asked = Fetch(height, payload_digest(payload))
        assert answer_fetch(one.state, asked, nothing_stored) == PayloadReply(height, payload)
    for asked in (Fetch(2, payload_digest(A)), Fetch(3, payload_digest(A))):
        assert answer_fetch(one.state, asked, nothing_stored) is None


def test_a_payload_that_a_vote_promises_is_read_from_the_vote_store() -> None:
    """However many other payloads pushed it out of memory; what was not voted for is not looked up."""
    one = One()
    one.hear(proposal(1, A), fresh_view(2))
    for number in range(2 * PAYLOADS_MAX):
        one.hear(proposal(1, b"%d" % number))
    assert payload_digest(A) not in one.state.slots[1].payloads
    reads: list[tuple[int, bytes]] = []

    def read(height: int, digest: bytes) -> bytes | None:
        reads.append((height, digest))
        return A

    assert answer_fetch(one.state, Fetch(1, payload_digest(A)), read) == PayloadReply(1, A)
    assert answer_fetch(one.state, Fetch(1, payload_digest(B)), read) is None
    assert reads == [(1, payload_digest(A))]


# --- what can change anything ---------------------------------------------------------------------


def standing() -> One:
    """Certified 1, decided 2 here, height 3 proposed and prepared by 0, in view 0."""
    one = One()
    one.certify(1)
    one.decide(2)
    one.hear(proposal(3, A), prepare(3, 0, A))
    return one


@pytest.mark.parametrize(
    ("message", "counts"),
    [
        (proposal(1, A), False),
        (proposal(2, A), False),
        (proposal(2, B), True),
        (proposal(3, A), False),
        (proposal(1 + 2 * W, A), True),
        (proposal(2 + 2 * W, A), False),
        (prepare(1, 3), False),
        (prepare(2, 3), False),
        (prepare(2, 3, B), True),
        (prepare(3, 3), True),
        (prepare(3, 0), False),
        (prepare(3, 0, B), True),
        (prepare(4, 3), True),
        (prepare(2, 3, A, 1), True),
        (prepare(1 + 2 * W, 3), True),
        (prepare(2 + 2 * W, 3), False),
        (commit(1, 3), False),
        (commit(2, 3), False),
        (commit(2, 3, B), True),
        (commit(3, 3), True),
        (commit(1 + 2 * W, 3), True),
        (commit(2 + 2 * W, 3), False),
        (checkpoint(1, 3), False),
        (checkpoint(1, 3, bytes(32)), True),
        (checkpoint(2, 3), True),
        (checkpoint(1 + 2 * W, 3), True),
        (checkpoint(2 + 2 * W, 3), False),
        (certificate(1), False),
        (certificate(2), True),
        (certificate(10**9), True),
        (view_change(1, 3), True),
        (new_view(1, *(view_change(1, index) for index in (0, 2, 3))), True),
        (fresh_view(4, 1), True),
        (status(3), True),
        (PayloadReply(3, A), True),
    ],
    ids=lambda item: (
        f"{type(item).__name__} {getattr(item, 'height', '')}" if not isinstance(item, bool) else str(item)
    ),
)
def test_a_message_is_worth_a_signature_check_only_if_it_can_change_something(
    message: Any, counts: bool
) -> None:
    assert relevant(standing().state, message) == counts


def test_prepares_of_a_view_left_or_of_one_committed_already_are_not_worth_it() -> None:
    one = One()
    one.commit(1, A)
    assert not relevant(one.state, prepare(1, 3, A)), "the quorum is complete"
    assert relevant(one.state, prepare(1, 3, B)), "it might convict"
    one.hear(fresh_view(2))
    assert not relevant(one.state, prepare(1, 3, A))
    assert relevant(one.state, prepare(1, 3, A, 2)), "of the COMMIT of an earlier view nothing follows"
    assert relevant(one.state, prepare(1, 3, A, 3))


def test_a_view_change_is_worth_it_if_it_is_later_than_the_last_of_its_sender_or_contradicts_it() -> None:
    one = One()
    assert relevant(one.state, view_change(4, 3))
    one.hear(view_change(5, 3))
    assert not relevant(one.state, view_change(4, 3))
    assert not relevant(one.state, view_change(5, 3))
    assert relevant(one.state, view_change(5, 3, 0, (prepared(1),)))
    assert relevant(one.state, view_change(6, 3))
    assert relevant(one.state, view_change(1, 3, 6, epoch=7))
    later = One(certified=6, epochs=(Epoch(0, PUBLIC[:4]), Epoch(7, PUBLIC[:5])))
    assert not relevant(later.state, view_change(5, 3, 5)), "of an epoch that is over"
    assert relevant(later.state, view_change(1, 3, 6, epoch=7))


def test_a_new_view_is_worth_it_if_it_leads_on() -> None:
    one = One()
    one.hear(fresh_view(2))
    assert not relevant(one.state, fresh_view(2))
    assert not relevant(one.state, new_view(1, *(view_change(1, index) for index in (0, 2, 3))))
    assert relevant(one.state, fresh_view(3))
    assert relevant(one.state, new_view(1, *(view_change(1, i, 6, epoch=7) for i in (0, 2, 3)), epoch=7))
    one.hear(Pending(True))
    one.expire()
    assert relevant(one.state, fresh_view(3)), "the one that is waited for"
    assert not relevant(one.state, fresh_view(2))


def test_a_certificate_below_the_last_is_worth_it_where_one_is_missing() -> None:
    one = One()
    one.decide(1)
    one.decide(2)
    one.hear(certificate(2))
    assert one.state.certified == 2
    assert one.state.uncertified() == [1]
    assert relevant(one.state, certificate(1))
    assert relevant(one.state, checkpoint(1, 3))
    one.hear(certificate(1))
    assert one.last.certified == [certificate(1)]
    assert not relevant(one.state, certificate(1))
    assert one.state.uncertified() == []


# --- a replica without memory ---------------------------------------------------------------------


def listener(**options: Any) -> One:
    return One(wiped=True, **options)


def test_a_quorum_of_answers_ends_the_listening_and_mutes_for_the_epoch() -> None:
    """Itself and two others of four; it then stays out of this epoch, and says so durably."""
    one = listener()
    one.hear(status(0, answers=NONCE))
    assert one.state.lost.heard == {PUBLIC[0]}
    one.hear(status(0, answers=NONCE), status(1, answers=NONCE), status(5, answers=NONCE))
    assert one.state.lost.heard == {PUBLIC[0]}, "twice the same, itself and an observer are no others"
    one.hear(status(3, answers=NONCE))
    assert (one.state.lost.listening, one.state.lost.muted) == (False, 0)
    assert [key for key in one.last.put if key == b"b"] == [b"b"]


def test_the_quorum_that_is_heard_is_that_of_the_set_whose_turn_it_is() -> None:
    """The last height of four validators is certified: of the five that follow, four must be heard."""
    one = listener(certified=6, epochs=(Epoch(0, PUBLIC[:4]), Epoch(7, PUBLIC[:5])))
    one.hear(*(status(index, epoch=7, delivered=6, answers=NONCE) for index in (0, 2)))
    assert one.state.lost.heard == {PUBLIC[0], PUBLIC[2]}
    one.hear(status(4, epoch=7, delivered=6, answers=NONCE))
    assert (one.state.lost.listening, one.state.lost.muted) == (False, 7)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"answers": NONCE[::-1]},
        {"answers": NONCE, "epoch": 7},
        {"answers": NONCE, "delivered": 6},
    ],
    ids=["no answer", "to another question", "of another epoch", "at its end"],
)
def test_a_status_that_does_not_show_where_we_were_is_not_heard(changes: dict[str, Any]) -> None:
    one = listener(certified=3, epochs=(Epoch(0, PUBLIC[:4]), Epoch(7, PUBLIC[:5])))
    one.hear(*(status(index, **({"delivered": 3} | changes)) for index in (0, 2, 3)))
    assert one.state.lost.heard == set()
