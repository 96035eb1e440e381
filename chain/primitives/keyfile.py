"""Private keys on disk: a JSON file with mode 0600, optionally sealed with a passphrase.

A sealed file holds the seed under XSalsa20-Poly1305 (`secretbox`) with a key from Argon2id.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import shlex
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nacl.exceptions
import nacl.pwhash
import nacl.secret
import nacl.utils

from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import FileThere, KeyFileError
from chain.primitives.files import open_regular, replace_file, write_new

_KIND = "assent-key"
FILE_BYTES_MAX = 4_096
FILES_LOOKED_AT_MAX = 64
PASSPHRASE_VARIABLE = "ASSENT_PASSPHRASE"


_opened_by: list[str] = []
"""The passphrases that opened keys in this process: each is asked for once."""


_quiet: list[bool] = []
"""Not empty once nobody may be asked."""


def ask_no_more() -> None:
    """Ask for no passphrase from now on: a process that serves would stand still over the question."""
    _quiet.append(True)


def save_key(path: Path, key: PrivateKey, passphrase: str | None = None) -> None:
    """Write a new key file with mode 0600, whole or not at all; none is overwritten (KeyFileError).

    Raises FileTrouble where the disk does not take it.
    """
    try:
        write_new(path, _key_file(key, passphrase))
    except FileThere:
        raise KeyFileError(f"{path}: exists already; a key is never overwritten, name another file") from None


def replace_key(path: Path, key: PrivateKey, passphrase: str | None) -> None:
    """Write the same key again in the place of its file, sealed or not, all or nothing (FileTrouble)."""
    replace_file(path, _key_file(key, passphrase))


def _key_file(key: PrivateKey, passphrase: str | None) -> bytes:
    content: dict[str, object] = {"kind": _KIND, "version": 1, "public": key.public.hex()}
    content |= {"seed": key.seed.hex()} if passphrase is None else {"sealed": _seal(key.seed, passphrase)}
    return (json.dumps(content, indent=1) + "\n").encode()


def passphrase_for(path: Path, *, new: bool = False) -> str | None:
    """Return the passphrase of a key: from the variable, else asked for at the terminal, else None.

    A `new` one is asked for twice; raises KeyFileError when the two differ or are empty.
    """
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given or _quiet or not sys.stdin or not sys.stdin.isatty():
        return given or None
    found = getpass.getpass(f"{'New p' if new else 'P'}assphrase of {path}: ")
    if new and (not found or found != getpass.getpass("The same again: ")):
        raise KeyFileError(f"{path}: no passphrase, or two that differ; nothing was changed")
    return found or None


def passphrase_in_use() -> str | None:
    """Return the passphrase that opened a key of this process last, to seal a key beside it."""
    return _opened_by[-1] if _opened_by else None


def load_key(path: Path, passphrase: str | None = None) -> PrivateKey:
    """Read a key file; raise KeyFileError naming file, fault and remedy.

    A sealed one is opened with the passphrase given, with one that opened another key of this process, or
    with that of `passphrase_for`.
    """
    content = _read(path)
    try:
        public = bytes.fromhex(content["public"])
        if "sealed" in content:
            seed = _unsealed(path, content["sealed"], passphrase)
        else:
            seed = bytes.fromhex(content["seed"])
        key = PrivateKey(seed)
    except (KeyError, TypeError, ValueError) as error:
        raise KeyFileError(
            f"{path}: damaged key file ({type(error).__name__}); restore it from backup"
        ) from None
    if key.public != public:
        raise KeyFileError(f"{path}: damaged key file (public key and seed differ); restore it from backup")
    return key


def numbered(key: Path) -> list[Path]:
    """Return the spares made beside a node's key file, in the order in which they were made."""
    form = re.compile(re.escape(key.stem) + r"\.([0-9]{1,9})" + re.escape(key.suffix))
    found = [(int(match[1]), path) for path in key.parent.glob("*") if (match := form.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def public_keys_in(folder: Path) -> frozenset[bytes]:
    """Return the public keys of the key files in a folder, as `public_keys_of` does."""
    return public_keys_of(sorted(folder.glob("*.key")))


def public_keys_of(paths: Sequence[Path]) -> frozenset[bytes]:
    """Return the public keys of key files; no sealed one is opened, and no fault is told."""
    found = set()
    for path in paths[:FILES_LOOKED_AT_MAX]:
        with contextlib.suppress(KeyFileError, KeyError, TypeError, ValueError):
            found.add(bytes.fromhex(_read(path)["public"]))
    return frozenset(found)


def is_sealed(path: Path) -> bool:
    """Tell whether a key file needs a passphrase; raise KeyFileError as `load_key` does."""
    return "sealed" in _read(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise KeyFileError(
            f"{path}: cannot be read ({error.strerror}); check the path and its owner"
        ) from None
    if mode & 0o077:
        raise KeyFileError(
            f"{path}: mode {mode:04o} lets others read the key; run: chmod 600 {shlex.quote(str(path))}"
        )
    try:
        content = json.loads(text) if len(text) <= FILE_BYTES_MAX else None
    except (ValueError, RecursionError):
        raise KeyFileError(f"{path}: damaged key file (not JSON); restore it from backup") from None
    if not isinstance(content, dict) or content.get("kind") != _KIND or content.get("version") != 1:
        raise KeyFileError(f"{path}: not an {_KIND} file of version 1; name the right file")
    return content


def _seal(seed: bytes, passphrase: str) -> dict[str, str]:
    salt = nacl.utils.random(nacl.pwhash.argon2id.SALTBYTES)
    return {"salt": salt.hex(), "box": bytes(_box(passphrase, salt).encrypt(seed)).hex()}


def _unsealed(path: Path, sealed: object, passphrase: str | None) -> bytes:
    if passphrase is None:
        for known in _opened_by:
            with contextlib.suppress(KeyFileError):
                return _open(path, sealed, known)
        passphrase = passphrase_for(path)
    if passphrase is None:
        raise KeyFileError(
            f"{path}: sealed with a passphrase; set {PASSPHRASE_VARIABLE}, or start it at a terminal, which "
            "asks for it"
        )
    seed = _open(path, sealed, passphrase)
    if passphrase not in _opened_by:
        _opened_by.append(passphrase)
    return seed


def _open(path: Path, sealed: object, passphrase: str) -> bytes:
    if not isinstance(sealed, dict):
        raise TypeError("sealed")
    try:
        return _box(passphrase, bytes.fromhex(sealed["salt"])).decrypt(bytes.fromhex(sealed["box"]))
    except nacl.exceptions.CryptoError:
        raise KeyFileError(
            f"{path}: the passphrase does not open this key; check {PASSPHRASE_VARIABLE}"
        ) from None


def _box(passphrase: str, salt: bytes) -> nacl.secret.SecretBox:
    derived = nacl.pwhash.argon2id.kdf(
        nacl.secret.SecretBox.KEY_SIZE,
        passphrase.encode(),
        salt,
        opslimit=nacl.pwhash.argon2id.OPSLIMIT_MODERATE,
        memlimit=nacl.pwhash.argon2id.MEMLIMIT_MODERATE,
    )
    return nacl.secret.SecretBox(derived)
