"""The wire records of consensus: golden bytes, bounds, authenticity."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.certificate import Certificate, Epoch, checkpoint_digest
from chain.primitives.codec import U64_MAX, encode
from chain.primitives.crypto import PrivateKey, digest
from chain.primitives.errors import AssentError, DecodeError, ProofInvalid, SignatureInvalid
from consensus.authenticity import REMEMBERED_MAX, Verifier
from consensus.errors import MessageInvalid
from consensus.evidence import Accusation, check_evidence, conflicting, read_evidence
from consensus.messages import (
    NULL_DIGEST,
    PAYLOAD_BYTES_MAX,
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
    decode_message,
    payload_digest,
    sign,
    signing_digest,
)
from consensus.rules import Rules
from consensus.selection import choose_reproposals
from consensus.votes import Birth, CommitRow, Evidence, PrepareRow

CHAIN = digest("test/chain")
KEYS = sorted((PrivateKey(digest("test/key", bytes([i]))) for i in range(4)), key=lambda key: key.public)
PUBLIC = tuple(key.public for key in KEYS)
RULES = Rules(CHAIN, lambda _height: Epoch(0, PUBLIC), lambda: U64_MAX, 8, 16)
VECTORS = Path(__file__).parents[2] / "vectors" / "consensus.json"
PAYLOAD = b"a payload"
DIGEST = payload_digest(PAYLOAD)


def signed(message: Any, index: int = 0, chain: bytes = CHAIN) -> Any:
    return sign(dataclasses.replace(message, sender=PUBLIC[index]), KEYS[index], chain)


def vote(kind: Any, view: int, height: int, index: int, payload: bytes = DIGEST) -> Any:
    return signed(kind(view, height, payload, PUBLIC[index], UNSIGNED), index)


def prepared(
    view: int, height: int, payload: bytes = DIGEST, voters: tuple[int, ...] = (0, 1, 2)
) -> Prepared:
    pairs = ((PUBLIC[i], vote(Prepare, view, height, i, payload).signature) for i in voters)
    return Prepared(view, height, payload, tuple(pairs))


def certificate(height: int, voters: tuple[int, ...] = (0, 1, 2)) -> Certificate:
    header = digest("test/header", bytes([height]))
    said = checkpoint_digest(CHAIN, height, header)
    return Certificate(height, header, tuple((PUBLIC[i], KEYS[i].sign(said)) for i in voters))


def view_change(view: int, index: int, base: int = 0, items: tuple[Prepared, ...] = ()) -> ViewChange:
    shown = certificate(base) if base else None
    return signed(ViewChange(0, view, shown, items, PUBLIC[index], UNSIGNED), index)


def new_view(view: int, changes: tuple[ViewChange, ...], index: int | None = None) -> NewView:
    leader = view % 4 if index is None else index
    return signed(NewView(0, view, changes, choose_reproposals(changes), PUBLIC[leader], UNSIGNED), leader)


def specimens() -> dict[str, Any]:
    claim = vote(PrePrepare, 0, 1, 0)
    change = view_change(1, 1, items=(prepared(0, 1),))
    prepare, commit = vote(Prepare, 0, 1, 2), vote(Commit, 0, 1, 3)
    return {
        "pre-prepare": claim,
        "proposal": Proposal(claim, PAYLOAD),
        "prepare": prepare,
        "commit": commit,
        "checkpoint": signed(Checkpoint(1, digest("test/header"), PUBLIC[0], UNSIGNED)),
        "prepared": prepared(0, 1),
        "view-change": change,
        "new-view": new_view(1, tuple(view_change(1, i, items=(prepared(0, 1),)) for i in range(3))),
        "status": signed(
            Status(0, 1, False, certificate(2), 3, (4, 5), (3,), bytes(16), b"", PUBLIC[0], UNSIGNED)
        ),
        "certificate": certificate(2),
        "fetch": Fetch(7, DIGEST),
        "payload": PayloadReply(7, PAYLOAD),
        "birth": Birth(16),
        "accepted": PrepareRow(0, 1, DIGEST, claim, prepare),
        "committing": CommitRow(prepared(0, 1), commit),
        "evidence": Evidence(encode(prepare), encode(vote(Prepare, 0, 1, 2, NULL_DIGEST))),
    }


def test_every_record_has_its_golden_bytes() -> None:
    """Signatures included: Ed25519 is deterministic, so other implementations can compare."""
    golden = json.loads(VECTORS.read_text())
    assert {name: encode(item).hex() for name, item in specimens().items()} == golden


PARTS = {"birth", "accepted", "committing", "evidence", "pre-prepare", "prepared"}


@pytest.mark.parametrize("name", sorted(specimens().keys() - PARTS))
def test_every_message_decodes_to_itself_and_is_genuine(name: str) -> None:
    """Round trip through bytes, then verification."""
    item = specimens()[name]
    assert decode_message(encode(item)) == item
    Verifier(RULES).check(item)


@given(st.binary(max_size=300))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_any_bytes_decode_or_raise_the_declared_error(data: bytes) -> None:
    """Failure 19: unchecked index or length fields."""
    with pytest.raises(DecodeError):
        decode_message(data)


@given(st.sampled_from(sorted(specimens())), st.data())
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_message_with_one_changed_byte_is_refused(name: str, data: Any) -> None:
    """Failure 2: no field escapes the signature, whatever part of the message it sits in."""
    raw = bytearray(encode(specimens()[name]))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    if name in ("fetch", "payload"):  # unsigned: the digest that was asked for authenticates the answer
        return
    with pytest.raises(AssentError):
        Verifier(RULES).check(decode_message(bytes(raw)))


@pytest.mark.parametrize("field", ["view", "height"])
def test_numbers_beyond_64_bits_or_below_zero_are_malformed(field: str) -> None:
    """Failure 19: bounds hold before any use."""
    item = specimens()["prepare"]
    for value in (-1, U64_MAX + 1):
        with pytest.raises((DecodeError, OverflowError)):
            decode_message(encode(dataclasses.replace(item, **{field: value})))


def test_18_an_oversized_proposal_is_refused_and_the_largest_one_is_not() -> None:
    """Failure 18: a proposal may be as large as its bound and no larger."""
    for size, fits in ((PAYLOAD_BYTES_MAX, True), (PAYLOAD_BYTES_MAX + 1, False)):
        payload = bytes(size)
        data = encode(Proposal(vote(PrePrepare, 0, 1, 0, payload_digest(payload)), payload))
        if fits:
            Verifier(RULES).check(decode_message(data))
        else:
            with pytest.raises(DecodeError):
                decode_message(data)


def test_signatures_hold_for_one_chain_only() -> None:
    """Failure 34: replay across chains."""
    for message in (vote(Prepare, 0, 1, 0), specimens()["checkpoint"], view_change(1, 1)):
        foreign = signed(message, PUBLIC.index(message.sender), chain=digest("test/other-chain"))
        with pytest.raises(SignatureInvalid):
            Verifier(RULES).check(foreign)


def test_signatures_hold_for_one_kind_only() -> None:
    """Failure 34: replay across message kinds; equal fields sign differently."""
    kinds = (PrePrepare, Prepare, Commit)
    assert len({signing_digest(kind(1, 2, DIGEST, PUBLIC[0], UNSIGNED), CHAIN) for kind in kinds}) == 3
    prepare = vote(Prepare, 1, 2, 0)
    with pytest.raises(SignatureInvalid):
        Verifier(RULES).check(Commit(1, 2, DIGEST, PUBLIC[0], prepare.signature))


def test_a_sender_outside_the_set_is_refused() -> None:
    """Only validators vote."""
    stranger = PrivateKey(digest("test/stranger"))
    forged = sign(Prepare(0, 1, DIGEST, stranger.public, UNSIGNED), stranger, CHAIN)
    with pytest.raises(MessageInvalid, match="not a validator"):
        Verifier(RULES).check(forged)


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (Proposal(vote(PrePrepare, 0, 1, 1), PAYLOAD), "not by its primary"),
        (Proposal(vote(PrePrepare, 0, 1, 0), b"another"), "payload and digest differ"),
        (Proposal(vote(PrePrepare, 0, 0, 0), PAYLOAD), "genesis"),
        (view_change(0, 0), "view 0"),
        (view_change(1, 1, items=(prepared(1, 1),)), "prepared in view 1"),
        (view_change(2, 1, items=(prepared(0, 9),)), "prepared heights"),
        (view_change(2, 1, items=(prepared(0, 2), prepared(0, 1))), "prepared heights"),
        (view_change(2, 1, base=3, items=(prepared(0, 3),)), "prepared heights"),
        (view_change(2, 1, items=(prepared(0, 1, voters=(0, 1)),)), "not exactly a quorum"),
        (view_change(2, 1, items=(prepared(0, 1, voters=(0, 1, 1)),)), "not distinct"),
        (new_view(1, tuple(view_change(1, i) for i in (0, 1))), "not a quorum"),
        (new_view(1, tuple(view_change(1, i) for i in (0, 1, 1))), "not a quorum"),
        (new_view(1, (view_change(1, 0), view_change(1, 1), view_change(2, 2))), "another view"),
        (new_view(1, tuple(view_change(1, i) for i in range(3)), index=2), "does not lead"),
    ],
)
def test_a_message_that_breaks_the_protocol_is_refused_with_the_reason(message: Any, why: str) -> None:
    """Its sender signed it, so its sender is at fault."""
    with pytest.raises(MessageInvalid, match=why):
        Verifier(RULES).check(message)


def test_02_a_prepared_certificate_needs_real_prepare_signatures() -> None:
    """Failure 2: a forged view change; commits, or prepares for another digest, do not pass as prepares."""
    genuine = prepared(0, 1)
    other = dataclasses.replace(genuine, payload_digest=payload_digest(b"other"))
    commits = tuple((PUBLIC[i], vote(Commit, 0, 1, i).signature) for i in range(3))
    for forged in (other, dataclasses.replace(genuine, signatures=commits)):
        with pytest.raises(SignatureInvalid):
            Verifier(RULES).check(view_change(1, 1, items=(forged,)))


def test_a_view_change_cannot_claim_a_height_without_its_certificate() -> None:
    """Failure 24: a claimed height means nothing; the certificate must hold."""
    short = certificate(5, voters=(0, 1))
    with pytest.raises(ProofInvalid):
        Verifier(RULES).check(signed(ViewChange(0, 1, short, (), PUBLIC[1], UNSIGNED), 1))
    with pytest.raises(ProofInvalid):
        Verifier(RULES).check(signed(Status(0, 0, True, short, 5, (), (), b"", b"", PUBLIC[1], UNSIGNED), 1))


def test_a_new_view_whose_reproposals_do_not_follow_is_refused() -> None:
    """Every backup recomputes them; the leader's copy decides nothing."""
    changes = tuple(view_change(1, i, items=(prepared(0, 1),)) for i in range(3))
    good = new_view(1, changes)
    for lie in ((), ((1, NULL_DIGEST),), (*good.reproposals, (2, DIGEST))):
        with pytest.raises(MessageInvalid, match="do not follow"):
            Verifier(RULES).check(signed(dataclasses.replace(good, reproposals=lie), 1))


def test_absurd_heights_in_a_new_view_cost_nothing() -> None:
    """A prepared height of 2^63 must be refused before anything counts up to it."""
    wild = view_change(1, 1, items=(prepared(0, 2**63),))
    message = NewView(0, 1, (view_change(1, 0), wild, view_change(1, 2)), (), PUBLIC[1], UNSIGNED)
    with pytest.raises(MessageInvalid, match="prepared heights"):
        Verifier(RULES).check(signed(message, 1))


def test_the_last_64_bit_height_is_refused_like_any_other_lie() -> None:
    """Arithmetic on a claimed height must not leave the declared errors (the set of 2^64 is asked for)."""

    def ledger(height: int) -> Epoch:
        height.to_bytes(8, "big")
        return Epoch(0, PUBLIC)

    top = dataclasses.replace(certificate(3), height=U64_MAX)
    change = signed(ViewChange(0, 1, top, (), PUBLIC[0], UNSIGNED), 0)
    lead = (1 + (U64_MAX + 1) // RULES.rotation) % 4
    for lie in (change, signed(NewView(0, 1, (change,) * 3, (), PUBLIC[lead], UNSIGNED), lead)):
        with pytest.raises(AssentError):
            Verifier(Rules(CHAIN, ledger, lambda: U64_MAX, 8, 16)).check(lie)


def test_what_was_verified_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view change that repeats known prepares costs one verification, its own."""
    calls: list[bytes] = []
    verifier = Verifier(RULES)
    for index in range(3):
        verifier.check(vote(Prepare, 0, 1, index))
    monkeypatch.setattr("consensus.authenticity.verify", lambda public, *_rest: calls.append(public) or True)
    verifier.check(view_change(1, 1, items=(prepared(0, 1),)))
    assert calls == [PUBLIC[1]]


def test_the_memory_of_verified_signatures_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest entries go first."""
    monkeypatch.setattr("consensus.authenticity.REMEMBERED_MAX", 5)
    verifier = Verifier(RULES)
    for height in range(1, 20):
        verifier.check(vote(Prepare, 0, height, 0))
    assert len(verifier._good) == 5 < REMEMBERED_MAX


def test_evidence_convicts_contradictions_and_nothing_else() -> None:
    """Same sender, kind and slot, different content; a different view or height is no contradiction."""
    first, second = vote(Prepare, 1, 2, 0), vote(Prepare, 1, 2, 0, NULL_DIGEST)
    assert check_evidence(first, second, CHAIN) == Accusation(PUBLIC[0], "prepare", (1, 2))
    assert read_evidence(Evidence(encode(first), encode(second)), CHAIN).accused == PUBLIC[0]
    for innocent in (
        first,
        vote(Prepare, 2, 2, 0, NULL_DIGEST),
        vote(Prepare, 1, 3, 0),
        vote(Commit, 1, 2, 0),
    ):
        assert not conflicting(first, innocent)
        with pytest.raises(MessageInvalid):
            check_evidence(first, innocent, CHAIN)
    with pytest.raises(SignatureInvalid):
        check_evidence(first, second, digest("test/another chain"))
    with pytest.raises(SignatureInvalid):
        check_evidence(first, dataclasses.replace(second, signature=first.signature), CHAIN)


def test_views_of_different_epochs_are_no_contradiction() -> None:
    """Views begin anew with every set of validators: a replica asks for view 1 in each."""
    first = view_change(1, 0)
    later = signed(dataclasses.replace(first, epoch=9, certificate=certificate(8)))
    assert not conflicting(first, later)
    assert conflicting(first, signed(dataclasses.replace(first, certificate=certificate(8))))
