"""Who must not suffer: a client that sends one transaction after another, and one that asks for /health."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from chain.ledger.block import transaction_id
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from tests.floods.target import FloodsFailed
from tests.torture.load import counter_call

PROBE_MAX_S = 10.0
"""A transaction without a certified receipt by then counts as this long."""
RETRY_S = 0.05
WAIT_MS = 4_000
HEALTH_EVERY_S = 0.25
HEALTH_MAX_S = 5.0
SOCKET_EVERY_S = 1.0
ALREADY = frozenset({"duplicate", "already_committed"})
"""Codes that answer a transaction which an earlier call, whose answer was lost, brought in."""


NO_FIELDS: Mapping[str, str] = {}


def _connector() -> aiohttp.TCPConnector:
    """A connection for each request; whose certificate a port shows is not what is measured."""
    return aiohttp.TCPConnector(force_close=True, ssl=False)


class Honest:
    """A member's client at one node; every request is a connection of its own, as of a command."""

    def __init__(
        self, url: str, key: PrivateKey, chain_id: bytes, height: int, fields: Mapping[str, str] = NO_FIELDS
    ) -> None:
        """`fields` are what its requests have beside the usual header."""
        self._fields = fields
        self._url, self._key, self._chain_id, self._height = url, key, chain_id, height
        self._number = 0
        self.refused = 0
        """Requests that were not answered with a result."""
        self.lost = 0
        """Transactions without a receipt within PROBE_MAX_S."""
        self.last_refusal = ""
        self.taken_ms: list[float] = []
        """Of every probe so far, from the call until the node said that it has the transaction."""

    async def __aenter__(self) -> Honest:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=PROBE_MAX_S), connector=_connector(), headers=self._fields
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def probe(self) -> float:
        """Return the milliseconds from the call to the certified receipt of one transaction."""
        self._number += 1
        tx = counter_call(self._key, self._chain_id, self._number, self._height)
        tx_id, raw = transaction_id(tx.body).hex(), encode(tx).hex()
        began = time.monotonic()
        try:
            async with asyncio.timeout(PROBE_MAX_S):
                await self._send(raw)
                self.taken_ms.append((time.monotonic() - began) * 1000)
                receipt = await self._receipt(tx_id)
        except TimeoutError:
            self.lost += 1
            return PROBE_MAX_S * 1000
        if receipt["status"] != "ok":
            raise FloodsFailed(f"a transaction of the honest client: {receipt['status']} {receipt['code']}")
        self._height = max(self._height, receipt["height"])
        return (time.monotonic() - began) * 1000

    async def _send(self, raw: str) -> None:
        while True:
            answer = await self._call("sendTransaction", transaction=raw)
            code = answer.get("error", {}).get("data", {}).get("code", "")
            if "result" in answer or code in ALREADY:
                return
            await asyncio.sleep(RETRY_S)

    async def _receipt(self, tx_id: str) -> dict[str, Any]:
        while True:
            answer = await self._call("getTransactionReceipt", id=tx_id, waitMs=WAIT_MS)
            if found := answer.get("result"):
                receipt: dict[str, Any] = found
                return receipt
            await asyncio.sleep(RETRY_S)

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        try:
            async with self._session.post(self._url + "/", json=call) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self.refused += 1
            self.last_refusal = f"{method}: {error!r}"[:200]
            return {}
        if "error" in answer:
            self.refused += 1
            self.last_refusal = f"{method}: {answer['error'].get('message', '')}"[:200]
        return answer

    async def probes(self, until: Callable[[int], bool]) -> list[float]:
        """Probe until `until(number of probes so far)` holds; return the milliseconds of each."""
        found: list[float] = []
        while not until(len(found)):
            found.append(await self.probe())
        return found


async def watch_health(url: str, found: list[tuple[float, int]]) -> None:
    """Ask for /health four times a second, on a new connection each; note (milliseconds, status or 0)."""
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=HEALTH_MAX_S), connector=_connector()
    ) as session:
        while True:
            began = time.monotonic()
            status = 0
            try:
                async with session.get(url + "/health") as answer:
                    status = answer.status
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass
            found.append(((time.monotonic() - began) * 1000, status))
            await asyncio.sleep(HEALTH_EVERY_S)


async def watch_sockets(url: str, found: list[bool], fields: Mapping[str, str] = NO_FIELDS) -> None:
    """Open a WebSocket and subscribe, once a second; note whether the node took the subscription."""
    call = {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"kind": "blocks", "fromHeight": 1}}
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=HEALTH_MAX_S), connector=_connector(), headers=fields
    ) as session:
        while True:
            try:
                async with asyncio.timeout(HEALTH_MAX_S), session.ws_connect(url + "/ws") as socket:
                    await socket.send_json(call)
                    found.append("result" in await socket.receive_json())
            except (aiohttp.ClientError, OSError, TimeoutError, TypeError, ValueError):
                found.append(False)
            await asyncio.sleep(SOCKET_EVERY_S)


def cut(values: list[float], share: float) -> float:
    """Return a quantile, 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
