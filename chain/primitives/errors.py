"""The one tree of errors: every error has a stable code, and its text says what to do next."""

from __future__ import annotations

from typing import ClassVar


class AssentError(Exception):
    """Root of every error that Assent raises on purpose; `code` is stable, `str()` is for people."""

    code: ClassVar[str] = "error"


class DecodeError(AssentError):
    """Bytes that are not the canonical encoding of the expected record: the sender must fix them."""

    code = "malformed"


class LimitError(AssentError):
    """A value beyond a stated bound: send less, or smaller."""

    code = "limit"


class SignatureInvalid(AssentError):
    """A signature that does not verify: sign the exact bytes with the key that is named."""

    code = "bad_signature"


class CertificateInvalid(AssentError):
    """A peer's TLS certificate that shows no Ed25519 key: both sides must run Assent."""

    code = "bad_certificate"


class KeyFileError(AssentError):
    """A key file that is missing, damaged, readable by others, or locked: the text names the remedy."""

    code = "key_file"


class ConfigError(AssentError):
    """A configuration value out of its range: the text names file, key, value and allowed range."""

    code = "config"


class PortBusy(AssentError):
    """An address that cannot be listened on: the text names it and the setting to change."""

    code = "port_busy"


class ProofInvalid(AssentError):
    """A proof that does not hold: the text names which one and where it broke."""

    code = "proof_invalid"
