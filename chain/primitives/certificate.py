"""Block certificates: a quorum of validators' checkpoint signatures over one header hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from chain.primitives.codec import U64, Bound, Hash, PublicKey, Signature, record
from chain.primitives.crypto import digest, verify
from chain.primitives.errors import ProofInvalid

VALIDATORS_MAX = 128


@dataclass(frozen=True, slots=True)
class Epoch:
    """A run of heights with one validator set."""

    first: int
    """First height of the run; 0 for the founding set."""
    validators: tuple[bytes, ...]
    """Public keys in primary order."""


def fault_bound(n: int) -> int:
    """Return f, the number of Byzantine validators that n tolerate: floor((n-1)/3)."""
    return (n - 1) // 3


def quorum(n: int) -> int:
    """Return floor((n+f)/2)+1: any two quorums share an honest validator, for every n >= 1."""
    return (n + fault_bound(n)) // 2 + 1


def validators_hash(validators: Sequence[bytes]) -> bytes:
    """Return the hash of an ordered validator set (32-byte public keys)."""
    return digest("assent/validators", *validators)


def payload_digest(payload: bytes) -> bytes:
    """Return the hash by which consensus and skip decisions refer to what is ordered at a height."""
    return digest("assent/payload", payload)


def checkpoint_digest(chain_id: bytes, height: int, header_hash: bytes) -> bytes:
    """Return the 32 bytes that a validator signs to certify that `height` executed to this header."""
    return digest("assent/checkpoint", chain_id, height.to_bytes(8, "big"), header_hash)


@record("certificate", max_bytes=16_384)
class Certificate:
    """Checkpoint signatures of distinct validators, ordered by public key."""

    height: U64
    header_hash: Hash
    signatures: Annotated[tuple[tuple[PublicKey, Signature], ...], Bound(0, VALIDATORS_MAX)]


def check_quorum(
    where: str,
    signatures: Sequence[tuple[bytes, bytes]],
    message: bytes,
    validators: Sequence[bytes],
) -> None:
    """Raise ProofInvalid unless these are signatures of a message by a quorum of validators, in key order.

    `where` names in the error what is signed.
    """
    signers = [signer for signer, _ in signatures]
    if signers != sorted(set(signers)):
        raise ProofInvalid(f"{where}: signers are not distinct and in order")
    if not set(signers) <= set(validators):
        raise ProofInvalid(f"{where}: a signer is not in the validator set")
    if len(signers) < quorum(len(validators)):
        raise ProofInvalid(f"{where}: {len(signers)} signatures, a quorum is {quorum(len(validators))}")
    for signer, signature in signatures:
        if not verify(signer, message, signature):
            raise ProofInvalid(f"{where}: the signature of {signer.hex()[:16]} does not hold")


def check_certificate(certificate: Certificate, chain_id: bytes, validators: Sequence[bytes]) -> None:
    """Raise ProofInvalid unless a quorum of these validators signed this header hash."""
    message = checkpoint_digest(chain_id, certificate.height, certificate.header_hash)
    where = f"certificate of height {certificate.height}"
    check_quorum(where, certificate.signatures, message, validators)
