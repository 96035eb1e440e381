"""A height that kills every process is noticed at the next start, and left to catch-up when that repeats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chain.ledger.block import DecodedTransaction, Skip
from chain.ledger.ledger import Ledger
from chain.ledger.store import rows
from chain.ledger.store.faults import DataDamaged, StorageFailed
from chain.ledger.store.memory import MemoryStore
from chain.ledger.testing import ToyChain, ToyRuntime, toy_decision
from chain.mempool.mempool import Mempool, PoolBounds
from chain.node.begun import Beginnings, advise, describe, read_begun
from chain.node.execution_queue import HOLD_MS, TIMES_MANY, ExecutionFailed, ExecutionQueue, Ordered
from chain.primitives.certificate import payload_digest

HEIGHT = 3


class Workers:
    """Runs work at once; keeps what it raised."""

    def __init__(self) -> None:
        self.failure: Exception | None = None

    def verify(self, *_: object) -> None: ...

    def execute(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        try:
            result = work()
        except Exception as error:
            self.failure = error
            return
        done(result)


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def want(self, *_: object) -> None: ...

    def executed(self, height: int, *_: object) -> None:
        self.told.append(("executed", height))

    def applied(self, certificate: Any, *_: object) -> None:
        self.told.append(("applied", certificate.height))

    def rejected(self, *said: object) -> None:
        self.told.append(said)

    def installed(self, *_: object) -> None: ...


class Process:
    """One process of a node over a store: dies with the first thing that its work raises."""

    def __init__(
        self, store: MemoryStore, chain: ToyChain, batch: list[DecodedTransaction], signed: dict[int, int]
    ) -> None:
        self.now = 0
        genesis = chain.genesis
        self.ledger = Ledger(store, genesis, ToyRuntime())
        bounds = PoolBounds(100, 1_000_000, 100)
        pool = Mempool(
            genesis.chain_id, genesis.limits, self.ledger.signer_refusal, self.ledger.is_final, bounds
        )
        for candidate in batch:
            pool.hold(candidate, verified=True)
        self.workers, self.listener = Workers(), Listener()
        self.executor = ExecutionQueue(
            self.ledger, pool, self.listener, self.workers, lambda: self.now, signed
        )

    def pass_time(self, milliseconds: int) -> None:
        self.now += milliseconds
        self.executor.on_time(self.now)


class Node:
    """A chain at height 2 whose next batch kills, and the store of a node that stands there."""

    def __init__(self) -> None:
        self.chain = ToyChain()
        for number in range(HEIGHT - 1):
            self.chain.add(self.chain.call("put", {"key": number, "value": number}))
        self.batch = [self.chain.call("crash", {}), self.chain.call("put", {"key": "k", "value": 1})]
        self.payload = self.chain.payload(self.batch)
        self.store = MemoryStore()
        ledger = Ledger(self.store, self.chain.genesis, ToyRuntime())
        for height in range(1, HEIGHT):
            ledger.apply_block(self.chain.block(height))

    @property
    def decision(self) -> Any:
        skip = Skip(HEIGHT, payload_digest(self.payload), 0, (self.batch[0].id,), "kills")
        return toy_decision(self.chain.genesis, skip)

    def start(self, signed: dict[int, int] | None = None) -> Process:
        return Process(self.store, self.chain, self.batch, signed or {})

    def die(self, times: int) -> None:
        for _ in range(times):
            process = self.start()
            process.executor.put(Ordered(HEIGHT, self.payload))
            assert isinstance(process.workers.failure, ExecutionFailed)


@pytest.fixture
def node() -> Node:
    return Node()


def test_a_height_that_kills_is_counted_from_the_first_process_that_began_with_it(node: Node) -> None:
    node.die(TIMES_MANY)
    process = node.start()
    begun = process.executor.unfinished()
    assert begun is not None
    assert (begun.height, begun.payload, begun.times) == (HEIGHT, node.payload, TIMES_MANY)
    assert f"height {HEIGHT} is ordered; this node began to execute it 2 times in a row" in describe(begun)
    assert "assent node skip show" in advise(begun)


def test_the_note_is_written_once_a_process_and_costs_later_heights_nothing(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, writes = node.start(), list[bytes]()
    write = MemoryStore.write

    def counted(store: MemoryStore, puts: Any, *more: Any, **options: Any) -> None:
        kept = list(puts)
        writes.extend(key for key, _ in kept if key == rows.BEGUN_KEY)
        write(store, kept, *more, **options)

    monkeypatch.setattr(MemoryStore, "write", counted)
    for number in range(3):
        batch = [node.chain.call("put", {"key": number, "value": 0})]
        payload = node.chain.payload(batch)
        for candidate in batch:
            process.executor._transactions._pool.hold(candidate, verified=True)
        process.executor.put(Ordered(HEIGHT + number, payload))
        node.chain.add(*batch)
    assert process.ledger.head.height == HEIGHT + 2
    assert writes == [rows.BEGUN_KEY]
    assert process.executor.unfinished() is None
    assert node.start().executor.unfinished() is None


def test_the_failure_names_height_batch_reason_and_the_way_out(node: Node) -> None:
    process = node.start()
    process.executor.put(Ordered(HEIGHT, node.payload))
    text = str(process.workers.failure)
    for part in (f"height {HEIGHT}", payload_digest(node.payload).hex(), "MemoryError", "assent node skip"):
        assert part in text


def test_a_failing_disk_is_not_taken_for_a_block_that_nobody_can_execute(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = node.start()

    def full(*_: object) -> None:
        raise StorageFailed("disk: full")

    monkeypatch.setattr(Ledger, "execute", full)
    process.executor.put(Ordered(HEIGHT, node.payload))
    assert isinstance(process.workers.failure, StorageFailed)


def test_after_two_deaths_the_height_waits_for_a_block_and_then_is_tried_again(node: Node) -> None:
    node.die(TIMES_MANY)
    process = node.start()
    process.executor.put(Ordered(HEIGHT, node.payload))
    process.pass_time(HOLD_MS - 1)
    assert process.workers.failure is None
    assert process.executor.next_deadline() == HOLD_MS
    process.pass_time(1)
    assert isinstance(process.workers.failure, ExecutionFailed)


def test_a_block_under_a_skip_overtakes_the_batch_that_waits(node: Node) -> None:
    node.die(TIMES_MANY)
    process = node.start()
    process.executor.put(Ordered(HEIGHT, node.payload))
    node.chain.ledger.add_skip(node.decision)
    node.chain.add(*node.batch)
    process.executor.put(node.chain.block(HEIGHT))
    assert process.workers.failure is None
    assert process.listener.told == [("applied", HEIGHT), ("executed", HEIGHT)]
    assert process.ledger.head == node.chain.ledger.head


def test_a_node_that_was_given_the_decision_does_not_wait(node: Node) -> None:
    node.die(TIMES_MANY)
    Ledger(node.store, node.chain.genesis, ToyRuntime()).add_skip(node.decision)
    process = node.start()
    process.executor.put(Ordered(HEIGHT, node.payload))
    assert process.listener.told == [("executed", HEIGHT)]
    assert process.ledger.read.skip(HEIGHT) == node.decision


@pytest.mark.parametrize("attempt", [0, 1])
def test_a_height_whose_skip_was_signed_waits_for_that_decision_however_long(
    node: Node, attempt: int
) -> None:
    process = node.start({HEIGHT: 1})
    process.executor.put(Ordered(HEIGHT, node.payload))
    process.pass_time(100 * HOLD_MS)
    assert (process.workers.failure, process.listener.told) == (None, [])
    assert "signed a skip of it (attempt 1)" in process.executor.says()
    decision = toy_decision(node.chain.genesis, replace(node.decision.skip, attempt=attempt))
    Ledger(node.store, node.chain.genesis, ToyRuntime()).add_skip(decision)
    process = node.start({HEIGHT: 1})
    process.executor.put(Ordered(HEIGHT, node.payload))
    assert process.listener.told == ([("executed", HEIGHT)] if attempt else [])
    assert bool(process.executor.says()) is not bool(attempt)


def test_a_height_whose_skip_was_signed_is_taken_as_a_certified_block(node: Node) -> None:
    """Whatever decision, or none, the others certified it under."""
    harmless = [node.batch[1]]
    process = node.start({HEIGHT: 0})
    process.executor.put(Ordered(HEIGHT, node.chain.payload(harmless)))
    assert process.listener.told == []
    node.chain.add(*harmless)
    process.executor.put(node.chain.block(HEIGHT))
    assert process.listener.told == [("applied", HEIGHT), ("executed", HEIGHT)]


def test_a_certified_block_that_only_this_node_cannot_execute_is_told_apart(node: Node) -> None:
    beginnings = Beginnings(node.store, HEIGHT - 1)
    beginnings.note(HEIGHT, node.payload, certified=True)
    begun = read_begun(node.store, HEIGHT - 1)
    assert begun is not None
    assert "is certified, so others executed it; this node began to execute it 1 time and" in describe(begun)
    assert "more memory" in advise(begun)
    assert read_begun(node.store, HEIGHT) is None


def test_an_unreadable_note_is_damage(node: Node) -> None:
    node.store.write([(rows.BEGUN_KEY, b"?")])
    with pytest.raises(DataDamaged, match="note of the height begun last"):
        node.start()
