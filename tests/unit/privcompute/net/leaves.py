"""Certificates that no honest agent shows, and TLS contexts that show them."""

from __future__ import annotations

import datetime
import ssl
import tempfile
from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from chain.primitives.crypto import PrivateKey

SIGNATURE_BYTES = 64


def leaf(public: bytes, issuer: PrivateKey, subject: str = "assent leaf") -> bytes:
    """Return the DER of a leaf for one key, signed by another."""
    name = x509.NameAttribute(NameOID.COMMON_NAME, subject, _type=_ASN1Type.PrintableString)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([name]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer.public.hex())]))
        .public_key(Ed25519PublicKey.from_public_bytes(public))
        .serial_number(7)
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(datetime.datetime(9999, 12, 31))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(Ed25519PrivateKey.from_private_bytes(issuer.seed), None)
        .public_bytes(serialization.Encoding.DER)
    )


def altered(der: bytes, key: PrivateKey, old: bytes, new: bytes) -> bytes:
    """Replace bytes of the signed part of a certificate, keeping lengths, and sign it again."""
    assert len(old) == len(new)
    assert der.count(old) == 1
    tbs = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    changed = der.replace(old, new)
    start = der.index(tbs)
    signature = Ed25519PrivateKey.from_private_bytes(key.seed).sign(changed[start : start + len(tbs)])
    return changed[:-SIGNATURE_BYTES] + signature


def _version(number: int) -> Callable[[PrivateKey], bytes]:
    old, new = bytes.fromhex("a003020102"), bytes.fromhex("a0030201") + bytes((number,))
    return lambda key: altered(leaf(key.public, key), key, old, new)


MALFORMED: dict[str, Callable[[PrivateKey], bytes]] = {
    "version 5": _version(5),
    "version 0": _version(0),
    "version 1": _version(1),
    "version 3": _version(3),
    "version 100": _version(100),
    "BER boolean": lambda key: altered(
        leaf(key.public, key), key, bytes.fromhex("0603551d130101ff"), bytes.fromhex("0603551d13010101")
    ),
    "PrintableString": lambda key: altered(leaf(key.public, key), key, b"assent leaf", b"assent\xffleaf"),
}
"""Leaves for their own key that OpenSSL takes and a strict parser does not."""


def showing(context: ssl.SSLContext, der: bytes, key: PrivateKey) -> ssl.SSLContext:
    """Make a context show this certificate, with the key that it is for."""
    private = Ed25519PrivateKey.from_private_bytes(key.seed).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with tempfile.NamedTemporaryFile(mode="wb") as file:
        file.write(private + ssl.DER_cert_to_PEM_cert(der).encode())
        file.flush()
        context.load_cert_chain(file.name)
    return context
