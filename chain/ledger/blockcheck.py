"""Block check: whether the parts of another node's block belong together, told without executing it.

A certificate covers the header alone: everything else a peer may have swapped. `check_block` is the one rule
for blocks of catch-up, of files and of archives. What it cannot tell is the ledger's to find: the exact time
(`check_time`, which needs the header below), the transactions' signatures (`check_signatures`, which may be
done in threads), and by execution the roots and the validators named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chain.ledger.batches import BatchInvalid, batch_time, read_batch_of
from chain.ledger.block import Batch, Block, DecodedTransaction, batch_root, is_certified
from chain.ledger.skip import check_block_skip
from chain.primitives.certificate import check_certificate
from chain.primitives.crypto import ZERO_HASH
from chain.primitives.errors import AssentError, ProofInvalid


class BlockInvalid(ProofInvalid):
    """A block whose parts do not belong together: the peer that served it is at fault."""

    code = "block_invalid"


class NotNext(AssentError):
    """A height out of turn: the text says which one the ledger takes next."""

    code = "not_next"


def check_next(height: int, head: int) -> None:
    """Raise NotNext unless a height is the one above the head."""
    if height != head + 1:
        raise NotNext(f"height {height}: the ledger takes {head + 1} next")


def check_certified(
    block: Block, chain_id: bytes, certifiers: Sequence[bytes], validators: Sequence[bytes]
) -> list[DecodedTransaction]:
    """Return a block's transactions if a quorum certified its header and its parts belong to that.

    `certifiers` are the validators of the certificate's height, `validators` those of the block's own. Raises
    ProofInvalid (certificate, skip decision) or BlockInvalid.
    """
    check_certificate(block.certificate, chain_id, certifiers)
    return check_block(block, chain_id, validators)


def check_block(block: Block, chain_id: bytes, validators: Sequence[bytes]) -> list[DecodedTransaction]:
    """Return a block's transactions if its parts belong to its header; its certificate is checked elsewhere.

    `validators` are those of the block's own height. A block without the skip decision that its header names
    is refused here, before anything of it runs. Raises BlockInvalid, and ProofInvalid for the skip decision.
    """
    header, what = block.header, f"block {block.header.height}"
    if not is_certified(block):
        raise BlockInvalid(f"{what}: the certificate is over another header")
    batch = _batch_of(block)
    ids = batch.tx_ids if batch else ()
    if batch_root(ids) != header.batch_root:
        raise BlockInvalid(f"{what}: the batch does not hash to the header's batch root")
    transactions = [DecodedTransaction.of(tx) for tx in block.transactions]
    if tuple([tx.id for tx in transactions]) != ids:
        raise BlockInvalid(f"{what}: the transactions are not those of the batch")
    check_block_skip(block, ids, chain_id, validators)
    return transactions


def _batch_of(block: Block) -> Batch | None:
    """Return a block's batch, None for a null request; its time may be below the header's, never above."""
    header, what = block.header, f"block {block.header.height}"
    try:
        batch = read_batch_of(block.payload, header.height)
    except BatchInvalid as error:
        raise BlockInvalid(f"{what}: {error}") from None
    # a null request states none of it: view and base are those of the header below, which execution compares
    stated = (batch.view, batch.base, batch.proposer) if batch else (header.view, header.base, ZERO_HASH)
    late = batch is not None and batch.time > header.time
    if stated != (header.view, header.base, header.proposer) or late:
        raise BlockInvalid(f"{what}: view, base, proposer or time of the batch are not the header's")
    return batch


def check_time(block: Block, parent_time: int) -> None:
    """Raise BlockInvalid unless the header's time follows from its batch's and that of our header below."""
    if batch_time(_batch_of(block), parent_time) != block.header.time:
        raise BlockInvalid(f"block {block.header.height}: its time does not follow from its batch and parent")


def check_signatures(height: int, transactions: Iterable[DecodedTransaction]) -> None:
    """Raise BlockInvalid for a transaction of a block that its sender did not sign (about 55 µs each)."""
    for tx in transactions:
        if not tx.signature_holds:
            raise BlockInvalid(f"block {height}: transaction {tx.id.hex()}: bad signature")
