"""Record log: append-only segments of log records, beside the rows of a store.

Nodes of the state tree and state values are many, small, read at random and never changed. As rows of
LevelDB each would be moved several times by compaction (docs/decisions/record-log.md). So they are log
records: appended to *segments* and read with one read of a file. The *address* of a record is its segment's
number (4 bytes) and its offset there (4 bytes). On disk a record is its length (4 bytes), its CRC-32 (4
bytes) and its bytes. The checksum finds what a disk did to a record. A reader that was led to a record by a
hash checks that hash, too.

A record counts once a row says so: the row `log` names the end of each *stream* (whose appends follow one
another), and a segment lives as long as its row. Records are durable before the rows that are written with
them. So a crash may leave bytes that no row knows; opening the log cuts them off.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from struct import Struct
from threading import Lock
from typing import Protocol
from zlib import crc32

from chain.ledger.store.faults import DataDamaged

SEGMENT_BYTES = 16_777_216
"""A segment takes no further append once it is this long."""
RECORD_BYTES_MAX = 16_777_216
HEAD_BYTES = 8
"""Of a record: its length and its checksum."""
BLOCKS, LOADING = 0, 1
"""Streams: what blocks write; what a state being fetched writes."""
READ_BYTES = 2_048
"""Read at once: inner nodes and most buckets and values fit."""
_NUMBER = 0x1_0000_0000
_HEAD, _ADDRESS = Struct(">II"), Struct(">Q")
REMEDY = (
    "; run `assent node rebuild`, or remove the directory and let the node fetch the chain from its peers"
)

Row = tuple[bytes, bytes]


def split_address(address: bytes) -> tuple[int, int]:
    """Return (segment number, offset) from the address of a record."""
    return int.from_bytes(address[:4]), int.from_bytes(address[4:])


class PendingRecords:
    """Log records to be appended together; `add` tells at once which address each will have.

    `Store.records` makes one.
    """

    __slots__ = ("_next", "_parts", "first", "stream")

    def __init__(self, first: int, stream: int = 0) -> None:
        """`first` is the address, as a number, of the next record of the stream."""
        self.first, self.stream = first, stream
        self._next = first
        self._parts: list[bytes] = []

    def next_address(self) -> bytes:
        """Return the address that the next record will have."""
        return _ADDRESS.pack(self._next)

    def add(self, record: bytes) -> bytes:
        """Take a record; return the address that it will have."""
        address, size = self._next, len(record)
        self._parts += _HEAD.pack(size, crc32(record)), record
        self._next = address + HEAD_BYTES + size
        return _ADDRESS.pack(address)

    @property
    def parts(self) -> list[bytes]:
        """The bytes to append, in pieces."""
        return self._parts

    @property
    def size(self) -> int:
        """How many bytes there are to append."""
        return self._next - self.first


class Segments(Protocol):
    """Where segments are kept; a segment is written at its end and read anywhere, from any thread."""

    def sizes(self) -> dict[int, int]:
        """Return the length of every segment there is."""

    def append(self, number: int, offset: int, parts: Sequence[bytes]) -> None:
        """Write durably at an offset, which is the end that counts; creates the segment at offset 0."""

    def read(self, number: int, offset: int, size: int) -> bytes | None:
        """Return at most `size` bytes, None when there is no such segment."""

    def cut(self, number: int, size: int) -> None:
        """Shorten a segment."""

    def remove(self, number: int) -> None:
        """Delete a segment; readers under way end well."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """Where the next record of a stream will stand."""

    segment: int
    offset: int

    @property
    def address(self) -> int:
        """As one number, to which the lengths of records can be added."""
        return self.segment * _NUMBER + self.offset


class RecordLog:
    """Appends and reads records; the store's lock guards all but `read`."""

    __slots__ = ("_ends", "_segments", "_top")

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._ends: dict[int, StreamEnd] = {}
        self._top = 0
        """The highest segment number given out."""

    def open(self, ends: dict[int, StreamEnd], live: Iterable[int]) -> list[int]:
        """Keep what the rows name, cut off and remove the rest; return those that are missing or too short.

        A segment that a stream was promised (`end`) stays its own, though no row knows it yet.
        """
        sizes, live = self._segments.sizes(), set(live)
        self._ends = {
            stream: end for stream, end in self._ends.items() if not end.offset and end.segment not in sizes
        }
        # a retired segment's number may still stand in its stream's end: it must not be another's
        self._top = max(self._top, 0, *live, *sizes, *(end.segment for end in ends.values()))
        for number in sizes.keys() - live:
            self._segments.remove(number)
        short = live - sizes.keys()
        for stream, end in ends.items():
            if end.segment not in live:
                continue  # all of the stream was retired: it goes on in a new segment
            if sizes.get(end.segment, 0) < end.offset:
                short.add(end.segment)
            elif sizes[end.segment] > end.offset:
                self._segments.cut(end.segment, end.offset)
            if end.offset < SEGMENT_BYTES:
                self._ends[stream] = end
        return sorted(short)

    def end(self, stream: int) -> StreamEnd:
        """Return where the next record of a stream will stand."""
        end = self._ends.get(stream)
        if end is None or end.offset >= SEGMENT_BYTES:
            self._top += 1
            end = self._ends[stream] = StreamEnd(self._top, 0)
        return end

    def append(self, records: PendingRecords) -> StreamEnd:
        """Make records durable; return the end that counts once a row says so (`advance`)."""
        end = self.end(records.stream)
        self._segments.append(end.segment, end.offset, records.parts)
        return StreamEnd(end.segment, end.offset + records.size)

    def advance(self, stream: int, end: StreamEnd) -> None:
        """Let the next append follow this end."""
        self._ends[stream] = end

    def read(self, address: bytes) -> bytes | None:
        """Return a record, None when its segment is gone; raise DataDamaged when the segment is damaged."""
        joined = int.from_bytes(address)
        number, offset = joined >> 32, joined & 0xFFFF_FFFF
        found = self._segments.read(number, offset, READ_BYTES)
        if found is None:
            return None
        if len(found) > HEAD_BYTES:
            size, checksum = _HEAD.unpack_from(found)
            if HEAD_BYTES + size <= len(found):
                record = found[HEAD_BYTES : HEAD_BYTES + size]
            elif size <= RECORD_BYTES_MAX:
                record = self._segments.read(number, offset + HEAD_BYTES, size) or b""
            else:
                record = b""
            if record and len(record) == size and crc32(record) == checksum:
                return record
        raise DataDamaged(f"record log: segment {number} has no sound record at offset {offset}{REMEDY}")

    def scan(self, number: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield (address, record) of a whole segment."""
        offset, size = 0, self._segments.sizes()[number]
        while offset < size:
            address = (number * _NUMBER + offset).to_bytes(8, "big")
            record = self.read(address)
            if record is None:
                raise DataDamaged(f"record log: segment {number} is missing{REMEDY}")
            yield address, record
            offset += HEAD_BYTES + len(record)


# --- the rows about records -------------------------------------------------------------------------

SEGMENT, MOVED, LOG = b"G", b"M", b"\0log"
"""Columns: a live segment; the new address of a record whose segment was given up; the end of a stream."""


class Rows(Protocol):
    """The rows of the store that the records belong to."""

    def get(self, key: bytes) -> bytes | None:
        """Return one row's value, or None."""

    def iterate(self, *, prefix: bytes = b"") -> Iterator[Row]:
        """Yield rows in key order with this prefix."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What the row of a live segment says."""

    number: int
    stream: int
    dead: int
    """Bytes of records that no tree held here uses."""

    def row(self) -> Row:
        """Return it as a row."""
        return segment_key(self.number), bytes([self.stream]) + self.dead.to_bytes(8, "big")


def segment_key(number: int) -> bytes:
    """Return the key of a segment's row."""
    return SEGMENT + number.to_bytes(4, "big")


def live_segments(rows: Rows) -> list[Segment]:
    """Return the live segments, in order."""
    found = rows.iterate(prefix=SEGMENT)
    return [Segment(int.from_bytes(key[1:]), row[0], int.from_bytes(row[1:])) for key, row in found]


def end_key(stream: int) -> bytes:
    """Return the key of the row that says where a stream ends."""
    return LOG + bytes([stream])


def end_row(stream: int, end: StreamEnd) -> Row:
    """Return the row that says where a stream ends."""
    return end_key(stream), end.address.to_bytes(8, "big")


def take_over(rows: Rows) -> tuple[list[Row], list[int]]:
    """Return what makes the stream LOADING the stream BLOCKS: the rows to put, the segments to retire.

    The write that does so also deletes the row of LOADING's end, which must not move meanwhile.
    """
    found = live_segments(rows)
    puts = [Segment(each.number, BLOCKS, each.dead).row() for each in found if each.stream == LOADING]
    end = ends(rows).get(LOADING)
    if end is not None:
        puts.append(end_row(BLOCKS, end))
    return puts, [each.number for each in found if each.stream == BLOCKS]


def ends(rows: Rows) -> dict[int, StreamEnd]:
    """Return where each stream ends."""
    return {key[-1]: StreamEnd(*split_address(row)) for key, row in rows.iterate(prefix=LOG)}


class RecordStore:
    """Log records of one store; its lock makes an append and the rows about it one step."""

    __slots__ = ("_lacking", "_lock", "_log", "_rows")

    def __init__(self, rows: Rows, segments: Segments) -> None:
        """Open the log and cut off what the rows do not know; `check` tells what is missing."""
        self._rows, self._log, self._lock = rows, RecordLog(segments), Lock()
        self._lacking: list[int] = []
        self._open()

    def _open(self) -> None:
        self._lacking = self._log.open(
            ends(self._rows), [segment.number for segment in live_segments(self._rows)]
        )

    def check(self) -> None:
        """Raise DataDamaged when a segment that counts was not there in full; a rebuild does without it."""
        if self._lacking:
            raise DataDamaged(f"record log: segment {self._lacking[0]} is missing or too short{REMEDY}")

    def begin(self, stream: int) -> PendingRecords:
        """Return an empty batch of records that will follow the last record of a stream."""
        with self._lock:
            return PendingRecords(self._log.end(stream).address, stream)

    def record(self, address: bytes) -> bytes:
        """Return a record, wherever it was moved since; raise DataDamaged."""
        found = self._log.read(address)
        while found is None:
            moved = self._rows.get(MOVED + address)
            if moved is None or moved <= address:
                raise DataDamaged(f"record log: segment {split_address(address)[0]} is missing{REMEDY}")
            address, found = moved, self._log.read(moved)
        return found

    def scan(self, number: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield (address, record) of a whole segment."""
        return self._log.scan(number)

    @contextmanager
    def appending(self, records: PendingRecords | None, retired: Sequence[int]) -> Iterator[list[Row]]:
        """Append records durably; yields the rows to write with them, and takes note when they are."""
        with self._lock:
            puts: list[Row] = []
            if records is not None and records.size:
                stream, start = records.stream, self._log.end(records.stream)
                if start.address != records.first:
                    raise RuntimeError(f"record log: stream {stream} went on since these records began")
                end = self._log.append(records)
                puts.append(end_row(stream, end))
                if start.offset == 0:
                    puts.append(Segment(start.segment, stream, 0).row())
                yield puts
                self._log.advance(stream, end)
            else:
                yield puts
            if retired:
                self._open()
