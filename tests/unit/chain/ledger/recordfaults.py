"""What crashes and disks do to a store: power lost before any step that reaches a disk, files damaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from chain.ledger.store.leveldb import RECORDS, LevelStore
from chain.ledger.store.memory import MemoryGeneration, MemoryGenerations, MemoryRows, MemoryStore
from chain.ledger.store.port import Store
from chain.ledger.store.records import BLOCKS, RecordStore, Row


class Crash(Exception):
    """The power went."""


class CrashingStore(MemoryStore):
    """Loses power before a step: a write of rows or records, a generation made or removed."""

    def __init__(self, origin: MemoryStore | None = None) -> None:
        super().__init__(origin)
        self.left = -1
        """Steps that still succeed; below 0 all do."""
        self.steps = 0
        self._rows = _Rows(self._rows, self._step)
        self._generations = _Generations(self._generations, self._step)
        self._records = RecordStore(self._rows, self._generations)

    def _step(self) -> None:
        if self.left == 0:
            raise Crash
        self.left -= 1
        self.steps += 1

    def restart(self, lost: int) -> None:
        """Come back from a crash that took back the last `lost` writes of rows that were not synced."""
        self.left = -1
        self.crash(max(0, len(self._undo) - lost))


class _Rows(MemoryRows):
    def __init__(self, rows: MemoryRows, step: Callable[[], None]) -> None:
        super().__init__(rows._rows)
        self._step = step

    def apply(self, puts: Iterable[Row], deletes: Iterable[bytes]) -> dict[bytes, bytes | None]:
        self._step()
        return super().apply(puts, deletes)


class _Generations(MemoryGenerations):
    def __init__(self, generations: MemoryGenerations, step: Callable[[], None]) -> None:
        super().__init__(generations.held)
        self._step = step

    def open(self, number: int) -> MemoryGeneration:
        if number not in self.held:
            self._step()
        return _Generation(self.held.setdefault(number, {}), self._step)

    def remove(self, number: int) -> None:
        self._step()
        super().remove(number)


class _Generation(MemoryGeneration):
    def __init__(self, records: dict[bytes, bytes], step: Callable[[], None]) -> None:
        super().__init__(records)
        self._step = step

    def apply(self, puts: Iterable[Row], deletes: Iterable[bytes] = ()) -> None:
        self._step()
        super().apply(puts, deletes)


def crashes(
    make: Callable[[], CrashingStore], work: Callable[[CrashingStore], Any]
) -> Iterator[CrashingStore]:
    """Yield a store for every step before which the power goes, and each loss of unsynced rows."""
    whole = make()
    work(whole)
    for left in range(whole.steps):
        for lost in range(3):
            store = make()
            store.left = left
            try:
                work(store)
            except Crash:
                store.restart(lost)
                yield store
            else:
                raise AssertionError(f"step {left} of {whole.steps} was not reached")


def append(store: Store, *contents: bytes, stream: int = BLOCKS, sync: bool = True) -> list[bytes]:
    """Write records, and a row for each that names it; return their places."""
    pending = store.records(stream)
    places = [pending.add(content) for content in contents]
    store.write([(b"Z" + where, b"") for where in places], records=pending, sync=sync)
    return places


def generation(path: Path, number: int = 1) -> Path:
    """Return the folder of a generation of records in a data directory."""
    return path / RECORDS / str(number)


def tables(path: Path, number: int = 1) -> list[Path]:
    """Return the tables of a generation; the store must be closed.

    It is opened once, so that what stands in LevelDB's log goes to a table.
    """
    LevelStore(path).close()
    return sorted(generation(path, number).glob("*.ldb"))


def flip(path: Path, content: bytes, number: int = 1) -> None:
    """Change one bit of what a record holds on disk; the store must be closed."""
    for table in tables(path, number):
        data = bytearray(table.read_bytes())
        at = data.rfind(content)
        if at >= 0:
            data[at] ^= 1
            table.write_bytes(data)
            return
    raise AssertionError("no table holds that")
