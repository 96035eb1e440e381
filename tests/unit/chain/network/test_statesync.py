"""Catching up by state among honest and hostile peers: real ledgers, virtual time, seeded schedules."""

from __future__ import annotations

import dataclasses
import heapq
import random
from collections.abc import Callable, Sequence
from functools import cache

import pytest

from chain.ledger.genesis import Limits
from chain.ledger.history.prune import set_floor, sweep
from chain.ledger.ledger import Ledger
from chain.ledger.store import rows
from chain.ledger.store.memory import MemoryStore
from chain.ledger.testing import ToyChain, ToyRuntime, toy_genesis
from chain.network import serving
from chain.network.frame import Kind, ProtocolBreach
from chain.network.messages import AnchorAnswer, AnchorRequest, ChunkAnswer, ChunkRequest, SyncStatus
from chain.network.statesync import STALL_MS, StateSync
from chain.network.sync import BlockSync
from chain.network.syncstate import SyncEffects
from chain.node.ports import StateLoads, SyncChain
from chain.primitives.codec import decode, encode
from chain.primitives.errors import AssentError, DecodeError, ProofInvalid

GENESIS = toy_genesis(limits=Limits(consensus_window=3))
LENGTH, GAP = 40, 20
ME, OTHER, THIRD = b"m" * 32, b"o" * 32, b"t" * 32


@cache
def source() -> ToyChain:
    chain = ToyChain(GENESIS)
    for height in range(1, LENGTH + 1):
        chain.add(*[chain.call("put", {"key": height * 10 + i, "value": "x" * 60}) for i in range(6)])
    return chain


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.ledger.state.chunk.CHUNK_BYTES", 2_000)


def make_sync(ledger: Ledger, gap: int = GAP) -> BlockSync:
    states = StateSync(StateLoads(ledger), GENESIS) if gap else None
    return BlockSync(SyncChain(ledger), GENESIS.chain_id, follow=True, states=states, snapshot_lag=gap)


def serve(kind: Kind, body: bytes) -> bytes:
    return serving.Server(SyncChain(source().ledger)).answer(ME, kind, body).body


def status() -> bytes:
    header, certificate = SyncChain(source().ledger).head() or (None, None)
    assert header is not None
    assert certificate is not None
    return encode(SyncStatus(header, certificate, 0))


def flip(draw: random.Random, data: bytes) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def deny(kind: Kind, body: bytes) -> bytes:
    if kind is Kind.ANCHOR_REQUEST:
        return encode(AnchorAnswer((), None))
    asked = decode(ChunkRequest, body)
    return encode(ChunkAnswer(asked.height, asked.path, None))


def swap(kind: Kind, body: bytes) -> bytes:
    """Answer with the chunk of another height."""
    if kind is Kind.ANCHOR_REQUEST:
        return serve(kind, body)
    asked = decode(ChunkRequest, body)
    other = decode(ChunkAnswer, serve(kind, encode(ChunkRequest(LENGTH // 2, asked.path))))
    return encode(ChunkAnswer(asked.height, asked.path, other.chunk))


def weak(kind: Kind, body: bytes) -> bytes:
    """Prove a height by too few signatures."""
    answer = serve(kind, body)
    if kind is not Kind.ANCHOR_REQUEST:
        return answer
    anchor = decode(AnchorAnswer, answer).anchor
    assert anchor is not None
    forged = dataclasses.replace(anchor, certificate=source().certificate(anchor.header, 2))
    return encode(AnchorAnswer((), forged))


Answer = Callable[[random.Random, Kind, bytes], bytes | None]
HOSTILE: dict[str, Answer] = {
    "silent": lambda _, __, ___: None,
    "denies": lambda _, kind, body: deny(kind, body),
    "junk": lambda draw, _, __: draw.randbytes(60),
    "flipped": lambda draw, kind, body: flip(draw, serve(kind, body)),
    "another height": lambda _, kind, body: swap(kind, body),
    "no quorum": lambda _, kind, body: weak(kind, body),
    "only chunks of junk": lambda draw, kind, body: (
        serve(kind, body) if kind is Kind.ANCHOR_REQUEST else flip(draw, serve(kind, body))
    ),
}


class World:
    """A node without a ledger among peers; messages take random times; hostile peers answer as they like."""

    def __init__(self, seed: int, honest: int, hostile: Sequence[str]) -> None:
        self.draw = random.Random(seed)
        self.now = 0
        self.store = MemoryStore()
        self.start()
        self.peers: dict[bytes, str] = {bytes([1, i]) * 16: "" for i in range(honest)}
        self.peers |= {bytes([2, i]) * 16: name for i, name in enumerate(hostile)}
        self.online: set[bytes] = set()
        self.dropped: list[bytes] = []
        self.installed: list[int] = []
        self._events: list[tuple[int, int, Callable[[], None]]] = []

    def start(self) -> None:
        self.ledger = Ledger(self.store, GENESIS, ToyRuntime())
        self.sync = make_sync(self.ledger)

    def restart(self) -> None:
        """Crash, losing what was not synced, and start again from the disk."""
        self.store.crash(self.draw.randint(0, len(self.store._undo)))
        self.start()
        for name in sorted(self.online):
            self.sync.connected(name, self.now)
            self.deliver(name, Kind.STATUS, status())

    def at(self, when: int, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, len(self._events) + self.draw.getrandbits(30) * 1_000, event))

    def connect(self, name: bytes) -> None:
        self.online.add(name)
        self.perform(self.sync.connected(name, self.now))
        self.deliver(name, Kind.STATUS, status())
        if self.peers[name]:
            self.sync.claim(name, 10**15)

    def deliver(self, name: bytes, kind: Kind, body: bytes) -> None:
        delay = self.draw.randint(3_000, 4_000) if kind is Kind.BLOCKS else self.draw.randint(1, 300)
        self.at(self.now + delay, lambda: self.arrive(name, kind, body))

    def arrive(self, name: bytes, kind: Kind, body: bytes) -> None:
        if name not in self.online:
            return
        try:
            self.perform(self.sync.on_frame(name, kind, body, self.now))
        except AssentError:
            self.dropped.append(name)
            self.online.discard(name)
            self.sync.disconnected(name)
            self.at(self.now + 10_000, lambda: self.connect(name))

    def perform(self, effects: SyncEffects) -> None:
        for send in effects.send:
            for name in send.peers:
                if send.kind in serving.REQUEST_KINDS:
                    behaviour = self.peers[name]
                    if behaviour and send.kind is not Kind.BLOCKS_REQUEST:
                        body = HOSTILE[behaviour](self.draw, send.kind, send.body)
                    else:
                        body = serve(send.kind, send.body)
                    if body is not None:
                        self.deliver(name, Kind(send.kind + 1), body)
        for block in effects.apply:
            self.ledger.apply_block(block)
        if effects.apply:
            self.at(self.now + 1, lambda: self.perform(self.sync.applied(self.now)))
        if effects.install is not None:
            load = effects.install
            self.ledger.replace(load.install)
            self.installed.append(load.height)
            self.perform(self.sync.installed(self.now))

    def run(self, *, restarts: int) -> None:
        for name in self.peers:
            self.at(self.draw.randint(0, 500), lambda name=name: self.connect(name))  # type: ignore[misc]
        for when in range(0, 120_000, 100):
            self.at(when, lambda: self.perform(self.sync.tick(self.now)))
        for _ in range(restarts):
            self.at(self.draw.randint(500, 4_000), self.restart)
        while self._events and self.ledger.certified_height < LENGTH:
            self.now, _, event = heapq.heappop(self._events)
            event()


@pytest.mark.parametrize("seed", range(20))
def test_a_node_gets_the_state_from_one_honest_peer_among_those_that_serve_rubbish(seed: int) -> None:
    draw = random.Random(seed)
    hostile = [draw.choice(sorted(HOSTILE)) for _ in range(draw.randint(1, 3))]
    world = World(seed, draw.randint(1, 2), hostile)
    world.run(restarts=draw.randint(0, 2))
    assert world.ledger.head == source().ledger.head, (seed, hostile)
    assert world.installed in ([], [LENGTH]), (seed, hostile)  # []: a crash cut between install and report
    assert not [name for name in world.dropped if not world.peers[name]], (seed, hostile)
    assert world.store.get(b"\0loading") is None


@pytest.mark.parametrize("behaviour", sorted(HOSTILE))
def test_rubbish_from_one_peer_of_two_delays_but_does_not_stop(behaviour: str) -> None:
    world = World(7, 1, [behaviour])
    world.run(restarts=0)
    assert world.installed == [LENGTH]
    assert world.now < 30_000


def begun(ledger: Ledger | None = None) -> tuple[BlockSync, Ledger]:
    """Return a node that has just taken an anchor of OTHER; THIRD is connected too."""
    ledger = ledger or Ledger(MemoryStore(), GENESIS, ToyRuntime())
    sync = make_sync(ledger)
    for name in (OTHER, THIRD):
        sync.connected(name, 0)
    sync.on_frame(OTHER, Kind.STATUS, status(), 0)
    sync.on_frame(OTHER, Kind.ANCHOR, serve(Kind.ANCHOR_REQUEST, encode(AnchorRequest(0))), 1)
    assert sync.report().snapshot is not None
    return sync, ledger


def test_a_claim_without_a_certificate_starts_nothing() -> None:
    ledger = Ledger(MemoryStore(), GENESIS, ToyRuntime())
    sync = make_sync(ledger)
    sync.connected(OTHER, 0)
    sync.claim(OTHER, 10**12)
    assert [send.kind for send in sync.tick(1).send] == [Kind.ANCHOR_REQUEST, Kind.BLOCKS_REQUEST]
    short = ToyChain(GENESIS)
    short.add()
    low = serving.Server(SyncChain(short.ledger)).answer(ME, Kind.ANCHOR_REQUEST, encode(AnchorRequest(0)))
    sync.on_frame(OTHER, Kind.ANCHOR, low.body, 2)
    assert sync.report().snapshot is None


def test_a_small_gap_is_closed_by_blocks_and_a_state_never_fetched() -> None:
    chain = ToyChain(GENESIS)
    for height in range(1, LENGTH - GAP + 1):
        chain.ledger.apply_block(source().block(height))
    sync = make_sync(chain.ledger)
    sync.connected(OTHER, 0)
    kinds = {send.kind for send in sync.on_frame(OTHER, Kind.STATUS, status(), 0).send}
    assert kinds == {Kind.BLOCKS_REQUEST}


def test_blocks_wait_while_a_state_is_fetched() -> None:
    sync, _ = begun()
    assert {send.kind for send in sync.tick(100).send} <= {Kind.CHUNK_REQUEST, Kind.STATUS}


def test_a_node_that_shall_not_fetch_states_says_when_nobody_holds_its_next_block() -> None:
    ledger = Ledger(MemoryStore(), GENESIS, ToyRuntime())
    sync = make_sync(ledger, gap=0)
    sync.connected(OTHER, 0)
    header, certificate = SyncChain(source().ledger).head() or (None, None)
    assert header is not None
    assert certificate is not None
    sync.claim(OTHER, LENGTH)
    sync.on_frame(OTHER, Kind.STATUS, encode(SyncStatus(header, certificate, 9)), 0)
    assert "no peer holds block 1" in sync.report().trouble
    assert Kind.BLOCKS_REQUEST not in {send.kind for send in sync.tick(5_000).send}


def test_a_node_whose_next_block_was_pruned_everywhere_fetches_a_state_however_near() -> None:
    chain = ToyChain(GENESIS)
    for height in range(1, LENGTH - 4):
        chain.ledger.apply_block(source().block(height))
    sync = make_sync(chain.ledger, gap=1_000)
    sync.connected(OTHER, 0)
    header, certificate = SyncChain(source().ledger).head() or (None, None)
    assert header is not None
    assert certificate is not None
    sync.claim(OTHER, LENGTH)
    sent = sync.on_frame(OTHER, Kind.STATUS, encode(SyncStatus(header, certificate, LENGTH - 2)), 0).send
    assert [send.kind for send in sent] == [Kind.ANCHOR_REQUEST]


def test_a_height_that_nobody_serves_is_given_up_and_leaves_nothing() -> None:
    sync, ledger = begun()
    for now in range(100, 100 + STALL_MS + 1_000, 500):
        sync.tick(now)
    assert sync.report().snapshot is None
    assert ledger.store.get(b"\0loading") is None


def test_after_a_state_the_next_one_needs_twice_the_gap_until_the_node_is_near() -> None:
    """A chain that moves on while a state is fetched would have the node fetch for ever."""
    sync, ledger = begun()
    load = StateLoads(ledger).resume()
    assert load is not None
    while not load.complete:
        path = next(load.loader.wanted())
        answer = decode(ChunkAnswer, serve(Kind.CHUNK_REQUEST, encode(ChunkRequest(LENGTH, path))))
        assert answer.chunk is not None
        load.take(answer.chunk)
    ledger.replace(load.install)
    sync.claim(THIRD, LENGTH + GAP)  # the chain moved on
    sync.installed(100)
    for ahead, asks in ((GAP + 1, False), (2 * GAP, False), (2 * GAP + 1, True)):
        sync.claim(THIRD, LENGTH + ahead)
        kinds = {send.kind for send in sync.tick(200 + ahead).send}
        assert (Kind.ANCHOR_REQUEST in kinds) == asks, ahead


def test_a_chunk_of_another_path_is_a_breach_and_one_unasked_is_ignored() -> None:
    sync, _ = begun()
    (ask,) = [send for send in sync.tick(10).send if send.kind is Kind.CHUNK_REQUEST] or [None]
    true = decode(ChunkAnswer, serve(Kind.CHUNK_REQUEST, encode(ChunkRequest(LENGTH, b""))))
    assert true.chunk is not None
    del ask
    moved = dataclasses.replace(true.chunk, path=b"0")
    with pytest.raises(ProtocolBreach):
        sync.on_frame(OTHER, Kind.CHUNK, encode(ChunkAnswer(LENGTH, b"", moved)), 20)
    assert sync.on_frame(THIRD, Kind.CHUNK, encode(ChunkAnswer(LENGTH, b"", true.chunk)), 20).install is None


def test_states_are_served_of_certified_heights_only() -> None:
    server = serving.Server(SyncChain(source().ledger))
    ask = encode(ChunkRequest(LENGTH, b""))
    assert decode(ChunkAnswer, server.answer(OTHER, Kind.CHUNK_REQUEST, ask).body).chunk is not None
    for height, path in ((LENGTH + 1, b""), (2**63, b""), (LENGTH, b"0" * 64), (LENGTH, b"\xff\n")):
        request = encode(ChunkRequest(height, path))
        assert decode(ChunkAnswer, server.answer(THIRD, Kind.CHUNK_REQUEST, request).body).chunk is None


def test_hostile_requests_raise_only_decode_errors() -> None:
    draw = random.Random(5)
    server = serving.Server(SyncChain(source().ledger))
    for _ in range(300):
        with pytest.raises(DecodeError):
            server.answer(OTHER, draw.choice(sorted(serving.REQUEST_KINDS)), draw.randbytes(9))


def test_a_pruned_node_serves_states_it_holds_and_denies_older_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    from chain.ledger.history import prune

    monkeypatch.setattr(prune, "VALIDITY_WINDOW_MAX", 4)
    store = MemoryStore(source().store)
    ledger = Ledger(store, GENESIS, ToyRuntime())
    set_floor(store, LENGTH - 10, "")
    while sweep(store):
        pass
    chain = SyncChain(ledger)
    assert (chain.blocks_from(), chain.block(LENGTH - 11)) == (LENGTH - 10, None)
    assert chain.chunk(LENGTH - 11, b"") is not None
    assert chain.chunk(LENGTH - 12, b"") is None


def governed(changes: int) -> ToyChain:
    """Return a chain whose validators changed so often, each set in force before the next is announced."""
    chain = ToyChain(GENESIS)
    for number in range(changes):
        chain.add(chain.govern([f"n{number}", f"n{number + 1}", f"n{number + 2}", f"n{number + 3}"]))
        for _ in range(4):
            chain.add(chain.call("put", {"key": number, "value": "x"}))
    while chain.ledger.head.height <= GAP:
        chain.add()
    return chain


def fetch(ledger: Ledger, server: serving.Server) -> list[Kind]:
    """Let a node fetch a state from one honest peer without any delay; return the kinds of its requests."""
    sync = make_sync(ledger)
    sync.connected(OTHER, 0)
    sync.claim(OTHER, 10**6)
    asked: list[Kind] = []
    kinds = serving.REQUEST_KINDS - {Kind.BLOCKS_REQUEST}
    waiting = [send for send in sync.tick(1).send if send.kind in kinds]
    while waiting:
        send = waiting.pop()
        asked.append(send.kind)
        answer = server.answer(ME, send.kind, send.body)
        effects = sync.on_frame(OTHER, answer.kind, answer.body, len(asked))
        waiting += [item for item in effects.send if item.kind in kinds]
        if effects.install is not None:
            ledger.replace(effects.install.install)
            return asked
    return asked


@pytest.mark.parametrize("changes", [1, 8, 9, 17])
def test_an_anchor_is_followed_over_every_change_of_the_validators_since_genesis(changes: int) -> None:
    chain = governed(changes)
    ledger = Ledger(MemoryStore(), GENESIS, ToyRuntime())
    asked = fetch(ledger, serving.Server(SyncChain(chain.ledger)))
    assert ledger.head == chain.ledger.head
    assert asked.count(Kind.ANCHOR_REQUEST) == changes // 8 + 1
    assert ledger.schedule.sets() == chain.ledger.schedule.sets()
    again = Ledger(MemoryStore(), GENESIS, ToyRuntime())  # who began by a state can serve one
    fetch(again, serving.Server(SyncChain(ledger)))
    assert again.head == ledger.head


def test_a_peer_that_leaves_out_what_leads_to_the_validators_in_force_is_refused() -> None:
    """Leaving out a set between two that share a quorum proves the same height, so it is no lie."""
    chain = governed(3)
    honest = SyncChain(chain.ledger)
    changes, anchor = honest.set_changes(0, 8), honest.anchor()
    for kept in ((), changes[:-1], changes[1:], changes[::-1]):
        sync = make_sync(Ledger(MemoryStore(), GENESIS, ToyRuntime()))
        sync.connected(OTHER, 0)
        sync.claim(OTHER, 10**6)
        sync.tick(1)
        with pytest.raises(ProofInvalid):
            sync.on_frame(OTHER, Kind.ANCHOR, encode(AnchorAnswer(kept, anchor)), 2)
        assert sync.report().snapshot is None


def test_a_node_that_lacks_the_header_of_a_change_proves_nothing_rather_than_half() -> None:
    chain = governed(2)
    first = chain.ledger.schedule.sets(1)[0].first - GENESIS.limits.consensus_window
    store = MemoryStore(chain.store)
    store.write([], [rows.at(rows.HEADER, first)])
    store.write([(rows.HELD_KEY, encode(rows.PrunedBelow(headers=first + 1)))])
    server = serving.Server(SyncChain(Ledger(store, GENESIS, ToyRuntime())))
    answer = server.answer(OTHER, Kind.ANCHOR_REQUEST, encode(AnchorRequest(0)))
    assert decode(AnchorAnswer, answer.body) == AnchorAnswer((), None)
