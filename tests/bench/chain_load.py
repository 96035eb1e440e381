"""The load of `scripts/bench chain`: signed beforehand, sent in batches, timed until certified.

Two ways to send: a *closed* loop keeps a number of transactions outstanding (what is the most?), an *open*
loop sends at a fixed rate and times each transaction from when it was due (how long does it take?).
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from chain.cli.processes import ProcessError
from chain.ledger.block import TransactionBody, sign_transaction, transaction_id
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey, verify
from chain.primitives.values import encode_value
from tests.bench.forge import CONTRACT

BATCH = 100
OPEN_INTERVAL_S = 0.02
STALL_S = 60.0
GAS = 100_000
PROBE_S, PROBE_TIMES = 0.25, 10
"""How often, and how many, signatures are verified beside the load, to know what one costs there."""


@dataclass(frozen=True, slots=True)
class RequestBatch:
    """Transactions of one request."""

    ids: tuple[str, ...]
    body: bytes


@dataclass(slots=True)
class Load:
    """What was sent when, and what was seen certified when (loop time, s)."""

    sent_at: dict[str, float] = field(default_factory=dict)
    latency_s: list[float] = field(default_factory=list)
    blocks: int = 0
    first: float = 0.0
    last: float = 0.0
    progress: asyncio.Event = field(default_factory=asyncio.Event)

    def certified(self, ids: Sequence[str], now: float) -> None:
        """Count the transactions of one certified block."""
        ours = [tx_id for tx_id in ids if tx_id in self.sent_at]
        self.latency_s.extend(now - self.sent_at.pop(tx_id) for tx_id in ours)
        self.blocks += bool(ours)
        self.last = now
        self.progress.set()

    async def at_most(self, outstanding: int) -> None:
        """Wait until no more than this many transactions are outstanding."""
        while len(self.sent_at) > outstanding:
            self.progress.clear()
            async with asyncio.timeout(STALL_S):
                await self.progress.wait()

    def figures(self) -> dict[str, Any]:
        """Return count, seconds, rate, block size and latency."""
        seconds = self.last - self.first
        cuts = statistics.quantiles(self.latency_s, n=100)
        return {
            "transactions": len(self.latency_s),
            "seconds": round(seconds, 2),
            "per_second": round(len(self.latency_s) / seconds, 1),
            "per_block": round(len(self.latency_s) / max(self.blocks, 1), 1),
            "latency_ms": {"p50": round(cuts[49] * 1e3, 1), "p99": round(cuts[98] * 1e3, 1)},
        }


def sign_batches(
    key: PrivateKey, chain_id: bytes, calls: Sequence[tuple[str, dict[str, Any]]], valid_until: int, size: int
) -> Iterator[RequestBatch]:
    """Sign (method, arguments) calls and make requests of `size` transactions."""
    for first in range(0, len(calls), size):
        txs = [
            sign_transaction(
                TransactionBody(
                    chain_id,
                    key.public,
                    CONTRACT,
                    method,
                    encode_value(args),
                    GAS,
                    os.urandom(16),
                    valid_until,
                ),
                key,
            )
            for method, args in calls[first : first + size]
        ]
        request = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "sendTransactions",
            "params": {"transactions": [encode(tx).hex() for tx in txs]},
        }
        ids = tuple([transaction_id(tx.body).hex() for tx in txs])
        yield RequestBatch(ids, json.dumps(request).encode())


async def send_closed(
    session: aiohttp.ClientSession, url: str, batches: Sequence[RequestBatch], load: Load, outstanding: int
) -> None:
    """Send one batch after another, while fewer than `outstanding` transactions are under way."""
    for batch in batches:
        await load.at_most(outstanding - len(batch.ids))
        load.sent_at.update(dict.fromkeys(batch.ids, asyncio.get_running_loop().time()))
        await _post(session, url, batch)


async def send_open(
    session: aiohttp.ClientSession, urls: Sequence[str], batches: Sequence[RequestBatch], load: Load
) -> None:
    """Send a batch every `OPEN_INTERVAL_S` to the next node in turn, whatever the answers are."""
    loop, tasks = asyncio.get_running_loop(), []
    for number, batch in enumerate(batches):
        due = load.first + number * OPEN_INTERVAL_S
        await asyncio.sleep(due - loop.time())
        load.sent_at.update(dict.fromkeys(batch.ids, due))
        tasks.append(asyncio.create_task(_post(session, urls[number % len(urls)], batch)))
    await asyncio.gather(*tasks)


async def _post(session: aiohttp.ClientSession, url: str, batch: RequestBatch) -> None:
    kind = {"Content-Type": "application/json"}
    async with session.post(url + "/", data=batch.body, headers=kind) as response:
        answer = await response.json(content_type=None)
    refused = [item for item in answer.get("result", [answer]) if "error" in item]
    if refused:
        raise ProcessError(f"{url} refused {len(refused)} transactions: {refused[0]['error']}")


async def watch(session: aiohttp.ClientSession, url: str, load: Load, from_height: int) -> None:
    """Tell the load of every certified block, until cancelled."""
    async with session.ws_connect(url + "/ws", max_msg_size=0) as socket:
        params = {"kind": "blocks", "fromHeight": from_height}
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params})
        async for message in socket:
            update = json.loads(message.data)
            if "method" in update:
                block = update["params"]["result"]
                load.certified(block["transactions"], asyncio.get_running_loop().time())


async def probe(spent_us: list[float]) -> None:
    """Note now and then what one verification costs beside the load (CPU time), until cancelled."""
    key = PrivateKey(bytes(32))
    message, signature = bytes(32), key.sign(bytes(32))
    while True:
        await asyncio.sleep(PROBE_S)
        begin = time.thread_time()
        for _ in range(PROBE_TIMES):
            verify(key.public, message, signature)
        spent_us.append((time.thread_time() - begin) / PROBE_TIMES * 1e6)


def share_error(first_s: Sequence[float], last_s: Sequence[float]) -> float:
    """Return the standard error of the mean share that rounds reach of others' throughput.

    The seconds are of rounds of the same size, at least two, each measured beside the other's.
    """
    shares = [first / last for first, last in zip(first_s, last_s, strict=True)]
    return statistics.stdev(shares) / math.sqrt(len(shares))
