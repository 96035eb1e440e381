"""Floods beside torture: one attack of the kit after another, at random, on the ports of honest nodes."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from chain.config import load_node_config
from tests.floods.attack import Attack
from tests.floods.attackers import Attackers
from tests.floods.catalogue import ATTACKS
from tests.floods.target import Target
from tests.torture.verdict import TortureFailed

if TYPE_CHECKING:
    from tests.torture.campaign import Campaign

DESCRIPTORS = 1_024
"""The usual soft limit, under which nodes are started that will be flooded."""
FLOOD_S = (3.0, 10.0)
GAP_S = (1.0, 8.0)
FINALS_MAX = 1_024


def chosen(*, with_key: bool) -> list[type[Attack]]:
    """Return the attacks on nodes that need no key, and with a liar's key those of a member, too."""
    keyless = [a for a in ATTACKS.values() if a.port in ("rpc", "peer") and a.who == "anybody"]
    members = [a for a in ATTACKS.values() if a.who == "member"] if with_key else []
    return [attack for attack in [*keyless, *members] if not attack.is_control]


async def flood(campaign: Campaign, source: random.Random) -> None:
    """Attack until no more transactions are sent; raise TortureFailed when the kit itself fails."""
    attacks = chosen(with_key=campaign.liar is not None)
    while True:
        await asyncio.sleep(source.uniform(*GAP_S))
        if campaign.load.stopping:
            return
        attack, seconds = source.choice(attacks), round(source.uniform(*FLOOD_S), 1)
        victims = [node.name for node in source.sample(campaign.honest, len(campaign.honest))]
        target = _target(campaign, victims[: attack.victims_max], seconds, source.randrange(2**32))
        campaign.say(f"flood {attack.name} at {', '.join(target.victims)} for {seconds} s")
        campaign.floods[attack.name] += 1
        async with Attackers([[attack.name]], target) as attackers:
            attackers.begin()
            await asyncio.sleep(seconds)
            tally = (await attackers.tallies())[attack.name]
        if "broken" in tally or tally["missed"]:
            raise TortureFailed(f"flood {attack.name}: {tally.get('broken') or tally['missed']}")


def _target(campaign: Campaign, victims: list[str], seconds: float, seed: int) -> Target:
    """Describe the honest nodes, at their own ports: a stranger does not pass the proxies."""
    configs = {node.name: load_node_config(node.org.node_config)[0] for node in campaign.honest}
    liar, certified = campaign.liar, list(campaign.load.certified)
    return Target(
        genesis=str(campaign.consortium.genesis),
        rpc={name: config.rpc.listen for name, config in configs.items()},
        peer={name: config.network.listen for name, config in configs.items()},
        agent={},
        victims=tuple(victims),
        keys={} if liar is None else {"member": str(liar.org.key("node"))},
        finals=tuple(certified[:FINALS_MAX]),
        source="127.0.0.1",
        seconds=seconds,
        seed=seed,
    )
