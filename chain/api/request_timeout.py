"""Request timeout: a request that takes longer than `rpc.request_timeout_ms` ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chain.primitives.errors import AssentError


class TimedOut(AssentError):
    """An answer that took longer than `rpc.request_timeout_ms`: ask again, or for less."""

    code = "timeout"


@asynccontextmanager
async def answered_by(end: float, timeout_ms: int) -> AsyncIterator[None]:
    """End the block at a time of the loop's clock; raise TimedOut, which says how long `timeout_ms` is."""
    try:
        async with asyncio.timeout_at(end):
            yield
    except TimeoutError:
        raise TimedOut(f"no answer within {timeout_ms} ms; ask again, or for less") from None
