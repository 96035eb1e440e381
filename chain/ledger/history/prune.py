"""Pruning old history, in two steps: first it is said to be gone, then its rows are deleted bit by bit.

`set_floor` moves the row `held`; from then on queries answer NotHeld below it. `sweep` deletes what lies
below, whole heights in writes of bounded size, each of which also notes how far it came. So a crash anywhere
leaves a directory that opens, answers correctly, and goes on sweeping. Headers and certificates stay.

Records of the state that no state needs any more, among those not pruned, are listed height by height (*stale
lists*). They are deleted in bulk, once their database has doubled: deleted singly, all over the database,
each would make LevelDB write many others anew (docs/decisions/second-leveldb.md). Such a *clearing* deletes
what the lists name, then compacts the database slice by slice, so that the disk gets the room back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from chain.ledger.block import Batch, Receipt
from chain.ledger.pruned import PrunedHistory
from chain.ledger.queries import Queries
from chain.ledger.state.delta import addresses_of
from chain.ledger.store import rows
from chain.ledger.store.faults import RecordMissing
from chain.ledger.store.port import Store
from chain.ledger.store.rows import Cleared, PrunedBelow
from chain.ledger.validity_window import VALIDITY_WINDOW_MAX
from chain.primitives.codec import decode, encode
from chain.primitives.errors import LimitError

SWEEP_ROWS = 10_000
"""Rows or records after which a sweep pauses; the last height may exceed it, as far as a block can."""
CLEAR_FACTOR, CLEAR_BYTES = 2, 33_554_432
"""Records are cleared once they take so many times what they took after the last time, and so much more."""


def set_floor(store: Store, before: int, archive: str) -> PrunedBelow:
    """Stop holding the blocks below `before`, and the states below the one that it builds on.

    `archive` says to people where the blocks are now, "" keeps what was said. Raises LimitError.
    """
    check_floor(store, before)
    pruned = PrunedHistory(store).below()
    if before <= pruned.blocks:
        return pruned
    moved = dataclasses.replace(
        pruned, blocks=before, state=max(pruned.state, before - 1), archive=archive or pruned.archive
    )
    store.write([(rows.HELD_KEY, encode(moved))], sync=True)
    return moved


def check_floor(store: Store, before: int) -> None:
    """Raise LimitError unless all below `before` may go: the last `VALIDITY_WINDOW_MAX` heights stay."""
    read = Queries(store)
    head = read.head().height
    top = max(0, min(head - VALIDITY_WINDOW_MAX + 1, read.certified_height()))
    if not 0 <= before <= top:
        raise LimitError(
            f"before = {before}: at most {top} here (head {head}): the last {VALIDITY_WINDOW_MAX} heights "
            "stay, because replays of their transactions must be refused"
        )


def sweep_due(store: Store) -> bool:
    """Tell whether rows or records of pruned heights can go now."""
    pruned = PrunedHistory(store).below()
    if not pruned.blocks:
        return False
    end = _sweep_end(store, pruned)
    return pruned.swept < end or _clearing(store, end) is not None


def _sweep_end(store: Store, pruned: PrunedBelow) -> int:
    """Return the first height whose rows stay: what ran in the validity window is still looked up."""
    return pruned.blocks and min(pruned.blocks, Queries(store).head().height - VALIDITY_WINDOW_MAX + 1)


def sweep(store: Store, *, clear_now: bool = False) -> bool:
    """Take one step of bounded size of what is to be deleted of pruned heights; return whether there was one.

    With `clear_now` records go however little room they take.
    """
    pruned = PrunedHistory(store).below()
    end = _sweep_end(store, pruned)
    if pruned.swept < end:
        _sweep_rows(store, pruned, end)
        return True
    cleared = _clearing(store, end, now=clear_now)
    if cleared is not None:
        _clear(store, cleared)
    return cleared is not None


def _sweep_rows(store: Store, pruned: PrunedBelow, end: int) -> None:
    """Delete the rows of the next pruned heights, but for stale lists."""
    deletes: list[bytes] = []
    height = pruned.swept
    while height < end and len(deletes) < SWEEP_ROWS:
        height = _next_height(store, height, end)
        if height < end:
            deletes += _block_keys(store, pruned, height)
            height += 1
    if pruned.swept:  # this was the root of the oldest state held until the floor moved
        deletes.append(rows.at(rows.ROOT, pruned.swept - 1))
    moved = dataclasses.replace(pruned, swept=height)
    store.write([(rows.HELD_KEY, encode(moved))], deletes, sync=False)


# --- records ----------------------------------------------------------------------------------------


def _clearing(store: Store, end: int, *, now: bool = False) -> Cleared | None:
    """Return the clearing that is under way, or a new one if it is due, which goes up to the height `end`."""
    row = store.get(rows.CLEARED_KEY)
    cleared = Cleared() if row is None else decode(Cleared, row)
    if cleared.until:
        return cleared
    start, stop = rows.at(rows.STALE, cleared.below), rows.at(rows.STALE, max(cleared.below, end))
    if next(store.iterate(prefix=rows.STALE, start=start, stop=stop, limit=1), None) is None:
        return None
    if not now and store.records_size() < CLEAR_FACTOR * cleared.size + CLEAR_BYTES:
        return None
    return dataclasses.replace(cleared, until=end)


def _clear(store: Store, cleared: Cleared) -> None:
    """Take the next step of a clearing: delete records, then their lists; behind the last, compact a slice.

    The records of a height go in one durable write, before the row of its list does.
    """
    gone: list[bytes] = []
    lists: list[bytes] = []
    if cleared.below < cleared.until:
        start, below = rows.at(rows.STALE, cleared.below), cleared.until
        for key, listed in store.iterate(
            prefix=rows.STALE, start=start, stop=rows.at(rows.STALE, cleared.until)
        ):
            if len(gone) >= SWEEP_ROWS:
                below = rows.height_of(key)
                break
            gone += _stale_records(store, listed)
            lists.append(key)
        store.delete_records(gone)
        moved = dataclasses.replace(cleared, below=below)
    elif on := store.compact_records(cleared.compacted):
        moved = dataclasses.replace(cleared, compacted=on)
    else:
        moved = Cleared(below=cleared.below, size=store.records_size())
    store.write([(rows.CLEARED_KEY, encode(moved))], lists, sync=False)


def _stale_records(store: Store, listed: bytes) -> Iterator[bytes]:
    """Yield the addresses of records that only pruned states use, and of their lists, of one height."""
    for address in rows.read_addresses(listed):
        try:
            stale = store.record(address)
        except RecordMissing:
            continue  # a crash came between the records and this row: all that was listed is gone
        for each in rows.read_addresses(stale[1:]):
            if stale[:1] == rows.NODES:
                yield from addresses_of(store.record, each)
            else:
                yield each
        yield address


# --- rows -------------------------------------------------------------------------------------------


def _next_height(store: Store, height: int, end: int) -> int:
    """Return the next height that has rows of its own: what a snapshot leapt over has none."""
    found = [end]
    for column in (rows.PAYLOAD, rows.ROOT):
        start, stop = rows.at(column, height), rows.at(column, end)
        for key, _ in store.iterate(prefix=column, start=start, stop=stop, limit=1):
            found.append(int.from_bytes(key[1:9], "big"))
    return min(found)


def _block_keys(store: Store, pruned: PrunedBelow, height: int) -> Iterator[bytes]:
    """Yield the rows of a height that go when its block is pruned."""
    yield from _index_keys(store, height)
    for column in (rows.TRANSACTION, rows.RECEIPT):
        yield from (key for key, _ in store.iterate(prefix=rows.at(column, height)))
    yield rows.at(rows.PAYLOAD, height)
    if height < pruned.state:
        yield rows.at(rows.ROOT, height)


def _index_keys(store: Store, height: int) -> Iterator[bytes]:
    """Yield the index rows that lead to a height: of its transactions and of its events."""
    payload = store.get(rows.at(rows.PAYLOAD, height))
    for tx_id in decode(Batch, payload).tx_ids if payload else ():
        key = rows.TX_INDEX + tx_id
        position = store.get(key)
        if position is not None and rows.read_tx_position(position)[0] == height:
            yield key
    for _, row in store.iterate(prefix=rows.at(rows.RECEIPT, height)):
        for event in decode(Receipt, row).events:
            yield rows.at(rows.event_prefix(event.contract, event.name), height)
            for subject in event.subjects:
                yield rows.at(rows.subject_prefix(subject), height)
