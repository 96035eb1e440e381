"""A hostile member's end of one connection to a node: real TLS, a real key, and no manners."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl

from chain.ledger.genesis import Genesis
from chain.network.frame import BOUNDS, FrameReader, Kind, encode_frame
from chain.network.messages import NETWORK_VERSION, Hello
from chain.primitives.certificate import Certificate
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import AssentError
from chain.primitives.tls import client_context
from consensus.messages import Status, decode_message
from tests.floods.target import Tally, Target, connect

GREETED_MAX_S = 5.0
READ_BYTES = 262_144
UNSENT_BYTES_MAX = 1_048_576
"""What an attacker keeps of its own frames before it waits for the victim to read."""


def node_key(genesis: Genesis, org: str) -> bytes:
    """Return the public key of an organisation's validator."""
    return next(item.public_key for item in genesis.validators if item.org == org)


class HostileLink:
    """One admitted connection; it answers pings, listens, and notes what it hears of consensus."""

    def __init__(
        self, genesis: Genesis, key: PrivateKey, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.genesis, self.key = genesis, key
        self._reader, self._writer = reader, writer
        self.status: Status | None = None
        """The latest account that the victim gave of itself."""
        self.certificate: Certificate | None = None
        self.farewell = ""
        """The victim's reason for closing."""
        self.lost = asyncio.Event()
        self.greeted = asyncio.Event()
        self.told = asyncio.Event()
        """Set once the victim said where it stands."""
        self._listening = asyncio.create_task(self._listen())

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self.lost.is_set()

    @property
    def epoch(self) -> int:
        """First height of the epoch that the victim is in, as it says."""
        return self.status.epoch if self.status else 0

    @property
    def view(self) -> int:
        """The victim's view, as it says."""
        return self.status.view if self.status else 0

    @property
    def height(self) -> int:
        """The highest certified height heard of."""
        return self.certificate.height if self.certificate else 0

    def write(self, data: bytes) -> None:
        """Send raw bytes."""
        if not self.closed:
            self._writer.write(data)

    async def drain(self) -> None:
        """Wait while the victim does not read; let others run in any case."""
        with contextlib.suppress(OSError):
            await self._writer.drain()
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Leave without a word."""
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        with contextlib.suppress(OSError, RuntimeError):
            self._writer.transport.abort()
        await asyncio.sleep(0)

    async def _listen(self) -> None:
        frames = FrameReader(bounds=BOUNDS)
        try:
            while data := await self._reader.read(READ_BYTES):
                for kind, body in frames.feed(data):
                    self._hear(kind, body)
        except (OSError, AssentError) as error:
            self.farewell = self.farewell or type(error).__name__
        finally:
            self.lost.set()
            self.greeted.set()
            self.told.set()

    def _hear(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.HELLO:
            self.greeted.set()
        elif kind is Kind.BYE:
            self.farewell = body.decode(errors="replace")
        elif kind is Kind.PING:
            self.write(encode_frame(Kind.PONG, body))
        elif kind is Kind.CONSENSUS and len(body) < 20_480:
            with contextlib.suppress(AssentError):
                message = decode_message(body)
                if isinstance(message, Status):
                    self.status = message
                    self.told.set()
                found = message.certificate if isinstance(message, Status) else message
                if isinstance(found, Certificate) and found.height > self.height:
                    self.certificate = found


def hello(genesis: Genesis) -> bytes:
    """Return the greeting of a process that has just started."""
    said = Hello(genesis.chain_id, NETWORK_VERSION, os.urandom(8), "127.0.0.66:1", 0)
    return encode_frame(Kind.HELLO, encode(said))


async def open_link(
    target: Target, org: str, genesis: Genesis, tally: Tally, context: ssl.SSLContext | None = None
) -> HostileLink | None:
    """Connect to a node with the stolen member's key and greet; None when it does not admit that key now."""
    key = target.key("member")
    context = context or client_context(key, [node_key(genesis, org)])
    streams = await connect(target, target.peer[org], tally, ssl=context, server_hostname="")
    if streams is None:
        return None
    reader, writer = streams
    writer.transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX)
    link = HostileLink(genesis, key, reader, writer)
    link.write(hello(genesis))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GREETED_MAX_S):
            await link.greeted.wait()
    if link.closed or not link.greeted.is_set():
        tally.close(link.farewell or "not greeted")
        await link.close()
        return None
    return link
