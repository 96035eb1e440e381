"""What a WebSocket may send: frames go to aiohttp a few at a time, for turns, and few that say nothing."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.api.feed import CONTROL_PER_S
from chain.api.frames import BYTES_AT_ONCE, FRAMES_AT_ONCE, Frames
from chain.api.turns import WAIT_MAX_S
from tests.unit.chain.api.rpc_port import Connection, Port, a_call, get, serving

UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
)
PING, PONG, CONTINUED = 0x89, 0x8A, 0x00
SIZES = st.integers(0, 130) | st.sampled_from([1_000, 16_384, 65_535, 65_536])


def frame(first: int, payload: bytes = b"") -> bytes:
    """A masked frame whose mask changes nothing."""
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", first, 0x80 | size)
    elif size < 65_536:
        head = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, size)
    return head + bytes(4) + payload


async def opened(port: Port) -> Connection:
    """Open a WebSocket by hand."""
    made = await port.open()
    made.send(get("/ws", *UPGRADE))
    assert b" 101 " in await made.reader.readuntil(b"\r\n\r\n")
    return made


async def message(connection: Connection) -> Any:
    """The next short message of the port."""
    _, size = await connection.reader.readexactly(2)
    if size == 126:
        (size,) = struct.unpack(">H", await connection.reader.readexactly(2))
    return json.loads(await connection.reader.readexactly(size))


# --- the pure part --------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0x81, 0x01, 0x00, 0x80, PING, PONG]), SIZES), max_size=9),
    st.lists(st.integers(1, 1_000) | st.integers(1_000, 300_000), min_size=1),
)
def test_pieces_are_the_stream_whatever_it_is_cut_into(sent: list[tuple[int, int]], reads: list[int]) -> None:
    stream = b"".join(frame(first, bytes(size)) for first, size in sent)
    frames, got, control, waiting, at = Frames(), 0, 0, bytearray(), 0
    while at < len(stream):
        step = reads[at % len(reads)]
        waiting += stream[at : at + step]
        at += step
        while (piece := frames.cut(waiting)).size:
            assert piece.size <= BYTES_AT_ONCE + 14
            got, control = got + piece.size, control + piece.control
            del waiting[: piece.size]
        assert len(waiting) < 14, "no more than the beginning of a header stays"
    assert got == len(stream)
    assert control == sum(first >= 0x88 for first, _ in sent)


def test_a_piece_has_a_few_frames_however_small_they_are() -> None:
    piece = Frames().cut(frame(PONG) * 10_000)
    assert (piece.size, piece.control) == (6 * FRAMES_AT_ONCE, FRAMES_AT_ONCE)


# --- the port -------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [PING, PONG])
async def test_a_socket_that_sends_many_control_frames_is_cut_off_and_counted(first: int) -> None:
    """aiohttp eats all that one read brought without letting anybody else have the loop."""
    async with serving() as port:
        flooding = await opened(port)
        flooding.send(frame(first) * 40_000)
        await flooding.closed()
        assert port.dropped("rpc_control_frames") == 1
        assert await port.ask() == "alive"
        assert port.held("body_bytes") == 0


async def test_a_client_may_ping_and_is_answered() -> None:
    async with serving() as port:
        connection = await opened(port)
        for number in range(3):
            for _ in range(int(CONTROL_PER_S)):
                connection.send(frame(PING, b"%d" % number))
                assert await connection.reader.readexactly(3) == b"\x8a\x01%d" % number
            port.pass_time(1.0)
        assert port.dropped("rpc_control_frames") == 0


async def test_calls_sent_at_once_are_all_answered_in_order() -> None:
    async with serving() as port:
        connection = await opened(port)
        texts = [str(number) for number in range(10 * FRAMES_AT_ONCE)]
        connection.send(b"".join(frame(0x81, a_call(text)) for text in texts))
        assert [(await message(connection))["result"] for _ in texts] == texts
        large = "x" * 60_000
        connection.send(frame(0x81, a_call(large)))
        assert len(await connection.reader.readexactly(60_000)) == 60_000
        assert port.held("body_bytes") == 0


async def test_empty_fragments_take_turns() -> None:
    """They are no message, so nothing else would count them."""
    async with serving() as port:
        connection = await opened(port)
        asked = port.count_asks()
        connection.send(frame(0x01) + frame(CONTINUED) * (100 * FRAMES_AT_ONCE) + frame(0x80, a_call("end")))
        assert (await message(connection))["result"] == "end"
        assert asked() >= 100


async def test_what_is_sent_while_a_socket_opens_comes_to_it() -> None:
    async with serving() as port, await port.open() as connection:
        connection.send(get("/ws", *UPGRADE) + frame(0x81, a_call("early")))
        assert b" 101 " in await connection.reader.readuntil(b"\r\n\r\n")
        assert (await message(connection))["result"] == "early"


# --- nothing but WebSockets is handed over --------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ((), "opens a WebSocket"),
        (UPGRADE[1:], "opens a WebSocket"),
        ((UPGRADE[0], *UPGRADE[2:]), "opens a WebSocket"),
        (("Upgrade: h2c", *UPGRADE[1:]), "opens a WebSocket"),
        ((*UPGRADE[:2], UPGRADE[3]), "Sec-WebSocket-Version: expected 13"),
        ((*UPGRADE[:2], "Sec-WebSocket-Version: 7", UPGRADE[3]), "Sec-WebSocket-Version: expected 13"),
        (UPGRADE[:3], "Sec-WebSocket-Key"),
        ((*UPGRADE[:3], "Sec-WebSocket-Key: AAAA"), "Sec-WebSocket-Key"),
        ((*UPGRADE[:3], "Sec-WebSocket-Key: *"), "Sec-WebSocket-Key"),
    ],
)
async def test_what_opens_no_websocket_is_refused_and_closed(fields: tuple[str, ...], said: str) -> None:
    """It was answered by aiohttp, and further requests on that connection passed no check at all."""
    async with serving() as port, await port.open() as connection:
        connection.send(get("/ws", *fields))
        refused = await connection.answer()
        assert refused.status in (400, 426)
        assert said in refused.text
        foreign = get("/ws", *UPGRADE, "Origin: http://evil.example", host="evil.example")
        connection.send(foreign + get("/nothing"))
        assert await connection.closed() == b""


async def test_a_hand_over_that_fails_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with serving() as port, await port.open() as connection:
        monkeypatch.setattr(port.server._sockets, "serve", fail)
        connection.send(get("/ws", *UPGRADE) + get("/ws", *UPGRADE) + get("/nothing"))
        assert (await connection.closed()).count(b"HTTP/1.1") == 1


async def test_a_socket_whose_turn_does_not_come_is_told() -> None:
    async with serving(requests_per_second=1) as port:
        connection = await opened(port)
        turns = port.server.door.turns
        for _ in range(20):
            turns.count("127.0.0.1")
        connection.send(frame(0x81, a_call("late")))
        await port.until(lambda: turns.waiting == 1)
        turns._light.first("127.0.0.1").at -= 2 * WAIT_MAX_S  # type: ignore[union-attr]
        port.server.sweep()
        first, size = await connection.reader.readexactly(2)
        assert (first, int.from_bytes(await connection.reader.readexactly(2))) == (0x88, 1013)
        assert b"busy" in await connection.reader.readexactly(size - 2)
        assert port.dropped("rpc_rate") == 1
