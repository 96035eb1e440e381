"""What can be wrong with a data directory; each text names the directory or the part, and the remedy."""

from __future__ import annotations

from chain.primitives.errors import AssentError, Exit


class DataLocked(AssentError):
    """A data directory that another process holds: stop that process, or name another directory."""

    code = "data_locked"
    exit = Exit.CONFIG


class DataDamaged(AssentError):
    """A data directory whose rows are damaged or disagree: the text names the part and the remedy."""

    code = "data_damaged"
    exit = Exit.DAMAGED


class DataNewer(AssentError):
    """Data written by a newer Assent: install that version, or start from an empty directory."""

    code = "data_newer"
    exit = Exit.CONFIG


class StorageFailed(AssentError):
    """The disk refused a read or a write: the text names the directory; free space or replace the disk."""

    code = "storage_failed"
    exit = Exit.IO
