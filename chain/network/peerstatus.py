"""Status of one member, as operators are told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """Status of one member: whether it is connected, since when, and what it did or failed to do."""

    key: bytes
    address: str
    """Where it is connected; its configured address while it is not."""
    connected: bool
    connected_s: float
    round_trip_ms: float | None
    height: int
    """Height it claimed when greeting."""
    queued_bytes: int
    bytes_in: int
    bytes_out: int
    frames: Mapping[str, int]
    """Frames received on this connection, by kind."""
    drops: Mapping[str, int]
    """Frames to it that full queues dropped, by kind, since the node started."""
    trouble: str
    """Why there is no connection, or what the peer did of late that it should not; empty when all is well."""
    away_s: float = 0.0
    """How long there has been none."""
    spent_s: Mapping[str, float] = field(default_factory=dict)
    """Processor seconds that its frames took here, by kind or consensus message, since the node started."""
    unhandled: Mapping[str, int] = field(default_factory=dict)
    """Frames from it that were dropped unread, since it sent more than its share, by kind."""
    refused_s: float = 0.0
    """For how many more seconds it is refused."""
    offence: str = ""
    """What it did of late that it should not, whether it is connected or not; empty when nothing."""
