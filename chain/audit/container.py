"""The file of an audit package: magic, records, and the hash of all that; read in pieces, never whole.

    magic | record | record | … | SHA-256 of everything before it: 32 bytes
    record = kind: 1 byte | length: 4 bytes, big endian | canonical bytes

The hash at the end finds damage; it is no proof of anything. The *content hash* is over the records of
content alone, in order, each as it stands in the file: it names what a package says, however it is proved.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, BinaryIO, TypeVar

from chain.audit.records import EVIDENCE, PACKAGE_VERSION, RECORDS, RecordKind
from chain.primitives.codec import decode, encode, max_bytes_of
from chain.primitives.errors import DecodeError, Exit, ProofInvalid

MAGIC = b"assent audit package 2\n"
PACKAGE_BYTES_MAX = 1_073_741_824
HEAD_BYTES, HASH_BYTES = 5, 32
_PIECE_BYTES = 1_048_576
_CONTENT = b"assent/audit-content\0"

R = TypeVar("R")


class PackageDamaged(ProofInvalid):
    """A file that is no whole audit package: not one at all, or damaged on its way; get it again."""

    code = "package_damaged"
    exit = Exit.IO


class PackageMalformed(ProofInvalid):
    """A package whose records are not as the format has them: whoever made it did not follow it."""

    code = "package_malformed"


def pack_record(kind: RecordKind, body: bytes) -> bytes:
    """Return a record as it stands in a file."""
    return bytes([kind]) + len(body).to_bytes(4, "big") + body


def pack_file(records: Iterable[tuple[RecordKind, Any]]) -> bytes:
    """Return the bytes of a package of these (kind, codec record)."""
    whole = b"".join([MAGIC, *[pack_record(kind, encode(item)) for kind, item in records]])
    return whole + sha256(whole).digest()


class RecordReader:
    """Reads the records of a file one by one; holds one at a time."""

    def __init__(self, file: BinaryIO) -> None:
        """Look at the magic and the hash at the end; raise PackageDamaged."""
        self._file = file
        size = file.seek(0, 2)
        file.seek(0)
        if file.read(len(MAGIC)) != MAGIC:
            raise PackageDamaged(
                f"not an audit package of version {PACKAGE_VERSION} (its first bytes differ); use the "
                "release that wrote it, or export it again"
            )
        if not len(MAGIC) + HASH_BYTES < size <= PACKAGE_BYTES_MAX:
            raise PackageDamaged(f"a file of {size} bytes: cut off, or more than {PACKAGE_BYTES_MAX}")
        self._left = size - len(MAGIC) - HASH_BYTES
        self._check_hash(size - HASH_BYTES)
        file.seek(len(MAGIC))
        self._content = sha256(_CONTENT)
        self._next: tuple[RecordKind, bytes] | None = None

    def _check_hash(self, size: int) -> None:
        whole, left = sha256(), size
        self._file.seek(0)
        while left > 0:
            piece = self._file.read(min(left, _PIECE_BYTES))
            if not piece:
                break
            whole.update(piece)
            left -= len(piece)
        if self._file.read(HASH_BYTES) != whole.digest():
            raise PackageDamaged("its bytes do not have the hash at its end: damaged, or cut off")

    @property
    def content_hash(self) -> bytes:
        """The hash over the records of content that were taken."""
        return self._content.digest()

    def peek(self) -> RecordKind | None:
        """Return the kind of the next record, None at the end; raise PackageMalformed."""
        if self._next is None and self._left:
            self._next = self._read()
        return None if self._next is None else self._next[0]

    def take(self, kind: RecordKind, cls: type[R]) -> R:
        """Return the next record, which must be of this kind and class; raise PackageMalformed."""
        found = self.peek()
        if found is not kind or self._next is None:
            there = "the end of the file" if found is None else found.name.lower()
            raise PackageMalformed(f"{there} where the record {kind.name.lower()} belongs")
        body, self._next = self._next[1], None
        if kind < EVIDENCE:
            self._content.update(pack_record(kind, body))
        try:
            return decode(cls, body)
        except DecodeError as error:
            raise PackageMalformed(f"record {kind.name.lower()}: {error}") from None

    def _read(self) -> tuple[RecordKind, bytes]:
        head = self._file.read(min(HEAD_BYTES, self._left))
        size = int.from_bytes(head[1:], "big")
        try:
            kind = RecordKind(head[0])
        except ValueError:
            raise PackageMalformed(f"a record of the unknown kind {head[0]}") from None
        if len(head) < HEAD_BYTES or size > min(self._left - HEAD_BYTES, max_bytes_of(RECORDS[kind])):
            raise PackageMalformed(f"a record {kind.name.lower()} of {size} bytes: too long, or past the end")
        body = self._file.read(size)
        self._left -= HEAD_BYTES + size
        return kind, body
