"""Report of a replica: what it does and whom it waits for, in words on which an operator can act."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chain.primitives.words import counted
from consensus.slot import Check, Slot
from consensus.state import State


def describe(state: State, heard: Mapping[bytes, int], since: int, now: int) -> dict[str, Any]:
    """Return the state of a replica, ready for JSON: public keys in hex, times as milliseconds ago.

    `phase` is one of halted, listening, behind, muted, view-change, new-view, checkpoints, executing, idle,
    proposal, payload, check, prepares, commits; `says` puts it into a sentence.
    """
    height = min(state.delivered + 1, state.high_watermark)
    phase, says, missing = _phase(state)
    validators = state.rules.validators(height)
    asked = {change.sender for change in state.asking() if change.view >= state.view}
    open_votes = state.checkpoints.get(state.certified + 1, {})
    return {
        "height": state.certified,
        "executed": state.executed,
        "delivered": state.delivered,
        "uncertified": state.uncertified(),
        "epoch": state.epoch.first,
        "consensus_window": state.rules.consensus_window,
        "view": state.view,
        "active": state.active,
        "primary": state.rules.primary(state.view, height).hex(),
        "passed_over": [key.hex() for key in validators if key not in state.rules.leaders(height)],
        "validator": state.me in validators,
        "validators": len(validators),
        "quorum": state.rules.quorum(height),
        "phase": phase,
        "says": says,
        "missing": [key.hex() for key in validators if key in missing],
        "asked": [] if state.active else [key.hex() for key in validators if key in asked],
        "headers": {key.hex(): vote.header_hash.hex() for key, vote in sorted(open_votes.items())},
        "since_ms": max(0, now - since),
        "heard_ms": {key.hex(): max(0, now - at) for key, at in heard.items()},
        "pending": state.pending,
        "in_flight": sum(state.in_flight(slot) for slot in state.slots.values()),
        "accused": len(state.accused),
        "halted": state.halted,
    }


def _phase(state: State) -> tuple[str, str, set[bytes]]:
    """Return what is awaited, in a word and in a sentence, and from whom."""
    height = min(state.delivered + 1, state.high_watermark)
    others = set(state.rules.validators(height)) - {state.me}
    if state.halted:
        return "halted", f"halted: {state.halted}", set()
    if state.listening:
        return "listening", _listening(others), others - state.lost.heard
    if state.behind is not None:
        return "behind", f"behind: blocks up to {state.behind.height} are certified, syncing", set()
    if state.me in state.rules.validators(height) and not state.votes_on(height):
        return "muted", MUTED, set()
    if not state.active:
        return _changing(state, others)
    if state.executed > state.certified and state.delivered == state.executed:
        lowest = state.certified + 1
        signed = set(state.checkpoints.get(lowest, {}))
        return "checkpoints", f"height {lowest}: executed, {len(signed)} checkpoints", others - signed
    if state.delivered > state.executed:
        return "executing", f"height {state.executed + 1}: executing", set()
    return _voting(state, state.slots.get(height), others)


MUTED = (
    "this key's votes were lost with its data directory: it follows and signs checkpoints, and votes on "
    "nothing until another validator set is in force; move the seat to a new key: assent validator rejoin"
)


def _listening(others: set[bytes]) -> str:
    if others:
        return "listening to a quorum before voting, since the vote store was empty"
    return (
        "the only validator, and its vote store was empty although its key has voted: restore the data "
        "directory; if the chain shall begin anew, remove the marker of votes beside the key"
    )


def _changing(state: State, others: set[bytes]) -> tuple[str, str, set[bytes]]:
    asked = {change.sender for change in state.asking() if change.view >= state.view}
    leader = state.rules.primary(state.view, state.certified + 1)
    if len(asked) < state.rules.quorum(min(state.delivered + 1, state.high_watermark)):
        so_far = counted(len(asked), "replica")
        return "view-change", f"asking for view {state.view}: {so_far} so far", others - asked
    return "new-view", f"waiting for the NEW-VIEW of view {state.view}", {leader} - {state.me}


def _voting(state: State, slot: Slot | None, others: set[bytes]) -> tuple[str, str, set[bytes]]:
    height = state.delivered + 1
    if slot is None or slot.digest is None:
        if not state.pending:
            return "idle", "idle: nothing to order", set()
        primary = state.rules.primary(state.view, height)
        return "proposal", f"height {height}: waiting for a proposal", {primary} - {state.me}
    if slot.payload() is None:
        return "payload", f"height {height}: fetching the payload", set()
    if slot.check is not Check.VALID:
        return "check", f"height {height}: proposal {slot.check.value}", set()
    prepared = {vote.sender for vote in slot.prepare_votes()}
    if len(prepared) < state.rules.quorum(height):
        return "prepares", f"height {height}: {len(prepared)} prepares", others - prepared
    committed = set(slot.commits)
    return "commits", f"height {height}: {len(committed)} commits", others - committed
