"""Normal case (PBFT, 4.2): PRE-PREPARE, PREPARE, COMMIT, and delivery in order of height."""

from __future__ import annotations

from chain.primitives.codec import encode
from consensus.events import Candidate, Checked, Proposed
from consensus.messages import (
    NULL_DIGEST,
    NULL_REQUEST,
    UNSIGNED,
    Commit,
    PayloadReply,
    Prepare,
    Prepared,
    PrePrepare,
    Proposal,
    payload_digest,
)
from consensus.slot import Check, Slot
from consensus.state import State, view_and_height
from consensus.votes import CommitRow, PrepareRow, commit_key, prepare_key


def on_proposal(state: State, proposal: Proposal) -> None:
    """Take the primary's payload for a slot; a second one that differs is evidence of equivocation."""
    claim = proposal.pre_prepare
    slot = state.slot(claim.height)
    if slot is None or _too_early(state, claim.view):
        state.hold(claim.sender, proposal)
    elif claim.view < state.view:
        slot.keep_payload(proposal.payload)  # no vote, but it may turn out to be committed
    elif slot.claim is not None:
        state.accuse(slot.claim, claim)
    elif slot.digest is None and claim.height >= state.fresh_from:
        slot.propose(claim.payload_digest, claim)
        slot.keep_payload(proposal.payload)


def on_prepare(state: State, prepare: Prepare) -> None:
    """Count one PREPARE of the current view."""
    slot = state.slot(prepare.height)
    if slot is None or _too_early(state, prepare.view):
        state.hold(prepare.sender, prepare)
    elif prepare.view == state.view:
        state.accuse(slot.prepares.setdefault(prepare.sender, prepare), prepare)


def on_commit(state: State, commit: Commit) -> None:
    """Count one COMMIT of whatever view: a decision can complete during a view change."""
    slot = state.slot(commit.height)
    if slot is None:
        state.hold(commit.sender, commit)
        return
    known = slot.commits.get(commit.sender)
    if known is None or commit.view > known.view:
        slot.commits[commit.sender] = commit
    else:
        state.accuse(known, commit)


def _too_early(state: State, view: int) -> bool:
    return view > state.view or (view == state.view and not state.active)


def on_payload(state: State, reply: PayloadReply) -> None:
    """Take a payload that was fetched; its digest shows that it is the one that is missing."""
    slot = state.slots.get(reply.height)
    if slot is not None and payload_digest(reply.payload) in slot.missing_payloads():
        slot.keep_payload(reply.payload)


def on_proposed(state: State, made: Proposed) -> None:
    """Propose our own payload if it is still our turn; an empty one is never proposed."""
    turn = state.turn()
    if turn is None or (turn.height, turn.view) != (made.height, made.view) or made.payload == NULL_REQUEST:
        return
    slot, digest = state.slot(made.height), payload_digest(made.payload)
    assert slot is not None  # turn() stays within the consensus window
    claim = state.sign(PrePrepare(state.view, made.height, digest, state.me, UNSIGNED))
    slot.propose(digest, claim)
    slot.keep_payload(made.payload)
    slot.check = Check.VALID
    state.send(Proposal(claim, made.payload))


def on_checked(state: State, checked: Checked) -> None:
    """Take the application's judgement of a proposal, unless a view change has made it void."""
    slot = state.slots.get(checked.height)
    if checked.view != state.view or slot is None or slot.digest != checked.digest:
        return
    if slot.check is Check.ASKED:
        slot.check = Check.VALID if checked.valid else Check.REFUSED


def advance_slot(state: State, slot: Slot) -> None:
    """Cast every vote on one height that has become possible, and decide the height."""
    _propose_again(state, slot)
    slot.decide(state.rules.quorum(slot.height))
    if slot.committed is not None and slot.digest not in (None, slot.committed):
        _refuse(state, slot)
    elif state.active and state.votes_on(slot.height):
        _ask_check(state, slot)
        _prepare(state, slot)
        _commit(state, slot)
        slot.decide(state.rules.quorum(slot.height))


def _refuse(state: State, slot: Slot) -> None:
    # In the view of the decision or below it, only the primary is at fault, or we are late. Above it, a
    # quorum of view changes hid a prepared proof: the assumption of at most f faulty is broken.
    # Where only the ledger tells of the decision, its view is unknown: nothing is voted for, nor concluded.
    if slot.committed_view is not None and state.view > slot.committed_view:
        state.halt(
            f"height {slot.height}: view {state.view} proposes anew what was decided in view "
            f"{slot.committed_view}: more than f replicas are faulty; compare the ledgers of all nodes"
        )


def _propose_again(state: State, slot: Slot) -> None:
    digest = state.reproposals.get(slot.height)
    if not state.active or digest is None or slot.digest is not None:
        return
    slot.propose(digest, None)
    if digest == NULL_DIGEST:
        slot.keep_payload(NULL_REQUEST)


def _ask_check(state: State, slot: Slot) -> None:
    payload, parents = slot.payload(), state.parents(slot.height)
    if slot.check is not Check.UNASKED or slot.digest is None or payload is None:
        return
    if slot.committed is not None:
        slot.check = Check.VALID  # it is what was decided: nothing to judge
    elif parents is None or slot.height <= state.delivered:
        return
    elif payload == NULL_REQUEST:
        slot.check = Check.VALID
    else:
        slot.check = Check.ASKED
        proposer, fresh = state.rules.primary(state.view, slot.height), slot.claim is not None
        state.out.check.append(
            Candidate(slot.height, state.view, proposer, payload, slot.digest, parents, fresh, state.base)
        )


def _prepare(state: State, slot: Slot) -> None:
    if slot.check is not Check.VALID or slot.digest is None or state.me in slot.prepares:
        return
    vote = state.sign(Prepare(state.view, slot.height, slot.digest, state.me, UNSIGNED))
    slot.prepares[state.me] = vote
    state.store_payload(slot, slot.digest)
    record = PrepareRow(state.view, slot.height, slot.digest, slot.claim, vote)
    state.out.put[prepare_key(slot.height)] = encode(record)
    state.send(vote)


def _commit(state: State, slot: Slot) -> None:
    ours = slot.commits.get(state.me)
    if state.me not in slot.prepares or (ours is not None and ours.view == state.view):
        return
    votes, quorum = slot.prepare_votes(), state.rules.quorum(slot.height)
    if len(votes) < quorum or slot.digest is None:
        return
    signatures = tuple((vote.sender, vote.signature) for vote in votes[:quorum])
    slot.prepared = Prepared(state.view, slot.height, slot.digest, signatures)
    commit = state.sign(Commit(state.view, slot.height, slot.digest, state.me, UNSIGNED))
    slot.commits[state.me] = commit
    state.out.put[commit_key(slot.height)] = encode(CommitRow(slot.prepared, commit))
    state.send(commit)


def deliver(state: State) -> None:
    """Deliver decided payloads strictly in order of height, each height once."""
    while (slot := state.slots.get(state.delivered + 1)) is not None:
        payload = slot.decided()
        if payload is None:
            return
        state.delivered += 1
        state.good_view = state.view
        state.out.deliver.append((state.delivered, payload))


def take_held(state: State) -> bool:
    """Handle held messages whose view and height have come; tell whether there were any.

    A message may have been held before the validators of its height were known: its sender is judged again.
    """
    due = [
        key
        for key, message in state.future.items()
        if key[2] <= state.high_watermark
        and (isinstance(message, Commit) or not _too_early(state, view_and_height(message)[0]))
    ]
    for key in due:
        match state.future.pop(key):
            case Proposal() as proposal:
                claim = proposal.pre_prepare
                if claim.sender == state.rules.primary(claim.view, claim.height):
                    on_proposal(state, proposal)
            case Prepare() as prepare:
                if state.rules.is_validator(prepare.sender, prepare.height):
                    on_prepare(state, prepare)
            case Commit() as commit:
                if state.rules.is_validator(commit.sender, commit.height):
                    on_commit(state, commit)
    return bool(due)
