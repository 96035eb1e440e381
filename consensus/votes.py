"""The durable memory of a replica: what it must not contradict after a crash.

Keys and records of the vote store. A checkpoint needs no record of its own: it repeats a header that the
ledger has already written durably.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated

from chain.primitives.certificate import Certificate
from chain.primitives.codec import U64, Bound, Hash, decode, record
from chain.primitives.errors import DecodeError
from consensus.errors import VotesDamaged
from consensus.messages import (
    VIEW_CHANGE_BYTES_MAX,
    Commit,
    NewView,
    Prepare,
    Prepared,
    PrePrepare,
    ViewChange,
    payload_digest,
)

BIRTH, EPOCH, VIEW_CHANGE, NEW_VIEW = b"b", b"k", b"v", b"n"
EVIDENCE = b"e"
_ACCEPTED, _COMMITTING, _PAYLOAD = b"a", b"c", b"p"


@record("birth", max_bytes=64)
class Birth:
    """This vote store exists since its replica first voted; a store without it may have been wiped."""

    muted: U64 | None
    """First height of the epoch in which votes were lost in a wipe: none is cast in it any more."""


@record("accepted", max_bytes=1_024)
class Accepted:
    """Our PREPARE for a slot, and the primary's claim unless it was a re-proposal."""

    view: U64
    height: U64
    payload_digest: Hash
    claim: PrePrepare | None
    prepare: Prepare


@record("committing", max_bytes=17_408)
class Committing:
    """Our COMMIT for a height and the prepared certificate that justifies it."""

    prepared: Prepared
    commit: Commit


@record("evidence", max_bytes=2 * VIEW_CHANGE_BYTES_MAX)
class Evidence:
    """Two messages with which one replica contradicts itself: proof for anyone who knows the chain id."""

    first: Annotated[bytes, Bound(1, VIEW_CHANGE_BYTES_MAX)]
    second: Annotated[bytes, Bound(1, VIEW_CHANGE_BYTES_MAX)]


@dataclass(slots=True)
class Memory:
    """Everything the vote store held at a start."""

    birth: Birth | None = None
    epoch: Certificate | None = None
    """Of the height below the epoch entered last; None in the founding epoch."""
    view_change: ViewChange | None = None
    new_view: NewView | None = None
    accepted: dict[int, Accepted] = field(default_factory=dict)
    committing: dict[int, Committing] = field(default_factory=dict)
    payloads: dict[int, list[bytes]] = field(default_factory=dict)
    evidence: dict[bytes, Evidence] = field(default_factory=dict)


def accepted_key(height: int) -> bytes:
    """Return where our PREPARE for a height is kept."""
    return _ACCEPTED + height.to_bytes(8, "big")


def committing_key(height: int) -> bytes:
    """Return where our COMMIT for a height is kept."""
    return _COMMITTING + height.to_bytes(8, "big")


def payload_key(height: int, digest: bytes) -> bytes:
    """Return where a payload that we voted for is kept."""
    return _PAYLOAD + height.to_bytes(8, "big") + digest


def evidence_key(sender: bytes, tag: str) -> bytes:
    """Return where the first contradiction of this sender and kind is kept."""
    return EVIDENCE + sender + tag.encode()


def recall(rows: Iterable[tuple[bytes, bytes]]) -> Memory:
    """Read the vote store; raise VotesDamaged for anything unreadable or inconsistent."""
    memory = Memory()
    for key, value in rows:
        try:
            _recall_row(memory, key, value)
        except DecodeError as error:
            raise VotesDamaged(
                f"vote store, key {key.hex()[:40]}: {error}; do not vote with it: "
                "restore the data directory, or empty it and rejoin"
            ) from None
    if memory.birth is None and (memory.accepted or memory.view_change):  # a NEW-VIEW is not our vote
        raise VotesDamaged("vote store: votes without a birth record; restore the data directory, or rejoin")
    return memory


def _recall_row(memory: Memory, key: bytes, value: bytes) -> None:
    kind, rest = key[:1], key[1:]
    if key == BIRTH:
        memory.birth = decode(Birth, value)
    elif key == EPOCH:
        memory.epoch = decode(Certificate, value)
    elif key == VIEW_CHANGE:
        memory.view_change = decode(ViewChange, value)
    elif key == NEW_VIEW:
        memory.new_view = decode(NewView, value)
    elif kind == _ACCEPTED and len(rest) == 8:
        memory.accepted[int.from_bytes(rest, "big")] = decode(Accepted, value)
    elif kind == _COMMITTING and len(rest) == 8:
        memory.committing[int.from_bytes(rest, "big")] = decode(Committing, value)
    elif kind == _PAYLOAD and len(rest) == 40 and payload_digest(value) == rest[8:]:
        memory.payloads.setdefault(int.from_bytes(rest[:8], "big"), []).append(value)
    elif kind == EVIDENCE:
        memory.evidence[rest] = decode(Evidence, value)
    else:
        raise DecodeError("unknown key, or a payload that does not match it")
