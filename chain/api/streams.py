"""Subscriptions: certified blocks and events as they come, resumable from any height."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, Literal

from chain.api.framing import encode_json
from chain.api.params import HeightNumber, NameText
from chain.api.render import block_summary, entry_json
from chain.ledger.ledger import Ledger
from chain.ledger.queries import PAGE_MAX, Page
from chain.primitives.errors import ConfigError
from chain.primitives.settings import Section, validate

EMPTY_EVERY = 50
"""A stream of events also tells every so many heights without one, so that a follower's height moves on."""
UPDATE_BYTES = 65_536
"""Events of one height beyond this come in further updates."""
BLOCKS_KEPT = 8
"""Newest blocks kept as JSON: every stream of blocks sends the same."""


class Subscribe(Section):
    """What a subscription asks for."""

    kind: Literal["blocks", "events"]
    fromHeight: HeightNumber | None = None
    contract: NameText | None = None
    name: NameText | None = None
    subject: NameText | None = None


class Streams:
    """Every stream of one node; `advance` wakes them when a height is certified."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._moved = asyncio.Event()
        self._watching: set[asyncio.Event] = set()
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def advance(self) -> None:
        """Wake everyone who waits: the certified height moved."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        for wake in self._watching:
            wake.set()

    async def wait_above(self, height: int) -> int:
        """Wait until the certified height exceeds `height`; return it."""
        while self.ledger.certified_height <= height:
            await self._moved.wait()
        return self.ledger.certified_height

    def watch(self, wake: asyncio.Event) -> None:
        """Set an event from now on whenever the certified height moves."""
        self._watching.add(wake)

    def unwatch(self, wake: asyncio.Event) -> None:
        """Stop setting that event."""
        self._watching.discard(wake)

    def open(self, params: dict[str, Any]) -> BlockStream | EventStream:
        """Return the stream that is asked for (`chain.api.sockets.Subscriptions`)."""
        wanted = validate("subscribe", params, Subscribe)
        if wanted.name is not None and wanted.contract is None:
            raise ConfigError("subscribe: name: give the contract too")
        height = self.ledger.certified_height + 1 if wanted.fromHeight is None else wanted.fromHeight
        self.ledger.read.pruned.require_blocks(height, f"subscribe from height {height}")
        return BlockStream(self, height) if wanted.kind == "blocks" else EventStream(self, height, wanted)

    def block(self, height: int) -> bytes:
        """Return a block's summary as JSON; raise NotHeld."""
        found = self._blocks.get(height)
        if found is None:
            found = self._blocks[height] = encode_json(block_summary(self.ledger, height))
            if len(self._blocks) > BLOCKS_KEPT:
                self._blocks.popitem(last=False)
        return found


class BlockStream:
    """Every certified block from a height on (`chain.api.sockets.Subscription`)."""

    __slots__ = ("_height", "_streams")

    def __init__(self, streams: Streams, height: int) -> None:
        self._streams, self._height = streams, height

    @property
    def behind(self) -> bool:
        """Tell whether there is a block to send."""
        return self._streams.ledger.certified_height >= self._height

    def step(self) -> bytes:
        """Return the next block; raise NotHeld."""
        block = self._streams.block(self._height)
        self._height += 1
        return block


class EventStream:
    """The events of a subject, a contract, or all, from a height on (`chain.api.sockets.Subscription`)."""

    __slots__ = ("_after", "_height", "_ledger", "_told", "_wanted")

    def __init__(self, streams: Streams, height: int, wanted: Subscribe) -> None:
        self._ledger, self._height, self._wanted = streams.ledger, height, wanted
        self._after: bytes | None = None
        """Where the events of `_height` go on that did not fit one update."""
        self._told = -EMPTY_EVERY
        """The last height that an update named."""

    @property
    def behind(self) -> bool:
        """Tell whether there are heights to look at."""
        return self._ledger.certified_height >= self._height

    def step(self) -> bytes | None:
        """Return the next events of one height; None, or an empty update now and then, when there are none.

        However many heights are to be looked at, one look finds the next event. Raises NotHeld.
        """
        top = self._ledger.certified_height
        following = self._page(self._height, top, 1, None) if self._after is None else None
        if following is not None and not following.entries:
            self._height = top + 1
            if top - self._told < EMPTY_EVERY:
                return None
            self._told = top
            return encode_json({"height": top, "entries": []})
        height = self._height if following is None else following.entries[0].height
        page = self._page(height, height, PAGE_MAX, self._after)
        self._told, self._after = height, page.next
        self._height = height if page.next is not None else height + 1
        update: dict[str, Any] = {"height": height, "entries": [entry_json(entry) for entry in page.entries]}
        return encode_json(update | ({"more": True} if page.next is not None else {}))

    def _page(self, first: int, last: int, limit: int, after: bytes | None) -> Page:
        wanted = self._wanted
        return self._ledger.read.entries(
            subject=wanted.subject,
            contract=wanted.contract,
            name=wanted.name,
            first=first,
            last=last,
            limit=limit,
            max_bytes=UPDATE_BYTES,
            after=after,
        )
