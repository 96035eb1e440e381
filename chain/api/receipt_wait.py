"""Long poll: a call that waits for the certified receipt of a transaction."""

from __future__ import annotations

from contextlib import suppress

from chain.api.port import NodePort
from chain.ledger.block import Receipt


async def wait_for_receipt(node: NodePort, tx_id: bytes, wait_ms: int) -> Receipt | None:
    """Return a receipt once its height is certified, None if that takes longer than `wait_ms`."""
    certified = node.ledger.certified_height
    receipt = _certified_receipt(node, tx_id, certified)
    if receipt is not None or not wait_ms:
        return receipt
    with suppress(TimeoutError):
        async with node.waits.at_most(wait_ms / 1000):
            while receipt is None:
                certified = await node.streams.wait_above(certified)
                receipt = _certified_receipt(node, tx_id, certified)
    return receipt


def _certified_receipt(node: NodePort, tx_id: bytes, certified: int) -> Receipt | None:
    receipt = node.ledger.read.receipt(tx_id)
    return receipt if receipt is not None and receipt.height <= certified else None
