"""What the state keeps of the last heights: which transactions were decided there, and the totals so far.

Whoever holds the state of a height can refuse replays above it, because an id decided more than `WINDOW`
heights ago has expired: so a node that fetched the state instead of executing needs nothing else, and what
it needs is under the state root. One entry a height, deleted `WINDOW` heights later.
"""

from __future__ import annotations

from typing import Annotated

from chain.ledger.block import BATCH_TXS_MAX, VALID_UNTIL_AHEAD_MAX
from chain.ledger.executor import Execution
from chain.ledger.rows import Head
from chain.primitives.codec import U64, Bound, decode, encode, record
from chain.primitives.errors import DecodeError
from chain.primitives.execution import StateKey

NAMESPACE = "executed"
"""The ledger's own namespace; no contract may have this name."""
WINDOW = VALID_UNTIL_AHEAD_MAX
"""Heights kept: the most that `validity_window` may ever be, so that changing it opens no gap."""
_ID_BYTES = 32


@record("executed", max_bytes=BATCH_TXS_MAX * _ID_BYTES + 128)
class Executed:
    """What one height did, as the state keeps it."""

    transactions: U64
    """Executed up to and with this height, failed ones included."""
    failed: U64
    events: U64
    ids: Annotated[bytes, Bound(0, BATCH_TXS_MAX * _ID_BYTES)]
    """Ids decided at this height (`Execution.decided`), joined, in batch order."""

    def tx_ids(self) -> list[bytes]:
        """Return the ids; raise DecodeError when the bytes are not a whole number of them."""
        if len(self.ids) % _ID_BYTES:
            raise DecodeError(f"executed: {len(self.ids)} bytes of ids, expected a multiple of {_ID_BYTES}")
        return [self.ids[at : at + _ID_BYTES] for at in range(0, len(self.ids), _ID_BYTES)]


def executed_at(height: int, before: Head | None, execution: Execution) -> Executed:
    """Return the entry of a height; `before` is the head below it, None at height 0."""
    totals = (before.transactions, before.failed, before.events) if before else (0, 0, 0)
    return Executed(
        transactions=totals[0] + (execution.executed if height else 0),
        failed=totals[1] + execution.failed,
        events=totals[2] + sum(len(receipt.events) for receipt in execution.receipts),
        ids=b"".join(execution.decided),
    )


def window_writes(height: int, entry: Executed) -> dict[StateKey, bytes | None]:
    """Return what a height writes: its own entry, and the end of the one that left the window."""
    writes: dict[StateKey, bytes | None] = {(NAMESPACE, window_key(height)): encode(entry)}
    if height >= WINDOW:
        writes[NAMESPACE, window_key(height - WINDOW)] = None
    return writes


def window_key(height: int) -> bytes:
    """Return the state key of a height's entry."""
    return height.to_bytes(8, "big")


def read_entry(height: int, raw: bytes | None) -> Executed:
    """Return a height's entry; raise DecodeError when it is missing or malformed."""
    if raw is None:
        raise DecodeError(f"executed: the state holds no entry of height {height}")
    return decode(Executed, raw)
