"""View changes (PBFT, 4.4): a replica asks for a view, joins others, leads the view, enters it."""

from __future__ import annotations

from collections.abc import Iterable

from chain.primitives.codec import encode
from consensus.checkpoints import learn
from consensus.events import Expired
from consensus.messages import UNSIGNED, NewView, ViewChange, certificate_height
from consensus.selection import base_height, choose_reproposals, select_quorum, view_to_join
from consensus.state import State
from consensus.votes import NEW_VIEW, VIEW_CHANGE


def on_expired(state: State, event: Expired) -> None:
    """Ask for the next view, if what we waited for is still owed to us."""
    if event.wait == state.waiting():
        _ask_for(state, state.view + 1)


def _ask_for(state: State, view: int) -> None:
    state.leave_view(view, active=False)
    slots = (state.slots[height] for height in sorted(state.slots))
    prepared = tuple(slot.prepared for slot in slots if slot.prepared is not None)
    change = state.sign(ViewChange(state.epoch.first, view, state.certificate, prepared, state.me, UNSIGNED))
    state.view_changes[state.me] = change
    state.out.put[VIEW_CHANGE] = encode(change)
    state.send(change)


def on_view_change(state: State, change: ViewChange) -> None:
    """Keep the latest VIEW-CHANGE of each sender; one of a later epoch waits until we are there.

    Its certificate is learnt whatever becomes of the message: a replica that showed a certificate to one
    leader after another, and to nobody else, could otherwise decide for ever who leads.
    """
    _learn_all(state, (change,))
    known = state.view_changes.get(change.sender)
    if known is None or (known.epoch, known.view) < (change.epoch, change.view):
        if change.epoch >= state.epoch.first:
            state.view_changes[change.sender] = change
    else:
        state.accuse(known, change)


def try_join(state: State) -> None:
    """Follow f+1 replicas to a higher view."""
    height = state.certified + 1
    target = view_to_join(state.view, state.asking(), state.rules.faults(height))
    if target is not None and state.votes_on(height):
        _ask_for(state, target)


def try_lead(state: State) -> None:
    """Start the view for which we wait, once a quorum asked for it and if we lead it."""
    own = state.view_changes.get(state.me)
    if state.active or own is None or own.view != state.view or not state.votes_on(state.certified + 1):
        return
    asking = [change for change in state.asking() if change.view == state.view]
    chosen = _quorum_to_lead(state, asking)
    if chosen is None:
        return
    unsigned = NewView(state.epoch.first, state.view, chosen, choose_reproposals(chosen), state.me, UNSIGNED)
    message = state.sign(unsigned)
    state.send(message)
    _enter(state, message)


def _quorum_to_lead(state: State, asking: list[ViewChange]) -> tuple[ViewChange, ...] | None:
    """Return a quorum whose highest certificate makes us the leader; of several, that with the highest.

    Any quorum will do: who leads must not hang on a certificate that one replica shows to some only.
    """
    for base in sorted({certificate_height(change.certificate) for change in asking}, reverse=True):
        below = [change for change in asking if certificate_height(change.certificate) <= base]
        quorum = state.rules.quorum(base + 1)
        if len(below) >= quorum and state.rules.primary(state.view, base + 1) == state.me:
            return select_quorum(below, quorum)
    return None


def on_new_view(state: State, message: NewView) -> None:
    """Enter a view for which a quorum asked, unless we are in it or above it already."""
    if message.epoch > state.epoch.first:
        _learn_all(state, message.view_changes)  # they prove how far behind we are
    if state.is_news(message):
        _enter(state, message)


def _enter(state: State, message: NewView) -> None:
    state.leave_view(message.view, active=True)
    state.out.put[NEW_VIEW] = encode(message)
    adopt_view(state, message)
    _learn_all(state, message.view_changes)


def _learn_all(state: State, changes: Iterable[ViewChange]) -> None:
    for change in changes:
        if change.certificate is not None and change.certificate.height > state.certified:
            learn(state, change.certificate)


def adopt_view(state: State, message: NewView) -> None:
    """Take over base and re-proposals of a new view."""
    state.new_view = message
    state.reproposals = dict(message.reproposals)
    state.base = base_height(message.view_changes)
    state.fresh_from = state.base + len(message.reproposals) + 1
