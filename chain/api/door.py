"""What all connections of the RPC port share: its bounds, its turns, and the count of what was given up."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from chain.api.accesslog import AccessLog
from chain.api.faultlog import FaultLog
from chain.api.metrics import Metrics
from chain.api.principals import Principals
from chain.api.shares import Shares
from chain.api.turns import Loop, Turns
from chain.config import RpcSection

if TYPE_CHECKING:
    from chain.api.gate import Gate

log = logging.getLogger("assent.rpc")

BODIES_MAX, BODIES_PER_CLIENT_MAX = 6, 4
"""Memory of requests, all together and of one client, in multiples of the largest body: it and its parsed
form count together. So no client keeps another from sending a body."""
ANSWERS_MAX, ANSWERS_PER_CLIENT_MAX = 4, 3
"""Answers held at once, in multiples of the largest."""
PARSED_MIN = 65_536
"""A parsed request may take as much memory as half the largest body, or this."""
GRACE_S = 5.0
"""For so long a transfer may be slower than the least rate: a large round trip, a lost segment."""
REPORT_S = 60.0
"""The log tells no more often what the port gave up."""


class Door:
    """The bounds of one RPC port, made from its settings."""

    def __init__(
        self,
        config: RpcSection,
        metrics: Metrics,
        loop: Loop,
        now: Callable[[], float],
        principals: Principals,
        access: AccessLog | None = None,
    ) -> None:
        """`now()` is what deadlines are told by, in seconds; `principals` tells who asks."""
        self.access = access
        """Notes who asked what, if the operator wants that."""
        self.config, self.now, self.faults = config, now, FaultLog(now)
        self.principals = principals
        self.gates: set[Gate] = set()
        """The open connections."""
        self.turns = Turns(loop, config.requests_per_second, principals.requests_per_second)
        most = config.max_connections
        self.connections = Shares(most, most * 3 // 4, kept=most // 16)
        self.sockets = Shares(most // 4, most // 8)
        body = max(config.max_request_bytes, PARSED_MIN)
        self.parsed_max = max(config.max_request_bytes // 2, PARSED_MIN)
        self.bodies = Shares(BODIES_MAX * body, BODIES_PER_CLIENT_MAX * body)
        answer = config.max_answer_bytes
        self.answers = Shares(ANSWERS_MAX * answer, ANSWERS_PER_CLIENT_MAX * answer)
        self.shares = {
            "connections": self.connections,
            "sockets": self.sockets,
            "body_bytes": self.bodies,
            "answer_bytes": self.answers,
        }
        self.header_s = config.header_timeout_ms / 1_000
        self.idle_s = config.idle_timeout_ms / 1_000
        self._transfer_s = config.transfer_timeout_ms / 1_000
        self._rate = config.least_bytes_per_second
        self._metrics = metrics
        self._lost: Counter[str] = Counter()
        self._reported_at = now() - REPORT_S

    def transfer_end(self, start: float, size: int) -> float:
        """Return by when a transfer begun at `start` must be over, or have moved more than `size` bytes."""
        return start + min(self._transfer_s, GRACE_S + size / self._rate)

    def lost(self, queue: str) -> None:
        """Count what was refused or given up; `queue` names the bound."""
        self._metrics.dropped.labels(queue).inc()
        self._lost[queue] += 1

    def report(self) -> None:
        """Log what was refused and given up since the last such line, once a minute at most."""
        now = self.now()
        if self._lost and now - self._reported_at >= REPORT_S:
            self._reported_at = now
            what = ", ".join(f"{number} {queue}" for queue, number in self._lost.most_common())
            log.warning(
                "the RPC port refused or gave up for others: %s; most connections are of %s",
                what,
                self.connections.largest() or "nobody now",
            )
            self._lost.clear()
