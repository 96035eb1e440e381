"""Private files of the owner (mode 0600): they are replaced whole and durably; a job's file has its id."""

from __future__ import annotations

import os
import re
from pathlib import Path

from chain.primitives.errors import AssentError

JOB_ID = re.compile(r"[0-9a-f]{64}")


class JobIdInvalid(AssentError):
    """A job id that is not 64 hex digits: see `assent job list` for the right one."""

    code = "job_id"


def job_file(folder: Path, job: str) -> Path:
    """Return the path of a job's file; raise JobIdInvalid for what is no job id: it might lead anywhere."""
    if JOB_ID.fullmatch(job) is None:
        raise JobIdInvalid(f"job {job[:80]!r}: not a job id; use its 64 hex digits, see: assent job list")
    return folder / f"{job}.json"


def write_private(path: Path, content: bytes) -> None:
    """Replace a file atomically and durably with mode 0600; its folder is made when missing (0700)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(path.name + f".{os.getpid()}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
