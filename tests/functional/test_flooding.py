"""A member's key in hostile hands floods a real node with every kind of frame: memory stays bounded.

The node either disconnects the peer with a reason, or reads on at its own pace and counts what it drops;
and it goes on answering its clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from live import rpc

from chain.cli import processes
from chain.cli.consortium import node_url
from chain.cli.init import create_consortium
from chain.cli.layout import Consortium, OrgFolder
from chain.ledger.block import Header, Transaction, TransactionBody, header_hash, sign_transaction
from chain.ledger.genesis import Genesis, load_genesis
from chain.network.frame import Kind, encode_frame
from chain.network.messages import (
    NETWORK_VERSION,
    AnchorRequest,
    BlocksRequest,
    ChunkRequest,
    Hello,
    SyncStatus,
    TransactionIds,
    Transactions,
)
from chain.primitives.certificate import Certificate, checkpoint_digest
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.keyfile import load_key
from chain.primitives.settings import split_address
from chain.primitives.tls import client_context
from consensus.messages import UNSIGNED, Prepare, sign

pytestmark = pytest.mark.functional
ORGS = [f"org{number}" for number in range(48)]
GROWTH_MIB = 120
"""What any flood may cost: queues of 16 MiB a lane, 32 MiB of transactions to verify, and slack."""
FLOOD_BYTES = 60_000_000
FLOOD_S = 0.6


class Victim:
    """One running node of a large consortium; each flood comes with the key of another member."""

    def __init__(self, folder: Path) -> None:
        self.consortium: Consortium = create_consortium(folder / "c", ORGS, [], 0, "flood")
        self.genesis: Genesis = load_genesis(self.consortium.genesis)
        self.org = self.consortium.orgs[0]
        self._members = iter(self.consortium.orgs[1:])
        self.server_key = load_key(self.org.key("node")).public
        self.host, self.port = split_address(self.genesis.validators[0].address)

    def hostile_key(self) -> PrivateKey:
        """The key of a member that is not banned yet."""
        return load_key(next(self._members).key("node"))

    def reason(self, key: PrivateKey) -> str:
        """Why the node ended its connection with a member, as its log says; waits until it has."""
        start = f"disconnected from {key.public.hex()[:16]}"
        while True:
            lines = [line for line in self.org.log("node").read_text().splitlines() if start in line]
            if lines:
                return lines[0]

    @property
    def process(self) -> psutil.Process:
        found = processes.find(self.org, "node")
        assert found is not None
        return found

    def rss_mib(self) -> float:
        return float(self.process.memory_info().rss) / 1_048_576

    def hello(self) -> bytes:
        return encode_frame(
            Kind.HELLO, encode(Hello(self.genesis.chain_id, NETWORK_VERSION, os.urandom(8), "x:1", 0))
        )

    def dropped(self) -> dict[str, float]:
        with urllib.request.urlopen(node_url(self.org) + "/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if line.startswith("assent_dropped_total{")]
        return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in found}


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    made = Victim(tmp_path_factory.mktemp("flood"))
    try:
        processes.start(made.org, "node")
        processes.wait_until(made.org, "node", lambda: alive(made.org), 30)
        yield made
    finally:
        processes.stop(made.org, "node")


def alive(org: OrgFolder) -> bool:
    try:
        with urllib.request.urlopen(node_url(org) + "/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def transactions(victim: Victim, count: int, size: int, *, forged: bool) -> bytes:
    """A frame of transactions of about `size` bytes that decode; signed by a stranger, or by nobody."""
    stranger, made = PrivateKey.generate(), list[bytes]()
    for _ in range(count):
        args = b"\xc5" + (size).to_bytes(2, "big") + os.urandom(size)
        body = TransactionBody(
            victim.genesis.chain_id, stranger.public, "orgs", "add_key", args, 1_000, os.urandom(16), 100
        )
        made.append(encode(Transaction(body, os.urandom(64)) if forged else sign_transaction(body, stranger)))
    return encode_frame(Kind.TXS, encode(Transactions(tuple(made))))


def unproved_status(victim: Victim) -> bytes:
    """A well-formed status whose certificate is over its header, signed by one member only."""
    zero = bytes(32)
    header = Header(1, victim.genesis.chain_id, 1, 0, 0, zero, zero, zero, zero, zero, 1)
    hashed = header_hash(header)
    vote = victim.key.sign(checkpoint_digest(victim.genesis.chain_id, header.height, hashed))
    return encode(SyncStatus(header, Certificate(header.height, hashed, ((victim.key.public, vote),)), 1))


def early_votes(victim: Victim) -> bytes:
    """Genuine votes of a member on heights that are not here yet."""
    chain_id, key = victim.genesis.chain_id, victim.key
    votes = [
        sign(Prepare(view, height, os.urandom(32), key.public, UNSIGNED), key, chain_id)
        for view in range(3)
        for height in range(1, 200)
    ]
    return b"".join(encode_frame(Kind.CONSENSUS, encode(vote)) for vote in votes)


def ids(kind: Kind) -> Callable[[Victim], bytes]:
    return lambda _victim: encode_frame(
        kind, encode(TransactionIds(tuple(os.urandom(32) for _ in range(4_096))))
    )


FLOODS: dict[str, tuple[Kind, Callable[[Victim], bytes], str]] = {
    "hello": (Kind.HELLO, lambda victim: victim.hello(), "second greeting"),
    "ping": (Kind.PING, lambda _: encode_frame(Kind.PING, bytes(8)), ""),
    "pong": (Kind.PONG, lambda _: encode_frame(Kind.PONG, bytes(8)), ""),
    "bye": (Kind.BYE, lambda _: encode_frame(Kind.BYE, b"x" * 512), "closed"),
    "consensus junk": (Kind.CONSENSUS, lambda _: encode_frame(Kind.CONSENSUS, os.urandom(99)), "msgpack"),
    "consensus votes": (Kind.CONSENSUS, early_votes, ""),
    "consensus bomb": (
        Kind.CONSENSUS,
        lambda _: encode_frame(Kind.CONSENSUS, b"\x93\xa8proposal\xdd\x00\xff\xff\xff" + b"\x90" * 9**7),
        "ShapeMismatch",
    ),
    "transactions forged": (Kind.TXS, lambda victim: transactions(victim, 200, 200, forged=True), "forged"),
    "transactions large": (Kind.TXS, lambda victim: transactions(victim, 17, 60_000, forged=False), ""),
    "announcements": (Kind.TX_IDS, ids(Kind.TX_IDS), ""),
    "requests": (Kind.TX_REQUEST, ids(Kind.TX_REQUEST), ""),
    "answers": (Kind.TX_ANSWER, lambda _: encode_frame(Kind.TX_ANSWER, b"x"), "nobody asked"),
    "status": (Kind.STATUS, lambda victim: encode_frame(Kind.STATUS, unproved_status(victim)), "signatures"),
    "status junk": (Kind.STATUS, lambda _: encode_frame(Kind.STATUS, os.urandom(900)), "sync-status"),
    "block requests": (
        Kind.BLOCKS_REQUEST, lambda _: encode_frame(Kind.BLOCKS_REQUEST, encode(BlocksRequest(1, 128))), ""
    ),
    "anchor requests": (
        Kind.ANCHOR_REQUEST, lambda _: encode_frame(Kind.ANCHOR_REQUEST, encode(AnchorRequest(0))), ""
    ),
    "chunk requests": (
        Kind.CHUNK_REQUEST, lambda _: encode_frame(Kind.CHUNK_REQUEST, encode(ChunkRequest(1, b""))), ""
    ),
    "anchors": (Kind.ANCHOR, lambda _: encode_frame(Kind.ANCHOR, b"x"), "nobody asked"),
    "chunks": (Kind.CHUNK, lambda _: encode_frame(Kind.CHUNK, b"x"), "nobody asked"),
    "blocks": (Kind.BLOCKS, lambda _: encode_frame(Kind.BLOCKS, b"x"), "nobody asked"),
}  # fmt: skip
"""Flood -> (kind, one burst of frames, what the node says when it disconnects; "" when it reads on)."""


def test_every_kind_of_frame_has_a_flood() -> None:
    assert {kind for kind, _, _ in FLOODS.values()} == set(Kind)


async def flood(victim: Victim, burst: bytes, *, read: bool) -> float:
    """Send bursts for a while, or until disconnected; return the node's largest RSS in MiB."""
    tls, most = client_context(victim.key, [victim.server_key]), victim.rss_mib()
    reader, writer = await asyncio.open_connection(victim.host, victim.port, ssl=tls, server_hostname="")
    sent, loop = 0, asyncio.get_running_loop()
    end = loop.time() + FLOOD_S

    async def listen() -> None:
        while read and await reader.read(65_536):
            pass

    listening = asyncio.create_task(listen())
    with contextlib.suppress(OSError, TimeoutError):
        writer.write(victim.hello())
        while sent < FLOOD_BYTES and loop.time() < end and not writer.transport.is_closing():
            writer.write(burst)
            sent += len(burst)
            async with asyncio.timeout(max(0.01, end - loop.time())):
                await writer.drain()
            most = max(most, victim.rss_mib())
    most = max(most, victim.rss_mib())
    writer.transport.abort()
    await asyncio.gather(listening, return_exceptions=True)
    return most


@pytest.mark.parametrize("name", FLOODS)
def test_33_a_flood_of_any_kind_costs_bounded_memory(victim: Victim, name: str) -> None:
    """FISCO-BCOS 1951: also when the peer never reads what it is answered."""
    _, make, reason = FLOODS[name]
    victim.key = victim.hostile_key()
    burst = make(victim)
    before = victim.rss_mib()
    most = asyncio.run(flood(victim, burst, read=True))
    assert reason in victim.reason(victim.key)
    if not reason:
        most = max(most, asyncio.run(flood(victim, burst, read=False)))
    assert most - before < GROWTH_MIB, f"{name}: {before:.0f} MiB before, {most:.0f} in the flood"
    assert rpc(victim.org, "getBlockNumber")["result"] == 0


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name)
def test_33_a_claimed_length_beyond_the_bound_is_refused(victim: Victim, kind: Kind) -> None:
    victim.key = victim.hostile_key()
    before = victim.rss_mib()
    most = asyncio.run(flood(victim, bytes([kind]) + b"\xff\xff\xff\xff" + bytes(100_000), read=True))
    assert "claims 4294967295 bytes" in victim.reason(victim.key)
    assert most - before < GROWTH_MIB


def test_drops_are_counted_by_queue(victim: Victim) -> None:
    victim.key = victim.hostile_key()
    asyncio.run(flood(victim, FLOODS["announcements"][1](victim), read=True))
    queues = {"verify", "pool_held", "gossip", "proposals", "wanted", "consensus_answers", "sync_serves"}
    assert queues <= victim.dropped().keys()
