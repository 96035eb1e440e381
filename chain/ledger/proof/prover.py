"""Prover: builds proofs from a ledger's rows; safe in any thread."""

from __future__ import annotations

from chain.ledger.block import EventEntry, Header
from chain.ledger.proof.proofs import (
    HEADERS_MAX,
    HISTORY_ENTRIES_MAX,
    HeaderProof,
    MerklePath,
    ProvedHistory,
    ProvedReceipt,
    ProvedState,
    ProvedTransaction,
    SetChange,
)
from chain.ledger.pruned import UnknownHeight
from chain.ledger.queries import PAGE_MAX, Queries
from chain.ledger.schedule import Schedule
from chain.ledger.state.node import state_key_hash
from chain.ledger.state.proof import StateProof, find
from chain.ledger.state.state import node_loader
from chain.ledger.store.faults import DataDamaged
from chain.ledger.store.port import Store
from chain.ledger.subjects import NAMESPACE, log_key
from chain.primitives import merkle
from chain.primitives.boundedcache import BoundedCache
from chain.primitives.codec import U64_MAX
from chain.primitives.errors import AssentError, Exit, LimitError

TREES_KEPT = 16
SET_CHANGES_MAX = 1_024
"""Changes of the validator set in one answer; ask again above the last."""


class NotCertified(AssentError):
    """No certificate proves this height yet: ask again when the chain has moved on."""

    code = "not_certified"
    exit = Exit.NO_QUORUM


class Prover:
    """Proves what `Queries` answers."""

    __slots__ = ("_queries", "_schedule", "_store", "_trees")

    def __init__(self, store: Store, queries: Queries, schedule: Schedule) -> None:
        self._store = store
        self._queries = queries
        self._schedule = schedule
        self._trees: BoundedCache[int, list[list[bytes]]] = BoundedCache(TREES_KEPT)
        """height -> Merkle tree over its receipts, for the heights asked for last."""

    def header(self, height: int) -> HeaderProof:
        """Prove a header by the nearest certificate at or above it.

        Raises UnknownHeight, NotHeld, NotCertified, as all proofs below do.
        """
        headers: list[Header] = []
        for current in range(height, height + HEADERS_MAX):
            header = self._queries.header(current)
            if header is None:
                break
            headers.append(header)
            certificate = self._queries.certificate(current)
            if certificate is not None:
                return HeaderProof(tuple(headers), certificate)
        if not headers:
            raise self._queries.pruned.missing_header(height)
        raise NotCertified(f"height {height}: no certificate up to height {headers[-1].height} yet")

    def set_changes(self, above: int = 0, *, limit: int = SET_CHANGES_MAX) -> tuple[SetChange, ...]:
        """Prove every validator set in force from a height above this one, as far as it is certified."""
        proved: list[SetChange] = []
        window = self._schedule.limits_at(0).consensus_window
        for entry in self._schedule.sets(above + 1)[:limit]:
            try:
                header = self.header(entry.first - window)
            except (NotCertified, UnknownHeight):
                break
            proved.append(SetChange(entry.first, entry.keys, header))
        return tuple(proved)

    def receipt(self, tx_id: bytes) -> ProvedReceipt | None:
        """Prove the final receipt of a transaction; None while there is none; raise NotCertified."""
        receipt = self._queries.receipt(tx_id)
        if receipt is None:
            return None
        path = _path(self._receipt_tree(receipt.height), receipt.index)
        return ProvedReceipt(receipt, path, self.header(receipt.height))

    def transaction(self, tx_id: bytes) -> ProvedTransaction | None:
        """Prove that a transaction was ordered where it was; None when unknown; raise NotCertified."""
        where = self._queries.position(tx_id)
        tx = self._queries.transaction(tx_id)
        batch = None if where is None else self._queries.batch(where[0])
        if where is None or tx is None or batch is None:
            return None
        leaves = [merkle.leaf_hash(item) for item in batch.tx_ids]
        return ProvedTransaction(tx, _path(merkle.levels(leaves), where[1]), self.header(where[0]))

    def state(self, namespace: str, key: bytes, height: int) -> ProvedState:
        """Prove a state entry's value or absence at a height; raise UnknownHeight, NotCertified."""
        header = self.header(height)
        key_hash = state_key_hash(namespace, key)
        with self._queries.reading_state(height):
            found = find(node_loader(self._store), self._queries.tree_root(height), key_hash)
            value = None if found.leaf is None else self._queries.value_at_leaf(found.leaf)
        return ProvedState(namespace, key, value, StateProof(found.levels, found.bucket), header)

    def history(self, subject: str, first: int, last: int, *, max_bytes: int = U64_MAX) -> ProvedHistory:
        """Prove that these are all events of a subject at heights first..last; first 1 is taken as 0.

        Beyond `max_bytes` of events the history ends with the height that reached them: its `last` says so.
        Raises UnknownHeight, NotCertified, and LimitError for more than a million entries.
        """
        if first > last:
            raise LimitError(f"heights {first}..{last}: the first must not be above the last")
        if first == 1:
            first = 0  # the log before height 0 is empty, which needs no proof
        key = log_key(subject)
        before = None if first == 0 else self.state(NAMESPACE, key, first - 1)
        self.header(last)
        entries, last = self._history_entries(subject, first, last, max_bytes)
        return ProvedHistory(subject, first, last, before, self.state(NAMESPACE, key, last), tuple(entries))

    def _history_entries(
        self, subject: str, first: int, last: int, max_bytes: int
    ) -> tuple[list[EventEntry], int]:
        """Return a subject's events and the last height that they are complete for."""
        entries: list[EventEntry] = []
        cursor: bytes | None = None
        while True:
            page = self._queries.entries(
                subject=subject, first=first, last=last, limit=PAGE_MAX, max_bytes=max_bytes, after=cursor
            )
            entries += page.entries
            cursor = page.next
            if cursor is None:
                return entries, last
            if len(entries) > HISTORY_ENTRIES_MAX:
                raise LimitError(
                    f"{subject}: more than {HISTORY_ENTRIES_MAX} entries; prove a shorter range of heights"
                )
            if max_bytes < U64_MAX:
                last = max(1, entries[-1].height)  # not 0: what follows would begin at 1, which means 0

    def _receipt_tree(self, height: int) -> list[list[bytes]]:
        return self._trees.get_or_make(height, self._make_receipt_tree)

    def _make_receipt_tree(self, height: int) -> list[list[bytes]]:
        return merkle.levels([merkle.leaf_hash(row) for row in self._queries.receipt_bytes(height)])


def _path(tree: list[list[bytes]], index: int) -> MerklePath:
    if index >= len(tree[0]):
        raise DataDamaged(f"ledger: a list of {len(tree[0])} lacks item {index}; run `assent node rebuild`")
    return MerklePath(index, len(tree[0]), merkle.path_in(tree, index))
