"""A member's key in hostile hands floods a real node with every kind of frame: memory stays bounded.

The node ends the connection, names the key with kind and amount, refuses it for a while, and goes on
answering its clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import urllib.request
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path

import psutil
import pytest
from live import rpc
from prometheus_client.parser import text_string_to_metric_families

from chain.cli import processes
from chain.cli.consortium import node_url
from chain.cli.init import create_consortium
from chain.cli.layout import ConsortiumFolder, OrgFolder
from chain.ledger.block import Header, Transaction, TransactionBody, header_hash, sign_transaction
from chain.ledger.genesis import Genesis, load_genesis
from chain.network.frame import ANSWERS, Kind, encode_frame
from chain.network.messages import (
    NETWORK_VERSION,
    AnchorRequest,
    BlocksRequest,
    ChunkRequest,
    Hello,
    PushedTransactions,
    SyncStatus,
    TransactionIds,
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
FLOOD_MAX_S = 120.0
PATIENCE_S = 0.5
"""How long a flood waits for a victim that does not read."""


class Victim:
    """One running node of a large consortium; each flood comes with the key of another member."""

    def __init__(self, folder: Path) -> None:
        self.consortium: ConsortiumFolder = create_consortium(folder / "c", ORGS, [], 0, "flood")
        self.genesis: Genesis = load_genesis(self.consortium.genesis)
        self.org = self.consortium.orgs[0]
        self._members = iter(self.consortium.orgs[1:])
        self.server_key = load_key(self.org.key("node")).public
        self.host, self.port = split_address(self.genesis.validators[0].address)
        self.key: PrivateKey
        """The key in hostile hands."""

    def next_key(self) -> None:
        """Turn to the key of a member that is not refused yet."""
        self.key = load_key(next(self._members).key("node"))

    def offence(self) -> str:
        """What the node says that the hostile key did of late."""
        peers = rpc(self.org, "getPeers")["result"]
        return str(next(peer["offence"] for peer in peers if peer["key"] == self.key.public.hex()))

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

    def metrics(self, name: str) -> list[tuple[dict[str, str], float]]:
        """The samples of one metric, waiting until there are some: (labels, value)."""
        while True:
            with urllib.request.urlopen(node_url(self.org) + "/metrics", timeout=10) as answer:
                text = answer.read().decode()
            found = [
                (sample.labels, sample.value)
                for family in text_string_to_metric_families(text)
                for sample in family.samples
                if sample.name == name
            ]
            if found:
                return found


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
    return encode_frame(Kind.TXS, encode(PushedTransactions(tuple(made))))


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


def ids(kind: Kind, count: int) -> Callable[[Victim], bytes]:
    return lambda _victim: encode_frame(
        kind, encode(TransactionIds(tuple(os.urandom(32) for _ in range(count))))
    )


FLOODS: dict[str, tuple[Kind, Callable[[Victim], bytes], str]] = {
    "hello": (Kind.HELLO, lambda victim: victim.hello(), "second greeting"),
    "ping": (Kind.PING, lambda _: encode_frame(Kind.PING, bytes(8)) * 100, "PING frames worth"),
    "pong": (Kind.PONG, lambda _: encode_frame(Kind.PONG, bytes(8)), "nobody asked"),
    "bye": (Kind.BYE, lambda _: encode_frame(Kind.BYE, b"x" * 512), "connections worth"),
    "consensus junk": (Kind.CONSENSUS, lambda _: encode_frame(Kind.CONSENSUS, os.urandom(99)), "msgpack"),
    "consensus votes": (Kind.CONSENSUS, early_votes, "prepare frames worth"),
    "consensus bomb": (
        Kind.CONSENSUS,
        lambda _: encode_frame(Kind.CONSENSUS, b"\x93\xa8proposal\xdd\x00\xff\xff\xff" + b"\x90" * 9**7),
        "ShapeMismatch",
    ),
    "transactions forged": (Kind.TXS, lambda victim: transactions(victim, 200, 200, forged=True), "forged"),
    "transactions large": (Kind.TXS, lambda victim: transactions(victim, 17, 60_000, forged=False), "TXS"),
    "announcements": (Kind.TX_IDS, ids(Kind.TX_IDS, 4_096), "TX_IDS frames worth"),
    "requests": (Kind.TX_REQUEST, ids(Kind.TX_REQUEST, 1_024), "TX_REQUEST frames worth"),
    "answers": (Kind.TX_ANSWER, lambda _: encode_frame(Kind.TX_ANSWER, b"x"), "nobody asked"),
    "status": (Kind.STATUS, lambda victim: encode_frame(Kind.STATUS, unproved_status(victim)), "signatures"),
    "status junk": (Kind.STATUS, lambda _: encode_frame(Kind.STATUS, os.urandom(900)), "sync-status"),
    "block requests": (
        Kind.BLOCKS_REQUEST,
        lambda _: encode_frame(Kind.BLOCKS_REQUEST, encode(BlocksRequest(1, 128))) * 10,
        "BLOCKS_REQUEST frames worth",
    ),
    "anchor requests": (
        Kind.ANCHOR_REQUEST,
        lambda _: encode_frame(Kind.ANCHOR_REQUEST, encode(AnchorRequest(0))) * 10,
        "ANCHOR_REQUEST frames worth",
    ),
    "chunk requests": (
        Kind.CHUNK_REQUEST,
        lambda _: encode_frame(Kind.CHUNK_REQUEST, encode(ChunkRequest(1, b""))) * 10,
        "CHUNK_REQUEST frames worth",
    ),
    "anchors": (Kind.ANCHOR, lambda _: encode_frame(Kind.ANCHOR, b"x"), "nobody asked"),
    "chunks": (Kind.CHUNK, lambda _: encode_frame(Kind.CHUNK, b"x"), "nobody asked"),
    "blocks": (Kind.BLOCKS, lambda _: encode_frame(Kind.BLOCKS, b"x"), "nobody asked"),
}  # fmt: skip
"""Flood -> (kind, one burst of frames, what the node says when it ends the connection)."""


def test_every_kind_of_frame_has_a_flood() -> None:
    assert {kind for kind, _, _ in FLOODS.values()} == set(Kind)


async def flood(victim: Victim, burst: bytes, reason: str, *, read: bool = True) -> float:
    """Send bursts until the node gives this reason to blame the key; return its largest RSS in MiB."""
    most, told = victim.rss_mib(), ""
    async with asyncio.timeout(FLOOD_MAX_S):
        while reason not in told:
            with contextlib.suppress(OSError):
                async with contextlib.aclosing(bursts(victim, burst, read=read)) as sending:
                    async for sent in sending:
                        most = max(most, victim.rss_mib())
                        if sent % 50 == 0 and reason in victim.offence():
                            break
            told = victim.offence()
            assert "refused" not in told or reason in told, told
    return most


async def bursts(victim: Victim, burst: bytes, *, read: bool) -> AsyncGenerator[int, None]:
    """Send one burst after another over one connection, as the victim takes them, until it ends."""
    tls = client_context(victim.key, [victim.server_key])
    reader, writer = await asyncio.open_connection(victim.host, victim.port, ssl=tls, server_hostname="")

    async def listen() -> None:
        while read and await reader.read(65_536):
            pass

    listening, sent = asyncio.create_task(listen()), 0
    try:
        writer.write(victim.hello())
        while not writer.transport.is_closing():
            writer.write(burst)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    await writer.drain()
            await asyncio.sleep(0)  # a drain that need not wait lets nobody else run
            sent += 1
            yield sent
    finally:
        writer.transport.abort()
        await asyncio.gather(listening, return_exceptions=True)


@pytest.mark.parametrize("name", FLOODS)
def test_33_a_flood_of_any_kind_costs_bounded_memory_and_its_key_is_named(victim: Victim, name: str) -> None:
    """FISCO-BCOS 1951."""
    _, make, reason = FLOODS[name]
    victim.next_key()
    burst, before = make(victim), victim.rss_mib()
    most = asyncio.run(flood(victim, burst, reason))
    assert most - before < GROWTH_MIB, f"{name}: {before:.0f} MiB before, {most:.0f} in the flood"
    assert rpc(victim.org, "getBlockNumber")["result"] == 0


@pytest.mark.parametrize("name", [name for name, (kind, _, _) in FLOODS.items() if kind in ANSWERS])
def test_33_who_asks_and_never_reads_the_answers_costs_no_more(victim: Victim, name: str) -> None:
    _, make, reason = FLOODS[name]
    victim.next_key()
    burst, before = make(victim), victim.rss_mib()
    most = asyncio.run(flood(victim, burst, reason, read=False))
    assert most - before < GROWTH_MIB, f"{name}: {before:.0f} MiB before, {most:.0f} in the flood"


def test_a_refused_key_stays_refused_and_does_not_grow_the_log(victim: Victim) -> None:
    victim.next_key()
    asyncio.run(flood(victim, FLOODS["answers"][1](victim), "nobody asked"))
    log, knocked = victim.org.log("node"), 0

    async def knock() -> bytes:
        async for _ in bursts(victim, b"", read=True):
            pass
        return b""

    before = log.stat().st_size
    while "refused for" in victim.offence() and knocked < 200:
        with contextlib.suppress(OSError):
            asyncio.run(knock())
        knocked += 1
    assert log.stat().st_size - before < 20_000, f"{knocked} connections"
    assert knocked > 3


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.name)
def test_33_a_claimed_length_beyond_the_bound_is_refused(victim: Victim, kind: Kind) -> None:
    victim.next_key()
    before = victim.rss_mib()
    burst = bytes([kind]) + b"\xff\xff\xff\xff" + bytes(100_000)
    most = asyncio.run(flood(victim, burst, "claims 4294967295 bytes"))
    assert most - before < GROWTH_MIB


def test_what_was_dropped_is_counted_by_queue_and_by_peer(victim: Victim) -> None:
    victim.next_key()
    asyncio.run(flood(victim, FLOODS["announcements"][1](victim), "TX_IDS frames worth"))
    queues = {"verify", "pool_held", "gossip", "proposals", "wanted", "consensus_answers"}
    found = victim.metrics("assent_dropped_total")
    assert queues <= {labels["queue"] for labels, _ in found}
    found = victim.metrics("assent_peer_unhandled_total")
    assert sum(count for labels, count in found if labels["kind"] == "TX_IDS") > 0
