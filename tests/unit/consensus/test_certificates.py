"""Checkpoints and certificates at one replica: what certifies, what is forgotten, what stops it."""

from __future__ import annotations

from chain.primitives.certificate import Certificate, Epoch
from consensus.events import Executed, Pending, Synced
from consensus.messages import payload_digest
from consensus.votes import commit_key, payload_key, prepare_key
from tests.unit.consensus.onereplica import (
    PUBLIC,
    A,
    B,
    C,
    One,
    certificate,
    checkpoint,
    commit,
    header,
    kinds,
    prepare,
    proposal,
)


def test_an_executed_height_is_signed_once_executed() -> None:
    one = One()
    one.executes = False
    one.decide(1)
    assert one.delivered == [(1, A)]
    assert one.hear(Executed(1, header(1))) == [checkpoint(1, 1)]
    assert one.hear(Executed(1, header(1))) == []


def test_observers_execute_and_sign_nothing() -> None:
    observer = One(5)
    sent = observer.hear(proposal(1), *(commit(1, index) for index in (0, 2, 3)))
    assert observer.executed == 1
    assert sent == []
    observer.hear(*(checkpoint(1, index) for index in (0, 2, 3)))
    assert observer.state.certified == 1


def test_a_quorum_of_equal_checkpoints_certifies_and_less_does_not() -> None:
    """Own and two others; for another header, or twice by one sender, they do not add up."""
    one = One()
    one.decide(1)
    one.hear(checkpoint(1, 0), checkpoint(1, 0), checkpoint(1, 2, bytes(32)))
    assert (one.state.certified, one.last.certified) == (0, [])
    one.hear(checkpoint(1, 3))
    expected = certificate(1, (0, 1, 3))
    assert one.last.certified == [expected]
    assert one.state.certificate == one.state.recent[1] == expected


def test_the_first_checkpoint_of_a_sender_counts_and_another_convicts() -> None:
    one = One()
    one.decide(1)
    one.hear(checkpoint(1, 0, bytes(32)))
    one.hear(checkpoint(1, 0))
    assert len(one.last.evidence) == 1
    one.hear(checkpoint(1, 2))
    assert one.state.certified == 0


def test_checkpoints_are_kept_near_the_window_or_where_they_still_certify() -> None:
    one = One(window=2)
    one.hear(*(checkpoint(height, 0) for height in (1, 4, 5)))
    assert sorted(one.state.checkpoints) == [1, 4]
    one.certify(1)
    one.hear(checkpoint(1, 3), checkpoint(5, 0))
    assert PUBLIC[3] in one.state.checkpoints[1], "until it is two windows below"
    assert sorted(one.state.checkpoints) == [1, 4, 5]


def test_a_certificate_above_what_is_executed_is_the_target_and_the_highest_wins() -> None:
    one = One()
    one.hear(certificate(5), certificate(4))
    assert one.state.behind == one.state.highest == certificate(5)
    assert one.last.certified == []
    one.hear(certificate(6))
    assert one.state.behind == certificate(6)


def test_the_target_is_adopted_once_it_is_executed() -> None:
    """Delivered heights need no sync: execution catches up with the certificate."""
    one = One()
    one.executes = False
    one.decide(1)
    one.hear(certificate(1))
    assert (one.state.target, one.state.behind) == (certificate(1), None)
    one.hear(Executed(1, header(1)))
    assert one.last.certified == [certificate(1)]
    assert (one.state.certified, one.state.target) == (1, None)


def test_a_certificate_of_another_header_halts_the_replica_naming_the_height() -> None:
    for event in (certificate(1, of=bytes(32)), Synced(certificate(1, of=bytes(32)))):
        one = One()
        one.decide(1)
        one.hear(event)
        assert "height 1 executed to" in one.state.halted
        assert one.last.certified == []
        assert one.hear(Pending(True), commit(2, 0)) == []
        assert one.state.certified == 0


def test_certificates_below_the_last_are_reported_once_and_move_nothing_back() -> None:
    one = One()
    for height in (1, 2, 3):
        one.decide(height)
    one.hear(certificate(3))
    assert one.state.uncertified() == [1, 2]
    one.hear(certificate(1))
    assert one.last.certified == [certificate(1)]
    assert one.state.certificate == certificate(3)
    one.hear(certificate(1))
    assert one.last.certified == []
    one.hear(checkpoint(2, 0), checkpoint(2, 3))
    assert one.last.certified == [certificate(2, (0, 1, 3))]
    assert one.state.certified == 3


def test_with_a_certificate_go_the_votes_up_to_it_and_no_others() -> None:
    """Executed but uncertified heights keep theirs: their certificate may need another view."""
    one = One()
    one.decide(1, A)
    one.decide(2, B)
    one.commit(3, C)
    one.hear(checkpoint(1, 0), checkpoint(1, 2))
    gone = {prepare_key(1), commit_key(1), payload_key(1, payload_digest(A))}
    assert set(one.last.delete) == gone
    assert sorted(one.state.slots) == [2, 3]
    assert sorted(one.state.retired) == [1]
    kept = {key[0:1] for key in one.rows}
    assert kept == {b"a", b"b", b"c", b"p"}


def test_memory_of_what_is_certified_is_bounded() -> None:
    """Slots of the last W heights for latecomers; headers, checkpoints and certificates of the last 2W."""
    one = One(window=2)
    for height in range(1, 11):
        one.certify(height)
    assert sorted(one.state.retired) == [9, 10]
    for by_height in (one.state.headers, one.state.checkpoints, one.state.recent):
        assert sorted(by_height) == [7, 8, 9, 10]
    assert one.state.slots == {}


def test_heights_without_a_certificate_are_remembered_two_windows_of_them() -> None:
    """They are asked for until they come, however far the chain moves on."""
    one = One(window=2)
    one.decide(1)
    one.decide(2)
    one.hear(certificate(2))
    for height in range(3, 12):
        one.certify(height)
    assert one.state.uncertified() == [1]
    assert 1 in one.state.headers
    one.hear(certificate(1))
    assert one.last.certified == [certificate(1)]


def test_of_heights_without_a_certificate_the_latest_two_windows_are_remembered() -> None:
    """Five of them, W is 2: the first is let go of."""
    one = One(window=2)
    for height in (1, 3, 5, 7, 9):
        one.decide(height)
        one.decide(height + 1)
        one.hear(certificate(height + 1))
    assert one.state.certified == 10
    assert one.state.uncertified() == [3, 5, 7, 9]


def test_a_quorum_of_checkpoints_above_what_is_executed_is_a_target() -> None:
    """Within a window above it: further up the set is not known for certain."""
    one = One()
    one.hear(*(checkpoint(8, index) for index in (0, 2, 3)))
    assert one.state.behind == certificate(8, (0, 2, 3))
    far = One()
    far.hear(*(checkpoint(9, index) for index in (0, 2, 3)))
    assert far.state.behind is None


def test_checkpoints_far_ahead_keep_no_lower_height_from_its_certificate() -> None:
    """Heights 7 and 16 are held; whatever their order in memory, 7 is certified."""
    one = One(certified=6, executed=7)
    one.hear(checkpoint(16, 3), checkpoint(7, 0), checkpoint(7, 2))
    assert one.state.certified == 7


def test_what_sync_executed_is_stood_upon() -> None:
    """Above everything delivered here: heights below are not delivered any more, the view wastes no time."""
    one = One()
    one.hear(proposal(1), certificate(5))
    one.state.view = 3
    one.hear(Synced(certificate(5)))
    state = one.state
    assert (state.certified, state.executed, state.delivered, state.target) == (5, 5, 5, None)
    assert (state.good_view, state.high_watermark) == (3, 13)
    assert state.slots == {}
    assert state.recent[5] == certificate(5)
    one.hear(*(commit(1, index) for index in (0, 2, 3)))
    assert one.delivered == []


def test_a_sync_at_or_below_what_is_certified_changes_nothing() -> None:
    one = One()
    for height in (1, 2):
        one.certify(height)
    before = one.state.certificate
    for height in (1, 2):
        one.hear(Synced(certificate(height, (0, 2, 3))))
        assert one.state.certificate == before
        assert (one.state.executed, one.state.delivered) == (2, 2)


def test_a_sync_below_what_is_executed_takes_nothing_back() -> None:
    one = One()
    for height in (1, 2, 3):
        one.decide(height)
    one.hear(Synced(certificate(2)))
    assert (one.state.certified, one.state.executed, one.state.delivered) == (2, 3, 3)


def test_a_higher_target_survives_a_sync() -> None:
    one = One()
    one.hear(certificate(9), Synced(certificate(5)))
    assert one.state.behind == certificate(9)


def test_a_certificate_from_before_the_start_is_the_ledgers_own() -> None:
    one = One(certified=20)
    one.hear(certificate(3))
    assert one.last.certified == []
    assert one.state.certificate == certificate(20)


def test_checkpoints_count_by_the_set_of_their_height() -> None:
    """The fifth validator joins at 3: its signature on 2 counts for nothing, on 3 it is needed."""
    one = One(epochs=(Epoch(0, PUBLIC[:4]), Epoch(3, PUBLIC[:5])))
    one.certify(1)
    one.decide(2)
    one.hear(checkpoint(2, 4), checkpoint(2, 0))
    assert one.state.certified == 1
    one.hear(checkpoint(2, 2))
    assert one.state.certified == 2
    assert one.state.epoch.first == 3


def test_a_delivery_makes_timeouts_short_again() -> None:
    one = One()
    one.hear(Pending(True))
    one.expire()
    assert one.state.good_view == 0
    one.hear(proposal(1), *(commit(1, index) for index in (0, 2, 3)))
    assert one.state.good_view == 1


def test_a_certificate_that_is_formed_names_its_signers_in_order() -> None:
    one = One(n=7)
    one.hear(proposal(1), *(prepare(1, index) for index in (6, 5, 4, 3)))
    one.hear(*(commit(1, index) for index in (6, 5, 4, 3)))
    one.hear(*(checkpoint(1, index) for index in (6, 0, 5, 3)))
    assert isinstance(one.state.certificate, Certificate)
    signers = [signer for signer, _ in one.state.certificate.signatures]
    assert signers == sorted(signers)
    assert len(signers) == 5
    assert kinds(one.hear(commit(1, 2))) == []
