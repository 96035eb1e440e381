"""One measurement: a calm while, then attacks beside honest clients, then the time after."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from chain.primitives.keyfile import load_key
from tests.floods.arena import MEMBER, ORGS, Arena, Cost
from tests.floods.attack import PORTS, Attack
from tests.floods.attackers import Attackers
from tests.floods.honest import Honest, cut, watch_health, watch_sockets
from tests.floods.naming import Named, watch_name
from tests.floods.stories import STORIES

CALM_PROBES = 30
"""At each of two places: 60 in all."""
RAMP_S = 1.0
"""How long attacks get to open their connections before latency counts."""
BACK_MAX_S = 90.0
BACK_PROBES = 3
BACK_MS = 500.0


@dataclass(slots=True)
class Row:
    """What one measurement found; the record of the report."""

    name: str
    port: str
    who: str
    victims: list[str]
    places: list[str]
    """Where the honest clients were: the first victim, and a node that was not attacked if there is one."""
    calm_ms: dict[str, list[float]] = field(default_factory=dict)
    """Place -> median and 95th percentile; so below."""
    under_ms: dict[str, list[float]] = field(default_factory=dict)
    taken_ms: dict[str, list[float]] = field(default_factory=dict)
    """Of `under_ms`, the time until the node had taken the transaction: what its RPC port alone costs."""
    probes: dict[str, int] = field(default_factory=dict)
    """Place -> transactions measured during the attack."""
    ratio: float = 0.0
    """Of the medians, at the place where it is worse."""
    control_ms: float = 0.0
    """Of `all`: the median under as many processes that attack nothing; 0 where that was not measured."""
    lost: int = 0
    """Transactions without a receipt within ten seconds."""
    refused: int = 0
    last_refusal: str = ""
    health_p95_ms: float = 0.0
    health_bad: dict[str, int] = field(default_factory=dict)
    sockets: list[int] = field(default_factory=list)
    """Honest WebSockets that were refused, of how many."""
    rss_mib: dict[str, float] = field(default_factory=dict)
    rss_calm_mib: dict[str, float] = field(default_factory=dict)
    cpu_share: float = 0.0
    """Of one core, by the first victim."""
    log_bytes_per_s: float = 0.0
    is_control: bool = False
    must_be_named: bool = False
    named_s: float | None = None
    named_by: str = ""
    back_s: float | None = None
    """From the end of the attack until the honest clients have their pace again; None: not within 90 s."""
    deaths: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """What only this attack is about."""
    tallies: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the record."""
        return asdict(self)


async def measure(arena: Arena, name: str, attacks: list[type[Attack]], seconds: float, seed: int) -> Row:
    """Run one attack, or several at once, and return what it did."""
    member = any(attack.who == "member" for attack in attacks)
    running = [org for org in ORGS if not (member and org == MEMBER)]
    await arena.run_only(running)
    groups = [[a.name for a in attacks if a.port == port] for port in PORTS]
    groups *= max(attack.processes for attack in attacks)
    async with _clients(arena, running) as clients:
        await arena.settle(clients)
        if name in STORIES and (before := STORIES[name].before) is not None:
            await before(arena)
        primary = await arena.primary([org for org in running if org != MEMBER])
        others = [org for org in ORGS if org not in (MEMBER, primary)]
        victims = [primary, *others][: max(attack.victims_max for attack in attacks)]
        row = Row(name, attacks[0].port, attacks[0].who, victims, [primary, others[-1]])
        row.is_control = all(attack.is_control for attack in attacks)
        row.must_be_named = any(attack.must_be_named for attack in attacks)
        lasts = seconds + (STORIES[name].extra_s if name in STORIES else 0)
        pair = {place: clients[place] for place in row.places}
        async with Attackers(groups, arena.target(victims, lasts, seed)) as attackers:
            await _calm(arena, row, pair)
            await _under(arena, row, pair, attackers, seconds)
        await _back(arena, row, pair)
    return row


@asynccontextmanager
async def _clients(arena: Arena, running: list[str]) -> AsyncIterator[dict[str, Honest]]:
    height = int(await arena.ask(running[0], "getBlockNumber") or 0)
    async with contextlib.AsyncExitStack() as stack:
        made = {
            org: Honest(arena.nodes[org].url, arena.admin(org), arena.genesis.chain_id, height, arena.fields)
            for org in running
            if org != MEMBER
        }
        yield {org: await stack.enter_async_context(client) for org, client in made.items()}


async def _calm(arena: Arena, row: Row, pair: dict[str, Honest]) -> None:
    found = await asyncio.gather(*[client.probes(lambda n: n >= CALM_PROBES) for client in pair.values()])
    for place, values in zip(pair, found, strict=True):
        row.calm_ms[place] = _cuts(values)
    row.rss_calm_mib = {org: arena.rss_mib(node) for org, node in arena.nodes.items()}
    for client in pair.values():
        client.refused = client.lost = 0
        client.taken_ms.clear()


async def _under(
    arena: Arena,
    row: Row,
    pair: dict[str, Honest],
    attackers: Attackers,
    seconds: float,
) -> None:
    victim = arena.nodes[row.victims[0]]
    story = STORIES.get(row.name)
    costs: dict[str, Cost] = {}
    health: list[tuple[float, int]] = []
    named = Named()
    arena.dirty |= set(row.victims)
    sockets: list[bool] = []
    watches: list[Coroutine[Any, Any, None]] = [
        arena.watch(costs), watch_health(victim.url, health), watch_sockets(victim.url, sockets, arena.fields)
    ]  # fmt: skip
    if row.must_be_named:
        key = load_key(arena.nodes[MEMBER].org.key("node")).public
        watches.append(watch_name(arena, row.victims[0], key, f"{MEMBER}-node", named))
    tasks = [asyncio.create_task(work) for work in watches]
    began, cpu, log = time.monotonic(), arena.cpu_s(victim), arena.log_bytes(victim)
    try:
        attackers.begin()
        await asyncio.sleep(RAMP_S)
        end = began + seconds
        found = await asyncio.gather(
            *[client.probes(lambda _: time.monotonic() >= end) for client in pair.values()]
        )
        took = time.monotonic() - began
        row.cpu_share = round((arena.cpu_s(victim) - cpu) / took, 2)
        row.log_bytes_per_s = round((arena.log_bytes(victim) - log) / took)
        if story is not None:
            row.facts = await story.during(arena, row.places)
        row.tallies = await attackers.tallies()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    _fill(row, pair, found, costs, health)
    row.sockets = [sockets.count(False), len(sockets)]
    row.named_s, row.named_by, row.seconds = named.seconds, named.words, seconds


def _fill(
    row: Row,
    pair: dict[str, Honest],
    found: list[list[float]],
    costs: dict[str, Cost],
    health: list[tuple[float, int]],
) -> None:
    for place, values in zip(pair, found, strict=True):
        row.under_ms[place], row.probes[place] = _cuts(values), len(values)
        row.taken_ms[place] = _cuts(pair[place].taken_ms)
    row.ratio = round(max(row.under_ms[place][0] / row.calm_ms[place][0] for place in pair), 2)
    row.lost = sum(client.lost for client in pair.values())
    row.refused = sum(client.refused for client in pair.values())
    row.last_refusal = next((client.last_refusal for client in pair.values() if client.refused), "")
    row.health_p95_ms = round(cut([ms for ms, _ in health], 0.95))
    for _, status in health:
        if status != 200:
            row.health_bad[str(status)] = row.health_bad.get(str(status), 0) + 1
    row.rss_mib = {org: cost.rss_mib for org, cost in costs.items() if cost.rss_mib}


async def _back(arena: Arena, row: Row, pair: dict[str, Honest]) -> None:
    """Wait until every place has its pace again; a node that ended is noted."""
    began, before = time.monotonic(), len(arena.deaths)
    arena.bury()
    row.deaths = arena.deaths[before:]
    alive = {place: client for place, client in pair.items() if arena.nodes[place].running}
    for place, client in alive.items():
        good, wanted = 0, max(BACK_MS, 3 * row.calm_ms[place][0])
        while good < BACK_PROBES:
            good = good + 1 if await client.probe() <= wanted else 0
            if time.monotonic() - began > BACK_MAX_S:
                return
    if alive == pair:
        row.back_s = round(time.monotonic() - began, 1)


def _cuts(values: list[float]) -> list[float]:
    return [round(cut(values, 0.5), 1), round(cut(values, 0.95), 1)]
