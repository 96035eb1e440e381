"""The marker beside a validator's key: which key has voted, and how many of its vote writes are durable.

It outlives the data directory, so a directory that was emptied, cut short or replaced by an older copy is
noticed before the validator contradicts votes that it no longer remembers.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Protocol

from chain.primitives.errors import AssentError, Exit
from chain.primitives.files import read_bounded
from consensus.errors import VotesDamaged

_TEXT = "this key has voted: do not delete this file; writes of votes so far:\n%020d\nof the key %s\n"
_AT = _TEXT.index("%")
_PATTERN = re.compile(re.escape(_TEXT[:_AT]) + r"([0-9]{20})\nof the key ([0-9a-f]{64})\n")
_BYTES_MAX = 1_024


class MarkerOfAnotherKey(AssentError):
    """A marker that counts another key's votes than those of the key beside it: the text names both."""

    code = "marker_of_another_key"
    exit = Exit.CONFIG


class Marker(Protocol):
    """How many writes of votes are durable; survives the store that they are in."""

    def read(self) -> int | None:
        """Return the number, or None when the key has certainly never voted.

        0 says that a first write was begun; if the store holds none, no vote ever left the node.
        """

    def advance(self, count: int) -> None:
        """Set the number once the write that it counts is durable; 0 and 1 are synced, others need not be."""


class FileMarker:
    """A marker in a file of its own, which names the key that it is of."""

    def __init__(self, path: Path, key: bytes) -> None:
        self._path, self._key = path, key.hex()
        self._file: int | None = None

    def read(self) -> int | None:
        """Return the number, None without a file.

        Raises VotesDamaged when the file is no marker, MarkerOfAnotherKey when it is that of another key.
        """
        try:
            text = read_bounded(self._path, _BYTES_MAX).decode(errors="replace")
        except FileNotFoundError:
            return None
        found = _PATTERN.fullmatch(text)
        if found is None:
            raise VotesDamaged(
                f"{self._path}: not a marker of votes; remove the data directory and write "
                f"{_TEXT % (1, self._key)!r} into this file: the node then fetches the chain and "
                "rejoins without voting twice"
            )
        if found[2] != self._key:
            raise MarkerOfAnotherKey(
                f"{self._path}: it counts the votes of the key {found[2][:16]}, and the key beside it is "
                f"{self._key[:16]}. If another key's file was put here, put the key {found[2][:16]} back; "
                "else move this marker to where that key is. Nothing was changed, and no votes are lost"
            )
        return int(found[1])

    def advance(self, count: int) -> None:
        """Overwrite the number in place: 20 bytes, synced up to 1 (above, a number too low does no harm)."""
        fresh = self._file is None
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            os.pwrite(self._file, (_TEXT % (count, self._key)).encode(), 0)
        os.pwrite(self._file, b"%020d" % count, _AT)
        if fresh or count <= 1:
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
