"""Leaf certificates of a genuine key that are not quite certificates: one change each, signed again.

`cryptography` writes no malformed certificate, so the bytes of a sound one are changed and signed anew.
"""

from __future__ import annotations

import datetime
import ssl
import tempfile
from collections.abc import Callable, Iterable

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from chain.primitives.crypto import PrivateKey
from chain.primitives.tls import client_context

_VERSION = bytes.fromhex("a003020102")
"""[0] EXPLICIT INTEGER 2: version 3 of X.509."""
_TRUE = bytes.fromhex("0101ff")
_SUBJECT = "assent torture leaf"


def _version(number: int) -> Callable[[bytes], bytes]:
    return lambda body: body.replace(_VERSION, _VERSION[:-1] + bytes([number]), 1)


def _replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda body: body.replace(old, new, 1)


LEAVES: dict[str, Callable[[bytes], bytes]] = {
    "version 5": _version(5),
    "version 0": _version(0),
    "version 1": _version(1),
    "version 3": _version(3),
    "version 100": _version(100),
    "BER boolean": _replaced(_TRUE, b"\x01\x01\x01"),
    "PrintableString": _replaced(_SUBJECT.encode(), _SUBJECT.replace(" ", "@").encode()),
}
"""What is changed -> the change of the part that is signed."""


def fresh_leaf(issuer: PrivateKey, subject: bytes) -> bytes:
    """Return a sound certificate (DER) of any key, signed by one that a node accepts."""
    return _leaf(issuer, subject).public_bytes(serialization.Encoding.DER)


def malformed_leaf(key: PrivateKey, kind: str) -> bytes:
    """Return one of LEAVES for a key (DER), with a signature that holds."""
    sound = _leaf(key, key.public)
    body = sound.tbs_certificate_bytes
    changed = LEAVES[kind](body)
    assert changed != body, f"the certificate of {kind!r} is not changed"
    assert len(changed) == len(body)
    der = sound.public_bytes(serialization.Encoding.DER)
    signature = Ed25519PrivateKey.from_private_bytes(key.seed).sign(changed)
    return der.replace(body, changed).replace(sound.signature, signature)


def leaf_context(key: PrivateKey, accepted: Iterable[bytes], kind: str) -> ssl.SSLContext:
    """Return a client context that shows a malformed certificate of its own key."""
    return context_of(key, accepted, malformed_leaf(key, kind))


def context_of(key: PrivateKey, accepted: Iterable[bytes], certificate: bytes) -> ssl.SSLContext:
    """Return a client context that holds `key` and shows this certificate (DER)."""
    context = client_context(key, accepted)
    signing = Ed25519PrivateKey.from_private_bytes(key.seed)
    pem = signing.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with tempfile.NamedTemporaryFile(mode="wb") as file:
        file.write(pem + ssl.DER_cert_to_PEM_cert(certificate).encode())
        file.flush()
        context.load_cert_chain(file.name)
    return context


def _leaf(issuer: PrivateKey, subject: bytes) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _SUBJECT, _type=_ASN1Type.PrintableString)])
    issued_by = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer.public.hex())])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issued_by)
        .public_key(Ed25519PublicKey.from_public_bytes(subject))
        .serial_number(2)
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(datetime.datetime(9999, 12, 31))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(Ed25519PrivateKey.from_private_bytes(issuer.seed), None)
    )
