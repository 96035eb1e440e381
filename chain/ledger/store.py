"""The port through which the ledger keeps rows and records, and a store in memory for tests and simulation.

A store is an ordered map of byte keys. The first byte of a key is its *column*: what kind of row it is
(see `chain.ledger.rows`). Beside it stands the record log (`chain.ledger.records`), whose records are read
by where they stand. Whatever is acknowledged to anyone goes into one `write(..., sync=True)`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Protocol

from chain.ledger.faults import DataDamaged, DataNewer
from chain.ledger.records import BLOCKS, MemorySegments, Records, RecordStore, Row, segment_key

FORMAT_VERSION = 8
FORMAT_KEY = b"\x00format"
DELETES_PER_WRITE = 10_000


class Reader(Protocol):
    """Reads rows; safe to use from any thread."""

    def get(self, key: bytes) -> bytes | None:
        """Return one row's value, or None."""

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

    def record(self, where: bytes) -> bytes:
        """Return the record that stands somewhere in the log; raise DataDamaged when none does."""


class Snapshot(Reader, Protocol):
    """The rows as they were at one moment, whatever is written meanwhile; close it after use."""

    def close(self) -> None:
        """Release the snapshot."""


class Store(Reader, Protocol):
    """An ordered map of byte keys with atomic batches of writes, and the record log."""

    def write(
        self,
        puts: Iterable[Row],
        deletes: Iterable[bytes] = (),
        *,
        records: Records | None = None,
        retired: Sequence[int] = (),
        sync: bool = True,
    ) -> None:
        """Apply deletes, then puts, all or nothing; with `sync` it survives a crash after returning.

        `records` are appended to the log, durably, before the rows; the segments `retired` are deleted after
        them, and then the write is synced anyhow.
        """

    def records(self, stream: int = BLOCKS) -> Records:
        """Return an empty collection of records that will follow the last of a stream of the log."""

    def segment_records(self, number: int) -> Iterator[Row]:
        """Yield (where, record) of a whole segment of the log."""

    def check_records(self) -> None:
        """Raise DataDamaged when, on opening, a segment of the log was missing or too short."""

    def snapshot(self) -> Snapshot:
        """Return an immutable view of the rows as they are now."""

    def close(self) -> None:
        """Release the store; using it afterwards is an error."""


def key_range(prefix: bytes, start: bytes | None, stop: bytes | None) -> tuple[bytes, bytes | None]:
    """Return the half-open key range (start, stop) of a query; a stop of None has no upper end."""
    end = after_prefix(prefix)
    low = prefix if start is None or start < prefix else start
    if stop is None or (end is not None and end < stop):
        stop = end
    return low, stop


def after_prefix(prefix: bytes) -> bytes | None:
    """Return the first key behind every key with this prefix; None when there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


def delete_range(
    store: Store, prefix: bytes, *, start: bytes | None = None, stop: bytes | None = None
) -> Iterator[int]:
    """Delete rows in unsynced writes of bounded size; yield the number deleted after each."""
    keys = (key for key, _ in store.iterate(prefix=prefix, start=start, stop=stop))
    while chunk := list(islice(keys, DELETES_PER_WRITE)):
        store.write([], chunk, sync=False)
        yield len(chunk)


def check_format(store: Store) -> None:
    """Accept a directory of this format, mark an empty one; raise DataNewer or DataDamaged otherwise."""
    row = store.get(FORMAT_KEY)
    if row is None:
        if next(store.iterate(limit=1), None) is not None:
            raise DataDamaged(
                "data directory: holds rows but no format version; name an Assent data directory"
            )
        store.write([(FORMAT_KEY, FORMAT_VERSION.to_bytes(4, "big"))])
        return
    version = int.from_bytes(row, "big")
    if version > FORMAT_VERSION:
        raise DataNewer(
            f"data directory: format {version}, this Assent reads up to {FORMAT_VERSION}: install a newer one"
        )
    if version != FORMAT_VERSION:
        raise DataDamaged(
            f"data directory: format {version} is of an earlier Assent, this one reads {FORMAT_VERSION}: "
            "remove the directory and let the node fetch the chain from its peers"
        )


class MemoryRows:
    """Rows in a dict; keys are sorted when first iterated after a change."""

    __slots__ = ("_order", "_records", "_rows")

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self._rows = rows
        self._order: list[bytes] | None = None
        self._records: RecordStore
        """Shared by a store and its snapshots, as records do not change."""

    def get(self, key: bytes) -> bytes | None:
        """Return one row's value, or None."""
        return self._rows.get(key)

    def record(self, where: bytes) -> bytes:
        """Return the record that stands somewhere in the log; raise DataDamaged when none does."""
        return self._records.record(where)

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
        places = range(last - 1, first - 1, -1) if reverse else range(first, last)
        rows = self._rows
        return ((order[i], rows[order[i]]) for i in islice(places, limit))

    def close(self) -> None:
        """Nothing to release."""


class MemoryStore(MemoryRows):
    """A store in memory that forgets, at `crash`, what was not yet durable: the model of a disk."""

    __slots__ = ("_segments", "_undo")

    def __init__(self, origin: MemoryStore | None = None) -> None:
        """Start empty, or with the rows and records of another store."""
        super().__init__({} if origin is None else dict(origin._rows))
        self._segments: MemorySegments = MemorySegments() if origin is None else origin._segments.copied()
        self._records = RecordStore(self, self._segments)
        self._undo: list[dict[bytes, bytes | None]] = []
        """Per unsynced write, oldest first: the former value of each key it changed."""

    def write(
        self,
        puts: Iterable[Row],
        deletes: Iterable[bytes] = (),
        *,
        records: Records | None = None,
        retired: Sequence[int] = (),
        sync: bool = True,
    ) -> None:
        """Apply deletes, then puts; a synced write makes every earlier one durable too (one log)."""
        with self._records.appending(records, retired) as more:
            gone = [*deletes, *map(segment_key, retired)]
            self._apply([*puts, *more], gone, sync=sync or bool(retired))

    def _apply(self, puts: Iterable[Row], deletes: Iterable[bytes], *, sync: bool) -> None:
        rows = self._rows
        before: dict[bytes, bytes | None] = {}
        for key in deletes:
            before.setdefault(key, rows.pop(key, None))
        for key, value in puts:
            before.setdefault(key, rows.get(key))
            rows[key] = value
        if any(old is None or key not in rows for key, old in before.items()):
            self._order = None
        if sync:
            self._undo.clear()
        else:
            self._undo.append(before)

    def records(self, stream: int = BLOCKS) -> Records:
        """Return an empty collection of records that will follow the last of a stream."""
        return self._records.begin(stream)

    def segment_records(self, number: int) -> Iterator[Row]:
        """Yield (where, record) of a whole segment of the log."""
        return self._records.scan(number)

    def check_records(self) -> None:
        """Raise DataDamaged when, on opening, a segment of the log was missing or too short."""
        self._records.check()

    def crash(self, kept: int = 0) -> None:
        """Lose the unsynced writes except the `kept` oldest, as a machine that lost power does."""
        while len(self._undo) > kept:
            for key, old in self._undo.pop().items():
                if old is None:
                    self._rows.pop(key, None)
                else:
                    self._rows[key] = old
        self._undo.clear()
        self._order = None
        self._records = RecordStore(self, self._segments)

    def snapshot(self) -> MemoryRows:
        """Return a copy of the rows as they are now."""
        snapshot = MemoryRows(dict(self._rows))
        snapshot._records = self._records
        return snapshot
