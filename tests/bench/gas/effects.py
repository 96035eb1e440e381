"""What the ledger does with the effects of a transaction: CPU time a write, a byte, an event, a cold read.

Blocks of prepared outcomes are executed by a real ledger over LevelDB, so that state tree, receipts, event
trees, subject logs and storage are in the times; consensus, gossip and the disk's latency are not.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from chain.ledger.genesis import Limits
from chain.ledger.state.state import CachedState, node_loader
from chain.ledger.state.tree import StateTree
from chain.ledger.store.leveldb import LevelStore
from chain.ledger.testing import ToyChain, ToyRuntime, toy_genesis
from chain.primitives.runtimeport import OK, Call, Event, Outcome, StateReader, map_key
from chain.primitives.values import Value, encode_value

TRANSACTIONS = 100
"""A block."""
EFFECTS = 8
"""A transaction; few enough for its share of the block's fixed costs to stay visible."""
ENTRIES = 20_000
"""Entries of the state before anything is measured."""
GAS = 1_000


@dataclass(slots=True)
class _Prepared:
    """A runtime whose outcomes are made beforehand: `run(transaction number)`."""

    outcomes: list[Outcome]
    toy: ToyRuntime
    next: int = 0

    def execute(self, call: Call, state: StateReader) -> Outcome:
        """Return the next outcome."""
        del call, state
        self.next += 1
        return self.outcomes[self.next - 1]

    def view(self, call: Call, state: StateReader) -> Outcome:
        """Nobody asks."""
        return self.toy.view(call, state)

    def bootstrap(
        self,
        sources: Mapping[str, str],
        init_args: Mapping[str, Mapping[str, Value]],
        *,
        time: int,
        state: StateReader,
    ) -> Outcome:
        """Write the members."""
        return self.toy.bootstrap(sources, init_args, time=time, state=state)


@dataclass(frozen=True, slots=True)
class LedgerCost:
    """ns that the ledger adds to each effect of one kind: CPU, and for bytes the disk's time too."""

    transaction: float
    """One without effects."""
    write: float
    write_byte: float
    delete: float
    event: float
    event_subject: float
    event_byte: float
    args_byte: float
    cold_read: float
    read_byte: float
    """Of a value that does not stand in its bucket: read and hashed."""


def ledger_cost(blocks: int) -> LedgerCost:
    """Measure on a ledger of 20,000 entries; the least of `blocks` blocks for each kind of effect."""
    with tempfile.TemporaryDirectory() as folder:
        return _Bench(Path(folder)).run(blocks)


class _Bench:
    def __init__(self, folder: Path) -> None:
        self.runtime = _Prepared([], ToyRuntime())
        genesis = toy_genesis(limits=Limits())
        self.store = LevelStore(folder)
        self.chain = ToyChain(genesis, self.store, self.runtime)
        self.serial = 0
        self.padding = b""

    def run(self, blocks: int) -> LedgerCost:
        """Fill the state, then time each kind of block."""
        for start in range(0, ENTRIES, TRANSACTIONS * 100):
            places = range(start, start + TRANSACTIONS * 100, 100)
            self._block([_writes(range(place, place + 100), b"\x01") for place in places])
        bare = self._least(lambda _: Outcome(OK, gas_used=GAS), blocks)
        found = {
            "write": self._least(lambda n: _writes(self._spread(n), encode_value(n)), blocks),
            "write_byte": self._least(lambda n: _writes(self._spread(n), _text(n, 1_000)), blocks),
            "delete": self._deletes(blocks),
            "event": self._least(lambda n: _events(n, 10, ()), blocks),
            "event_subject": self._least(lambda n: _events(n, 10, (f"job:{n}",)), blocks),
            "event_byte": self._least(lambda n: _events(n, 1_000, ()), blocks),
        }
        effects = {name: (ns - bare) / EFFECTS for name, ns in found.items()}
        disk = self._disk_byte()
        for kind in ("write", "event"):
            effects[f"{kind}_byte"] = (effects[f"{kind}_byte"] - effects[kind]) / 1_000 + disk
        self.padding = b"x" * 1_000
        padded = self._least(lambda _: Outcome(OK, gas_used=GAS), blocks)
        cold, read_byte = self._cold_read(range(ENTRIES)), self._read_byte()
        self.store.close()
        return LedgerCost(
            transaction=bare,
            args_byte=(padded - bare) / 1_000 + disk,
            cold_read=cold,
            read_byte=read_byte,
            **effects,
        )

    def _disk_byte(self) -> float:
        """Return the elapsed ns a byte of storing 20 MB at random places, compaction included."""
        source = Random(1)
        rows = [[(source.randbytes(16), source.randbytes(4_000)) for _ in range(100)] for _ in range(50)]
        begin = time.perf_counter_ns()
        for some in rows:
            self.store.write(some)
        return (time.perf_counter_ns() - begin) / 20_000_000

    def _spread(self, number: int) -> list[int]:
        """Return places all over the state, never the same twice in a block."""
        return [(number * EFFECTS + place) * 7_919 % ENTRIES for place in range(EFFECTS)]

    def _least(self, make: Callable[[int], Outcome], blocks: int) -> float:
        times = []
        for _ in range(blocks):
            self.serial += TRANSACTIONS
            times.append(self._block([make(self.serial + place) for place in range(TRANSACTIONS)]))
        return min(times) / TRANSACTIONS

    def _deletes(self, blocks: int) -> float:
        times = []
        for block in range(blocks):
            begin = block * TRANSACTIONS * EFFECTS
            outcomes = [
                _writes(range(begin + place * EFFECTS, begin + (place + 1) * EFFECTS), None)
                for place in range(TRANSACTIONS)
            ]
            times.append(self._block(outcomes))
        return min(times) / TRANSACTIONS

    def _block(self, outcomes: list[Outcome]) -> int:
        """Execute and certify one block; return the CPU ns of executing it."""
        self.runtime.outcomes, self.runtime.next = outcomes, 0
        candidates = [self.chain.call("prepared", {"x": self.padding}) for _ in outcomes]
        payload = self.chain.payload(candidates)
        height = self.chain.ledger.head.height + 1
        begin = time.process_time_ns()
        header = self.chain.ledger.execute(height, payload, candidates)
        spent = time.process_time_ns() - begin
        self.chain.ledger.certify(self.chain.certificate(header))
        assert self.runtime.next == len(outcomes)
        return spent

    def _read_byte(self) -> float:
        """Return what a byte of a large value adds to a cold read."""
        self.padding = b""
        small = self._cold_read(range(80))
        self._block([_writes(range(at, at + EFFECTS), _text(at, 60_000)) for at in range(0, 80, EFFECTS)])
        return (self._cold_read(range(80)) - small) / 60_000

    def _cold_read(self, places: range) -> float:
        root = self.chain.ledger.read.tree_root(self.chain.ledger.head.height)
        state = CachedState(self.store, StateTree(node_loader(self.store)), root)
        keys = [
            map_key("values", places[turn * 7_919 % len(places)]) for turn in range(min(len(places), 5_000))
        ]
        begin = time.process_time_ns()
        for key in keys:
            state.get("toy", key)
        return (time.process_time_ns() - begin) / len(keys)


def _writes(places: Iterable[int], data: bytes | None) -> Outcome:
    writes = {("toy", map_key("values", place)): data for place in places}
    return Outcome(OK, gas_used=GAS, writes=writes)


def _text(number: int, size: int) -> bytes:
    return encode_value(str(number).ljust(size, "x"))


def _events(number: int, size: int, subjects: tuple[str, ...]) -> Outcome:
    data = encode_value({"a": str(number).ljust(size, "x")})
    return Outcome(OK, gas_used=GAS, events=tuple([Event("toy", "Noted", data, subjects)] * EFFECTS))
