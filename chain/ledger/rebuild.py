"""Clears what follows from the blocks, so that a ledger can be derived from them again.

A node that does not hold the first blocks (pruning, snapshots) starts from the oldest state that it holds,
its base: that state is hashed again and compared with the header, then everything above it is executed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from chain.ledger import rows
from chain.ledger.block import Candidate, header_hash
from chain.ledger.genesis import Genesis
from chain.ledger.queries import Queries
from chain.ledger.recovery import check_genesis_row, damaged
from chain.ledger.rows import Head
from chain.ledger.snapshot import complete_install, index_window, write_in_parts
from chain.ledger.state import node_loader
from chain.ledger.statechunk import check_tree, leaves_below
from chain.ledger.store import Row, Store, check_format, delete_range
from chain.ledger.window import NAMESPACE, read_entry, window_key
from chain.primitives.codec import encode
from chain.primitives.crypto import ZERO_HASH

SYNC_EVERY = 100


def begin_rebuild(store: Store, genesis: Genesis) -> tuple[int, int]:
    """Mark the rebuild, delete every derived row; return (base, height to reach: that of the newest batch).

    The base is 0, or the oldest height whose state is held, which then stands as the head. The mark makes an
    interrupted rebuild recognisable: the directory opens again only when one has finished.
    """
    check_format(store)
    if not check_genesis_row(store, genesis):
        raise damaged("the genesis row is missing, so nothing can be derived again")
    complete_install(store)
    read = Queries(store)
    base = read.holding.now().state
    if base:
        _check_base(store, read, base)
    newest = next(store.iterate(prefix=rows.PAYLOAD, reverse=True, limit=1), None)
    if newest is None and not base:
        raise damaged("no batch is stored, so nothing can be derived again")
    target = max(base, rows.height_of(newest[0]) if newest else 0)
    gone = [rows.HEAD_KEY, rows.CERTIFIED_KEY, rows.LOADING_KEY]
    store.write([(rows.REBUILD_KEY, target.to_bytes(8, "big"))], gone)
    for column in rows.DERIVED:
        start = rows.at(column, base + 1) if base and column in rows.BASE else None
        deque(delete_range(store, column, start=start), maxlen=0)
    if base:
        _restore_base(store, read, base)
    return base, target


def _check_base(store: Store, read: Queries, base: int) -> None:
    header, root = read.header(base), read.tree_root(base)
    if header is None or header.state_root != (ZERO_HASH if root is None else root[0]):
        raise damaged(f"the state of height {base}, the oldest held, is not its header's")
    check_tree(node_loader(store), read.entry_at_leaf, root)


def _restore_base(store: Store, read: Queries, base: int) -> None:
    """Make the base the head again: current state, index of ids that may not be replayed, head row."""
    write_in_parts(store, _current_rows(store, read, base))
    index_window(store, base)
    write_in_parts(store, _header_index(store))
    header = read.header(base)
    assert header is not None  # _check_base read it
    entry = read_entry(base, read.state(NAMESPACE, window_key(base)))
    head = Head(base, header_hash(header), entry.transactions, entry.failed, entry.events)
    store.write([(rows.HEAD_KEY, encode(head))])


def _current_rows(store: Store, read: Queries, base: int) -> Iterator[Row]:
    root = read.tree_root(base)
    for leaf in [] if root is None else leaves_below(node_loader(store), root, b""):
        name, value = read.entry_at_leaf(leaf)
        yield rows.STATE + name, value


def _header_index(store: Store) -> Iterator[Row]:
    for key, _ in store.iterate(prefix=rows.HEADER):
        header = Queries(store).header(rows.height_of(key))
        assert header is not None  # its row was just seen
        yield rows.HEADER_HASH + header_hash(header), header.height.to_bytes(8, "big")


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
