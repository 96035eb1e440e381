"""A store's rows without the places of its records, which need not be equal in two equal ledgers."""

from __future__ import annotations

from chain.ledger import rows
from chain.ledger.records import LOG, MOVED, SEGMENT
from chain.ledger.state import entries
from chain.ledger.store import Store

_ABOUT_RECORDS = (rows.DEAD, MOVED, SEGMENT)


def plain_rows(store: Store) -> dict[bytes, bytes | int]:
    """Return the rows with values for names, hashes for roots, and for stale lists how long they are."""
    found: dict[bytes, bytes | int] = {}
    for key, row in store.iterate():
        if key.startswith(rows.ROOT):
            found[key] = row[:32]
        elif key.startswith(rows.STALE):
            found[key] = sum(len(store.record(listed)) for listed in rows.read_places(row))
        elif not key.startswith((*_ABOUT_RECORDS, LOG)):
            found[key] = row
    return found | dict(entries(store, rows.STATE))
