"""A store's rows without the places of its records, and the records that its states need."""

from __future__ import annotations

from chain.ledger.state.bucket import address_held, leaves_of
from chain.ledger.state.chunk import leaves_below
from chain.ledger.state.delta import addresses_of
from chain.ledger.state.inner import children_of
from chain.ledger.state.node import Ref
from chain.ledger.state.state import entries, entry_of, node_loader
from chain.ledger.store import rows
from chain.ledger.store.memory import MemoryStore
from chain.ledger.store.port import Store
from chain.ledger.store.records import RECORDS
from chain.ledger.testing import ToyChain


def plain_rows(store: Store) -> dict[bytes, bytes | int]:
    """Return the rows with values for names, hashes for roots, and for stale lists how long they are."""
    found: dict[bytes, bytes | int] = {}
    for key, row in store.iterate():
        if key.startswith(rows.ROOT):
            found[key] = row[:32]
        elif key.startswith(rows.STALE):
            found[key] = sum(len(store.record(listed)) for listed in rows.read_addresses(row))
        elif not key.startswith((RECORDS, rows.CLEARED_KEY)):
            found[key] = row
    return found | dict(entries(store, rows.STATE))


def records_in(store: Store) -> dict[bytes, bytes]:
    """Return every record that a store in memory keeps, by its place."""
    assert isinstance(store, MemoryStore)
    held = store._generations.held
    return {where: record for number in sorted(held) for where, record in sorted(held[number].items())}


def state_of(chain: ToyChain, height: int) -> dict[bytes, bytes]:
    """Return the entries of the whole state of a height, read checked: name -> value."""
    root = chain.ledger.read.tree_root(height)
    leaves = [] if root is None else leaves_below(node_loader(chain.store), root, b"")
    return dict(entry_of(chain.store, leaf) for leaf in leaves)


def places_used(store: Store, roots: list[Ref | None]) -> set[bytes]:
    """Return the places, as first written, of all records of nodes and values of some trees, read checked."""
    found: set[bytes] = set()
    read: set[bytes] = set()
    load = node_loader(store)
    waiting = [(root, b"") for root in roots]
    while waiting:
        ref, path = waiting.pop()
        if ref is None or ref[1] in read:  # what is found may be part of a later one alone
            continue
        read.add(ref[1])
        found.update(addresses_of(store.record, ref[1]))
        node = load(ref[1], path, ref[0])
        if ref[2]:
            found.update(where for *_, held in leaves_of(node) if (where := address_held(held)) is not None)
        else:
            waiting += [(child, path + bytes([byte])) for byte, child in children_of(node).items()]
    return found
