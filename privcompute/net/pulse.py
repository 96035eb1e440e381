"""Pulses: how a party of a job says, on each of its links, that it is alive and what it waits for; pure.

A pulse is a frame header alone (32 bytes: tag, stage `PULSE_STAGE`, step, word), of a stage that no job has.
It is no part of any transcript, and changes only whom a party names that has waited too long (blame.py).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

HEADER = struct.Struct(">16sIIQ")
"""Of every frame: tag 16, stage 4, sequence 4, length 8; big-endian. In a pulse: tag, stage, step, word."""
PULSE_STAGE = 2**32 - 1
PULSE_S = 2.0
"""A party says on each link so often what it does, from its links' beginning to their end."""
LEAST_PULSE_S = 1.0
"""No party's pulses come more often than this in the long run."""
PULSES_BURST = 64
"""So many may come beyond that: what a party says out of turn, and what clocks that differ bring."""
PARTIES_MAX = 16
_WORD = struct.Struct(">HHHH")
_STOPS = 1


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a party says of itself."""

    step: int = 0
    """How many rounds it has done: it never goes back."""
    waits: frozenset[int] = frozenset()
    """For whom it waits; empty while it computes. If it stops: whom it names for it, perhaps itself, too."""
    hears: frozenset[int] = frozenset()
    """From whom bytes came to it lately."""
    stops: bool = False
    """It does nothing more in this job."""

    def speaks_of(self, sender: int) -> bool:
        """Tell whether it says that its sender hears itself, or waits for itself."""
        return sender in self.hears or (sender in self.waits and not self.stops)

    def encode(self, tag: bytes) -> bytes:
        """Return the 32 bytes on the wire."""
        word = _WORD.pack(_mask(self.waits), _mask(self.hears), _STOPS * self.stops, 0)
        return HEADER.pack(tag, PULSE_STAGE, self.step % 2**32, int.from_bytes(word, "big"))

    @classmethod
    def decode(cls, step: int, word: int) -> Pulse | None:
        """Read the last two fields of a header; None when no party of this version says so."""
        waits, hears, stops, rest = _WORD.unpack(word.to_bytes(8, "big"))
        return None if stops > _STOPS or rest else cls(step, _parties(waits), _parties(hears), bool(stops))


def pulses_allowed(open_s: float) -> int:
    """Return how many pulses a link may have brought that has been open for so long."""
    return PULSES_BURST + int(open_s / LEAST_PULSE_S)


def _mask(parties: Iterable[int]) -> int:
    return sum(1 << party for party in parties)


def _parties(mask: int) -> frozenset[int]:
    return frozenset(party for party in range(PARTIES_MAX) if mask >> party & 1)
