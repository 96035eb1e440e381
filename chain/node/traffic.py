"""What consensus messages cost a node, and how much of that a member may cost (`chain.network.prices`).

A validator sends one PREPARE, COMMIT and CHECKPOINT a height, repeats what a status shows to be missing, and
one proposal where it leads: heights that this node certifies pay for them. What is not paid for is bounded
by time, and beyond its share dropped unread: nothing depends on a lossless transport, repair brings it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from chain.network.prices import PRICES, Price

_VOTE = Price(0.15, 0.0, share_ms=25.0, burst_ms=300.0, height_ms=0.6, patience=4.0)
"""Four a height, 167 a second besides, and 2,000 at once. A node that stands still hears votes of heights
that it does not certify, as fast as others go: the patience is for them."""
MESSAGE_PRICES: Mapping[str, Price] = MappingProxyType(
    {
        "prepare": _VOTE,
        "commit": _VOTE,
        "checkpoint": _VOTE,
        "proposal": Price(0.5, 0.008, share_ms=60.0, burst_ms=600.0, height_ms=6.0, patience=4.0),
        "certificate": Price(0.1, 0.6, share_ms=40.0, burst_ms=800.0, height_ms=0.5, patience=4.0),
        "view-change": Price(0.3, 0.6, share_ms=40.0, burst_ms=2_000.0, measured=True),
        "new-view": Price(0.3, 0.6, share_ms=100.0, burst_ms=10_000.0, patience=4.0),
        "status": Price(0.2, 0.6, share_ms=20.0, burst_ms=400.0, measured=True),
        "fetch": Price(0.3, 0.0, share_ms=40.0, burst_ms=400.0, measured=True),
        "payload": Price(0.3, 0.008, share_ms=40.0, burst_ms=400.0),
    }
)
"""By tag. What the bytes of large messages cost are the signatures in them: 55 µs each, if none is known."""
NODE_PRICES: Mapping[str, Price] = MappingProxyType({**PRICES, **MESSAGE_PRICES})
