"""What the RPC methods need of a node, and the errors that they answer with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from chain.api.lane import Lane
from chain.api.sessions import MemberSessions
from chain.api.waits import Waits
from chain.ledger.block import DecodedTransaction
from chain.ledger.ledger import Ledger
from chain.mempool.mempool import Mempool
from chain.mempool.refusals import TransactionRefused
from chain.primitives.errors import AssentError
from chain.primitives.runtimeport import Runtime


class NotFound(AssentError):
    """Nothing of that name or hash here: check it, or ask a node that is further on."""

    code = "not_found"


class ViewFailed(AssentError):
    """A view that did not end ok: the text has its verdict, code and line, `verdict` the contract's code."""

    code = "call_failed"

    def __init__(self, message: str, verdict: str) -> None:
        """`verdict` is the stable code of the revert or limit, or the status where there is none."""
        super().__init__(message)
        self.verdict = verdict


class StatusPort(Protocol):
    """What a node tells operators of itself, as JSON objects."""

    def info(self) -> dict[str, Any]:
        """Return the facts of one line of `assent status`."""

    def consensus(self) -> dict[str, Any]:
        """Return what consensus is doing."""

    def peers(self) -> list[dict[str, Any]]:
        """Return one record a member."""

    def sync(self) -> dict[str, Any]:
        """Return where catch-up stands."""

    def evidence(self, after: str, most: int, most_bytes: int) -> list[dict[str, Any]]:
        """Return the next contradictions of validators that this node has kept, by "KEY/KIND"."""


class Heights(Protocol):
    """Wakes those who wait for a certified height."""

    async def wait_above(self, height: int) -> int:
        """Wait until the certified height exceeds `height`."""


class NodePort(Protocol):
    """What the RPC methods need of a node."""

    @property
    def ledger(self) -> Ledger:
        """The ledger."""

    @property
    def pool(self) -> Mempool:
        """The pool."""

    @property
    def runtime(self) -> Runtime:
        """Runs views."""

    @property
    def status(self) -> StatusPort:
        """Its own state."""

    @property
    def streams(self) -> Heights:
        """Its certified heights."""

    @property
    def waits(self) -> Waits:
        """Bounds calls that wait."""

    @property
    def lane(self) -> Lane:
        """Runs calls that compute."""

    @property
    def sessions(self) -> MemberSessions | None:
        """Sessions of members; None where the port asks nobody who he is."""

    async def submit(self, encoded: Sequence[bytes]) -> list[DecodedTransaction | TransactionRefused]:
        """Take transactions into the pool."""
