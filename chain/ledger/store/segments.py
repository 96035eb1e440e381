"""Segments of the record log as files: `<number>.rec`, eight digits, in one folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from chain.ledger.store.faults import StorageFailed

OPEN_FILES_MAX = 256
PARTS_AT_ONCE = 1_024
"""Linux takes so many in one call."""
_SUFFIX = ".rec"


class _File:
    """An open segment; its descriptor is closed when nobody holds the object any more.

    So whoever uses the descriptor keeps the object: another thread may forget it at any moment.
    """

    __slots__ = ("fd",)

    def __init__(self, path: Path, flags: int) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):  # it could not be opened; the process ends
            os.close(self.fd)


def _write_all(fd: int, parts: Sequence[bytes], offset: int) -> int:
    """Write pieces at an offset; return how many bytes they are."""
    size, written = sum(map(len, parts)), os.pwritev(fd, parts, offset)
    while written < size:  # the disk is full, which the next attempt tells, or a signal came
        written += os.pwrite(fd, b"".join(parts)[written:], offset + written)
    return size


class FileSegments:
    """Segments in a folder; `chain.ledger.store.recordlog.Segments`."""

    __slots__ = ("_files", "_folder")

    def __init__(self, folder: Path) -> None:
        """Open or create the folder; raise StorageFailed."""
        self._folder = folder
        self._files: dict[int, _File] = {}
        with self._explained():
            folder.mkdir(parents=True, exist_ok=True)

    def sizes(self) -> dict[int, int]:
        """Return the length of every segment there is."""
        with self._explained():
            found = [path for path in self._folder.glob("*" + _SUFFIX) if path.stem.isdecimal()]
            return {int(path.stem): path.stat().st_size for path in found}

    def append(self, number: int, offset: int, parts: Sequence[bytes]) -> None:
        """Write durably at an offset, which is the end that counts; creates the segment at offset 0."""
        with self._explained():
            file = self._open(number, os.O_CREAT)
            fd = file.fd
            at = offset
            for first in range(0, len(parts), PARTS_AT_ONCE):
                at += _write_all(fd, parts[first : first + PARTS_AT_ONCE], at)
            if os.fstat(fd).st_size > at:  # left by an append that failed half-way
                os.ftruncate(fd, at)
            os.fdatasync(fd)
            if offset == 0:
                self._sync_folder()

    def read(self, number: int, offset: int, size: int) -> bytes | None:
        """Return at most `size` bytes, None when there is no such segment."""
        try:
            file = self._files.get(number) or self._open(number)
            return os.pread(file.fd, size, offset)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from None

    def cut(self, number: int, size: int) -> None:
        """Shorten a segment."""
        with self._explained():
            file = self._open(number)
            os.ftruncate(file.fd, size)
            os.fsync(file.fd)

    def remove(self, number: int) -> None:
        """Delete a segment; readers under way end well."""
        with self._explained(), suppress(FileNotFoundError):
            self._path(number).unlink()
        self._files.pop(number, None)  # behind it, or a reader opens the file again and holds its room

    def _open(self, number: int, flags: int = 0) -> _File:
        file = self._files.get(number)
        if file is None:
            file = _File(self._path(number), flags)
            while len(self._files) >= OPEN_FILES_MAX:
                with suppress(KeyError, StopIteration, RuntimeError):  # another thread opens or closes one
                    self._files.pop(next(iter(self._files)))
            self._files[number] = file
        return file

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08}{_SUFFIX}"

    def _sync_folder(self) -> None:
        fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> StorageFailed:
        return StorageFailed(
            f"{error.filename or self._folder}: {error.strerror or error}; check the path, its owner and "
            "the free space of the disk"
        )
