"""Stores: the port's rules in memory and in LevelDB, crashes, locks, damage, formats."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.ledger.store import rows
from chain.ledger.store.faults import DataDamaged, DataLocked, DataNewer, StorageFailed
from chain.ledger.store.leveldb import LevelStore
from chain.ledger.store.memory import MemoryStore
from chain.ledger.store.port import FORMAT_KEY, Store, after_prefix, check_format

ROWS = [(b"a", b"1"), (b"ab", b"2"), (b"ab\xff", b"3"), (b"ac", b"4"), (b"b\xff\xff", b"5"), (b"\xff", b"6")]


@pytest.fixture(params=["memory", "leveldb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else LevelStore(tmp_path / "data")
    made.write(ROWS)
    yield made
    made.close()


def test_rows_come_in_key_order_within_prefix_and_range(store: Store) -> None:
    assert list(store.iterate()) == sorted(ROWS)
    assert [key for key, _ in store.iterate(prefix=b"ab")] == [b"ab", b"ab\xff"]
    assert [key for key, _ in store.iterate(prefix=b"b\xff")] == [b"b\xff\xff"]
    assert [key for key, _ in store.iterate(prefix=b"\xff")] == [b"\xff"]
    assert [key for key, _ in store.iterate(start=b"ab", stop=b"ac")] == [b"ab", b"ab\xff"]
    assert [key for key, _ in store.iterate(prefix=b"a", start=b"ac", stop=b"z")] == [b"ac"]
    assert [key for key, _ in store.iterate(reverse=True, limit=2)] == [b"\xff", b"b\xff\xff"]
    assert [key for key, _ in store.iterate(prefix=b"a", reverse=True)] == [b"ac", b"ab\xff", b"ab", b"a"]


def test_a_write_deletes_first_and_then_puts(store: Store) -> None:
    store.write([(b"a", b"new")], [b"a", b"ac", b"never there"])
    assert store.get(b"a") == b"new"
    assert store.get(b"ac") is None
    assert len(list(store.iterate())) == len(ROWS) - 1


def test_a_snapshot_does_not_show_later_writes(store: Store) -> None:
    snapshot = store.snapshot()
    store.write([(b"a", b"new"), (b"z", b"")], [b"ab"])
    assert snapshot.get(b"a") == b"1"
    assert list(snapshot.iterate()) == sorted(ROWS)
    snapshot.close()
    assert store.get(b"z") == b""


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from([b"a", b"b", b"c"]), st.binary(max_size=2), max_size=3),
            st.sets(st.sampled_from([b"a", b"b", b"c"])),
            st.booleans(),
        ),
        max_size=8,
    ),
    st.integers(0, 8),
)
def test_a_crash_keeps_all_synced_writes_and_only_a_beginning_of_the_rest(
    writes: list[tuple[dict[bytes, bytes], set[bytes], bool]], kept: int
) -> None:
    store, model, states = MemoryStore(), {}, [{}]
    for puts, deletes, sync in writes:
        store.write(puts.items(), deletes, sync=sync)
        model = {key: value for key, value in model.items() if key not in deletes} | puts
        states = [model] if sync else [*states, model]
    store.crash(kept)
    assert dict(store.iterate()) == states[min(kept, len(states) - 1)]


def test_the_key_after_a_prefix() -> None:
    assert after_prefix(b"ab") == b"ac"
    assert after_prefix(b"a\xff\xff") == b"b"
    assert after_prefix(b"\xff") is None
    assert after_prefix(b"") is None


def test_data_of_a_newer_format_is_refused(store: Store) -> None:
    store.write([(FORMAT_KEY, (99).to_bytes(4, "big"))])
    with pytest.raises(DataNewer, match="format 99"):
        check_format(store)


def test_rows_without_a_format_are_refused_and_an_empty_store_is_marked(store: Store) -> None:
    with pytest.raises(DataDamaged, match="no format version"):
        check_format(store)
    fresh = MemoryStore()
    check_format(fresh)
    check_format(fresh)
    assert fresh.get(FORMAT_KEY) is not None


def test_leveldb_rows_survive_closing(tmp_path: Path) -> None:
    first = LevelStore(tmp_path / "data")
    first.write(ROWS, sync=False)
    first.close()
    again = LevelStore(tmp_path / "data")
    assert list(again.iterate()) == sorted(ROWS)
    again.close()


def test_a_directory_serves_one_store_at_a_time(tmp_path: Path) -> None:
    held = LevelStore(tmp_path / "data")
    with pytest.raises(DataLocked, match=f"{tmp_path}/data: this process has it open already"):
        LevelStore(tmp_path / "data")
    held.close()


def test_a_second_process_is_told_who_holds_the_directory(tmp_path: Path) -> None:
    held = LevelStore(tmp_path / "data")
    code = (
        "import sys; from pathlib import Path; from chain.ledger.store.leveldb import LevelStore\n"
        "from chain.primitives.errors import AssentError\n"
        "try: LevelStore(Path(sys.argv[1]))\n"
        "except AssentError as error: print(error.code, error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data")], capture_output=True, text=True, check=True
    )
    held.close()
    assert found.stdout.startswith(f"data_locked {tmp_path}/data: process {os.getpid()} uses this data ")


def test_a_damaged_directory_names_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "data"
    first = LevelStore(path)
    first.write(ROWS)
    first.close()
    (path / "CURRENT").write_text("MANIFEST-nothing\n")
    with pytest.raises((DataDamaged, StorageFailed), match=f"{tmp_path}/data: "):
        LevelStore(path)
    (path / "CURRENT").write_text("rubbish")
    with pytest.raises(DataDamaged, match="assent node rebuild"):
        LevelStore(path)


def test_a_flipped_bit_on_disk_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "data"
    first = LevelStore(path, write_buffer_mib=1)
    for i in range(40):
        first.write([(b"%d/%d" % (i, k), bytes([k]) * 10_000) for k in range(10)])
    first.close()
    table = max(path.glob("*.ldb"), key=lambda file: file.stat().st_size)
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes(bytes(content))
    store = LevelStore(path)
    with pytest.raises(DataDamaged, match=f"{tmp_path}/data: LevelDB finds it damaged"):
        [store.get(key) for key, _ in store.iterate()]
    store.close()


def test_a_path_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StorageFailed, match=f"{tmp_path}/data"):
        LevelStore(tmp_path / "data")


def test_compacting_gives_the_room_of_deleted_rows_back(tmp_path: Path) -> None:
    store = LevelStore(tmp_path)
    written = [(b"T%d" % number, b"%d" % number * 200) for number in range(2_000)]

    def size() -> int:
        store.compact_rows()
        return sum(path.stat().st_size for path in tmp_path.glob("*.ldb"))

    store.write(written)
    full = size()
    assert full > 1_000_000
    store.write([], [key for key, _ in written[1:]])
    assert size() < full / 100
    assert list(store.iterate()) == written[:1]
    store.close()


def test_no_column_sorts_behind_the_state_so_that_compaction_of_others_does_not_span_it() -> None:
    not_columns = {rows.NODES, rows.VALUES}
    named = [each for each in vars(rows).values() if isinstance(each, bytes) and len(each) == 1]
    columns = set(named) - not_columns
    assert {rows.STATE, rows.TRANSACTION, rows.HEADER_HASH, rows.STALE} < columns
    assert max(columns) == rows.STATE
