"""What can be told of a block before its parent is here; the ledger checks the rest when it applies it."""

from __future__ import annotations

from collections.abc import Sequence

from chain.ledger.block import Batch, Block, batch_root, is_certified, transaction_id
from chain.ledger.skip import check_block_skip
from chain.primitives.certificate import check_certificate
from chain.primitives.codec import decode
from chain.primitives.crypto import ZERO_HASH
from chain.primitives.errors import ProofInvalid


def check_block(block: Block, chain_id: bytes, validators: Sequence[bytes], own: Sequence[bytes]) -> None:
    """Raise ProofInvalid unless a quorum certified this header and the body is the one it commits to.

    `validators` are those of the certificate's height, `own` those of the block's. A block without the skip
    decision that its header names is refused here, before anything of it runs.

    Signatures, exact time, and with execution the roots and the validators named are the ledger's to compare.
    """
    header, where = block.header, f"block {block.header.height}"
    if not is_certified(block):
        raise ProofInvalid(f"{where}: its certificate is of another header")
    check_certificate(block.certificate, chain_id, validators)
    ids = _batch_ids(block)
    if batch_root(ids) != header.batch_root:
        raise ProofInvalid(f"{where}: the batch is not the one its header commits to")
    if tuple([transaction_id(tx.body) for tx in block.transactions]) != ids:
        raise ProofInvalid(f"{where}: the transactions are not those of its batch")
    check_block_skip(block, ids, chain_id, own)


def _batch_ids(block: Block) -> tuple[bytes, ...]:
    """Return the ids of the batch; a batch's time may lie below its header's, never above."""
    header, batch = block.header, decode(Batch, block.payload) if block.payload else None
    gap = (header.height, header.view, header.base, ZERO_HASH)
    said = (batch.height, batch.view, batch.base, batch.proposer) if batch else gap
    late = batch is not None and batch.time > header.time
    if said != (header.height, header.view, header.base, header.proposer) or late:
        raise ProofInvalid(f"block {header.height}: its payload and its header tell different things")
    return batch.tx_ids if batch else ()
