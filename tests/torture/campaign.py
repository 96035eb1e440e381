"""One campaign: a cluster of real processes under load and faults, then calm, then the verdict."""

from __future__ import annotations

import asyncio
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder
from chain.ledger.genesis import Genesis, load_genesis
from chain.primitives.certificate import fault_bound
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key
from chain.primitives.settings import split_address
from tests.deploying import deploy_contract
from tests.torture.acts import CALM_S, Acts
from tests.torture.faults import FORGETFUL, MORE_THAN_F, Fault, plan
from tests.torture.flooding import DESCRIPTORS, flood
from tests.torture.load import CONTRACT, SOURCE, Load, prove_some, send_steadily, until, watch
from tests.torture.nodes import NodeProcess, make_nodes, mount_small_disk
from tests.torture.report import report
from tests.torture.verdict import TortureFailed
from tests.torture.wires import Wires

NAMES = ["north", "east", "south", "west", "upper", "lower", "inner", "outer", "near", "far"]
SMALL_DISK_MIB = 1_024
STALL_MAX_S = 45.0
"""With at most f nodes faulty for so long, a height must be certified within it."""
LULL_S = 75.0
"""Beside a liar who is the f-th already, so long nothing else is done now and then: progress is demanded."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """What to do for how long, and to how many."""

    seed: int
    seconds: float
    count: int
    """Nodes, the liar's included."""
    rate: float
    """Transactions a second."""
    mount: bool
    """Whether a small file system may be mounted."""
    liar: bool
    """Whether one validator is Byzantine."""
    floods: bool
    """Whether the ports of the honest nodes are attacked meanwhile."""

    @property
    def spare(self) -> int:
        """How many honest nodes may be faulty while progress is demanded: f, less the liar."""
        return fault_bound(self.count) - self.liar


@dataclass(slots=True)
class Campaign:
    """The state of one campaign; `say` prints a line."""

    settings: Settings
    consortium: ConsortiumFolder
    genesis: Genesis
    nodes: list[NodeProcess]
    wires: Wires
    session: aiohttp.ClientSession
    say: Say
    load: Load = field(default_factory=Load)
    setup: int = 0
    """Transactions that deployed the contract: ok, and counted by no counter."""
    done: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    affected: set[str] = field(default_factory=set)
    failure: str = ""
    began: float = 0.0
    calm_since: float = 0.0
    """When more than f nodes were faulty for the last time."""
    stalls_s: list[float] = field(default_factory=list)
    disk: str = ""
    shown: dict[str, int] = field(default_factory=dict)
    """Certified height of each node, asked once a second."""
    phases: dict[str, str] = field(default_factory=dict)
    """What each node said it was waiting for, asked with its height."""
    uncertified: dict[str, int] = field(default_factory=dict)
    """Heights below it whose certificate each node still asks for."""
    floods: Counter[str] = field(default_factory=Counter)
    """Attacks on ports that were made meanwhile, by name."""
    accused: set[str] = field(default_factory=set)
    """Honest nodes that some honest node holds evidence against."""

    @property
    def spare(self) -> int:
        """How many honest nodes may be faulty while progress is demanded."""
        return self.settings.spare

    @property
    def liar(self) -> NodeProcess | None:
        """The Byzantine node."""
        return next((node for node in self.nodes if node.lies_by is not None), None)

    @property
    def honest(self) -> list[NodeProcess]:
        """The nodes to which promises apply: all but the liar's."""
        return [node for node in self.nodes if node.lies_by is None]

    def is_beyond(self, fault: Fault) -> bool:
        """Tell whether a fault hits more nodes than may fail while progress is demanded."""
        return self.spare == 0 or fault.kind in MORE_THAN_F

    def keys(self) -> dict[str, PrivateKey]:
        """Return the key that signs each organisation's transactions."""
        return {node.name: load_key(node.org.key("admin")) for node in self.nodes}

    def node(self, name: str) -> NodeProcess:
        """Return a node by its name."""
        return next(node for node in self.nodes if node.name == name)

    async def run_faults(self, source: random.Random) -> None:
        """Inflict the plan until the time is over, never more than f nodes at once but for the storms."""
        names = [node.name for node in self.honest]
        small = next((node.name for node in self.honest if node.small_disk), None)
        bound = max(1, self.spare)
        end = self.began + self.settings.seconds
        tasks: set[asyncio.Task[None]] = set()
        acts = Acts(self)
        without, lull_s = (FORGETFUL, LULL_S) if self.spare == 0 else ((), 0.0)
        for fault in plan(names, small, source, without, lull_s):
            await asyncio.sleep(min(fault.gap_s, max(0.0, end - time.monotonic())))
            while self._in_the_way(fault, bound) and time.monotonic() < end and not self.failure:
                await asyncio.sleep(0.05)
            if time.monotonic() >= end or self.failure:
                break
            self.affected |= set(fault.nodes)
            task = asyncio.create_task(acts.inflict(fault))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks, return_exceptions=False)

    def _in_the_way(self, fault: Fault, bound: int) -> bool:
        if self.is_beyond(fault):
            return bool(self.affected)
        if not self.affected.isdisjoint(fault.nodes):
            return True
        faulty = len(self.affected | set(fault.nodes[:1]))
        return faulty > bound

    async def observe(self) -> None:
        """Once a second: memory, heights, and whether the chain moves when it must."""
        loop, ticks = asyncio.get_running_loop(), 0
        while True:
            await asyncio.sleep(1.0)
            ticks += 1
            for node in self.nodes:
                node.sample_memory(time.monotonic() - self.began)
            await asyncio.gather(*[self._ask_height(node) for node in self.honest])
            still = loop.time() - self.load.moved_at if self.load.moved_at else 0.0
            self.stalls_s.append(still)
            if still > STALL_MAX_S and time.monotonic() - self.calm_since > STALL_MAX_S:
                self.failure = self.failure or f"no height certified for {still:.0f} s without a reason"
            self.failure = self.failure or self.load.failure or self._ended()
            if ticks % 10 == 0:
                rss = ", ".join(f"{n.name} {n.rss_mib[-1][1]:.0f}" for n in self.nodes if n.rss_mib)
                self.say(
                    f"height {self.load.height}, {len(self.load.certified)} certified of "
                    f"{self.load.submitted} sent; RSS MiB: {rss}"
                )

    def _ended(self) -> str:
        """Return which node is gone though nobody took it down."""
        gone = [node for node in self.honest if not node.running and node.name not in self.affected]
        return "".join(f"{node.name} ended by itself:\n{node.tail()}\n" for node in gone)

    async def _ask_height(self, node: NodeProcess) -> None:
        if not node.running or node.paused:
            return
        call = {"jsonrpc": "2.0", "id": 1, "method": "getConsensusStatus"}
        try:
            async with self.session.post(
                node.url + "/", json=call, timeout=aiohttp.ClientTimeout(0.8)
            ) as answer:
                said = (await answer.json())["result"]
                self.shown[node.name], self.uncertified[node.name] = said["height"], len(said["uncertified"])
                self.phases[node.name] = said["phase"]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError):
            return

    async def convictions(self) -> None:
        """Note whom the honest nodes hold evidence against: it must never be one of them."""
        honest = {item.public_key.hex() for item in self.genesis.validators if self._is_honest(item.org)}
        for node in self.honest:
            call = {"jsonrpc": "2.0", "id": 1, "method": "getEvidence"}
            async with self.session.post(node.url + "/", json=call) as answer:
                found = (await answer.json())["result"]
            self.outcomes["evidence against the liar"] += any(item["key"] not in honest for item in found)
            self.accused |= {item["accused"] for item in found if item["key"] in honest}

    def _is_honest(self, org: str) -> bool:
        return any(node.name == org for node in self.honest)

    async def statuses(self) -> str:
        """Return what every node says of itself: for a failure's report."""
        lines = []
        call = {"jsonrpc": "2.0", "id": 1, "method": "getNodeInfo"}
        for node in self.nodes:
            try:
                async with self.session.post(
                    node.url + "/", json=call, timeout=aiohttp.ClientTimeout(3)
                ) as answer:
                    info = (await answer.json())["result"]
                keys = ("height", "executed", "view", "primary", "peers", "pool", "phase", "stall")
                lines.append(f"{node.name}: " + ", ".join(f"{key} {info[key]}" for key in keys))
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError):
                lines.append(f"{node.name}: does not answer; log:\n{node.tail(4)}")
        return "\n".join(lines)

    async def calm(self) -> float:
        """End of all faults: every node must certify everything that is under way; return the seconds."""
        self.load.stopping = True
        self.say("calm: all faults are over; waiting for every node to certify one height more")
        await until(lambda: all(node.running for node in self.honest), 10, "every node runs")
        began = time.monotonic()
        await until(lambda: self.load.height > 0, CALM_S, "a first height")
        async with asyncio.timeout(CALM_S):
            while True:
                target = self.load.height
                if (
                    len(self.shown) == len(self.honest)
                    and min(self.shown.values()) >= target
                    and not any(self.uncertified.values())
                ):
                    return time.monotonic() - began
                await asyncio.sleep(0.1)


def create(
    folder: Path, settings: Settings
) -> tuple[ConsortiumFolder, Genesis, list[NodeProcess], dict[str, tuple[int, int]]]:
    """Make a consortium whose genesis names the proxies; return it, its nodes, and the proxies' ports.

    The last node has the small disk, the one before it lies, where there are such.
    """
    names = NAMES[: settings.count]
    consortium = create_consortium(folder / "c", names, names[:3], 0, "torture")
    genesis = load_genesis(consortium.genesis)
    spare = create_consortium(folder / "ports", names, [], 0, "ports")
    spare_ports = [split_address(item.address)[1] for item in load_genesis(spare.genesis).validators]
    nodes = make_nodes(consortium.orgs, genesis, dict(zip(names, spare_ports, strict=True)))
    if settings.mount and mount_small_disk(nodes[-1].data, SMALL_DISK_MIB):
        nodes[-1].small_disk = nodes[-1].data
    if settings.liar:
        nodes[-2].lies_by = settings.seed
    for node in nodes:
        node.descriptors = DESCRIPTORS if settings.floods else None
    proxies = {
        item.org: (split_address(item.address)[1], port)
        for item, port in zip(genesis.validators, spare_ports, strict=True)
    }
    return consortium, genesis, nodes, proxies


async def run(folder: Path, settings: Settings, say: Say) -> dict[str, Any]:
    """Run one campaign in a folder; return its report, whose `broken` is empty when all promises held."""
    consortium, genesis, nodes, proxies = create(folder, settings)
    wires = Wires(
        [node.name for node in nodes],
        lambda port: next((node.name for node in nodes if node.owns_port(port)), None),
    )
    async with aiohttp.ClientSession() as session:
        campaign = Campaign(settings, consortium, genesis, nodes, wires, session, say)
        try:
            for name, (proxy_port, node_port) in proxies.items():
                await wires.open(name, proxy_port, node_port)
            return await _run(campaign)
        finally:
            for node in nodes:
                node.kill()
                if node.small_disk is not None:
                    subprocess.run(["umount", "--lazy", str(node.small_disk)], check=False)
            await wires.close()


async def _run(campaign: Campaign) -> dict[str, Any]:
    await _begin(campaign)
    background, sending = _background(campaign), _load(campaign)
    calm_s = None
    try:
        await campaign.run_faults(random.Random(campaign.settings.seed))
        if not campaign.failure:
            campaign.load.stopping = True
            await asyncio.gather(*sending)
            calm_s = await campaign.calm()
            await campaign.convictions()
    except (TortureFailed, TimeoutError) as error:
        campaign.failure = campaign.failure or str(error) or "no calm: the nodes did not reach one height"
    if campaign.failure:
        campaign.failure += "\n" + await campaign.statuses()
    for task in [*background, *sending]:
        task.cancel()
    results = await asyncio.gather(*background, *sending, return_exceptions=True)
    errors = [repr(item) for item in results if isinstance(item, Exception)]
    return await report(campaign, calm_s, errors)


async def _begin(campaign: Campaign) -> None:
    """Start every node and deploy the contract that counts."""
    nodes = campaign.nodes
    for node in nodes:
        node.spawn()
    if not all(await asyncio.gather(*[node.answers(campaign.session) for node in nodes])):
        raise TortureFailed("a node ended at its first start:\n" + "\n".join(node.tail() for node in nodes))
    liar = "" if campaign.liar is None else f", {campaign.liar.name} lies"
    campaign.say(f"{len(nodes)} nodes run{liar}; deploying the contract {CONTRACT!r}")
    urls = {node.name: node.url for node in campaign.honest}
    campaign.setup = await deploy_contract(urls, campaign.keys(), campaign.genesis.chain_id, CONTRACT, SOURCE)
    campaign.began = campaign.calm_since = time.monotonic()


def _background(campaign: Campaign) -> list[asyncio.Task[None]]:
    """Begin to watch, and to flood."""
    work = [campaign.observe(), *[watch(campaign.load, node) for node in campaign.honest]]
    if campaign.settings.floods:
        work.append(flood(campaign, random.Random(campaign.settings.seed + 2)))
    return [asyncio.create_task(item) for item in work]


def _load(campaign: Campaign) -> list[asyncio.Task[None]]:
    """Begin to send transactions, through honest nodes: what a liar is told may be lost."""
    settings, genesis, load, nodes = campaign.settings, campaign.genesis, campaign.load, campaign.honest
    keys, choices = campaign.keys(), random.Random(settings.seed + 1)
    return [
        asyncio.create_task(send_steadily(load, nodes, keys, genesis.chain_id, settings.rate, choices)),
        asyncio.create_task(prove_some(load, nodes, keys, genesis, choices)),
    ]
