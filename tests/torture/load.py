"""The load: signed transactions to random nodes, what every node says it certified, and proofs for some."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from chain.client.answers import RpcError
from chain.client.client import Client
from chain.ledger.block import Transaction, TransactionBody, sign_transaction, transaction_id
from chain.ledger.genesis import Genesis
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import AssentError
from chain.primitives.values import encode_value
from tests.torture.nodes import NodeProcess
from tests.torture.verdict import TortureFailed

CONTRACT = "counter"
KEYS = 64
BATCH = 10
SENT_MAX = 5_000
"""Transactions under way, beyond which the load waits: a standstill must not fill the pools."""
GIVE_UP_S = 120.0
VALID_BLOCKS = 400
SOURCE = """\
entries = Map(str, int)
Added = Event(entry=str, total=int)


@export
def add(entry: str) -> int:
    total = entries.get(entry, 0) + 1
    entries[entry] = total
    Added(entry=entry, total=total)
    return total
"""


@dataclass(slots=True)
class Load:
    """What was sent, and what the nodes showed as certified."""

    sent: dict[str, float] = field(default_factory=dict)
    """id -> loop time; those not yet seen certified."""
    certified: dict[str, int] = field(default_factory=dict)
    """id -> the lowest height whose certified block names it, as some node showed it."""
    proved: dict[str, int] = field(default_factory=dict)
    """id -> height, with a receipt proved to a client against genesis."""
    hashes: dict[int, str] = field(default_factory=dict)
    """height -> header hash, as the first node showed it."""
    submitted: int = 0
    refused: int = 0
    lost: int = 0
    """Sent to a node that died or refused the connection."""
    height: int = 0
    moved_at: float = 0.0
    latency_s: list[float] = field(default_factory=list)
    stopping: bool = False
    failure: str = ""

    def show(self, node: str, block: dict[str, Any], now: float) -> None:
        """Take one certified block that a node shows; two nodes must never differ."""
        height, ident = block["height"], block["hash"]
        first = self.hashes.setdefault(height, ident)
        if first != ident:
            self.failure = f"fork: {node} certified {ident} at height {height}, another node {first}"
        for tx_id in block["transactions"]:
            self.certified[tx_id] = min(height, self.certified.get(tx_id, height))
            at = self.sent.pop(tx_id, None)
            if at is not None:
                self.latency_s.append(now - at)
        if height > self.height:
            self.height, self.moved_at = height, now


def counter_call(key: PrivateKey, chain_id: bytes, number: int, head: int) -> Transaction:
    """Return one signed call that adds to one of KEYS counters."""
    args = encode_value({"entry": f"k{number % KEYS}"})
    body = TransactionBody(
        chain_id, key.public, CONTRACT, "add", args, 100_000, os.urandom(16), head + VALID_BLOCKS
    )
    return sign_transaction(body, key)


async def send_steadily(
    load: Load,
    nodes: list[NodeProcess],
    keys: dict[str, PrivateKey],
    chain_id: bytes,
    rate: float,
    source: random.Random,
) -> None:
    """Send `rate` transactions a second, in small batches, each to a random running node."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    posts: set[asyncio.Task[None]] = set()
    number = 0
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session:
        while not load.stopping:
            due = max(due + BATCH / rate, loop.time() - 1.0)
            await asyncio.sleep(max(0.0, due - loop.time()))
            alive = [node for node in nodes if node.running and not node.paused]
            if number % 1_000 == 0:
                load.sent = {tx_id: at for tx_id, at in load.sent.items() if loop.time() - at < GIVE_UP_S}
            if not alive or len(load.sent) >= SENT_MAX or len(posts) > 50:
                continue
            node = source.choice(alive)
            key = keys[node.name]
            batch = [counter_call(key, chain_id, number + i, load.height) for i in range(BATCH)]
            number += BATCH
            task = asyncio.create_task(_post(session, load, node, batch))
            posts.add(task)
            task.add_done_callback(posts.discard)
        await asyncio.gather(*posts, return_exceptions=True)


async def _post(
    session: aiohttp.ClientSession, load: Load, node: NodeProcess, batch: list[Transaction]
) -> None:
    now = asyncio.get_running_loop().time()
    ids = [transaction_id(tx.body).hex() for tx in batch]
    load.sent.update(dict.fromkeys(ids, now))
    load.submitted += len(ids)
    params = {"transactions": [encode(tx).hex() for tx in batch]}
    call = {"jsonrpc": "2.0", "id": 1, "method": "sendTransactions", "params": params}
    try:
        async with session.post(node.url + "/", json=call) as response:
            answer = await response.json(content_type=None)
        load.refused += sum("error" in item for item in answer.get("result", []))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
        load.lost += len(ids)


async def watch(load: Load, node: NodeProcess) -> None:
    """Follow the certified blocks of one node through its restarts."""
    loop = asyncio.get_running_loop()
    height = 1
    async with aiohttp.ClientSession() as session:
        while not load.failure:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError, TypeError):
                async with session.ws_connect(node.url + "/ws", max_msg_size=0, heartbeat=10) as socket:
                    params = {"kind": "blocks", "fromHeight": height}
                    call = {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params}
                    await socket.send_json(call)
                    async for message in socket:
                        update = json.loads(message.data)
                        if "method" in update:
                            block = update["params"]["result"]
                            load.show(node.name, block, loop.time())
                            height = block["height"] + 1
            await asyncio.sleep(0.2)


async def prove_some(
    load: Load, nodes: list[NodeProcess], keys: dict[str, PrivateKey], genesis: Genesis, source: random.Random
) -> None:
    """One transaction after another as a careful client does: its receipt is proved against genesis."""
    number = 0
    while not load.stopping:
        await asyncio.sleep(0.3)
        alive = [node for node in nodes if node.running and not node.paused]
        if not alive:
            continue
        node = source.choice(alive)
        number += 1
        tx = counter_call(keys[node.name], genesis.chain_id, number, load.height)
        tx_id = transaction_id(tx.body)
        try:
            async with Client(node.url, genesis, timeout_s=8.0) as client:
                await client.submit(tx)
                receipt = await client.wait(tx_id, 8.0)
        except RpcError:
            load.refused += 1
            continue
        except AssentError:
            load.lost += 1
            continue
        if receipt is not None:
            if receipt.status != "ok":
                load.failure = f"receipt of {tx_id.hex()}: {receipt.status} {receipt.code}"
            load.proved[tx_id.hex()] = receipt.height


async def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for a condition; return the seconds it took, raise TortureFailed when it takes too long."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not condition():
        if loop.time() - began > seconds:
            raise TortureFailed(f"{what}: not within {seconds:.0f} s")
        await asyncio.sleep(0.05)
    return loop.time() - began
