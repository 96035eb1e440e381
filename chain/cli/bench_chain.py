"""The load behind `assent bench chain`: real processes, signed transactions, certified answers."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from chain.api.client import Account, Client
from chain.cli import processes
from chain.cli.consortium import start_consortium, stop_consortium
from chain.cli.init import create_consortium
from chain.cli.layout import Consortium, OrgFolder
from chain.config import load_node_config
from chain.ledger.block import Transaction, TransactionBody, sign_transaction, transaction_id
from chain.ledger.genesis import load_genesis
from chain.primitives.codec import encode, encode_value
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key

ORGS = ["north", "east", "south", "west"]
CONTRACT = "bench"
BATCH = 100
KEYS = 1_000
STALL_S = 60.0
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
"""


@dataclass(slots=True)
class Load:
    """What was sent when, and what was seen certified when (loop time, s)."""

    outstanding: int
    height: int
    sent_at: dict[str, float] = field(default_factory=dict)
    latency_s: list[float] = field(default_factory=list)
    blocks: int = 0
    first: float = 0.0
    last: float = 0.0
    progress: asyncio.Event = field(default_factory=asyncio.Event)

    def certified(self, height: int, ids: list[str], now: float) -> None:
        """Count the transactions of one certified block."""
        self.height = height
        ours = [tx_id for tx_id in ids if tx_id in self.sent_at]
        self.latency_s.extend(now - self.sent_at.pop(tx_id) for tx_id in ours)
        self.blocks += bool(ours)
        self.last = now
        self.progress.set()

    async def room(self) -> None:
        """Wait until fewer transactions are outstanding than the bound."""
        while len(self.sent_at) >= self.outstanding:
            self.progress.clear()
            async with asyncio.timeout(STALL_S):
                await self.progress.wait()


def measure(transactions: int, outstanding: int) -> dict[str, Any]:
    """Run four validators in a temporary folder, load them, and return the figures."""
    with tempfile.TemporaryDirectory(prefix="assent-bench-") as folder:
        consortium = create_consortium(Path(folder) / "c", ORGS, ORGS[:3], 0, "bench")
        try:
            list(start_consortium(consortium, agents=False))
            return asyncio.run(_measure(consortium, transactions, outstanding))
        except (aiohttp.ClientError, TimeoutError) as error:
            ends = "\n".join(f"{org.name}: {processes.log_tail(org, 'node', 3)}" for org in consortium.orgs)
            raise processes.ProcessError(f"the load broke off ({error or 'no progress'}):\n{ends}") from None
        finally:
            list(stop_consortium(consortium))


async def _measure(consortium: Consortium, transactions: int, outstanding: int) -> dict[str, Any]:
    chain_id = load_genesis(consortium.genesis).chain_id
    admins = {org.name: load_key(org.key("admin")) for org in consortium.orgs}
    urls = {org.name: _url(org) for org in consortium.orgs}
    await deploy_contract(urls, admins, chain_id, CONTRACT, SOURCE)
    async with Client(next(iter(urls.values()))) as client:
        head = await client.head()
    batches = [range(at, min(at + BATCH, transactions)) for at in range(0, transactions, BATCH)]
    load = Load(outstanding, head)
    before = {org.name: _cpu_s(org) for org in consortium.orgs}
    async with aiohttp.ClientSession() as session:
        watcher = asyncio.create_task(_watch(session, urls[ORGS[0]], load, head + 1))
        load.first = asyncio.get_running_loop().time()
        senders = [
            _send(session, urls[name], admins[name], chain_id, batches[i :: len(ORGS)], load)
            for i, name in enumerate(ORGS)
        ]
        await asyncio.gather(*senders)
        load.outstanding = 1
        await load.room()
        watcher.cancel()
    after = {org.name: _cpu_s(org) for org in consortium.orgs}
    cpu = {name: round((after[name] - before[name]) / transactions * 1e6, 1) for name in before}
    return _figures(load, cpu)


def _figures(load: Load, cpu: dict[str, float]) -> dict[str, Any]:
    seconds = load.last - load.first
    cuts = statistics.quantiles(load.latency_s, n=100)
    return {
        "transactions": len(load.latency_s),
        "seconds": round(seconds, 2),
        "per_second": round(len(load.latency_s) / seconds, 1),
        "per_block": round(len(load.latency_s) / max(load.blocks, 1), 1),
        "latency_ms": {"p50": round(cuts[49] * 1e3, 1), "p99": round(cuts[98] * 1e3, 1)},
        "outstanding": load.outstanding,
        "cpu_us_per_tx": cpu,
    }


def _url(org: OrgFolder) -> str:
    return f"http://{load_node_config(org.node_config)[0].rpc.listen}"


def _cpu_s(org: OrgFolder) -> float:
    running = processes.find(org, "node")
    if running is None:
        raise processes.ProcessError(f"{org.name}: the node stopped:\n{processes.log_tail(org, 'node', 5)}")
    spent = running.cpu_times()
    return float(spent.user + spent.system)


async def deploy_contract(
    urls: dict[str, str], admins: dict[str, PrivateKey], chain_id: bytes, contract: str, source: str
) -> None:
    """Propose a contract as the first organisation, approve it as two more, commit it as the last."""
    seq, voted = 0, b""
    for position, name in enumerate(list(urls)[:3]):
        async with Client(urls[name]) as client:
            account = Account(client, admins[name], chain_id)
            if position == 0:
                args = {"name": contract, "source": source, "arguments": {}, "terms": {}}
                await account.send("lifecycle", "propose", args, gas_limit=5_000_000)
                proposal: Any = await client.state("lifecycle", "proposals", f"{contract}/1")
                seq, voted = proposal["seq"], proposal["hash"]
                continue
            await account.send("lifecycle", "approve", {"name": contract, "seq": seq, "hash": voted})
            if position == 2:
                await account.send("lifecycle", "commit", {"name": contract, "seq": seq}, gas_limit=5_000_000)


def _request(key: PrivateKey, chain_id: bytes, numbers: range, head: int) -> tuple[list[str], bytes]:
    """Sign one batch: (ids, request body)."""
    txs = [_transaction(key, chain_id, number, head) for number in numbers]
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "sendTransactions",
        "params": {"transactions": [encode(tx).hex() for tx in txs]},
    }
    return [transaction_id(tx.body).hex() for tx in txs], json.dumps(call).encode()


def _transaction(key: PrivateKey, chain_id: bytes, number: int, head: int) -> Transaction:
    args = {
        "source": f"account-{number % KEYS}",
        "target": f"account-{number * 7 % KEYS + KEYS}",
        "amount": 1,
    }
    body = TransactionBody(
        chain_id, key.public, CONTRACT, "move", encode_value(args), 100_000, os.urandom(16), head + 500
    )
    return sign_transaction(body, key)


async def _send(
    session: aiohttp.ClientSession,
    url: str,
    key: PrivateKey,
    chain_id: bytes,
    batches: list[range],
    load: Load,
) -> None:
    for numbers in batches:
        await load.room()
        ids, body = _request(key, chain_id, numbers, load.height)
        now = asyncio.get_running_loop().time()
        load.sent_at.update(dict.fromkeys(ids, now))
        async with session.post(url + "/", data=body) as response:
            answer = await response.json(content_type=None)
        refused = [item for item in answer.get("result", [answer]) if "error" in item]
        if refused:
            raise processes.ProcessError(f"{url} refused {len(refused)} transactions: {refused[0]['error']}")


async def _watch(session: aiohttp.ClientSession, url: str, load: Load, from_height: int) -> None:
    async with session.ws_connect(url + "/ws", max_msg_size=0) as socket:
        params = {"kind": "blocks", "fromHeight": from_height}
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params})
        async for message in socket:
            update = json.loads(message.data)
            if "method" in update:
                block = update["params"]["result"]
                load.certified(block["height"], block["transactions"], asyncio.get_running_loop().time())
