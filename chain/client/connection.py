"""Connection to one node: JSON-RPC over HTTP and its stream of events over WebSocket, patient and bounded.

Over TLS the node's certificate is looked at first, and nothing goes to another one. Who asks is said when the
node wants to know: by a token, or by a session that a member's key opens.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any, Self

import aiohttp

from chain.client.access import (
    NodeAccess,
    UnknownNode,
    certificate_of,
    check_private,
    check_token_may_go,
)
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
from chain.primitives.crypto import ZERO_HASH
from chain.primitives.sessionproof import session_digest
from chain.primitives.tls import peer_key

BUSY_PAUSES_S = (0.05, 0.2, 0.8)
"""A busy node is asked again after these."""
STREAM_BYTES_MAX = 67_108_864
"""Bound of one message of a stream of events."""
STREAM_HEARTBEAT_S = 20.0
HTTP_BAD_REQUEST, HTTP_UNAUTHORIZED = 400, 401
PAGE_STATUS = (HTTP_OK, 503)
"""A page says by the second that the node is not ready."""
UNAUTHORIZED = ("unauthorized", f"http_{HTTP_UNAUTHORIZED}")
"""Codes of a node that wants to know who asks."""


class Connection:
    """One node, asked over HTTP and WebSocket; an async context manager."""

    def __init__(
        self,
        url: str,
        genesis: Genesis | None = None,
        *,
        timeout_s: float = 10.0,
        access: NodeAccess | None = None,
    ) -> None:
        """`url` is http(s)://host:port (ConfigError for another); with `genesis` another chain is refused."""
        self._access, self._timeout_s = access or NodeAccess(), timeout_s
        self._certificate = b""
        """What the node shows, in DER; empty before it was looked at, and without TLS."""
        self._bearer = ""
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
        """Ask, and once more when the node wants to know who asks."""
        try:
            return await self._call(rpc_method, params)
        except RpcError as error:
            if error.reason not in UNAUTHORIZED or not await self._introduce():
                raise
        return await self._call(rpc_method, params)

    async def _introduce(self) -> bool:
        """Get something that says who asks, and is not what the node refused; False when there is nothing."""
        before, self._bearer = self._bearer, ""
        token = self._access.bearer()
        if token and token != before:
            check_token_may_go(self.url, self._access)
            self._bearer = token
        elif self._access.key is not None:
            check_private(self.url)
            self._bearer = await self._open_session()
        return bool(self._bearer)

    async def _open_session(self) -> str:
        """Prove the member's key to this very node, by its certificate; return the token of the session."""
        given = await self._call("getChallenge", {})
        with reading(self.url, "getChallenge"):
            node, challenge, served = (
                bytes.fromhex(given[name]) for name in ("node", "challenge", "chainId")
            )
        ours = served if self._genesis is None else self._genesis.chain_id
        if self._certificate and self._access.ca is None:
            node = peer_key(self._certificate)
        shown = sha256(self._certificate).digest() if self._certificate else ZERO_HASH
        assert self._access.key is not None
        key = self._access.key()
        signature = key.sign(session_digest(ours, node, shown, challenge))
        opened = await self._call(
            "openSession",
            {"key": key.public.hex(), "challenge": challenge.hex(), "signature": signature.hex()},
        )
        return text_of(self.url, opened, "token")

    async def _look(self) -> dict[str, Any]:
        """Return the options of a request: the certificate to insist on, and who asks."""
        headers = {"Authorization": f"Bearer {self._bearer}"} if self._bearer else {}
        options: dict[str, Any] = {"headers": headers}
        if not self.url.startswith("https:"):
            return options
        if not self._certificate:
            founders = () if self._genesis is None else self._genesis.validator_keys
            self._certificate = self._access.shown or await certificate_of(
                self.url, self._access, founders, self._timeout_s
            )
        return options | {"ssl": aiohttp.Fingerprint(sha256(self._certificate).digest())}

    async def page(self, path: str) -> dict[str, Any]:
        """Return what the node says at "/health", "/ready" or "/head".

        Raises NodeUnreachable, RpcError for a refusal, ConfigError where a token would go astray.
        """
        if self._session is None:
            raise RuntimeError("a connection is used inside `async with`")
        self._bearer = self._access.bearer()
        if self._bearer:
            check_token_may_go(self.url, self._access)
        try:
            async with self._session.get(self.url + path, **await self._look()) as response:
                text = await read_answer(self.url, response)
                if response.status not in PAGE_STATUS:
                    raise refusal_of(self.url, response.status, text)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise silence_of(self.url, error) from None
        with reading(self.url, path):
            return dict(json.loads(text))

    async def _call(self, rpc_method: str, params: dict[str, Any]) -> Any:
        """Ask; where the node shows another certificate than before, look at that first."""
        if self._session is None:
            raise RuntimeError("a connection is used inside `async with`")
        fresh, options = not self._certificate, await self._look()
        call = {"jsonrpc": "2.0", "id": 1, "method": rpc_method, "params": params}
        try:
            async with self._session.post(self.url + "/", json=call, **options) as response:
                text = await read_answer(self.url, response)
                if response.status != HTTP_OK:
                    raise refusal_of(self.url, response.status, text)
        except aiohttp.ServerFingerprintMismatch:
            if fresh:
                raise UnknownNode(
                    f"{self.url} shows another certificate than its files have: start it anew, or see what "
                    "listens there"
                ) from None
            self._certificate, self._bearer = b"", ""  # a session's secret is for that node alone
            return await self._call(rpc_method, params)
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
        socket = await self._open_socket(self._session)
        try:
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
        finally:
            await socket.close()

    async def _open_socket(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        """Open a WebSocket, and once more when the node wants to know who asks."""

        async def connect() -> aiohttp.ClientWebSocketResponse:
            options = await self._look()
            opened: aiohttp.ClientWebSocketResponse = await session.ws_connect(
                self.url + "/ws",
                heartbeat=STREAM_HEARTBEAT_S,
                max_msg_size=STREAM_BYTES_MAX,
                timeout=aiohttp.ClientWSTimeout(),
                **options,
            )
            return opened

        try:
            return await connect()
        except aiohttp.ClientConnectorSSLError as error:
            raise silence_of(self.url, error) from None
        except aiohttp.WSServerHandshakeError as error:
            if error.status == HTTP_BAD_REQUEST:
                await self.page("/health")  # raises OtherScheme, where that is why
            if error.status != HTTP_UNAUTHORIZED or not await self._introduce():
                raise
        return await connect()
