"""Durable votes: the rows of the vote store, which a replica must not contradict after a crash.

A checkpoint needs no row: it repeats a header that the ledger has already written durably. The tags of the
codec records are on disk, so those of `PrepareRow` and `CommitRow` keep their older words.
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
_PREPARE, _COMMIT, _PAYLOAD = b"a", b"c", b"p"


@record("birth", max_bytes=64)
class Birth:
    """Says that the replica has voted since this store began; a store without it is new or was wiped."""

    muted: U64 | None
    """First height of the epoch in which a wipe lost votes: none is cast in it. None if no vote was lost."""


@record("accepted", max_bytes=1_024)
class PrepareRow:
    """Our PREPARE for a slot, and the primary's PRE-PREPARE unless it was a re-proposal."""

    view: U64
    height: U64
    payload_digest: Hash
    claim: PrePrepare | None
    prepare: Prepare


@record("committing", max_bytes=17_408)
class CommitRow:
    """Our COMMIT for a height, and the prepared proof that justifies it."""

    prepared: Prepared
    commit: Commit


@record("evidence", max_bytes=2 * VIEW_CHANGE_BYTES_MAX)
class Evidence:
    """Two messages in which one replica equivocates; they convict it before whoever knows the chain id."""

    first: Annotated[bytes, Bound(1, VIEW_CHANGE_BYTES_MAX)]
    second: Annotated[bytes, Bound(1, VIEW_CHANGE_BYTES_MAX)]


@dataclass(slots=True)
class StoredVotes:
    """Contents of the vote store at a start."""

    birth: Birth | None = None
    epoch: Certificate | None = None
    """That of the height below the epoch entered last; None in the founding epoch."""
    view_change: ViewChange | None = None
    new_view: NewView | None = None
    prepares: dict[int, PrepareRow] = field(default_factory=dict)
    commits: dict[int, CommitRow] = field(default_factory=dict)
    payloads: dict[int, list[bytes]] = field(default_factory=dict)
    evidence: dict[bytes, Evidence] = field(default_factory=dict)


def prepare_key(height: int) -> bytes:
    """Return the key of our PREPARE for a height."""
    return _PREPARE + height.to_bytes(8, "big")


def commit_key(height: int) -> bytes:
    """Return the key of our COMMIT for a height."""
    return _COMMIT + height.to_bytes(8, "big")


def payload_key(height: int, digest: bytes) -> bytes:
    """Return the key of a payload that a vote of ours names."""
    return _PAYLOAD + height.to_bytes(8, "big") + digest


def evidence_key(sender: bytes, tag: str) -> bytes:
    """Return the key of the first evidence against a sender for a kind of message."""
    return EVIDENCE + sender + tag.encode()


def recall(rows: Iterable[tuple[bytes, bytes]]) -> StoredVotes:
    """Read the rows of the vote store; raise VotesDamaged if they are unreadable or do not fit together."""
    memory = StoredVotes()
    for key, value in rows:
        try:
            _recall_row(memory, key, value)
        except DecodeError as error:
            raise VotesDamaged(
                f"vote store, key {key.hex()[:40]}: {error}; do not vote with it: "
                "restore the data directory, or empty it and rejoin"
            ) from None
    if memory.birth is None and (memory.prepares or memory.view_change):  # a NEW-VIEW is not our vote
        raise VotesDamaged("vote store: votes without a birth row; restore the data directory, or rejoin")
    return memory


def _recall_row(memory: StoredVotes, key: bytes, value: bytes) -> None:
    kind, rest = key[:1], key[1:]
    if key == BIRTH:
        memory.birth = decode(Birth, value)
    elif key == EPOCH:
        memory.epoch = decode(Certificate, value)
    elif key == VIEW_CHANGE:
        memory.view_change = decode(ViewChange, value)
    elif key == NEW_VIEW:
        memory.new_view = decode(NewView, value)
    elif kind == _PREPARE and len(rest) == 8:
        memory.prepares[int.from_bytes(rest, "big")] = decode(PrepareRow, value)
    elif kind == _COMMIT and len(rest) == 8:
        memory.commits[int.from_bytes(rest, "big")] = decode(CommitRow, value)
    elif kind == _PAYLOAD and len(rest) == 40 and payload_digest(value) == rest[8:]:
        memory.payloads.setdefault(int.from_bytes(rest[:8], "big"), []).append(value)
    elif kind == EVIDENCE:
        memory.evidence[key] = decode(Evidence, value)
    else:
        raise DecodeError("unknown key, or a payload that does not match it")
