"""Methods wait outside while a fetched state takes the place of the ledger's: they would see half of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any

from chain.api.rpc import Method
from chain.ledger.ledger import Ledger
from chain.ledger.store.faults import DataDamaged
from chain.primitives.errors import AssentError

ABOUT_THE_NODE = frozenset({"getNodeInfo", "getSyncStatus", "getPeers", "getConsensusStatus", "rpc.discover"})


class Replacing(AssentError):
    """The node is putting a fetched state in the ledger's place: ask again in some seconds."""

    code = "replacing"


def while_whole(ledger: Ledger, methods: Mapping[str, Method]) -> Mapping[str, Method]:
    """Return the methods such that those that read the ledger refuse while it is being replaced."""
    return {
        name: method if name in ABOUT_THE_NODE else replace(method, answer=_guarded(ledger, method.answer))
        for name, method in methods.items()
    }


def _guarded(ledger: Ledger, answer: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    @wraps(answer)
    async def guarded(params: Any) -> Any:
        before = ledger.replaced
        if ledger.replacing:
            raise Replacing("the ledger is being replaced by a fetched state; ask again in some seconds")
        try:
            return await answer(params)
        except DataDamaged:
            if ledger.replacing or ledger.replaced != before:  # what it read went away meanwhile
                raise Replacing("the ledger was replaced by a fetched state meanwhile; ask again") from None
            raise

    return guarded
