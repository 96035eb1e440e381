"""The one tree of errors: every error has a stable code, and its text says what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """How a command ends, for whoever supervises it; numbers as in BSD's sysexits.h, which systemd knows."""

    REFUSED = 1
    """Not done, for the reason that is printed."""
    NOTED = 3
    """Noted, and done when other keys of the organisation have made the same call."""
    DAMAGED = 65
    """Data that cannot be trusted: look before starting again."""
    UNREACHABLE = 69
    """No node answers."""
    BUG = 70
    """A fault of Assent itself."""
    IO = 74
    """A disk or an output that cannot be written or read."""
    NO_QUORUM = 75
    """Too few validators act: the same may be done later."""
    CONFIG = 78
    """A configuration, key, port or folder to mend first: starting again does not help."""


class AssentError(Exception):
    """Root of every error that Assent raises on purpose; `code` is stable, `str()` is for people."""

    code: ClassVar[str] = "error"
    exit: ClassVar[Exit] = Exit.REFUSED


class Noted(AssentError):
    """A call that was noted until other keys make it, too: the text says which, until when, and how."""

    code = "noted"
    exit = Exit.NOTED

    def __init__(self, text: str, facts: Mapping[str, object]) -> None:
        """`facts` are the same for programs, as JSON values."""
        super().__init__(text)
        self.facts = facts


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
    exit = Exit.CONFIG


class ConfigError(AssentError):
    """A configuration value out of its range: the text names file, key, value and allowed range."""

    code = "config"
    exit = Exit.CONFIG


class FileTrouble(AssentError):
    """A file that cannot be read or written: the text names it and the reason."""

    code = "file"
    exit = Exit.IO


class FileThere(FileTrouble):
    """A file that is there already, where a new one was to be written: name another, or remove it."""

    code = "file_exists"


class CannotListen(AssentError):
    """An address that cannot be listened on: the text names it, the setting and what to do."""

    code = "cannot_listen"
    exit = Exit.CONFIG


class PortBusy(CannotListen):
    """An address that another process listens on: stop that one, or set another address."""

    code = "port_busy"


class ProofInvalid(AssentError):
    """A proof that does not hold: the text names which one and where it broke."""

    code = "proof_invalid"
