"""The measurement behind `assent bench chain`: four real validators under load, by size of their state."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from chain.api.client import Account, Client
from chain.cli import bench_load, processes
from chain.cli.bench_forge import Forge
from chain.cli.bench_load import BATCH, OPEN_INTERVAL_S, Batch, Load
from chain.cli.bench_profile import Profiler
from chain.cli.consortium import node_url, start_consortium, stop_consortium
from chain.cli.init import create_consortium
from chain.cli.layout import Consortium, OrgFolder
from chain.ledger.genesis import load_genesis
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key
from chain.primitives.values import Value

ORGS = ["north", "east", "south", "west"]
ROUND_MAX = 50_000
"""Transactions signed at once; between two rounds of load nothing is outstanding."""
HALF_ROUND_S = 5.0
"""Signed at once for half load: small blocks use up the heights for which a transaction is valid."""
FILL_KEYS = 500
FILL_CALLS = 40
FILL_GAS = 1_400_000
SOURCE = """\
entries = Map(str, int)
Moved = Event(source=str, target=str, amount=int)


@export
def move(source: str, target: str, amount: int) -> int:
    left = entries.get(source, 0)
    right = entries.get(target, 0)
    require(amount > 0, "BAD_AMOUNT")
    entries[source] = left - amount
    entries[target] = right + amount
    Moved(source=source, target=target, amount=amount)
    return right + amount


@export
def fill(first: int, count: int) -> None:
    for number in range(first, first + count):
        entries[f"account-{number}"] = 1_000
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure on one chain."""

    transactions: int
    """Under full load."""
    outstanding: int
    half_load_s: float
    """How long half the measured rate is kept up afterwards; 0 leaves that out."""
    keys: int
    """State entries that the load moves amounts between; all exist beforehand."""
    profile: bool


def measure(plan: Plan, progress: Callable[[str], None]) -> dict[str, Any]:
    """Fill the state of four validators in a temporary folder, start them, load them; return the figures."""
    with tempfile.TemporaryDirectory(prefix="assent-bench-") as folder:
        consortium = create_consortium(Path(folder) / "c", ORGS, ORGS[:3], 0, "bench")
        progress(f"making a state of {plan.keys} keys")
        _fill(consortium, plan.keys)
        try:
            list(start_consortium(consortium, agents=False))
            return asyncio.run(_Bench(consortium, plan, progress).run())
        except (aiohttp.ClientError, TimeoutError) as error:
            ends = "\n".join(f"{org.name}: {processes.log_tail(org, 'node', 3)}" for org in consortium.orgs)
            raise processes.ProcessError(f"the load broke off ({error or 'no progress'}):\n{ends}") from None
        finally:
            list(stop_consortium(consortium))


def _fill(consortium: Consortium, keys: int) -> None:
    """Make the chain's first heights with the production ledger, once, for all its validators."""
    data = [org.path / "data" for org in consortium.orgs]
    forge = Forge(consortium, data[0])
    forge.deploy(SOURCE)
    calls: list[tuple[str, dict[str, Value]]] = [
        ("fill", {"first": first, "count": min(FILL_KEYS, keys - first)})
        for first in range(0, keys, FILL_KEYS)
    ]
    for at in range(0, len(calls), FILL_CALLS):
        forge.call(calls[at : at + FILL_CALLS], FILL_GAS)
    forge.settle()
    forge.close()
    for copy in data[1:]:
        shutil.copytree(data[0], copy)
    os.sync()  # what was made so far is not written to the disk during the measurement


class _Bench:
    """The phases over one running consortium."""

    def __init__(self, consortium: Consortium, plan: Plan, progress: Callable[[str], None]) -> None:
        self._orgs, self._plan, self._progress = consortium.orgs, plan, progress
        genesis = load_genesis(consortium.genesis)
        self._chain_id, self._window = genesis.chain_id, genesis.limits.validity_window
        self._admins = [load_key(org.key("admin")) for org in consortium.orgs]
        self._urls = [node_url(org) for org in consortium.orgs]
        self._verify_us: list[float] = []
        self._done = 0

    async def run(self) -> dict[str, Any]:
        """Return the figures of every phase."""
        plan = self._plan
        async with aiohttp.ClientSession() as session:
            self._progress(f"full load: {plan.transactions} transactions, {plan.outstanding} outstanding")
            profiler = Profiler(self._orgs[1]) if plan.profile else None
            full = await self._full(session, profiler)
            figures = {"keys": plan.keys, "outstanding": plan.outstanding, "full_load": full}
            if plan.half_load_s:
                rate = full["per_second"] / 2
                self._progress(f"half load: {rate:.0f} transactions a second for {plan.half_load_s:.0f} s")
                figures["half_load"] = {"rate": rate} | await self._half(session, rate)
        figures["verify_loaded_us"] = round(statistics.median(self._verify_us), 2)
        if profiler is not None:
            figures["profile"] = profiler.shares()
        return figures

    async def _full(self, session: aiohttp.ClientSession, profiler: Profiler | None) -> dict[str, Any]:
        plan, load, spent = self._plan, Load(), _Spent(self._orgs)
        seconds = 0.0
        for first in range(0, plan.transactions, ROUND_MAX):
            count = min(ROUND_MAX, plan.transactions - first)
            batches = await self._sign(count, BATCH)
            if profiler is not None:
                profiler.start()
            spent.begin()
            async with self._watched(session, load):
                senders = [
                    bench_load.send_closed(session, url, batches[i :: len(ORGS)], load, plan.outstanding)
                    for i, url in enumerate(self._urls)
                ]
                await asyncio.gather(*senders)
                await load.at_most(0)
            spent.end()
            seconds += load.last - load.first
            if profiler is not None:
                profiler.stop()
        load.first = load.last - seconds
        return load.figures() | spent.per_transaction(plan.transactions)

    async def _half(self, session: aiohttp.ClientSession, rate: float) -> dict[str, Any]:
        size = max(1, round(rate * OPEN_INTERVAL_S))
        load, spent = Load(), _Spent(self._orgs)
        seconds, left = 0.0, self._plan.half_load_s
        while left > 0:
            batches = await self._sign(size * round(min(left, HALF_ROUND_S) / OPEN_INTERVAL_S), size)
            left -= HALF_ROUND_S
            spent.begin()
            async with self._watched(session, load):
                await bench_load.send_open(session, self._urls, batches, load)
                await load.at_most(0)
            spent.end()
            seconds += load.last - load.first
        load.first = load.last - seconds
        return load.figures() | spent.per_transaction(len(load.latency_s))

    def _watched(self, session: aiohttp.ClientSession, load: Load) -> _Watched:
        return _Watched(session, self._urls[0], load, self._verify_us)

    async def _sign(self, count: int, size: int) -> list[Batch]:
        """Return `count` signed transactions in batches, the nodes' admins signing in turns."""
        async with Client(self._urls[0]) as client:
            valid_until = await client.head() + self._window - 1
        calls = list(_moves(self._done, count, self._plan.keys))
        self._done += count
        signed: list[Batch] = []
        for number, first in enumerate(range(0, count, size)):
            key = self._admins[number % len(self._admins)]
            part = calls[first : first + size]
            signed += bench_load.sign_batches(key, self._chain_id, part, valid_until, size)
        return signed


def _moves(first: int, count: int, keys: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield calls that touch the whole state evenly, in no order that a cache could follow."""
    for number in range(first, first + count):
        source = number * 7_919 % keys
        target = (number * 104_729 + 1) % keys
        yield "move", {"source": f"account-{source}", "target": f"account-{target}", "amount": 1}


class _Watched:
    """While inside: certified blocks are counted, and verifications timed beside the load."""

    def __init__(self, session: aiohttp.ClientSession, url: str, load: Load, verify_us: list[float]) -> None:
        self._session, self._url, self._load, self._verify_us = session, url, load, verify_us
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    async def __aenter__(self) -> None:
        async with Client(self._url) as client:
            height = await client.head() + 1
        self._tasks = (
            asyncio.create_task(bench_load.watch(self._session, self._url, self._load, height)),
            asyncio.create_task(bench_load.probe(self._verify_us)),
        )
        self._load.first = asyncio.get_running_loop().time()

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Spent:
    """CPU seconds, user and system, of the nodes and of this process."""

    def __init__(self, orgs: Sequence[OrgFolder]) -> None:
        self._orgs = orgs
        self._seconds = dict.fromkeys([*(org.name for org in orgs), "load"], 0.0)
        self._begun: dict[str, float] = {}

    def begin(self) -> None:
        self._begun = self._now()

    def end(self) -> None:
        for name, seconds in self._now().items():
            self._seconds[name] += seconds - self._begun[name]

    def per_transaction(self, transactions: int) -> dict[str, Any]:
        """Return the nodes' and the load's own microseconds a transaction."""
        cost = {name: round(spent / transactions * 1e6, 1) for name, spent in self._seconds.items()}
        return {"load_us_per_tx": cost.pop("load"), "cpu_us_per_tx": cost}

    def _now(self) -> dict[str, float]:
        return {org.name: _cpu_s(org) for org in self._orgs} | {"load": time.process_time()}


def _cpu_s(org: OrgFolder) -> float:
    running = processes.find(org, "node")
    if running is None:
        raise processes.ProcessError(f"{org.name}: the node stopped:\n{processes.log_tail(org, 'node', 5)}")
    spent = running.cpu_times()
    return float(spent.user + spent.system)


async def deploy_contract(
    urls: dict[str, str], admins: dict[str, PrivateKey], chain_id: bytes, contract: str, source: str
) -> int:
    """Propose a contract as the first organisation, approve it as further ones until enough have, commit it.

    `urls` and `admins` are by organisation; the last that votes commits. Returns how many transactions that
    took; raises ProcessError when the consortium asks for more votes than there are keys.
    """
    named: dict[str, Value] = {"name": contract}
    needed = 1
    for votes, (name, url) in enumerate(urls.items(), 1):
        async with Client(url) as client:
            account = Account(client, admins[name], chain_id)
            if votes == 1:
                args = named | {"source": source, "arguments": {}, "terms": {}}
                await account.send("lifecycle", "propose", args, gas_limit=5_000_000)
                proposal: Any = await client.state("lifecycle", "proposals", f"{contract}/1")
                needed = int(await client.view("lifecycle", "votes_needed", named))
                named["seq"] = proposal["seq"]
                approval = named | {"hash": proposal["hash"]}
            else:
                await account.send("lifecycle", "approve", approval)
            if votes == needed:
                await account.send("lifecycle", "commit", named, gas_limit=5_000_000)
                return votes + 1
    raise processes.ProcessError(
        f"{contract}: {needed} organisations must approve it, keys are here of {len(urls)}"
    )
