"""Stores of an agent's jobs: the memory that a restart needs, and progress for whoever watches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from chain.primitives.errors import AssentError
from chain.primitives.files import read_bounded
from privcompute.data.private_files import JOB_ID, job_file, write_private
from privcompute.job.actions import Recovered, ResultCommit

FILE_BYTES_MAX = 1_048_576
STATUS_FILES_MAX = 1_000


class JobFileError(AssentError):
    """A job file that is damaged: the text names it and what follows."""

    code = "job_file"


@dataclass(frozen=True, slots=True)
class JobFile:
    """The durable memory of one unfinished job; `nonce` is the secret opening of our binding."""

    job: str
    nonce: str = ""
    commitment: str = ""
    computing: bool = False
    commitments: Mapping[str, str] = field(default_factory=dict)
    """What all participants committed to when the computation ended: label -> hash in hex."""
    result: Mapping[str, Any] | None = None
    """{hash, schema, metrics} as committed or about to be."""

    def recovered(self) -> Recovered:
        """Return what the state machine starts from."""
        result = None
        if self.result is not None:
            made = self.result
            result = ResultCommit(bytes.fromhex(made["hash"]), made["schema"], made["metrics"])
        commitment = bytes.fromhex(self.commitment) if self.commitment else None
        return Recovered(commitment, self.computing, result)


class JobStore:
    """A folder with one JSON file (mode 0600) per unfinished job."""

    __slots__ = ("folder",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def unfinished(self) -> list[str]:
        """Return the ids of jobs that were not finished, in no particular order."""
        names = (path.stem for path in self.folder.glob("*.json"))
        return sorted(name for name in names if JOB_ID.fullmatch(name))

    def load(self, job: str) -> JobFile:
        """Return what is known of a job; a new one is written down at once."""
        path = job_file(self.folder, job)
        try:
            file = JobFile(**json.loads(read_bounded(path, FILE_BYTES_MAX)))
            file.recovered()
        except FileNotFoundError:
            file = JobFile(job)
            self.save(file)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise JobFileError(
                f"{path}: damaged ({type(error).__name__}); restore it from backup, or remove it: the job is "
                "then aborted"
            ) from None
        return file

    def update(self, file: JobFile, **changes: Any) -> JobFile:
        """Write changed fields durably and return the new record."""
        changed = replace(file, **changes)
        self.save(changed)
        return changed

    def save(self, file: JobFile) -> None:
        """Write a record durably."""
        write_private(job_file(self.folder, file.job), json.dumps(asdict(file), indent=1).encode())

    def remove(self, job: str) -> None:
        """Forget a finished job."""
        job_file(self.folder, job).unlink(missing_ok=True)


@dataclass(slots=True)
class JobProgress:
    """Progress of a job, which `assent job watch` shows beside the ledger's events."""

    job: str
    state: str = ""
    step: str = "seen"
    done: int = 0
    total: int = 0
    """Units of the current stage; 0 when it does not say."""
    stages: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    updated_ms: int = 0


class StatusBoard:
    """A folder with one small JSON file per job, the newest 1,000 of them."""

    __slots__ = ("folder",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def post(self, progress: JobProgress, now_ms: int) -> None:
        """Replace a job's status (not synced to disk: it is rebuilt by the next step)."""
        progress.updated_ms = now_ms
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = job_file(self.folder, progress.job)
        if not path.exists():
            self._trim()
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(progress)))
        partial.replace(path)

    def read(self, job: str) -> dict[str, Any] | None:
        """Return a job's status, None when this agent never saw it."""
        try:
            content = json.loads(read_bounded(job_file(self.folder, job), FILE_BYTES_MAX))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def _trim(self) -> None:
        files = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in files[: max(0, len(files) + 1 - STATUS_FILES_MAX)]:
            path.unlink(missing_ok=True)
