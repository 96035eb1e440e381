"""Raw HTTP and WebSocket bytes, as a hostile client sends them: no library between it and the node."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from tests.floods.target import RECONNECT_S, Clock, Tally, Target, connect, hang_up

READ_BYTES = 262_144
SENT: dict[str, str] = {}
"""Header fields that every request of this process has; the process of an attacker sets them once."""
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def call(method: str, number: int = 1, /, **params: Any) -> dict[str, Any]:
    """Return one JSON-RPC call."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def post(body: bytes, host: str, **headers: str) -> bytes:
    """Return a POST request; `headers` replace or add to the usual ones ("_" stands for "-")."""
    fields = {"Host": host, "Content-Type": "application/json", "Content-Length": str(len(body))} | SENT
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body


def rpc(host: str, calls: Any, **headers: str) -> bytes:
    """Return the POST of one call or of a batch."""
    return post(json.dumps(calls).encode(), host, **headers)


def upgrade(host: str, **headers: str) -> bytes:
    """Return the request that opens a WebSocket."""
    fields = {
        "Host": host, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    } | SENT | headers  # fmt: skip
    return ("GET /ws HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n").encode()


def text_frame(message: Any) -> bytes:
    """Return one masked WebSocket text message."""
    payload, mask = json.dumps(message).encode(), os.urandom(4)
    size = len(payload)
    if size < 126:
        head = struct.pack(">BB", 0x81, 0x80 | size)
    elif size < 65_536:
        head = struct.pack(">BBH", 0x81, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", 0x81, 0x80 | 127, size)
    key = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")
    return head + mask + masked


async def status_line(reader: asyncio.StreamReader) -> str:
    """Return the first line of an answer without its version, "closed" when there is none."""
    with contextlib.suppress(OSError, asyncio.LimitOverrunError, ValueError):
        line = (await reader.readline()).decode("latin-1").strip()
        return line.partition(" ")[2] or "closed"
    return "closed"


async def skip_head(reader: asyncio.StreamReader) -> str:
    """Read an answer's head; return its status."""
    status = await status_line(reader)
    with contextlib.suppress(OSError, asyncio.LimitOverrunError, ValueError):
        while (await reader.readline()).strip():
            pass
    return status


async def crowd(
    target: Target, clock: Clock, tally: Tally, count: int, speak: Speak, *, gap_s: float = 0.0
) -> None:
    """Keep `count` connections to the victim's RPC, each speaking until it or the attack ends, then again."""
    where = target.rpc[target.victim]

    async def one(number: int) -> None:
        await clock.sleep(number * gap_s)
        while not clock.over:
            streams = await connect(target, where, tally)
            if streams is not None:
                await _speak(streams, clock, tally, speak)
            await clock.sleep(RECONNECT_S)

    await asyncio.gather(*[one(number) for number in range(count)])


async def _speak(
    streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], clock: Clock, tally: Tally, speak: Speak
) -> None:
    reader, writer = streams
    try:
        async with asyncio.timeout(clock.left_s):
            await speak(reader, writer)
        tally.close()
    except TimeoutError:
        pass  # the attack is over
    except (
        OSError,
        EOFError,  # an answer that broke off
        RuntimeError,  # what uvloop raises for a closed transport
    ) as error:
        tally.close(type(error).__name__)
    finally:
        await hang_up(writer)


async def until_closed(reader: asyncio.StreamReader, tally: Tally) -> None:
    """Wait until the other side ends the connection; note the first line that it says."""
    first = await status_line(reader)
    tally.answer(first)
    while first != "closed" and await reader.read(READ_BYTES):
        pass


async def read_one(reader: asyncio.StreamReader) -> str:
    """Read one whole answer with a Content-Length; return its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = next((int(v.split("\r\n")[0]) for k, _, v in [head.partition("content-length:")] if v), 0)
    while length > 0:
        data = await reader.read(min(length, READ_BYTES))
        if not data:
            raise ConnectionResetError
        length -= len(data)
    return head.split("\r\n", 1)[0].partition(" ")[2]
