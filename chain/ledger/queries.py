"""Queries of the ledger's rows, for any height that was not pruned; safe in any thread.

Rows that are keyed by height never change, so no query can see half a block; the few that read current
state use one snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from heapq import merge
from typing import TypeVar

from chain.ledger.block import (
    ABOVE_MAX,
    Batch,
    Block,
    EventEntry,
    Header,
    Receipt,
    SkipDecision,
    Transaction,
)
from chain.ledger.pruned import PrunedHistory, UnknownHeight
from chain.ledger.state.bucket import Leaf
from chain.ledger.state.node import Ref, read_root, state_key_hash
from chain.ledger.state.proof import find_leaf
from chain.ledger.state.state import NewestState, entries, entry_of, newest_state, node_loader
from chain.ledger.store import rows
from chain.ledger.store.faults import DataDamaged
from chain.ledger.store.port import Store, after_prefix
from chain.ledger.store.rows import EventPosition, LedgerHead
from chain.primitives.certificate import Certificate
from chain.primitives.codec import U64_MAX, decode, encode, encode_list, encode_parts
from chain.primitives.errors import LimitError
from chain.primitives.runtimeport import StateReader

T = TypeVar("T")

PAGE_MAX = 10_000
ENTRY_BYTES = 256
"""What an event counts beside its fields where pages are bounded in bytes."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries and where the next page starts."""

    entries: tuple[EventEntry, ...]
    next: bytes | None
    """Pass it as `after`; None when there are no more entries now."""


@dataclass(frozen=True, slots=True)
class StatePage:
    """Some (key, value) pairs of a namespace and where the next page starts."""

    rows: tuple[tuple[bytes, bytes], ...]
    next: bytes | None
    """Pass it as `after`; None when there are no more."""


@dataclass(frozen=True, slots=True)
class StateView:
    """The state as one moment's head left it: what an off-chain call reads."""

    state: StateReader
    header: Header


class Queries:
    """Reads one ledger's rows."""

    __slots__ = ("_store", "pruned")

    def __init__(self, store: Store) -> None:
        self._store = store
        self.pruned = PrunedHistory(store)
        """What of the history is not here any more."""

    # --- blocks -----------------------------------------------------------------------------------

    def head(self) -> LedgerHead:
        """Return where the ledger stands: height, header hash and totals."""
        return decode(LedgerHead, self._row(rows.HEAD_KEY, "the head row"))

    def header(self, height: int) -> Header | None:
        """Return the header of an executed height, or None."""
        row = self._header_row(height)
        return None if row is None else decode(Header, row)

    def _header_row(self, height: int) -> bytes | None:
        return self._store.get(rows.at(rows.HEADER, height))

    def height_of(self, header_hash: bytes) -> int | None:
        """Return the height of the header with this hash, or None."""
        row = self._store.get(rows.HEADER_HASH + header_hash)
        return None if row is None else int.from_bytes(row, "big")

    def certificate(self, height: int) -> Certificate | None:
        """Return the certificate of a height, or None: height 0 has none, the newest none yet."""
        row = self._store.get(rows.at(rows.CERTIFICATE, height))
        return None if row is None else decode(Certificate, row)

    def certified_height(self) -> int:
        """Return the newest certified height, 0 when there is none."""
        return int.from_bytes(self._store.get(rows.CERTIFIED_KEY) or b"", "big")

    def payload(self, height: int) -> bytes | None:
        """Return the payload of a height: an encoded batch, b"" for a null request, None if unknown."""
        return self._store.get(rows.at(rows.PAYLOAD, height))

    def batch(self, height: int) -> Batch | None:
        """Return the batch of a height; None for a null request, for height 0 and for an unknown height."""
        payload = self.payload(height)
        return decode(Batch, payload) if payload else None

    def skip(self, height: int) -> SkipDecision | None:
        """Return the decision under which a height was executed, or that waits for it; None without one."""
        row = self._store.get(rows.at(rows.SKIP, height))
        return None if row is None else decode(SkipDecision, row)

    def block(self, height: int) -> Block | None:
        """Return everything another node needs to replay a height; None unless it is certified here."""
        raw = self.block_bytes(height)
        return None if raw is None else decode(Block, raw)

    def block_bytes(self, height: int) -> bytes | None:
        """Return an encoded block, joined from its rows: no transaction is decoded; raise NotHeld.

        A height whose own certificate never came is certified by one above, to which headers lead.
        """
        header, payload = self._header_row(height) if height else None, self.payload(height)
        above: list[bytes] = []
        while header is not None and payload is not None:
            certificate = self._store.get(rows.at(rows.CERTIFICATE, height + len(above)))
            if certificate is not None:
                found = [row for _, row in self._store.iterate(prefix=rows.at(rows.TRANSACTION, height))]
                self.pruned.require_blocks(height)  # after reading: it may be pruned meanwhile
                skip = encode(self.skip(height) if decode(Header, header).skip else None)
                parts = [header, encode_list(above), certificate, encode(payload), encode_list(found), skip]
                return encode_parts(Block, parts)
            following = self._header_row(height + len(above) + 1) if len(above) < ABOVE_MAX else None
            if following is None:
                break
            above.append(following)
        return None

    # --- transactions and receipts ----------------------------------------------------------------

    def position(self, tx_id: bytes) -> tuple[int, int] | None:
        """Return (height, position in the batch) of a transaction with a final receipt, or None.

        The position is `rows.POSITION_UNKNOWN` when a snapshot brought the id.
        """
        row = self._store.get(rows.TX_INDEX + tx_id)
        return None if row is None else rows.read_tx_position(row)

    def is_final(self, tx_id: bytes) -> bool:
        """Tell whether a transaction has a final receipt."""
        return self._store.get(rows.TX_INDEX + tx_id) is not None

    def transaction_bytes(self, tx_id: bytes) -> bytes | None:
        """Return an executed transaction as it was sent, or None; raise NotHeld."""
        where = self.position(tx_id)
        if where is None:
            return None
        raw = self._store.get(rows.at_position(rows.TRANSACTION, *where))
        if raw is None:
            self.pruned.require_blocks(where[0], f"transaction {tx_id.hex()} of height {where[0]}")
        return raw

    def transaction(self, tx_id: bytes) -> Transaction | None:
        """Return an executed transaction, or None."""
        raw = self.transaction_bytes(tx_id)
        return None if raw is None else decode(Transaction, raw)

    def transactions(self, height: int) -> list[Transaction]:
        """Return the transactions of a height in batch order; raise NotHeld."""
        found = [row for _, row in self._store.iterate(prefix=rows.at(rows.TRANSACTION, height))]
        self.pruned.require_blocks(height)  # after reading: it may be pruned meanwhile
        return [decode(Transaction, row) for row in found]

    def receipt(self, tx_id: bytes) -> Receipt | None:
        """Return the final receipt of a transaction, or None while there is none."""
        where = self.position(tx_id)
        return None if where is None else self._receipt(*where)

    def receipts(self, height: int) -> list[Receipt]:
        """Return the receipts of a height in batch order."""
        return [decode(Receipt, row) for row in self.receipt_bytes(height)]

    def receipt_bytes(self, height: int) -> list[bytes]:
        """Return the encoded receipts of a height in batch order; raise NotHeld."""
        found = [row for _, row in self._store.iterate(prefix=rows.at(rows.RECEIPT, height))]
        self.pruned.require_blocks(height)
        return found

    def decided_ids(self, height: int) -> list[bytes]:
        """Return the ids whose fate a height decided: what a pool may drop."""
        batch = self.batch(height)
        return [tx_id for tx_id in batch.tx_ids if self.is_final(tx_id)] if batch else []

    # --- events -----------------------------------------------------------------------------------

    def entries(
        self,
        *,
        subject: str | None = None,
        contract: str | None = None,
        name: str | None = None,
        first: int = 0,
        last: int = U64_MAX,
        limit: int = 100,
        max_bytes: int = U64_MAX,
        after: bytes | None = None,
    ) -> Page:
        """Return events at heights first..last in ledger order: of a subject, a contract, both, or all.

        `name` is the event's name and needs a contract; `limit` is 1..10,000; a page ends with the event that
        takes it to `max_bytes`; `after` is a former page's `next`. Raises LimitError for values outside,
        NotHeld when the first height is not here any more.
        """
        if not 1 <= limit <= PAGE_MAX:
            raise LimitError(f"limit = {limit}: expected 1..{PAGE_MAX}")
        if name is not None and contract is None:
            raise LimitError(f"name = {name!r}: give the contract too")
        start = _start(first, after)
        self.pruned.require_blocks(start[0], f"events from height {start[0]} on")
        if subject is not None:
            found = self._subject_positions(subject, start[0], last)
        elif contract is not None:
            found = self._contract_positions(contract, name, start[0], last)
        else:
            found = self._all_positions(start[0], last)
        wanted = self._loaded(position for position in found if position >= start)
        if subject is not None and contract is not None:
            wanted = (pair for pair in wanted if _emitted_by(pair[1], contract, name))
        listed, rest = _cut(wanted, limit, max_bytes, lambda pair: ENTRY_BYTES + len(pair[1].event.fields))
        more = rows.pack_cursor(listed[-1][0]) if rest else None
        return Page(tuple([entry for _, entry in listed]), more)

    def _subject_positions(self, subject: str, first: int, last: int) -> Iterator[EventPosition]:
        for height, row in self._per_height(rows.subject_prefix(subject), first, last):
            yield from rows.read_event_positions(height, row[8:])

    def _contract_positions(
        self, contract: str, name: str | None, first: int, last: int
    ) -> Iterator[EventPosition]:
        names = [name] if name is not None else self.event_names(contract)
        return merge(*[self._event_positions(contract, item, first, last) for item in names])

    def _event_positions(self, contract: str, name: str, first: int, last: int) -> Iterator[EventPosition]:
        for height, row in self._per_height(rows.event_prefix(contract, name), first, last):
            yield from rows.read_event_positions(height, row)

    def event_names(self, contract: str) -> list[str]:
        """Return the names of the events that a contract ever emitted; one seek each."""
        prefix, names = rows.event_prefix(contract), []
        start: bytes | None = prefix
        while start is not None:
            row = next(self._store.iterate(prefix=prefix, start=start, limit=1), None)
            if row is None:
                break
            size = row[0][len(prefix)]
            names.append(row[0][len(prefix) + 1 : len(prefix) + 1 + size].decode())
            start = after_prefix(rows.event_prefix(contract, names[-1]))
        return names

    def _all_positions(self, first: int, last: int) -> Iterator[EventPosition]:
        stop = rows.at(rows.RECEIPT, last + 1) if last < U64_MAX else None
        for _, row in self._store.iterate(prefix=rows.RECEIPT, start=rows.at(rows.RECEIPT, first), stop=stop):
            receipt = decode(Receipt, row)
            for number in range(len(receipt.events)):
                yield receipt.height, receipt.index, number

    def _per_height(self, prefix: bytes, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        stop = rows.at(prefix, last + 1) if last < U64_MAX else None
        for key, row in self._store.iterate(prefix=prefix, start=rows.at(prefix, first), stop=stop):
            yield rows.height_of(key), row

    def _loaded(self, positions: Iterator[EventPosition]) -> Iterator[tuple[EventPosition, EventEntry]]:
        loaded, receipt = (-1, -1), None
        for position in positions:
            if receipt is None or position[:2] != loaded:
                loaded, receipt = position[:2], self._receipt(*position[:2])
            event = receipt.events[position[2]]
            yield position, EventEntry(position[0], receipt.tx_id, position[2], event)

    # --- state ------------------------------------------------------------------------------------

    @contextmanager
    def view(self) -> Iterator[StateView]:
        """Open the state of the newest head; what is executed meanwhile does not show."""
        with closing(self._store.snapshot()) as snapshot:
            head = decode(LedgerHead, _present(snapshot.get(rows.HEAD_KEY), "the head row"))
            header = _present(snapshot.get(rows.at(rows.HEADER, head.height)), f"header {head.height}")
            yield StateView(newest_state(snapshot), decode(Header, header))

    def state(self, namespace: str, key: bytes) -> bytes | None:
        """Return one entry of the newest state, or None when absent."""
        return NewestState(self._store).get(namespace, key)

    def state_at(self, namespace: str, key: bytes, height: int) -> bytes | None:
        """Return one entry of the state of a height, None when absent there; raise UnknownHeight, NotHeld."""
        key_hash = state_key_hash(namespace, key)
        with self.reading_state(height):
            leaf = find_leaf(node_loader(self._store), self.tree_root(height), key_hash)
            return None if leaf is None else self.value_at_leaf(leaf)

    @contextmanager
    def reading_state(self, height: int) -> Iterator[None]:
        """Say NotHeld, not DataDamaged, when the state of a height is pruned while it is read."""
        try:
            yield
        except DataDamaged:
            self.pruned.require_state(height)
            raise

    def state_range(
        self,
        namespace: str,
        prefix: bytes,
        *,
        after: bytes | None = None,
        limit: int = 100,
        max_bytes: int = U64_MAX,
    ) -> StatePage:
        """Return entries of the newest state whose keys have this prefix, in key order, from one snapshot.

        A page ends with the entry that takes it to `max_bytes`.
        """
        if not 1 <= limit <= PAGE_MAX:
            raise LimitError(f"limit = {limit}: expected 1..{PAGE_MAX}")
        start = None if after is None else rows.state_key(namespace, after + b"\0")
        with closing(self._store.snapshot()) as snapshot:
            found = entries(snapshot, rows.state_key(namespace, prefix), start=start, limit=limit + 1)
            pairs = ((rows.split_state_key(key)[1], value) for key, value in found)
            listed, rest = _cut(pairs, limit, max_bytes, lambda pair: len(pair[0]) + len(pair[1]))
        return StatePage(tuple(listed), listed[-1][0] if rest else None)

    def tree_root(self, height: int) -> Ref | None:
        """Return the root of the state tree of a height; raise UnknownHeight, NotHeld."""
        row = self._store.get(rows.at(rows.ROOT, height))
        self.pruned.require_state(height)
        if row is None:
            raise UnknownHeight(f"height {height}: its state is not here; it is above the head")
        return read_root(row)

    def value_at_leaf(self, leaf: Leaf) -> bytes:
        """Return the state value that a leaf of the tree stands for."""
        return self.entry_at_leaf(leaf)[1]

    def entry_at_leaf(self, leaf: Leaf) -> tuple[bytes, bytes]:
        """Return (name, value) of a leaf of the tree; the name is `sized(namespace) + key`."""
        return entry_of(self._store, leaf)

    def _receipt(self, height: int, index: int) -> Receipt:
        row = self._store.get(rows.at_position(rows.RECEIPT, height, index))
        if row is None:
            self.pruned.require_blocks(height)
        return decode(Receipt, _present(row, f"receipt {index} of height {height}"))

    def _row(self, key: bytes, what: str) -> bytes:
        return _present(self._store.get(key), what)


def _cut(items: Iterator[T], limit: int, max_bytes: int, size: Callable[[T], int]) -> tuple[list[T], bool]:
    """Return items up to a number or a size, at least one if there is one, and whether there are more."""
    listed: list[T] = []
    bytes_listed = 0
    for item in items:
        if len(listed) == limit or bytes_listed >= max_bytes:
            return listed, True
        listed.append(item)
        bytes_listed += size(item)
    return listed, False


def _present(row: bytes | None, what: str) -> bytes:
    if row is None:
        raise DataDamaged(f"ledger: {what} is missing; run `assent node rebuild`")
    return row


def _start(first: int, after: bytes | None) -> EventPosition:
    if after is None:
        return first, 0, 0
    position = rows.read_cursor(after)
    if position is None:
        raise LimitError("after: not a cursor; pass the `next` of a former page unchanged")
    height, index, event = position
    return max((first, 0, 0), (height, index, event + 1))


def _emitted_by(entry: EventEntry, contract: str, name: str | None) -> bool:
    return entry.event.contract == contract and name in (None, entry.event.name)
