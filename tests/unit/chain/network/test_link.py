"""Links between real peer managers over TLS 1.3 on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType

import pytest

from chain.network import bans, doorway, knocks, link, registry
from chain.network.frame import BOUNDS, Kind, encode_frame
from chain.network.link import SILENCE_MAX_S
from chain.network.manager import OWN_ADDRESS, PeerManager
from chain.network.messages import NETWORK_VERSION, Hello
from chain.network.prices import PRICES, Price
from chain.primitives.codec import encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import DecodeError, PortBusy
from chain.primitives.tls import client_context
from tests.unit.chain.primitives.certificates import MUTATIONS, context_with, mutated_leaf

CHAIN, OTHER_CHAIN = bytes([1]) * 32, bytes([2]) * 32
LIMIT_S = 10.0


class Recorder:
    """A handler that keeps what it is told and lets a test wait for it."""

    def __init__(self) -> None:
        self.frames: list[tuple[bytes, Kind, bytes]] = []
        self.connected: list[bytes] = []
        self.heights: list[int] = []
        self.disconnected: list[tuple[bytes, str]] = []
        self.refuse = False
        self.useful = True
        self._changed = asyncio.Event()

    def on_connected(self, peer: bytes, hello: Hello) -> None:
        self.connected.append(peer)
        self.heights.append(hello.height)
        self._changed.set()

    def on_disconnected(self, peer: bytes, reason: str) -> None:
        self.disconnected.append((peer, reason))
        self._changed.set()

    def on_frame(self, peer: bytes, kind: Kind, body: bytes) -> bool:
        if self.refuse:
            raise DecodeError("rubbish")
        self.frames.append((peer, kind, body))
        self._changed.set()
        return self.useful

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Node:
    def __init__(
        self,
        seed: int,
        chain: bytes = CHAIN,
        queue_bytes: int = 1 << 26,
        prices: Mapping[str, Price] = PRICES,
    ) -> None:
        self.key = PrivateKey(bytes([seed]) * 32)
        self._prices = prices
        self.recorder = Recorder()
        self._chain, self._queue_bytes, self._seed = chain, queue_bytes, seed
        self.manager: PeerManager

    async def start(
        self, members: dict[bytes, str], introducers: Mapping[bytes, str] = MappingProxyType({})
    ) -> None:
        self.manager = PeerManager(
            self.key,
            self._chain,
            "127.0.0.1:0",
            members,
            self.recorder,
            head=lambda: 7,
            source=random.Random(self._seed),
            introducers=introducers,
            queue_bytes=self._queue_bytes,
            prices=self._prices,
        )
        await self.manager.start()

    def trouble(self, peer: Node) -> str:
        return next(status.trouble for status in self.manager.peers() if status.key == peer.key.public)


@contextlib.asynccontextmanager
async def pair(a: Node, b: Node) -> AsyncIterator[tuple[Node, Node]]:
    """Start two nodes that know one another; only `a` dials."""
    await b.start({a.key.public: "", b.key.public: ""})
    try:
        await a.start({a.key.public: "", b.key.public: b.manager.listen})
        try:
            yield a, b
        finally:
            await a.manager.close()
    finally:
        await b.manager.close()


@contextlib.asynccontextmanager
async def connected(a: Node, b: Node) -> AsyncIterator[tuple[Node, Node]]:
    async with pair(a, b):
        await a.recorder.until(lambda: a.recorder.connected)
        await b.recorder.until(lambda: b.recorder.connected)
        yield a, b


@contextlib.asynccontextmanager
async def raw_peer(
    node: Node, key: PrivateKey
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a node as a peer that writes whatever bytes it likes."""
    host, port = node.manager.listen.split(":")
    tls = client_context(key, [node.key.public])
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls, server_hostname="")
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def hello(chain: bytes = CHAIN, version: int = NETWORK_VERSION) -> bytes:
    return encode_frame(Kind.HELLO, encode(Hello(chain, version, bytes(8), "x:1", 0)))


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(LIMIT_S):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
    return b""


async def test_members_connect_and_frames_arrive_whole_and_in_order() -> None:
    async with connected(Node(1), Node(2)) as (a, b):
        bodies = [bytes([i % 251]) * (i * 97 % 70_000) for i in range(200)]
        assert all(a.manager.send(b.key.public, Kind.CONSENSUS, body) for body in bodies)
        await b.recorder.until(lambda: len(b.recorder.frames) == len(bodies))
        assert [body for _, _, body in b.recorder.frames] == bodies
        assert {peer for peer, _, _ in b.recorder.frames} == {a.key.public}
        assert b.manager.broadcast(Kind.STATUS, b"s") == 1
        await a.recorder.until(lambda: a.recorder.frames)
        status = a.manager.peers()[0]
        assert (status.connected, status.height, status.trouble) == (True, 7, "")
        assert a.recorder.heights == b.recorder.heights == [7]


async def test_a_wrong_genesis_is_refused_naming_both_chain_ids() -> None:
    async with pair(Node(1), Node(2, chain=OTHER_CHAIN)) as (a, b):
        await b.recorder.until(lambda: True)
        async with asyncio.timeout(LIMIT_S):
            while CHAIN.hex() not in a.trouble(b) or CHAIN.hex() not in b.trouble(a):
                await asyncio.sleep(0)
        assert OTHER_CHAIN.hex() in a.trouble(b)
        assert a.recorder.connected == b.recorder.connected == []


async def test_a_wrong_version_is_refused_with_both_numbers() -> None:
    a, mallory = Node(1), PrivateKey(bytes([9]) * 32)
    await a.start({mallory.public: ""})
    async with raw_peer(a, mallory) as (reader, writer):
        writer.write(hello(version=99))
        said = await rest_of(reader)
    await a.manager.close()
    assert b"version 99" in said
    assert b"ours is 1" in said


async def test_a_key_outside_the_membership_is_refused_and_told_so() -> None:
    a, b = Node(1), Node(2)
    await b.start({b.key.public: "", PrivateKey(bytes([5]) * 32).public: ""})
    await a.start({b.key.public: b.manager.listen})
    async with asyncio.timeout(LIMIT_S):
        while "may not be among the peer's members" not in a.trouble(b):
            await asyncio.sleep(0)
    assert not a.manager.connected
    await a.manager.close()
    await b.manager.close()
    assert b.manager.disconnects["not_member"] >= 1


async def test_a_removed_key_is_disconnected_at_once_and_may_come_back() -> None:
    async with connected(Node(1), Node(2)) as (a, b):
        b.manager.set_members({})
        await a.recorder.until(lambda: a.recorder.disconnected)
        assert "removed from the members" in a.recorder.disconnected[0][1]
        b.manager.set_members({a.key.public: ""})
        await a.recorder.until(lambda: len(a.recorder.connected) == 2)


@pytest.mark.parametrize("name", MUTATIONS)
async def test_a_member_whose_certificate_cannot_be_read_is_refused_and_nothing_else_fails(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    a, mallory = Node(1), PrivateKey(bytes([9]) * 32)
    await a.start({mallory.public: ""})
    tls = context_with(mallory, mutated_leaf(mallory, *MUTATIONS[name]), [a.key.public])
    host, port = a.manager.listen.split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls, server_hostname="")
    assert b"cannot be read" in await rest_of(reader)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    async with asyncio.timeout(LIMIT_S):
        while not a.manager.disconnects:
            await asyncio.sleep(0)
    await a.manager.close()
    assert a.manager.disconnects == {"bad_certificate": 1}
    assert [record.levelname for record in caplog.records if record.exc_info] == []


async def test_two_nodes_that_dial_one_another_keep_one_connection() -> None:
    a, b = Node(1), Node(2)
    await a.start({b.key.public: ""})
    await b.start({a.key.public: ""})
    a.manager.set_members({b.key.public: b.manager.listen})
    b.manager.set_members({a.key.public: a.manager.listen})
    await a.recorder.until(lambda: a.recorder.connected)
    await b.recorder.until(lambda: b.recorder.connected)
    async with asyncio.timeout(LIMIT_S):  # until what both dialled is settled
        while len(a.manager.connected) + len(b.manager.connected) < 2 or a.manager._registry.greeting:
            await asyncio.sleep(0)
    for count in range(50):
        assert a.manager.send(b.key.public, Kind.CONSENSUS, count.to_bytes(2, "big"))
        await asyncio.sleep(0)
    assert len(a.manager.connected) == len(b.manager.connected) == 1
    await a.manager.close()
    await b.recorder.until(lambda: b.recorder.disconnected)
    await b.manager.close()


@pytest.mark.parametrize(
    ("bytes_sent", "said"),
    [
        (bytes([250, 0, 0, 0, 1, 0]), b"unknown kind 250"),
        (bytes([Kind.TXS]) + b"\xff\xff\xff\xff", b"claims 4294967295 bytes"),
        (encode_frame(Kind.HELLO, b"junk"), b"hello"),
        (hello(), b"second greeting"),
        (encode_frame(Kind.BLOCKS, b""), b"nobody asked"),
    ],
    ids=["unknown kind", "huge length", "junk greeting", "second greeting", "unrequested answer"],
)
async def test_a_peer_that_breaks_the_protocol_is_disconnected_with_the_reason(
    bytes_sent: bytes, said: bytes
) -> None:
    a, mallory = Node(1), PrivateKey(bytes([9]) * 32)
    await a.start({mallory.public: ""})
    async with raw_peer(a, mallory) as (reader, writer):
        writer.write(bytes_sent if b"junk" in bytes_sent else hello() + bytes_sent)
        assert said in await rest_of(reader)
    await a.manager.close()


async def test_frames_before_the_greeting_are_refused() -> None:
    a, mallory = Node(1), PrivateKey(bytes([9]) * 32)
    await a.start({mallory.public: ""})
    async with raw_peer(a, mallory) as (reader, writer):
        writer.write(encode_frame(Kind.CONSENSUS, b"x"))
        assert b"before the greeting" in await rest_of(reader)
    assert a.recorder.frames == []
    await a.manager.close()


async def test_a_frame_cut_short_reaches_nobody() -> None:
    a, mallory = Node(1), PrivateKey(bytes([9]) * 32)
    await a.start({mallory.public: ""})
    async with raw_peer(a, mallory) as (_, writer):
        writer.write(hello() + encode_frame(Kind.CONSENSUS, bytes(1000))[:-1])
        await a.recorder.until(lambda: a.recorder.connected)
    await a.recorder.until(lambda: a.recorder.disconnected)
    assert a.recorder.frames == []
    await a.manager.close()


async def test_a_handler_that_finds_rubbish_disconnects_the_peer() -> None:
    async with connected(Node(1), Node(2)) as (a, b):
        b.recorder.refuse = True
        a.manager.send(b.key.public, Kind.CONSENSUS, b"x")
        await a.recorder.until(lambda: a.recorder.disconnected)
        assert "rubbish" in a.recorder.disconnected[0][1]
        assert b.manager.disconnects["malformed"] == 1


async def test_a_banned_peer_is_refused_until_the_ban_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bans, "FIRST_S", 0.2)
    async with connected(Node(1), Node(2)) as (a, b):
        b.manager.disconnect(a.key.public, "served rubbish")
        assert "served rubbish" in b.trouble(a)
        await a.recorder.until(lambda: len(a.recorder.connected) == 2)
        assert a.recorder.disconnected[0][1].endswith("served rubbish")


async def test_gossip_to_a_slow_peer_is_dropped_within_the_bound_and_counted() -> None:
    a, mallory = Node(1, queue_bytes=1 << 20), PrivateKey(bytes([9]) * 32)
    await a.start({mallory.public: ""})
    async with raw_peer(a, mallory) as (_, writer):
        writer.write(hello())
        await a.recorder.until(lambda: a.recorder.connected)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        sent = [a.manager.send(mallory.public, Kind.TXS, bytes(100_000)) for _ in range(300)]
        status = a.manager.peers()[0]
        assert not all(sent)
        assert status.drops["TXS"] == sent.count(False)
        assert status.queued_bytes <= (1 << 20) + BOUNDS[Kind.TXS]
        assert status.connected
    await a.manager.close()


async def test_a_peer_too_slow_for_consensus_is_disconnected() -> None:
    a, mallory = Node(1, queue_bytes=1 << 20), PrivateKey(bytes([9]) * 32)
    await a.start({mallory.public: ""})
    async with raw_peer(a, mallory) as (_, writer):
        writer.write(hello())
        await a.recorder.until(lambda: a.recorder.connected)
        while a.manager.send(mallory.public, Kind.CONSENSUS, bytes(100_000)):
            pass
        await a.recorder.until(lambda: a.recorder.disconnected)
        assert a.recorder.disconnected[0][1].startswith("too slow")
    await a.manager.close()


async def test_a_silent_peer_is_given_up_but_our_own_stall_is_not_held_against_it() -> None:
    a, mallory = Node(1), PrivateKey(bytes([9]) * 32)
    await a.start({mallory.public: ""})
    async with raw_peer(a, mallory) as (_, writer):
        writer.write(hello())
        await a.recorder.until(lambda: a.recorder.connected)
        now = asyncio.get_running_loop().time()
        a.manager.tick(now)
        a.manager.tick(now + 60.0)  # our process slept for a minute
        assert a.manager.connected
        for step in range(1, 1 + round(SILENCE_MAX_S) + 1):
            a.manager.tick(now + 60.0 + step)
        await a.recorder.until(lambda: a.recorder.disconnected)
        assert a.recorder.disconnected[0][1].startswith("silent")
    await a.manager.close()


async def test_pings_measure_the_round_trip() -> None:
    async with connected(Node(1), Node(2)) as (a, _):
        now = asyncio.get_running_loop().time()
        for step in (1.0, 2.0, 3.0, 4.0):
            a.manager.tick(now + step)
        async with asyncio.timeout(LIMIT_S):
            while a.manager.peers()[0].round_trip_ms is None:
                await asyncio.sleep(0)


async def test_a_member_listed_at_our_own_address_is_said_to_be_ourselves() -> None:
    """After a lost disk a node called itself, under its new key, and refused: "not among the members"."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    node, former = Node(1), PrivateKey(bytes([2]) * 32)
    manager = PeerManager(
        node.key,
        CHAIN,
        address,
        {former.public: address},
        node.recorder,
        head=lambda: 0,
        source=random.Random(1),
    )
    await manager.start()
    try:
        async with asyncio.timeout(LIMIT_S):
            while manager.peers()[0].trouble != OWN_ADDRESS:
                await asyncio.sleep(0)
    finally:
        await manager.close()


async def test_a_busy_port_is_named() -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    node = Node(1)
    manager = PeerManager(
        node.key, CHAIN, address, {}, node.recorder, head=lambda: 0, source=random.Random(1)
    )
    with pytest.raises(PortBusy, match=address):
        await manager.start()
    taken.close()


async def test_a_node_that_is_down_is_dialled_until_it_comes() -> None:
    a, b = Node(1), Node(2)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    await a.start({b.key.public: address})
    async with asyncio.timeout(LIMIT_S):
        while "connection refused" not in a.trouble(b):
            await asyncio.sleep(0)
    b.manager = PeerManager(
        b.key, CHAIN, address, {a.key.public: ""}, b.recorder, head=lambda: 0, source=random.Random(1)
    )
    await b.manager.start()
    await a.recorder.until(lambda: a.recorder.connected)
    await a.manager.close()
    await b.manager.close()


@pytest.mark.parametrize(
    ("bytes_sent", "said"),
    [
        (bytes([250, 0, 0, 0, 1, 0]), "unknown kind 250"),
        (bytes([Kind.TXS]) + b"\xff\xff\xff\xff", "claims 4294967295 bytes"),
        (encode_frame(Kind.BLOCKS, b""), "nobody asked"),
        (encode_frame(Kind.PONG, bytes(8)), "nobody asked"),
        (hello(), "second greeting"),
    ],
    ids=["unknown kind", "huge length", "unrequested answer", "unrequested pong", "second greeting"],
)
async def test_a_breach_is_named_and_its_key_refused_on_the_next_connection(
    bytes_sent: bytes, said: str
) -> None:
    a, mallory = Node(1), PrivateKey(bytes([9]) * 32)
    await a.start({mallory.public: ""})
    async with raw_peer(a, mallory) as (reader, writer):
        writer.write(hello() + bytes_sent)
        await rest_of(reader)
    async with raw_peer(a, mallory) as (reader, writer):
        writer.write(hello())
        assert said.encode() in await rest_of(reader)
    (status,) = a.manager.peers()
    assert re.match(r"refused for \d+ s more \(time 1 of late\)", status.offence)
    assert said in status.trouble
    await a.manager.close()


async def test_what_a_key_spent_is_not_given_back_by_a_new_connection() -> None:
    """Two connections with half a share too much each are one share too much."""
    few = dict(PRICES) | {"PING": Price(1.0, 0.0, share_ms=0.001, burst_ms=10.0)}
    a, mallory = Node(1, prices=few), PrivateKey(bytes([9]) * 32)
    await a.start({mallory.public: ""})
    for seen in ("not handled lately: 1 PING", "PING frames worth 21 ms"):
        async with raw_peer(a, mallory) as (_, writer):
            writer.write(hello() + encode_frame(Kind.PING, bytes(8)) * 12)
            async with asyncio.timeout(LIMIT_S):
                while seen not in a.manager.peers()[0].offence:
                    await asyncio.sleep(0)
    await a.manager.close()


async def test_a_member_that_connects_without_end_is_refused_for_it() -> None:
    a, mallory = Node(1), PrivateKey(bytes([9]) * 32)
    await a.start({mallory.public: ""})
    async with asyncio.timeout(6 * LIMIT_S):
        while "connections worth" not in a.manager.peers()[0].offence:
            with contextlib.suppress(OSError):
                async with raw_peer(a, mallory):
                    pass
    await a.manager.close()


async def test_of_a_members_connections_that_never_greet_only_a_few_are_kept() -> None:
    a, mallory = Node(1), PrivateKey(bytes([9]) * 32)
    await a.start({mallory.public: ""})
    host, port = a.manager.listen.split(":")
    tls = client_context(mallory, [a.key.public])
    opened = [await asyncio.open_connection(host, int(port), ssl=tls, server_hostname="") for _ in range(8)]
    async with asyncio.timeout(LIMIT_S):
        while a.manager.disconnects["duplicate"] < 8 - registry.GREETINGS_MAX:
            await asyncio.sleep(0)
    assert len(a.manager._registry.greeting) <= registry.GREETINGS_MAX
    for _, writer in opened:
        writer.transport.abort()
    await a.manager.close()


async def test_no_link_keeps_the_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one peer sent in one go is handed on in turns, others' frames in between."""
    monkeypatch.setattr(link, "TURN_S", 0.0)
    a, keys = Node(1), [PrivateKey(bytes([seed]) * 32) for seed in (8, 9)]
    await a.start(dict.fromkeys([key.public for key in keys], ""))
    async with raw_peer(a, keys[0]) as (_, greedy), raw_peer(a, keys[1]) as (_, modest):
        for writer in (greedy, modest):
            writer.write(hello())
        await a.recorder.until(lambda: len(a.recorder.connected) == 2)
        greedy.write(encode_frame(Kind.CONSENSUS, bytes(10)) * 4_000)
        await a.recorder.until(lambda: a.recorder.frames)
        modest.write(encode_frame(Kind.CONSENSUS, b"me"))
        await a.recorder.until(lambda: len(a.recorder.frames) == 4_001)
    place = [body for _, _, body in a.recorder.frames].index(b"me")
    assert place < 4_000, "one that comes later is not last"
    await a.manager.close()


async def test_frames_that_bring_nothing_slow_the_link_and_then_end_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spent = iter(range(1_000_000))
    monkeypatch.setattr(registry, "thread_time", lambda: next(spent) * 0.4)
    a, mallory = Node(1), PrivateKey(bytes([9]) * 32)
    a.recorder.useful = False
    await a.start({mallory.public: ""})
    async with raw_peer(a, mallory) as (reader, writer):
        writer.write(hello() + encode_frame(Kind.CONSENSUS, b"x") * 1_000)
        await a.recorder.until(lambda: a.recorder.frames)
        now = asyncio.get_running_loop().time()
        for step in range(1, 20):
            a.manager.tick(now + step / 100)
            await asyncio.sleep(0)
        assert len(a.recorder.frames) == 3, "of 400 ms each, the third is one too many for a second"
        assert a.manager.connected
        link_of = a.manager._registry.links[mallory.public]
        for _ in range(10):
            link_of._slow_until = 0.0
            a.manager.tick(now + 1)
        assert b"frames that brought nothing" in await rest_of(reader)
    assert "frames that brought nothing" in a.manager.peers()[0].offence
    await a.manager.close()


async def test_a_request_beyond_the_share_waits_and_is_handled_when_its_turn_comes() -> None:
    few = dict(PRICES) | {"BLOCKS_REQUEST": Price(1.0, 0.0, share_ms=100.0, burst_ms=2.0, waits=True)}
    a, mallory = Node(1, prices=few), PrivateKey(bytes([9]) * 32)
    await a.start({mallory.public: ""})
    async with raw_peer(a, mallory) as (_, writer):
        writer.write(hello() + b"".join(encode_frame(Kind.BLOCKS_REQUEST, bytes([n])) for n in range(4)))
        await a.recorder.until(lambda: len(a.recorder.frames) == 4)
        assert [body for _, _, body in a.recorder.frames] == [bytes([n]) for n in range(4)]
        assert a.manager.peers()[0].unhandled == {}
    await a.manager.close()


@pytest.fixture
def kernel_tells_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that say nothing are handed over at once, as where there is no TCP_DEFER_ACCEPT."""
    monkeypatch.delattr(socket, "TCP_DEFER_ACCEPT", raising=False)


@pytest.mark.usefixtures("kernel_tells_all")
async def test_silent_connections_keep_no_member_out_and_fill_no_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """More of them than there are slots, and a member that comes after them all."""
    caplog.set_level("INFO")
    a, member = Node(1), PrivateKey(bytes([9]) * 32)
    await a.start({member.public: ""})
    host, port = a.manager.listen.split(":")
    silent = [await asyncio.open_connection(host, int(port)) for _ in range(100)]
    async with raw_peer(a, member) as (_, writer):
        writer.write(hello())
        await a.recorder.until(lambda: a.recorder.connected)
    for _, writer in silent:
        writer.transport.abort()
    now = asyncio.get_running_loop().time()
    for step in range(5):
        a.manager.tick(now + step / 10)
    assert a.manager.disconnects["silent"] >= 30
    lines = [record.getMessage() for record in caplog.records if "connections refused" in record.getMessage()]
    assert len(lines) == 1
    await a.manager.close()


@pytest.mark.usefixtures("kernel_tells_all")
async def test_who_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doorway, "SILENT_MAX_S", -1.0)
    a = Node(1)
    await a.start({})
    host, port = a.manager.listen.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with asyncio.timeout(LIMIT_S):
        while not a.manager.disconnects["silent"]:
            a.manager.tick(asyncio.get_running_loop().time())
            await asyncio.sleep(0)
    assert await rest_of(reader) == b""
    writer.close()
    await a.manager.close()


async def test_a_handshake_that_does_not_end_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knocks, "SHAKING_MAX", 2)
    monkeypatch.setattr(knocks, "HANDSHAKE_LEAST_S", 0.0)
    a, member = Node(1), PrivateKey(bytes([9]) * 32)
    await a.start({member.public: ""})
    host, port = a.manager.listen.split(":")
    half = [await asyncio.open_connection(host, int(port)) for _ in range(8)]
    for _, writer in half:
        writer.write(b"\x16\x03\x01\x02\x00")  # the beginning of a handshake that never comes
    async with raw_peer(a, member) as (_, writer):
        writer.write(hello())
        await a.recorder.until(lambda: a.recorder.connected)
    for _, writer in half:
        writer.transport.abort()
    assert a.manager.disconnects["handshakes"] >= 1
    await a.manager.close()


@pytest.mark.usefixtures("kernel_tells_all")
@pytest.mark.parametrize("registered", ["127.0.0.1:9", ""], ids=["listens there", "was there before"])
async def test_a_crowd_from_elsewhere_does_not_push_out_a_member_at_home(registered: str) -> None:
    """It is slower to say its first word than the crowd is to come, and the crowd has had all turns."""
    a, member = Node(1), PrivateKey(bytes([9]) * 32)
    await a.start({member.public: registered})
    host, port = a.manager.listen.split(":")
    if not registered:
        async with raw_peer(a, member) as (_, writer):
            writer.write(hello())
            await a.recorder.until(lambda: a.recorder.connected)
        await a.recorder.until(lambda: a.recorder.disconnected)
    slow = socket.create_connection((host, int(port)))
    strangers = []
    for number in range(600):
        strangers.append(
            socket.create_connection((host, int(port)), source_address=(f"127.9.{number % 200}.1", 0))
        )
        strangers[-1].send(b"\x16")
    async with asyncio.timeout(LIMIT_S):
        while a.manager.disconnects["handshakes"] + a.manager.disconnects["silent"] < 400:
            await asyncio.sleep(0)
    before = len(a.recorder.connected)
    tls = client_context(member, [a.key.public])
    _, writer = await asyncio.open_connection(sock=slow, ssl=tls, server_hostname="")
    writer.write(hello())
    await a.recorder.until(lambda: len(a.recorder.connected) > before)
    writer.close()
    for stranger in strangers:
        stranger.close()
    await a.manager.close()


async def test_a_flooding_peer_is_read_no_faster_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "RECEIVE_FRAMES_PER_S", 1_000)
    a, mallory = Node(1), PrivateKey(bytes([9]) * 32)
    await a.start({mallory.public: ""})
    async with raw_peer(a, mallory) as (_, writer):
        writer.write(hello())
        await a.recorder.until(lambda: a.recorder.connected)
        frame = encode_frame(Kind.CONSENSUS, bytes(1_000))
        writer.write(frame * 20_000)
        now = asyncio.get_running_loop().time()
        seen = [len(a.recorder.frames)]
        for step in range(1, 3):
            before = len(a.recorder.frames)
            a.manager.tick(now + step / 10)
            await a.recorder.until(lambda before=before: len(a.recorder.frames) > before)  # type: ignore[misc]
            seen.append(len(a.recorder.frames))
        assert seen[-1] < 20_000
        assert a.manager.connected
        writer.transport.abort()
    await a.manager.close()


async def test_an_answer_of_many_megabytes_arrives_for_who_asked() -> None:
    async with connected(Node(1), Node(2)) as (a, b):
        a.manager.send(b.key.public, Kind.BLOCKS_REQUEST, b"r")
        await b.recorder.until(lambda: b.recorder.frames)
        body = random.Random(1).randbytes(12_000_000)
        assert b.manager.send(a.key.public, Kind.BLOCKS, body)
        await a.recorder.until(lambda: a.recorder.frames)
        assert a.recorder.frames == [(b.key.public, Kind.BLOCKS, body)]


async def test_an_address_where_another_key_is_connected_is_not_dialled_for_the_key_to_come() -> None:
    """A seat that moves has two keys at one address; a second connection would end the one that stands."""
    a, b, coming = Node(1), Node(2), PrivateKey(bytes([3]) * 32)
    async with connected(a, b):
        members = {a.key.public: "", b.key.public: b.manager.listen, coming.public: b.manager.listen}
        known = a.manager._registry
        a.manager.set_members(members)
        assert known.answers_otherwise(coming.public)
        assert not known.answers_otherwise(b.key.public)
        await b.manager.close()
        await a.recorder.until(lambda: a.recorder.disconnected)
        assert not known.answers_otherwise(coming.public), "now the node may answer under its new key"


async def test_a_member_that_does_not_know_our_key_is_told_apart_from_one_that_is_down() -> None:
    a, b = Node(1), Node(2)
    await b.start({b.key.public: ""})
    try:
        await a.start({b.key.public: b.manager.listen})
        try:
            async with asyncio.timeout(LIMIT_S):
                while not a.manager.refused_by:
                    await asyncio.sleep(0)
            assert a.manager.refused_by == {b.key.public}
        finally:
            await a.manager.close()
    finally:
        await b.manager.close()


async def test_an_introducer_is_dialled_and_let_in_whoever_the_members_are() -> None:
    """A node whose ledger knows none of the members of today."""
    a, b = Node(1), Node(2)
    await b.start({a.key.public: ""})
    await a.start({}, introducers={b.key.public: b.manager.listen})
    await a.recorder.until(lambda: a.recorder.connected)
    a.manager.set_members({})
    assert a.manager.connected == (b.key.public,)
    await a.manager.close()
    await b.manager.close()
