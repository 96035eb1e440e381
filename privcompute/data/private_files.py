"""Private files of the owner (mode 0600): they are replaced whole and durably; a job's file has its id."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from chain.primitives.errors import AssentError, FileTrouble
from chain.primitives.files import file_remedy, sync_folder

JOB_ID = re.compile(r"[0-9a-f]{64}")


class JobIdInvalid(AssentError):
    """A job id that is not 64 hex digits: see `assent job list` for the right one."""

    code = "job_id"


class NotWritten(FileTrouble):
    """A file that cannot be written now, as on a full disk: whoever wanted to write it tries again."""

    code = "not_written"

    def __init__(self, path: Path, error: OSError) -> None:
        """Name the file, the reason that the system gave, and the remedy."""
        super().__init__(f"{path}: cannot be written ({error.strerror or error}); {file_remedy(error)}")


def job_file(folder: Path, job: str, suffix: str = ".json") -> Path:
    """Return the path of a job's file; raise JobIdInvalid for what is no job id: it might lead anywhere."""
    if JOB_ID.fullmatch(job) is None:
        raise JobIdInvalid(f"job {job[:80]!r}: not a job id; use its 64 hex digits, see: assent job list")
    return folder / f"{job}{suffix}"


def write_private(path: Path, content: bytes) -> None:
    """Replace a file atomically and durably with mode 0600; its folder is made when missing (0700).

    Raises NotWritten, and leaves what was there before.
    """
    partial = path.with_name(path.name + f".{os.getpid()}.partial")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # half a file on a full disk is in the way of the next attempt
            partial.unlink(missing_ok=True)
        raise NotWritten(path, error) from None
