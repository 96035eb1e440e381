"""The marker beside a validator's key: that it has voted, and how many of its vote writes are durable.

It outlives the data directory, so a directory that was emptied, cut short or replaced by an older copy is
noticed before the validator contradicts votes that it no longer remembers.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Protocol

from consensus.errors import VotesDamaged

_TEXT = "this key has voted: do not delete this file; writes of votes so far:\n%020d\n"
_AT = _TEXT.index("%")
_PATTERN = re.compile(re.escape(_TEXT[:_AT]) + r"([0-9]{20})\n")


class Marker(Protocol):
    """How many writes of votes are durable; survives the store that they are in."""

    def read(self) -> int | None:
        """Return the number, or None when the key has certainly never voted.

        0 says that a first write was begun; if the store holds none, no vote ever left the node.
        """

    def advance(self, count: int) -> None:
        """Set the number once the write that it counts is durable; 0 and 1 are synced, others need not be."""


class FileMarker:
    """A marker in a file of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def read(self) -> int | None:
        """Return the number, None without a file; raise VotesDamaged when the file is no marker."""
        try:
            text = self._path.read_text(errors="replace")
        except FileNotFoundError:
            return None
        found = _PATTERN.fullmatch(text)
        if found is None:
            raise VotesDamaged(
                f"{self._path}: not a marker of votes; remove the data directory and write {_TEXT % 1!r} "
                "into this file: the node then fetches the chain and rejoins without voting twice"
            )
        return int(found[1])

    def advance(self, count: int) -> None:
        """Overwrite the number in place: 20 bytes, synced up to 1 (above, a number too low does no harm)."""
        fresh = self._file is None
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            os.pwrite(self._file, (_TEXT % count).encode(), 0)
        os.pwrite(self._file, b"%020d" % count, _AT)
        if fresh or count <= 1:
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
