"""Chain files: what is exported comes back, every changed byte is found, and nothing of it is half taken."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.block import Block
from chain.ledger.blockcheck import NotNext
from chain.ledger.files import chainfile
from chain.ledger.files.chainfile import ChainFile, FileDamaged, FileNewer
from chain.ledger.files.transfer import (
    export_blocks,
    export_snapshot,
    import_blocks,
    import_snapshot,
    read_archive,
)
from chain.ledger.genesis import Limits
from chain.ledger.history.recovery import WrongGenesis
from chain.ledger.history.snapshot import SnapshotTooOld
from chain.ledger.ledger import Ledger
from chain.ledger.pruned import UnknownHeight
from chain.ledger.store import rows
from chain.ledger.store.memory import MemoryStore
from chain.ledger.testing import ToyChain, ToyRuntime, toy_genesis
from chain.primitives.codec import decode, encode
from chain.primitives.errors import LimitError

GENESIS = toy_genesis(limits=Limits(consensus_window=3))
LENGTH = 9
GOLDEN = (
    "415353454e5443460001010000003e96ad66696c652d707265616d626c65a6626c6f636b73c420000000000000"
    "0000000000000000000000000000000000000000000000000000a3746f790102042cb45fb04c10aa0300000003"
    "6f6e65d5797500df5bf63d030000000374776f7d29b5b3c32a1670070000000b92a866696c652d656e64039b83"
    "bb8919bdb325"
)


@cache
def source() -> ToyChain:
    chain = ToyChain(GENESIS)
    for height in range(1, LENGTH + 1):
        calls = [chain.call("put", {"key": height * 10 + i, "value": "v" * 30}) for i in range(4)]
        chain.add(*calls, chain.call("move", {"source": "a", "target": "b", "subject": "dataset:x"}))
    return chain


def fresh() -> Ledger:
    return Ledger(MemoryStore(), GENESIS, ToyRuntime())


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.ledger.state.chunk.CHUNK_BYTES", 1_500)


def blocks_file(folder: Path, first: int = 1, last: int = LENGTH, *, receipts: bool = False) -> Path:
    path = folder / f"{first}-{last}.assent"
    export_blocks(source().ledger, path, first, last, receipts=receipts)
    return path


def test_exported_blocks_make_the_same_ledger_and_told_progress_ends_at_the_end(tmp_path: Path) -> None:
    path = blocks_file(tmp_path)
    ledger, told = fresh(), list[tuple[int, int]]()
    with ChainFile(path) as file:
        assert import_blocks(ledger, file, lambda done, of: told.append((done, of))) == LENGTH
    assert ledger.head == source().ledger.head
    assert told[-1] == (LENGTH, LENGTH)
    with ChainFile(path) as file:
        assert import_blocks(ledger, file) == 0  # again: nothing new, nothing wrong


def test_a_gap_before_the_file_is_named(tmp_path: Path) -> None:
    with ChainFile(blocks_file(tmp_path, 4)) as file, pytest.raises(NotNext, match="the ledger takes 1 next"):
        import_blocks(fresh(), file)


def test_an_exported_snapshot_makes_a_ledger_that_goes_on_by_blocks(tmp_path: Path) -> None:
    path = tmp_path / "state.assent"
    export_snapshot(source().ledger, path, 6)
    ledger, shares = fresh(), list[float]()
    with ChainFile(path) as file:
        import_snapshot(ledger, file, shares.append)
    assert ledger.head.height == 6
    assert shares[-1] == 1.0
    with ChainFile(blocks_file(tmp_path)) as file:
        assert import_blocks(ledger, file) == LENGTH - 6
    assert ledger.head == source().ledger.head
    with ChainFile(path) as file, pytest.raises(SnapshotTooOld, match="stands at 9"):
        import_snapshot(ledger, file)


def test_an_archive_is_read_back_with_its_receipts_by_the_genesis_alone(tmp_path: Path) -> None:
    with ChainFile(blocks_file(tmp_path, 3, 7, receipts=True)) as file:
        found = list(read_archive(file, GENESIS))
    assert [block for block, _ in found] == [source().block(height) for height in range(3, 8)]
    assert [list(kept) for _, kept in found] == [source().ledger.read.receipt_bytes(h) for h in range(3, 8)]
    with ChainFile(blocks_file(tmp_path, 3, 4)) as file:
        assert [kept for _, kept in read_archive(file, GENESIS)] == [(), ()]


def test_a_file_of_another_chain_is_refused_by_name(tmp_path: Path) -> None:
    other = Ledger(MemoryStore(), toy_genesis(("one",)), ToyRuntime())
    with ChainFile(blocks_file(tmp_path)) as file, pytest.raises(WrongGenesis, match="holds chain 'toy'"):
        import_blocks(other, file)


@pytest.mark.parametrize(("first", "last"), [(0, 3), (3, 2), (1, LENGTH + 1), (-1, 2)])
def test_heights_that_are_not_certified_here_are_refused(tmp_path: Path, first: int, last: int) -> None:
    with pytest.raises(LimitError, match=f"<= {LENGTH}"):
        export_blocks(source().ledger, tmp_path / "x", first, last)
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_of_an_unknown_height_and_an_existing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownHeight):
        export_snapshot(source().ledger, tmp_path / "x", LENGTH + 1)
    path = blocks_file(tmp_path)
    with pytest.raises(FileExistsError, match="exists already"):
        export_snapshot(source().ledger, path, 3)
    assert list(tmp_path.iterdir()) == [path]


def state_of(ledger: Ledger) -> dict[bytes, bytes]:
    return dict(ledger.store.iterate())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chain.ledger.state.chunk.CHUNK_BYTES", 1_500)
        export_snapshot(source().ledger, folder / "snapshot", 6)
    return {
        "blocks": blocks_file(folder).read_bytes(),
        "archive": blocks_file(folder, 2, receipts=True).read_bytes(),
        "snapshot": (folder / "snapshot").read_bytes(),
    }


def take(path: Path, kind: str, ledger: Ledger) -> None:
    with ChainFile(path) as file:
        if kind == "blocks":
            import_blocks(ledger, file)
        elif kind == "snapshot":
            import_snapshot(ledger, file)
        else:
            list(read_archive(file, GENESIS))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.sampled_from(["blocks", "archive", "snapshot"]),
    st.integers(0, 10**6),
    st.integers(0, 7),
    st.booleans(),
)
def test_a_file_changed_in_one_bit_or_cut_anywhere_names_its_place_and_leaves_a_ledger(
    files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory, kind: str, at: int, bit: int, cut: bool
) -> None:
    data = bytearray(files[kind])
    at %= len(data)
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << bit
    path = tmp_path_factory.mktemp("spoilt") / "file"
    path.write_bytes(data)
    ledger = fresh()
    before = state_of(ledger)
    with pytest.raises((FileDamaged, FileNewer), match=str(path)):
        take(path, kind, ledger)
    if kind == "snapshot":
        assert state_of(ledger) == before
    assert ledger.head.height <= LENGTH
    Ledger(ledger.store, GENESIS, ToyRuntime())


def test_bytes_behind_the_end_are_damage(tmp_path: Path, files: dict[str, bytes]) -> None:
    path = tmp_path / "long"
    path.write_bytes(files["blocks"] + b"x")
    with pytest.raises(FileDamaged, match="behind its end"):
        take(path, "blocks", fresh())


def test_a_file_with_good_checksums_and_false_contents_is_refused(tmp_path: Path) -> None:
    """Checksums tell of accidents only: whoever forges a file makes them anew."""
    block = decode(Block, encode(source().block(1)))
    forged = Block(block.header, (), source().certificate(block.header, 1), block.payload, block.transactions)
    preamble = chainfile.Preamble("blocks", GENESIS.chain_id, "toy", 1, 1)
    chainfile.save(tmp_path / "f", preamble, [(chainfile.ChainFilePart.BLOCK, encode(forged))])
    ledger = fresh()
    with pytest.raises(FileDamaged, match="1 signatures, a quorum is 3"):
        take(tmp_path / "f", "blocks", ledger)
    assert ledger.head.height == 0
    with pytest.raises(FileDamaged, match="1 signatures, a quorum is 3"):
        take(tmp_path / "f", "archive", ledger)


def test_the_format_of_a_file_is_pinned(tmp_path: Path) -> None:
    """When these bytes change, so must VERSION; what records hold has its own vectors."""
    preamble = chainfile.Preamble("blocks", bytes(32), "toy", 1, 2)
    chainfile.save(
        tmp_path / "f",
        preamble,
        [(chainfile.ChainFilePart.BLOCK, b"one"), (chainfile.ChainFilePart.BLOCK, b"two")],
    )
    assert (tmp_path / "f").read_bytes().hex() == GOLDEN


def test_imported_state_equals_executed_state(tmp_path: Path) -> None:
    export_snapshot(source().ledger, tmp_path / "s", LENGTH)
    ledger = fresh()
    take(tmp_path / "s", "snapshot", ledger)
    assert dict(ledger.store.iterate(prefix=rows.STATE)) == dict(source().store.iterate(prefix=rows.STATE))
