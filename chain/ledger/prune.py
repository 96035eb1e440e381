"""Forgetting old history, in two steps: first it is said to be gone, then its rows are deleted bit by bit.

`set_floor` moves the row `held`; from then on queries answer NotHeld below it. `sweep` deletes what lies
below, whole heights in writes of bounded size, each of which also notes how far it came. So a crash anywhere
leaves a directory that opens, answers correctly, and goes on sweeping. Headers and certificates stay.

Records that no state held here needs any more are marked as dead; a segment of the record log that is mostly
dead is given up: its other records move to the log's end, and a row says where each went.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from chain.ledger import rows
from chain.ledger.block import Batch, Receipt
from chain.ledger.deadrecords import DeadRecords, give_up, mostly_dead
from chain.ledger.holding import Holding
from chain.ledger.queries import Queries
from chain.ledger.rows import Held
from chain.ledger.statedelta import places_of
from chain.ledger.store import Store
from chain.ledger.window import WINDOW
from chain.primitives.codec import decode, encode
from chain.primitives.errors import LimitError

SWEEP_ROWS = 10_000
"""Rows after which a sweep pauses; the last height may exceed it, within the limits of a block."""


def set_floor(store: Store, before: int, archive: str) -> Held:
    """Stop holding the blocks below `before`, and the states below the one that it builds on.

    `archive` says to people where the blocks are now, "" keeps what was said. Raises LimitError.
    """
    check_floor(store, before)
    held = Holding(store).now()
    if before <= held.blocks:
        return held
    moved = dataclasses.replace(
        held, blocks=before, state=max(held.state, before - 1), archive=archive or held.archive
    )
    store.write([(rows.HELD_KEY, encode(moved))], sync=True)
    return moved


def check_floor(store: Store, before: int) -> None:
    """Raise LimitError when not everything below `before` may go: the last `WINDOW` heights stay."""
    read = Queries(store)
    head = read.head().height
    top = max(0, min(head - WINDOW + 1, read.certified_height()))
    if not 0 <= before <= top:
        raise LimitError(
            f"before = {before}: at most {top} here (head {head}): the last {WINDOW} heights stay, because "
            "replays of their transactions must be refused"
        )


def sweep_due(store: Store) -> bool:
    """Tell whether rows or records of what is not held can go now."""
    held = Holding(store).now()
    return held.blocks > 0 and (held.swept < _sweep_end(store, held) or mostly_dead(store) is not None)


def _sweep_end(store: Store, held: Held) -> int:
    """Return the first height whose rows stay: what ran in the window is still looked up."""
    return held.blocks and min(held.blocks, Queries(store).head().height - WINDOW + 1)


def sweep(store: Store) -> bool:
    """Delete a bounded number of rows of what is not held, or one segment; return whether more can go now."""
    held = Holding(store).now()
    end = _sweep_end(store, held)
    dead = DeadRecords(store)
    deletes: list[bytes] = []
    height = held.swept
    while height < end and len(deletes) + len(dead) < SWEEP_ROWS:
        height = _next_height(store, height, end)
        if height == end:
            break
        for where in _stale_records(store, height):
            dead.add(where)
        deletes += _block_keys(store, held, height)
        height += 1
    if deletes or height > held.swept:
        moved = dataclasses.replace(held, swept=height)
        puts = [(rows.HELD_KEY, encode(moved)), *dead.puts()]
        store.write(puts, [*deletes, *dead.deletes], sync=False)
        return True
    segment = mostly_dead(store)
    if segment is not None:
        give_up(store, segment)
    return segment is not None


def _next_height(store: Store, height: int, end: int) -> int:
    """Return the next height that has rows of its own: what a snapshot leapt over has none."""
    found = [end]
    for column in (rows.PAYLOAD, rows.STALE):
        start, stop = rows.at(column, height), rows.at(column, end)
        for key, _ in store.iterate(prefix=column, start=start, stop=stop, limit=1):
            found.append(int.from_bytes(key[1:9], "big"))
    return min(found)


def _block_keys(store: Store, held: Held, height: int) -> Iterator[bytes]:
    """Yield the rows of a height that go when its block is not held."""
    yield from _index_keys(store, height)
    for column in (rows.TRANSACTION, rows.RECEIPT):
        yield from (key for key, _ in store.iterate(prefix=rows.at(column, height)))
    yield rows.at(rows.PAYLOAD, height)
    yield rows.at(rows.STALE, height)
    if height < held.state:
        yield rows.at(rows.ROOT, height)


def _stale_records(store: Store, height: int) -> Iterator[bytes]:
    """Yield the records that only states below this height use, none of which is held; and their list."""
    for listed in rows.read_places(store.get(rows.at(rows.STALE, height)) or b""):
        stale = store.record(listed)
        for where in rows.read_places(stale[1:]):
            if stale[:1] == rows.NODES:
                yield from places_of(store.record, where)
            else:
                yield where
        yield listed


def _index_keys(store: Store, height: int) -> Iterator[bytes]:
    """Yield the index rows that lead to a height: of its transactions and of its events."""
    payload = store.get(rows.at(rows.PAYLOAD, height))
    for tx_id in decode(Batch, payload).tx_ids if payload else ():
        key = rows.TX_INDEX + tx_id
        place = store.get(key)
        if place is not None and rows.read_place(place)[0] == height:
            yield key
    for _, row in store.iterate(prefix=rows.at(rows.RECEIPT, height)):
        for event in decode(Receipt, row).events:
            yield rows.at(rows.event_prefix(event.contract, event.name), height)
            for subject in event.subjects:
                yield rows.at(rows.subject_prefix(subject), height)
