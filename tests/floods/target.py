"""What an attacker is given (addresses, a stolen key, a time) and what it reports afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import random
import resource
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chain.ledger.genesis import Genesis, load_genesis
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import AssentError
from chain.primitives.keyfile import load_key
from chain.primitives.settings import split_address


class FloodsFailed(AssentError):
    """The campaign itself cannot go on, or the ledger is wrong: the text says what, and where to look."""

    code = "floods_failed"


RECONNECT_S = 0.5
"""An attacker that lost a connection waits so long; the attacks that reconnect on purpose do not."""
CONNECT_MAX_S = 10.0
GRACE_S = 20.0
"""An attack that goes on so long after its end is broken off."""
REASONS_MAX = 32
"""Different answers that one attack reports."""


@dataclass(frozen=True, slots=True)
class Target:
    """Everything that one attack may know; JSON on its way to the attacker's process."""

    genesis: str
    rpc: dict[str, str]
    """Organisation -> host:port, of the honest nodes; so below."""
    peer: dict[str, str]
    agent: dict[str, str]
    victims: tuple[str, ...]
    """Organisations in the order in which they matter; most attacks know the first alone."""
    keys: dict[str, str]
    """"member" -> file of a node key, "participant" -> file of an agent key: genuine, in hostile hands."""
    finals: tuple[str, ...]
    """Ids of transactions that every node holds in blocks."""
    source: str
    """Loopback address that the attack connects from; the attacker's process gives each its own."""
    seconds: float
    seed: int
    tls: bool = False
    """Whether the ports for clients speak TLS."""
    secret: str = ""
    """Token of scope `read` that attackers of those ports send; "" for none."""

    @property
    def victim(self) -> str:
        """The organisation whose node is attacked."""
        return self.victims[0]

    def load_genesis(self) -> Genesis:
        """Read the genesis file."""
        return load_genesis(Path(self.genesis))

    def key(self, role: str) -> PrivateKey:
        """Read a stolen key."""
        return load_key(Path(self.keys[role]))

    def random(self, name: str) -> random.Random:
        """Return the source of chance of one attack."""
        return random.Random(f"{self.seed} {name}")

    def encode(self) -> str:
        """Return one line of JSON."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def decode(cls, text: str) -> Target:
        """Read what `encode` returned."""
        fields: dict[str, Any] = json.loads(text)
        for name in ("victims", "finals"):
            fields[name] = tuple(fields[name])
        return cls(**fields)


@dataclass(slots=True)
class Tally:
    """What one attack did, and what became of it."""

    began: float = field(default_factory=time.monotonic)
    sent: int = 0
    """Requests or frames."""
    bytes: int = 0
    connections: int = 0
    refused: int = 0
    """Connections that the other side refused, or ended before a handshake was over."""
    closed: int = 0
    """Connections that the other side ended later."""
    first_closed_s: float | None = None
    missed: list[str] = field(default_factory=list)
    """What the victim let pass and must not."""
    answers: Counter[str] = field(default_factory=Counter)
    """What the other side said: HTTP status lines, reasons of a BYE."""

    def count(self, size: int, messages: int = 1) -> None:
        """Note what was sent."""
        self.sent += messages
        self.bytes += size

    def close(self, why: str = "") -> None:
        """Note that the other side ended a connection."""
        self.closed += 1
        if self.first_closed_s is None:
            self.first_closed_s = round(time.monotonic() - self.began, 2)
        if why:
            self.answer(why)

    def answer(self, text: str) -> None:
        """Note what the other side said."""
        if text in self.answers or len(self.answers) < REASONS_MAX:
            self.answers[text[:120]] += 1

    def as_json(self) -> dict[str, Any]:
        """Return the record of the report."""
        shown = dataclasses.asdict(self)
        del shown["began"]
        return shown | {"answers": dict(self.answers.most_common())}


class Clock:
    """The time of one attack: it stops by itself."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self._end - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the attack shall end."""
        return self.left_s <= 0

    async def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the end."""
        await asyncio.sleep(min(seconds, self.left_s))

    async def ticks(self, per_second: float) -> AsyncIterator[int]:
        """Yield 0, 1, 2 … at a pace (what was missed is made up for within a second), until the end."""
        begin, number = time.monotonic(), 0
        while not self.over:
            if (ahead := begin + number / per_second - time.monotonic()) > 0:
                await self.sleep(ahead)
            elif ahead < -1.0:
                begin = time.monotonic() - number / per_second
            yield number
            number += 1


def address(text: str) -> tuple[str, int]:
    """Return the host and port of "host:port"."""
    return split_address(text)


async def connect(
    target: Target, where: str, tally: Tally, **options: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
    """Open one connection from the attacker's own address; None when it is refused."""
    host, port = address(where)
    try:
        async with asyncio.timeout(CONNECT_MAX_S):
            if target.tls and where in target.rpc.values():
                options |= {"ssl": ssl._create_unverified_context(), "server_hostname": host}
            streams = await asyncio.open_connection(host, port, local_addr=(target.source, 0), **options)
    except (OSError, TimeoutError) as error:
        tally.refused += 1
        tally.answer(type(error).__name__)
        return None
    tally.connections += 1
    return streams


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close without waiting for anybody."""
    with contextlib.suppress(OSError, RuntimeError):
        writer.transport.abort()
    await asyncio.sleep(0)


def raise_descriptor_limit() -> None:
    """Allow this attacker as many descriptors as it may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
