"""Giving room of the record log back: dead records are marked, and mostly dead segments given up."""

from __future__ import annotations

import dataclasses

from chain.ledger import rows
from chain.ledger.faults import DataDamaged
from chain.ledger.records import (
    BLOCKS,
    HEAD_BYTES,
    MOVED,
    REMEDY,
    SEGMENT_BYTES,
    Row,
    Segment,
    place_of,
    segments,
)
from chain.ledger.store import Store


class DeadRecords:
    """Records found dead, and what notes it: a mark each, and the sum in the row of their segment."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._segments = {segment.number: segment for segment in segments(store)}
        self._marks: list[Row] = []
        self.deletes: list[bytes] = []
        """Rows that said where the records went."""

    def __len__(self) -> int:
        """Marks so far."""
        return len(self._marks)

    def add(self, where: bytes) -> None:
        """Take note of a record that is needed no more; `where` is how it was known when it was written."""
        while (moved := self._store.get(MOVED + where)) is not None:
            self.deletes.append(MOVED + where)
            where = moved
        number = place_of(where)[0]
        segment = self._segments.get(number)
        if segment is not None:
            size = HEAD_BYTES + len(self._store.record(where))
            self._segments[number] = dataclasses.replace(segment, dead=segment.dead + size)
            self._marks.append((rows.DEAD + where, b""))

    def puts(self) -> list[Row]:
        """Return the rows to write."""
        touched = {place_of(key[1:])[0] for key, _ in self._marks}
        return [*self._marks, *(self._segments[number].row() for number in sorted(touched))]


def mostly_dead(store: Store) -> Segment | None:
    """Return a segment of which more than half is dead and to which nothing is appended any more, if any."""
    current = place_of(store.records().place())[0]
    for segment in segments(store):
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
    for where, record in store.segment_records(segment.number):
        if where in dead:
            dead.remove(where)
        else:
            puts.append((MOVED + where, records.add(record)))
    if dead:  # a damaged length led astray, so what was read is not what stands there
        raise DataDamaged(
            f"record log: segment {segment.number} is damaged, records are not where they should be{REMEDY}"
        )
    store.write(puts, marks, records=records, retired=[segment.number])
