"""Pruning old history, in two steps: first it is said to be gone, then its rows are deleted bit by bit.

`set_floor` moves the row `held`; from then on queries answer NotHeld below it. `sweep` deletes what lies
below, whole heights in writes of bounded size, each of which also notes how far it came. So a crash anywhere
leaves a directory that opens, answers correctly, and goes on sweeping. Headers and certificates stay.

Log records that no state needs any more, among those not pruned, are marked as dead. A segment of the record
log that is mostly dead is given up: its other records move to the end of the log, and a row says where each
went.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from chain.ledger.block import Batch, Receipt
from chain.ledger.pruned import PrunedHistory
from chain.ledger.queries import Queries
from chain.ledger.state.delta import addresses_of
from chain.ledger.store import rows
from chain.ledger.store.port import Store
from chain.ledger.store.reclaim import DeadRecords, give_up, mostly_dead
from chain.ledger.store.rows import PrunedBelow
from chain.ledger.validity_window import VALIDITY_WINDOW_MAX
from chain.primitives.codec import decode, encode
from chain.primitives.errors import LimitError

SWEEP_ROWS = 10_000
"""Rows after which a sweep pauses; the last height may exceed it, within the limits of a block."""


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
    """Tell whether rows or log records of pruned heights can go now."""
    pruned = PrunedHistory(store).below()
    return pruned.blocks > 0 and (pruned.swept < _sweep_end(store, pruned) or mostly_dead(store) is not None)


def _sweep_end(store: Store, pruned: PrunedBelow) -> int:
    """Return the first height whose rows stay: what ran in the validity window is still looked up."""
    return pruned.blocks and min(pruned.blocks, Queries(store).head().height - VALIDITY_WINDOW_MAX + 1)


def sweep(store: Store) -> bool:
    """Delete a bounded number of rows of pruned heights, or one segment; return whether more can go now."""
    pruned = PrunedHistory(store).below()
    end = _sweep_end(store, pruned)
    dead = DeadRecords(store)
    deletes: list[bytes] = []
    height = pruned.swept
    while height < end and len(deletes) + len(dead) < SWEEP_ROWS:
        height = _next_height(store, height, end)
        if height == end:
            break
        for address in _stale_records(store, height):
            dead.add(address)
        deletes += _block_keys(store, pruned, height)
        height += 1
    if deletes or height > pruned.swept:
        moved = dataclasses.replace(pruned, swept=height)
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


def _block_keys(store: Store, pruned: PrunedBelow, height: int) -> Iterator[bytes]:
    """Yield the rows of a height that go when its block is pruned."""
    yield from _index_keys(store, height)
    for column in (rows.TRANSACTION, rows.RECEIPT):
        yield from (key for key, _ in store.iterate(prefix=rows.at(column, height)))
    yield rows.at(rows.PAYLOAD, height)
    yield rows.at(rows.STALE, height)
    if height < pruned.state:
        yield rows.at(rows.ROOT, height)


def _stale_records(store: Store, height: int) -> Iterator[bytes]:
    """Yield the addresses of log records that only pruned states use, and of their lists."""
    for listed in rows.read_addresses(store.get(rows.at(rows.STALE, height)) or b""):
        stale = store.record(listed)
        for address in rows.read_addresses(stale[1:]):
            if stale[:1] == rows.NODES:
                yield from addresses_of(store.record, address)
            else:
                yield address
        yield listed


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
