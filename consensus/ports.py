"""What the driver needs from the node around it; implemented by the node and by the simulator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from chain.primitives.certificate import Certificate
from consensus.events import Candidate, Turn
from consensus.votes import Evidence


class VoteStore(Protocol):
    """Durable key-value rows of one replica."""

    def load(self) -> Iterable[tuple[bytes, bytes]]:
        """Return all rows."""

    def get(self, key: bytes) -> bytes | None:
        """Return one row, or None; rarely asked."""

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes]) -> None:
        """Write all of it or nothing, durable when this returns; raise if that failed.

        A vote promises that its payload can be executed after any crash: an implementation whose payloads
        name data kept elsewhere (transactions in a pool) makes that data durable in the same write.
        """


class Transport(Protocol):
    """Sends bytes to peers, without promise: messages may be lost, doubled or reordered."""

    def send(self, to: bytes, data: bytes) -> None:
        """Send to the peer with this public key, if it is connected."""

    def broadcast(self, data: bytes) -> None:
        """Send to every connected peer, observers included."""


class Application(Protocol):
    """Makes, judges and executes payloads. It may call the driver back from inside these methods."""

    def pending(self) -> bool:
        """Tell whether requests wait to be ordered; asked often, must be cheap."""

    def propose(self, turn: Turn) -> bytes | None:
        """Return a payload (never empty) for our turn that every correct check accepts, or None for now.

        Requests in `turn.parents` are being ordered already; time must exceed that of the last parent.
        """

    def forward(self, primary: bytes, *, widely: bool) -> None:
        """Send requests that wait here to the primary, which has proposed nothing: it may know of none.

        Some of those that have waited longest are enough: whoever has one proposes. `widely`: send them to
        everyone. Called at most a few times a height.
        """

    def check(self, candidate: Candidate) -> bool | None:
        """Judge a payload: True valid, False refused, None: will call `driver.checked` later, or never."""

    def deliver(self, height: int, payload: bytes) -> None:
        """Execute durably, in this order, then call `driver.executed`; b"" is a gap.

        Any payload that a correct replica found valid must be executable, whatever precedes it in the end.
        A height that the ledger has already is not executed twice: its header hash is answered at once.
        """

    def certified(self, certificate: Certificate) -> None:
        """Store an executed block's certificate durably; heights may come late, each at most once a run."""

    def certificate(self, height: int) -> Certificate | None:
        """Return a stored certificate: some replica asks for one that is no longer in memory here."""

    def behind(self, certificate: Certificate) -> None:
        """Start or continue block sync up to this certified height, then call `driver.on_synced`."""

    def evidence(self, evidence: Evidence) -> None:
        """Take note of a replica that contradicted itself; the record is durable already."""

    def halted(self, reason: str) -> None:
        """This replica stopped itself for good: tell the operator."""
