"""Validity window: what the state keeps of the last heights: the ids decided at each, and totals so far.

An id decided more than `VALIDITY_WINDOW_MAX` heights ago has expired. So a node that has the state of a
height can refuse replays above it, and one that fetched that state instead of executing needs nothing else;
what it needs is under the state root. The state holds one entry a height, deleted `VALIDITY_WINDOW_MAX`
heights later.
"""

from __future__ import annotations

from typing import Annotated

from chain.ledger.batch_executor import BatchExecution
from chain.ledger.block import BATCH_TXS_MAX, VALID_UNTIL_AHEAD_MAX
from chain.ledger.store.rows import LedgerHead
from chain.primitives.codec import U64, Bound, decode, encode, record
from chain.primitives.errors import DecodeError
from chain.primitives.runtimeport import StateKey

NAMESPACE = "executed"
"""The ledger's own namespace; no contract may have this name."""
VALIDITY_WINDOW_MAX = VALID_UNTIL_AHEAD_MAX
"""Heights kept: the most that `validity_window` may ever be, so that changing it opens no gap."""
_ID_BYTES = 32


@record("executed", max_bytes=BATCH_TXS_MAX * _ID_BYTES + 128)
class HeightSummary:
    """Totals up to a height, and the ids decided there, as the state keeps them."""

    transactions: U64
    """Executed up to and with this height, failed ones included."""
    failed: U64
    events: U64
    ids: Annotated[bytes, Bound(0, BATCH_TXS_MAX * _ID_BYTES)]
    """Ids decided at this height (`BatchExecution.decided`), joined, in batch order."""

    def tx_ids(self) -> list[bytes]:
        """Return the ids; raise DecodeError when the bytes are not a whole number of them."""
        if len(self.ids) % _ID_BYTES:
            raise DecodeError(f"executed: {len(self.ids)} bytes of ids, expected a multiple of {_ID_BYTES}")
        return [self.ids[at : at + _ID_BYTES] for at in range(0, len(self.ids), _ID_BYTES)]


def summary_of(height: int, before: LedgerHead | None, execution: BatchExecution) -> HeightSummary:
    """Return the entry of a height; `before` is the head below it, None at height 0."""
    totals = (before.transactions, before.failed, before.events) if before else (0, 0, 0)
    return HeightSummary(
        transactions=totals[0] + (execution.executed if height else 0),
        failed=totals[1] + execution.failed,
        events=totals[2] + sum(len(receipt.events) for receipt in execution.receipts),
        ids=b"".join(execution.decided),
    )


def summary_writes(height: int, entry: HeightSummary) -> dict[StateKey, bytes | None]:
    """Return what a height writes: its own entry, and the end of the one that left the window."""
    writes: dict[StateKey, bytes | None] = {(NAMESPACE, summary_key(height)): encode(entry)}
    if height >= VALIDITY_WINDOW_MAX:
        writes[NAMESPACE, summary_key(height - VALIDITY_WINDOW_MAX)] = None
    return writes


def summary_key(height: int) -> bytes:
    """Return the state key of a height's entry."""
    return height.to_bytes(8, "big")


def read_summary(height: int, raw: bytes | None) -> HeightSummary:
    """Return a height's entry; raise DecodeError when it is missing or malformed."""
    if raw is None:
        raise DecodeError(f"executed: the state holds no entry of height {height}")
    return decode(HeightSummary, raw)
