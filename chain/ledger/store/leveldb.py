"""LevelDB behind the store port. No other module knows plyvel."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import Any

import plyvel

from chain.ledger.store.faults import DataDamaged, DataLocked, StorageFailed, storage_remedy
from chain.ledger.store.port import key_range
from chain.ledger.store.records import BLOCKS, PendingRecords, RecordStore, Row
from chain.primitives.errors import AssentError

OPEN_FILES_MAX = 256
"""Open files of one database."""
DATABASES_MAX = 3
"""Open at once: the rows, the records of blocks, those of a state that is being fetched."""
BLOOM_BITS = 10
MIB = 1_048_576
COMMAND_CHARS_MAX = 200
ENDING_TRIES, ENDING_PAUSE_S = 50, 0.1
"""How often, and how far apart, a lock is tried whose holder is ending."""
HELD_HERE = "already held by process"
"""What LevelDB says of a lock that this very process holds."""
_FLOCK = struct.Struct("hhqqi")
"""`struct flock` of 64-bit Linux: type, whence, start, length, process."""
RECORDS = "records"
"""The folder of the databases of records, in that of the rows; each is named by its generation's number."""


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


class LevelDatabase(LevelRows):
    """One LevelDB database; also `chain.ledger.store.records.Generation`."""

    __slots__ = ()

    def apply(self, puts: Iterable[Row], deletes: Iterable[bytes] = (), *, sync: bool = True) -> None:
        """Apply deletes, then puts, all or nothing; with `sync` it survives a crash after returning."""
        with _explains(self._path):
            batch = self._db.write_batch(sync=sync)
            for key in deletes:
                batch.delete(key)
            put = batch.put
            for key, value in puts:
                put(key, value)
            batch.write()

    def size(self, start: bytes, stop: bytes) -> int:
        """Return about how many bytes a range of keys takes in files."""
        size: int = self._db.approximate_size(start, stop)
        return size

    def compact(self, start: bytes, stop: bytes) -> None:
        """Give the room of deleted rows in a range back to the disk now (it happens by itself, later)."""
        with _explains(self._path):
            self._db.compact_range(start=start, stop=stop)


class LevelGenerations:
    """Generations of records as LevelDB databases; `chain.ledger.store.records.Generations`."""

    __slots__ = ("_cache_mib", "_folder", "_write_buffer_mib")

    def __init__(self, folder: Path, cache_mib: int, write_buffer_mib: int) -> None:
        """Create the folder; raise StorageFailed."""
        self._folder, self._cache_mib, self._write_buffer_mib = folder, cache_mib, write_buffer_mib
        with _explains(folder):
            _make_folder(folder)

    def numbers(self) -> set[int]:
        """Return the numbers of those that are there, in full or in part."""
        with _explains(self._folder):
            return {int(path.name) for path in self._folder.iterdir() if path.name.isdecimal()}

    def open(self, number: int) -> LevelDatabase:
        """Open one, or create it durably; raise DataDamaged, StorageFailed."""
        path = self._path(number)
        with _explains(path):
            _make_folder(path)
            db = _open(path, self._cache_mib, self._write_buffer_mib)
        return LevelDatabase(db, path)

    def remove(self, number: int) -> None:
        """Delete one; readers under way end well, or find nothing.

        Its database closes when the last thread that reads in it lets go of it. Until then it may make files
        here: what they leave goes at the next opening, which finds the folder named by no row.
        """
        path = self._path(number)
        try:
            shutil.rmtree(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise _explained(path, error) from None

    def _path(self, number: int) -> Path:
        return self._folder / str(number)


class LevelReader(LevelRows):
    """Rows and records; a store and its snapshots share the records, as none ever changes."""

    __slots__ = ("_records",)

    def __init__(self, db: Any, path: Path, records: RecordStore) -> None:
        super().__init__(db, path)
        self._records = records

    def record(self, address: bytes) -> bytes:
        """Return the record at an address; raise RecordMissing, or DataDamaged."""
        return self._records.record(address)


class LevelStore(LevelReader):
    """LevelDB directory with records in others below it; one process at a time. Writes are atomic batches."""

    __slots__ = ("_database",)

    def __init__(self, path: Path, *, cache_mib: int = 32, write_buffer_mib: int = 16) -> None:
        """Open or create; raise DataLocked, DataDamaged or StorageFailed, each naming the directory.

        Rows have one half of the cache and of the write buffer, records the other.
        """
        cache_mib, write_buffer_mib = -(-cache_mib // 2), -(-write_buffer_mib // 2)
        with _explains(path):
            _make_folder(path)
            db = _open(path, cache_mib, write_buffer_mib)
        self._database = LevelDatabase(db, path)
        try:
            generations = LevelGenerations(path / RECORDS, cache_mib, write_buffer_mib)
            records = RecordStore(self._database, generations)
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
        exchange: bool = False,
        sync: bool = True,
    ) -> None:
        """Apply deletes, then puts, all or nothing; with `sync` it survives a crash after returning."""
        if records is not None or exchange:
            with self._records.writing(records, exchange=exchange) as more:
                self._database.apply(chain(puts, more), deletes, sync=sync or exchange)
        else:
            self._database.apply(puts, deletes, sync=sync)

    def records(self, stream: int = BLOCKS) -> PendingRecords:
        """Return an empty batch of records that will follow the last record of a stream."""
        return self._records.begin(stream)

    def delete_records(self, addresses: Iterable[bytes]) -> None:
        """Delete records of a generation durably, all or none."""
        self._records.delete(addresses)

    def records_size(self) -> int:
        """Return about how many bytes the records of blocks take."""
        return self._records.size()

    def compact_records(self, start: int) -> int:
        """Give room of deleted records back to the disk in a slice; return where to go on, 0 at the end."""
        return self._records.compact(start)

    def check_records(self) -> None:
        """Raise DataDamaged when a database of records did not open, or lacks its newest record."""
        self._records.check()

    def compact_rows(self) -> None:
        """Give the room of deleted rows back to the disk now (it happens by itself, later)."""
        self._database.compact(b"", b"\xff")

    def snapshot(self) -> LevelReader:
        """Return an immutable view of the rows as they are now (about 5 µs)."""
        return LevelReader(self._db.snapshot(), self._path, self._records)

    def close(self) -> None:
        """Release the databases."""
        self._records.close()
        super().close()


def _open(path: Path, cache_mib: int, write_buffer_mib: int) -> Any:
    """Open or create a database.

    Rows and records are mostly hashes and signatures, which do not compress, so compression is off; Bloom
    filters make the frequent question "is this id on the ledger already?" cheap when the answer is no.
    Without paranoid checks LevelDB skips damaged entries of its log and goes on with those behind them.
    The lock of a process that is ending already is waited for: its memory goes before its locks do.
    """
    for _ in range(ENDING_TRIES):
        try:
            return _open_now(path, cache_mib, write_buffer_mib)
        except plyvel.IOError as error:
            if not _is_of_lock(str(error)) or HELD_HERE in str(error) or _command(_holder(path)):
                raise
            time.sleep(ENDING_PAUSE_S)
    return _open_now(path, cache_mib, write_buffer_mib)


def _open_now(path: Path, cache_mib: int, write_buffer_mib: int) -> Any:
    return plyvel.DB(
        str(path),
        create_if_missing=True,
        compression=None,
        bloom_filter_bits=BLOOM_BITS,
        lru_cache_size=cache_mib * MIB,
        write_buffer_size=write_buffer_mib * MIB,
        max_open_files=OPEN_FILES_MAX,
        paranoid_checks=True,
    )


def _make_folder(path: Path) -> None:
    """Create a folder, durably, unless it is there."""
    if path.is_dir():
        return
    path.mkdir(parents=True, exist_ok=True)
    above = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(above)
    finally:
        os.close(above)


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
    if isinstance(error, plyvel.IOError) and _is_of_lock(text):
        return _locked(path, text)
    if isinstance(error, plyvel.CorruptionError) or "orruption" in text:
        return DataDamaged(
            f"{path}: LevelDB finds it damaged ({text}); run `assent node rebuild`, "
            "or remove the directory and let the node fetch the chain from its peers"
        )
    return StorageFailed(f"{path}: {text}; {storage_remedy(path, text)}")


def _locked(path: Path, text: str) -> Exception:
    """Return our error for a lock that LevelDB did not get: somebody has it, or it cannot be written."""
    if HELD_HERE in text:  # by this one: to open the file here would give the lock up
        return DataLocked(f"{path}: this process has it open already")
    try:
        pid = _holder(path)
    except OSError as error:
        said = error.strerror or str(error)
        return StorageFailed(f"{path}: {said}; {storage_remedy(path, said)}")
    if pid == 0:
        return DataLocked(f"{path}: another process had this data directory a moment ago; try again")
    return DataLocked(
        f"{path}: process {pid} uses this data directory ({_command(pid)}); stop it (one directory serves "
        "one process)"
    )


def _is_of_lock(text: str) -> bool:
    """Tell whether LevelDB complains of its lock."""
    return "/LOCK" in text or "lock " in text


def _holder(path: Path) -> int:
    """Return the process that holds the lock, 0 when none does (any more); raise OSError."""
    with (path / "LOCK").open("r+b") as lock:
        kind, _, _, _, pid = _FLOCK.unpack(
            fcntl.fcntl(lock, fcntl.F_GETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        )
    return 0 if kind == fcntl.F_UNLCK else int(pid)


def _command(pid: int) -> str:
    """Return the command of a process; none when there is no such process, or it is ending."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except FileNotFoundError:
        return ""
    except OSError:
        return "a process that this user cannot see"
    return b" ".join(words).decode(errors="replace")[:COMMAND_CHARS_MAX]
