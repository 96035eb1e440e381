"""Two validator sets in one replica: what counts for which, and what cannot be told yet."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chain.primitives.certificate import Certificate, Epoch, checkpoint_digest
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey, digest
from chain.primitives.errors import ProofInvalid
from consensus import checkpoints, repair
from consensus.authenticity import Verifier
from consensus.errors import MessageInvalid, NotYetKnown, VotesDamaged
from consensus.events import Head
from consensus.messages import (
    UNSIGNED,
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    Prepared,
    PrePrepare,
    Proposal,
    Status,
    ViewChange,
    payload_digest,
    sign,
)
from consensus.replica import Replica
from consensus.restart import revive
from consensus.rules import Rules
from consensus.state import LostVotes
from consensus.votes import EPOCH, StoredVotes, recall

CHAIN = digest("test/chain")
KEYS = sorted((PrivateKey(digest("test/key", bytes([i]))) for i in range(6)), key=lambda key: key.public)
PUBLIC = tuple(key.public for key in KEYS)
OLD, NEW, FIRST, WINDOW = PUBLIC[:4], (*PUBLIC[:3], *PUBLIC[4:]), 7, 3
"""Validator 3 leaves, 4 and 5 come; the new set certifies from height 7 on."""
PAYLOAD = b"payload"


class World:
    """A ledger that has executed up to some height: what it knows of sets follows."""

    def __init__(self, executed: int) -> None:
        self.executed = executed

    def epoch_at(self, height: int) -> Epoch:
        known = self.executed + WINDOW >= FIRST
        return Epoch(FIRST, NEW) if known and height >= FIRST else Epoch(0, OLD)

    def rules(self) -> Rules:
        return Rules(CHAIN, self.epoch_at, lambda: self.executed + WINDOW, WINDOW, rotation=100)


def header(height: int) -> bytes:
    return digest("test/header", bytes([height]))


def signed(message: Any, index: int) -> Any:
    return sign(dataclasses.replace(message, sender=PUBLIC[index]), KEYS[index], CHAIN)


def certificate(height: int, voters: tuple[int, ...] = (0, 1, 2)) -> Certificate:
    said = checkpoint_digest(CHAIN, height, header(height))
    return Certificate(height, header(height), tuple((PUBLIC[i], KEYS[i].sign(said)) for i in voters))


def replica(world: World, certified: int, me: int = 0) -> Replica:
    shown = certificate(certified) if certified else None
    headers = {height: header(height) for height in range(certified + 1, world.executed + 1)}
    return Replica(world.rules(), KEYS[me], Head(shown, headers))


def prepare(height: int, index: int, view: int = 0) -> Prepare:
    return signed(Prepare(view, height, payload_digest(PAYLOAD), b"", UNSIGNED), index)


def commit(height: int, index: int) -> Commit:
    return signed(Commit(0, height, payload_digest(PAYLOAD), b"", UNSIGNED), index)


def checkpoint(height: int, index: int) -> Checkpoint:
    return signed(Checkpoint(height, header(height), b"", UNSIGNED), index)


def view_change(epoch: int, view: int, index: int, base: int, items: tuple[Prepared, ...] = ()) -> ViewChange:
    shown = certificate(base) if base else None
    return signed(ViewChange(epoch, view, shown, items, b"", UNSIGNED), index)


def prepared(height: int, voters: tuple[int, ...]) -> Prepared:
    pairs = [(PUBLIC[index], prepare(height, index).signature) for index in voters]
    return Prepared(0, height, payload_digest(PAYLOAD), tuple(pairs))


def new_view(*changes: ViewChange) -> NewView:
    return signed(NewView(FIRST, 2, changes, (), b"", UNSIGNED), 2)


def test_the_votes_of_who_has_left_do_not_count_though_they_came_before_that_was_known() -> None:
    """Validator 3 votes on height 7 while we know the old set only; later we know better."""
    world = World(executed=3)
    node = replica(world, certified=2)
    verifier = Verifier(node.state.rules)
    for message in (prepare(7, 3), commit(7, 3), prepare(7, 1), commit(7, 1)):
        verifier.check(message)
        node.step(message)
    assert len(node.state.future) == 4
    world.executed = 6
    node.state.headers |= {height: header(height) for height in range(3, 7)}
    node.state.executed = node.state.delivered = 6
    node.step(certificate(6))
    assert node.state.epoch.first == FIRST
    slot = node.state.slots[7]
    assert PUBLIC[3] not in slot.prepares | slot.commits
    assert PUBLIC[1] in slot.prepares


def test_a_held_proposal_counts_only_from_the_primary_of_its_set() -> None:
    """Who would lead the height under the old set does not under the new one."""
    world = World(executed=3)
    node = replica(world, certified=2, me=1)
    leaders = (node.state.rules.primary(3, 7), NEW[3])
    claim = signed(PrePrepare(3, 7, payload_digest(PAYLOAD), b"", UNSIGNED), OLD.index(leaders[0]))
    assert leaders[0] != leaders[1]
    Verifier(node.state.rules).check(Proposal(claim, PAYLOAD))
    node.step(Proposal(claim, PAYLOAD))
    assert len(node.state.future) == 1
    world.executed = 6
    node.state.headers |= {height: header(height) for height in range(3, 7)}
    node.state.executed = node.state.delivered = 6
    node.step(certificate(6))
    node.state.leave_view(3, active=True)
    node.step(prepare(7, 1, view=3))
    assert node.state.future == {}
    assert node.state.slots[7].claim is None


def test_a_checkpoint_of_who_has_left_certifies_nothing() -> None:
    """Three of the old set signed height 7, two of the new one among them: no quorum of five."""
    world = World(executed=3)
    node = replica(world, certified=2)
    for index in (0, 1, 2, 3):
        node.step(checkpoint(7, index))
    world.executed = 7
    node.state.headers |= {height: header(height) for height in range(3, 8)}
    node.state.executed = node.state.delivered = 7
    node.step(certificate(6))
    assert node.state.certified == 6
    node.step(checkpoint(7, 4))
    assert node.state.certified == 7
    assert node.state.certificate is not None
    assert PUBLIC[3] not in dict(node.state.certificate.signatures)


def test_checkpoints_of_heights_whose_set_is_unknown_certify_nothing_yet() -> None:
    world = World(executed=3)
    node = replica(world, certified=2)
    for index in (0, 1, 2):
        node.step(checkpoint(7, index))
    assert node.state.target is None


def test_messages_about_unknown_sets_are_nobodys_fault() -> None:
    """A node that lags must not disconnect those who are ahead of it."""
    verifier = Verifier(World(executed=3).rules())
    for message in (
        prepare(7, 4),
        checkpoint(7, 5),
        view_change(FIRST, 1, 4, base=6),
        signed(NewView(FIRST, 1, (view_change(FIRST, 1, 4, base=6),), (), b"", UNSIGNED), 4),
        signed(Status(FIRST, 0, True, certificate(9, (0, 4, 5)), 9, (), (), b"", b"", b"", UNSIGNED), 4),
        certificate(9, (0, 1, 4, 5)),
        view_change(0, 1, 0, base=4, items=(prepared(7, (0, 1, 2)),)),
    ):
        with pytest.raises(NotYetKnown):
            verifier.check(message)


def test_a_forged_signature_is_a_lie_whatever_the_set_is() -> None:
    forged = dataclasses.replace(certificate(9), header_hash=bytes(32))
    with pytest.raises(ProofInvalid):
        Verifier(World(executed=3).rules()).check(forged)


def test_a_quorum_of_the_set_we_know_proves_a_height_far_above() -> None:
    """Its members sign no height that they do not certify: so we learn that we are behind."""
    world = World(executed=3)
    node = replica(world, certified=2)
    Verifier(node.state.rules).check(certificate(40))
    node.step(certificate(40))
    assert node.state.behind == certificate(40)


@pytest.mark.parametrize(
    "message",
    [
        view_change(0, 1, 4, base=6),
        view_change(FIRST, 1, 3, base=6),
        view_change(FIRST, 1, 0, base=5),
        view_change(0, 1, 0, base=5, items=(prepared(6, (0, 1, 2)), prepared(7, (0, 1, 2, 4)))),
        new_view(*(view_change(FIRST, 2, index, 6) for index in (0, 1, 2))),
        new_view(*(view_change(FIRST, 2, index, 6) for index in (0, 1, 2)), view_change(0, 2, 3, 4)),
        prepare(7, 3),
        prepare(6, 4),
    ],
    ids=[
        "a view change that names the epoch before",
        "by who has left",
        "that names the epoch after",
        "with prepared heights of two epochs",
        "a new view by a quorum of the old set's size",
        "a new view with a view change of the epoch before",
        "a vote of who has left",
        "a vote of who is yet to come",
    ],
)  # fmt: skip
def test_messages_that_mix_epochs_are_refused(message: Any) -> None:
    """Where both sets are known, whoever signs for another epoch than it is in breaks the protocol."""
    with pytest.raises(MessageInvalid):
        Verifier(World(executed=20).rules()).check(message)


NONCE = bytes(range(16))


def status(index: int, epoch: int, certified: int, delivered: int, answers: bytes = NONCE) -> Status:
    return signed(
        Status(epoch, 0, True, certificate(certified), delivered, (), (), b"", answers, b"", UNSIGNED), index
    )


def listener(world: World, certified: int) -> Any:
    node = replica(world, certified, me=1)
    node.state.lost = LostVotes(listening=True, nonce=NONCE)
    return node.state


def test_a_wiped_replica_hears_a_quorum_that_stands_where_it_does() -> None:
    state = listener(World(executed=5), certified=5)
    for index in (0, 2):
        assert state.lost.listening
        repair.answer_status(state, status(index, 0, certified=4, delivered=5))
    assert not state.lost.listening
    assert state.lost.muted == 0
    assert [height for height in range(1, FIRST) if state.votes_on(height)] == [], "not in this epoch"


def test_a_status_that_answers_no_question_of_this_start_is_not_heard() -> None:
    """Whoever keeps statuses for years could otherwise replay them to a replica without memory."""
    state = listener(World(executed=5), certified=5)
    for index in (0, 2, 3):
        for old in (b"", bytes(16), NONCE[:15]):
            repair.answer_status(state, status(index, 0, certified=5, delivered=5, answers=old))
    assert state.lost.heard == set()


def test_a_replica_that_moved_on_since_it_was_heard_is_not_heard_any_more() -> None:
    state = listener(World(executed=5), certified=5)
    repair.answer_status(state, status(0, 0, certified=5, delivered=5))
    assert state.lost.listening
    assert len(state.lost.heard) == 1
    repair.answer_status(state, status(0, 0, certified=6, delivered=FIRST - 1, answers=b""))
    assert state.lost.heard == set()


def test_who_has_delivered_the_end_of_the_epoch_tells_nothing_about_the_next() -> None:
    """Our former self may have voted in the next epoch, of which these need not know anything."""
    state = listener(World(executed=5), certified=5)
    for index in (0, 2, 3):
        repair.answer_status(state, status(index, 0, certified=5, delivered=FIRST - 1))
    assert state.lost.heard == set()


def test_who_is_in_another_epoch_is_not_heard() -> None:
    state = listener(World(executed=5), certified=5)
    for index in (0, 2, 4):
        repair.answer_status(state, status(index, FIRST, certified=8, delivered=8))
    assert state.lost.heard == set()


def test_who_delivered_beyond_what_is_known_here_is_not_heard_yet() -> None:
    """With heights 1 to 4 executed the set of 8 is unknown: first the blocks, then the votes."""
    state = listener(World(executed=3), certified=3)
    for index in (0, 2, 3):
        repair.answer_status(state, status(index, 0, certified=6, delivered=6))
    assert state.lost.heard == set()


def test_a_wiped_replica_of_another_set_only_follows() -> None:
    """It begins to listen where it is a validator again."""
    node = replica(World(executed=3), certified=3, me=4)
    node.state.lost = LostVotes(listening=True, nonce=NONCE)
    assert not node.state.listening
    for index in (0, 1, 2):
        repair.answer_status(node.state, status(index, 0, certified=3, delivered=3))
    assert node.state.lost.heard == set()


def test_a_start_with_votes_of_the_next_epoch_stands_in_it_though_the_ledger_lags() -> None:
    world = World(executed=6)
    head = Head(certificate(5), {6: header(6)})
    memory = recall([(EPOCH, encode(certificate(6))), *birth()])
    found = revive(world.rules(), KEYS[0], head, memory, first_start=False, nonce=NONCE)
    assert found.state.epoch.first == FIRST
    assert found.state.certified == 6
    out = found.step(checkpoint(6, 1))
    assert out.certified == [certificate(6)], "the ledger is given what it lacks"


def test_a_start_whose_ledger_ends_below_its_votes_is_refused() -> None:
    memory = recall([(EPOCH, encode(certificate(6))), *birth()])
    with pytest.raises(VotesDamaged, match="ledger ends at 4"):
        revive(
            World(executed=4).rules(), KEYS[0], Head(certificate(4)), memory, first_start=False, nonce=NONCE
        )


def test_view_changes_of_an_epoch_before_are_forgotten_on_a_start() -> None:
    """Their views count nothing here."""
    memory = StoredVotes(birth=recall(birth()).birth, view_change=view_change(0, 5, 0, base=3))
    found = revive(
        World(executed=6).rules(), KEYS[0], Head(certificate(6)), memory, first_start=False, nonce=NONCE
    )
    assert (found.state.view, found.state.active, found.state.view_changes) == (0, True, {})


def birth() -> list[tuple[bytes, bytes]]:
    first = replica(World(executed=0), certified=0)
    repair.settle_birth(first.state, 0)
    return list(first.state.out.put.items())


def test_certifying_the_last_height_of_an_epoch_opens_the_window_of_the_next() -> None:
    world = World(executed=6)
    node = replica(world, certified=5)
    assert node.state.high_watermark == FIRST - 1
    for index in (1, 2):
        node.step(checkpoint(6, index))
    checkpoints.repeat_checkpoint(node.state, 6)
    out = node.step(checkpoint(6, 3))
    assert (node.state.epoch.first, node.state.high_watermark) == (FIRST, 6 + WINDOW)
    assert EPOCH in out.put
