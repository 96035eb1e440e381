"""PBFT replica as a pure state machine: `step(event) -> Effects`.

It has no clock, socket, disk or random source, and trusts that messages were authenticated (authenticity.py).
README.md is the protocol in full, and the table below has every transition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chain.primitives.certificate import Certificate
from chain.primitives.crypto import Signer
from consensus import checkpoints, normal_case, repair, view_change
from consensus.events import (
    Checked,
    Effects,
    Event,
    Executed,
    Expired,
    Head,
    Pending,
    Proposed,
    Retransmit,
    Synced,
)
from consensus.messages import (
    Checkpoint,
    Commit,
    NewView,
    PayloadReply,
    Prepare,
    Proposal,
    Status,
    ViewChange,
)
from consensus.rules import Rules
from consensus.state import State


def _on_pending(state: State, event: Pending) -> None:
    state.pending = event.waiting


_TRANSITIONS: dict[type, Callable[[State, Any], None]] = {
    # messages (Fetch is answered by the driver, which knows who asks, and changes nothing)
    Proposal: normal_case.on_proposal,
    Prepare: normal_case.on_prepare,
    Commit: normal_case.on_commit,
    PayloadReply: normal_case.on_payload,
    Checkpoint: checkpoints.on_checkpoint,
    Certificate: checkpoints.learn,
    ViewChange: view_change.on_view_change,
    NewView: view_change.on_new_view,
    Status: repair.answer_status,
    # the application
    Proposed: normal_case.on_proposed,
    Checked: normal_case.on_checked,
    Executed: checkpoints.on_executed,
    Synced: checkpoints.on_synced,
    Pending: _on_pending,
    # time
    Expired: view_change.on_expired,
    Retransmit: repair.retransmit,
}


class Replica:
    """Replica of one validator, which votes, or of one observer, which follows without voting."""

    def __init__(self, rules: Rules, signer: Signer, head: Head) -> None:
        """Start at the ledger's head in view 0 without votes; `restart.revive` adds the remembered ones."""
        self.state = State(rules, signer, head)

    def step(self, event: Event) -> Effects:
        """Take one event and return what must be done; a halted replica wants nothing done."""
        state = self.state
        if not state.halted:
            _TRANSITIONS[type(event)](state, event)
            _advance(state)
        out, state.out = state.out, Effects()
        return Effects() if state.halted else out


def _advance(state: State) -> None:
    """Do everything that the last event made possible; ends, since views, heights and votes only grow."""
    while not state.halted:
        before = (state.epoch.first, state.certified, state.view, state.active)
        for height in state.reproposals:
            state.slot(height)
        for height in sorted(state.slots):
            normal_case.advance_slot(state, state.slots[height])
        normal_case.deliver(state)
        checkpoints.certify(state)
        view_change.try_join(state)
        view_change.try_lead(state)
        held = normal_case.take_held(state)
        if not held and before == (state.epoch.first, state.certified, state.view, state.active):
            return
