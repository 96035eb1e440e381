"""What a machine's peers cost it: the accounts of production, on virtual time, in front of its core.

No honest node may ever be found to cost too much, whatever the network and the liars do to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.network.account import FrameVerdict, Moment, PeerAccount
from chain.network.frame import Kind
from chain.node.traffic import NODE_PRICES

if TYPE_CHECKING:
    from tests.simulation.machine import Machine

SERVE_MS = 10
"""How often requests that wait are looked at."""
FRAME_S = 0.0002
"""What handling a frame is taken to cost."""


class Costs:
    """The accounts that one life of a machine keeps of its peers."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._accounts: dict[int, PeerAccount] = {}

    def receive(self, source: int, kind: Kind, body: bytes) -> None:
        """Handle a frame, put it off or drop it, as the registry does."""
        account = self._account(source)
        name = account.name(kind, body)
        verdict = account.take(name, kind, body, self._moment())
        self._punish(source)
        if verdict is FrameVerdict.HANDLE:
            self._handle(source, name, kind, body)
        elif verdict is FrameVerdict.WAIT:
            self._machine.later(SERVE_MS, self._serve, source)

    def charge(self, source: int, name: str, ms: float, *, blamed: bool) -> None:
        """Charge a node for work that became known after its frame was handled."""
        self._account(source).charge(name, ms, blamed=blamed)
        self._punish(source)

    def _serve(self, source: int) -> None:
        account = self._account(source)
        request = account.due(self._moment())
        if request is not None:
            self._handle(source, *request)
        if account.waits:
            self._machine.later(SERVE_MS, self._serve, source)

    def _handle(self, source: int, name: str, kind: Kind, body: bytes) -> None:
        useful = self._machine.handle(source, kind, body)
        self._account(source).spent(name, len(body), FRAME_S, self._moment(), useful=useful)
        self._punish(source)

    def _account(self, source: int) -> PeerAccount:
        if source not in self._accounts:
            self._accounts[source] = PeerAccount(NODE_PRICES, self._moment())
        return self._accounts[source]

    def _moment(self) -> Moment:
        seconds = self._machine.cluster.now / 1_000
        return Moment(seconds, seconds, self._machine.settled_height)

    def _punish(self, source: int) -> None:
        account = self._account(source)
        if account.offence:
            self._machine.cluster.disconnects(self._machine, source, account.offence)
            account.pardon()
