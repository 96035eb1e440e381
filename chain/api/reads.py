"""Reading side of one connection: how much was read since its last turn, and whether it is read now."""

from __future__ import annotations

import asyncio
from contextlib import suppress

PIECE_BYTES = 262_144
"""So much is read for one turn."""
READS_AT_ONCE, READ_S = 64, 0.000_01
"""So often anything is read for one turn, since a byte takes as much of the loop as a kilobyte: this much."""


class Reads:
    """The reading side of a transport."""

    __slots__ = ("_number", "_paused", "_size", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._number = self._size = 0
        self._paused = False

    def came(self, size: int) -> None:
        """Count one read of the socket."""
        self._number += 1
        self._size += size

    @property
    def are_many(self) -> bool:
        """Whether so much was read that the next read must wait for a turn."""
        return self._number >= READS_AT_ONCE or self._size >= PIECE_BYTES

    def pay(self) -> float:
        """Return the seconds that the reads since the last turn took, and count anew from zero."""
        seconds = self._number * READ_S
        self._number = self._size = 0
        return seconds

    def pause(self) -> None:
        """Stop reading, so that the kernel makes the client wait."""
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on reading."""
        if self._paused:
            self._paused = False
            with suppress(RuntimeError):  # it is closing
                self._transport.resume_reading()
