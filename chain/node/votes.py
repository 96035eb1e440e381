"""The durable votes of a validator, with the transactions that they promise to be able to execute.

A vote for a batch is a promise that outlives a crash, but a batch only names its transactions. They are
written in the same synced write as the vote, and deleted once the block that executed them is durable.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from chain.ledger.block import Candidate, Transaction
from chain.ledger.rows import VOTES
from chain.ledger.store import Store
from chain.primitives.codec import decode

MARKER_TEXT = "this key has voted: a node that finds its data directory empty listens first\n"
_VOTE, _PROMISED = VOTES + b"v", VOTES + b"t"


class DurableVotes:
    """Rows of consensus in the node's store (`consensus.ports.VoteStore`); used by one thread."""

    def __init__(self, store: Store, marker: Path) -> None:
        """`marker` lies beside the key and outlives a wiped store; it is made just before the first vote."""
        self._store, self._marker = store, marker
        self.first_start = not marker.exists()
        """Whether this key has certainly never voted."""
        self._promised: set[bytes] = set()
        self._staged: dict[bytes, bytes] = {}
        self._executed: list[bytes] = []

    def load(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all rows of votes."""
        for key, value in self._store.iterate(prefix=_VOTE):
            yield key[len(_VOTE) :], value

    def promised(self) -> Iterator[Candidate]:
        """Yield the transactions that earlier votes promised; call once, at start."""
        for key, raw in self._store.iterate(prefix=_PROMISED):
            self._promised.add(key[len(_PROMISED) :])
            yield Candidate.of(decode(Transaction, raw))

    def promise(self, candidates: Iterable[Candidate]) -> None:
        """Add transactions to the next write; those already written are not written again."""
        for candidate in candidates:
            if candidate.id not in self._promised:
                self._promised.add(candidate.id)
                self._staged[_PROMISED + candidate.id] = candidate.raw

    def executed(self, tx_ids: Iterable[bytes]) -> None:
        """Let the next write delete transactions that a durable block holds."""
        for tx_id in tx_ids:
            if tx_id in self._promised:
                self._promised.discard(tx_id)
                if self._staged.pop(_PROMISED + tx_id, None) is None:
                    self._executed.append(_PROMISED + tx_id)

    def write(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes]) -> None:
        """Write votes and promised transactions at once, durable when this returns."""
        if self.first_start:
            self._marker.write_text(MARKER_TEXT)
            self.first_start = False
        rows = [(_VOTE + key, value) for key, value in puts.items()]
        gone = [_VOTE + key for key in deletes]
        self._store.write([*self._staged.items(), *rows], [*gone, *self._executed], sync=True)
        self._staged, self._executed = {}, []
