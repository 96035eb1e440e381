"""What can be wrong with a data directory; each text names the directory or the part, and the remedy."""

from __future__ import annotations

import os
from pathlib import Path

from chain.primitives.errors import AssentError, Exit


def storage_remedy(path: Path, said: str) -> str:
    """Return what to do about what a file system said of a path."""
    if "Read-only" in said:
        return "the file system is read-only, as one is after a fault of its disk: see dmesg, then remount it"
    if "Too many open files" in said:
        return "raise the limit of open files: ulimit -n, or LimitNOFILE of the service"
    if "Permission" in said or "not permitted" in said:
        return "check the owner of the path, and who runs this"
    try:
        room = os.statvfs(path)
    except OSError:
        return "check the path, its owner and the free space of the disk"
    if room.f_files and not room.f_favail:
        return "the file system has room and no inodes left (df -i): remove files there"
    return "check the path, its owner and the free space of the disk"


class DataLocked(AssentError):
    """A data directory that another process holds: stop that process, or name another directory."""

    code = "data_locked"
    exit = Exit.CONFIG


class DataDamaged(AssentError):
    """A data directory whose rows are damaged or disagree: the text names the part and the remedy."""

    code = "data_damaged"
    exit = Exit.DAMAGED


class RecordMissing(DataDamaged):
    """A record of the state that is not there, though something leads to it."""


class DataNewer(AssentError):
    """Data written by a newer Assent: install that version, or start from an empty directory."""

    code = "data_newer"
    exit = Exit.CONFIG


class StorageFailed(AssentError):
    """The disk refused a read or a write: the text names the directory; free space or replace the disk."""

    code = "storage_failed"
    exit = Exit.IO
