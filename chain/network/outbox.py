"""What waits to be sent to one peer: three bounded lanes, the urgent one first.

Policy when a lane is full: `URGENT` (consensus) declares the peer too slow, and it is disconnected, since
status messages repair a reconnect but nothing repairs a hole that neither side knows of. `ANSWERS` and
`GOSSIP` drop the new frame and count it: whoever asked asks another peer after a timeout, and
announcements are repeated.
"""

from __future__ import annotations

from collections import Counter, deque
from enum import IntEnum

from chain.network.frame import Kind

WRITE_BYTES = 262_144


class SendPriority(IntEnum):
    """The lanes of an outbox, in the order in which they are sent."""

    URGENT = 0
    ANSWERS = 1
    GOSSIP = 2


_LANES = {
    Kind.TX_ANSWER: SendPriority.ANSWERS,
    Kind.BLOCKS: SendPriority.ANSWERS,
    Kind.ANCHOR: SendPriority.ANSWERS,
    Kind.CHUNK: SendPriority.ANSWERS,
    Kind.TXS: SendPriority.GOSSIP,
    Kind.TX_IDS: SendPriority.GOSSIP,
}
"""Kinds not named here are urgent."""

URGENT_FRAMES_MAX = 65_536
FRAMES_MAX = 8_192


class Outbox:
    """The frames queued for one peer, within `max_bytes` a lane."""

    __slots__ = ("_bytes", "_lanes", "_max_bytes", "drops")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lanes: tuple[deque[bytes], ...] = tuple(deque() for _ in SendPriority)
        self._bytes = [0 for _ in SendPriority]
        self.drops: Counter[str] = Counter()
        """Frames dropped, by kind name."""

    @property
    def queued_bytes(self) -> int:
        """Return the bytes that wait in all lanes."""
        return sum(self._bytes)

    def __bool__(self) -> bool:
        return any(self._lanes)

    def put(self, kind: Kind, frame: bytes) -> bool:
        """Queue one encoded frame; return False when the lane is full (the drop is counted)."""
        lane = _LANES.get(kind, SendPriority.URGENT)
        frames_max = URGENT_FRAMES_MAX if lane is SendPriority.URGENT else FRAMES_MAX
        queue = self._lanes[lane]
        if queue and (self._bytes[lane] + len(frame) > self._max_bytes or len(queue) >= frames_max):
            self.drops[kind.name] += 1
            return False
        queue.append(frame)
        self._bytes[lane] += len(frame)
        return True

    def take(self, budget: int = WRITE_BYTES) -> bytes:
        """Remove and join frames, urgent first, until `budget` bytes are reached; b"" when empty."""
        taken: list[bytes] = []
        for lane, queue in enumerate(self._lanes):
            while queue and budget > 0:
                frame = queue.popleft()
                self._bytes[lane] -= len(frame)
                budget -= len(frame)
                taken.append(frame)
        return taken[0] if len(taken) == 1 else b"".join(taken)

    def clear(self) -> None:
        """Give up what is queued: the connection is gone."""
        for queue in self._lanes:
            queue.clear()
        self._bytes = [0 for _ in SendPriority]


def is_urgent(kind: Kind) -> bool:
    """Tell whether a full lane for this kind means that the peer is too slow to keep."""
    return kind not in _LANES
