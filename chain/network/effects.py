"""What the sans-IO cores of the network ask the node to do."""

from __future__ import annotations

from dataclasses import dataclass

from chain.network.frame import Kind


@dataclass(frozen=True, slots=True)
class Send:
    """One frame for each of some peers."""

    peers: tuple[bytes, ...]
    kind: Kind
    body: bytes


@dataclass(frozen=True, slots=True)
class Drop:
    """A peer to disconnect, and why."""

    peer: bytes
    reason: str
