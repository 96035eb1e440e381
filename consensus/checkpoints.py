"""Checkpoints, certificates and garbage collection (PBFT, 4.3); every height has a checkpoint."""

from __future__ import annotations

from chain.primitives.certificate import Certificate
from consensus.events import Executed, Synced
from consensus.messages import UNSIGNED, Checkpoint
from consensus.state import State


def on_executed(state: State, event: Executed) -> None:
    """Sign the header that execution produced, and take its certificate if that came first."""
    if event.height <= state.executed:
        return  # sync was faster
    assert event.height == state.executed + 1 <= state.delivered  # our own application, in our order
    state.executed = event.height
    state.headers[event.height] = event.header_hash
    repeat_checkpoint(state, event.height)
    if state.target is not None and state.target.height <= state.executed:
        target, state.target = state.target, None
        learn(state, target)


def repeat_checkpoint(state: State, height: int) -> None:
    """Sign and send the checkpoint of an executed height; repeated, it is the same bytes."""
    if state.rules.is_validator(state.me, height):
        vote = state.sign(Checkpoint(height, state.headers[height], state.me, UNSIGNED))
        state.checkpoints.setdefault(height, {})[state.me] = vote
        state.send(vote)


def on_checkpoint(state: State, vote: Checkpoint) -> None:
    """Keep one checkpoint of each sender and height, near the consensus window only."""
    if counts(state, vote.height):
        votes = state.checkpoints.setdefault(vote.height, {})
        state.accuse(votes.setdefault(vote.sender, vote), vote)


def counts(state: State, height: int) -> bool:
    """Tell whether checkpoints of a height are of use: it is up to 2W ahead, or was executed here."""
    ahead = state.certified < height <= state.certified + 2 * state.rules.consensus_window
    return ahead or height in state.headers


def certify(state: State) -> None:
    """Form the certificate of every height for which a quorum of checkpoints agrees."""
    for height in sorted(state.checkpoints.keys() - state.recent.keys()):
        if height > state.executed + state.rules.consensus_window:
            return  # its validators are not known yet
        quorum, voting = state.rules.quorum(height), state.rules.validators(height)
        given = (vote for vote in state.checkpoints[height].values() if vote.sender in voting)
        votes = sorted(given, key=lambda vote: vote.sender)
        if len(votes) < quorum:
            continue
        for header_hash in dict.fromkeys(vote.header_hash for vote in votes):
            agreeing = [vote for vote in votes if vote.header_hash == header_hash]
            if len(agreeing) >= quorum:
                pairs = tuple((vote.sender, vote.signature) for vote in agreeing)
                learn(state, Certificate(height, header_hash, pairs))


def learn(state: State, certificate: Certificate) -> None:
    """Take a valid certificate: adopt it where that height was executed here, else aim for it."""
    height = certificate.height
    if height > state.executed:
        if state.target is None or height > state.target.height:
            state.target = certificate
        return
    ours = state.headers.get(height)
    if ours is None or height in state.recent:
        return  # from before a start or a sync: the ledger has its own certificate
    if _diverged(state, certificate, ours):
        return
    state.recent[height] = certificate
    state.out.certified.append(certificate)
    if height > state.certified:
        state.certificate = certificate
        _collect_garbage(state)


def on_synced(state: State, event: Synced) -> None:
    """Continue above a block that block sync executed; one at or below ours changes nothing."""
    certificate = event.certificate
    height, ours = certificate.height, state.headers.get(certificate.height)
    if height <= state.certified or (ours is not None and _diverged(state, certificate, ours)):
        return
    state.executed, state.delivered = max(state.executed, height), max(state.delivered, height)
    state.certificate = state.recent[height] = certificate
    if state.target is not None and state.target.height <= state.executed:
        state.target = None
    state.good_view = state.view
    _collect_garbage(state)


def _diverged(state: State, certificate: Certificate, ours: bytes) -> bool:
    if ours == certificate.header_hash:
        return False
    state.halt(
        f"height {certificate.height} executed to {ours.hex()[:16]} here, but a quorum certified "
        f"{certificate.header_hash.hex()[:16]}: this ledger diverged; if the validators skipped transactions "
        "there, see docs/skip.md, else compare versions and rebuild it from its blocks"
    )
    return True


def _collect_garbage(state: State) -> None:
    for height in [item for item in state.slots if item <= state.certified]:
        slot = state.retired[height] = state.slots.pop(height)
        state.forget(height, slot.stored)
    for height in [item for item in state.retired if item <= state.certified - state.rules.consensus_window]:
        del state.retired[height]
    oldest = state.certified - 2 * state.rules.consensus_window
    asked_for = set(state.uncertified()[-2 * state.rules.consensus_window :])
    for by_height in (state.headers, state.checkpoints, state.recent):
        for height in [item for item in by_height if item <= oldest and item not in asked_for]:
            del by_height[height]
    for key in [item for item in state.future if item[2] <= state.certified]:
        del state.future[key]
    state.follow_epoch()
