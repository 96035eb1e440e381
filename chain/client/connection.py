"""Connection to one node: JSON-RPC over HTTP and its stream of events over WebSocket, patient and bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Self

import aiohttp

from chain.client.answers import (
    HTTP_OK,
    NodeBusy,
    OtherChain,
    RpcError,
    checked_url,
    read_answer,
    reading,
    refusal_of,
    result_of,
    silence_of,
    text_of,
)
from chain.ledger.block import EventEntry
from chain.ledger.genesis import Genesis
from chain.primitives.codec import decode

BUSY_PAUSES_S = (0.05, 0.2, 0.8)
"""A busy node is asked again after these."""
STREAM_BYTES_MAX = 67_108_864
"""Bound of one message of a stream of events."""
STREAM_HEARTBEAT_S = 20.0


class Connection:
    """One node, asked over HTTP and WebSocket; an async context manager."""

    def __init__(self, url: str, genesis: Genesis | None = None, *, timeout_s: float = 10.0) -> None:
        """`url` is http://host:port (ConfigError for another); with `genesis` another chain is refused."""
        self._url = checked_url(url)
        self._genesis, self._met = genesis, genesis is None
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def url(self) -> str:
        """The node's address, without a slash at its end."""
        return self._url

    @property
    def met(self) -> bool:
        """Whether the node has shown that it serves the chain of the genesis, if there is one."""
        return self._met

    async def request(self, rpc_method: str, **params: Any) -> Any:
        """Call one RPC method; raise RpcError for a refusal, NodeUnreachable for silence.

        A node that is busy is asked again a few times, then NodeBusy is raised. One of another chain than
        the genesis at hand is asked nothing (OtherChain).
        """
        if not self._met:
            await self._meet()
        return (await self.patiently(rpc_method, params))[0]

    async def _meet(self) -> None:
        """Raise OtherChain where a node of another chain answers: ports are taken by others now and then."""
        if self._genesis is None:
            return
        info = (await self.patiently("getNodeInfo", {}))[0]
        served, ours = text_of(self.url, info, "chainId"), self._genesis.chain_id.hex()
        if served != ours:
            raise OtherChain(
                f"{self.url} serves the chain {text_of(self.url, info, 'chainName')!r} ({served[:16]}), not "
                f"{self._genesis.chain_name!r} ({ours[:16]}) of this genesis; name a node of this chain, or "
                "see what listens there"
            )
        self._met = True

    async def patiently(self, rpc_method: str, params: dict[str, Any]) -> tuple[Any, bool]:
        """Return the answer of one RPC method, and whether the busy node was asked more than once."""
        for tries, pause in enumerate(BUSY_PAUSES_S):
            try:
                return await self._request_once(rpc_method, params), tries > 0
            except NodeBusy:
                await asyncio.sleep(pause)
        return await self._request_once(rpc_method, params), True

    async def _request_once(self, rpc_method: str, params: dict[str, Any]) -> Any:
        if self._session is None:
            raise RuntimeError("a connection is used inside `async with`")
        call = {"jsonrpc": "2.0", "id": 1, "method": rpc_method, "params": params}
        try:
            async with self._session.post(self.url + "/", json=call) as response:
                text = await read_answer(self.url, response)
                if response.status != HTTP_OK:
                    raise refusal_of(self.url, response.status, text)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise silence_of(self.url, error) from None
        with reading(self.url, rpc_method):
            answer = json.loads(text)
        return result_of(self.url, answer)

    async def stream(
        self, chosen: dict[str, str | None], from_height: int
    ) -> AsyncIterator[tuple[int, list[EventEntry]]]:
        """Yield the events of one height, or a part of them, and the height to resume from after them."""
        if self._session is None:
            raise RuntimeError("a connection is used inside `async with`")
        await self._meet()  # each time: another node may listen there by now
        params = {"kind": "events", "fromHeight": from_height, **{k: v for k, v in chosen.items() if v}}
        async with self._session.ws_connect(
            self.url + "/ws",
            heartbeat=STREAM_HEARTBEAT_S,
            max_msg_size=STREAM_BYTES_MAX,
            timeout=aiohttp.ClientWSTimeout(),
        ) as socket:
            await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params})
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    return
                update = json.loads(message.data)
                if "method" in update:
                    block = update["params"]["result"]
                    if "error" in block:
                        fault = block["error"]
                        raise RpcError(-32000, fault["message"], fault)
                    raw = [bytes.fromhex(entry["raw"]) for entry in block["entries"]]
                    following = block["height"] if block.get("more") else block["height"] + 1
                    yield following, [decode(EventEntry, item) for item in raw]
