"""Evidence of equivocation: two signed messages of one replica, of which no correct replica signs both.

Nobody has to trust whoever shows it, since signatures and chain id are all there is to check: it can be
exported, compared offline, and put before the contract `governance`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chain.primitives.codec import decode_any, tag_of
from chain.primitives.crypto import verify
from chain.primitives.errors import SignatureInvalid
from consensus.errors import MessageInvalid
from consensus.messages import (
    UNSIGNED,
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    Signed,
    Status,
    ViewChange,
    signing_digest,
)
from consensus.votes import Evidence

KINDS: tuple[type, ...] = (PrePrepare, Prepare, Commit, Checkpoint, ViewChange, NewView)
"""Messages of which a correct replica signs one for a slot."""


@dataclass(frozen=True, slots=True)
class Accusation:
    """Whom a piece of evidence convicts, and of what."""

    accused: bytes
    """Public key of the replica that signed both messages."""
    kind: str
    """Tag of both messages."""
    slot: tuple[int, ...]
    """(view, height); of a checkpoint (height,); of a view change or new view (epoch, view)."""


def read_evidence(evidence: Evidence, chain_id: bytes) -> Accusation:
    """Return whom two encoded messages convict; raise DecodeError, MessageInvalid, SignatureInvalid."""
    first, second = (decode_any(KINDS, raw) for raw in (evidence.first, evidence.second))
    return check_evidence(first, second, chain_id)


def check_evidence(first: Signed, second: Signed, chain_id: bytes) -> Accusation:
    """Return whom these messages convict; raise unless one replica signed both and no correct one does.

    Raises MessageInvalid where they do not exclude one another, and SignatureInvalid for a bad signature.
    """
    if not conflicting(first, second):
        raise MessageInvalid("evidence: these two messages do not contradict one another")
    for message in (first, second):
        if not verify(message.sender, signing_digest(message, chain_id), message.signature):
            raise SignatureInvalid(f"evidence: a signature of {message.sender.hex()[:16]} does not hold")
    return Accusation(first.sender, tag_of(type(first)), slot_of(first) or ())


def conflicting(first: Signed, second: Signed) -> bool:
    """Tell whether one sender said two things for one slot, as only a faulty replica does."""
    if type(first) is not type(second) or first.sender != second.sender or first == second:
        return False
    return slot_of(first) == slot_of(second) is not None and _content(first) != _content(second)


def slot_of(message: Signed) -> tuple[int, ...] | None:
    """Return the slot for which a correct replica says one thing only; None for a status, which changes."""
    match message:
        case PrePrepare() | Prepare():
            return (message.view, message.height)
        case Checkpoint():
            return (message.height,)
        case ViewChange() | NewView():
            return (message.epoch, message.view)
        case Status():
            return None
        case _:
            return (message.view, message.height)


def _content(message: Signed) -> Sequence[object]:
    match message:
        case Checkpoint():
            return (message.header_hash,)
        case ViewChange():
            return (message.certificate, message.prepared)
        case NewView():
            return (message.view_changes,)
        case Status():
            return (UNSIGNED,)
        case _:
            return (message.payload_digest,)
