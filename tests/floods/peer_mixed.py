"""One member that does everything at once which does not end its connection by itself."""

from __future__ import annotations

from tests.floods.link import HostileLink
from tests.floods.member import MemberFlood
from tests.floods.peer_consensus import FuturePrepares, LargeProposals, Statuses, ViewChanges
from tests.floods.peer_serving import (
    AnchorRequests,
    BlocksRequests,
    ChunkRequests,
    Pings,
    TxIdsMax,
    TxRequestsMax,
)
from tests.floods.target import Target

PARTS = (
    TxRequestsMax, Statuses, TxIdsMax, ViewChanges, BlocksRequests, AnchorRequests, FuturePrepares,
    ChunkRequests, Pings, LargeProposals,
)  # fmt: skip


class Everything(MemberFlood):
    """All floods of a member that a node reads on after, in turn, to all honest nodes at once."""

    name = "everything"
    sends = "the bursts of " + ", ".join(part.name for part in PARTS) + " in turn, to three nodes"
    victims_max = 3
    listens_first = True
    with_others = True

    def prepare(self, target: Target) -> None:
        self._parts = [part() for part in PARTS]
        for part in self._parts:
            part.prepare(target)

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        return self._parts[number % len(PARTS)].burst(link, number // len(PARTS))
