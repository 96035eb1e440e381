"""The client says what a node says, waits when it is busy, and sends nothing twice."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from chain.client import connection
from chain.client.answers import (
    BadAnswer,
    NodeBusy,
    NodeUnreachable,
    NotCertifiedYet,
    RpcError,
    silence_of,
)
from chain.client.client import Client
from chain.ledger.block import transaction_id
from chain.ledger.testing import ToyChain


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_PAUSES_S", (0.0, 0.0, 0.0))


CLOSED, RESET = "the connection is closed", "the connection is reset"


class Scripted:
    """A node that gives one answer after another: (status, text), or a result."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer in (CLOSED, RESET):
            assert request.transport is not None
            if answer == RESET:
                reset_when_closed(request.transport)
            request.transport.abort()
            return web.Response()
        if isinstance(answer, tuple):
            return web.Response(status=answer[0], text=answer[1])
        return web.json_response({"jsonrpc": "2.0", "id": 1, "result": answer})


def reset_when_closed(transport: asyncio.BaseTransport) -> None:
    """Have the closing of a connection reset it."""
    at_once = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)


@asynccontextmanager
async def node(script: Scripted) -> AsyncIterator[Client]:
    app = web.Application()
    app.add_routes([web.post("/", script.answer), web.get("/ws", script.answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with Client(f"http://{host}:{port}") as client:
            yield client
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("status", [408, 429, 503])
async def test_a_busy_node_is_asked_again_and_then_quoted(status: int) -> None:
    script = Scripted((status, "too many bytes of requests at once: wait, or ask another node\n"))
    async with node(script) as client:
        with pytest.raises(NodeBusy, match=f"HTTP {status}: too many bytes of requests at once") as caught:
            await client.head()
    assert isinstance(caught.value, NodeUnreachable)
    assert "char 0" not in str(caught.value)
    assert script.asked == 4


@pytest.mark.parametrize("status", [400, 403, 404, 411, 413, 415, 421, 431, 500, 502])
async def test_what_a_node_refuses_is_quoted_and_not_asked_again(status: int) -> None:
    script = Scripted((status, "a body of 9 bytes, at most 8 (rpc.max_request_bytes)\n"))
    async with node(script) as client:
        with pytest.raises(RpcError, match=f"HTTP {status}: a body of 9 bytes, at most 8") as caught:
            await client.head()
    assert caught.value.reason == f"http_{status}"
    assert script.asked == 1


async def test_a_busy_moment_is_not_noticed() -> None:
    async with node(Scripted((503, "busy"), (429, "busy"), 7)) as client:
        assert await client.head() == 7


@pytest.mark.parametrize("ending", [CLOSED, RESET])
async def test_a_connection_that_a_crowded_node_gives_up_is_opened_again(ending: str) -> None:
    async with node(Scripted(ending, ending, 7)) as client:
        assert await client.head() == 7


@pytest.mark.parametrize("ending", [CLOSED, RESET])
async def test_a_node_that_gives_up_every_connection_is_said_to(ending: str) -> None:
    script = Scripted(ending)
    async with node(script) as client:
        with pytest.raises(NodeBusy, match="closed the connection before it answered"):
            await client.head()
    assert script.asked == 4


async def test_a_node_that_cuts_off_a_long_request_is_busy_and_asked_again() -> None:
    asked = 0

    async def cut_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        reset_when_closed(writer.transport)
        writer.transport.abort()

    server = await asyncio.start_server(cut_off, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}") as client:
            with pytest.raises(NodeBusy, match="closed the connection before it answered"):
                await client.request("sendTransactions", transactions=["00" * 400_000])
    assert asked == 4


def test_whatever_breaks_a_connection_off_is_told_apart_from_a_node_that_is_not_there() -> None:
    cut = aiohttp.ClientOSError(None, "Can not write request body")
    cut.__cause__ = aiohttp.ClientConnectionResetError("Cannot write to closing transport")
    for broken in (
        cut,
        cut.__cause__,
        aiohttp.ServerDisconnectedError(),
        OSError(errno.EPIPE, "Broken pipe"),
    ):
        assert isinstance(silence_of("http://node", broken), NodeBusy)
    for absent in (
        aiohttp.ClientOSError(errno.ECONNREFUSED, "refused"),
        TimeoutError(),
        ValueError("no JSON"),
    ):
        assert not isinstance(silence_of("http://node", absent), NodeBusy)


async def test_a_node_that_does_not_listen_is_not_asked_again() -> None:
    async with Client("http://127.0.0.1:1") as client:
        with pytest.raises(NodeUnreachable, match="check that it runs") as caught:
            await client.head()
    assert not isinstance(caught.value, NodeBusy)


async def test_a_node_that_refuses_the_stream_is_quoted_instead_of_asked_for_ever() -> None:
    async with node(Scripted((421, "Host is not a name of this node"))) as client:
        events = client.follow(from_height=1)
        with pytest.raises(RpcError, match="HTTP 421"):
            await anext(events)


async def test_a_long_page_of_a_proxy_is_cut() -> None:
    async with node(Scripted((502, "<html>" * 10_000))) as client:
        with pytest.raises(RpcError) as caught:
            await client.head()
    assert len(str(caught.value)) < 1_200


@pytest.mark.parametrize("code", ["duplicate", "already_committed"])
async def test_a_transaction_that_a_busy_node_took_is_not_called_refused(code: str) -> None:
    tx = ToyChain().call("put", {"key": 1, "value": 1}).tx
    known = [{"error": {"code": code, "message": "it waits already"}}]
    async with node(Scripted((503, "busy"), known)) as client:
        assert await client.submit(tx) == [transaction_id(tx.body)]
    async with node(Scripted(known)) as client:
        with pytest.raises(RpcError, match="it waits already"):
            await client.submit(tx)


async def test_what_is_no_json_from_a_node_is_named() -> None:
    async with node(Scripted((200, "rubbish"))) as client:
        with pytest.raises(BadAnswer, match=r"getBlockNumber is malformed.*Expecting value"):
            await client.head()


@pytest.mark.parametrize("role", ["not a member", "validator"])
async def test_a_node_that_has_nothing_to_prove_says_why_and_is_refusing_as_any_other(
    role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took 8 s to say "no certificate up to height 0 yet"; whoever tries refusals again does so still."""
    monkeypatch.setattr("chain.client.client.CERTIFY_WAIT_S", 600.0 if role == "not a member" else 0.0)

    class Young(Client):
        async def request(self, rpc_method: str, **_: Any) -> Any:
            if rpc_method == "getNodeInfo":
                return {"role": role, "stall": "no node of this chain has the key"}
            raise RpcError(-32000, "no certificate up to height 0 yet", {"code": "not_certified"})

    with pytest.raises(NotCertifiedYet, match="height 0 yet: no node of this chain has the key") as told:
        await Young("http://node:1").state("orgs", "orgs", "bank")
    assert isinstance(told.value, RpcError)
    assert told.value.reason == told.value.code == "not_certified"
