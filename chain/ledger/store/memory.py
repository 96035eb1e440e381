"""Store in memory, for tests and simulation: it forgets, at `crash`, what was not yet durable."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from chain.ledger.store.port import key_range
from chain.ledger.store.recordlog import BLOCKS, PendingRecords, RecordStore, Row, segment_key


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


class MemorySegments:
    """Segments of the record log in memory; `chain.ledger.store.recordlog.Segments`."""

    __slots__ = ("_data",)

    def __init__(self, data: dict[int, bytes] | None = None) -> None:
        self._data = {number: bytearray(held) for number, held in (data or {}).items()}

    def copied(self) -> MemorySegments:
        """Return segments with the same bytes."""
        return MemorySegments({number: bytes(held) for number, held in self._data.items()})

    def sizes(self) -> dict[int, int]:
        """Return the length of every segment there is."""
        return {number: len(held) for number, held in self._data.items()}

    def append(self, number: int, offset: int, parts: Sequence[bytes]) -> None:
        """Write at an offset, which is the end that counts; creates the segment at offset 0."""
        self._data.setdefault(number, bytearray())[offset:] = b"".join(parts)

    def read(self, number: int, offset: int, size: int) -> bytes | None:
        """Return at most `size` bytes, None when there is no such segment."""
        held = self._data.get(number)
        return None if held is None else bytes(held[offset : offset + size])

    def cut(self, number: int, size: int) -> None:
        """Shorten a segment."""
        del self._data[number][size:]

    def remove(self, number: int) -> None:
        """Delete a segment."""
        self._data.pop(number, None)


class MemoryReader:
    """Rows and log records; a store and its snapshots share the records, as none ever changes."""

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
        """Return the log record at an address; raise DataDamaged when none stands there."""
        return self._records.record(address)

    def close(self) -> None:
        """Nothing to release."""


class MemoryStore(MemoryReader):
    """Store in memory: the model of a disk, which loses unsynced writes at `crash`."""

    __slots__ = ("_segments", "_undo")

    def __init__(self, origin: MemoryStore | None = None) -> None:
        """Start empty, or with the rows and records of another store."""
        rows = MemoryRows() if origin is None else origin._rows.copied()
        self._segments: MemorySegments = MemorySegments() if origin is None else origin._segments.copied()
        super().__init__(rows, RecordStore(rows, self._segments))
        self._undo: list[dict[bytes, bytes | None]] = []
        """Per unsynced write, oldest first: the former value of each key it changed."""

    def write(
        self,
        puts: Iterable[Row],
        deletes: Iterable[bytes] = (),
        *,
        records: PendingRecords | None = None,
        retired: Sequence[int] = (),
        sync: bool = True,
    ) -> None:
        """Apply deletes, then puts; a synced write makes every earlier one durable too (one log)."""
        with self._records.appending(records, retired) as more:
            before = self._rows.apply([*puts, *more], [*deletes, *map(segment_key, retired)])
            if sync or retired:
                self._undo.clear()
            else:
                self._undo.append(before)

    def records(self, stream: int = BLOCKS) -> PendingRecords:
        """Return an empty batch of records that will follow the last record of a stream."""
        return self._records.begin(stream)

    def segment_records(self, number: int) -> Iterator[Row]:
        """Yield (address, record) of a whole segment of the log."""
        return self._records.scan(number)

    def check_records(self) -> None:
        """Raise DataDamaged when, on opening, a segment of the log was missing or too short."""
        self._records.check()

    def crash(self, kept: int = 0) -> None:
        """Lose the unsynced writes except the `kept` oldest, as a machine that lost power does."""
        while len(self._undo) > kept:
            self._rows.undo(self._undo.pop())
        self._undo.clear()
        self._records = RecordStore(self._rows, self._segments)

    def snapshot(self) -> MemoryReader:
        """Return a copy of the rows as they are now."""
        return MemoryReader(self._rows.copied(), self._records)
