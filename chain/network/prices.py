"""What frames cost this node, in milliseconds of its event loop, and how much of that a member may cost.

Prices are known before a frame is decoded: from its kind and size. They are rounded up from what was measured
on a machine of two cores, and shares lie well above what an honest member sends at full load, catching up or
changing views; nothing depends on their being exact. What no price foresees shows in the time that frames
really took (`USELESS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Price:
    """What frames of one kind cost, and what a member may spend on them; milliseconds."""

    frame_ms: float
    kib_ms: float
    """For each 1,024 bytes of body."""
    share_ms: float
    """A second."""
    burst_ms: float
    height_ms: float = 0.0
    """What each height that this node certifies adds: progress pays for the frames that brought it about."""
    patience: float = 2.0
    """An offence begins at this many times the share, after this many times the burst."""
    measured: bool = False
    """What a frame took beyond its price counts, too. Not where a frame may complete what others began, whose
    time is then spent for the chain."""
    waits: bool = False
    """Beyond its share a frame waits for its turn: its sender waits for the answer."""

    def of(self, size: int) -> float:
        """Return the price, in ms, of a frame whose body has so many bytes; one frame alone is no offence."""
        return min(self.burst_ms, self.frame_ms + self.kib_ms * size / 1_024)


ANSWER_KIB_MS = 0.006
"""What a KiB of an answer costs: reading, encoding, TLS."""
REFUSED_MS = 0.1
"""What a transaction costs that the pool does not take: decoding here, and a signature in the thread."""
AVOIDABLE_MS = 1.0
"""What one is charged with that no honest member passes on, but for a moment while the members change."""
USELESS = "USELESS"
"""Processor time that brought nothing."""
ALL = "ALL"
"""Everything together, but for what progress pays."""
CONNECTION = "CONNECTION"
"""A connection of a member: its handshake and its greetings."""
PRICES: Mapping[str, Price] = MappingProxyType(
    {
        CONNECTION: Price(3.0, 0.0, share_ms=3.0, burst_ms=90.0),
        "PING": Price(0.05, 0.0, share_ms=1.0, burst_ms=20.0),
        "TXS": Price(0.02, 0.01, share_ms=150.0, burst_ms=2_000.0),
        "TX_IDS": Price(0.1, 0.03, share_ms=20.0, burst_ms=200.0, measured=True),
        "TX_REQUEST": Price(0.3, 0.06, share_ms=60.0, burst_ms=600.0, measured=True),
        "TX_ANSWER": Price(0.02, 0.01, share_ms=200.0, burst_ms=2_000.0),
        "STATUS": Price(0.1, 0.6, share_ms=40.0, burst_ms=400.0, measured=True),
        "BLOCKS_REQUEST": Price(
            2.5, 0.0, share_ms=200.0, burst_ms=400.0, patience=1.25, waits=True, measured=True
        ),
        "ANCHOR_REQUEST": Price(
            5.0, 0.0, share_ms=40.0, burst_ms=80.0, patience=1.25, waits=True, measured=True
        ),
        "CHUNK_REQUEST": Price(
            2.5, 0.0, share_ms=200.0, burst_ms=400.0, patience=1.25, waits=True, measured=True
        ),
        USELESS: Price(0.0, 0.0, share_ms=150.0, burst_ms=1_000.0),
        ALL: Price(0.0, 0.0, share_ms=300.0, burst_ms=3_000.0),
    }
)
"""By name of kind; consensus messages have theirs in `chain.node.traffic`. What is not named is not metered:
answers that were asked for, and frames of which a second one is a breach."""
