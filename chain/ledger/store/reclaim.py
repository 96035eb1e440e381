"""Giving room of the record log back: dead records are marked, and mostly dead live_segments given up."""

from __future__ import annotations

import dataclasses

from chain.ledger.store import rows
from chain.ledger.store.faults import DataDamaged
from chain.ledger.store.port import Store
from chain.ledger.store.recordlog import (
    BLOCKS,
    HEAD_BYTES,
    MOVED,
    REMEDY,
    SEGMENT_BYTES,
    Row,
    Segment,
    live_segments,
    split_address,
)


class DeadRecords:
    """Log records found dead, and the rows that note it: a mark each, a sum in the row of the segment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._segments = {segment.number: segment for segment in live_segments(store)}
        self._marks: list[Row] = []
        self.deletes: list[bytes] = []
        """Rows that named the new addresses of records that were moved."""

    def __len__(self) -> int:
        """Marks so far."""
        return len(self._marks)

    def add(self, address: bytes) -> None:
        """Take note of a record that is needed no more; `address` is the one that it was written at."""
        while (moved := self._store.get(MOVED + address)) is not None:
            self.deletes.append(MOVED + address)
            address = moved
        number = split_address(address)[0]
        segment = self._segments.get(number)
        if segment is not None:
            size = HEAD_BYTES + len(self._store.record(address))
            self._segments[number] = dataclasses.replace(segment, dead=segment.dead + size)
            self._marks.append((rows.DEAD + address, b""))

    def puts(self) -> list[Row]:
        """Return the rows to write."""
        touched = {split_address(key[1:])[0] for key, _ in self._marks}
        return [*self._marks, *(self._segments[number].row() for number in sorted(touched))]


def mostly_dead(store: Store) -> Segment | None:
    """Return a segment of which more than half is dead and to which nothing is appended any more, if any."""
    current = split_address(store.records().next_address())[0]
    for segment in live_segments(store):
        if segment.stream == BLOCKS and segment.number != current and segment.dead * 2 > SEGMENT_BYTES:
            return segment
    return None


def give_up(store: Store, segment: Segment) -> None:
    """Move what lives out of a segment to the end of the log, and delete it."""
    prefix = rows.DEAD + segment.number.to_bytes(4, "big")
    marks = [key for key, _ in store.iterate(prefix=prefix)]
    dead = {key[1:] for key in marks}
    records = store.records()
    puts: list[Row] = []
    for address, record in store.segment_records(segment.number):
        if address in dead:
            dead.remove(address)
        else:
            puts.append((MOVED + address, records.add(record)))
    if dead:  # a damaged length led astray, so what was read is not what stands there
        raise DataDamaged(
            f"record log: segment {segment.number} is damaged, records are not address they should be{REMEDY}"
        )
    store.write(puts, marks, records=records, retired=[segment.number])
