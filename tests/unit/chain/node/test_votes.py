"""A validator's memory of its votes against disks that lie, are cut short, or are put back from a copy."""

from __future__ import annotations

import ast
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.store.faults import DataDamaged, StorageFailed
from chain.ledger.store.leveldb import LevelStore
from chain.ledger.store.memory import MemoryStore
from chain.node.marker import FileMarker, MarkerOfAnotherKey
from chain.node.votes import DurableVotes
from consensus.errors import VotesDamaged

VOTER = b"k" * 32
SETTINGS = settings(max_examples=40, deadline=None, derandomize=True)


def voted(folder: Path, times: int) -> Path:
    """Make a data directory with so many writes of votes, and the marker beside it; return the log."""
    store, marker = LevelStore(folder / "data"), FileMarker(folder / "node.voted", VOTER)
    votes = DurableVotes(store, VOTER, marker)
    for number in range(times):
        votes.write({b"a%d" % number: os.urandom(300)}, [])
    marker.close()
    store.close()
    (log,) = (folder / "data").glob("*.log")
    return log


def reopened(folder: Path) -> dict[bytes, bytes]:
    store = LevelStore(folder / "data")
    try:
        return dict(DurableVotes(store, VOTER, FileMarker(folder / "node.voted", VOTER)).load())
    finally:
        store.close()


@pytest.mark.parametrize("lost", [1, 20, 400, 2_000])
def test_28_a_truncated_vote_log_is_noticed_however_little_is_gone(tmp_path: Path, lost: int) -> None:
    """tendermint 3295: LevelDB itself takes a cut-off tail for a write that a crash interrupted."""
    log = voted(tmp_path, 10)
    os.truncate(log, log.stat().st_size - lost)
    with pytest.raises(VotesDamaged, match=r"of 10 writes of votes are gone.*remove the data directory"):
        reopened(tmp_path)


def test_28_a_log_damaged_in_its_middle_is_refused_and_not_read_around(tmp_path: Path) -> None:
    log = voted(tmp_path, 200)
    with log.open("r+b") as file:
        file.seek(log.stat().st_size // 2)
        file.write(bytes(range(64)))
    with pytest.raises(DataDamaged, match="damaged"):
        reopened(tmp_path)


def test_30_an_older_copy_of_the_data_directory_is_refused(tmp_path: Path) -> None:
    """tendermint 3418: votes cast after the copy are unknown to it."""
    voted(tmp_path, 3)
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    store, marker = LevelStore(tmp_path / "data"), FileMarker(tmp_path / "node.voted", VOTER)
    DurableVotes(store, VOTER, marker).write({b"v": b"later"}, [])
    marker.close()
    store.close()
    shutil.rmtree(tmp_path / "data")
    shutil.move(tmp_path / "copy", tmp_path / "data")
    with pytest.raises(VotesDamaged, match="last 1 of 4"):
        reopened(tmp_path)


class FailingStore(MemoryStore):
    """A disk that refuses every write."""

    __slots__ = ()

    def write(self, puts: object, deletes: object = (), *, sync: bool = True) -> None:  # noqa: ARG002
        raise StorageFailed("disk: planted failure")


def test_a_first_write_that_failed_is_no_wipe_and_the_next_start_is_the_first_again(tmp_path: Path) -> None:
    """No vote was sent, since votes are sent only once they are durable: one validator alone must go on."""
    marker = FileMarker(tmp_path / "node.voted", VOTER)
    with pytest.raises(StorageFailed):
        DurableVotes(FailingStore(), VOTER, marker).write({b"v": b"vote"}, [])
    assert DurableVotes(MemoryStore(), VOTER, marker).first_start


def test_30_a_store_emptied_after_its_first_write_is_wiped(tmp_path: Path) -> None:
    marker = FileMarker(tmp_path / "node.voted", VOTER)
    DurableVotes(MemoryStore(), VOTER, marker).write({b"v": b"vote"}, [])
    assert not DurableVotes(MemoryStore(), VOTER, marker).first_start


def test_30_after_a_wipe_the_count_goes_on_from_the_marker(tmp_path: Path) -> None:
    voted(tmp_path, 5)
    shutil.rmtree(tmp_path / "data")
    store, marker = LevelStore(tmp_path / "data"), FileMarker(tmp_path / "node.voted", VOTER)
    votes = DurableVotes(store, VOTER, marker)
    assert not votes.first_start
    votes.write({b"b": b"birth"}, [])
    assert marker.read() == 6
    marker.close()
    store.close()
    assert reopened(tmp_path) == {b"b": b"birth"}


@SETTINGS
@given(steps=st.lists(st.sampled_from(["write", "crash", "power"]), max_size=12))
def test_32_a_crash_at_any_moment_leaves_a_directory_that_starts(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    """FISCO-BCOS 4576: the marker never counts a write that the store has not made durable."""
    folder = tmp_path_factory.mktemp("votes")
    store, marker = MemoryStore(), FileMarker(folder / "node.voted", VOTER)
    votes = DurableVotes(store, VOTER, marker)
    for number, step in enumerate(steps):
        if step == "write":
            votes.write({b"k": number.to_bytes(2, "big")}, [])
        elif step == "crash":  # between the store's write and the marker's
            count = marker.read()
            votes.write({b"k": number.to_bytes(2, "big")}, [])
            if count is not None:
                marker.advance(count)
        store.crash()
        votes = DurableVotes(store, VOTER, marker)
    marker.close()


def test_a_marker_that_is_none_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "node.voted").write_text("rubbish")
    with pytest.raises(VotesDamaged, match="remove the data directory"):
        FileMarker(tmp_path / "node.voted", VOTER).read()


def test_the_marker_of_another_key_is_named_and_neither_read_nor_written(tmp_path: Path) -> None:
    """With another node's key in its folder a validator was said to have lost its votes, and counted on in
    the own marker: when the own key was back, its votes were called damaged."""
    voted(tmp_path, 3)
    before = (tmp_path / "node.voted").read_bytes()
    other = b"o" * 32
    with pytest.raises(MarkerOfAnotherKey) as told:
        DurableVotes(MemoryStore(), other, FileMarker(tmp_path / "node.voted", other))
    assert f"counts the votes of the key {VOTER.hex()[:16]}" in str(told.value)
    assert f"the key beside it is {other.hex()[:16]}" in str(told.value)
    assert (tmp_path / "node.voted").read_bytes() == before
    assert len(reopened(tmp_path)) == 3, "with its own key back, all is there"


def test_the_text_that_mends_a_marker_is_one(tmp_path: Path) -> None:
    (tmp_path / "node.voted").write_text("rubbish")
    marker = FileMarker(tmp_path / "node.voted", VOTER)
    with pytest.raises(VotesDamaged) as told:
        marker.read()
    advised = re.search(r"write ('.*?') into", str(told.value))
    assert advised is not None
    (tmp_path / "node.voted").write_text(ast.literal_eval(advised[1]))
    assert marker.read() == 1
