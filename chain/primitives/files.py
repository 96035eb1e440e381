"""Files that a person or a configuration names: read within a bound, and written whole or not at all.

A named pipe would block the reader for ever, a device such as /dev/zero never ends, and a file may be larger
than memory. All are refused with an OSError whose `strerror` says so, for the reader's own error to quote.
A write that ends half-way, on a full disk, leaves nothing under the name that was to be written.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from chain.primitives.errors import FileThere, FileTrouble

PRIVATE_UMASK = 0o077
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""What a file system without hard links, such as FAT, says when it is asked for one."""

_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading, links followed; raise OSError, and never block on a pipe or device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{_KINDS.get(kind, 'something else')}, not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_bounded(path: Path, most: int) -> bytes:
    """Return the bytes of a regular file; raise OSError for anything else, and for more than `most` bytes."""
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size <= most:  # else not a byte of it is read
            content = file.read(most + 1)
            if len(content) <= most:
                return content
    raise OSError(errno.EFBIG, f"more than {most} bytes", str(path))


def write_new(path: Path, content: bytes) -> None:
    """Write a file for its owner alone, whole and durable; raise FileThere, and FileTrouble naming it."""
    if path.exists():
        raise _there(path)
    with _drafted(path, content) as draft:
        try:
            os.link(draft, path)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            os.replace(draft, path)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file for its owner alone in the place of whatever is there, all or nothing (FileTrouble)."""
    with _drafted(path, content) as draft:
        os.replace(draft, path)


@contextlib.contextmanager
def _drafted(path: Path, content: bytes) -> Iterator[Path]:
    """Write a durable draft beside the path, which goes if it was not put in its place (FileTrouble)."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with contextlib.suppress(FileNotFoundError):  # of a process of this number that was killed
            draft.unlink()
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield draft
        sync_folder(path.parent)
    except FileExistsError:
        raise _there(path) from None
    except OSError as error:
        raise FileTrouble(f"{path}: cannot be written ({error.strerror}); {file_remedy(error)}") from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def _there(path: Path) -> FileThere:
    return FileThere(f"{path}: exists already and is never overwritten; name another file")


def sync_folder(folder: Path) -> None:
    """Make durable which names a folder holds."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_remedy(error: OSError) -> str:
    """Return what to do about a path that cannot be read or written, for the cause that the system gave."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "make room there, or name another path"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return "check the path: it, or its folder, is not there"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "check the owner and the mode of its folder, and who runs this"
    if error.errno == errno.EROFS:
        return "the file system is read-only, as one is after a fault of its disk: see dmesg"
    return "name another path"


@contextlib.contextmanager
def private_files() -> Iterator[None]:
    """Let what is made inside be for its own user alone, whatever the umask of the shell allows."""
    before = os.umask(PRIVATE_UMASK)
    os.umask(before | PRIVATE_UMASK)
    try:
        yield
    finally:
        os.umask(before)
