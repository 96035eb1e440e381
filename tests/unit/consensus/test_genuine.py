"""Messages assembled out of others' words: each part that is not genuine, or out of place, is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chain.primitives.certificate import Certificate, Epoch
from chain.primitives.codec import U64_MAX
from chain.primitives.errors import ProofInvalid, SignatureInvalid
from consensus.authenticity import Verifier
from consensus.errors import MessageInvalid, NotYetKnown
from consensus.evidence import check_evidence, conflicting, slot_of
from consensus.messages import (
    UNSIGNED,
    NewView,
    Prepared,
    Proposal,
    ViewChange,
    payload_digest,
    signing_digest,
)
from consensus.rules import Rules
from tests.unit.consensus.onereplica import (
    CHAIN,
    PUBLIC,
    A,
    B,
    certificate,
    checkpoint,
    commit,
    fresh_view,
    header,
    new_view,
    prepare,
    prepared,
    proposal,
    signed,
    status,
    view_change,
)

FIVE = PUBLIC[:5]


def verifier(n: int = 4, *, settled: int = U64_MAX, first: int = U64_MAX) -> Verifier:
    """Of n founders; from height `first` on of five."""

    def epoch(height: int) -> Epoch:
        return Epoch(first, FIVE) if height >= first else Epoch(0, PUBLIC[:n])

    return Verifier(Rules(CHAIN, epoch, lambda: settled, 8, 100))


def changed(message: Any, **fields: Any) -> Any:
    """The same message with other fields and the old signature."""
    return dataclasses.replace(message, **fields)


def resigned(message: Any, index: int, **fields: Any) -> Any:
    return signed(changed(message, **fields), index)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (proposal(1).pre_prepare, {"height": 2}),
        (prepare(1, 0), {"view": 1}),
        (commit(1, 0), {"payload_digest": payload_digest(B)}),
        (checkpoint(1, 0), {"header_hash": bytes(32)}),
        (view_change(1, 0), {"view": 2}),
        (fresh_view(2), {"signature": UNSIGNED}),
        (status(0), {"delivered": 7}),
    ],
)
def test_every_kind_of_message_needs_its_senders_signature(message: Any, fields: dict[str, Any]) -> None:
    """Its own bytes pass; with any other content, or without a signature, they do not."""
    wrap = (lambda item: Proposal(item, A)) if type(message).__name__ == "PrePrepare" else (lambda item: item)
    verifier().check(wrap(message))
    with pytest.raises(SignatureInvalid):
        verifier().check(wrap(changed(message, **fields)))


GOOD = (prepared(1, A), prepared(3, B))


@pytest.mark.parametrize(
    ("item", "error"),
    [
        (prepared(1, A, voters=(0, 1)), MessageInvalid),
        (prepared(1, A, voters=(0, 1, 2, 3)), MessageInvalid),
        (prepared(1, A, voters=(0, 1, 1)), MessageInvalid),
        (prepared(1, A, voters=(2, 1, 0)), MessageInvalid),
        (prepared(1, A, voters=(0, 1, 5)), MessageInvalid),
        (changed(prepared(1, A), payload_digest=payload_digest(B)), SignatureInvalid),
        (changed(prepared(1, A), height=2), SignatureInvalid),
        (changed(prepared(1, A, view=1), view=0), SignatureInvalid),
        (prepared(1, A, view=2), MessageInvalid),
        (prepared(9, A), MessageInvalid),
        (Prepared(0, 1, payload_digest(A), tuple((PUBLIC[i], commit(1, i).signature) for i in range(3))),
         SignatureInvalid),
    ],
    ids=["too few", "too many", "one twice", "out of order", "an observer", "of another payload",
         "of another height", "of another view", "of the view asked for", "beyond the window", "commits"],
)  # fmt: skip
def test_a_view_change_with_a_forged_prepared_certificate_is_refused_alone_and_in_a_new_view(
    item: Prepared, error: type[Exception]
) -> None:
    """Its sender signed it, and so did the leader that shows it: both are at fault."""
    verifier().check(view_change(2, 3, 0, GOOD))
    forged = signed(ViewChange(0, 2, None, (item,), b"", UNSIGNED), 3)
    with pytest.raises(error):
        verifier().check(forged)
    shown = signed(NewView(0, 2, (view_change(2, 0), view_change(2, 1), forged), (), b"", UNSIGNED), 2)
    with pytest.raises(error):
        verifier().check(shown)


def test_a_new_view_shows_view_changes_that_their_senders_signed() -> None:
    """The leader cannot make them up: neither the certificate nor what was prepared."""
    hidden = changed(view_change(2, 3, 0, GOOD), prepared=())
    raised = changed(view_change(2, 3, 1), certificate=certificate(2))
    for forged in (hidden, raised):
        with pytest.raises(SignatureInvalid):
            verifier().check(new_view(2, view_change(2, 0), view_change(2, 1), forged))


def test_a_certificate_in_a_view_change_is_one() -> None:
    short = signed(ViewChange(0, 2, certificate(3, (0, 1)), (), b"", UNSIGNED), 3)
    with pytest.raises(ProofInvalid):
        verifier().check(short)
    with pytest.raises(ProofInvalid):
        verifier().check(new_view(2, view_change(2, 0), view_change(2, 1), short))


@pytest.mark.parametrize(
    "message",
    [
        new_view(2, view_change(2, 0), view_change(2, 1)),
        new_view(2, *(view_change(2, index) for index in range(4))),
        new_view(2, *(view_change(2, index) for index in (0, 1, 1))),
        new_view(2, *(view_change(2, index) for index in (2, 1, 0))),
        new_view(2, view_change(2, 0), view_change(2, 1), view_change(3, 3)),
        new_view(2, view_change(2, 0), view_change(2, 1), view_change(1, 3)),
        resigned(fresh_view(2), 3),
        resigned(fresh_view(2), 2, reproposals=((1, payload_digest(A)),)),
        resigned(fresh_view(2), 2, epoch=1),
        new_view(2, view_change(2, 0), view_change(2, 1), view_change(2, 5)),
    ],
    ids=["too few", "too many", "one twice", "out of order", "a later view", "an earlier view",
         "not by its leader", "with other re-proposals", "of another epoch", "by an observer"],
)  # fmt: skip
def test_a_new_view_is_a_quorum_for_its_view_by_its_leader(message: NewView) -> None:
    verifier().check(fresh_view(2))
    with pytest.raises(MessageInvalid):
        verifier().check(message)


def test_the_leader_of_a_new_view_is_that_of_the_height_above_its_base() -> None:
    """With the certificate of height 99 the tenure of 100 begins, and with it another leads view 2."""
    changes = [view_change(2, 0), view_change(2, 1), view_change(2, 3, 99)]
    assert Rules(CHAIN, lambda _h: Epoch(0, PUBLIC[:4]), lambda: U64_MAX, 8, 100).primary(2, 100) == PUBLIC[3]
    verifier().check(resigned(new_view(2, *changes), 3))
    with pytest.raises(MessageInvalid, match="does not lead it"):
        verifier().check(new_view(2, *changes))


def test_the_epoch_of_a_view_change_is_that_of_all_its_heights() -> None:
    """Heights up to 6 are of the founders, those from 7 on of five."""
    check = verifier(first=7).check
    check(view_change(1, 0, 5, (prepared(6, A),)))
    check(view_change(1, 4, 6, epoch=7))
    for wrong in (
        view_change(1, 0, 6),
        view_change(1, 0, 5, epoch=7),
        view_change(1, 4, 5),
        view_change(1, 0, 5, (prepared(6, A), prepared(7, A, voters=(0, 1, 2, 3)))),
    ):
        with pytest.raises(MessageInvalid):
            check(wrong)


def test_what_is_about_heights_whose_set_is_unknown_blames_nobody() -> None:
    check = verifier(settled=8).check
    check(prepare(8, 0))
    check(view_change(1, 0, 1, (prepared(8, A),)))
    for unknown in (
        prepare(9, 5),
        resigned_claim(9, 5),
        view_change(1, 0, 8),
        view_change(1, 0, 1, (prepared(9, A),)),
        new_view(2, *(view_change(2, index, 8) for index in (0, 1, 3))),
        certificate(9, (0, 1, 5)),
        certificate(9, (0, 1)),
    ):
        with pytest.raises(NotYetKnown):
            check(unknown)
    check(certificate(9, (0, 1, 3)))
    with pytest.raises(MessageInvalid):
        check(prepare(8, 5))


def resigned_claim(height: int, index: int) -> Proposal:
    return Proposal(resigned(proposal(height).pre_prepare, index), A)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (resigned_claim(1, 1), "not by its primary"),
        (Proposal(proposal(1, A).pre_prepare, B), "payload and digest differ"),
        (Proposal(resigned(proposal(1).pre_prepare, 0, height=0), A), "genesis"),
        (view_change(0, 0), "view 0"),
    ],
)
def test_a_proposal_or_view_change_out_of_place_is_refused(message: Any, why: str) -> None:
    with pytest.raises(MessageInvalid, match=why):
        verifier().check(message)


def test_a_prepared_height_is_above_the_certificate_and_in_its_window() -> None:
    """With certificate 3 and W = 8: heights 4 to 11, ascending, each once."""
    for heights in ((4,), (11,), (4, 11)):
        verifier().check(view_change(1, 0, 3, tuple(prepared(height) for height in heights)))
    for heights in ((3,), (12,), (5, 4), (4, 4)):
        with pytest.raises(MessageInvalid, match="prepared heights"):
            verifier().check(view_change(1, 0, 3, tuple(prepared(height) for height in heights)))


def test_an_observer_may_say_where_it_stands_and_nothing_else() -> None:
    verifier().check(status(5))
    for message in (prepare(1, 5), commit(1, 5), checkpoint(1, 5), view_change(1, 5)):
        with pytest.raises(MessageInvalid, match="not a validator"):
            verifier().check(message)


def test_a_certificate_is_remembered_with_its_content_not_by_its_height() -> None:
    check = verifier()
    check.certificate(certificate(5))
    with pytest.raises(ProofInvalid):
        check.certificate(changed(certificate(5), header_hash=header(6)))
    assembled = Certificate(6, header(6), ((PUBLIC[0], bytes(64)),))
    check.trust(assembled)
    check.certificate(assembled)
    check.certificate(None)


# --- evidence -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (proposal(1, A).pre_prepare, proposal(1, B).pre_prepare),
        (prepare(1, 0, A), prepare(1, 0, B)),
        (commit(1, 0, A), commit(1, 0, B)),
        (checkpoint(1, 0), checkpoint(1, 0, bytes(32))),
        (view_change(1, 0), view_change(1, 0, 2)),
        (view_change(2, 0), view_change(2, 0, 0, GOOD)),
        (fresh_view(2), new_view(2, *(view_change(2, index) for index in (0, 1, 2)))),
    ],
)
def test_two_words_for_one_slot_convict_whatever_their_kind(first: Any, second: Any) -> None:
    """And the same word twice, of whatever kind, does not."""
    assert conflicting(first, second)
    assert conflicting(second, first)
    accusation = check_evidence(first, second, CHAIN)
    assert (accusation.accused, accusation.slot) == (first.sender, slot_of(first))
    assert not conflicting(first, first)
    assert not conflicting(first, changed(second, sender=PUBLIC[3]))
    for pair in ((changed(first, signature=UNSIGNED), second), (first, changed(second, signature=UNSIGNED))):
        with pytest.raises(SignatureInvalid):
            check_evidence(*pair, CHAIN)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (prepare(1, 0, A), commit(1, 0, B)),
        (prepare(1, 0, A), prepare(2, 0, B)),
        (prepare(1, 0, A), prepare(1, 0, B, 1)),
        (checkpoint(1, 0), checkpoint(2, 0)),
        (view_change(1, 0), view_change(2, 0, 2)),
        (status(0), status(0, delivered=5)),
        (fresh_view(2), resigned(fresh_view(2), 2, reproposals=((1, payload_digest(A)),))),
    ],
    ids=[
        "kinds",
        "heights",
        "views",
        "checkpoints",
        "view changes",
        "statuses",
        "a copy that decides nothing",
    ],
)
def test_what_a_correct_replica_may_say_convicts_nobody(first: Any, second: Any) -> None:
    assert not conflicting(first, second)
    with pytest.raises(MessageInvalid):
        check_evidence(first, second, CHAIN)


def test_a_signature_covers_the_chain_and_the_kind() -> None:
    messages = (prepare(1, 0), commit(1, 0), proposal(1).pre_prepare, checkpoint(1, 0))
    said = {signing_digest(message, chain) for message in messages for chain in (CHAIN, bytes(32))}
    assert len(said) == 2 * len(messages)
