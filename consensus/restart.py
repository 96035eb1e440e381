"""Restart: brings a replica back from its durable votes, so that it never contradicts them."""

from __future__ import annotations

from chain.primitives.crypto import Signer
from consensus import checkpoints, repair, view_change
from consensus.errors import VotesDamaged
from consensus.events import Head
from consensus.messages import NULL_DIGEST, NULL_REQUEST, payload_digest
from consensus.replica import Replica
from consensus.rules import Rules
from consensus.slot import PAYLOADS_MAX, Check, Slot
from consensus.state import LostVotes, State
from consensus.votes import CommitRow, PrepareRow, StoredVotes


def revive(
    rules: Rules, signer: Signer, head: Head, memory: StoredVotes, *, first_start: bool, nonce: bytes
) -> Replica:
    """Return a replica that continues from its ledger and votes; raise VotesDamaged if they do not fit.

    A store without a birth row is new or was wiped. On a first start the replica votes at once. Else it
    listens first, asking with `nonce` (16 bytes that nobody can foresee), and then gives no vote in the epoch
    in which it finds itself: it may have voted in it before.
    """
    replica = Replica(rules, signer, head)
    state = replica.state
    _restore_epoch(state, memory)
    if memory.birth is not None:
        state.lost.muted = memory.birth.muted
    elif first_start:
        repair.settle_birth(state, None)
    else:
        state.lost = LostVotes(listening=True, nonce=nonce)
    state.accused = set(memory.evidence)
    _restore_view(state, memory)
    for height in sorted(memory.prepares.keys() | memory.commits.keys() | memory.payloads.keys()):
        _restore_height(state, memory, height)
    for height, payload in head.payloads.items():
        _restore_decided(state, height, payload)
    for height in sorted(state.headers):
        checkpoints.repeat_checkpoint(state, height)
    return replica


def _restore_epoch(state: State, memory: StoredVotes) -> None:
    """Enter the epoch in which we voted, should the ledger not have the certificate below it yet."""
    entered = memory.epoch
    if entered is None or entered.height <= state.certified:
        return
    if entered.height not in state.headers:
        raise VotesDamaged(
            f"vote store: votes above height {entered.height}, the ledger ends at {state.executed}; do not "
            "vote with it: restore the data directory, or empty it and rejoin"
        )
    checkpoints.learn(state, entered)


def _restore_view(state: State, memory: StoredVotes) -> None:
    if memory.new_view is not None and memory.new_view.epoch == state.epoch.first:
        state.view = memory.new_view.view
        view_change.adopt_view(state, memory.new_view)
    change = memory.view_change
    if change is not None:
        if change.sender != state.me:
            raise VotesDamaged(
                "vote store: belongs to another replica; check the node's key and data directory"
            )
        if change.epoch == state.epoch.first:
            state.view_changes[state.me] = change
        if change.epoch == state.epoch.first and change.view > state.view:
            state.view, state.active, state.reproposals = change.view, False, {}
    state.good_view = state.view


def _restore_decided(state: State, height: int, payload: bytes) -> None:
    """Know what was decided at an executed height, so that no view can propose another payload there."""
    slot = state.slot(height)
    if slot is not None:
        slot.committed = payload_digest(payload)
        slot.keep_payload(payload)


def _restore_height(state: State, memory: StoredVotes, height: int) -> None:
    payloads = {payload_digest(payload): payload for payload in memory.payloads.get(height, [])}
    prepare, commit = memory.prepares.get(height), memory.commits.get(height)
    slot = Slot(height)
    slot.stored = set(payloads)
    votes = (prepare.prepare if prepare else None, commit.commit if commit else None)
    for vote in votes:  # those we voted for stay, whatever other views proposed before
        if vote is not None and vote.payload_digest in payloads:
            slot.payloads[vote.payload_digest] = payloads.pop(vote.payload_digest)
    slot.payloads.update(list(payloads.items())[: PAYLOADS_MAX - len(slot.payloads)])
    if height <= state.certified:
        state.forget(height, slot.stored)
        return
    state.slots[height] = slot
    _restore_votes(state, slot, prepare, commit)


def _restore_votes(state: State, slot: Slot, prepare: PrepareRow | None, commit: CommitRow | None) -> None:
    for vote in (prepare.prepare if prepare else None, commit.commit if commit else None):
        if vote is None:
            continue
        if vote.payload_digest == NULL_DIGEST:
            slot.keep_payload(NULL_REQUEST)
        if vote.payload_digest not in slot.payloads or vote.sender != state.me:
            raise VotesDamaged(
                f"vote store: our vote on height {slot.height} has lost its payload or its sender; do not "
                "vote with it: restore the data directory, or empty it and rejoin"
            )
    if commit is not None:
        slot.prepared = commit.prepared
        slot.commits[state.me] = commit.commit
    if prepare is not None and prepare.view == state.view and state.active:
        slot.propose(prepare.payload_digest, prepare.claim)
        slot.prepares[state.me] = prepare.prepare
        slot.check = Check.VALID
