"""Retransmission: statuses, their answers, and payload fetches, since the transport may lose anything.

These are functions over a replica's state; only `answer_status` and `retransmit` change it, through the
effects of the step that calls them.
"""

from __future__ import annotations

from collections.abc import Callable

from chain.primitives.codec import encode
from consensus import checkpoints
from consensus.events import Retransmit
from consensus.messages import (
    UNSIGNED,
    Fetch,
    Message,
    PayloadReply,
    Proposal,
    Status,
    ViewChange,
    certificate_height,
    sign,
)
from consensus.state import LostVotes, State
from consensus.votes import BIRTH, Birth


def build_status(state: State, answers: bytes = b"") -> Status:
    """Return a signed STATUS that says where this replica stands.

    `answers` is the nonce with which a replica without memory asked: so it knows that the answer is not old.
    """
    above = sorted(height for height in state.slots if height > state.delivered)
    proposed = tuple(height for height in above if state.slots[height].digest is not None)
    status = Status(
        state.epoch.first,
        state.view,
        state.active,
        state.highest,
        state.delivered,
        proposed,
        tuple(sorted(state.headers.keys() - state.recent.keys()))[: 2 * state.rules.consensus_window],
        state.lost.nonce if state.listening else b"",
        answers,
        state.me,
        UNSIGNED,
    )
    return sign(status, state.signer, state.rules.chain_id)


def retransmit(state: State, event: Retransmit) -> None:
    """Send a status, and while we wait for a NEW-VIEW our VIEW-CHANGE again."""
    state.send(build_status(state), event.to)
    own = state.view_changes.get(state.me)
    if not state.active and own is not None and _is_current(state, own):
        state.send(own, event.to)


def answer_status(state: State, status: Status) -> None:
    """Send a replica what its status shows to be missing there, and learn from its certificate."""
    if status.certificate is not None and status.certificate.height > state.certified:
        checkpoints.learn(state, status.certificate)
    _listen(state, status)
    if status.asks:
        state.send(build_status(state, status.asks), status.sender)
    for message in _missing_from(state, status):
        state.send(message, status.sender)


def _missing_from(state: State, status: Status) -> list[Message]:
    found: list[Message] = []
    theirs = certificate_height(status.certificate)
    if state.highest is not None and state.highest.height > theirs:
        found.append(state.highest)
    for height in status.uncertified:
        vote = state.checkpoints.get(height, {}).get(state.me)
        found += [item for item in (state.recent.get(height) or vote,) if item is not None]
    found += _view_news(state, status)
    for height in sorted(state.retired):
        if height > status.delivered and state.me in state.retired[height].commits:
            found.append(state.retired[height].commits[state.me])
    for height in sorted(state.slots):
        if height > status.delivered:
            found += _votes(state, status, height)
        elif (vote := state.checkpoints.get(height, {}).get(state.me)) is not None and height > theirs:
            found += [] if height in status.uncertified else [vote]
    return found


def _view_news(state: State, status: Status) -> list[Message]:
    ours, theirs = (state.epoch.first, state.view), (status.epoch, status.view)
    ahead = ours > theirs or (ours == theirs and not status.active)
    own = state.view_changes.get(state.me)
    if not ahead:
        return []
    if state.active:
        return [state.new_view] if state.new_view is not None else []
    return [own] if own is not None and _is_current(state, own) else []


def _is_current(state: State, change: ViewChange) -> bool:
    return (change.epoch, change.view) == (state.epoch.first, state.view)


def _votes(state: State, status: Status, height: int) -> list[Message]:
    slot, found = state.slots[height], list[Message]()
    same_view = state.active and (state.epoch.first, state.view) == (status.epoch, status.view)
    payload = slot.payload()
    ours = slot.claim is not None and slot.claim.sender == state.me
    if same_view and height not in status.proposed and ours and slot.claim is not None and payload:
        found.append(Proposal(slot.claim, payload))
    if same_view and state.me in slot.prepares:
        found.append(slot.prepares[state.me])
    if state.me in slot.commits:
        found.append(slot.commits[state.me])
    return found


def _listen(state: State, status: Status) -> None:
    """While without memory, hear a quorum of the epoch (ourselves included) before ever voting again.

    A replica that we hear must stand where we do: its next height is in our epoch, and we know that it is.
    Only then did our former self take no part in a later epoch. It must answer what this very start asked:
    an older status tells nothing of what was voted for since.
    """
    voting = state.epoch.validators
    if not state.lost.listening or state.me not in voting or status.sender not in voting:
        return
    if status.sender == state.me:
        return
    following = status.delivered + 1
    here = status.epoch == state.epoch.first == state.rules.epoch(following).first
    if not here or not state.rules.is_settled(following):
        state.lost.heard.discard(status.sender)
    elif status.answers == state.lost.nonce:
        state.lost.heard.add(status.sender)
    if len(state.lost.heard) + 1 >= state.rules.quorum(state.certified + 1):
        # Whatever we certified before the wipe, a replica among these executed it: so our lost votes are of
        # this epoch or an earlier one. Which they were, and which views we left, nobody can tell any more.
        settle_birth(state, state.epoch.first)


def settle_birth(state: State, muted: int | None) -> None:
    """Write durably that this store is no longer new, and in which epoch it gives no votes, if in any."""
    state.lost = LostVotes(muted=muted)
    state.out.put[BIRTH] = encode(Birth(muted))


def answer_fetch(
    state: State, fetch: Fetch, read: Callable[[int, bytes], bytes | None]
) -> PayloadReply | None:
    """Return the payload that a peer asks for, if it is in flight here or was a moment ago.

    `read` looks (height, digest) up in the vote store, where the payload of each vote of ours is.
    """
    slot = state.slots.get(fetch.height) or state.retired.get(fetch.height)
    if slot is None:
        return None
    payload = slot.payloads.get(fetch.payload_digest)
    if payload is None and fetch.payload_digest in slot.stored:
        payload = read(fetch.height, fetch.payload_digest)
    return PayloadReply(fetch.height, payload) if payload is not None else None
