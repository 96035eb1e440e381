"""Pruning of a running node: step by step, archived before it is forgotten, between the heights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chain.ledger import validity_window
from chain.ledger.files.chainfile import ChainFile
from chain.ledger.files.transfer import read_archive
from chain.ledger.history import prune
from chain.ledger.ledger import Ledger
from chain.ledger.store.faults import StorageFailed
from chain.ledger.testing import ToyChain
from chain.mempool.mempool import Mempool, PoolBounds
from chain.node import upkeep as module
from chain.node.execution_queue import ExecutionQueue
from chain.node.upkeep import Upkeep, check_archive

WINDOW, STEP, KEEP, LENGTH = 3, 4, 6, 20


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    for where in (validity_window, prune):
        monkeypatch.setattr(where, "VALIDITY_WINDOW_MAX", WINDOW)
    monkeypatch.setattr(module, "STEP_BLOCKS", STEP)


def make(length: int = LENGTH) -> ToyChain:
    chain = ToyChain()
    for height in range(1, length + 1):
        chain.add(chain.call("put", {"key": height % 3, "value": height}))
    return chain


def floors(ledger: Ledger, upkeep: Upkeep) -> list[int]:
    found = []
    while upkeep.due:
        upkeep.step()
        found.append(ledger.read.pruned.below().blocks)
    return found


def test_blocks_beyond_those_to_keep_go_a_step_at_a_time() -> None:
    chain = make()
    assert sorted(set(floors(chain.ledger, Upkeep(chain.ledger, KEEP, None)))) == [4, 8, 12]
    held = chain.ledger.read.pruned.below()
    assert (held.blocks, held.state, held.swept, held.archive) == (12, 11, 12, "")
    assert chain.ledger.read.block(12) is not None


def test_nothing_is_due_when_everything_is_kept_or_the_chain_is_short() -> None:
    assert not Upkeep(make().ledger, 0, None).due
    assert not Upkeep(make(STEP + KEEP - 2).ledger, KEEP, None).due


def test_what_goes_is_in_the_archive_first_and_reads_back(tmp_path: Path) -> None:
    chain, whole = make(), make()
    floors(chain.ledger, Upkeep(chain.ledger, KEEP, tmp_path / "old"))
    assert chain.ledger.read.pruned.below().archive == str(tmp_path / "old")
    found = []
    for path in sorted((tmp_path / "old").iterdir()):
        with ChainFile(path) as file:
            found += [block for block, _ in read_archive(file, chain.genesis)]
    assert found == [whole.block(height) for height in range(1, 12)]


def test_an_archive_that_cannot_be_written_keeps_the_blocks_and_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It ended the validator, long after the start at which somebody would have looked."""
    monkeypatch.setattr(module, "RETRY_HEIGHTS", 2)
    chain, blocked = make(), tmp_path / "old"
    blocked.write_text("a file where the folder should be")
    upkeep = Upkeep(chain.ledger, KEEP, blocked)
    assert upkeep.due
    assert not upkeep.step()
    assert f"storage.archive_dir = {blocked}: " in upkeep.trouble
    assert chain.ledger.read.pruned.below().blocks == 0
    assert not upkeep.due, "not at every height"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    chain.add(chain.call("put", {"key": 1, "value": 1}))
    chain.add(chain.call("put", {"key": 1, "value": 2}))
    assert upkeep.due
    blocked.unlink()
    assert upkeep.step()
    assert upkeep.trouble == ""
    assert chain.ledger.read.pruned.below().blocks == STEP
    assert "pruning goes on" in caplog.text


def test_an_archive_that_cannot_be_written_is_noticed_at_the_start(tmp_path: Path) -> None:
    check_archive(None)
    check_archive(tmp_path / "new" / "old")
    assert list((tmp_path / "new" / "old").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed, match=r"storage\.archive_dir = .*file: "):
        check_archive(tmp_path / "file")


def test_a_crash_between_archive_and_floor_archives_nothing_twice(tmp_path: Path) -> None:
    chain = make()
    upkeep = Upkeep(chain.ledger, KEEP, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "set_floor", lambda *_: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            upkeep.step()
    assert [path.name for path in tmp_path.iterdir()] == ["blocks-000000000001-000000000003.assent"]
    floors(chain.ledger, upkeep)
    assert len(list(tmp_path.iterdir())) == 3


class HandWorkers:
    """Runs work when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Callable[[Any], None]]] = []

    def execute(self, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self.waiting.append((work, done))

    def verify(self, *_: Any) -> None:
        raise AssertionError

    def turn(self) -> None:
        work, done = self.waiting.pop(0)
        done(work())


class Deaf:
    """Hears and does nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def test_pruning_takes_turns_with_blocks_and_is_never_under_way_twice() -> None:
    chain, source = make(), make(LENGTH + 3)
    pool = Mempool(
        chain.genesis.chain_id, chain.genesis.limits, chain.ledger.signer_refusal, chain.ledger.read.is_final,
        PoolBounds(100, 1_000_000, 100),
    )  # fmt: skip
    workers = HandWorkers()
    executor = ExecutionQueue(chain.ledger, pool, Deaf(), workers, lambda: 0)  # type: ignore[arg-type]
    upkeep = Upkeep(chain.ledger, KEEP, None)
    for height in range(LENGTH + 1, LENGTH + 4):
        executor.put(source.block(height))
    executor.tend(upkeep)
    executor.tend(upkeep)
    heights, held = [], []
    while workers.waiting:
        assert len(workers.waiting) == 1
        workers.turn()
        heights.append(chain.ledger.head.height)
        held.append(chain.ledger.read.pruned.below().blocks)
    assert heights == [21, 21, 22, 23]
    assert held == [0, 4, 4, 4]


class Listens(Deaf):
    """Remembers which blocks were refused."""

    def __init__(self) -> None:
        self.refused: list[int] = []

    def rejected(self, height: int, _reason: str) -> None:
        self.refused.append(height)


def test_blocks_above_a_refused_one_are_not_held_against_those_who_served_them() -> None:
    chain, source = make(), make(LENGTH + 4)
    pool = Mempool(
        chain.genesis.chain_id, chain.genesis.limits, chain.ledger.signer_refusal, chain.ledger.read.is_final,
        PoolBounds(100, 1_000_000, 100),
    )  # fmt: skip
    workers, listener = HandWorkers(), Listens()
    executor = ExecutionQueue(chain.ledger, pool, listener, workers, lambda: 0)  # type: ignore[arg-type]
    good = [source.block(height) for height in range(LENGTH + 1, LENGTH + 5)]
    tx = good[1].transactions[0]
    spoilt = dataclasses.replace(good[1], transactions=(dataclasses.replace(tx, signature=bytes(64)),))
    for block in (good[0], spoilt, *good[2:], *good[1:]):
        executor.put(block)
    while workers.waiting:
        workers.turn()
    assert listener.refused == [LENGTH + 2]
    assert chain.ledger.head.height == LENGTH + 4
