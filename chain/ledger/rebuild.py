"""Clears what follows from the blocks, so that a ledger can be derived from them again."""

from __future__ import annotations

from collections import deque

from chain.ledger import rows
from chain.ledger.block import Candidate
from chain.ledger.genesis import Genesis
from chain.ledger.queries import Queries
from chain.ledger.recovery import check_genesis_row, damaged
from chain.ledger.store import Store, check_format, delete_range

SYNC_EVERY = 100


def begin_rebuild(store: Store, genesis: Genesis) -> int:
    """Mark the rebuild, delete every derived row; return the height to reach (that of the newest batch).

    The mark makes an interrupted rebuild recognisable: the directory opens again only when one has finished.
    """
    check_format(store)
    if not check_genesis_row(store, genesis):
        raise damaged("the genesis row is missing, so nothing can be derived again")
    newest = next(store.iterate(prefix=rows.PAYLOAD, reverse=True, limit=1), None)
    if newest is None:
        raise damaged("no batch is stored, so nothing can be derived again")
    target = rows.height_of(newest[0])
    store.write([(rows.REBUILD_KEY, target.to_bytes(8, "big"))], [rows.HEAD_KEY, rows.CERTIFIED_KEY])
    for column in rows.DERIVED:
        deque(delete_range(store, column), maxlen=0)
    return target


def ordered(read: Queries, height: int) -> tuple[bytes, list[Candidate]]:
    """Return the payload and transactions of a height as they are stored; raise DataDamaged."""
    payload = read.payload(height)
    if payload is None:
        raise damaged(f"the batch of height {height} is missing")
    return payload, [Candidate.of(tx) for tx in read.transactions(height)]


def finish_rebuild(store: Store, target: int) -> int:
    """Remove the mark; return the certified height."""
    certified = 0
    for key, _ in store.iterate(prefix=rows.CERTIFICATE, reverse=True):
        if rows.height_of(key) <= target:
            certified = rows.height_of(key)
            break
    store.write([(rows.CERTIFIED_KEY, certified.to_bytes(8, "big"))], [rows.REBUILD_KEY])
    return certified
