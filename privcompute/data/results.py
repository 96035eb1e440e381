"""Stored results of jobs, with salt and hash, and the owner's own rows that a join matched."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chain.primitives.crypto import HASH_BYTES
from chain.primitives.errors import AssentError
from chain.primitives.files import read_bounded
from chain.primitives.values import Value
from privcompute.data.commitments import result_commitment
from privcompute.data.private_files import job_file, write_private

RESULT_BYTES_MAX = 268_435_456
REAL_KEY = "$real"


class ResultError(AssentError):
    """A stored result that is missing or does not match its hash: the text names the file."""

    code = "result"


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A revealed result with its salt and the salted hash that is on the ledger (32 bytes each)."""

    job: str
    program: str
    profile: str
    values: Any
    """Plain JSON: dicts, lists, strings, ints, finite floats."""
    schema: str
    shares: bytes
    """Hash of the commitments to the shares that the values were opened from; it is on the ledger as well."""
    salt: bytes
    hash: bytes


def plain(values: Any) -> Any:
    """Return program output as plain JSON values: numpy arrays become lists, numpy scalars Python's."""
    if isinstance(values, np.ndarray):
        return plain(values.tolist())
    if isinstance(values, np.generic):
        return plain(values.item())
    if isinstance(values, dict):
        return {str(key): plain(item) for key, item in values.items()}
    if isinstance(values, (list, tuple)):
        return [plain(item) for item in values]
    if values is None or isinstance(values, (bool, int, str)):
        return values
    if isinstance(values, float) and math.isfinite(values):
        return values
    raise ResultError(
        f"a result holds {values!r:.60}, which is not a finite JSON value: the program is wrong"
    )


def canonical(values: Any) -> Value:
    """Return plain values as a contract value, the one form that is hashed: floats as {"$real": repr}."""
    if isinstance(values, float):
        return {REAL_KEY: repr(values + 0.0)}
    if isinstance(values, list):
        return [canonical(item) for item in values]
    if isinstance(values, dict):
        return {key: canonical(item) for key, item in values.items()}
    return values


def make_result(
    job: str, program: str, profile: str, schema: str, values: Any, *, shares: bytes, salt: bytes
) -> StoredResult:
    """Return a result with its commitment H(salt ‖ shares ‖ canonical values); `salt` is 32 random bytes."""
    for name, part in (("salt", salt), ("hash of shares", shares)):
        if len(part) != HASH_BYTES:
            raise ResultError(f"a {name} of {len(part)} bytes, expected {HASH_BYTES}")
    values = plain(values)
    commitment = result_commitment(salt, shares, canonical(values))
    return StoredResult(job, program, profile, values, schema, shares, salt, commitment)


class ResultStore:
    """A folder with one JSON file (mode 0600) per job."""

    __slots__ = ("folder",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, result: StoredResult) -> Path:
        """Write a result durably and atomically; a second save of the same job replaces it."""
        path = job_file(self.folder, result.job)
        content = {
            "job": result.job,
            "program": result.program,
            "profile": result.profile,
            "schema": result.schema,
            "values": result.values,
            "shares": result.shares.hex(),
            "salt": result.salt.hex(),
            "hash": result.hash.hex(),
        }
        write_private(path, json.dumps(content, indent=1).encode())
        return path

    def load(self, job: str) -> StoredResult | None:
        """Return a job's result, None when this organisation holds none; raise ResultError if damaged."""
        path = job_file(self.folder, job)
        if not path.exists():
            return None
        try:
            content = json.loads(read_bounded(path, RESULT_BYTES_MAX))
            salt, shares, stored = (bytes.fromhex(content[name]) for name in ("salt", "shares", "hash"))
            names = ("job", "program", "profile", "schema")
            job_id, program, profile, schema = (str(content[name]) for name in names)
            result = make_result(
                job_id, program, profile, schema, content["values"], shares=shares, salt=salt
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResultError(f"{path}: damaged ({type(error).__name__}); restore it from backup") from None
        if result.hash != stored:
            raise ResultError(f"{path}: the values do not match their hash; restore the file from backup")
        return result


class JoinStore:
    """A folder with JSON files (mode 0600): the owner's own rows that a job matched, and versions joined."""

    __slots__ = ("folder",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, job: str, joined: Mapping[bytes, Sequence[str]]) -> None:
        """Write down identifiers in the joint order, durably, by the hash of the versions of each join.

        Nothing is written where there are none. What was joined of some versions once is not asked for again.
        """
        rows = {versions.hex(): list(ids) for versions, ids in joined.items() if ids}
        if not rows:
            return
        write_private(job_file(self.folder, job), json.dumps({"job": job, "joins": rows}).encode())
        for versions, ids in joined.items():
            if ids:
                content = json.dumps({"job": job, "ids": list(ids)}).encode()
                write_private(self._versions(versions), content)

    def rows_of(self, versions: bytes) -> list[str] | None:
        """Return our own identifiers that a job over these versions joined; None where none has."""
        path = self._versions(versions)
        try:
            content = json.loads(read_bounded(path, RESULT_BYTES_MAX))
            return [str(one) for one in content["ids"]]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResultError(f"{path}: damaged ({type(error).__name__}); remove the file") from None

    def _versions(self, versions: bytes) -> Path:
        return self.folder / f"versions-{versions.hex()}.json"
