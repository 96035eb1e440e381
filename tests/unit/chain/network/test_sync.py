"""Catching up from honest and hostile peers: virtual time, seeded schedules, no sockets."""

from __future__ import annotations

import dataclasses
import heapq
import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.block import (
    ABOVE_MAX,
    Batch,
    Block,
    Header,
    Transaction,
    TransactionBody,
    batch_root,
    header_hash,
    sign_transaction,
    transaction_id,
)
from chain.ledger.blockcheck import check_certified
from chain.ledger.proof.anchor import Anchor
from chain.ledger.proof.proofs import SetChange
from chain.ledger.state.chunk import StateChunk
from chain.network import serving
from chain.network import sync as module
from chain.network.frame import Kind, ProtocolBreach
from chain.network.messages import Blocks, BlocksRequest, SyncStatus
from chain.network.sync import BlockSync
from chain.network.syncstate import SyncEffects
from chain.primitives.certificate import Certificate, checkpoint_digest, quorum, validators_hash
from chain.primitives.codec import decode, encode
from chain.primitives.crypto import ZERO_HASH, PrivateKey, digest
from chain.primitives.errors import AssentError, DecodeError, ProofInvalid

CHAIN = bytes([1]) * 32
KEYS = sorted([PrivateKey(bytes([i]) * 32) for i in range(1, 5)], key=lambda key: key.public)
SET = tuple(key.public for key in KEYS)
LENGTH = 300
ME, OTHER, THIRD = b"m" * 32, b"o" * 32, b"t" * 32


def certify(header: Header, keys: Sequence[PrivateKey] = KEYS) -> Certificate:
    hashed = header_hash(header)
    message = checkpoint_digest(CHAIN, header.height, hashed)
    signers = keys[: quorum(len(keys))]
    return Certificate(header.height, hashed, tuple((key.public, key.sign(message)) for key in signers))


@cache
def make_chain(length: int = LENGTH) -> tuple[Block, ...]:
    blocks: list[Block] = []
    parent = CHAIN
    for height in range(1, length + 1):
        txs: tuple[Transaction, ...] = ()
        if height % 3 == 0:
            body = TransactionBody(CHAIN, SET[0], "c", "m", b"x", 1, height.to_bytes(16, "big"), height + 9)
            txs = (sign_transaction(body, KEYS[0]),)
        ids = tuple(transaction_id(tx.body) for tx in txs)
        null = height % 10 == 1
        payload = b"" if null else encode(Batch(height, 2, 0, SET[1], height * 10, ids))
        view, proposer = (0, ZERO_HASH) if null else (2, SET[1])
        if null:
            ids, txs = (), ()
        root = digest("test", height.to_bytes(8, "big"))
        header = Header(
            height,
            parent,
            height * 10,
            view,
            0,
            proposer,
            batch_root(ids),
            root,
            root,
            validators_hash(SET),
            1,
        )
        blocks.append(Block(header, (), certify(header), payload, txs))
        parent = header_hash(header)
    return tuple(blocks)


class FakeChain:
    """A ledger that already holds the first `height` blocks and settles validator sets `window` ahead."""

    def __init__(self, height: int, window: int = 1_000_000) -> None:
        self.blocks = list(make_chain()[:height])
        self.window = window

    def height(self) -> int:
        return len(self.blocks)

    def head(self) -> tuple[Header, Certificate] | None:
        return (self.blocks[-1].header, self.blocks[-1].certificate) if self.blocks else None

    def validators(self, height: int) -> Sequence[bytes] | None:
        return SET if height <= self.height() + self.window else None

    def block(self, height: int) -> bytes | None:
        return encode(self.blocks[height - 1]) if 1 <= height <= self.height() else None

    def blocks_from(self) -> int:
        return 0

    def set_changes(self, above: int, limit: int) -> tuple[SetChange, ...]:  # noqa: ARG002
        return ()

    def anchor(self) -> Anchor | None:
        return None

    def chunk(self, height: int, path: bytes) -> StateChunk | None:  # noqa: ARG002
        return None


Answer = Callable[[random.Random, BlocksRequest], bytes | None]
"""What a hostile peer answers to a request for blocks; None for nothing."""


def serve(request: BlocksRequest, change: Callable[[list[bytes]], list[bytes]]) -> bytes:
    count = min(request.count, 8)
    blocks = [encode(block) for block in make_chain()[request.first - 1 : request.first - 1 + count]]
    return encode(Blocks(request.first, tuple(change(blocks))))


def flip(source: random.Random, data: bytes) -> bytes:
    at = source.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << source.randrange(8)]) + data[at + 1 :]


def unsigned(blocks: list[bytes]) -> list[bytes]:
    items = [decode(Block, block) for block in blocks]
    return [
        encode(dataclasses.replace(b, certificate=Certificate(b.header.height, ZERO_HASH, ()))) for b in items
    ]


def far_above(blocks: list[bytes]) -> list[bytes]:
    items = [decode(Block, block) for block in blocks]
    far = [dataclasses.replace(b.certificate, height=b.header.height + 10**9) for b in items]
    return [encode(dataclasses.replace(b, certificate=c)) for b, c in zip(items, far, strict=True)]


def led_astray(blocks: list[bytes]) -> list[bytes]:
    """Sound headers lead to one above all heights in flight, whose certificate nobody could judge yet."""
    found = []
    for item in [decode(Block, block) for block in blocks]:
        run = make_chain()[item.header.height : item.header.height + ABOVE_MAX]
        if run:
            above = tuple([block.header for block in run])
            item = dataclasses.replace(item, above=above, certificate=run[-1].certificate)
        found.append(encode(item))
    return found


HOSTILE: dict[str, Answer] = {
    "certified far above": lambda _, request: serve(request, far_above),
    "led above what is in flight": lambda _, request: serve(request, led_astray),
    "silent": lambda _, __: None,
    "empty": lambda _, request: encode(Blocks(request.first, ())),
    "junk": lambda source, _: source.randbytes(50),
    "flipped": lambda source, request: serve(
        request, lambda blocks: [flip(source, block) for block in blocks]
    ),
    "unsigned": lambda _, request: serve(request, unsigned),
    "shifted": lambda _, request: serve(request, lambda blocks: blocks[1:] or blocks),
    "other range": lambda _, request: encode(Blocks(request.first + 1, ())),
}


class World:
    """One laggard among peers; deliveries take random times, in order per peer, and apply takes time."""

    def __init__(self, seed: int, honest: int, hostile: Sequence[str], start: int, window: int) -> None:
        self.source = random.Random(seed)
        self.now = self.busy_until = 0
        self.chain = FakeChain(start, window)
        self.sync = BlockSync(self.chain, CHAIN, follow=seed % 2 == 0)
        self.servers: dict[bytes, BlockSync | Answer] = {}
        for i in range(honest):
            name = bytes([1, i]) * 16
            self.servers[name] = BlockSync(FakeChain(LENGTH), CHAIN, follow=False)
        for i, behaviour in enumerate(hostile):
            self.servers[bytes([2, i]) * 16] = HOSTILE[behaviour]
        self.online: set[bytes] = set()
        self.handed: list[int] = []
        self.dropped: list[bytes] = []
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._last: dict[bytes, int] = {}

    def at(self, when: int, event: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (when, self._sequence, event))

    def connect(self, name: bytes) -> None:
        self.online.add(name)
        self.perform(self.sync.connected(name, self.now))
        server = self.servers[name]
        if isinstance(server, BlockSync):
            for send in server.connected(ME, self.now).send:
                self.deliver(name, send.kind, send.body)
        else:
            self.sync.claim(name, 10**15)  # a faked maximum height (CometBFT 5801)

    def deliver(self, name: bytes, kind: Kind, body: bytes) -> None:
        when = max(self.now + self.source.randint(1, 400), self._last.get(name, 0))
        self._last[name] = when
        self.at(when, lambda: self.arrive(name, kind, body))

    def arrive(self, name: bytes, kind: Kind, body: bytes) -> None:
        if name not in self.online:
            return
        try:
            self.perform(self.sync.on_frame(name, kind, body, self.now))
        except AssentError:
            self.drop(name)

    def drop(self, name: bytes) -> None:
        self.dropped.append(name)
        self.online.discard(name)
        self.sync.disconnected(name)
        self.at(self.now + 10_000, lambda: self.connect(name))

    def perform(self, effects: SyncEffects) -> None:
        for send in effects.send:
            for name in send.peers:
                server = self.servers[name]
                if isinstance(server, BlockSync):
                    for answer in server.on_frame(ME, send.kind, send.body, self.now).send:
                        self.deliver(name, answer.kind, answer.body)
                elif send.kind is Kind.BLOCKS_REQUEST:
                    body = server(self.source, decode(BlocksRequest, send.body))
                    if body is not None:
                        self.deliver(name, Kind.BLOCKS, body)
        for drop in effects.drop:
            self.drop(drop.peer)
        if effects.apply:
            blocks = effects.apply
            self.handed += [block.header.height for block in blocks]
            self.busy_until = max(self.now, self.busy_until) + self.source.randint(1, 300)
            self.at(self.busy_until, lambda: self.apply(blocks))

    def apply(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            height = block.header.height
            if height <= self.chain.height():
                continue  # consensus was faster
            assert height == self.chain.height() + 1
            try:
                if block != make_chain()[height - 1]:
                    raise ProofInvalid("executes to another header")
            except ProofInvalid:
                self.perform(self.sync.rejected(height, self.now))
                return
            self.chain.blocks.append(block)
        self.perform(self.sync.applied(self.now))

    def race(self) -> None:
        """Let consensus deliver a block now and then."""
        if self.source.random() < 0.3 and self.chain.height() < LENGTH:
            self.chain.blocks.append(make_chain()[self.chain.height()])

    def run(self, limit: int, *, racing: bool) -> None:
        for name in self.servers:
            self.at(self.source.randint(0, 2_000), lambda name=name: self.connect(name))  # type: ignore[misc]
        for when in range(0, limit, 100):
            self.at(when, lambda: self.perform(self.sync.tick(self.now)))
            if racing:
                self.at(when, self.race)
        while self._events and self.chain.height() < LENGTH:
            self.now, _, event = heapq.heappop(self._events)
            event()


@pytest.mark.parametrize("seed", range(30))
def test_a_laggard_always_catches_up_from_one_honest_peer_among_hostile_ones(seed: int) -> None:
    """hyperledger-archives/fabric 1454, CometBFT 5801, sawtooth-pbft 166, SmartBFT 570."""
    source = random.Random(seed)
    hostile = [source.choice(sorted(HOSTILE)) for _ in range(source.randint(0, 4))]
    window = source.choice([1, 8, 1_000_000])
    world = World(seed, source.randint(1, 3), hostile, source.choice([0, 3, 250]), window)
    racing = source.random() < 0.5
    world.run(300_000, racing=racing)
    assert world.chain.height() == LENGTH, (seed, hostile, world.chain.height())
    assert racing or world.handed == sorted(set(world.handed)) or world.dropped, seed
    honest = {name for name, server in world.servers.items() if isinstance(server, BlockSync)}
    assert honest.isdisjoint(world.dropped)


def test_blocks_are_handed_over_in_order_and_once_though_answers_arrive_in_disorder() -> None:
    """sawtooth-pbft 166, SmartBFT 570."""
    chain = FakeChain(0)
    sync = BlockSync(chain, CHAIN, follow=True)
    server = BlockSync(FakeChain(LENGTH), CHAIN, follow=False)
    requests = []
    for name in (OTHER, THIRD):
        server.connected(name, 0)
        sync.connected(name, 0)
        sync.claim(name, LENGTH)
        requests += [(name, send) for send in sync.tick(1).send]
    assert len(requests) == 2
    handed: list[int] = []
    for name, send in reversed(requests):
        (answer,) = server.on_frame(name, send.kind, send.body, 1).send
        for _ in range(2):  # a second copy of the answer changes nothing
            effects = sync.on_frame(name, Kind.BLOCKS, answer.body, 2)
            handed += [block.header.height for block in effects.apply]
    assert handed == list(range(1, 1 + module.APPLY_BLOCKS))
    chain.blocks = list(make_chain()[:40])  # consensus went further meanwhile
    handed += [block.header.height for block in sync.applied(3).apply]
    assert handed[module.APPLY_BLOCKS :] == list(range(41, 65))


def test_a_validator_leaves_small_gaps_to_consensus_until_it_stands_still() -> None:
    sync = BlockSync(FakeChain(100), CHAIN, follow=False)
    sync.connected(OTHER, 0)
    sync.claim(OTHER, 100 + module.FAR_BLOCKS - 1)
    assert sync.tick(10).send[1:] == ()
    assert [send.kind for send in sync.tick(10 + module.GRACE_MS).send] == [Kind.BLOCKS_REQUEST]


def test_a_large_gap_is_fetched_at_once() -> None:
    sync = BlockSync(FakeChain(0), CHAIN, follow=False)
    sync.connected(OTHER, 0)
    sync.claim(OTHER, module.FAR_BLOCKS)
    assert [send.kind for send in sync.tick(0).send] == [Kind.BLOCKS_REQUEST]


def test_a_height_counts_as_proved_only_with_a_certificate_of_the_trusted_set() -> None:
    strangers = sorted([PrivateKey(bytes([i]) * 32) for i in range(11, 15)], key=lambda key: key.public)
    header = dataclasses.replace(make_chain()[200].header, height=10**9)
    sync = BlockSync(FakeChain(3, window=10**12), CHAIN, follow=True)
    sync.connected(OTHER, 0)
    with pytest.raises(ProofInvalid, match="not in the validator set"):
        sync.on_frame(OTHER, Kind.STATUS, encode(SyncStatus(header, certify(header, strangers), 0)), 0)
    assert sync.report().proved_height == 0
    true = make_chain()[200]
    sync.on_frame(OTHER, Kind.STATUS, encode(SyncStatus(true.header, true.certificate, 0)), 0)
    assert sync.report().proved_height == 201


def test_a_status_whose_certificate_is_of_another_header_is_refused() -> None:
    a, b = make_chain()[5], make_chain()[6]
    sync = BlockSync(FakeChain(3), CHAIN, follow=True)
    sync.connected(OTHER, 0)
    with pytest.raises(ProofInvalid, match="another header"):
        sync.on_frame(OTHER, Kind.STATUS, encode(SyncStatus(a.header, b.certificate, 0)), 0)


def test_a_new_head_is_told_to_every_peer_and_to_newcomers() -> None:
    chain = FakeChain(5)
    sync = BlockSync(chain, CHAIN, follow=False)
    (greeting,) = sync.connected(OTHER, 0).send
    assert decode(SyncStatus, greeting.body).header.height == 5
    sync.connected(THIRD, 0)
    assert [send.peers for send in sync.tick(0).send] == [(OTHER, THIRD)]
    assert sync.tick(500).send == ()
    chain.blocks = list(make_chain()[:7])
    (told,) = sync.tick(1_000).send
    assert decode(SyncStatus, told.body).header.height == 7


def test_a_head_that_stands_still_is_told_again() -> None:
    """The peer may have lost everything and be linked again before we noticed that it was gone."""
    sync = BlockSync(FakeChain(5), CHAIN, follow=False)
    sync.connected(OTHER, 0)
    times = [now for now in range(0, 15_001, 500) if sync.tick(now).send]
    assert times == [0, 5_000, 10_000, 15_000]


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Header)])
def test_a_block_whose_header_differs_in_one_field_is_refused(field: str) -> None:
    block = make_chain()[2]
    value = getattr(block.header, field)
    whole = bytes(32) if value is None else value
    changed: Any = value + 1 if isinstance(value, int) else bytes([whole[0] ^ 1]) + whole[1:]
    header = dataclasses.replace(block.header, **{field: changed})
    with pytest.raises(ProofInvalid):
        check_certified(dataclasses.replace(block, header=header), CHAIN, SET, SET)
    recertified = dataclasses.replace(block, header=header, certificate=certify(header, KEYS[2:]))
    with pytest.raises(ProofInvalid):
        check_certified(recertified, CHAIN, SET, SET)


def test_a_body_that_is_not_the_headers_is_refused() -> None:
    block, other = make_chain()[2], make_chain()[5]
    check_certified(block, CHAIN, SET, SET)
    batch = decode(Batch, block.payload)
    later = encode(dataclasses.replace(batch, time=batch.time + 1))
    for bad in (
        dataclasses.replace(block, transactions=()),
        dataclasses.replace(block, transactions=other.transactions),
        dataclasses.replace(block, transactions=block.transactions * 2),
        dataclasses.replace(block, payload=other.payload),
        dataclasses.replace(block, payload=b""),
        dataclasses.replace(block, payload=later),
    ):
        with pytest.raises(ProofInvalid):
            check_certified(bad, CHAIN, SET, SET)


def test_a_batch_that_a_view_change_delayed_keeps_its_own_earlier_time() -> None:
    block = make_chain()[2]
    batch = decode(Batch, block.payload)
    earlier = encode(dataclasses.replace(batch, time=batch.time - 5))
    check_certified(dataclasses.replace(block, payload=earlier), CHAIN, SET, SET)


def hand_over_block_four(sync: BlockSync, name: bytes) -> list[int]:
    sync.connected(name, 0)
    sync.claim(name, 4)
    sync.tick(0)
    body = encode(Blocks(4, (encode(make_chain()[3]),)))
    return [block.header.height for block in sync.on_frame(name, Kind.BLOCKS, body, 0).apply]


def test_who_served_a_block_that_does_not_execute_is_dropped_and_another_is_asked() -> None:
    sync = BlockSync(FakeChain(3), CHAIN, follow=True)
    assert hand_over_block_four(sync, OTHER) == [4]
    assert [drop.peer for drop in sync.rejected(4, 0).drop] == [OTHER]
    sync.disconnected(OTHER)
    assert sync.report().trouble == ""
    assert hand_over_block_four(sync, THIRD) == [4]
    assert sync.rejected(4, 0).drop == ()  # f + 1 peers cannot all be faulty: it is us
    assert "this node's release or disk differs" in sync.report().trouble


def test_blocks_nobody_asked_for_are_ignored_and_other_frames_refused() -> None:
    sync = BlockSync(FakeChain(3), CHAIN, follow=True)
    sync.connected(OTHER, 0)
    body = encode(Blocks(4, (encode(make_chain()[3]),)))
    assert sync.on_frame(OTHER, Kind.BLOCKS, body, 0).apply == ()
    with pytest.raises(ProtocolBreach):
        sync.on_frame(OTHER, Kind.TXS, b"", 0)


def test_requests_are_answered_within_bounds() -> None:
    sync = BlockSync(FakeChain(LENGTH), CHAIN, follow=False)
    sync.connected(OTHER, 0)
    for first, expected in ((1, serving.RANGE_BLOCKS), (LENGTH, 1), (0, 0), (2**63, 0)):
        (answer,) = sync.on_frame(OTHER, Kind.BLOCKS_REQUEST, encode(BlocksRequest(first, 128)), 0).send
        assert len(decode(Blocks, answer.body).blocks) == expected


def test_a_large_answer_ends_at_its_byte_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "ANSWER_BYTES", 1_500)
    sync = BlockSync(FakeChain(LENGTH), CHAIN, follow=False)
    sync.connected(OTHER, 0)
    (answer,) = sync.on_frame(OTHER, Kind.BLOCKS_REQUEST, encode(BlocksRequest(1, 32)), 0).send
    assert 1 <= len(decode(Blocks, answer.body).blocks) <= 3


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.sampled_from([Kind.STATUS, Kind.BLOCKS, Kind.BLOCKS_REQUEST]), st.binary(max_size=100))
def test_hostile_bodies_raise_only_decode_errors(kind: Kind, body: bytes) -> None:
    sync = BlockSync(FakeChain(0), CHAIN, follow=True)
    sync.connected(OTHER, 0)
    try:
        sync.on_frame(OTHER, kind, body, 0)
    except DecodeError:
        return
