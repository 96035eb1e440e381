"""Rows that exact figures of a column were over: what an owner's agent remembers for a dataset's account.

A row is kept as two 8-byte hashes, of its identifier and of its cell in the column, so that a later set of
rows can be held against it, across versions: which are in one and not in the other, or have another cell.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chain.primitives.errors import AssentError
from chain.primitives.files import read_bounded
from privcompute.data.private_files import write_private

SETS_MAX = 1_024
"""Different sets of rows of one column and account."""
_FILE_BYTES_MAX = 1 << 30
_MIX = np.uint64(0x9E3779B97F4A7C15)
_LOCK = threading.Lock()
"""One agent's jobs look and remember one after another."""
Marks = NDArray[np.uint64]
"""(rows, 2): hashes of identifier and cell."""


class ExposedError(AssentError):
    """A file of remembered rows that is damaged: the text names it and the remedy."""

    code = "exposed"


def marks_of(ids: Sequence[str], cells: NDArray[Any]) -> Marks:
    """Return the marks of rows: identifiers, and their cells in one column."""
    texts = [repr(cell) for cell in cells.tolist()]
    found = [(_hash(one), _hash(text)) for one, text in zip(ids, texts, strict=True)]
    return np.array(found, np.uint64).reshape(-1, 2)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def rows_apart(one: Marks, other: Marks) -> int:
    """Return by how many rows two sets differ; a row with another cell is one."""
    left, right = _mixed(one), _mixed(other)
    changed = np.concatenate([one[~np.isin(left, right), 0], other[~np.isin(right, left), 0]])
    return len(np.unique(changed))


def _mixed(marks: Marks) -> NDArray[np.uint64]:
    mixed: NDArray[np.uint64] = (marks[:, 0] * _MIX) ^ marks[:, 1]
    return mixed


class ExposedStore:
    """A folder with one for each account and column, and in that a file (mode 0600) for each set of rows."""

    __slots__ = ("folder",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the agent's other jobs from looking or remembering meanwhile."""
        with _LOCK:
            yield

    def least_rows(self, account: str, column: str) -> int | None:
        """Return the rows of the smallest set that is remembered; None where none is."""
        sizes = [path.stat().st_size // 16 for path in self._paths(account, column)]
        return min(sizes, default=None)

    def sets(self, account: str, column: str) -> Iterator[tuple[int, Marks]]:
        """Return (version, set) of all that is remembered; raise ExposedError for a damaged file."""
        for path in self._paths(account, column):
            try:
                content = read_bounded(path, _FILE_BYTES_MAX)
                version = int(path.name.partition("-")[0])
                if _name(version, content) != path.name:
                    raise ValueError
                yield version, np.frombuffer(content, "<u8").reshape(-1, 2)
            except (OSError, ValueError) as error:
                raise ExposedError(
                    f"{path}: damaged ({type(error).__name__}); restore it from backup: without it the agent"
                    " cannot tell what exact figures have given away"
                ) from None

    def remember(self, account: str, column: str, version: int, marks: Marks) -> None:
        """Write a set down durably (NotWritten); one that is there already costs nothing."""
        content = marks[np.lexsort((marks[:, 1], marks[:, 0]))].astype("<u8").tobytes()
        path = self._folder(account, column) / _name(version, content)
        if not path.exists():
            write_private(path, content)

    def asked(self, account: str) -> list[bytes]:
        """Return hashes of what was asked of an account about groups; raise ExposedError if damaged."""
        path = self._asked(account)
        try:
            content = json.loads(read_bounded(path, _FILE_BYTES_MAX))
            return [bytes.fromhex(one) for one in content["asked"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ExposedError(
                f"{path}: damaged ({type(error).__name__}); restore it from backup: without it the agent"
                " cannot tell what exact figures have given away"
            ) from None

    def remember_asked(self, account: str, asked: Sequence[bytes]) -> None:
        """Write down what was asked of an account about groups, durably (NotWritten)."""
        write_private(self._asked(account), json.dumps({"asked": [one.hex() for one in asked]}).encode())

    def _asked(self, account: str) -> Path:
        return self._folder(account, "") / "asked.json"

    def _paths(self, account: str, column: str) -> list[Path]:
        return sorted(self._folder(account, column).glob("*.rows"))

    def _folder(self, account: str, column: str) -> Path:
        key = hashlib.sha256(f"{len(account)}:{account}{column}".encode()).hexdigest()
        return self.folder / key


def _name(version: int, content: bytes) -> str:
    return f"{version}-{hashlib.sha256(content).hexdigest()}.rows"
