"""LevelDB behind the store port. No other module knows plyvel."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import plyvel

from chain.ledger.store.faults import DataDamaged, DataLocked, StorageFailed, storage_remedy
from chain.ledger.store.port import key_range
from chain.ledger.store.recordlog import BLOCKS, PendingRecords, RecordStore, Row, segment_key
from chain.ledger.store.segments import FileSegments
from chain.primitives.errors import AssentError

OPEN_FILES_MAX = 256
BLOOM_BITS = 10
MIB = 1_048_576
COMMAND_CHARS_MAX = 200
_FLOCK = struct.Struct("hhqqi")
"""`struct flock` of 64-bit Linux: type, whence, start, length, process."""
RECORDS = "records"
"""The folder of the record log, in LevelDB's."""


class LevelRows:
    """Rows of a LevelDB database, or of a snapshot of one; LevelDB allows reads from any thread."""

    __slots__ = ("_db", "_path")

    def __init__(self, db: Any, path: Path) -> None:
        self._db = db
        self._path = path

    def get(self, key: bytes) -> bytes | None:
        """Return one row's value, or None."""
        try:
            value: bytes | None = self._db.get(key, verify_checksums=True)
        except plyvel.Error as error:
            raise _explained(self._path, error) from None
        return value

    def iterate(
        self,
        *,
        prefix: bytes = b"",
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[Row]:
        """Yield rows in key order with this prefix and start <= key < stop, at most `limit`."""
        low, high = key_range(prefix, start, stop)
        with (
            _explains(self._path),
            self._db.iterator(start=low, stop=high, reverse=reverse, verify_checksums=True) as rows,
        ):
            yield from islice(rows, limit)

    def close(self) -> None:
        """Release the database or the snapshot."""
        self._db.close()


class LevelReader(LevelRows):
    """Rows and log records; a store and its snapshots share the records, as none ever changes."""

    __slots__ = ("_records",)

    def __init__(self, db: Any, path: Path, records: RecordStore) -> None:
        super().__init__(db, path)
        self._records = records

    def record(self, address: bytes) -> bytes:
        """Return the log record at an address; raise DataDamaged when none stands there."""
        return self._records.record(address)


class LevelStore(LevelReader):
    """LevelDB directory with the record log beside it; one process at a time. Writes are atomic batches."""

    __slots__ = ()

    def __init__(self, path: Path, *, cache_mib: int = 32, write_buffer_mib: int = 16) -> None:
        """Open or create; raise DataLocked, DataDamaged or StorageFailed, each naming the directory.

        Rows are mostly hashes and signatures, which do not compress, so compression is off; Bloom filters
        make the frequent question "is this id on the ledger already?" cheap when the answer is no. Without
        paranoid checks LevelDB skips damaged records of its log and goes on with the rows behind them.
        """
        with _explains(path):
            path.mkdir(parents=True, exist_ok=True)
            db = plyvel.DB(
                str(path),
                create_if_missing=True,
                compression=None,
                bloom_filter_bits=BLOOM_BITS,
                lru_cache_size=cache_mib * MIB,
                write_buffer_size=write_buffer_mib * MIB,
                max_open_files=OPEN_FILES_MAX,
                paranoid_checks=True,
            )
        try:
            records = RecordStore(LevelRows(db, path), FileSegments(path / RECORDS))
        except AssentError:
            db.close()
            raise
        super().__init__(db, path, records)

    def write(
        self,
        puts: Iterable[Row],
        deletes: Iterable[bytes] = (),
        *,
        records: PendingRecords | None = None,
        retired: Sequence[int] = (),
        sync: bool = True,
    ) -> None:
        """Apply deletes, then puts, all or nothing; with `sync` it survives a crash after returning."""
        if records is not None or retired:
            with self._records.appending(records, retired) as more:
                gone = [*deletes, *map(segment_key, retired)]
                self._write(chain(puts, more), gone, sync=sync or bool(retired))
        else:
            self._write(puts, deletes, sync=sync)

    def _write(self, puts: Iterable[Row], deletes: Iterable[bytes], *, sync: bool) -> None:
        with _explains(self._path):
            batch = self._db.write_batch(sync=sync)
            for key in deletes:
                batch.delete(key)
            put = batch.put
            for key, value in puts:
                put(key, value)
            batch.write()

    def records(self, stream: int = BLOCKS) -> PendingRecords:
        """Return an empty batch of records that will follow the last record of a stream."""
        return self._records.begin(stream)

    def segment_records(self, number: int) -> Iterator[Row]:
        """Yield (address, record) of a whole segment of the log."""
        return self._records.scan(number)

    def check_records(self) -> None:
        """Raise DataDamaged when, on opening, a segment of the log was missing or too short."""
        self._records.check()

    def compact(self) -> None:
        """Give the room of deleted rows back to the disk now (it happens by itself, later)."""
        with _explains(self._path):
            # without bounds plyvel names the empty range, in which there is nothing to do
            self._db.compact_range(start=b"", stop=b"\xff")

    def snapshot(self) -> LevelReader:
        """Return an immutable view of the rows as they are now (about 5 µs)."""
        return LevelReader(self._db.snapshot(), self._path, self._records)


@contextmanager
def _explains(path: Path) -> Iterator[None]:
    try:
        yield
    except (plyvel.Error, OSError) as error:
        raise _explained(path, error) from None


def _explained(path: Path, error: Exception) -> Exception:
    """Return our error for one of LevelDB's; the remedy depends on which of three things went wrong."""
    said = error.args[0] if error.args else ""
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(error)
    if isinstance(error, plyvel.IOError) and ("/LOCK" in text or "lock " in text):
        return _locked(path, text)
    if isinstance(error, plyvel.CorruptionError) or "orruption" in text:
        return DataDamaged(
            f"{path}: LevelDB finds it damaged ({text}); run `assent node rebuild`, "
            "or remove the directory and let the node fetch the chain from its peers"
        )
    return StorageFailed(f"{path}: {text}; {storage_remedy(path, text)}")


def _locked(path: Path, text: str) -> Exception:
    """Return our error for a lock that LevelDB did not get: somebody has it, or it cannot be written."""
    if "already held by process" in text:  # by this one: to open the file here would give the lock up
        return DataLocked(f"{path}: this process has it open already")
    try:
        with (path / "LOCK").open("r+b") as lock:
            kind, _, _, _, pid = _FLOCK.unpack(
                fcntl.fcntl(lock, fcntl.F_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            )
    except OSError as error:
        said = error.strerror or str(error)
        return StorageFailed(f"{path}: {said}; {storage_remedy(path, said)}")
    if kind == fcntl.F_UNLCK:
        return DataLocked(f"{path}: another process had this data directory a moment ago; try again")
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        command = b" ".join(words).decode(errors="replace")[:COMMAND_CHARS_MAX]
    except OSError:
        command = "a process that this user cannot see"
    return DataLocked(
        f"{path}: process {pid} uses this data directory ({command}); stop it (one directory serves one "
        "process)"
    )
