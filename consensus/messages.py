"""Messages between replicas: canonical codec records, each bounded, each signed for one chain and kind.

Names follow Castro and Liskov, "Practical Byzantine Fault Tolerance" (OSDI 1999; TOCS 2002), section 4.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, TypeVar

from chain.primitives.certificate import VALIDATORS_MAX, Certificate, checkpoint_digest
from chain.primitives.certificate import payload_digest as payload_digest
from chain.primitives.codec import U64, Bound, Hash, PublicKey, Signature, decode_any, encode, record, tag_of
from chain.primitives.crypto import Signer, digest
from consensus.rules import CONSENSUS_WINDOW_MAX

PAYLOAD_BYTES_MAX = 524_288
"""Bound of a payload, in bytes."""
VIEW_CHANGE_BYTES_MAX = 327_680
"""Bound of a VIEW-CHANGE: a prepared proof of 86 signatures for each of 32 heights."""
MESSAGE_BYTES_MAX = 33_554_432
"""Bound of the largest message, a NEW-VIEW of 128 validators with 32 prepared heights each."""
UNSIGNED = bytes(64)
"""What stands for the signature while a message is signed."""
NULL_REQUEST = b""
"""Payload of a null request: a new view proposes it at a height where nothing was prepared."""

Payload = Annotated[bytes, Bound(0, PAYLOAD_BYTES_MAX)]
Heights = Annotated[tuple[U64, ...], Bound(0, 2 * CONSENSUS_WINDOW_MAX)]
NONCE_BYTES = 16
Nonce = Annotated[bytes, Bound(0, NONCE_BYTES)]


@record("pre-prepare", max_bytes=256)
class PrePrepare:
    """PRE-PREPARE: the primary's claim to a slot (view, height) for one payload."""

    view: U64
    height: U64
    payload_digest: Hash
    sender: PublicKey
    signature: Signature


@record("proposal", max_bytes=PAYLOAD_BYTES_MAX + 512)
class Proposal:
    """PRE-PREPARE with its payload, which is never empty: only a new view proposes a null request."""

    pre_prepare: PrePrepare
    payload: Annotated[bytes, Bound(1, PAYLOAD_BYTES_MAX)]


@record("prepare", max_bytes=256)
class Prepare:
    """PREPARE: a replica, primary included, accepts this payload for this slot, and will accept no other."""

    view: U64
    height: U64
    payload_digest: Hash
    sender: PublicKey
    signature: Signature


@record("commit", max_bytes=256)
class Commit:
    """COMMIT: a replica has a prepared proof for this slot, durably."""

    view: U64
    height: U64
    payload_digest: Hash
    sender: PublicKey
    signature: Signature


@record("checkpoint", max_bytes=256)
class Checkpoint:
    """CHECKPOINT: a replica executed `height` to this header; a quorum of them is the block's certificate."""

    height: U64
    header_hash: Hash
    sender: PublicKey
    signature: Signature
    """It signs `checkpoint_digest`, so that it can stand in a Certificate."""


@record("prepared", max_bytes=16_384)
class Prepared:
    """Prepared proof: exactly a quorum of PREPARE signatures for one slot, ordered by key."""

    view: U64
    height: U64
    payload_digest: Hash
    signatures: Annotated[tuple[tuple[PublicKey, Signature], ...], Bound(1, VALIDATORS_MAX)]


@record("view-change", max_bytes=VIEW_CHANGE_BYTES_MAX)
class ViewChange:
    """VIEW-CHANGE: the sender leaves all views below `view`, and shows what may have been decided in them."""

    epoch: U64
    """First height of the epoch of the height above the certificate; each epoch counts its views anew."""
    view: U64
    certificate: Certificate | None
    """That of the last certified block; None stands for genesis."""
    prepared: Annotated[tuple[Prepared, ...], Bound(0, CONSENSUS_WINDOW_MAX)]
    """The latest prepared proof of each height above the certificate, in ascending height."""
    sender: PublicKey
    signature: Signature


@record("new-view", max_bytes=MESSAGE_BYTES_MAX)
class NewView:
    """NEW-VIEW: a quorum of view changes for `view`, and the re-proposals that follow from them."""

    epoch: U64
    view: U64
    view_changes: Annotated[tuple[ViewChange, ...], Bound(1, VALIDATORS_MAX)]
    """Exactly a quorum, ordered by sender."""
    reproposals: Annotated[tuple[tuple[U64, Hash], ...], Bound(0, CONSENSUS_WINDOW_MAX)]
    """(height, payload digest), ascending; every backup computes the same again."""
    sender: PublicKey
    signature: Signature


@record("status", max_bytes=20_480)
class Status:
    """STATUS: where the sender stands, so that others send again what it lost."""

    epoch: U64
    view: U64
    active: bool
    """False while the sender waits for the NEW-VIEW of `view`."""
    certificate: Certificate | None
    """The highest certificate that the sender knows, whether it executed that height or not."""
    delivered: U64
    proposed: Heights
    """Heights above `delivered` for which the sender has a proposal of its view."""
    uncertified: Heights
    """Executed heights for which the sender lacks a certificate."""
    asks: Nonce
    """Nonce of a sender that has just started without memory; a status in return repeats it. Else empty."""
    answers: Nonce
    """The nonce with which the receiver asked: so it knows that this status is no older than its question."""
    sender: PublicKey
    signature: Signature


@record("fetch", max_bytes=128)
class Fetch:
    """FETCH: asks one peer for the payload with this digest; it is not signed, the link authenticates it."""

    height: U64
    payload_digest: Hash


@record("payload", max_bytes=PAYLOAD_BYTES_MAX + 256)
class PayloadReply:
    """PAYLOAD: answers FETCH; the digest that was asked for authenticates it."""

    height: U64
    payload: Payload


Signed = PrePrepare | Prepare | Commit | Checkpoint | ViewChange | NewView | Status
Message = (
    Proposal
    | Prepare
    | Commit
    | Checkpoint
    | ViewChange
    | NewView
    | Status
    | Certificate
    | Fetch
    | PayloadReply
)
MESSAGES: tuple[type, ...] = (
    Proposal,
    Prepare,
    Commit,
    Checkpoint,
    ViewChange,
    NewView,
    Status,
    Certificate,
    Fetch,
    PayloadReply,
)
S = TypeVar("S", PrePrepare, Prepare, Commit, Checkpoint, ViewChange, NewView, Status)


def decode_message(data: bytes) -> Message:
    """Read one consensus message of at most MESSAGE_BYTES_MAX; raise DecodeError for anything else."""
    message: Message = decode_any(MESSAGES, data)
    return message


NULL_DIGEST = payload_digest(NULL_REQUEST)


def signing_digest(message: Signed, chain_id: bytes) -> bytes:
    """Return the digest that `message.signature` signs: of chain, kind and every other field."""
    if isinstance(message, Checkpoint):
        return checkpoint_digest(chain_id, message.height, message.header_hash)
    blank = dataclasses.replace(message, signature=UNSIGNED)
    return digest(f"assent/consensus/{tag_of(type(message))}", chain_id, encode(blank))


def sign(message: S, signer: Signer, chain_id: bytes) -> S:
    """Return the message with the signer's signature; its `sender` must be the signer's key."""
    return dataclasses.replace(message, signature=signer.sign(signing_digest(message, chain_id)))


def certificate_height(certificate: Certificate | None) -> int:
    """Return the height of a certificate; None stands for genesis, whose height is 0."""
    return certificate.height if certificate is not None else 0
