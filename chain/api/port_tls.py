"""TLS of the RPC port: a certificate of the node's own key, or one from files, checked before it is shown."""

from __future__ import annotations

import logging
import os
import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import ConfigError
from chain.primitives.files import file_remedy, open_regular, read_bounded
from chain.primitives.tls import open_context, port_context

log = logging.getLogger("assent.rpc")

PEM_BYTES_MAX = 262_144
WARN_DAYS = 21
REMEDY = "set files.rpc_certificate and files.rpc_key to a pair that is in force, or leave both out"


def rpc_tls(pair: tuple[Path, Path] | None, key: PrivateKey, now_ms: int) -> tuple[ssl.SSLContext, bytes]:
    """Return the context of the port and the certificate that it shows, in DER; raise ConfigError.

    Without a pair of files (certificate, key) it is a certificate of the node's `key`, which never expires
    and which clients know from the ledger.
    """
    if pair is None:
        return open_context(key)
    context, certificate, left = tls_of_files(pair, now_ms)
    if left < WARN_DAYS:
        log.warning("files.rpc_certificate = %s ends in %d days: renew it, then start anew", pair[0], left)
    return context, certificate


def tls_of_files(pair: tuple[Path, Path], now_ms: int) -> tuple[ssl.SSLContext, bytes, int]:
    """Return the context of a pair of files, its certificate in DER, and the days left; raise ConfigError."""
    certificate, left = read_certificate(pair[0], now_ms)
    _check_key(pair[1])
    context = port_context()
    try:
        context.load_cert_chain(*pair, password=_no_passphrase)
    except (ssl.SSLError, ValueError) as error:
        foreign = "KEY_VALUES_MISMATCH" in str(error)
        what = "the key of another certificate" if foreign else "no private key in PEM without a passphrase"
        raise ConfigError(f"files.rpc_key = {pair[1]}: {what}; {REMEDY}") from None
    return context, certificate, left


def read_certificate(path: Path, now_ms: int) -> tuple[bytes, int]:
    """Return the first certificate of a PEM file, in DER, and how many days are left; raise ConfigError."""
    where = f"files.rpc_certificate = {path}"
    try:
        found = x509.load_pem_x509_certificates(read_bounded(path, PEM_BYTES_MAX))[0]
        begin, end = found.not_valid_before_utc, found.not_valid_after_utc
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror}); {file_remedy(error)}") from None
    except (ValueError, TypeError):
        raise ConfigError(f"{where}: no certificate in PEM; {REMEDY}") from None
    now = datetime.fromtimestamp(now_ms / 1_000, UTC)
    if not begin <= now < end:
        raise ConfigError(
            f"{where}: valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d}, and it is {now:%Y-%m-%d}; {REMEDY}"
        )
    return found.public_bytes(Encoding.DER), (end - now).days


def _check_key(path: Path) -> None:
    """Raise ConfigError for a key that cannot be read, or that others read."""
    where = f"files.rpc_key = {path}"
    try:
        with open_regular(path) as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read ({error.strerror}); {file_remedy(error)}") from None
    if mode & 0o077:
        raise ConfigError(f"{where}: mode {mode:04o} lets others read it; run: chmod 600 {path}")


def _no_passphrase() -> bytes:
    """Keep OpenSSL from asking at a terminal."""
    return b""
