"""Sealed files: what an agent holds of a computed job until its result is handed out.

A file is a nonce and a secretbox (XSalsa20-Poly1305) under a key that derives from the agent's private key
and the job: it opens for this agent and this job alone, and a changed byte shows. Destroying one removes its
name; the bytes that a disk may keep are worth nothing without the agent's key.
"""

from __future__ import annotations

import os
from pathlib import Path

import nacl.bindings as sodium
from nacl.exceptions import CryptoError

from chain.primitives.crypto import PrivateKey, digest
from chain.primitives.errors import AssentError
from chain.primitives.files import read_bounded
from privcompute.data.private_files import JOB_ID, job_file, write_private

SEALED_BYTES_MAX = 1 << 31
_SUFFIX = ".sealed"
_NONCE_BYTES = sodium.crypto_secretbox_NONCEBYTES


class SealedError(AssentError):
    """A sealed file that is missing or damaged: the text names it, and what follows."""

    code = "sealed"


class SealedStore:
    """A folder with one sealed file (mode 0600) per job."""

    __slots__ = ("_key", "folder")

    def __init__(self, folder: Path, key: PrivateKey) -> None:
        self.folder, self._key = folder, key

    def save(self, job: str, content: bytes) -> None:
        """Write a job's content durably and atomically; raise NotWritten."""
        nonce = os.urandom(_NONCE_BYTES)
        write_private(self._path(job), nonce + sodium.crypto_secretbox(content, nonce, self._key_of(job)))

    def load(self, job: str) -> bytes:
        """Return a job's content; raise SealedError when it is missing, damaged, or another job's."""
        path = self._path(job)
        try:
            data = read_bounded(path, SEALED_BYTES_MAX)
            return sodium.crypto_secretbox_open(data[_NONCE_BYTES:], data[:_NONCE_BYTES], self._key_of(job))
        except FileNotFoundError:
            raise SealedError(f"{path}: missing; what this agent held of the job is lost") from None
        except (OSError, CryptoError, ValueError, TypeError) as error:
            raise SealedError(
                f"{path}: damaged ({type(error).__name__}), or sealed under another agent key; restore it"
                " from backup before the job's deadline, and start the agent again"
            ) from None

    def jobs(self) -> list[str]:
        """Return the jobs that have a file."""
        return sorted(path.stem for path in self.folder.glob(f"*{_SUFFIX}") if JOB_ID.fullmatch(path.stem))

    def destroy(self, job: str) -> bool:
        """Remove a job's file; tell whether there was one."""
        path = self._path(job)
        there = path.exists()
        path.unlink(missing_ok=True)
        return there

    def _path(self, job: str) -> Path:
        return job_file(self.folder, job, _SUFFIX)

    def _key_of(self, job: str) -> bytes:
        return digest("assent/sealed-shares", self._key.seed, bytes.fromhex(job))
