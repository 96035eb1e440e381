"""What an owner's agent remembers of the exact figures that jobs took of a dataset's account.

For each job: the groups that its page asked about, and by column the part of the limit that its figures
take and the sets of rows that they were over. What an open job takes is forgotten with it, unless this agent
agreed that its result may be opened: that is settled before, for good. A row is kept as two 8-byte hashes, of
its identifier and of its cell in the column, so that a later set of rows can be held against it, across
versions: which are in one and not in the other, or have another cell.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
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
_MEMORY = "given.json"
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


@dataclass(frozen=True, slots=True)
class TakenOfColumn:
    """What exact figures took of a column."""

    part: Fraction = Fraction(0)
    """Of the limit, which is 1."""
    sets: frozenset[str] = frozenset()
    """The sets of rows that they were over, by the names of their files."""

    def __or__(self, other: TakenOfColumn) -> TakenOfColumn:
        return TakenOfColumn(self.part + other.part, self.sets | other.sets)


@dataclass(frozen=True, slots=True)
class Taken:
    """What exact figures took of an account: of one job, or of several together."""

    asked: tuple[bytes, ...] = ()
    """Hashes of the groups that pages asked about, each once."""
    columns: Mapping[str, TakenOfColumn] = field(default_factory=dict)

    def __or__(self, other: Taken) -> Taken:
        columns = dict(self.columns)
        for name, taken in other.columns.items():
            columns[name] = columns.get(name, TakenOfColumn()) | taken
        return Taken(tuple(dict.fromkeys([*self.asked, *other.asked])), columns)


@dataclass(frozen=True, slots=True)
class AccountMemory:
    """What is remembered of an account: what is settled, and what jobs take that have not ended."""

    settled: Taken = Taken()
    open: Mapping[str, Taken] = field(default_factory=dict)

    def without(self, job: str) -> Taken:
        """Return what was taken by all jobs but one that has not ended."""
        whole = self.settled
        for other, taken in self.open.items():
            if other != job:
                whole |= taken
        return whole


class ExposedStore:
    """A folder with one for each account, and one for each of its columns with a file for each set of rows.

    Files have mode 0600. Writing raises NotWritten, reading ExposedError for a damaged file.
    """

    __slots__ = ("folder",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the agent's other jobs from looking or remembering meanwhile."""
        with _LOCK:
            yield

    def memory(self, account: str) -> AccountMemory:
        """Return what is remembered of an account."""
        return _read(self._memory(account))

    def set_of(self, name: str) -> tuple[int, Marks]:
        """Return the version and the rows of a set that is remembered."""
        path = self.folder / name
        try:
            content = read_bounded(path, _FILE_BYTES_MAX)
            version = int(path.name.partition("-")[0])
            if _name(version, content) != path.name:
                raise ValueError
            return version, np.frombuffer(content, "<u8").reshape(-1, 2)
        except (OSError, ValueError) as error:
            raise _damaged(path, error) from None

    def keep_set(self, account: str, column: str, version: int, marks: Marks) -> str:
        """Write a set down durably and return its name; one that is there already costs nothing."""
        content = marks[np.lexsort((marks[:, 1], marks[:, 0]))].astype("<u8").tobytes()
        name = f"{_key(account, column)}/{_name(version, content)}"
        if not (self.folder / name).exists():
            write_private(self.folder / name, content)
        return name

    def take(self, account: str, job: str, taken: Taken) -> None:
        """Write down what an open job takes, in the place of what it took before."""
        before = self.memory(account)
        memory = AccountMemory(before.settled, {**before.open, job: taken})
        write_private(self._memory(account), _content(memory))

    def settle(self, job: str) -> None:
        """Count what an open job took for good: from here on its result may be opened."""
        with _LOCK:
            for path, found in self._with(job):
                others = {other: taken for other, taken in found.open.items() if other != job}
                write_private(path, _content(AccountMemory(found.settled | found.open[job], others)))

    def free(self, job: str) -> None:
        """Forget what a job took that ended before its result could be opened."""
        with _LOCK:
            for path, found in self._with(job):
                others = {other: taken for other, taken in found.open.items() if other != job}
                write_private(path, _content(AccountMemory(found.settled, others)))
                for name in sorted(_sets(found.open[job]) - _sets(found.without(job))):
                    (self.folder / name).unlink(missing_ok=True)

    def _with(self, job: str) -> list[tuple[Path, AccountMemory]]:
        found = [(path, _read(path)) for path in sorted(self.folder.glob(f"*/{_MEMORY}"))]
        return [(path, memory) for path, memory in found if job in memory.open]

    def _memory(self, account: str) -> Path:
        return self.folder / _key(account, "") / _MEMORY


def _sets(taken: Taken) -> frozenset[str]:
    return frozenset().union(*[one.sets for one in taken.columns.values()])


def _key(account: str, column: str) -> str:
    return hashlib.sha256(f"{len(account)}:{account}{column}".encode()).hexdigest()


def _name(version: int, content: bytes) -> str:
    return f"{version}-{hashlib.sha256(content).hexdigest()}.rows"


def _damaged(path: Path, error: Exception) -> ExposedError:
    return ExposedError(
        f"{path}: damaged ({type(error).__name__}); restore it from backup: without it the agent"
        " cannot tell what exact figures have given away"
    )


# --- a memory as a file -----------------------------------------------------------------------------


def _read(path: Path) -> AccountMemory:
    try:
        content = json.loads(read_bounded(path, _FILE_BYTES_MAX))
        opened = {str(job): _taken(one) for job, one in content["open"].items()}
        return AccountMemory(_taken(content["settled"]), opened)
    except FileNotFoundError:
        return AccountMemory()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        raise _damaged(path, error) from None


def _taken(content: Mapping[str, Any]) -> Taken:
    columns = {
        str(name): TakenOfColumn(Fraction(one["part"]), frozenset(map(str, one["sets"])))
        for name, one in content["columns"].items()
    }
    return Taken(tuple(bytes.fromhex(one) for one in content["asked"]), columns)


def _content(memory: AccountMemory) -> bytes:
    opened = {job: _as_json(taken) for job, taken in memory.open.items()}
    return json.dumps({"settled": _as_json(memory.settled), "open": opened}).encode()


def _as_json(taken: Taken) -> dict[str, Any]:
    columns = {name: {"part": str(one.part), "sets": sorted(one.sets)} for name, one in taken.columns.items()}
    return {"asked": [one.hex() for one in taken.asked], "columns": columns}
