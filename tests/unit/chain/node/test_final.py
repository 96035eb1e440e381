"""Batches may name transactions that are final already: what counts is whether their bytes are here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from chain.ledger.block import Batch, DecodedTransaction, Header
from chain.ledger.history.snapshot import StateLoad
from chain.ledger.proof.anchor import TrustedSets, make_anchor
from chain.ledger.pruned import NotHeld
from chain.ledger.state.chunk import make_chunk
from chain.ledger.state.state import node_loader
from chain.ledger.testing import ToyChain, toy_genesis, toy_key
from chain.mempool.mempool import Mempool, PoolBounds
from chain.network.frame import Kind
from chain.network.messages import PushedTransactions, TransactionAnswer, TransactionIds
from chain.node.core import NodeCore
from chain.node.marker import FileMarker
from chain.node.ports import GossipPool, Ports
from chain.primitives.codec import decode, encode
from consensus.driver import Driver
from consensus.events import Candidate
from consensus.messages import payload_digest
from consensus.settings import Timing

HEIGHT = 5
PEER = toy_key("bureau-node").public


class Machine:
    """All ports of one core: time stands still, workers run when told, frames are kept."""

    def __init__(self) -> None:
        self.now = 0
        self.work: list[Callable[[], None]] = []
        self.sent: list[tuple[Kind, bytes]] = []
        self.connected = (PEER,)

    def now_ms(self) -> int:
        return self.now

    def wall_ms(self) -> int:
        return 1_800_000_000_000

    def send(self, _peer: bytes, kind: Kind, body: bytes) -> bool:
        self.sent.append((kind, body))
        return True

    def broadcast(self, kind: Kind, body: bytes) -> int:
        return self.send(PEER, kind, body)

    def multicast(self, peers: Iterable[bytes], kind: Kind, body: bytes) -> int:
        return sum([self.send(peer, kind, body) for peer in peers])

    def disconnect(self, peer: bytes, reason: str) -> None:
        raise AssertionError((peer, reason))

    def set_members(self, members: Mapping[bytes, str]) -> None: ...

    def verify(
        self, candidates: Sequence[DecodedTransaction], done: Callable[[Sequence[bool]], None]
    ) -> None:
        self.work.append(lambda: done([True] * len(candidates)))

    def execute(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self.work.append(lambda: done(work()))

    def failed(self, error: BaseException) -> None:
        raise error

    def certified(self) -> None: ...

    def membership_changed(self) -> None: ...

    def run(self) -> None:
        while self.work:
            self.work.pop(0)()

    def asked(self) -> list[bytes]:
        """Return the ids asked of the peer since the last call."""
        bodies = [body for kind, body in self.sent if kind is Kind.TX_REQUEST]
        self.sent.clear()
        return [tx_id for body in bodies for tx_id in decode(TransactionIds, body).ids]


@pytest.fixture(autouse=True)
def _delivered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consensus is not part of these scenes: the test hands batches over in its place."""
    monkeypatch.setattr(Driver, "executed", lambda *_: None)


class Scene:
    """A node whose ledger came from the state of `source`, or block by block, and one transaction of it."""

    def __init__(self, folder: Path, *, synced: bool) -> None:
        genesis = toy_genesis()
        self.source, self.chain = ToyChain(genesis), ToyChain(genesis)
        for height in range(1, HEIGHT + 1):
            self.source.add(self.source.call("put", {"key": height, "value": height}))
        if synced:
            self._load_state()
        else:
            for height in range(1, HEIGHT + 1):
                self.chain.ledger.apply_block(self.source.block(height))
        self.old = DecodedTransaction.of(self.source.block(2).transactions[0])
        self.new = self.source.call("put", {"key": "k", "value": 9})
        self.machine = machine = Machine()
        self.core = NodeCore(
            self.chain.ledger,
            toy_key("bank-node"),
            Ports(
                machine,
                machine,
                machine,
                machine,
                FileMarker(folder / "node.voted", toy_key("bank-node").public),
                os.urandom,
            ),
            timing=Timing(),
            bounds=PoolBounds(100, 1_000_000, 100),
        )
        self.core.on_connected(PEER)
        machine.sent.clear()
        ledger = self.source.ledger
        empty = Mempool(genesis.chain_id, genesis.limits, ledger.signer_refusal, ledger.read.is_final)
        self.peer = GossipPool(empty, ledger)

    def _load_state(self) -> None:
        ledger, read = self.chain.ledger, self.source.ledger.read
        anchor = make_anchor(read, HEIGHT, self.chain.genesis.limits.consensus_window)
        trusted = TrustedSets(self.chain.genesis)
        load = ledger.replace(lambda: StateLoad.begin(ledger.store, trusted, anchor))
        nodes = node_loader(self.source.store)
        while not load.complete:
            path = next(iter(load.loader.wanted()))
            chunk = make_chunk(nodes, read.entry_at_leaf, read.tree_root(HEIGHT), path)
            assert chunk is not None
            load.take(chunk)
        ledger.replace(load.install)

    def ordered(self) -> Header:
        """Order both transactions at the next height; return its header at the peer."""
        self.core.pool.admit(self.new, HEIGHT, verified=True)
        payload = self.source.payload([self.old, self.new])
        header = self.source.add(self.old, self.new)
        self.core.execute(HEIGHT + 1, payload)
        self.machine.run()
        return header

    def proposed(self) -> Candidate:
        """Return a re-proposal of both transactions for the next height."""
        self.core.pool.admit(self.new, HEIGHT, verified=True)
        time = self.source.ledger.head_header.time + 1
        payload = encode(Batch(HEIGHT + 1, 0, 0, PEER, time, (self.old.id, self.new.id)))
        return Candidate(HEIGHT + 1, 1, PEER, payload, payload_digest(payload), (), fresh=False, base=0)

    def deliver(self, tx_id: bytes, kind: Kind = Kind.TX_ANSWER) -> None:
        """Let the peer send a transaction that it has on its ledger."""
        raw = self.peer.get(tx_id)
        assert raw is not None
        answer = TransactionAnswer((raw,), ()) if kind is Kind.TX_ANSWER else PushedTransactions((raw,))
        self.core.on_frame(PEER, kind, encode(answer))
        self.machine.run()


def test_a_final_transaction_of_an_ordered_batch_is_fetched_when_only_its_id_is_here(tmp_path: Path) -> None:
    scene = Scene(tmp_path, synced=True)
    with pytest.raises(NotHeld):
        scene.chain.ledger.read.transaction(scene.old.id)
    header = scene.ordered()
    assert scene.chain.ledger.head.height == HEIGHT
    assert scene.core.lacking() == [scene.old.id]
    assert scene.machine.asked() == [scene.old.id]
    scene.deliver(scene.old.id)
    assert scene.chain.ledger.head_header == header
    assert scene.core.lacking() == []
    assert scene.core.pool.ids() == []


def test_a_batch_that_lacks_transactions_nobody_sends_is_overtaken_by_the_block_of_its_height(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, synced=True)
    header = scene.ordered()
    scene.source.add(scene.source.call("put", {"key": "k", "value": 10}))
    for height in (HEIGHT + 1, HEIGHT + 2):
        scene.core._executor.put(scene.source.block(height))
    scene.machine.run()
    assert scene.chain.ledger.read.header(HEIGHT + 1) == header
    assert scene.chain.ledger.head_header == scene.source.ledger.head_header
    assert scene.core.lacking() == []


def test_a_final_transaction_of_an_ordered_batch_is_taken_from_the_own_ledger(tmp_path: Path) -> None:
    scene = Scene(tmp_path, synced=False)
    header = scene.ordered()
    assert scene.chain.ledger.head_header == header
    assert scene.machine.asked() == []


def test_a_reproposal_with_a_final_transaction_is_judged_at_once_when_the_ledger_has_it(
    tmp_path: Path,
) -> None:
    scene = Scene(tmp_path, synced=False)
    assert scene.core._orderer.check(scene.proposed()) is True
    assert scene.machine.asked() == []


def test_a_reproposal_with_a_final_transaction_is_judged_once_a_peer_sent_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, synced=True)
    judged: list[bool] = []
    monkeypatch.setattr(scene.core.driver, "checked", lambda _proposal, valid, _now: judged.append(valid))
    assert scene.core._orderer.check(scene.proposed()) is None
    assert scene.machine.asked() == [scene.old.id]
    scene.deliver(scene.old.id)
    assert judged == [True]


def test_a_waiting_reproposal_is_judged_when_a_block_brings_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, synced=False)
    judged: list[bool] = []
    monkeypatch.setattr(scene.core.driver, "checked", lambda _proposal, valid, _now: judged.append(valid))
    time = scene.source.ledger.head_header.time + 9_000
    payload = encode(Batch(HEIGHT + 2, 0, 0, PEER, time, (scene.new.id,)))
    late = Candidate(HEIGHT + 2, 1, PEER, payload, payload_digest(payload), (), fresh=False, base=0)
    assert scene.core._orderer.check(late) is None
    scene.source.add(scene.new)
    scene.core._executor.put(scene.source.block(HEIGHT + 1))
    scene.machine.run()
    assert judged == [True]


@pytest.mark.parametrize("kind", [Kind.TXS, Kind.TX_IDS])
def test_a_final_transaction_that_no_batch_names_is_neither_fetched_nor_taken(
    tmp_path: Path, kind: Kind
) -> None:
    scene = Scene(tmp_path, synced=True)
    if kind is Kind.TX_IDS:
        scene.core.on_frame(PEER, kind, encode(TransactionIds((scene.old.id,))))
    else:
        scene.deliver(scene.old.id, kind)
    scene.machine.now += 1_000
    scene.core.on_time()
    assert scene.machine.asked() == []
    assert scene.core.pool.ids() == []


def test_a_transaction_pinned_for_a_batch_never_ordered_is_gone_once_it_expired(tmp_path: Path) -> None:
    scene = Scene(tmp_path, synced=False)
    brief = scene.source.call("put", {"key": "k", "value": 1}, valid_until=HEIGHT + 1)
    lasting = scene.source.call("put", {"key": "k", "value": 2})
    for call in (brief, lasting):
        scene.core.pool.admit(call, HEIGHT, verified=True)
    time = scene.source.ledger.head_header.time + 1
    payload = encode(Batch(HEIGHT + 1, 0, 0, PEER, time, (brief.id, lasting.id)))
    lost = Candidate(HEIGHT + 1, 1, PEER, payload, payload_digest(payload), (), fresh=False, base=0)
    assert scene.core._orderer.check(lost) is True
    assert set(scene.core._votes.pinned_ids()) == {brief.id, lasting.id}
    scene.source.add(scene.new)
    scene.core._executor.put(scene.source.block(HEIGHT + 1))
    scene.machine.run()
    assert brief.id not in scene.core._votes.pinned_ids()
    assert scene.core.pool.ids() == [lasting.id]
