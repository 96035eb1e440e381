"""Floods by one member: frames of one kind on one connection, at a pace or as fast as it can."""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar

from chain.ledger.genesis import Genesis
from tests.floods.attack import Attack
from tests.floods.link import HostileLink, open_link
from tests.floods.target import RECONNECT_S, Clock, Tally, Target

TOLD_MAX_S = 2.0


class MemberFlood(Attack):
    """One member sends what nobody needs, as fast as it can, and comes back when it is thrown out."""

    port = "peer"
    who = "member"
    bound = "1 connection a victim at a time; what the victim does not read is not sent"
    must_be_named = True
    with_others = False
    """A node keeps one connection a key: floods of one member would only throw each other out."""
    per_second: ClassVar[float | None] = None
    """Bursts; None: as fast as the connection takes them."""
    listens_first: ClassVar[bool] = False
    """Whether its frames make sense only once the victim has said where it stands."""
    again_s: ClassVar[float] = RECONNECT_S

    def burst(self, link: HostileLink, number: int) -> tuple[bytes, int]:
        """Return the next bytes to send and how many frames they are."""
        raise NotImplementedError

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        genesis = target.load_genesis()
        await asyncio.gather(
            *[self._at(org, target, genesis, clock, tally) for org in target.victims[: self.victims_max]]
        )

    async def _at(self, org: str, target: Target, genesis: Genesis, clock: Clock, tally: Tally) -> None:
        while not clock.over:
            link = await open_link(target, org, genesis, tally)
            if link is None:
                await clock.sleep(self.again_s)
                continue
            try:
                if self.listens_first:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(min(TOLD_MAX_S, clock.left_s)):
                            await link.told.wait()
                await self._flood(link, clock, tally)
                if link.closed:
                    tally.close(link.farewell or "closed without a word")
            finally:
                await link.close()
            await clock.sleep(self.again_s)

    async def _flood(self, link: HostileLink, clock: Clock, tally: Tally) -> None:
        if self.per_second is not None:
            async for number in clock.ticks(self.per_second):
                if link.closed or not await self._send(link, number, clock, tally):
                    return
            return
        number = 0
        while not (clock.over or link.closed):
            await self._send(link, number, clock, tally)
            number += 1

    async def _send(self, link: HostileLink, number: int, clock: Clock, tally: Tally) -> bool:
        data, frames = self.burst(link, number)
        link.write(data)
        tally.count(len(data), frames)
        try:
            async with asyncio.timeout(max(0.01, clock.left_s)):
                await link.drain()
        except TimeoutError:
            return False
        return True
