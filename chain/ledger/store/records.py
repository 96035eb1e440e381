"""Records of the state: written once and never changed, in databases of their own beside the rows of a store.

Nodes of the state tree, large values and stale lists are many, and are read at random. Among the rows,
compaction would move each of them several times (docs/decisions/second-leveldb.md). So they stand apart,
under keys that only ascend. The *address* of a record is the number of its generation (2 bytes) and its own
number there (6 bytes). A *generation* is one database. It belongs to a *stream*: of what blocks write, or of
what a state that is being fetched writes. The row `records` of a stream says which address its next record
will have, and by that which generations live.

Two databases are not written at once, so the order of writes keeps them in agreement. No row ever leads to a
record that is not there:

- Written: records are durable before the rows that are written with them. A crash in between leaves records
  behind the end of their stream, to which no row leads. The next records are written over them.
- Pruned: first the row `held` is durable, so nobody may ask for the states that need the records; then the
  records are deleted, durably; then the rows that list them. After a crash before the last step the lists
  lead to nothing: what they listed is gone (`RecordMissing`), and they go, too. So all records of a height go
  in one write.
- Exchanged: one synced write names another generation for a stream, or none. Only then the files of the
  former one are removed. What a crash leaves of them goes when the store opens, as no row names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from struct import Struct
from threading import Lock
from typing import Protocol

from chain.ledger.store.faults import DataDamaged, RecordMissing

BLOCKS, LOADING = 0, 1
"""Streams: what blocks write; what a state being fetched writes."""
GENERATIONS_MAX = 0xFFFF
_NUMBER_BITS = 48
"""Of a record within its generation: enough for 50,000 records a second for 178 years."""
_ADDRESS = Struct(">Q")
SLICE_BYTES = 67_108_864
"""Compacted at once: bounds how long a step of pruning takes."""
RECORDS = b"\0records"
"""Rows: the address that the next record of a stream will have."""
REMEDY = (
    "; run `assent node rebuild`, or remove the directory and let the node fetch the chain from its peers"
)

Row = tuple[bytes, bytes]


def generation_of(address: bytes) -> int:
    """Return the number of the generation in which a record stands."""
    return int.from_bytes(address[:2])


def named(address: bytes) -> str:
    """Return an address for people: generation/number."""
    return f"{generation_of(address)}/{int.from_bytes(address[2:])}"


def first_address(generation: int) -> int:
    """Return the address, as a number, of the first record of a generation."""
    return generation << _NUMBER_BITS


class PendingRecords:
    """Records to be written together; `add` tells at once which address each will have.

    `Store.records` makes one.
    """

    __slots__ = ("_next", "first", "rows", "stream")

    def __init__(self, first: int, stream: int = BLOCKS) -> None:
        """`first` is the address, as a number, of the next record of the stream."""
        self.first, self.stream = first, stream
        self._next = first
        self.rows: list[Row] = []
        """(address, record) of each, in order."""

    def add(self, record: bytes) -> bytes:
        """Take a record; return the address that it will have."""
        address = _ADDRESS.pack(self._next)
        self.rows.append((address, record))
        self._next += 1
        return address

    @property
    def end(self) -> int:
        """The address, as a number, of the record after these."""
        return self._next


class Generation(Protocol):
    """A database of records, to be used from any thread; raises DataDamaged, StorageFailed."""

    def get(self, key: bytes) -> bytes | None:
        """Return the record at an address, or None."""

    def apply(self, puts: Iterable[Row], deletes: Iterable[bytes] = ()) -> None:
        """Write and delete records, all or nothing, durably."""

    def size(self, start: bytes, stop: bytes) -> int:
        """Return about how many bytes a range of addresses takes."""

    def compact(self, start: bytes, stop: bytes) -> None:
        """Give the room of deleted records in a range back to the disk."""

    def close(self) -> None:
        """Release it; using it afterwards is an error."""


class Generations(Protocol):
    """Where generations are kept."""

    def numbers(self) -> set[int]:
        """Return the numbers of those that are there, in full or in part."""

    def open(self, number: int) -> Generation:
        """Open one, or create it durably; raise DataDamaged, StorageFailed."""

    def remove(self, number: int) -> None:
        """Delete one; readers under way end well, or find nothing."""


class Rows(Protocol):
    """The rows of the store that the records belong to."""

    def iterate(self, *, prefix: bytes = b"") -> Iterator[Row]:
        """Yield rows in key order with this prefix."""


def end_key(stream: int) -> bytes:
    """Return the key of the row that says where a stream ends."""
    return RECORDS + bytes([stream])


def end_row(stream: int, end: int) -> Row:
    """Return the row that says where a stream ends."""
    return end_key(stream), _ADDRESS.pack(end)


def stream_ends(rows: Rows) -> dict[int, int]:
    """Return the address, as a number, that the next record of each stream will have."""
    return {key[-1]: int.from_bytes(row) for key, row in rows.iterate(prefix=RECORDS)}


def take_over(rows: Rows) -> tuple[list[Row], list[bytes]]:
    """Return the rows to put and to delete in the write that makes the stream LOADING the stream BLOCKS.

    Without a stream LOADING, BLOCKS begins anew. Neither stream must move meanwhile.
    """
    end = stream_ends(rows).get(LOADING)
    if end is None:
        return [], [end_key(BLOCKS)]
    return [end_row(BLOCKS, end)], [end_key(LOADING)]


class RecordStore:
    """Records of one store; its lock makes a write of records and the rows about them one step."""

    __slots__ = ("_damaged", "_ends", "_generations", "_lock", "_open", "_promised", "_rows", "_top")

    def __init__(self, rows: Rows, generations: Generations) -> None:
        """Open the generations that rows name, remove the others; `check` tells what is wrong with them."""
        self._rows, self._generations, self._lock = rows, generations, Lock()
        self._open: dict[int, Generation] = {}
        self._damaged: dict[int, DataDamaged] = {}
        """What is wrong with generations that did not open; a rebuild does without them."""
        self._ends: dict[int, int] = {}
        self._promised: dict[int, int] = {}
        """Streams that no row names yet: the generation in which each will begin."""
        self._top = 0
        """The highest number that a generation ever had here."""
        self._follow()

    def _follow(self) -> None:
        """Take up what the rows say."""
        self._ends = stream_ends(self._rows)
        for stream in self._ends:
            self._promised.pop(stream, None)
        live = {end >> _NUMBER_BITS for end in self._ends.values()}
        present = self._generations.numbers()
        self._top = max(self._top, 0, *live, *present)
        for number in self._open.keys() - live:
            del self._open[number]
        for number in sorted(present - live):
            self._generations.remove(number)
        self._damaged.clear()
        for number in sorted(live - self._open.keys()):
            try:
                self._open[number] = self._generations.open(number)
            except DataDamaged as error:
                self._damaged[number] = error

    def check(self) -> None:
        """Raise DataDamaged when a generation did not open or lost its newest records."""
        for error in self._damaged.values():
            raise error
        for end in self._ends.values():
            newest = _ADDRESS.pack(end - 1)
            if end & (1 << _NUMBER_BITS) - 1 and self._find(newest) is None:
                raise DataDamaged(
                    f"records: {named(newest)}, the newest, is missing: its database was cut off, or is an "
                    f"older copy{REMEDY}"
                )

    def begin(self, stream: int) -> PendingRecords:
        """Return an empty batch of records that will follow the last record of a stream."""
        with self._lock:
            return PendingRecords(self._end(stream), stream)

    def _end(self, stream: int) -> int:
        end = self._ends.get(stream)
        if end is not None:
            return end
        if stream not in self._promised:
            if self._top == GENERATIONS_MAX:
                raise DataDamaged(f"records: {GENERATIONS_MAX} generations were used up{REMEDY}")
            self._top = self._promised[stream] = self._top + 1
        return first_address(self._promised[stream])

    def record(self, address: bytes) -> bytes:
        """Return a record; raise RecordMissing, or DataDamaged when its database is damaged there."""
        found = self._find(address)
        if found is None:
            raise RecordMissing(f"records: {named(address)} is missing{REMEDY}")
        return found

    def _find(self, address: bytes) -> bytes | None:
        number = generation_of(address)
        generation = self._open.get(number)
        if generation is None:
            if number in self._damaged:
                raise self._damaged[number]
            return None
        try:
            return generation.get(address)
        except DataDamaged as error:
            raise DataDamaged(f"record {named(address)}: {error}") from None

    @contextmanager
    def writing(self, records: PendingRecords | None, *, exchange: bool = False) -> Iterator[list[Row]]:
        """Make records durable; yield the rows to write with them; take note when they are.

        With `exchange`, follow afterwards what these rows say of streams.
        """
        with self._lock:
            if records is None or not records.rows:
                yield []
            else:
                if self._end(records.stream) != records.first:
                    raise RuntimeError(f"records: stream {records.stream} went on since these began")
                self._of(records.first >> _NUMBER_BITS).apply(records.rows)
                yield [end_row(records.stream, records.end)]
                self._ends[records.stream] = records.end
                self._promised.pop(records.stream, None)
            if exchange:
                self._follow()

    def _of(self, number: int) -> Generation:
        if number in self._damaged:
            raise self._damaged[number]
        if number not in self._open:
            self._open[number] = self._generations.open(number)
        return self._open[number]

    def delete(self, addresses: Iterable[bytes]) -> None:
        """Delete records durably, all of a generation or none."""
        gone: dict[int, list[bytes]] = {}
        for address in addresses:
            gone.setdefault(generation_of(address), []).append(address)
        for number, listed in gone.items():
            generation = self._open.get(number)
            if generation is not None:
                generation.apply((), listed)

    def size(self) -> int:
        """Return about how many bytes the records of the stream BLOCKS take."""
        end = self._ends.get(BLOCKS, 0)
        generation = self._open.get(end >> _NUMBER_BITS)
        start = first_address(end >> _NUMBER_BITS)
        return 0 if generation is None else generation.size(_ADDRESS.pack(start), _ADDRESS.pack(end))

    def compact(self, start: int) -> int:
        """Give room of deleted records of BLOCKS back to the disk, at most SLICE_BYTES at once.

        `start` is the number of a record within its generation; returns where to go on, 0 at the end.
        """
        end = self._ends.get(BLOCKS, 0)
        number = end >> _NUMBER_BITS
        generation, first = self._open.get(number), first_address(number)
        low, high = _ADDRESS.pack(first + start), end
        if generation is None or first + start >= end:
            return 0
        while generation.size(low, _ADDRESS.pack(high)) > SLICE_BYTES:
            high = (first + start + high + 1) // 2
        generation.compact(low, _ADDRESS.pack(high))
        return 0 if high == end else high - first

    def close(self) -> None:
        """Release every generation."""
        for generation in self._open.values():
            generation.close()
        self._open.clear()
