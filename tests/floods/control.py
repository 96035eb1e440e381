"""What no attack can be blamed for: an attacker's own use of the two cores."""

from __future__ import annotations

import asyncio

from tests.floods.attack import PORTS, Attack
from tests.floods.target import Clock, Tally, Target

SLICE = 20_000


class Spin(Attack):
    """A process that uses a whole core and sends nothing: what attackers cost by being on the machine."""

    name = "control-spin"
    port = "rpc"
    sends = "nothing"
    bound = "one core"
    is_control = True
    with_others = False

    async def run(self, target: Target, clock: Clock, tally: Tally) -> None:
        del target
        while not clock.over:
            sum(range(SLICE))
            tally.count(0)
            await asyncio.sleep(0)


class SpinAll(Spin):
    """As many such processes as attack when all attacks run at once: the measure for `all`."""

    name = "control-spin-all"
    sends = "nothing"
    bound = "one core a process"
    processes = len(PORTS)
