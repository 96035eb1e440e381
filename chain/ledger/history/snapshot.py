"""Snapshot: takes the state of a certified height for a ledger, without the blocks that led to it.

Fetched state lies in a stream of records of its own, so it disturbs nothing while it arrives: the
ledger goes on where it stands, and a crash keeps what was written (`StateLoad.resume`). Only when the whole
tree is here, hashed to the certified root, does `install` exchange the current state and write the head. It
marks its beginning in a synced write and its end in another; opening a directory in between repeats it, so a
half-loaded snapshot is never taken for a ledger. `begin`, `abandon` and `install` are called through
`Ledger.replace`, which shuts out whoever executes; `take` needs no such care.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from threading import Lock
from typing import Annotated

from chain.ledger.block import Header, header_hash
from chain.ledger.proof.anchor import Anchor, TrustedSets
from chain.ledger.proof.proofs import SetChange
from chain.ledger.pruned import PrunedHistory
from chain.ledger.state.chunk import StateChunk, StateLoader, leaves_below
from chain.ledger.state.node import Ref, pack_root, read_root
from chain.ledger.state.state import TreeState, entry_of, node_loader
from chain.ledger.store import rows
from chain.ledger.store.faults import DataDamaged
from chain.ledger.store.port import Store, delete_range
from chain.ledger.store.records import LOADING, Row, end_key, take_over
from chain.ledger.store.rows import LedgerHead, PrunedBelow
from chain.ledger.validity_window import (
    NAMESPACE,
    VALIDITY_WINDOW_MAX,
    HeightSummary,
    read_summary,
    summary_key,
)
from chain.primitives.codec import Bound, decode, encode, record
from chain.primitives.errors import AssentError

CHANGES_KEPT_MAX = 4_096
ROWS_PER_WRITE = 10_000


class SnapshotTooOld(AssentError):
    """A snapshot of a height that the ledger has already: it is not needed."""

    code = "snapshot_too_old"


class SnapshotConflicts(AssentError):
    """A snapshot that contradicts what this ledger executed: this node is at fault, not the snapshot."""

    code = "ledger_diverged"


@record("loading", max_bytes=1_073_741_824)
class Loading:
    """Which height's state is being fetched, with everything that proves it."""

    anchor: Anchor
    changes: Annotated[tuple[SetChange, ...], Bound(0, CHANGES_KEPT_MAX)]
    installing: bool
    """The whole state is here and replaces the former one: finish that before anything else."""


class StateLoad:
    """One state on its way into a store."""

    def __init__(self, store: Store, loading: Loading) -> None:
        """Continue a load that was begun (`begin`, `resume`)."""
        self._store, self._loading = store, loading
        top = loading.anchor.header
        self.height = top.height
        self.anchor = loading.anchor
        self.loader = StateLoader(top.height, top.state_root, store.iterate(prefix=rows.PARTIAL))
        self._open, self._lock = True, Lock()

    @classmethod
    def begin(cls, store: Store, sets: TrustedSets, anchor: Anchor) -> StateLoad:
        """Start to load the state of an anchor's height; what a former load brought goes.

        Raises ProofInvalid unless the sets prove the anchor, SnapshotTooOld unless it lies above the head,
        SnapshotConflicts.
        """
        sets.check_anchor(anchor)
        _check_newer(store, anchor)
        forget_load(store)
        loading = Loading(anchor, tuple(sets.changes), installing=False)
        store.write([(rows.LOADING_KEY, encode(loading))])
        return cls(store, loading)

    @classmethod
    def resume(cls, store: Store) -> StateLoad | None:
        """Return the load that a former process began and did not finish, or None."""
        row = store.get(rows.LOADING_KEY)
        return None if row is None else cls(store, decode(Loading, row))

    @property
    def complete(self) -> bool:
        """Whether the whole state is here, ready to be installed."""
        return self.loader.complete

    def take(self, chunk: StateChunk) -> None:
        """Check and keep one chunk; raise ProofInvalid. One that is not wanted (any more) is ignored."""
        with self._lock:
            if self._open:
                records = self._store.records(LOADING)
                puts, deletes = self.loader.take(chunk, records)
                if puts:
                    self._store.write(puts, deletes, records=records, sync=False)

    def abandon(self) -> None:
        """Forget what was fetched."""
        with self._lock:
            self._open = False
            forget_load(self._store)

    def install(self, progress: Callable[[str], None] = lambda _what: None) -> None:
        """Make the fetched state the ledger's.

        Raises SnapshotTooOld when the ledger went past it meanwhile, DataDamaged when it is not complete.
        """
        with self._lock:
            if not self._open or not self.complete:
                raise DataDamaged(f"snapshot of height {self.height}: not complete; fetch the rest first")
            _check_newer(self._store, self.anchor)
            self._open = False
            marked = Loading(self.anchor, self._loading.changes, installing=True)
            self._store.write([(rows.LOADING_KEY, encode(marked))], sync=True)
            _install(self._store, marked, progress)


def forget_load(store: Store) -> None:
    """Delete every trace of a state being fetched, the mark first: the rest means nothing without it."""
    store.write([], [rows.LOADING_KEY], sync=False)
    _drain(delete_range(store, rows.PARTIAL))
    if store.get(end_key(LOADING)) is not None:
        store.write([], [end_key(LOADING)], exchange=True)


def complete_install(store: Store) -> None:
    """Finish an installation that a crash interrupted; do nothing when there was none."""
    row = store.get(rows.LOADING_KEY)
    if row is not None and (loading := decode(Loading, row)).installing:
        _install(store, loading, lambda _what: None)


def _install(store: Store, loading: Loading, progress: Callable[[str], None]) -> None:
    """Every step may be repeated; the last synced write makes the snapshot the ledger."""
    anchor, top = loading.anchor, loading.anchor.header
    root = read_root((store.get(rows.PARTIAL) or b"")[1:])
    progress("replacing the current state")
    for column in (rows.STATE, rows.STALE):
        _drain(delete_range(store, column))
    write_in_parts(store, names_of(store, root))
    progress("indexing the last transactions")
    entry = index_window(store, top.height, root)
    pruned = PrunedHistory(store).below()
    head = LedgerHead(top.height, header_hash(top), entry.transactions, entry.failed, entry.events)
    now_pruned = PrunedBelow(
        blocks=top.height + 1,
        state=top.height,
        headers=anchor.headers[0].height,
        swept=pruned.swept,
        archive=pruned.archive,
    )
    puts = [
        *_proof_rows(loading),
        (rows.at(rows.ROOT, top.height), pack_root(root)),
        (rows.HELD_KEY, encode(now_pruned)),
        (rows.CERTIFIED_KEY, top.height.to_bytes(8, "big")),
        (rows.HEAD_KEY, encode(head)),
    ]
    kept, replaced = take_over(store)
    gone = [rows.LOADING_KEY, rows.CLEARED_KEY, *replaced]
    gone += [key for key, _ in store.iterate(prefix=rows.PARTIAL)]
    gone += _leapt_skips(store, top.height)
    store.write([*puts, *kept], gone, exchange=True)


def _leapt_skips(store: Store, top: int) -> list[bytes]:
    """Return the rows of skip decisions that waited for heights which are not executed here any more."""
    start, stop = rows.at(rows.SKIP, _head(store).height + 1), rows.at(rows.SKIP, top + 1)
    return [key for key, _ in store.iterate(prefix=rows.SKIP, start=start, stop=stop)]


def names_of(store: Store, root: Ref | None) -> Iterator[Row]:
    """Yield the rows that list the entries of a tree, all of which are read and checked."""
    for leaf in [] if root is None else leaves_below(node_loader(store), root, b""):
        yield rows.STATE + entry_of(store, leaf)[0], b""


def index_window(store: Store, top: int, root: Ref | None) -> HeightSummary:
    """Index what ran in the last validity window, as the state of `top` has it; return its entry."""
    state = TreeState(store, root)
    for height in range(max(0, top - VALIDITY_WINDOW_MAX + 1), top + 1):
        raw = state.get(NAMESPACE, summary_key(height))
        ids = [] if raw is None else read_summary(height, raw).tx_ids()
        position = rows.pack_tx_position(height, rows.POSITION_UNKNOWN)
        write_in_parts(store, ((rows.TX_INDEX + tx_id, position) for tx_id in ids))
    return read_summary(top, state.get(NAMESPACE, summary_key(top)))


def write_in_parts(store: Store, puts: Iterator[Row]) -> None:
    """Write rows in unsynced writes of bounded size."""
    while chunk := list(islice(puts, ROWS_PER_WRITE)):
        store.write(chunk, sync=False)


def _proof_rows(loading: Loading) -> Iterator[Row]:
    """Yield headers and certificates: what later proofs need beside the state."""
    for proof in [change.header for change in loading.changes]:
        yield from _header_rows(proof.headers)
        yield rows.at(rows.CERTIFICATE, proof.certificate.height), encode(proof.certificate)
    yield from _header_rows(loading.anchor.headers)
    certificate = loading.anchor.certificate
    yield rows.at(rows.CERTIFICATE, certificate.height), encode(certificate)


def _header_rows(headers: tuple[Header, ...]) -> Iterator[Row]:
    for header in headers:
        yield rows.at(rows.HEADER, header.height), encode(header)
        yield rows.HEADER_HASH + header_hash(header), header.height.to_bytes(8, "big")


def _check_newer(store: Store, anchor: Anchor) -> None:
    head = _head(store)
    if anchor.header.height <= head.height:
        raise SnapshotTooOld(
            f"snapshot of height {anchor.header.height}: the ledger stands at {head.height}; it is not needed"
        )
    for header in anchor.headers:
        own = store.get(rows.at(rows.HEADER, header.height))
        if own is not None and own != encode(header):
            raise SnapshotConflicts(
                f"snapshot of height {anchor.header.height}: a quorum certified another header "
                f"{header.height} than this ledger has; compare this node's release and disk with the "
                "others', then remove the data directory"
            )


def _head(store: Store) -> LedgerHead:
    row = store.get(rows.HEAD_KEY)
    if row is None:
        raise DataDamaged("ledger: the head row is missing; run `assent node rebuild`")
    return decode(LedgerHead, row)


def _drain(steps: Iterator[int]) -> None:
    deque(steps, maxlen=0)
