"""Rebuild: deletes what follows from the stored blocks, and derives it from them again.

A node that pruned its first blocks, or began from a snapshot, starts from the oldest state that it has, its
*base*. That state is hashed again and compared with its header; then everything above it is executed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from chain.ledger.batch_executor import ChainRuntime
from chain.ledger.block import DecodedTransaction, Header, SkipDecision, header_hash
from chain.ledger.genesis import Genesis
from chain.ledger.history.recovery import check_genesis_row, damaged
from chain.ledger.history.snapshot import (
    complete_install,
    forget_load,
    index_window,
    names_of,
    write_in_parts,
)
from chain.ledger.queries import Queries
from chain.ledger.skip import matches
from chain.ledger.state.chunk import leaves_below
from chain.ledger.state.node import Ref, hash_of_name, pack_root, state_value_hash
from chain.ledger.state.state import entry_of, hold, node_loader
from chain.ledger.state.tree import StateTree
from chain.ledger.store import rows
from chain.ledger.store.faults import DataDamaged
from chain.ledger.store.port import Store, check_format, delete_range
from chain.ledger.store.records import BLOCKS, LOADING, Row, end_key, take_over
from chain.ledger.store.rows import LedgerHead
from chain.ledger.writer import LedgerDiverged, LedgerWriter
from chain.primitives.codec import encode
from chain.primitives.crypto import ZERO_HASH

SYNC_EVERY = 100
"""Heights executed again between synced writes."""
LEAVES_PER_WRITE = 10_000


def rebuild(
    store: Store,
    genesis: Genesis,
    runtime: ChainRuntime,
    progress: Callable[[int, int], None] = lambda _height, _target: None,
) -> None:
    """Derive state, receipts and indexes again from the stored batches; open the ledger afterwards.

    It ends at the same headers. `progress` is told (height, last height). Raises DataDamaged when batches are
    missing, LedgerDiverged when a height executes to another header than before.
    """
    base, target = _begin(store, genesis)
    writer = LedgerWriter(store, genesis, runtime, empty=base == 0)
    for height in range(base + 1, target + 1):
        _replay(writer, height)
        progress(height, target)
    _finish(store, target)


def _replay(writer: LedgerWriter, height: int) -> None:
    """Execute a stored height again; raise LedgerDiverged."""
    former = writer.read.header(height)
    step = writer.execute(height, *_ordered(writer.read, height, former))
    if former is not None and former != step.header:
        raise LedgerDiverged(
            f"height {height}: executes to {step.head.header_hash.hex()[:16]}, before it was "
            f"{header_hash(former).hex()[:16]}; install the Assent version that this chain runs"
        )
    writer.put(step, sync=height % SYNC_EVERY == 0)


def _begin(store: Store, genesis: Genesis) -> tuple[int, int]:
    """Mark the rebuild, delete every derived row; return (base, height to reach: that of the newest batch).

    The base is 0, or the oldest height whose state is held, which then stands as the head. The mark makes an
    interrupted rebuild recognisable: the directory opens again only when one has finished.
    """
    check_format(store)
    if not check_genesis_row(store, genesis):
        raise damaged("the genesis row is missing, so nothing can be derived again")
    _settle_install(store)
    read = Queries(store)
    base = read.pruned.below().state
    newest = next(store.iterate(prefix=rows.PAYLOAD, reverse=True, limit=1), None)
    if newest is None and not base:
        raise damaged("no batch is stored, so nothing can be derived again")
    target = max(base, rows.height_of(newest[0]) if newest else 0)
    forget_load(store)
    kept, replaced = _kept_base(store, read, base) if base else ([], [end_key(BLOCKS)])
    gone = [rows.HEAD_KEY, rows.CERTIFIED_KEY, rows.CLEARED_KEY, *replaced]
    store.write([(rows.REBUILD_KEY, target.to_bytes(8, "big")), *kept], gone, exchange=True)
    for column in rows.DERIVED:
        deque(delete_range(store, column), maxlen=0)
    above = rows.at(rows.ROOT, base + 1) if base else None
    deque(delete_range(store, rows.ROOT, start=above), maxlen=0)
    if base:
        _restore_base(store, read, base)
    return base, target


def _settle_install(store: Store) -> None:
    """Finish an interrupted installation; forget the fetched state if it is damaged, the blocks are not."""
    try:
        complete_install(store)
    except DataDamaged:
        forget_load(store)


def _kept_base(store: Store, read: Queries, base: int) -> tuple[list[Row], list[bytes]]:
    try:
        return _copy_base(store, read, base)
    except DataDamaged as error:
        raise DataDamaged(
            f"ledger: the oldest state held, of height {base}, is damaged ({str(error).partition(';')[0]}), "
            "and the blocks below it are not here: remove the directory and let the node fetch the chain "
            "from its peers"
        ) from None


def _copy_base(store: Store, read: Queries, base: int) -> tuple[list[Row], list[bytes]]:
    """Read and check the whole state of the base, and write it anew; return the rows to put and to delete.

    What it did not hold is garbage from then on, whichever height wrote it.
    """
    header, former = read.header(base), read.tree_root(base)
    if header is None or header.state_root != (ZERO_HASH if former is None else former[0]):
        raise damaged(f"the state of height {base}, the oldest held, is not its header's")
    tree = StateTree(node_loader(store))
    root: Ref | None = None
    leaves = iter(()) if former is None else leaves_below(node_loader(store), former, b"")
    while some := list(islice(leaves, LEAVES_PER_WRITE)):
        records = store.records(LOADING)
        changes: dict[bytes, tuple[bytes | None, bytes]] = {}
        for leaf in some:
            name, value = entry_of(store, leaf)
            changes[hash_of_name(name)] = (state_value_hash(value), hold(name, value, records))
        update = tree.update(root, changes, records)
        store.write([], records=records, sync=False)
        tree.keep(update)
        root = update.root
    puts, replaced = take_over(store)
    return [*puts, (rows.at(rows.ROOT, base), pack_root(root))], replaced


def _restore_base(store: Store, read: Queries, base: int) -> None:
    """Make the base the head again: names of the state, index of ids that may not be replayed, head row."""
    root = read.tree_root(base)
    write_in_parts(store, names_of(store, root))
    entry = index_window(store, base, root)
    write_in_parts(store, _header_index(store))
    header = read.header(base)
    assert header is not None  # _copy_base read it
    head = LedgerHead(base, header_hash(header), entry.transactions, entry.failed, entry.events)
    store.write([(rows.HEAD_KEY, encode(head))])


def _header_index(store: Store) -> Iterator[Row]:
    for key, _ in store.iterate(prefix=rows.HEADER):
        header = Queries(store).header(rows.height_of(key))
        assert header is not None  # its row was just seen
        yield rows.HEADER_HASH + header_hash(header), header.height.to_bytes(8, "big")


def _ordered(
    read: Queries, height: int, header: Header | None
) -> tuple[bytes, list[DecodedTransaction], SkipDecision | None]:
    """Return what a height is executed from as it is stored: payload, transactions, skip; raise DataDamaged.

    `header` is the one that it had before, if that is still here.
    """
    payload = read.payload(height)
    if payload is None:
        raise damaged(f"the batch of height {height} is missing")
    candidates = [DecodedTransaction.of(tx) for tx in read.transactions(height)]
    skip = read.skip(height)
    if skip is not None and not matches(skip.skip, height, payload, [item.id for item in candidates]):
        skip = None
    if header is not None and (header.skip is None) != (skip is None):
        raise damaged(f"the skip decision of height {height} is missing, or not of its batch")
    return payload, candidates, skip


def _finish(store: Store, target: int) -> None:
    """Note the certified height, and remove the mark."""
    certified = 0
    for key, _ in store.iterate(prefix=rows.CERTIFICATE, reverse=True):
        if rows.height_of(key) <= target:
            certified = rows.height_of(key)
            break
    store.write([(rows.CERTIFIED_KEY, certified.to_bytes(8, "big"))], [rows.REBUILD_KEY])
