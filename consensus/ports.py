"""Ports of the driver: what it needs from the node around it. The node and the simulator implement them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from chain.primitives.certificate import Certificate
from consensus.events import Candidate, Turn
from consensus.votes import Evidence


class VoteStore(Protocol):
    """Vote store: the durable rows of one replica, key to value."""

    def load(self) -> Iterable[tuple[bytes, bytes]]:
        """Return all rows."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a row, or None; this is asked rarely."""

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes]) -> None:
        """Write all of it or nothing; it is durable when this returns. Raise whatever says that it failed.

        A voter must be able to execute its payload after any crash. So where payloads name data that is kept
        elsewhere (transactions in a pool), an implementation makes that data durable in the same write.
        """


class Transport(Protocol):
    """Sends bytes to peers; messages may be lost, doubled or reordered."""

    def send(self, to: bytes, data: bytes) -> None:
        """Send to the peer with this public key, if it is connected."""

    def broadcast(self, data: bytes) -> None:
        """Send to every connected peer, observers included."""


class Application(Protocol):
    """Makes, judges and executes payloads; it may call the driver back from inside these methods."""

    def pending(self) -> bool:
        """Tell whether requests wait to be ordered; this is asked often and must be cheap."""

    def propose(self, turn: Turn) -> bytes | None:
        """Return a payload (never empty) that every correct check accepts, or None for now.

        Requests in `turn.parents` are being ordered already; its time must exceed that of the last parent.
        """

    def forward(self, primary: bytes, *, widely: bool) -> None:
        """Send requests that wait here to the primary, which has proposed nothing: it may know of none.

        Some of those that have waited longest are enough: whoever has one proposes. `widely`: send them to
        everyone. Called at most a few times a height.
        """

    def check(self, candidate: Candidate) -> bool | None:
        """Judge a payload: True valid, False refused; on None it calls `driver.checked` later, or never."""

    def deliver(self, height: int, payload: bytes) -> None:
        """Execute a payload durably, in this order, then call `driver.executed`; b"" is a null request.

        Any payload that a correct replica found valid must be executable, whatever precedes it in the end.
        A height that the ledger has already is not executed again: its header hash is answered at once.
        """

    def certified(self, certificate: Certificate) -> None:
        """Store the certificate of an executed block durably; a height may come late, at most once a run."""

    def certificate(self, height: int) -> Certificate | None:
        """Return a stored certificate or None: a replica asks for one that is no longer in memory here."""

    def behind(self, certificate: Certificate) -> None:
        """Start or continue block sync up to this certified height, then call `driver.on_synced`."""

    def evidence(self, evidence: Evidence) -> None:
        """Take note of an equivocation; its row in the vote store is durable already."""

    def halted(self, reason: str) -> None:
        """Tell the operator that this replica stopped itself for good, and why."""
