"""The RPC port answers every request with a result or a JSON-RPC error, within its bounds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from chain.api.metrics import Metrics
from chain.api.rpc import Method
from chain.api.server import RpcServer
from chain.config import Rpc
from chain.primitives.errors import DecodeError, PortBusy
from chain.primitives.settings import Section

JSON = {"Content-Type": "application/json"}


class Echo(Section):
    text: str
    times: int = 1


async def echo(params: Echo) -> Any:
    if params.text == "declared":
        raise DecodeError("that text is not welcome")
    if params.text == "fault":
        raise ZeroDivisionError
    return params.text * params.times


class Counting:
    """A stream of as many updates as asked for."""

    def __init__(self, count: int) -> None:
        self._count, self._next = count, 0

    @property
    def behind(self) -> bool:
        return self._next < self._count

    def step(self) -> bytes:
        self._next += 1
        return str(self._next - 1).encode()


class Count:
    """Streams that count."""

    def open(self, params: dict[str, Any]) -> Counting:
        return Counting(params["count"])

    def watch(self, wake: asyncio.Event) -> None: ...

    def unwatch(self, wake: asyncio.Event) -> None: ...


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[str]:
    config = Rpc(listen="127.0.0.1:0", **settings)
    server = RpcServer(config, {"echo": Method(Echo, echo)}, Count(), lambda: "", Metrics())
    await server.start()
    try:
        yield f"http://{server.address}"
    finally:
        await server.stop()


async def post(url: str, body: bytes) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + "/", data=body, headers=JSON) as response,
    ):
        return json.loads(await response.read())


def a_call(*params: Any, **named: Any) -> bytes:
    call = {"jsonrpc": "2.0", "id": 7, "method": "echo", "params": named or list(params)}
    return json.dumps(call).encode()


async def test_parameters_may_be_named_or_in_order() -> None:
    async with serving() as url:
        assert (await post(url, a_call("ab", 2)))["result"] == "abab"
        assert (await post(url, a_call(text="ab")))["result"] == "ab"


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (b"{", -32700),
        (b"[" * 5_000, -32700),
        (b"[]", -32600),
        (b"[1]", -32600),
        (b'{"method": "echo"}', -32600),
        (b'{"jsonrpc": "2.0", "method": "nothing"}', -32601),
        (a_call(1), -32602),
        (a_call("a", 1, 2), -32602),
        (a_call(txt="a"), -32602),
        (a_call("declared"), -32000),
    ],
)
async def test_a_bad_request_gets_a_json_rpc_error(body: bytes, number: int) -> None:
    async with serving() as url:
        answer = await post(url, body)
        first = answer[0] if isinstance(answer, list) else answer
        assert first["error"]["code"] == number
        assert (await post(url, a_call("alive")))["result"] == "alive"


async def test_a_declared_error_carries_its_stable_code() -> None:
    async with serving() as url:
        assert (await post(url, a_call("declared")))["error"]["data"] == {"code": "malformed"}


async def test_a_fault_of_ours_is_not_described_to_the_caller(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as url:
        answer = await post(url, a_call("fault"))
    assert answer["error"]["code"] == -32603
    assert "ZeroDivision" not in json.dumps(answer)
    assert "ZeroDivisionError" in caplog.text


async def test_a_request_beyond_the_size_bound_is_refused() -> None:
    async with (
        serving(max_request_bytes=1_024) as url,
        aiohttp.ClientSession() as session,
        session.post(url + "/", data=b"x" * 2_000) as response,
    ):
        assert response.status == 413


async def test_a_subscription_sends_notifications_after_its_number() -> None:
    async with (
        serving() as url,
        aiohttp.ClientSession() as session,
        session.ws_connect(url + "/ws") as socket,
    ):
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": {"count": 3}})
        assert (await socket.receive_json())["result"] == "1"
        got = [(await socket.receive_json())["params"]["result"] for _ in range(3)]
        assert got == [0, 1, 2]
        await socket.send_json(
            {"jsonrpc": "2.0", "id": 2, "method": "unsubscribe", "params": {"subscription": "1"}}
        )
        assert (await socket.receive_json())["result"] is True


async def test_a_port_in_use_is_named_with_the_setting() -> None:
    async with serving() as url:
        second = RpcServer(Rpc(listen=url.removeprefix("http://")), {}, Count(), lambda: "", Metrics())
        with pytest.raises(PortBusy, match=r"rpc\.listen = 127\.0\.0\.1:\d+"):
            await second.start()
        await second.stop()


async def test_health_readiness_and_metrics_are_served() -> None:
    async with serving() as url, aiohttp.ClientSession() as session:
        for path, status in (("/health", 200), ("/ready", 200), ("/metrics", 200), ("/nothing", 404)):
            async with session.get(url + path) as response:
                assert response.status == status
