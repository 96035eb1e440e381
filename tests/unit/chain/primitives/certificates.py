"""Certificates that OpenSSL takes and no library of certificates should: signed by a member's own key."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterable

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain.primitives import tls
from chain.primitives.crypto import PrivateKey

VERSION = b"\xa0\x03\x02\x01\x02"
"""The version field of an X.509 v3 certificate: 2 means 3."""
CRITICAL = b"\x06\x03\x55\x1d\x13\x01\x01\xff"
"""Basic constraints, critical: the boolean TRUE of DER."""
MUTATIONS: dict[str, tuple[bytes, bytes]] = {
    "version 6": (VERSION, b"\xa0\x03\x02\x01\x05"),
    "version 1 with extensions": (VERSION, b"\xa0\x03\x02\x01\x00"),
    "version 2 with extensions": (VERSION, b"\xa0\x03\x02\x01\x01"),
    "version 101": (VERSION, b"\xa0\x03\x02\x01\x64"),
    "boolean of BER": (CRITICAL, CRITICAL[:-1] + b"\x01"),
}
"""Name -> (bytes of our leaf, what stands there instead)."""


def mutated_leaf(key: PrivateKey, old: bytes, new: bytes) -> bytes:
    """Return a member's leaf in DER with some bytes changed (as long as before) and signed anew."""
    signing = Ed25519PrivateKey.from_private_bytes(key.seed)
    leaf = tls._certificate(key.public, "leaf", signing, anchor=False)
    signed = leaf.tbs_certificate_bytes
    assert signed.count(old) == 1
    assert len(old) == len(new)
    changed = signed.replace(old, new)
    whole = leaf.public_bytes(serialization.Encoding.DER)
    return whole.replace(signed, changed)[:-64] + signing.sign(changed)


def context_with(key: PrivateKey, leaf: bytes, accepted: Iterable[bytes]) -> ssl.SSLContext:
    """Return a client's context that shows this certificate."""
    context = tls.client_context(key, accepted)
    secret = Ed25519PrivateKey.from_private_bytes(key.seed).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with tempfile.NamedTemporaryFile(mode="wb") as file:
        file.write(secret + ssl.DER_cert_to_PEM_cert(leaf).encode())
        file.flush()
        context.load_cert_chain(file.name)
    return context
