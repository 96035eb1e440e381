"""Gossip among simulated nodes: virtual time, seeded loss, no sockets."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.block import Transaction, TransactionBody, sign_transaction, transaction_id
from chain.network import gossip as module
from chain.network.encodedtx import encoded_transaction_id
from chain.network.frame import IDS_PER_FRAME_MAX, IDS_PER_REQUEST_MAX, Kind, ProtocolBreach, encode_frame
from chain.network.gossip import Gossip, GossipEffects
from chain.network.messages import PushedTransactions, TransactionAnswer, TransactionIds
from chain.primitives.codec import decode, encode
from chain.primitives.crypto import PrivateKey
from chain.primitives.errors import DecodeError

KEY = PrivateKey(bytes(32))
CHAIN = bytes([1]) * 32


def make_tx(number: int, size: int = 8) -> tuple[bytes, bytes]:
    body = TransactionBody(CHAIN, KEY.public, "c", "m", bytes(size), 1, number.to_bytes(16, "big"), 9)
    return transaction_id(body), encode(Transaction(body, bytes(64)))


class FakePool:
    def __init__(self) -> None:
        self.waiting: dict[bytes, bytes] = {}
        self.committed: dict[bytes, bytes] = {}

    def has(self, tx_id: bytes) -> bool:
        return tx_id in self.waiting or tx_id in self.committed

    def waits(self, tx_id: bytes) -> bool:
        return tx_id in self.waiting

    def get(self, tx_id: bytes) -> bytes | None:
        return self.waiting.get(tx_id) or self.committed.get(tx_id)


class Cluster:
    """Nodes joined by given links; frames cross as bytes and are lost with a given probability."""

    def __init__(self, links: set[tuple[int, int]], nodes: int, seed: int = 0, loss: float = 0.0) -> None:
        self.now, self._random, self._loss = 0, random.Random(seed), loss
        self.pools = [FakePool() for _ in range(nodes)]
        self.cores = [Gossip(pool) for pool in self.pools]
        self.names = [bytes([i]) * 32 for i in range(nodes)]
        self.sent: Counter[Kind] = Counter()
        self.bytes = 0
        self.decoded = Counter[bytes]()
        self._wire: list[tuple[int, int, Kind, bytes]] = []
        for a, b in links:
            self.cores[a].connected(self.names[b])
            self.cores[b].connected(self.names[a])

    def submit(self, node: int, *txs: tuple[bytes, bytes]) -> None:
        self.pools[node].waiting.update(txs)
        self.perform(node, self.cores[node].submitted(txs, self.now))
        self.perform(node, self.cores[node].flush())

    def perform(self, node: int, effects: GossipEffects) -> None:
        assert not effects.drop
        for send in effects.send:
            for peer in send.peers:
                self.sent[send.kind] += 1
                self.bytes += len(send.body)
                if self._random.random() >= self._loss:
                    self._wire.append((node, self.names.index(peer), send.kind, send.body))
        for item in effects.received:
            self.decoded[item.candidate.id] += 1
            self.pools[node].waiting[item.candidate.id] = item.candidate.raw
            self.cores[node].admitted([item.candidate.id], self.now)

    def run(self, until: int, step: int = 100) -> None:
        while self.now < until:
            while self._wire:
                source, target, kind, body = self._wire.pop(0)
                core = self.cores[target]
                self.perform(target, core.on_frame(self.names[source], kind, body, self.now))
            self.now += step
            for node, core in enumerate(self.cores):
                self.perform(node, core.tick(self.now))


def mesh(nodes: int) -> set[tuple[int, int]]:
    return {(a, b) for a in range(nodes) for b in range(a)}


def test_in_a_full_mesh_each_transaction_crosses_each_wire_once_and_is_decoded_once() -> None:
    cluster = Cluster(mesh(4), 4)
    txs = [make_tx(i) for i in range(500)]
    for i, tx in enumerate(txs):
        cluster.submit(i % 4, tx)
        cluster.run(cluster.now + 1, step=1)
    assert all(len(pool.waiting) == 500 for pool in cluster.pools)
    assert set(cluster.decoded.values()) == {3}
    for pool in cluster.pools:
        pool.committed, pool.waiting = dict(pool.waiting), {}
    cluster.run(60_000)
    assert cluster.sent == {Kind.TXS: 1_500}


@pytest.mark.parametrize("seed", range(10))
def test_every_node_of_a_connected_lossy_network_gets_every_transaction(seed: int) -> None:
    """Also transactions that too few nodes know (FISCO-BCOS 2124)."""
    source = random.Random(seed)
    nodes = source.randint(3, 8)
    links = {(i, source.randrange(i)) for i in range(1, nodes)}
    cluster = Cluster(links, nodes, seed, loss=0.1)
    txs = [make_tx(i) for i in range(30)]
    for tx in txs:
        cluster.submit(source.randrange(nodes), tx)
    cluster.run(400_000, step=500)
    held = [len(pool.waiting) for pool in cluster.pools]
    assert held == [30] * nodes, (seed, held)


def test_gossip_ends_while_transactions_still_wait() -> None:
    cluster = Cluster(mesh(5), 5)
    cluster.submit(0, *[make_tx(i) for i in range(100)])
    cluster.run(sum(module.RELAY_AFTER_MS) + 1_000, step=1_000)
    before = cluster.sent.total()
    cluster.run(3_600_000, step=1_000)
    assert cluster.sent.total() == before


def test_a_missing_transaction_is_asked_of_another_peer_when_the_first_has_none_or_is_silent() -> None:
    pool = FakePool()
    core = Gossip(pool)
    silent, empty, good = (bytes([i]) * 32 for i in range(3))
    for peer in (silent, empty, good):
        core.connected(peer)
    tx_id, encoded = make_tx(1)
    asked = core.want([tx_id], [silent], now=0).send
    assert [send.peers for send in asked] == [(silent,)]
    asked = core.tick(now=module.ANSWER_TIMEOUT_MS).send
    assert [send.peers for send in asked] == [(empty,)]
    missing = encode(TransactionAnswer((), (tx_id,)))
    asked = core.on_frame(empty, Kind.TX_ANSWER, missing, now=1_100).send
    assert [send.peers for send in asked] == [(good,)]
    answer = encode(TransactionAnswer((encoded,), ()))
    received = core.on_frame(good, Kind.TX_ANSWER, answer, now=1_200).received
    assert [item.candidate.id for item in received] == [tx_id]
    core.admitted([tx_id], now=1_200)
    assert core.tick(now=100_000).send[1:] == ()


def test_what_is_forwarded_goes_to_the_primary_alone_or_without_a_link_to_it_to_all() -> None:
    core = Gossip(FakePool())
    primary, other = b"p" * 32, b"o" * 32
    encoded = [make_tx(i)[1] for i in range(3)]
    assert core.forward(encoded, primary, widely=False).send == ()
    core.connected(other)
    (send,) = core.forward(encoded, primary, widely=False).send
    assert send.peers == (other,)
    core.connected(primary)
    (send,) = core.forward(encoded, primary, widely=False).send
    assert (send.peers, send.kind) == ((primary,), Kind.TXS)
    assert decode(PushedTransactions, send.body).transactions == tuple(encoded)
    (send,) = core.forward(encoded, primary, widely=True).send
    assert set(send.peers) == {primary, other}


def test_who_announces_what_a_proposal_names_and_keeps_it_back_holds_up_nothing() -> None:
    """The proposer is asked at once, though the one that announced it has not answered yet."""
    core, liar, primary = Gossip(FakePool()), b"l" * 32, b"p" * 32
    core.connected(liar)
    core.connected(primary)
    tx_id, encoded = make_tx(1)
    core.on_frame(liar, Kind.TX_IDS, encode(TransactionIds((tx_id,))), now=0)
    assert [send.peers for send in core.tick(now=1).send] == [(liar,)]
    assert [send.peers for send in core.want([tx_id], [primary], now=2).send] == [(primary,)]
    answer = encode(TransactionAnswer((encoded,), ()))
    received = core.on_frame(primary, Kind.TX_ANSWER, answer, now=3).received
    assert [item.candidate.id for item in received] == [tx_id]


def test_what_a_proposal_names_is_asked_of_its_proposer_as_soon_as_that_one_has_answered() -> None:
    """Another, who was free earlier, might keep it back for a second."""
    core, liar, primary = Gossip(FakePool()), b"l" * 32, b"p" * 32
    core.connected(liar)
    core.connected(primary)
    (first, encoded), (second, _) = make_tx(1), make_tx(2)
    core.on_frame(liar, Kind.TX_IDS, encode(TransactionIds((second,))), now=0)
    assert [send.peers for send in core.want([first], [primary], now=1).send] == [(primary,)]
    assert core.want([second], [primary], now=2).send == ()
    answer = encode(TransactionAnswer((encoded,), ()))
    (asked,) = core.on_frame(primary, Kind.TX_ANSWER, answer, now=3).send
    assert (asked.peers, decode(TransactionIds, asked.body).ids) == ((primary,), (second,))


def test_what_two_announce_is_asked_of_the_second_when_the_first_does_not_answer() -> None:
    core, silent, good = Gossip(FakePool()), b"s" * 32, b"g" * 32
    core.connected(silent)
    core.connected(good)
    tx_id, _ = make_tx(1)
    for peer in (silent, good):
        core.on_frame(peer, Kind.TX_IDS, encode(TransactionIds((tx_id,))), now=0)
    assert [send.peers for send in core.tick(now=1).send] == [(silent,)]
    assert core.tick(now=500).send == ()
    assert [send.peers for send in core.tick(now=1 + module.ANSWER_TIMEOUT_MS).send] == [(good,)]


def test_when_every_peer_failed_all_are_asked_again_until_forgotten() -> None:
    core = Gossip(FakePool())
    core.connected(b"p" * 32)
    tx_id, _ = make_tx(1)
    core.want([tx_id], [], now=0)
    asked = sum(len(core.tick(now).send) for now in range(0, 10_000, 100))
    assert 5 <= asked <= 10
    core.forget([tx_id])
    assert not any(core.tick(now).send for now in range(10_000, 20_000, 100))


def test_a_want_is_given_up_after_its_time() -> None:
    core = Gossip(FakePool())
    core.connected(b"p" * 32)
    core.want([make_tx(1)[0]], [], now=0)
    core.tick(now=module.GIVE_UP_MS + 1)
    assert core.dropped == 1
    assert core.tick(now=module.GIVE_UP_MS + 2_000).send == ()


def test_of_final_transactions_only_a_wanted_one_is_fetched_and_only_when_its_bytes_are_not_here() -> None:
    class FinalPool(FakePool):
        def has(self, tx_id: bytes) -> bool:  # noqa: ARG002
            return True

    pool, peer = FinalPool(), b"p" * 32
    (named, encoded), (old, old_encoded), here = make_tx(1), make_tx(2), make_tx(3)
    pool.committed.update([here])
    core = Gossip(pool)
    core.connected(peer)
    core.on_frame(peer, Kind.TX_IDS, encode(TransactionIds((named, old, here[0]))), now=0)
    assert core.tick(now=100).send == ()
    asked = core.want([named, here[0]], [], now=200).send
    assert [decode(TransactionIds, send.body).ids for send in asked] == [(named,)]
    answer = encode(TransactionAnswer((encoded, old_encoded, here[1]), ()))
    received = core.on_frame(peer, Kind.TX_ANSWER, answer, now=300).received
    assert [item.candidate.id for item in received] == [named]


def test_a_large_answer_comes_in_parts_without_another_peer() -> None:
    server, client = FakePool(), Gossip(FakePool())
    serving = Gossip(server)
    me, them = b"m" * 32, b"t" * 32
    serving.connected(me)
    client.connected(them)
    txs = dict(make_tx(i, size=100_000) for i in range(30))
    server.committed.update(txs)
    got: list[bytes] = []
    requests = list(client.want(txs, [them], now=0).send)
    for _ in range(20):
        for request in requests:
            (answer,) = serving.on_frame(me, request.kind, request.body, 0).send
            effects = client.on_frame(them, answer.kind, answer.body, 0)
            got += [item.candidate.id for item in effects.received]
            requests = list(effects.send)
    assert sorted(got) == sorted(txs)


def test_forged_transactions_end_the_connection_but_not_at_once() -> None:
    core = Gossip(FakePool())
    core.connected(b"p" * 32)
    txs = [make_tx(i) for i in range(5)]
    core.on_frame(b"p" * 32, Kind.TXS, encode(PushedTransactions(tuple(raw for _, raw in txs))), now=0)
    drops = [core.refused(tx_id, now=10, forged=True).drop for tx_id, _ in txs]
    assert [len(drop) for drop in drops] == [0, 0, 0, 0, 1]


def test_blame_fades_and_honest_refusals_are_nobodys_fault() -> None:
    core = Gossip(FakePool())
    core.connected(b"p" * 32)
    for i in range(50):
        tx_id, raw = make_tx(i)
        core.on_frame(b"p" * 32, Kind.TXS, encode(PushedTransactions((raw,))), now=i * 60_000)
        assert core.refused(tx_id, now=i * 60_000, forged=i % 2 == 0).drop == ()


def test_a_forged_copy_does_not_keep_the_true_one_out() -> None:
    """The id does not cover the signature, so both copies have the same one."""
    core = Gossip(FakePool())
    body = TransactionBody(CHAIN, KEY.public, "c", "m", b"x", 1, bytes(16), 9)
    true, forged = encode(sign_transaction(body, KEY)), encode(Transaction(body, bytes(64)))
    for peer in (b"a" * 32, b"b" * 32):
        core.connected(peer)
    assert core.on_frame(b"a" * 32, Kind.TXS, encode(PushedTransactions((forged,))), now=0).received
    core.refused(transaction_id(body), now=0, forged=True)
    received = core.on_frame(b"b" * 32, Kind.TXS, encode(PushedTransactions((true,))), now=1).received
    assert [item.candidate.raw for item in received] == [true]


def test_the_id_of_encoded_bytes_is_the_id_of_the_transaction() -> None:
    for size in (1, 31, 200, 70_000):
        tx_id, encoded = make_tx(size, size)
        assert encoded_transaction_id(encoded) == tx_id
        assert transaction_id(decode(Transaction, encoded).body) == tx_id


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.sampled_from([Kind.TXS, Kind.TX_IDS, Kind.TX_REQUEST, Kind.TX_ANSWER]), st.binary(max_size=100))
def test_hostile_bodies_raise_only_decode_errors(kind: Kind, body: bytes) -> None:
    core = Gossip(FakePool())
    core.connected(b"p" * 32)
    try:
        core.on_frame(b"p" * 32, kind, body, now=0)
    except DecodeError:
        return


def test_rubbish_inside_a_batch_is_the_senders_fault() -> None:
    core = Gossip(FakePool())
    core.connected(b"p" * 32)
    with pytest.raises(DecodeError):
        core.on_frame(b"p" * 32, Kind.TXS, encode(PushedTransactions((b"rubbish",))), now=0)
    with pytest.raises(ProtocolBreach):
        core.on_frame(b"p" * 32, Kind.STATUS, b"", now=0)


def test_a_batch_with_rubbish_in_it_does_not_keep_its_other_transactions_out() -> None:
    core = Gossip(FakePool())
    for peer in (b"a" * 32, b"b" * 32):
        core.connected(peer)
    _, raw = make_tx(1)
    with pytest.raises(DecodeError):
        core.on_frame(b"a" * 32, Kind.TXS, encode(PushedTransactions((raw, b"rubbish"))), now=0)
    assert core.on_frame(b"b" * 32, Kind.TXS, encode(PushedTransactions((raw, raw))), now=0).received


def test_a_flood_of_announcements_costs_bounded_memory_and_only_its_sender_is_asked() -> None:
    core = Gossip(FakePool())
    flooder, honest = b"f" * 32, b"h" * 32
    core.connected(flooder)
    core.connected(honest)
    source = random.Random(1)
    for _ in range(20):
        ids = tuple(source.randbytes(32) for _ in range(IDS_PER_FRAME_MAX))
        core.on_frame(flooder, Kind.TX_IDS, encode(TransactionIds(ids)), now=0)
    assert core.dropped == 20 * IDS_PER_FRAME_MAX - module.OFFERS_MAX
    asked = [send.peers for now in range(0, 60_000, 500) for send in core.tick(now).send]
    assert set(asked) == {(flooder,)}
    assert len(asked) <= module.OFFERS_MAX // IDS_PER_REQUEST_MAX


def test_who_announces_what_it_does_not_have_is_dropped_and_who_lost_it_once_is_not() -> None:
    core, source = Gossip(FakePool()), random.Random(1)
    liar, honest = b"f" * 32, b"h" * 32
    for peer in (liar, honest):
        core.connected(peer)
    dropped: list[bytes] = []
    for now in range(0, 40_000, 1_000):
        for peer in (liar, honest) if now < 3_000 else (liar,):
            ids = tuple(source.randbytes(32) for _ in range(100))
            core.on_frame(peer, Kind.TX_IDS, encode(TransactionIds(ids)), now)
        for send in core.tick(now).send:
            missing = encode(TransactionAnswer((), decode(TransactionIds, send.body).ids))
            effects = core.on_frame(send.peers[0], Kind.TX_ANSWER, missing, now)
            dropped += [drop.peer for drop in effects.drop]
    assert set(dropped) == {liar}


def test_a_request_for_more_ids_than_one_answer_holds_does_not_fit_a_frame() -> None:
    with pytest.raises(ValueError, match="TX_REQUEST frame"):
        encode_frame(Kind.TX_REQUEST, encode(TransactionIds((bytes(32),) * (IDS_PER_REQUEST_MAX + 2))))


def test_a_flood_of_transactions_stops_at_what_may_be_verified_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "VERIFYING_MAX", 50)
    core = Gossip(FakePool())
    core.connected(b"f" * 32)
    txs = [make_tx(i) for i in range(80)]
    body = encode(PushedTransactions(tuple(raw for _, raw in txs)))
    assert len(core.on_frame(b"f" * 32, Kind.TXS, body, now=0).received) == 50
    assert core.dropped == 30
    for tx_id, _ in txs[:50]:
        core.refused(tx_id, now=0, forged=False)
    assert len(core.on_frame(b"f" * 32, Kind.TXS, body, now=0).received) == 50
