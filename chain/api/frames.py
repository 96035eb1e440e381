"""Frames of a WebSocket by their headers alone (RFC 6455, 5.2): how many, of which kind, and where to cut.

aiohttp reads them for good. It takes all that one read brought in one go, and eats pings and pongs without
letting anybody else have the loop, so what goes in is cut into pieces before.
"""

from __future__ import annotations

from dataclasses import dataclass

FRAMES_AT_ONCE, BYTES_AT_ONCE = 16, 16_384
"""A piece ends after so many frames, or bytes: a fraction of a millisecond."""
CONTROL = 0x8
"""Opcodes from here on are close, ping and pong."""
_MASKED, _LENGTH = 0x80, 0x7F
_MASK_BYTES = 4
_EXTENDED = {126: 2, 127: 8}
"""Bytes of the length when it does not fit the second byte."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece cut from the beginning of what arrived, and what it holds."""

    size: int
    """Bytes; 0 when not even the header of a frame is complete."""
    control: int
    """Control frames that begin in it."""


class Frames:
    """Position of one connection in its stream of frames."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due = 0
        """Bytes of the present frame that are still to come."""

    def cut(self, data: bytes | bytearray) -> Piece:
        """Take a piece from the beginning of what arrived: whole headers, and what there is of payloads."""
        at = frames = control = 0
        end = min(len(data), BYTES_AT_ONCE)
        while at < end:
            if not self._due:
                header = _header(data, at)
                if header is None or frames == FRAMES_AT_ONCE:
                    break
                frames += 1
                control += (data[at] & 0x0F) >= CONTROL
                length, self._due = header
                at += length
            step = max(0, min(self._due, end - at))
            self._due -= step
            at += step
        return Piece(at, control)


def _header(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Return the bytes of the header that begins at `at`, and of its payload; None if it is not complete."""
    if len(data) - at < 2:
        return None
    second = data[at + 1]
    extended = _EXTENDED.get(second & _LENGTH, 0)
    length = 2 + extended + (_MASK_BYTES if second & _MASKED else 0)
    if len(data) - at < length:
        return None
    payload = int.from_bytes(data[at + 2 : at + 2 + extended]) if extended else second & _LENGTH
    return length, payload
