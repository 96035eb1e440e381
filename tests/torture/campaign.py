"""One campaign: a cluster of real processes under load and faults, then calm, then the verdict."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from chain.cli.bench_chain import deploy_contract
from chain.cli.init import create_consortium
from chain.cli.layout import Consortium
from chain.ledger.genesis import Genesis, load_genesis
from chain.primitives.certificate import fault_bound
from chain.primitives.keyfile import load_key
from chain.primitives.settings import split_address
from tests.torture.faults import Fault, plan
from tests.torture.load import CONTRACT, SOURCE, Load, prove_some, send_steadily, until, watch
from tests.torture.nodes import NodeProcess, make_nodes, mount_small_disk
from tests.torture.report import report
from tests.torture.verdict import TortureFailed
from tests.torture.wires import Wires

NAMES = ["north", "east", "south", "west", "upper", "lower", "inner", "outer", "near", "far"]
SMALL_DISK_MIB = 1_024
STALL_MAX_S = 45.0
"""With at most f nodes faulty for so long, a height must be certified within it."""
CALM_S = 60.0
FULL_DISK_S = 30.0
Say = Callable[[str], None]


@dataclass(slots=True)
class Campaign:
    """The state of one campaign; `say` prints a line."""

    seed: int
    seconds: float
    rate: float
    consortium: Consortium
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

    def node(self, name: str) -> NodeProcess:
        """Return a node by its name."""
        return next(node for node in self.nodes if node.name == name)

    # --- one fault each -----------------------------------------------------------------------

    async def inflict(self, fault: Fault) -> None:
        """Do one fault and undo it; the nodes count as affected until they answer again."""
        self.done[fault.kind] += 1
        acts = {
            "kill": self._kill, "kill all": self._kill, "pause": self._pause, "disconnect": self._cut,
            "split": self._split, "silence": self._silence, "slow": self._slow, "one wire": self._one_wire,
            "full disk": self._full_disk, "truncated log": self._truncated_log,
            "truncated segment": self._truncated_segment,
        }  # fmt: skip
        try:
            await acts[fault.kind](fault)
        except TortureFailed as error:
            self.failure = self.failure or str(error)
        except Exception as error:  # the campaign's own fault: say so, and end
            self.failure = self.failure or f"the fault {fault.kind!r} of the campaign failed: {error!r}"
        finally:
            self.affected -= set(fault.nodes)
            if fault.beyond_f:
                self.calm_since = time.monotonic()

    async def _kill(self, fault: Fault) -> None:
        names = ", ".join(fault.nodes)
        self.say(f"SIGKILL {names}; back in {fault.seconds} s")
        for name in fault.nodes:
            self.node(name).kill()
        await asyncio.sleep(fault.seconds)
        count = len(fault.nodes)
        await asyncio.gather(
            *[self.node(name).start(self.session, fault.kind, count) for name in fault.nodes]
        )
        took = max(self.node(name).starts[-1].answers_s for name in fault.nodes)
        self.say(f"{names}: answers {took:.2f} s after its start")

    async def _pause(self, fault: Fault) -> None:
        node = self.node(fault.nodes[0])
        self.say(f"SIGSTOP {node.name} for {fault.seconds} s")
        node.signal(signal.SIGSTOP)
        await asyncio.sleep(fault.seconds)
        node.signal(signal.SIGCONT)
        self.say(f"SIGCONT {node.name}")

    async def _cut(self, fault: Fault) -> None:
        self.say(f"disconnect {fault.nodes[0]} for {fault.seconds} s")
        await self._hold(self.wires.of(fault.nodes[0]), fault.seconds, cut=True)
        self.say(f"{fault.nodes[0]} may connect again")

    async def _silence(self, fault: Fault) -> None:
        self.say(f"silence {fault.nodes[0]}: its connections stay, nothing passes, for {fault.seconds} s")
        await self._hold(self.wires.of(fault.nodes[0]), fault.seconds, silent=True)
        self.say(f"{fault.nodes[0]} is heard again")

    async def _slow(self, fault: Fault) -> None:
        delay, rate = 0.02 + 0.3 * fault.share, int(20_000 + 200_000 * (1 - fault.share))
        self.say(f"slow {fault.nodes[0]}: {delay * 1000:.0f} ms, {rate // 1000} kB/s, for {fault.seconds} s")
        await self._hold(self.wires.of(fault.nodes[0]), fault.seconds, delay_s=delay, bytes_per_s=rate)
        self.say(f"{fault.nodes[0]} is fast again")

    async def _one_wire(self, fault: Fault) -> None:
        a, b = fault.nodes
        cut = fault.share < 0.5
        self.say(f"{'cut' if cut else 'silence'} the wire {a}–{b} for {fault.seconds} s")
        await self._hold([self.wires.between(a, b)], fault.seconds, cut=cut, silent=not cut)
        self.say(f"the wire {a}–{b} is whole again")

    async def _split(self, fault: Fault) -> None:
        others = [node.name for node in self.nodes if node.name not in fault.nodes]
        self.say(f"split {', '.join(fault.nodes)} | {', '.join(others)} for {fault.seconds} s")
        across = [self.wires.between(a, b) for a in fault.nodes for b in others]
        await self._hold(across, fault.seconds, cut=fault.share < 0.5, silent=fault.share >= 0.5)
        self.say("the halves are joined again")

    async def _hold(self, wires: list[Any], seconds: float, **how: Any) -> None:
        for wire in wires:
            wire.set(**how)
        await asyncio.sleep(seconds)
        for wire in wires:
            wire.set()

    async def _full_disk(self, fault: Fault) -> None:
        node = self.node(fault.nodes[0])
        self.disk = node.fill_disk()
        self.say(f"full disk at {node.name}: {self.disk}")
        code = await node.ends(FULL_DISK_S)
        if code is None:
            node.free_disk()
            raise TortureFailed(f"{node.name}: goes on {FULL_DISK_S:.0f} s after its disk was full")
        self._expect_refusal(node, code, "storage_failed", "free")
        self.say(f"{node.name} stopped: {_last_error(node)}")
        if node.small_disk is not None:
            node.spawn()
            if await node.answers(self.session):
                self.outcomes["full disk: still room to start"] += 1
            else:
                self._expect_refusal(node, await node.ends(10), "storage_failed", "free")
                self.outcomes["full disk: refused to start until there was room"] += 1
            node.kill()
            node.free_disk()
        await node.start(self.session, fault.kind)
        self.say(f"{node.name}: there is room again; answers after {node.starts[-1].answers_s:.2f} s")

    async def _truncated_log(self, fault: Fault) -> None:
        node = self.node(fault.nodes[0])
        await until(lambda: node.newest_log().stat().st_size > 0, CALM_S, f"{node.name} writes")
        node.kill()
        name, lost = node.truncate_log(fault.share)
        self.say(f"SIGKILL {node.name}; {lost} bytes cut from the end of its {name}")
        node.spawn()
        if await node.answers(self.session):
            self.outcomes["truncated log: nothing promised was lost"] += 1
            self.say(f"{node.name} starts: no vote was lost")
            return
        code = await node.ends(10)
        text = node.log.read_text(errors="replace")
        refusal = "votes_damaged" if "votes_damaged" in text else "data_damaged"
        self._expect_refusal(node, code, refusal, "rejoin" if refusal == "votes_damaged" else "remove")
        self.outcomes[f"truncated log: {refusal}, wiped and caught up"] += 1
        await self._wiped(node, fault)

    async def _truncated_segment(self, fault: Fault) -> None:
        node = self.node(fault.nodes[0])
        node.kill()
        name, lost = node.truncate_segment(fault.share)
        self.say(f"SIGKILL {node.name}; {lost} bytes cut from the end of its {name}")
        node.spawn()
        if await node.answers(self.session):
            self.outcomes["truncated segment: no row knew what was cut"] += 1
            self.say(f"{node.name} starts: no row knew what was cut")
            return
        self._expect_refusal(node, await node.ends(10), "data_damaged", "remove")
        self.outcomes["truncated segment: data_damaged, wiped and caught up"] += 1
        await self._wiped(node, fault)

    async def _wiped(self, node: NodeProcess, fault: Fault) -> None:
        """Do what a refusal to start says, and wait until the node is of use again."""
        self.say(f"{node.name} refuses: {_last_error(node)}")
        node.wipe()
        await node.start(self.session, fault.kind)
        target = self.load.height
        self.say(f"{node.name}: wiped as it says; catching up to {target}")
        took = await until(lambda: self._height_of(node) >= target, CALM_S, f"{node.name} catches up")
        # It abstains from heights that it may have voted on: until those are past it counts as faulty.
        self.phases.pop(node.name, None)
        silent = ("", "listening", "behind", "muted")
        await until(lambda: self.phases.get(node.name, "") not in silent, CALM_S, f"{node.name} votes again")
        self.say(f"{node.name} is at {target} again after {took:.1f} s, and votes again")

    def _height_of(self, node: NodeProcess) -> int:
        return self.shown.get(node.name, 0)

    shown: dict[str, int] = field(default_factory=dict)
    """Certified height of each node, asked once a second."""
    phases: dict[str, str] = field(default_factory=dict)
    """What each node said it was waiting for, asked with its height."""
    gaps: dict[str, int] = field(default_factory=dict)
    """Heights below it whose certificate each node still asks for."""

    def _expect_refusal(self, node: NodeProcess, code: int | None, reason: str, remedy: str) -> None:
        text = node.log.read_text(errors="replace")
        if code != 1 or f"[{reason}]" not in text or remedy not in text:
            raise TortureFailed(
                f"{node.name}: exit code {code}, expected 1 and [{reason}] with {remedy!r}:\n{node.tail()}"
            )

    # --- the campaign -------------------------------------------------------------------------

    async def run_faults(self, source: random.Random) -> None:
        """Inflict the plan until the time is over, never more than f nodes at once but for the storms."""
        names = [node.name for node in self.nodes]
        small = next((node.name for node in self.nodes if node.small_disk), None)
        bound = max(1, fault_bound(len(names)))
        end = self.began + self.seconds
        tasks: set[asyncio.Task[None]] = set()
        for fault in plan(names, small, source):
            await asyncio.sleep(fault.gap_s)
            while self._in_the_way(fault, bound) and time.monotonic() < end and not self.failure:
                await asyncio.sleep(0.05)
            if time.monotonic() >= end or self.failure:
                break
            self.affected |= set(fault.nodes)
            task = asyncio.create_task(self.inflict(fault))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks, return_exceptions=False)

    def _in_the_way(self, fault: Fault, bound: int) -> bool:
        if fault.beyond_f:
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
            await asyncio.gather(*[self._ask_height(node) for node in self.nodes])
            still = loop.time() - self.load.moved_at if self.load.moved_at else 0.0
            self.stalls_s.append(still)
            if still > STALL_MAX_S and time.monotonic() - self.calm_since > STALL_MAX_S:
                self.failure = self.failure or f"no height certified for {still:.0f} s without a reason"
            self.failure = self.failure or self.load.failure
            if ticks % 10 == 0:
                rss = ", ".join(f"{n.name} {n.rss_mib[-1][1]:.0f}" for n in self.nodes if n.rss_mib)
                self.say(
                    f"height {self.load.height}, {len(self.load.certified)} certified of "
                    f"{self.load.submitted} sent; RSS MiB: {rss}"
                )

    async def _ask_height(self, node: NodeProcess) -> None:
        if not node.running or node.paused:
            return
        call = {"jsonrpc": "2.0", "id": 1, "method": "getConsensusStatus"}
        try:
            async with self.session.post(
                node.url + "/", json=call, timeout=aiohttp.ClientTimeout(0.8)
            ) as answer:
                said = (await answer.json())["result"]
                self.shown[node.name], self.gaps[node.name] = said["height"], len(said["gaps"])
                self.phases[node.name] = said["phase"]
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError):
            return

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
        await until(lambda: all(node.running for node in self.nodes), 10, "every node runs")
        began = time.monotonic()
        await until(lambda: self.load.height > 0, CALM_S, "a first height")
        async with asyncio.timeout(CALM_S):
            while True:
                target = self.load.height
                if (
                    len(self.shown) == len(self.nodes)
                    and min(self.shown.values()) >= target
                    and not any(self.gaps.values())
                ):
                    return time.monotonic() - began
                await asyncio.sleep(0.1)


def create(folder: Path, count: int, small_disk: bool) -> tuple[Consortium, Genesis, list[NodeProcess], Any]:
    """Make a consortium whose genesis names the proxies; return it, its nodes, and the proxies' ports."""
    names = NAMES[:count]
    consortium = create_consortium(folder / "c", names, names[:3], 0, "torture")
    genesis = load_genesis(consortium.genesis)
    spare = create_consortium(folder / "ports", names, [], 0, "ports")
    spare_ports = [split_address(item.address)[1] for item in load_genesis(spare.genesis).validators]
    nodes = make_nodes(consortium.orgs, genesis, dict(zip(names, spare_ports, strict=True)))
    if small_disk and mount_small_disk(nodes[-1].data, SMALL_DISK_MIB):
        nodes[-1].small_disk = nodes[-1].data
    proxies = {
        item.org: (split_address(item.address)[1], port)
        for item, port in zip(genesis.validators, spare_ports, strict=True)
    }
    return consortium, genesis, nodes, proxies


async def run(
    folder: Path, seed: int, seconds: float, count: int, rate: float, mount: bool, say: Say
) -> dict[str, Any]:
    """Run one campaign in a folder; return its report, whose `broken` is empty when all promises held."""
    consortium, genesis, nodes, proxies = create(folder, count, small_disk=mount)
    wires = Wires(
        [node.name for node in nodes],
        lambda port: next((node.name for node in nodes if node.owns_port(port)), None),
    )
    async with aiohttp.ClientSession() as session:
        campaign = Campaign(seed, seconds, rate, consortium, genesis, nodes, wires, session, say)
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
    nodes, load = campaign.nodes, campaign.load
    source = random.Random(campaign.seed)
    keys = {node.name: load_key(node.org.key("admin")) for node in nodes}
    for node in nodes:
        node.spawn()
    if not all(await asyncio.gather(*[node.answers(campaign.session) for node in nodes])):
        raise TortureFailed("a node ended at its first start:\n" + "\n".join(node.tail() for node in nodes))
    campaign.say(f"{len(nodes)} nodes run; deploying the contract {CONTRACT!r}")
    urls = {node.name: node.url for node in nodes}
    campaign.setup = await deploy_contract(urls, keys, campaign.genesis.chain_id, CONTRACT, SOURCE)
    campaign.began = campaign.calm_since = time.monotonic()
    background: list[Coroutine[Any, Any, None]] = [campaign.observe(), *[watch(load, node) for node in nodes]]
    tasks = [asyncio.create_task(work) for work in background]
    genesis, choices = campaign.genesis, random.Random(campaign.seed + 1)
    sending = [
        asyncio.create_task(send_steadily(load, nodes, keys, genesis.chain_id, campaign.rate, choices)),
        asyncio.create_task(prove_some(load, nodes, keys, genesis, choices)),
    ]
    calm_s = None
    try:
        await campaign.run_faults(source)
        if not campaign.failure:
            load.stopping = True
            await asyncio.gather(*sending)
            calm_s = await campaign.calm()
    except (TortureFailed, TimeoutError) as error:
        campaign.failure = campaign.failure or str(error) or "no calm: the nodes did not reach one height"
    if campaign.failure:
        campaign.failure += "\n" + await campaign.statuses()
    for task in [*tasks, *sending]:
        task.cancel()
    results = await asyncio.gather(*tasks, *sending, return_exceptions=True)
    errors = [repr(item) for item in results if isinstance(item, Exception)]
    return await report(campaign, calm_s, errors)


def _last_error(node: NodeProcess) -> str:
    lines = [line for line in node.tail(30).splitlines() if line.startswith("error [")]
    return lines[-1] if lines else node.tail(1)
