"""Explanation of a receipt: the transaction is run again on the state that it met, and nothing is kept.

Receipts hold a code; line and reason are for people and are not on the ledger. They follow from the code in
force and the state below the transaction, which a node that holds that height's state can compute again.
"""

from __future__ import annotations

from dataclasses import dataclass

from chain.ledger.batch_executor import SKIPPED, call_of
from chain.ledger.block import Receipt
from chain.ledger.queries import Queries
from chain.ledger.state.state import Overlay
from chain.primitives.errors import AssentError
from chain.primitives.runtimeport import OK, Outcome, Runtime


class ReplayDiffers(AssentError):
    """Running the transaction again gave another receipt: stop this node and report it."""

    code = "replay_differs"


@dataclass(frozen=True, slots=True)
class _StateAt:
    """The state of one height, read through its tree."""

    read: Queries
    height: int

    def get(self, namespace: str, key: bytes) -> bytes | None:
        """Return the stored bytes, or None when absent."""
        return self.read.state_at(namespace, key, self.height)


def explain(read: Queries, runtime: Runtime, receipt: Receipt) -> Outcome:
    """Return the outcome behind a receipt, with line, trace and reason; a skipped one was never run.

    Takes as long as the block's transactions up to this one. Raises NotHeld when the state of the height
    below is pruned here, ReplayDiffers when the outcome is not the receipt's.
    """
    if receipt.status == SKIPPED:
        return Outcome(SKIPPED, receipt.code)
    header = read.header(receipt.height)
    receipts = read.receipts(receipt.height)
    transactions = read.transactions(receipt.height)
    assert header is not None  # there is a receipt
    state = Overlay(_StateAt(read, receipt.height - 1))
    for earlier, tx in zip(receipts, transactions, strict=True):
        if earlier.index >= receipt.index or earlier.status != OK:
            continue
        call = call_of(tx.body, earlier.tx_id, receipt.height, header.time)
        state.writes.update(runtime.execute(call, state).writes)
    body = transactions[receipt.index].body
    outcome = runtime.execute(call_of(body, receipt.tx_id, receipt.height, header.time), state)
    again = (outcome.status, outcome.code, outcome.result, outcome.gas_used)
    if again != (receipt.status, receipt.code, receipt.result, receipt.gas_used):
        raise ReplayDiffers(
            f"transaction {receipt.tx_id.hex()}: run again it ends {outcome.status} {outcome.code}, "
            f"{outcome.gas_used} gas; its receipt: {receipt.status} {receipt.code}, {receipt.gas_used} gas"
        )
    return outcome
