"""Tokens of programs: a file of the node that names each, with its scopes, its end, and a hash of its secret.

A secret is 32 random bytes, so a plain hash does: nobody finds it by trying. Whoever reads the file can use
no token.
"""

from __future__ import annotations

import base64
import json
import logging
import os
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import pydantic

from chain.primitives.errors import ConfigError
from chain.primitives.files import file_remedy, read_bounded, replace_file
from chain.primitives.settings import ID_WORDS, Section, matching, validate, within

log = logging.getLogger("assent.rpc")

PREFIX = "assent_"
TOKENS_MAX = 256
FILE_BYTES_MAX = 262_144
DAYS_MAX = 3_650
SCOPE_NAMES = ("read", "submit", "operate", "audit")


class Token(Section):
    """One token."""

    name: Annotated[str, matching("[a-z0-9][a-z0-9._-]{0,63}", ID_WORDS)]
    secret_sha256: Annotated[str, matching("[0-9a-f]{64}", "64 hex digits, in lower case")]
    scopes: Annotated[
        tuple[Literal["read", "submit", "operate", "audit"], ...],
        pydantic.Field(strict=False, min_length=1, max_length=4),
    ]
    created: Annotated[int, within(0, 2**53, "milliseconds since 1970")]
    expires: Annotated[int, within(0, 2**53, "milliseconds since 1970")]
    requests_per_second: Annotated[int, within(1, 1_000_000, "requests a second")] | None = None

    @property
    def client(self) -> str:
        """Its name among all clients of a port."""
        return f"token:{self.name}"


class _Book(Section):
    kind: Literal["assent-rpc-tokens"] = "assent-rpc-tokens"
    version: Literal[1] = 1
    tokens: Annotated[tuple[Token, ...], pydantic.Field(strict=False, max_length=TOKENS_MAX)] = ()

    @pydantic.model_validator(mode="after")
    def _check_names(self) -> _Book:
        names = [token.name for token in self.tokens]
        if len(set(names)) < len(names):
            raise ValueError("tokens: two of one name; remove one")
        return self


def secret_hash(secret: str) -> bytes:
    """Return the hash that stands for a secret."""
    return sha256(secret.encode()).digest()


def make_secret() -> str:
    """Return a fresh secret, as a program sends it."""
    return PREFIX + base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")


def load_tokens(path: Path) -> tuple[Token, ...]:
    """Read a node's tokens, none where there is no file; raise ConfigError naming file, fault and remedy."""
    try:
        raw = read_bounded(path, FILE_BYTES_MAX)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigError(
            f"files.tokens = {path}: cannot be read ({error.strerror}); {file_remedy(error)}"
        ) from None
    try:
        content = json.loads(raw)
        if not isinstance(content, dict):
            raise TypeError
    except (ValueError, RecursionError, TypeError):
        raise ConfigError(
            f"files.tokens = {path}: damaged (not a JSON object); put it back from a backup, or "
            "remove it and make the tokens anew: assent node token new"
        ) from None
    return validate(str(path), content, _Book).tokens


def save_tokens(path: Path, tokens: tuple[Token, ...]) -> None:
    """Write a node's tokens, all or nothing, for its owner alone (ConfigError, FileTrouble)."""
    if len(tokens) > TOKENS_MAX:
        raise ConfigError(f"{path}: {len(tokens)} tokens, at most {TOKENS_MAX}; remove those that are over")
    text = json.dumps(_Book(tokens=tokens).model_dump(mode="json"), indent=1)
    replace_file(path, f"{text}\n".encode())


class TokenFile:
    """The tokens of a running node, which follow their file."""

    def __init__(self, path: Path) -> None:
        """Read the file; raise ConfigError for a damaged one."""
        self._path = path
        self._stamp = self._look()
        self._take(load_tokens(path))

    def find(self, proof: bytes) -> Token | None:
        """Return the token whose secret has this hash."""
        return self._by_proof.get(proof)

    def requests_per_second(self, client: str) -> int | None:
        """Return the bound of a client that is a token with one."""
        return self._bounds.get(client)

    def refresh(self) -> None:
        """Take the file's tokens if it changed; none from a file that is damaged now."""
        stamp = self._look()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._take(load_tokens(self._path))
        except ConfigError as error:
            self._take(())
            log.error("no token is valid until this is mended: %s", error)
        else:
            log.info("%d tokens are valid from now on", len(self._by_proof))

    def _take(self, tokens: tuple[Token, ...]) -> None:
        self._by_proof = {bytes.fromhex(token.secret_sha256): token for token in tokens}
        self._bounds = {
            token.client: token.requests_per_second for token in tokens if token.requests_per_second
        }

    def _look(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_ino, found.st_mtime_ns, found.st_size
