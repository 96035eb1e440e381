"""Evidence log of the agent: an append-only file of hash-chained JSON lines.

Each line carries the hash of the line before it, so a changed, removed or reordered line breaks the chain
at a place that `verify` names. Only the owner reads the file (mode 0600): it holds openings and salts.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from chain.primitives.crypto import ZERO_HASH, digest
from chain.primitives.errors import AssentError
from chain.primitives.jsonvalue import to_json
from chain.primitives.values import Value
from privcompute.data.private_files import NotWritten

LINE_BYTES_MAX = 4_194_304
_TAIL_BYTES = LINE_BYTES_MAX + 1


class EvidenceError(AssentError):
    """An evidence log that is damaged, or an entry too large for it: the text names file and line."""

    code = "evidence"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log, a line of at most 4 MiB; `body` is JSON (bytes as {"$bytes": hex})."""

    number: int
    previous: bytes
    time_ms: int
    job: str
    """Hex job id, or "" for what concerns no job."""
    kind: str
    body: Any
    hash: bytes

    def content(self) -> dict[str, Any]:
        """Return what the hash of the entry covers, beside that of the entry before it."""
        return {
            "n": self.number,
            "time_ms": self.time_ms,
            "job": self.job,
            "kind": self.kind,
            "body": self.body,
        }


def _entry_hash(previous: bytes, content: dict[str, Any]) -> bytes:
    return digest("assent/evidence", previous, _compact(content))


def _compact(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


class EvidenceLog:
    """Append-only log in one file; several processes may append, each under an exclusive lock."""

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, time_ms: int, job: str, kind: str, body: Value) -> Entry:
        """Add one durable line and return it; a line torn by a crash or a full disk is cut off first.

        Raises NotWritten when the disk takes no line, EvidenceError for a damaged log or too large an entry.
        """
        try:
            with self._locked() as file:
                last = _last_entry(self.path, file)
                entry = self._following(last, time_ms, job, kind, to_json(body))
                file.write(self._line(entry))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise NotWritten(self.path, error) from None
        return entry

    def _following(self, last: Entry | None, time_ms: int, job: str, kind: str, body: Any) -> Entry:
        number, previous = (last.number + 1, last.hash) if last else (0, ZERO_HASH)
        made = Entry(number, previous, time_ms, job, kind, body, ZERO_HASH)
        return replace(made, hash=_entry_hash(previous, made.content()))

    def _line(self, entry: Entry) -> bytes:
        ends = {"previous": entry.previous.hex(), "hash": entry.hash.hex()}
        line = _compact(entry.content() | ends) + b"\n"
        if len(line) > LINE_BYTES_MAX:
            raise EvidenceError(
                f"{self.path}: an entry of {len(line)} bytes, at most {LINE_BYTES_MAX}; store its hash"
            )
        return line

    def _locked(self) -> BinaryIO:
        """Open for appending with mode 0600 and the exclusive lock, which closing the file releases."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        file: BinaryIO = os.fdopen(descriptor, "a+b")
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        return file

    def entries(self) -> Iterator[Entry]:
        """Yield every entry in order, checking the chain; raise EvidenceError where it breaks."""
        if not self.path.exists():
            return
        previous = ZERO_HASH
        with self.path.open("rb") as file:
            number = 0
            while line := file.readline(LINE_BYTES_MAX + 1):
                if not line.endswith(b"\n"):
                    return  # torn by a crash while it was written: never acknowledged
                entry = _parse(self.path, number, line)
                if entry.number != number or entry.previous != previous:
                    raise EvidenceError(f"{self.path}: line {number + 1} does not follow the line above it")
                yield entry
                previous, number = entry.hash, number + 1


def _last_entry(path: Path, file: BinaryIO) -> Entry | None:
    """Return the last whole line, after cutting off what a crash left behind it."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - _TAIL_BYTES)
    file.seek(start)
    tail = file.read()
    whole = tail[: tail.rfind(b"\n") + 1]
    if len(whole) < len(tail):
        file.truncate(start + len(whole))
    if not whole:
        return None
    line = whole[whole.rfind(b"\n", 0, len(whole) - 1) + 1 :]
    return _parse(path, None, line)


def _parse(path: Path, number: int | None, line: bytes) -> Entry:
    where = f"{path}: {'last line' if number is None else f'line {number + 1}'}"
    try:
        content = json.loads(line)
        previous, claimed = bytes.fromhex(content.pop("previous")), bytes.fromhex(content.pop("hash"))
        entry = Entry(
            content["n"],
            previous,
            content["time_ms"],
            content["job"],
            content["kind"],
            content["body"],
            claimed,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise EvidenceError(f"{where} is not an entry; restore the file from backup") from None
    if _entry_hash(previous, content) != claimed:
        raise EvidenceError(f"{where} was changed after it was written; restore the file from backup")
    return entry
