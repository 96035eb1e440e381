"""Store in memory, for tests and simulation: it forgets, at `crash`, what was not yet durable."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice

from chain.ledger.store.port import key_range
from chain.ledger.store.records import BLOCKS, PendingRecords, RecordStore, Row


class MemoryRows:
    """Rows in a dict; the keys are sorted at the first iteration after a key came or went."""

    __slots__ = ("_order", "_rows")

    def __init__(self, rows: dict[bytes, bytes] | None = None) -> None:
        self._rows = {} if rows is None else rows
        self._order: list[bytes] | None = None

    def copied(self) -> MemoryRows:
        """Return a copy that no later write changes."""
        return MemoryRows(dict(self._rows))

    def get(self, key: bytes) -> bytes | None:
        """Return one row's value, or None."""
        return self._rows.get(key)

    def iterate(
        self,
        *,
        prefix: bytes = b"",
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[Row]:
        """Yield rows in key order with this prefix and start <= key < stop, at most `limit`."""
        if self._order is None:
            self._order = sorted(self._rows)
        order = self._order
        low, high = key_range(prefix, start, stop)
        first = bisect_left(order, low)
        last = len(order) if high is None else bisect_left(order, high)
        indexes = range(last - 1, first - 1, -1) if reverse else range(first, last)
        rows = self._rows
        return ((order[i], rows[order[i]]) for i in islice(indexes, limit))

    def apply(self, puts: Iterable[Row], deletes: Iterable[bytes]) -> dict[bytes, bytes | None]:
        """Apply deletes, then puts; return the former value of each key named."""
        rows = self._rows
        before: dict[bytes, bytes | None] = {}
        for key in deletes:
            before.setdefault(key, rows.pop(key, None))
        for key, value in puts:
            before.setdefault(key, rows.get(key))
            rows[key] = value
        if any(old is None or key not in rows for key, old in before.items()):
            self._order = None
        return before

    def undo(self, before: dict[bytes, bytes | None]) -> None:
        """Take back what `apply` did, given what it returned."""
        for key, old in before.items():
            if old is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = old
        self._order = None


class MemoryGeneration:
    """Records of one generation in memory; `chain.ledger.store.records.Generation`."""

    __slots__ = ("_records",)

    def __init__(self, records: dict[bytes, bytes]) -> None:
        self._records = records

    def get(self, key: bytes) -> bytes | None:
        """Return the record at an address, or None."""
        return self._records.get(key)

    def apply(self, puts: Iterable[Row], deletes: Iterable[bytes] = ()) -> None:
        """Write and delete records."""
        for key in deletes:
            self._records.pop(key, None)
        self._records.update(puts)

    def size(self, start: bytes, stop: bytes) -> int:
        """Return how many bytes a range of addresses takes."""
        return sum(len(record) for address, record in self._records.items() if start <= address < stop)

    def compact(self, start: bytes, stop: bytes) -> None:
        """Nothing to give back: memory keeps no deleted records."""

    def close(self) -> None:
        """Nothing to release."""


class MemoryGenerations:
    """Generations of records in memory; `chain.ledger.store.records.Generations`."""

    __slots__ = ("held",)

    def __init__(self, held: dict[int, dict[bytes, bytes]] | None = None) -> None:
        self.held = {number: dict(records) for number, records in (held or {}).items()}
        """Records by their addresses, of each generation."""

    def numbers(self) -> set[int]:
        """Return the numbers of those that are there."""
        return set(self.held)

    def open(self, number: int) -> MemoryGeneration:
        """Open one, or create it."""
        return MemoryGeneration(self.held.setdefault(number, {}))

    def remove(self, number: int) -> None:
        """Delete one."""
        self.held.pop(number, None)


class MemoryReader:
    """Rows and records; a store and its snapshots share the records, as none ever changes."""

    __slots__ = ("_records", "_rows")

    def __init__(self, rows: MemoryRows, records: RecordStore) -> None:
        self._rows, self._records = rows, records

    def get(self, key: bytes) -> bytes | None:
        """Return one row's value, or None."""
        return self._rows.get(key)

    def iterate(
        self,
        *,
        prefix: bytes = b"",
        start: bytes | None = None,
        stop: bytes | None = None,
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[Row]:
        """Yield rows in key order with this prefix and start <= key < stop, at most `limit`."""
        return self._rows.iterate(prefix=prefix, start=start, stop=stop, reverse=reverse, limit=limit)

    def record(self, address: bytes) -> bytes:
        """Return the record at an address; raise RecordMissing."""
        return self._records.record(address)

    def close(self) -> None:
        """Nothing to release."""


class MemoryStore(MemoryReader):
    """Store in memory: the model of a disk, which loses unsynced writes at `crash`."""

    __slots__ = ("_generations", "_undo")

    def __init__(self, origin: MemoryStore | None = None) -> None:
        """Start empty, or with the rows and records of another store."""
        rows = MemoryRows() if origin is None else origin._rows.copied()
        held = None if origin is None else origin._generations.held
        self._generations: MemoryGenerations = MemoryGenerations(held)
        super().__init__(rows, RecordStore(rows, self._generations))
        self._undo: list[dict[bytes, bytes | None]] = []
        """Per unsynced write, oldest first: the former value of each key it changed."""

    def write(
        self,
        puts: Iterable[Row],
        deletes: Iterable[bytes] = (),
        *,
        records: PendingRecords | None = None,
        exchange: bool = False,
        sync: bool = True,
    ) -> None:
        """Apply deletes, then puts; a synced write makes every earlier one durable too (one log)."""
        with self._records.writing(records, exchange=exchange) as more:
            before = self._rows.apply([*puts, *more], deletes)
            if sync or exchange:
                self._undo.clear()
            else:
                self._undo.append(before)

    def records(self, stream: int = BLOCKS) -> PendingRecords:
        """Return an empty batch of records that will follow the last record of a stream."""
        return self._records.begin(stream)

    def delete_records(self, addresses: Iterable[bytes]) -> None:
        """Delete records of a generation durably, all or none."""
        self._records.delete(addresses)

    def records_size(self) -> int:
        """Return how many bytes the records of blocks take."""
        return self._records.size()

    def compact_records(self, start: int) -> int:
        """Return 0: memory keeps no deleted records."""
        return self._records.compact(start)

    def check_records(self) -> None:
        """Raise DataDamaged when the newest record of a stream is missing."""
        self._records.check()

    def crash(self, kept: int = 0) -> None:
        """Lose the unsynced writes except the `kept` oldest, as a machine that lost power does."""
        while len(self._undo) > kept:
            self._rows.undo(self._undo.pop())
        self._undo.clear()
        self._records = RecordStore(self._rows, self._generations)

    def snapshot(self) -> MemoryReader:
        """Return a copy of the rows as they are now."""
        return MemoryReader(self._rows.copied(), self._records)
