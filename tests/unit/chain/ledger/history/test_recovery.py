"""Crashes at every write, kill -9, damaged directories, rebuilding: the parts always agree, or it is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.ledger.block import DecodedTransaction
from chain.ledger.history.rebuild import rebuild
from chain.ledger.history.recovery import WrongGenesis
from chain.ledger.ledger import Ledger
from chain.ledger.proof.verifier import ProofVerifier
from chain.ledger.store import rows
from chain.ledger.store.faults import DataDamaged, DataNewer
from chain.ledger.store.leveldb import LevelStore
from chain.ledger.store.memory import MemoryStore
from chain.ledger.store.port import FORMAT_VERSION
from chain.ledger.store.records import Row
from chain.ledger.testing import ToyChain, ToyRuntime, toy_genesis
from chain.ledger.writer import LedgerDiverged
from chain.primitives.codec import encode
from chain.primitives.runtimeport import Call, Outcome, StateReader
from tests.unit.chain.ledger.plainrows import plain_rows


class Crash(Exception):
    """The machine lost power."""


class CrashingStore(MemoryStore):
    """Loses power at the n-th write, before or after it reached the disk."""

    def __init__(self, origin: MemoryStore | None = None) -> None:
        super().__init__(origin)
        self.left = 10**9
        self.after = False

    def write(self, *changes: Any, **options: Any) -> None:
        self.left -= 1
        if self.left == 0 and not self.after:
            self.crash()
            raise Crash
        super().write(*changes, **options)
        if self.left == 0:
            self.crash()
            raise Crash


def batches(chain: ToyChain) -> list[list[DecodedTransaction]]:
    def call(i: int, k: int) -> DecodedTransaction:
        if k == 3:
            return chain.call("delete", {"key": i - 1})
        return chain.call("move", {"source": i, "target": i + k, "subject": f"job:{k}"})

    return [[call(i, k) for k in range(4)] for i in range(4)]


def advance(chain: ToyChain, work: list[list[DecodedTransaction]]) -> None:
    """Do what is still to do of the work, as a restarted node does: certify what is there, then go on."""
    head = chain.ledger.head_header
    if chain.ledger.certified_height < head.height:
        chain.ledger.certify(chain.certificate(head))
    for batch in work[head.height :]:
        chain.add(*batch)


def test_31_a_crash_at_any_write_leaves_a_ledger_that_opens_and_ends_the_same() -> None:
    """indy-node 1618: ledger parts disagree after a crash; FISCO-BCOS 4576: restart refuses healthy data."""
    genesis = toy_genesis()
    model = ToyChain(genesis)
    work = batches(model)
    heads = [model.ledger.head]
    for batch in work:
        model.add(*batch)
        heads.append(model.ledger.head)
    expected = dict(model.store.iterate())
    writes = 2 + 2 * len(work)
    for crash_at in range(1, writes + 1):
        for after in (False, True):
            store = CrashingStore()
            store.left, store.after = crash_at, after
            with pytest.raises(Crash):
                advance(ToyChain(genesis, store), work)
            reopened = ToyChain(genesis, store)
            assert reopened.ledger.head in heads
            assert reopened.ledger.certified_height in (
                reopened.ledger.head.height,
                reopened.ledger.head.height - 1,
                0,
            )
            advance(reopened, work)
            assert dict(store.iterate()) == expected, f"crash at write {crash_at}, after={after}"


def test_ids_are_remembered_across_a_restart() -> None:
    """Replay protection is part of the ledger, not of a process."""
    chain = ToyChain()
    call = chain.call("move", {"source": "a", "target": "b"})
    chain.add(call)
    again = ToyChain(chain.genesis, chain.store)
    again.add(call)
    assert [receipt.code for receipt in again.ledger.read.receipts(2)] == ["REPLAYED"]
    assert again.ledger.head.transactions == 1


WRITER = """
import sys
from pathlib import Path
from chain.ledger.store.leveldb import LevelStore
from chain.ledger.testing import ToyChain
chain = ToyChain(store=LevelStore(Path(sys.argv[1])))
chain._nonce = chain.ledger.head.height * 100
while True:
    height = chain.ledger.head.height
    calls = [chain.call("move", {"source": i, "target": height, "subject": "dataset:x"}) for i in range(20)]
    chain.add(*calls)
    print(chain.ledger.head.height, chain.ledger.head.header_hash.hex(), calls[0].id.hex(), flush=True)
"""


def test_kill_9_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """After SIGKILL at arbitrary moments the directory opens, and every printed height is there."""
    reached = 0
    for lines in (3, 8, 21):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        seen = [process.stdout.readline().split() for _ in range(lines)]
        os.kill(process.pid, signal.SIGKILL)
        seen += [line.split() for line in process.stdout if line.endswith("\n")]
        process.wait()
        process.stdout.close()
        store = LevelStore(tmp_path / "data")
        ledger = Ledger(store, toy_genesis(), ToyRuntime())
        assert int(seen[0][0]) > reached
        reached = int(seen[-1][0])
        assert reached <= ledger.head.height <= reached + 1
        for height, header, tx_id in seen:
            assert ledger.read.height_of(bytes.fromhex(header)) == int(height)
            assert ledger.read.position(bytes.fromhex(tx_id)) == (int(height), 0)
            assert int(height) <= ledger.certified_height
        ProofVerifier(ledger.genesis).check_history(ledger.prove.history("dataset:x", 0, reached))
        store.close()


def test_the_wrong_genesis_is_named() -> None:
    chain = ToyChain()
    other = toy_genesis(["bank", "bureau"])
    with pytest.raises(WrongGenesis) as caught:
        Ledger(chain.store, other, ToyRuntime())
    assert chain.genesis.chain_id.hex()[:16] in str(caught.value)
    assert other.chain_id.hex()[:16] in str(caught.value)


def test_a_directory_of_an_earlier_format_is_refused_with_what_to_do() -> None:
    chain = ToyChain()
    chain.store.write([(b"\0format", (FORMAT_VERSION - 1).to_bytes(4, "big"))])
    with pytest.raises(DataDamaged, match=f"format {FORMAT_VERSION - 1} is of an earlier Assent.*remove"):
        ToyChain(chain.genesis, chain.store)


def test_a_directory_of_a_newer_format_is_refused() -> None:
    chain = ToyChain()
    chain.store.write([(b"\0format", (FORMAT_VERSION + 1).to_bytes(4, "big"))])
    with pytest.raises(DataNewer):
        ToyChain(chain.genesis, chain.store)


Damage = Callable[[ToyChain], tuple[list[Row], list[bytes]]]


def deleted(key: bytes) -> Damage:
    return lambda _: ([], [key])


def other_header(chain: ToyChain) -> tuple[list[Row], list[bytes]]:
    header = chain.ledger.read.header(1)
    return [(rows.at(rows.HEADER, 2), encode(header))], []


def other_certificate(chain: ToyChain) -> tuple[list[Row], list[bytes]]:
    certificate = chain.ledger.read.certificate(1)
    return [(rows.at(rows.CERTIFICATE, 2), encode(certificate))], []


def other_root(chain: ToyChain) -> tuple[list[Row], list[bytes]]:
    row = chain.store.get(rows.at(rows.ROOT, 1))
    assert row is not None
    return [(rows.at(rows.ROOT, 2), row)], []


def records_in(chain: ToyChain) -> dict[bytes, bytes]:
    """Return the records of the one generation that a chain in memory has, to be damaged."""
    assert isinstance(chain.store, MemoryStore)
    (records,) = chain.store._generations.held.values()
    return records


def flipped_root(chain: ToyChain) -> tuple[list[Row], list[bytes]]:
    root = chain.ledger.read.tree_root(2)
    assert root is not None
    record = bytearray(records_in(chain)[root[1]])
    record[60] ^= 1
    records_in(chain)[root[1]] = bytes(record)
    return [], []


def lost_root(chain: ToyChain) -> tuple[list[Row], list[bytes]]:
    root = chain.ledger.read.tree_root(2)
    assert root is not None
    del records_in(chain)[root[1]]
    return [], []


def lost_end(chain: ToyChain) -> tuple[list[Row], list[bytes]]:
    del records_in(chain)[max(records_in(chain))]
    return [], []


def lost_records(chain: ToyChain) -> tuple[list[Row], list[bytes]]:
    assert isinstance(chain.store, MemoryStore)
    chain.store._generations.held.clear()
    chain.store.crash()
    return [], []


def head_behind(chain: ToyChain) -> tuple[list[Row], list[bytes]]:
    header = chain.ledger.read.header(1)
    assert header is not None
    head = chain.ledger.head
    parent = chain.ledger.head_header.parent
    return [(rows.HEAD_KEY, encode(type(head)(1, parent, 4, 0, 9)))], []


FROM_BLOCKS: dict[str, Damage] = {
    "head row is missing": deleted(rows.HEAD_KEY),
    "a row is unreadable": lambda _: ([(rows.HEAD_KEY, b"\xc1")], []),
    "its header is missing or another": deleted(rows.at(rows.HEADER, 2)),
    "there are headers above it": head_behind,
    "the index of header hashes lacks": lambda chain: (
        [],
        [rows.HEADER_HASH + chain.ledger.head.header_hash],
    ),
    "4 transactions; some of their rows": deleted(rows.at_position(rows.RECEIPT, 2, 3)),
    "the state of height 2 is missing": deleted(rows.at(rows.ROOT, 2)),
    "state root of height 2 is not its header's": other_root,
    "does not hash to what its parent says": flipped_root,
    "is missing; run": lost_root,
    "the newest, is missing: its database was cut off": lost_end,
    "records: 1/": lost_records,
    "a rebuild was interrupted": lambda _: ([(rows.REBUILD_KEY, bytes(8))], []),
}
"""What follows from the blocks, by what the error says of it."""
FROM_PEERS: dict[str, Damage] = {
    "says height 2, its header": other_header,
    "the batch of height 2 is missing": deleted(rows.at(rows.PAYLOAD, 2)),
    "4 transactions; some of their rows": deleted(rows.at_position(rows.TRANSACTION, 2, 0)),
    "has no certificate": deleted(rows.at(rows.CERTIFICATE, 2)),
    "is over another header": other_certificate,
}
"""What only peers can give again."""


def damaged(chain: ToyChain, text: str, damage: Damage) -> None:
    for batch in batches(chain)[:2]:
        chain.add(*batch)
    chain.store.write(*damage(chain))
    with pytest.raises(DataDamaged, match="assent node rebuild") as caught:
        ToyChain(chain.genesis, chain.store)
    assert text in str(caught.value)


@pytest.mark.parametrize("text", FROM_PEERS)
def test_damage_is_named_with_its_remedy(text: str) -> None:
    damaged(ToyChain(), text, FROM_PEERS[text])


@pytest.mark.parametrize("text", FROM_BLOCKS)
def test_rebuild_mends_all_that_follows_from_blocks(text: str) -> None:
    model = ToyChain()
    for batch in batches(model)[:2]:
        model.add(*batch)
    chain = ToyChain()
    damaged(chain, text, FROM_BLOCKS[text])
    rebuild(chain.store, chain.genesis, ToyRuntime())
    assert plain_rows(chain.store) == plain_rows(model.store)
    assert ToyChain(chain.genesis, chain.store).ledger.head == model.ledger.head


def test_rebuild_ends_at_the_same_rows_and_tells_its_progress() -> None:
    chain = ToyChain()
    for batch in batches(chain):
        chain.add(*batch)
    chain.ledger.execute(5, b"", [])
    whole = plain_rows(chain.store)
    progress: list[tuple[int, int]] = []
    rebuild(chain.store, chain.genesis, ToyRuntime(), lambda *step: progress.append(step))
    rebuilt = Ledger(chain.store, chain.genesis, ToyRuntime())
    assert plain_rows(chain.store) == whole
    assert (rebuilt.head, rebuilt.certified_height) == (chain.ledger.head, 4)
    assert progress == [(height, 5) for height in range(1, 6)]


def test_an_interrupted_rebuild_is_recognised_and_can_be_repeated() -> None:
    genesis = toy_genesis()
    model = ToyChain(genesis, CrashingStore())
    work = batches(model)
    advance(model, work)
    expected = plain_rows(model.store)
    for crash_at in range(1, 30):
        store = CrashingStore(model.store)
        store.left = crash_at
        try:
            rebuild(store, genesis, ToyRuntime())
        except Crash:
            if crash_at <= 2:  # before the mark was written: nothing happened yet
                assert ToyChain(genesis, store).ledger.head == model.ledger.head
                assert plain_rows(store) == expected
            else:
                with pytest.raises(DataDamaged, match="a rebuild was interrupted"):
                    Ledger(store, genesis, ToyRuntime())
            rebuild(store, genesis, ToyRuntime())
        assert plain_rows(store) == expected


def test_a_rebuild_by_another_runtime_stops_at_the_first_height_that_differs() -> None:
    class Generous(ToyRuntime):
        def execute(self, call: Call, state: StateReader) -> Outcome:
            return Outcome("ok", gas_used=1, writes=super().execute(call, state).writes)

    chain = ToyChain()
    for batch in batches(chain):
        chain.add(*batch)
    with pytest.raises(LedgerDiverged, match="height 1: executes to"):
        rebuild(chain.store, chain.genesis, Generous())
