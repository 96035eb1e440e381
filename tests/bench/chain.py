"""The measurement behind `scripts/bench chain`: four real validators under load, by size of their state."""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from chain.cli import processes
from chain.cli.consortium import node_url, start_consortium, stop_consortium
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder, OrgFolder
from chain.client.client import Client
from chain.client.signing import SigningClient
from chain.ledger.genesis import load_genesis
from chain.primitives.keyfile import load_key
from chain.primitives.values import Value
from tests.bench import chain_costs, chain_load
from tests.bench.chain_load import BATCH, OPEN_INTERVAL_S, Load, RequestBatch
from tests.bench.forge import CONTRACT, Forge
from tests.bench.profiler import Profiler

ORGS = ["north", "east", "south", "west"]
ROUND_MAX = 50_000
"""Transactions signed at once, a fifth when consortia take turns; between rounds nothing is outstanding."""
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
    """How long half the measured rate, and then each of `rates`, is kept up afterwards; 0 leaves that out."""
    keys: int
    """State entries that the load moves amounts between; all exist beforehand."""
    profile: bool
    rates: tuple[int, ...] = ()
    """Transactions a second."""
    costs: bool = False
    """Whether disk, memory, idling, start and recovery are measured, too."""


def measure(plans: Sequence[Plan], progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """Fill the state of four validators a plan in temporary folders, start and load them; return the figures.

    Several consortia are loaded in turns, since a machine's own speed changes within minutes.
    """
    with ExitStack() as cleaning:
        consortia = [_started(plan, cleaning, progress) for plan in plans]
        try:
            return asyncio.run(_run([_Bench(*each, progress) for each in zip(consortia, plans, strict=True)]))
        except (aiohttp.ClientError, TimeoutError) as error:
            orgs = [org for consortium in consortia for org in consortium.orgs]
            ends = "\n".join(f"{org.name}: {processes.log_tail(org, 'node', 3)}" for org in orgs)
            raise processes.ProcessError(f"the load broke off ({error or 'no progress'}):\n{ends}") from None


def _started(plan: Plan, cleaning: ExitStack, progress: Callable[[str], None]) -> ConsortiumFolder:
    folder = cleaning.enter_context(tempfile.TemporaryDirectory(prefix="assent-bench-"))
    consortium = create_consortium(Path(folder) / "c", ORGS, ORGS[:3], 0, "bench")
    progress(f"making a state of {plan.keys} keys")
    _fill(consortium, plan.keys)
    cleaning.callback(lambda: list(stop_consortium(consortium)))
    list(start_consortium(consortium, agents=False))
    return consortium


async def _run(benches: Sequence[_Bench]) -> list[dict[str, Any]]:
    size = ROUND_MAX if len(benches) == 1 else ROUND_MAX // 5
    transactions, turns = benches[0].plan.transactions, list(benches)
    rounds = -(-transactions // size)
    async with aiohttp.ClientSession() as session:
        for number in range(rounds):
            for bench in turns:
                await bench.full(session, (transactions + number) // rounds)
            turns.reverse()
        for bench in benches:
            await bench.half(session)
            for rate in bench.plan.rates:
                await bench.at_rate(session, rate)
            await bench.measure_costs()
    return [bench.figures() for bench in benches]


def _fill(consortium: ConsortiumFolder, keys: int) -> None:
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

    def __init__(self, consortium: ConsortiumFolder, plan: Plan, progress: Callable[[str], None]) -> None:
        self.plan = plan
        self._orgs, self._progress = consortium.orgs, progress
        genesis = load_genesis(consortium.genesis)
        self._chain_id, self._window = genesis.chain_id, genesis.limits.validity_window
        self._admins = [load_key(org.key("admin")) for org in consortium.orgs]
        self._urls = [node_url(org) for org in consortium.orgs]
        self._verify_us: list[float] = []
        self._done = 0
        self._full, self._half = _Phase(self._orgs), _Phase(self._orgs)
        self._rates = {rate: _Phase(self._orgs) for rate in plan.rates}
        self._costs: dict[str, Any] = {}
        self._disk = [chain_costs.disk_bytes(org.path / "data") for org in self._orgs]
        self._profiler = Profiler(self._orgs[1]) if plan.profile else None

    def figures(self) -> dict[str, Any]:
        """Return the figures of every phase."""
        plan, half = self.plan, self._half.figures()
        figures = {"keys": plan.keys, "outstanding": plan.outstanding, "full_load": self._full.figures()}
        if half:
            figures["half_load"] = {"rate": self._full.per_second / 2} | half
        figures["rates"] = {str(rate): phase.figures() for rate, phase in self._rates.items()}
        figures["costs"] = self._costs
        figures["verify_loaded_us"] = round(statistics.median(self._verify_us), 2)
        if self._profiler is not None:
            figures["profile"] = self._profiler.shares()
        return figures

    async def full(self, session: aiohttp.ClientSession, count: int) -> None:
        """Send so many transactions with as many outstanding as the plan says."""
        plan = self.plan
        self._progress(f"{plan.keys} keys: full load, {count} transactions, {plan.outstanding} outstanding")
        batches = await self._sign(count, BATCH)
        if self._profiler is not None:
            self._profiler.start()
        async with self._watched(session, self._full) as load:
            senders = [
                chain_load.send_closed(session, url, batches[i :: len(ORGS)], load, plan.outstanding)
                for i, url in enumerate(self._urls)
            ]
            await asyncio.gather(*senders)
            await load.at_most(0)
        if self._profiler is not None:
            self._profiler.stop()

    async def half(self, session: aiohttp.ClientSession) -> None:
        """Send at half the rate that full load had, for as long as the plan says."""
        await self._open(session, "half load", self._full.per_second / 2, self._half)

    async def at_rate(self, session: aiohttp.ClientSession, rate: int) -> None:
        """Send at one of the plan's rates, for as long as the plan says."""
        await self._open(session, "steady load", rate, self._rates[rate])

    async def _open(self, session: aiohttp.ClientSession, what: str, rate: float, phase: _Phase) -> None:
        left, size = self.plan.half_load_s, max(1, round(rate * OPEN_INTERVAL_S))
        if left:
            self._progress(f"{self.plan.keys} keys: {what}, {rate:.0f} transactions a second, {left:.0f} s")
        while left > 0:
            batches = await self._sign(size * round(min(left, HALF_ROUND_S) / OPEN_INTERVAL_S), size)
            left -= HALF_ROUND_S
            async with self._watched(session, phase) as load:
                await chain_load.send_open(session, self._urls, batches, load)
                await load.at_most(0)

    async def measure_costs(self) -> None:
        """Measure what a validator costs besides its work on transactions."""
        if not self.plan.costs:
            return
        self._progress(f"{self.plan.keys} keys: disk, memory, idling, start, death of the primary")
        orgs = self._orgs
        grown = sum(chain_costs.disk_bytes(org.path / "data") for org in orgs) - sum(self._disk)
        memory, mapped = max(map(chain_costs.resident_mib, orgs))
        idle = await chain_costs.idle_share(orgs)
        started = await asyncio.to_thread(chain_costs.start_s, orgs[-1])
        recovered = await chain_costs.recovery_s(orgs, self._certify)
        self._costs = {
            "disk_bytes_per_tx": round(grown / len(orgs) / self._done),
            "resident_mib": round(memory, 1),
            "mapped_mib": round(mapped, 1),
            "idle_cpu_share": round(idle, 4),
            "start_s": round(started, 2),
            "recovery_s": round(recovered, 2),
        }

    async def _certify(self, org: OrgFolder) -> None:
        async with Client(node_url(org)) as client:
            account = SigningClient(client, self._admins[self._orgs.index(org)], self._chain_id)
            _, call = next(_moves(self._done, 1, self.plan.keys))
            self._done += 1
            await account.send(CONTRACT, "move", call, timeout_s=chain_load.STALL_S)

    def _watched(self, session: aiohttp.ClientSession, phase: _Phase) -> _Watched:
        return _Watched(session, self._urls[0], phase, self._verify_us)

    async def _sign(self, count: int, size: int) -> list[RequestBatch]:
        """Return `count` signed transactions in batches, the nodes' admins signing in turns."""
        async with Client(self._urls[0]) as client:
            valid_until = await client.head() + self._window - 1
        calls = list(_moves(self._done, count, self.plan.keys))
        self._done += count
        signed: list[RequestBatch] = []
        for number, first in enumerate(range(0, count, size)):
            key = self._admins[number % len(self._admins)]
            part = calls[first : first + size]
            signed += chain_load.sign_batches(key, self._chain_id, part, valid_until, size)
        return signed


def _moves(first: int, count: int, keys: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield calls that touch the whole state evenly, in no order that a cache could follow."""
    for number in range(first, first + count):
        source = number * 7_919 % keys
        target = (number * 104_729 + 1) % keys
        yield "move", {"source": f"account-{source}", "target": f"account-{target}", "amount": 1}


class _Watched:
    """While inside: certified blocks are counted, verifications timed beside the load, CPU time added up."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, phase: _Phase, verify_us: list[float]
    ) -> None:
        self._session, self._url, self._phase, self._verify_us = session, url, phase, verify_us
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    async def __aenter__(self) -> Load:
        async with Client(self._url) as client:
            height = await client.head() + 1
        load = self._phase.load
        self._tasks = (
            asyncio.create_task(chain_load.watch(self._session, self._url, load, height)),
            asyncio.create_task(chain_load.probe(self._verify_us)),
        )
        self._phase.begin()
        return load

    async def __aexit__(self, *_: object) -> None:
        self._phase.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class _Phase:
    """The load of one kind that a consortium had, in one or several rounds."""

    def __init__(self, orgs: Sequence[OrgFolder]) -> None:
        self.load, self._spent = Load(), _Spent(orgs)
        self._seconds: list[float] = []
        """How long each round took."""

    @property
    def per_second(self) -> float:
        """Transactions certified a second while there was load."""
        return float(self.figures()["per_second"])

    def begin(self) -> None:
        """Begin a round."""
        self._spent.begin()
        self.load.first = asyncio.get_running_loop().time()

    def end(self) -> None:
        """End a round, in which nothing is outstanding any more."""
        self._spent.end()
        self._seconds.append(self.load.last - self.load.first)

    def figures(self) -> dict[str, Any]:
        """Return the figures of all rounds, empty when there was none."""
        if not self._seconds:
            return {}
        self.load.first = self.load.last - sum(self._seconds)
        rounds = {"round_s": [round(seconds, 3) for seconds in self._seconds]}
        return self.load.figures() | self._spent.per_transaction(len(self.load.latency_s)) | rounds


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
        return {org.name: chain_costs.cpu_s(org) for org in self._orgs} | {"load": time.process_time()}
