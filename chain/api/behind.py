"""What a connection of the RPC port may be doing, and what stands behind its gate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

from chain.api.head import RequestHead
from chain.api.principals import Principal

if TYPE_CHECKING:
    from chain.api.gate import Gate


class ConnectionState(IntEnum):
    """State of a connection; when room is needed, connections in a lower state go first."""

    FRESH = 0
    LEAVING = 1
    HEAD = 2
    IDLE = 3
    BODY = 4
    ASKING = 5
    WRITING = 6
    WORKING = 7
    SOCKET = 8


class TurnState(Enum):
    """Whether a connection's first request has had its turn."""

    ASKED = "asked"
    """It asks for one when its head is here."""
    HAD = "had"
    """The connection had one when its first bytes were here."""
    LATE = "late"
    """None came in time: it is refused."""
    IN_THE_CLEAR = "in the clear"
    """It begins without TLS on a port of TLS: it is refused."""


@dataclass(frozen=True, slots=True)
class Behind:
    """The parts of the RPC port that a gate hands requests to."""

    read: Callable[[bytes], RequestHead]
    """Reads a complete head; raises BadHead."""
    page: Callable[[RequestHead, Principal], bytes | None]
    """The answer to what needs no turn; None for everything else."""
    answer: Callable[[bytes, Gate], Coroutine[Any, Any, bytes]]
    """Answers a body."""
    socket: Callable[[], asyncio.Protocol]
    """Makes the protocol of a WebSocket; it is fed the head."""
