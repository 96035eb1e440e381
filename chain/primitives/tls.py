"""TLS 1.3 contexts whose only authority is a set of Ed25519 public keys.

A certificate carries the owner's Ed25519 identity and is signed by it. Every accepted key becomes a trust
anchor built from the public key alone (OpenSSL does not check an anchor's own signature), so a handshake
succeeds only between holders of accepted keys, no certificate is ever distributed, and the dates are fixed
so that expiry never stops a chain.
"""

from __future__ import annotations

import datetime
import ssl
import tempfile
from collections.abc import Container, Iterable
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import NameOID

from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import CertificateInvalid
from chain.primitives.visible import error_text

REASON_CHARS_MAX = 160
"""Of what a parser says about a peer's certificate."""
_NOT_BEFORE = datetime.datetime(2000, 1, 1)
_NOT_AFTER = datetime.datetime(9999, 12, 31)
_THROWAWAY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    public: bytes, subject: str, signing: Ed25519PrivateKey, *, anchor: bool
) -> x509.Certificate:
    constraints = x509.BasicConstraints(ca=anchor, path_length=0 if anchor else None)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(public.hex()))
        .public_key(Ed25519PublicKey.from_public_bytes(public))
        .serial_number(1 if anchor else 2)
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(constraints, critical=True)
        .sign(signing, None)
    )


def _anchors(accepted: Iterable[bytes]) -> bytes:
    return b"".join(
        _certificate(key, key.hex(), _THROWAWAY, anchor=True).public_bytes(serialization.Encoding.DER)
        for key in sorted(set(accepted))
    )


def _context(key: PrivateKey, accepted: Iterable[bytes], protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    anchors = _anchors(accepted)
    if anchors:
        context.load_verify_locations(cadata=anchors)
    _show(context, key)
    return context


def _show(context: ssl.SSLContext, key: PrivateKey) -> bytes:
    """Let a context show the certificate of a key; return it, in DER."""
    signing = Ed25519PrivateKey.from_private_bytes(key.seed)
    own = _certificate(key.public, f"assent {key.public.hex()[:40]}", signing, anchor=False)
    pem = signing.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + own.public_bytes(serialization.Encoding.PEM)
    with tempfile.NamedTemporaryFile(mode="wb") as file:  # mode 0600; the ssl module reads paths only
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
    return own.public_bytes(serialization.Encoding.DER)


def open_context(key: PrivateKey) -> tuple[ssl.SSLContext, bytes]:
    """Return a context that serves as `key` and admits anybody, and the certificate that it shows, in DER."""
    context = port_context()
    return context, _show(context, key)


def port_context() -> ssl.SSLContext:
    """Return a context of a port that asks for no certificates; it has none to show yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # nobody resumes: a handshake is cheap, and tickets would be written to everybody
    return context


def probe_context() -> ssl.SSLContext:
    """Return a context of a client that looks at any certificate; the caller judges it (`proven_key`).

    TLS 1.3 proves that the other side holds the key of the certificate that it shows, whatever that is.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def server_context(key: PrivateKey, accepted: Iterable[bytes]) -> ssl.SSLContext:
    """Return a context that serves as `key` and admits only clients holding an accepted key."""
    return _context(key, accepted, ssl.PROTOCOL_TLS_SERVER)


def client_context(key: PrivateKey, accepted: Iterable[bytes]) -> ssl.SSLContext:
    """Return a context that connects as `key` and talks only to servers holding an accepted key."""
    return _context(key, accepted, ssl.PROTOCOL_TLS_CLIENT)


def peer_key(certificate: bytes | None) -> bytes:
    """Return the 32-byte public key in a peer's certificate (`getpeercert(binary_form=True)`).

    OpenSSL accepts certificates that `cryptography` cannot read, and that says so by errors of several kinds:
    whatever is wrong with the bytes, only CertificateInvalid is raised.
    """
    if certificate is None:
        raise CertificateInvalid("the peer showed no certificate")
    try:
        public = x509.load_der_x509_certificate(certificate).public_key()
    except Exception as error:  # the bytes are the peer's: no list of what its parser raises is complete
        said = error_text(error, REASON_CHARS_MAX)
        raise CertificateInvalid(f"the peer's certificate cannot be read: {said}") from None
    if not isinstance(public, Ed25519PublicKey):
        raise CertificateInvalid("the peer's certificate does not hold an Ed25519 key")
    return public.public_bytes_raw()


def proven_key(certificate: bytes | None, accepted: Container[bytes]) -> bytes:
    """Return the key of a leaf that proves no key but its own: accepted itself, and signed by itself.

    The handshake alone admits any leaf that an accepted key has signed, so also leaves for fresh keys. Raises
    CertificateInvalid.
    """
    key = peer_key(certificate)
    if certificate is None or key not in accepted:
        raise CertificateInvalid(
            f"the peer's key {key.hex()[:16]} is signed by an accepted one, but is not accepted"
        )
    leaf = x509.load_der_x509_certificate(certificate)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(leaf.signature, leaf.tbs_certificate_bytes)
    except InvalidSignature:
        raise CertificateInvalid(
            f"the peer's certificate for key {key.hex()[:16]} is signed by another"
        ) from None
    return key


def issuer_key(tls: ssl.SSLObject) -> bytes:
    """Return the accepted key that signed a verified peer's certificate, as OpenSSL reads its issuer.

    Anchors are named by their keys, so this is who answers for the connection even where `peer_key` fails;
    empty when the name says nothing.
    """
    try:
        described: dict[str, Any] = tls.getpeercert() or {}
        names = {kind: text for part in described.get("issuer", ()) for kind, text in part}
        return bytes.fromhex(names.get("commonName", ""))
    except (ValueError, TypeError, ssl.SSLError):
        return b""
