"""The plan of faults, and the liar of the torture: every mood does what its name says."""

from __future__ import annotations

import itertools
import random

import pytest

from chain.ledger.block import Batch
from chain.ledger.genesis import Genesis
from chain.ledger.testing import toy_genesis, toy_key
from chain.network.frame import Kind
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from consensus.messages import (
    UNSIGNED,
    Checkpoint,
    Message,
    Prepare,
    PrePrepare,
    Proposal,
    ViewChange,
    decode_message,
    payload_digest,
    sign,
)
from tests.torture.campaign import Settings
from tests.torture.faults import FORGETFUL, LULL_EVERY, plan
from tests.torture.lies import HONEST_FIRST_S, MOODS, Liar

NAMES = ["bank", "bureau", "registry", "regulator"]
KEYS = [toy_key(f"{name}-node") for name in NAMES]


def kinds(liar: bool, seed: int = 3, count: int = 60) -> list[str]:
    """Return the kinds of the first faults of a plan."""
    without, lull_s = (FORGETFUL, 75.0) if liar else ((), 0.0)
    faults = plan(NAMES, None, random.Random(seed), without, lull_s)
    return [fault.kind for fault in itertools.islice(faults, count)]


def test_beside_a_liar_no_fault_makes_another_node_forget() -> None:
    assert set(kinds(liar=False)) >= FORGETFUL
    assert not set(kinds(liar=True)) & FORGETFUL


def test_beside_a_liar_every_few_faults_are_followed_by_a_lull_in_which_progress_is_demanded() -> None:
    faults = list(itertools.islice(plan(NAMES, None, random.Random(3), FORGETFUL, 75.0), 3 * LULL_EVERY))
    long = [number for number, fault in enumerate(faults) if fault.gap_s > 75.0]
    assert long == [LULL_EVERY - 1, 2 * LULL_EVERY - 1, 3 * LULL_EVERY - 1]


@pytest.mark.parametrize(
    ("count", "liar", "spare"), [(4, False, 1), (4, True, 0), (7, True, 1), (10, True, 2)]
)
def test_a_liar_is_one_of_the_f_that_may_be_faulty(count: int, liar: bool, spare: int) -> None:
    assert Settings(1, 60.0, count, 100.0, mount=False, liar=liar, floods=False).spare == spare


# --- the liar ---------------------------------------------------------------------------------------


@pytest.fixture
def genesis() -> Genesis:
    return toy_genesis(NAMES)


def liar_in(mood: str, genesis: Genesis) -> Liar:
    """Return the first validator as a liar that has just fallen into a mood."""
    for seed in range(1_000):
        made = Liar(KEYS[0], genesis, random.Random(seed), 0.0)
        made.volunteer([], HONEST_FIRST_S)
        if made.mood == mood and len(made._fooled) == 1:
            return made
    raise AssertionError(f"no seed falls into {mood!r}")


def said(liar: Liar, peer: PrivateKey, message: Message) -> list[tuple[float, Message]]:
    """Return what a peer is told in place of a message, and how late."""
    frames = liar.say(peer.public, Kind.CONSENSUS, encode(message), HONEST_FIRST_S + 0.1)
    return [(wait, decode_message(body)) for wait, _, body in frames]


def proposal(genesis: Genesis) -> Proposal:
    ids = (bytes(32), bytes([1] * 32))
    payload = encode(Batch(1, 0, 0, KEYS[0].public, 5, ids))
    claim = PrePrepare(0, 1, payload_digest(payload), KEYS[0].public, UNSIGNED)
    return Proposal(sign(claim, KEYS[0], genesis.chain_id), payload)


def prepare(genesis: Genesis, key: PrivateKey, digest: bytes) -> Prepare:
    return sign(Prepare(0, 1, digest, key.public, UNSIGNED), key, genesis.chain_id)


def test_at_first_it_tells_the_truth(genesis: Genesis) -> None:
    made = Liar(KEYS[0], genesis, random.Random(1), 0.0)
    frame = encode(proposal(genesis))
    assert made.say(KEYS[1].public, Kind.CONSENSUS, frame, 1.0) == [(0.0, Kind.CONSENSUS, frame)]


def test_every_mood_is_fallen_into(genesis: Genesis) -> None:
    for mood in MOODS:
        assert liar_in(mood, genesis).mood == mood


def test_silent_it_says_nothing_and_slow_it_says_it_later(genesis: Genesis) -> None:
    vote = prepare(genesis, KEYS[0], bytes(32))
    assert said(liar_in("silent", genesis), KEYS[1], vote) == []
    ((wait, same),) = said(liar_in("slow", genesis), KEYS[1], vote)
    assert wait > 0
    assert same == vote
    ((wait, same),) = said(liar_in("slow proposals", genesis), KEYS[1], proposal(genesis))
    assert wait > 0
    assert said(liar_in("slow proposals", genesis), KEYS[1], vote) == [(0.0, vote)]


def test_equivocating_it_tells_one_half_another_proposal_and_votes_for_it(genesis: Genesis) -> None:
    made = liar_in("equivocate", genesis)
    (fooled,) = (key for key in KEYS if key.public in made._fooled)
    trusted = next(key for key in KEYS[1:] if key is not fooled)
    true = proposal(genesis)
    ((_, other),) = said(made, fooled, true)
    assert isinstance(other, Proposal)
    assert (
        other.pre_prepare.payload_digest == payload_digest(other.payload) != true.pre_prepare.payload_digest
    )
    assert sign(other.pre_prepare, KEYS[0], genesis.chain_id) == other.pre_prepare
    assert said(made, trusted, true) == [(0.0, true)]
    vote = prepare(genesis, KEYS[0], true.pre_prepare.payload_digest)
    ((_, twin),) = said(made, fooled, vote)
    assert twin == prepare(genesis, KEYS[0], other.pre_prepare.payload_digest)


def test_hoarding_it_assembles_a_certificate_of_overheard_votes_and_shows_it_to_few(genesis: Genesis) -> None:
    made = liar_in("hoard certificates", genesis)
    for key in KEYS[1:]:
        vote = sign(Checkpoint(1, bytes(32), key.public, UNSIGNED), key, genesis.chain_id)
        made.hear(Kind.CONSENSUS, encode(vote))
    found = made.volunteer([key.public for key in KEYS[1:]], HONEST_FIRST_S + 0.1)
    assert {peer for peer, _ in found} == made._fooled
    certificate = decode_message(found[0][1][1])
    assert len(certificate.signatures) == 3  # type: ignore[union-attr]


def test_its_view_changes_are_signed_and_hide_what_was_prepared(genesis: Genesis) -> None:
    made = liar_in("false view changes", genesis)
    for key in KEYS[1:]:
        made.hear(Kind.CONSENSUS, encode(prepare(genesis, key, bytes([7] * 32))))
    shown = [made.volunteer([KEYS[1].public], HONEST_FIRST_S + 0.1)[0][1][1] for _ in range(20)]
    changes = [message for message in map(decode_message, shown) if isinstance(message, ViewChange)]
    assert len(changes) == 20
    assert all(sign(change, KEYS[0], genesis.chain_id) == change for change in changes)
    assert {len(change.prepared) for change in changes} == {0, 1}
