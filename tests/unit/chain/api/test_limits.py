"""What strangers do to the RPC port costs others no more than a wait: all is bounded, newcomers get in."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from typing import Any

import aiohttp
import pytest

from chain.api.framing import CALLS_PER_REQUEST_MAX
from chain.api.gate import PIECE_BYTES, WRITE_BUFFER_BYTES, Gate
from chain.api.sockets import SUBSCRIPTIONS_PER_SOCKET_MAX
from tests.unit.chain.api.rpc_port import Connection, Port, a_call, get, head, post, serving

SMALL = {"max_request_bytes": 65_536, "max_connections": 16}
PER_CLIENT = 12
"""Connections of one address, of 16."""


async def opened(port: Port, count: int, data: bytes = b"") -> list[Connection]:
    """Open connections that send something and then nothing."""
    made = [await port.open() for _ in range(count)]
    for connection in made:
        connection.send(data)
    return made


async def any_closed(connections: list[Connection]) -> None:
    """Wait until the port has closed one of them without a word."""
    waiting = [asyncio.ensure_future(connection.closed()) for connection in connections]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert done.pop().result() == b""
    finally:
        for task in waiting:
            task.cancel()


def states(port: Port) -> list[str]:
    return sorted(gate._state.name for gate in port.server.door.gates)


# --- bodies ---------------------------------------------------------------------------------------


async def test_what_bodies_claim_to_be_costs_nothing() -> None:
    async with serving(**SMALL) as port:
        silent = await opened(port, PER_CLIENT - 1, head(65_536))
        await port.until(lambda: states(port).count("BODY") == len(silent))
        assert port.held("body_bytes") < 200 * PER_CLIENT
        assert await port.ask() == "alive"
        assert port.dropped("rpc_bodies") == 0


async def test_the_oldest_unfinished_body_makes_room_for_a_newer_one() -> None:
    """On one machine everybody has one address: who sends now goes before who holds what he sent."""
    async with serving(**SMALL) as port:
        stalled = [await port.open() for _ in range(5)]
        for number, connection in enumerate(stalled):
            connection.send(head(65_536) + b" " * 65_000)
            least = min(number + 1, 4) * 65_000
            await port.until(lambda least=least: port.held("body_bytes") > least)  # type: ignore[misc]
        refused = await stalled[0].answer()
        assert (refused.status, "newer ones" in refused.text) == (503, True)
        assert await port.ask("x" * 60_000) == "x" * 60_000
        assert port.dropped("rpc_bodies") >= 2
        for connection in stalled:
            connection.abort()
        await port.until(lambda: port.held("body_bytes") == 0)


async def test_a_body_that_stalls_is_given_up_in_time_with_what_is_expected() -> None:
    async with serving(least_bytes_per_second=1_000, transfer_timeout_ms=60_000) as port:
        (slow,) = await opened(port, 1, head(50_000) + b" " * 10_000)
        await port.until(lambda: states(port) == ["BODY"])
        port.pass_time(14.0)  # five seconds of grace, and ten for ten thousand bytes
        slow.send(b" ")
        await port.until(lambda: port.held("body_bytes") == len(head(50_000)) + 10_001)
        port.pass_time(2.0)
        refused = await slow.answer()
        assert (refused.status, "1000 bytes a second" in refused.text) == (408, True)
        assert await slow.closed() == b""


async def test_a_body_that_drips_in_at_the_least_rate_still_ends_in_time() -> None:
    async with serving(least_bytes_per_second=1, transfer_timeout_ms=60_000) as port:
        (slow,) = await opened(port, 1, head(50_000))
        await port.until(lambda: states(port) == ["BODY"])
        for number in range(6):
            slow.send(b" " * 100)
            arrived = len(head(50_000)) + 100 * (number + 1)
            await port.until(lambda most=arrived: port.held("body_bytes") == most)  # type: ignore[misc]
            port.pass_time(10.0)
        assert (await slow.answer()).status == 408


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "GZIP, identity"])
async def test_a_compressed_body_is_refused_before_it_is_read(coding: str) -> None:
    bomb = gzip.compress(b" " * 60_000)
    async with serving(**SMALL) as port, await port.open() as connection:
        connection.send(head(len(bomb), f"Content-Encoding: {coding}") + bomb)
        refused = await connection.answer()
        assert (refused.status, "uncompressed" in refused.text) == (415, True)
        assert port.held("body_bytes") == 0


async def test_a_body_beyond_the_bound_is_refused_and_the_client_reads_why() -> None:
    async with (
        serving(max_request_bytes=65_536) as port,
        aiohttp.ClientSession() as session,
        session.post(port.url, json={"x": "y" * 1_000_000}) as response,
    ):
        assert response.status == 413
        assert "at most 65536 (rpc.max_request_bytes)" in await response.text()


async def test_what_becomes_large_when_it_is_parsed_is_refused_before() -> None:
    async with serving(max_request_bytes=1_048_576) as port, await port.open() as connection:
        connection.send(post(b"[" + b",".join([b"[]"] * 20_000) + b"]"))
        error = json.loads((await connection.answer()).body)["error"]
        assert error["data"] == {"code": "limit"}
        assert "bytes of memory when read, at most 524288" in error["message"]


# --- heads and connections ------------------------------------------------------------------------


async def test_a_connection_that_sends_nothing_or_half_a_head_is_closed_in_time() -> None:
    async with serving(header_timeout_ms=10_000) as port:
        silent, half = [(await opened(port, 1, data))[0] for data in (b"", b"POST / HTTP/1.1\r\nHost: ")]
        await port.until(lambda: states(port) == ["FRESH", "HEAD"])
        port.pass_time(9.0)
        half.send(b"x")
        port.pass_time(1.5)
        assert await silent.closed() == b""
        assert b" 408 " in (await half.closed())


async def test_an_idle_connection_is_closed_in_time() -> None:
    async with serving(idle_timeout_ms=60_000) as port, await port.open() as connection:
        connection.send(post(a_call("alive")))
        assert (await connection.answer()).status == 200
        port.pass_time(59.0)
        connection.send(post(a_call("alive")))
        assert (await connection.answer()).status == 200
        port.pass_time(61.0)
        assert await connection.closed() == b""


@pytest.mark.parametrize("data", [b"", b"POST / HTTP/1.1\r\n", head(60_000), get("/health")])
async def test_ten_times_the_connections_keep_nobody_out(data: bytes) -> None:
    """Silent, half a head, no body, idle: the oldest are closed, and probes are answered as ever."""
    async with serving(**SMALL) as port:
        crowd = await opened(port, 10 * PER_CLIENT, data)
        await port.until(lambda: port.turned_away() >= 9 * PER_CLIENT)
        await port.until(lambda: len(port.server.door.gates) <= PER_CLIENT)
        assert await port.ask() == "alive"
        for path in ("/health", "/ready", "/metrics"):
            async with await port.open() as probe:
                probe.send(get(path))
                assert (await probe.answer()).status == 200
        if data:
            await crowd[0].closed()
        else:  # in which order the kernel hands over who says nothing is its own affair
            await any_closed(crowd)


async def test_who_never_sent_a_byte_goes_before_who_works_and_before_who_is_idle() -> None:
    async with serving(max_connections=64) as port, await port.open() as known, await port.open() as busy:
        known.send(post(a_call("known")))
        assert (await known.answer()).status == 200
        busy.send(post(a_call(method="hang")))
        await port.until(lambda: port.hanging == 1)
        await opened(port, 200)
        await port.until(lambda: port.turned_away() >= 130)
        known.send(post(a_call("known")))
        assert (await known.answer()).status == 200
        port.release.set()
        assert json.loads((await busy.answer()).body)["result"] == "released"


async def test_calls_that_hang_on_every_connection_keep_neither_probes_nor_newcomers_out() -> None:
    async with serving(**SMALL) as port:
        hanging = []
        for number in range(PER_CLIENT):
            hanging += await opened(port, 1, post(a_call(method="hang")))
            await port.until(lambda most=number + 1: port.hanging == most)  # type: ignore[misc]
        assert await port.ask() == "alive"
        async with await port.open() as probe:
            probe.send(get("/health"))
            assert (await probe.answer()).status == 200
        refused = await hanging[0].answer()
        assert (refused.status, "try again" in refused.text) == (503, True)
        for connection in hanging:
            connection.abort()
        await port.until(lambda: port.hanging == 0)  # who left is not waited for


# --- answers --------------------------------------------------------------------------------------


def batch(*calls: bytes) -> bytes:
    return b"[" + b",".join(calls) + b"]"


async def test_beyond_the_bytes_of_an_answer_the_rest_of_a_batch_is_not_begun() -> None:
    async with serving(max_answer_bytes=65_536) as port, await port.open() as connection:
        connection.send(post(batch(*[a_call("x" * 100, 100)] * 20)))
        answers = json.loads((await connection.answer()).body)
        assert len(answers) == 20
        served = [item for item in answers if "result" in item]
        assert 5 <= len(served) == len(port.asked) - 1 < 7
        for item in answers[len(served) :]:
            assert item["error"]["data"] == {"code": "answer_too_large"}
            assert "rpc.max_answer_bytes" in item["error"]["message"]


async def test_one_answer_beyond_the_bytes_is_an_error_that_names_the_setting() -> None:
    async with serving(max_answer_bytes=65_536) as port, await port.open() as connection:
        connection.send(post(a_call("x" * 100, 1_000)))
        error = json.loads((await connection.answer()).body)["error"]
        assert error["data"] == {"code": "answer_too_large"}


class SlowReader:
    """A client that asks for much and reads nothing."""

    def __init__(self, port: Port) -> None:
        host, number = port.server.address.split(":")
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._socket.setblocking(False)
        self._address = (host, int(number))

    async def ask(self, *requests: bytes) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self._socket, self._address)
        await loop.sock_sendall(self._socket, b"".join(requests))

    def close(self) -> None:
        self._socket.close()


LARGE = {"max_request_bytes": 1_048_576, "max_answer_bytes": 8_388_608}
LARGE_ANSWER = post(batch(*[a_call("x" * 20_000, 50)] * 7))
"""Seven megabytes: more than the kernel takes for us."""


async def test_who_does_not_read_his_answer_is_closed_in_time_and_his_memory_is_free() -> None:
    async with serving(**LARGE, transfer_timeout_ms=60_000) as port:
        slow = SlowReader(port)
        await slow.ask(LARGE_ANSWER)
        await port.until(lambda: states(port) == ["WRITING"])
        assert port.held("answer_bytes") > 6_000_000
        port.pass_time(59.0)
        assert states(port) == ["WRITING"]
        port.pass_time(2.0)
        await port.until(lambda: not port.server.door.gates)
        assert (port.held("answer_bytes"), port.dropped("rpc_slow_readers")) == (0, 1)
        slow.close()


async def test_of_an_answer_that_nobody_reads_a_transport_holds_no_more_than_a_piece() -> None:
    """A transport of TLS would keep it in the clear, enciphered, and in what it hands on."""
    async with serving(**LARGE, transfer_timeout_ms=60_000) as port:
        slow = SlowReader(port)
        await slow.ask(LARGE_ANSWER)
        await port.until(lambda: states(port) == ["WRITING"])
        (gate,) = port.server.door.gates
        assert gate._transport.get_write_buffer_size() <= PIECE_BYTES + WRITE_BUFFER_BYTES
        slow.close()


async def test_the_oldest_unread_answer_makes_room_for_a_newer_one() -> None:
    """Answers of one address are bounded, and who reads is served however many do not."""
    async with serving(**LARGE) as port:
        slow = [SlowReader(port) for _ in range(6)]
        for reader in slow:
            await reader.ask(LARGE_ANSWER)
        await port.until(lambda: port.dropped("rpc_answers") >= 3)
        assert port.held("answer_bytes") <= 3 * 8_388_608
        async with await port.open() as connection:
            connection.send(LARGE_ANSWER)
            assert len((await connection.answer()).body) > 6_000_000
        for reader in slow:
            reader.close()


async def test_others_are_answered_between_the_calls_of_a_batch() -> None:
    async with serving() as port, await port.open() as large, await port.open() as small:
        large.send(post(batch(*[a_call("large", 5_000)] * CALLS_PER_REQUEST_MAX)))
        await port.until(lambda: len(port.asked) > 1)
        small.send(post(a_call("small")))
        assert json.loads((await small.answer()).body)["result"] == "small"
        assert port.asked.index("small") < CALLS_PER_REQUEST_MAX
        assert len(json.loads((await large.answer()).body)) == CALLS_PER_REQUEST_MAX


async def test_a_batch_that_waits_gives_up_its_calls_for_the_bodies_of_others() -> None:
    async with serving(**SMALL) as port:
        waiting = await opened(port, 3, post(batch(a_call(method="hang"), a_call("x" * 60_000))))
        await port.until(lambda: port.hanging == 3)
        assert port.held("body_bytes") > 180_000
        await opened(port, 3, head(65_536) + b" " * 65_000)
        await port.until(lambda: port.dropped("rpc_bodies") >= 1)
        assert await port.ask("y" * 60_000) == "y" * 60_000
        port.release.set()
        answers = [json.loads((await connection.answer()).body) for connection in waiting]
        assert [item[0]["result"] for item in answers] == ["released"] * 3
        busy = [item[1]["error"]["data"]["code"] for item in answers if "error" in item[1]]
        assert set(busy) <= {"busy"}


async def test_a_request_is_answered_within_its_time_however_many_calls_it_has() -> None:
    async with serving(request_timeout_ms=200) as port, await port.open() as connection:
        connection.send(post(batch(*[a_call(method="hang")] * 40)))
        answers = json.loads((await connection.answer()).body)
        assert [item["error"]["data"]["code"] for item in answers] == ["timeout"] * 40


# --- WebSockets -----------------------------------------------------------------------------------


def subscribe(**params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "subscribe", "params": params}


async def test_a_newcomer_gets_a_socket_and_one_without_subscriptions_goes_first() -> None:
    """Of 32 connections four may be WebSockets of one address."""
    async with serving(max_connections=32) as port, aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(port.url + "/ws") for _ in range(4)]
        for place in (0, 1, 3):
            await sockets[place].send_json(subscribe(count=0))
            assert (await sockets[place].receive_json())["result"] == "1"
        newcomer = await session.ws_connect(port.url + "/ws")
        await newcomer.send_json(subscribe(count=1))
        assert (await newcomer.receive_json())["result"] == "1"
        assert (await newcomer.receive_json())["params"]["result"] == 0
        assert (await sockets[2].receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert port.held("sockets") == 4
        last = await session.ws_connect(port.url + "/ws")
        assert (await sockets[0].receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        for item in (*sockets, newcomer, last):
            await item.close()


async def test_subscriptions_of_a_socket_are_bounded() -> None:
    async with (
        serving() as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(port.url + "/ws") as socket_,
    ):
        for _ in range(SUBSCRIPTIONS_PER_SOCKET_MAX):
            await socket_.send_json(subscribe(count=0))
            assert "result" in await socket_.receive_json()
        await socket_.send_json(subscribe(count=0))
        assert (await socket_.receive_json())["error"]["data"] == {"code": "limit"}


async def test_a_socket_that_does_not_read_its_notifications_is_closed_in_time() -> None:
    async with serving(transfer_timeout_ms=60_000) as port:
        slow = SlowReader(port)
        text = json.dumps(subscribe(count=1_000, size=100_000)).encode()
        frame = b"\x81" + bytes([0x80 | len(text)]) + bytes(4) + text
        await slow.ask(
            get(
                "/ws",
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            ),
            frame,
        )
        await port.until(lambda: any(_is_stuck(gate) for gate in port.server.door.gates))
        assert 100_000 <= port.held("answer_bytes") < 300_000
        port.pass_time(61.0)
        await port.until(lambda: not port.server.door.gates)
        assert (port.held("answer_bytes"), port.dropped("rpc_slow_readers")) == (0, 1)
        slow.close()


def _is_stuck(gate: Gate) -> bool:
    return gate._writing_paused


async def test_websockets_are_not_compressed() -> None:
    async with (
        serving() as port,
        aiohttp.ClientSession() as session,
        session.ws_connect(port.url + "/ws", compress=15) as socket_,
    ):
        assert socket_.compress == 0


# --- who may ask ----------------------------------------------------------------------------------

OWN = [
    "127.0.0.1",
    "127.0.0.1:8545",
    "localhost",
    "LOCALHOST:1",
    "[::1]:8545",
    "10.1.2.3",
    "node.bank.example.",
]
FOREIGN = [
    "evil.example",
    "evil.example:8545",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "",
    "a b",
    "a/b",
]


@pytest.mark.parametrize("host", [*OWN, *FOREIGN])
async def test_the_host_must_be_an_address_or_a_name_of_this_node(host: str) -> None:
    """A page whose own name was made to point here asks by that name."""
    async with serving(hosts=["node.bank.example"]) as port:
        for request in (post(a_call("alive"), host=host), get("/metrics", host=host)):
            async with await port.open() as connection:
                connection.send(request)
                answer = await connection.answer()
                if host in OWN:
                    assert answer.status == 200
                else:
                    assert answer.status in (400, 421)
                    assert answer.status == 400 or "rpc.hosts" in answer.text
        assert port.asked == (["alive"] if host in OWN else [])


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"])
async def test_pages_of_elsewhere_reach_neither_calls_nor_sockets(origin: str) -> None:
    async with serving() as port, aiohttp.ClientSession(headers={"Origin": origin}) as session:
        async with session.post(port.url, json=json.loads(a_call("alive"))) as response:
            assert (response.status, "Origin" in await response.text()) == (403, True)
        async with session.get(port.url + "/metrics") as response:
            assert response.status == 403
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(port.url + "/ws")
        assert caught.value.status == 403
        assert port.asked == []


@pytest.mark.parametrize("name", ["Origin", "authorization"])
async def test_a_field_that_lets_one_in_stands_once(name: str) -> None:
    """The first of two was believed: what stands before a node may go by the other."""
    async with serving() as port:
        for again in (name, name.upper()):
            connection = await port.open()
            own = f"http://{port.server.address}"
            connection.send(post(a_call("alive"), f"{name}: {own}", f"{again}: http://evil.example"))
            answer = await connection.answer()
            assert (answer.status, "stands more than once" in answer.text) == (400, True)
        assert port.asked == []


async def test_a_client_that_names_the_node_itself_as_origin_is_answered() -> None:
    async with serving() as port, aiohttp.ClientSession(headers={"Origin": port.url}) as session:
        async with session.post(port.url, json=json.loads(a_call("alive"))) as response:
            assert response.status == 200
        async with session.ws_connect(port.url + "/ws") as socket_:
            await socket_.send_json(json.loads(a_call("alive")))
            assert (await socket_.receive_json())["result"] == "alive"


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
async def test_a_post_that_any_page_may_send_is_refused(kind: str) -> None:
    """Browsers send these kinds without asking the node first."""
    async with serving() as port, await port.open() as connection:
        connection.send(post(a_call("alive"), kind=kind))
        refused = await connection.answer()
        assert (refused.status, "application/json" in refused.text) == (415, True)
        assert port.asked == []
