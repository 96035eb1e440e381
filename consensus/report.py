"""What a replica is doing, in words an operator can act on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consensus.slot import Check, Slot
from consensus.state import State


def describe(state: State, heard: Mapping[bytes, int], since: int, now: int) -> dict[str, Any]:
    """Return the state of a replica, JSON-ready: public keys as hex, times in milliseconds ago."""
    height = min(state.delivered + 1, state.top)
    phase, missing = _phase(state)
    validators = state.rules.validators(height)
    return {
        "height": state.certified,
        "executed": state.executed,
        "delivered": state.delivered,
        "epoch": state.epoch.first,
        "view": state.view,
        "active": state.active,
        "primary": state.rules.primary(state.view, height).hex(),
        "validator": state.me in validators,
        "validators": len(validators),
        "quorum": state.rules.quorum(height),
        "phase": phase,
        "missing": [key.hex() for key in validators if key in missing],
        "since_ms": max(0, now - since),
        "heard_ms": {key.hex(): max(0, now - at) for key, at in heard.items()},
        "pending": state.pending,
        "in_flight": sum(state.in_flight(slot) for slot in state.slots.values()),
        "accused": len(state.accused),
        "halted": state.halted,
    }


def _phase(state: State) -> tuple[str, set[bytes]]:
    """Return what is awaited and from whom."""
    height = min(state.delivered + 1, state.top)
    others = set(state.rules.validators(height)) - {state.me}
    if state.halted:
        return f"halted: {state.halted}", set()
    if state.listening and state.heard is not None:
        return _listening(others), others - state.heard.keys()
    if state.behind is not None:
        return f"behind: blocks up to {state.behind.height} are certified, syncing", set()
    if not state.active:
        asked = {change.sender for change in state.asking() if change.view >= state.view}
        leader = state.rules.primary(state.view, state.certified + 1)
        if len(asked) < state.rules.quorum(height):
            return f"asking for view {state.view}: {len(asked)} replicas so far", others - asked
        return f"waiting for the NEW-VIEW of view {state.view}", {leader} - {state.me}
    if state.executed > state.certified:
        lowest = state.certified + 1
        signed = set(state.checkpoints.get(lowest, {}))
        if state.delivered == state.executed:
            return f"height {lowest}: executed, {len(signed)} checkpoints", others - signed
    if state.delivered > state.executed:
        return f"height {state.executed + 1}: executing", set()
    return _voting(state, state.slots.get(height), others)


def _listening(others: set[bytes]) -> str:
    if others:
        return "listening to a quorum before voting, since the vote store was empty"
    return (
        "the only validator, and its vote store was empty although its key has voted: restore the data "
        "directory; if the chain shall begin anew, remove the marker of votes beside the key"
    )


def _voting(state: State, slot: Slot | None, others: set[bytes]) -> tuple[str, set[bytes]]:
    height = state.delivered + 1
    if slot is None or slot.digest is None:
        if not state.pending:
            return "idle: nothing to order", set()
        primary = state.rules.primary(state.view, height)
        return f"height {height}: waiting for a proposal", {primary} - {state.me}
    if slot.payload() is None:
        return f"height {height}: fetching the payload", set()
    if slot.check is not Check.VALID:
        return f"height {height}: proposal {slot.check.value}", set()
    prepared = {vote.sender for vote in slot.prepare_votes()}
    if len(prepared) < state.rules.quorum(height):
        return f"height {height}: {len(prepared)} prepares", others - prepared
    committed = set(slot.commits)
    return f"height {height}: {len(committed)} commits", others - committed
