"""The RPC port answers every request with a result or a JSON-RPC error."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from chain.api.metrics import Metrics
from chain.api.server import RpcServer
from chain.config import RpcSection
from chain.primitives.errors import PortBusy
from tests.unit.chain.api.rpc_port import JSON, Count, a_call, get, post, serving


async def asked(url: str, body: bytes) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + "/", data=body, headers=JSON) as response,
    ):
        assert response.content_type == "application/json"
        return json.loads(await response.read())


async def test_parameters_may_be_named_or_in_order() -> None:
    async with serving() as port:
        assert (await asked(port.url, a_call("ab", 2)))["result"] == "abab"
        assert (await asked(port.url, a_call(text="ab")))["result"] == "ab"


BAD_IDS = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"true", b"[]", b"{}", b'"' + b"x" * 300 + b'"']


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (b"{", -32700),
        (b"[" * 5_000, -32700),
        (b"[]", -32600),
        (b"[1]", -32600),
        (b'{"method": "echo"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "nothing"}', -32601),
        (a_call(1), -32602),
        (a_call("a", 1, 2), -32602),
        (a_call(txt="a"), -32602),
        (a_call("declared"), -32000),
    ],
)
async def test_a_bad_request_gets_a_json_rpc_error(body: bytes, number: int) -> None:
    async with serving() as port:
        answer = await asked(port.url, body)
        first = answer[0] if isinstance(answer, list) else answer
        assert first["error"]["code"] == number
        assert (await asked(port.url, a_call("alive")))["result"] == "alive"


@pytest.mark.parametrize(
    "body",
    [
        *[b'{"jsonrpc": "2.0", "method": "echo", "params": ["a"], "id": %b}' % ident for ident in BAD_IDS],
        b'{"jsonrpc": "2.0", "method": "echo", "params": ["a"], "params": ["b"]}',
        b'{"jsonrpc": "2.0", "method": "echo", "params": {"text": "a", "text": "b"}}',
        a_call("caf\xe9").decode().encode("utf-16"),
        '{"jsonrpc": "2.0", "method": "echo", "params": ["\xe9"]}'.encode("latin-1"),
        b"\xef\xbb\xbf" + a_call("a"),
    ],
)
async def test_what_is_not_strict_json_in_utf8_is_refused_and_never_sent_back(body: bytes) -> None:
    def no_constant(name: str) -> Any:
        raise AssertionError(f"{name} was sent back")

    async with serving() as port, await port.open() as connection:
        connection.send(post(body))
        error = json.loads((await connection.answer()).body, parse_constant=no_constant)
        assert error["error"]["code"] in (-32700, -32600)
        assert error["id"] is None
        assert port.asked == []


def a_notification(text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "echo", "params": [text]}


async def test_a_notification_is_heeded_and_gets_no_answer_whatever_comes_of_it() -> None:
    """JSON-RPC 2.0, section 4.1: every call without an id was answered with the id null."""
    many = [a_notification("one"), a_notification("two")]
    bodies: list[Any] = [a_notification("heard"), a_notification("declared"), a_notification("fault"), many]
    bodies.append({"jsonrpc": "2.0", "method": "nothing"})
    async with serving() as port, await port.open() as connection:
        for body in bodies:
            connection.send(post(json.dumps(body).encode()))
            answer = await connection.answer()
            assert (answer.status, answer.body, "content-length" in answer.head.lower()) == (204, b"", False)
        assert port.asked == ["heard", "declared", "fault", "one", "two"]
        connection.send(post(json.dumps(a_notification("last")).encode(), "Connection: close"))
        assert (await connection.answer()).status == 204
        assert await connection.closed() == b""


async def test_a_batch_is_answered_but_for_its_notifications() -> None:
    async with serving() as port:
        batch = [a_notification("unheard"), json.loads(a_call("heard")), {"jsonrpc": "2.0"}]
        batch.append({**a_notification("null"), "id": None})
        answers = await asked(port.url, json.dumps(batch).encode())
        told = [(item["id"], item.get("result", item.get("error", {}).get("code"))) for item in answers]
        assert told == [(7, "heard"), (None, -32600), (None, "null")]


async def test_a_notification_over_a_websocket_gets_no_message() -> None:
    async with (
        serving() as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(port.url + "/ws") as ws,
    ):
        await ws.send_json([a_notification("unheard")])
        await ws.send_json(json.loads(a_call("heard")))
        assert (await ws.receive_json())["result"] == "heard"
        assert port.asked == ["unheard", "heard"]


async def test_a_declared_error_carries_its_stable_code() -> None:
    async with serving() as port:
        assert (await asked(port.url, a_call("declared")))["error"]["data"] == {"code": "malformed"}


async def test_a_fault_of_ours_is_not_described_to_the_caller_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as port:
        for _ in range(20):
            answer = await asked(port.url, a_call("fault"))
            assert answer["error"]["code"] == -32603
            assert "ZeroDivision" not in json.dumps(answer)
    assert ["method echo failed" in record.message for record in caplog.records] == [True]
    assert "ZeroDivisionError" in caplog.text


async def test_requests_that_are_sent_ahead_are_answered_in_order() -> None:
    async with serving() as port, await port.open() as connection:
        first, second, third = [post(a_call(text)) for text in ("first", "second", "third")]
        connection.send(first + get("/health") + second + third)
        answers = [await connection.answer() for _ in range(4)]
        assert [item.status for item in answers] == [200] * 4
        assert [json.loads(answers[place].body)["result"] for place in (0, 2, 3)] == [
            "first",
            "second",
            "third",
        ]
        assert json.loads(answers[1].body) == {"status": "alive"}


async def test_a_body_may_come_byte_by_byte_and_after_a_word() -> None:
    async with serving() as port, await port.open() as connection:
        text = post(a_call("slow"), "Expect: 100-continue")
        start = text.index(b"\r\n\r\n") + 4
        connection.send(text[:start])
        assert (await connection.answer()).status == 100
        for place in range(start, len(text)):
            connection.send(text[place : place + 1])
            await connection.writer.drain()
        assert json.loads((await connection.answer()).body)["result"] == "slow"


async def test_the_connection_ends_when_the_client_wants_it() -> None:
    async with serving() as port:
        for request in (
            post(a_call("last"), "Connection: close"),
            post(a_call("last")).replace(b"HTTP/1.1", b"HTTP/1.0"),
            get("/health", "Connection: close"),
        ):
            async with await port.open() as connection:
                connection.send(request)
                assert (await connection.answer()).status == 200
                assert await connection.closed() == b""


async def test_a_subscription_sends_notifications_after_its_number() -> None:
    async with (
        serving() as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(port.url + "/ws") as socket,
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
    async with serving() as port:
        second = RpcServer(RpcSection(listen=port.server.address), {}, Count(), lambda: "", Metrics())
        with pytest.raises(PortBusy, match=r"rpc\.listen = 127\.0\.0\.1:\d+"):
            await second.start()
        await second.stop()


async def test_health_readiness_and_metrics_are_served() -> None:
    async with serving() as port, aiohttp.ClientSession() as session:
        pages = ("/health", "/ready", "/metrics", "/head")
        for path, status in (*((page, 200) for page in pages), ("/nothing", 404)):
            async with session.get(port.url + path) as response:
                assert response.status == status
            async with session.head(port.url + path) as response:
                assert (response.status, await response.read()) == (status, b"")
        async with session.get(port.url + "/metrics") as response:
            assert 'assent_rpc_held{what="connections"} 1.0' in await response.text()


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405),
        (b"POST /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 405),
        (b"\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: +1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\n bad\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nExpect: miracles\r\n\r\n", 417),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000, 431),
        (b"GET /health HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 100 + b"\r\n", 400),
    ],
)
async def test_what_is_no_request_of_ours_is_refused_and_the_connection_ends(
    request_text: bytes, status: int
) -> None:
    async with serving() as port, await port.open() as connection:
        connection.send(request_text)
        assert (await connection.answer()).status == status
        assert await connection.closed() == b""
        assert await port.ask() == "alive"
