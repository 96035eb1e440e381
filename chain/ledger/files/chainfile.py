"""Chain file: a part of a chain on disk: blocks with certificates, an archive with receipts, a snapshot.

    file   = "ASSENTCF", version: 2 bytes, record*, nothing more
    record = kind: 1 byte, length of the body: 4 bytes, body, checksum: 8 bytes

Integers are big-endian. A checksum is the start of H(checksum before, kind, length, body), so that bytes and
records that were changed, lost, added or moved show at the offset where they stand; the last record says how
many there were, so that a missing end shows, too. Checksums tell of accidents. What the records claim is
checked against the genesis by whoever uses them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar

from chain.ledger.block import BATCH_TXS_MAX, Block, Receipt
from chain.ledger.proof.anchor import Anchor
from chain.ledger.proof.proofs import SetChange
from chain.ledger.state.chunk import StateChunk
from chain.primitives.codec import U64, Bound, Hash, Name, decode, encode, max_bytes_of, record
from chain.primitives.crypto import digest
from chain.primitives.errors import AssentError, DecodeError, Exit
from chain.primitives.files import open_regular, sync_folder

MAGIC = b"ASSENTCF"
VERSION = 1
BLOCKS, ARCHIVE, SNAPSHOT = "blocks", "archive", "snapshot"
_HEADER = struct.Struct(">BI")
_CHECKSUM_BYTES = 8


class FileDamaged(AssentError):
    """A file that is no chain file, is cut off, or was changed: the text says where; copy it again."""

    code = "file_damaged"
    exit = Exit.DAMAGED


class FileNewer(AssentError):
    """A chain file written by a newer Assent: install that version."""

    code = "file_newer"


class ChainFilePart(IntEnum):
    """What a record's body is."""

    PREAMBLE = 1
    SET_CHANGE = 2
    BLOCK = 3
    RECEIPTS = 4
    """Of the block before it; archives only."""
    ANCHOR = 5
    CHUNK = 6
    END = 7


@record("file-preamble", max_bytes=512)
class Preamble:
    """The first record: what the file holds, of which chain."""

    holds: Name
    """blocks, archive or snapshot."""
    chain_id: Hash
    chain_name: Name
    first: U64
    last: U64
    """Heights, both included; a snapshot is of one."""


@record("file-receipts", max_bytes=BATCH_TXS_MAX * 4_096 + max_bytes_of(Receipt) + 1_024)
class BlockReceipts:
    """The encoded receipts of one height, in batch order."""

    height: U64
    receipts: Annotated[
        tuple[Annotated[bytes, Bound(1, max_bytes_of(Receipt))], ...], Bound(0, BATCH_TXS_MAX)
    ]


@record("file-end", max_bytes=32)
class FileEnd:
    """The last record."""

    records: U64
    """How many came before it."""


BOUNDS = {
    ChainFilePart.PREAMBLE: max_bytes_of(Preamble),
    ChainFilePart.SET_CHANGE: max_bytes_of(SetChange),
    ChainFilePart.BLOCK: max_bytes_of(Block),
    ChainFilePart.RECEIPTS: max_bytes_of(BlockReceipts),
    ChainFilePart.ANCHOR: max_bytes_of(Anchor),
    ChainFilePart.CHUNK: max_bytes_of(StateChunk),
    ChainFilePart.END: max_bytes_of(FileEnd),
}
Record = tuple[ChainFilePart, bytes]
T = TypeVar("T")


def save(path: Path, preamble: Preamble, records: Iterable[Record]) -> int:
    """Write a file that is there complete and durable, or not at all; return its size in bytes.

    Raises FileExistsError when the path exists, OSError for the disk's trouble.
    """
    if path.exists():
        raise FileExistsError(f"{path}: exists already; name another file, or remove it")
    draft = path.with_name(path.name + ".part")
    try:
        with draft.open("wb") as out:
            _write(out, preamble, records)
            out.flush()
            os.fsync(out.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
    return path.stat().st_size


def _write(out: BinaryIO, preamble: Preamble, records: Iterable[Record]) -> None:
    out.write(MAGIC + VERSION.to_bytes(2, "big"))
    checksum = bytes(_CHECKSUM_BYTES)
    for count, (part, body) in enumerate(_framed(preamble, records)):
        if part is ChainFilePart.END:
            body = encode(FileEnd(count))
        header = _HEADER.pack(part, len(body))
        checksum = _checksum(checksum, header, body)
        out.write(header + body + checksum)


def _framed(preamble: Preamble, records: Iterable[Record]) -> Iterator[Record]:
    yield ChainFilePart.PREAMBLE, encode(preamble)
    yield from records
    yield ChainFilePart.END, b""


def _checksum(before: bytes, header: bytes, body: bytes) -> bytes:
    return digest("assent/file", before, header, body)[:_CHECKSUM_BYTES]


class ChainFile:
    """Reads one file from its start to its end, once; a context manager."""

    def __init__(self, path: Path) -> None:
        """Open it and read the preamble; raise FileDamaged, FileNewer, OSError."""
        self.path = path
        self._file = open_regular(path)
        self._checksum, self._count = bytes(_CHECKSUM_BYTES), 0
        self._offset = 0
        try:
            self._check_magic()
            part, body = self._next()
            if part is not ChainFilePart.PREAMBLE:
                raise self.damaged("it does not begin with a preamble")
            self.preamble = self.read(Preamble, body)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> ChainFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def records(self) -> Iterator[Record]:
        """Yield the records after the preamble; raise FileDamaged at the first that is not as written."""
        while True:
            part, body = self._next()
            if part is ChainFilePart.END:
                if self.read(FileEnd, body).records != self._count - 1:
                    raise self.damaged("records are missing before its end")
                if self._file.read(1):
                    raise self.damaged("there are bytes behind its end")
                return
            yield part, body

    def read(self, cls: type[T], body: bytes) -> T:
        """Decode a record's body; raise FileDamaged."""
        try:
            return decode(cls, body)
        except DecodeError as error:
            raise self.damaged(str(error)) from None

    def damaged(self, what: str) -> FileDamaged:
        """Return the error for the record read last."""
        return FileDamaged(
            f"{self.path}: record {self._count}, at byte {self._offset}: {what}; "
            "copy or export the file again"
        )

    def _check_magic(self) -> None:
        start = self._file.read(len(MAGIC) + 2)
        if start[: len(MAGIC)] != MAGIC or len(start) < len(MAGIC) + 2:
            raise FileDamaged(f"{self.path}: not a file of `assent node export`, `snapshot` or `archive`")
        version = int.from_bytes(start[-2:], "big")
        if version != VERSION:
            raise FileNewer(f"{self.path}: version {version}, this Assent reads {VERSION}: install another")

    def _next(self) -> Record:
        self._offset = self._file.tell()
        header = self._file.read(_HEADER.size)
        self._count += 1
        if len(header) < _HEADER.size:
            raise self.damaged("the file ends here, before its end record")
        number, length = _HEADER.unpack(header)
        if number not in BOUNDS or length > BOUNDS[ChainFilePart(number)]:
            raise self.damaged(f"kind {number} and length {length} are none that Assent writes")
        body = self._file.read(length)
        checksum = self._file.read(_CHECKSUM_BYTES)
        if len(body) < length or len(checksum) < _CHECKSUM_BYTES:
            raise self.damaged("the file ends within this record")
        if checksum != _checksum(self._checksum, header, body):
            raise self.damaged("its checksum does not hold: the file was changed, or the disk is damaged")
        self._checksum = checksum
        return ChainFilePart(number), body
