"""Relevance: the cheap filter that drops a message before its signature is verified."""

from __future__ import annotations

from chain.primitives.certificate import Certificate
from consensus import checkpoints
from consensus.messages import Checkpoint, Commit, Message, NewView, Prepare, Proposal, ViewChange
from consensus.state import State


def relevant(state: State, message: Message) -> bool:
    """Tell whether a message can change anything; any other is dropped before its signature is verified."""
    certified, window = state.certified, state.rules.consensus_window
    match message:
        case Proposal():
            height = message.pre_prepare.height
            slot = state.slots.get(height)
            known = slot is not None and slot.claim == message.pre_prepare
            return certified < height <= certified + 2 * window and not known
        case Prepare():
            return certified < message.height <= certified + 2 * window and _counts(state, message)
        case Commit():
            slot = state.slots.get(message.height)
            done = slot is not None and slot.committed == message.payload_digest
            return certified < message.height <= certified + 2 * window and not done
        case Checkpoint():
            known_certificate = state.recent.get(message.height)
            done = known_certificate is not None and known_certificate.header_hash == message.header_hash
            return checkpoints.counts(state, message.height) and not done
        case Certificate():
            return message.height > certified or message.height in state.headers.keys() - state.recent.keys()
        case ViewChange():
            latest = state.view_changes.get(message.sender)
            if latest is None:
                return message.epoch >= state.epoch.first
            late = (latest.epoch, latest.view) <= (message.epoch, message.view)
            return late and latest != message
        case NewView():
            return message.epoch > state.epoch.first or state.is_news(message)
        case _:
            return True


def _counts(state: State, message: Prepare) -> bool:
    slot = state.slots.get(message.height)
    if message.view < state.view:
        return False
    if slot is None or message.view > state.view:
        return True
    ours = slot.commits.get(state.me)
    done = ours is not None and ours.view == message.view and ours.payload_digest == message.payload_digest
    return not done and slot.prepares.get(message.sender) != message
