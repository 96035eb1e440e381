"""The crypto suite of a chain: one hash, one signature scheme, every use separated by a domain tag.

A process serves one chain, so the suite is these module functions; genesis names it (`SUITE`) and a node
refuses a genesis that names another. A national-crypto suite would be chosen here and nowhere else.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import Protocol

import nacl.bindings as sodium
from nacl.exceptions import BadSignatureError

SUITE = "ed25519-sha256"
HASH_BYTES = 32
ZERO_HASH = bytes(HASH_BYTES)


def digest(domain: str, *parts: bytes) -> bytes:
    """Return SHA-256(domain ‖ 0 ‖ parts): 32 bytes. Parts are fixed-size, or one canonical encoding."""
    return sha256(b"".join((domain.encode(), b"\0", *parts))).digest()


class Signer(Protocol):
    """Whoever holds a private key: a file, or a remote signer."""

    @property
    def public(self) -> bytes:
        """Return the public key, 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of a 32-byte digest."""


class PrivateKey:
    """An Ed25519 private key in memory (RFC 8032)."""

    __slots__ = ("_secret", "public")

    def __init__(self, seed: bytes) -> None:
        """Derive the key pair of a 32-byte seed."""
        self.public, self._secret = sodium.crypto_sign_seed_keypair(seed)

    @classmethod
    def generate(cls) -> PrivateKey:
        """Return a fresh key from the operating system's random source."""
        return cls(os.urandom(32))

    @property
    def seed(self) -> bytes:
        """Return the seed, 32 bytes: it is secret."""
        return self._secret[:32]

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature."""
        return sodium.crypto_sign(message, self._secret)[:64]


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether an Ed25519 signature (64 bytes) over message holds; any bytes may be given."""
    if len(public) != 32 or len(signature) != 64:
        return False
    try:
        sodium.crypto_sign_open(signature + message, public)
    except (BadSignatureError, ValueError):
        return False
    return True
