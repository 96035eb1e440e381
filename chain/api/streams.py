"""Subscriptions: certified blocks and events as they come, resumable from any height."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import pydantic

from chain.api.render import block_summary, entry_json
from chain.api.rpc import Notify
from chain.ledger.ledger import Ledger
from chain.ledger.queries import PAGE_MAX
from chain.primitives.errors import ConfigError
from chain.primitives.settings import Section, validate

EMPTY_EVERY = 50
"""A stream of events also tells every so many heights without one, so that a follower's height moves on."""


class Subscribe(Section):
    """What a subscription asks for."""

    kind: Literal["blocks", "events"]
    fromHeight: Annotated[int, pydantic.Field(ge=0)] | None = None
    contract: str | None = None
    name: str | None = None
    subject: str | None = None


class Streams:
    """Every stream of one node; `advance` wakes them when a height is certified."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._moved = asyncio.Event()

    def advance(self) -> None:
        """Say that the certified height moved."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def wait_above(self, height: int) -> int:
        """Wait until the certified height exceeds `height`; return it."""
        while self._ledger.certified_height <= height:
            await self._moved.wait()
        return self._ledger.certified_height

    async def run(self, params: dict[str, Any], notify: Notify) -> None:
        """Send every certified height from the one asked for on (`chain.api.rpc.Subscriptions`)."""
        wanted = validate("subscribe", params, Subscribe)
        if wanted.name is not None and wanted.contract is None:
            raise ConfigError("subscribe: name: give the contract too")
        height = self._ledger.certified_height + 1 if wanted.fromHeight is None else wanted.fromHeight
        self._ledger.read.holding.require_blocks(height, f"subscribe from height {height}")
        quiet = 0
        while True:
            top = await self.wait_above(height - 1)
            while height <= top:
                update = self._update(wanted, height)
                quiet = quiet + 1 if update is None else 0
                if update is None and (quiet >= EMPTY_EVERY or height == top):
                    update, quiet = {"height": height, "entries": []}, 0
                if update is not None:
                    await notify(update)
                height += 1

    def _update(self, wanted: Subscribe, height: int) -> dict[str, Any] | None:
        if wanted.kind == "blocks":
            return block_summary(self._ledger, height)
        page = self._ledger.read.entries(
            subject=wanted.subject,
            contract=wanted.contract,
            name=wanted.name,
            first=height,
            last=height,
            limit=PAGE_MAX,
        )
        entries = [entry_json(entry) for entry in page.entries]
        return {"height": height, "entries": entries} if entries else None
