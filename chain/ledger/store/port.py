"""Store port: the interface through which the ledger keeps rows and records of the state.

A store is an ordered map of byte keys. The first byte of a key is its *column*: it says which kind of row it
is (see `chain.ledger.store.rows`). Records of the state stand beside the rows
(`chain.ledger.store.records`); one is read by its address. Whatever is acknowledged to anyone goes into one
`write(..., sync=True)`.
`LevelStore` is the implementation on disk, `MemoryStore` the one of tests and simulation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol

from chain.ledger.store.faults import DataDamaged, DataNewer
from chain.ledger.store.records import BLOCKS, PendingRecords, Row

FORMAT_VERSION = 9
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

    def record(self, address: bytes) -> bytes:
        """Return the record at an address (8 bytes); raise RecordMissing, or DataDamaged."""


class StoreSnapshot(Reader, Protocol):
    """The rows as they were at one moment, whatever is written meanwhile; close it after use."""

    def close(self) -> None:
        """Release the snapshot."""


class Store(Reader, Protocol):
    """An ordered map of byte keys with atomic batches of writes, and the records of the state."""

    def write(
        self,
        puts: Iterable[Row],
        deletes: Iterable[bytes] = (),
        *,
        records: PendingRecords | None = None,
        exchange: bool = False,
        sync: bool = True,
    ) -> None:
        """Apply deletes, then puts, all or nothing; with `sync` it survives a crash after returning.

        `records` are written, durably, before the rows. With `exchange` the rows name other generations of
        records for a stream: those that no row names any more go after them, and the write is synced anyhow.
        """

    def records(self, stream: int = BLOCKS) -> PendingRecords:
        """Return an empty batch of records that will follow the last record of a stream."""

    def delete_records(self, addresses: Iterable[bytes]) -> None:
        """Delete records of a generation durably, all or none; no state that needs them may be asked for."""

    def records_size(self) -> int:
        """Return about how many bytes the records of blocks take."""

    def compact_records(self, start: int) -> int:
        """Give the room of deleted records back, in a slice of bounded size from a record's number on.

        Returns the number to go on with, 0 at the end.
        """

    def check_records(self) -> None:
        """Raise DataDamaged when a database of records did not open, or lacks its newest record."""

    def snapshot(self) -> StoreSnapshot:
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
