"""Whether a batch, or a block of another node, keeps the rules: what can be told without executing it."""

from __future__ import annotations

from collections.abc import Sequence

from chain.ledger.block import Batch, Block, Candidate, batch_root, is_certified
from chain.ledger.genesis import Limits
from chain.ledger.skip import check_block_skip
from chain.primitives.codec import decode
from chain.primitives.crypto import ZERO_HASH
from chain.primitives.errors import AssentError, DecodeError

FIRST_HEIGHT = 1
"""May be empty: its certificate is what proves the state of genesis."""


class BatchInvalid(AssentError):
    """A batch that breaks the chain's rules: its proposer is at fault."""

    code = "batch_invalid"


class BlockInvalid(AssentError):
    """A block whose parts do not belong together: the peer that served it is at fault."""

    code = "block_invalid"


def read_batch(payload: bytes, height: int) -> Batch | None:
    """Decode what consensus ordered at a height; None for a gap; raise BatchInvalid."""
    if not payload:
        return None
    try:
        batch = decode(Batch, payload)
    except DecodeError as error:
        raise BatchInvalid(f"batch of height {height}: {error}") from None
    if batch.height != height:
        raise BatchInvalid(f"batch of height {height}: says that it is of height {batch.height}")
    return batch


def check_proposal(payload: bytes, height: int, limits: Limits) -> Batch:
    """Return a proposed batch that keeps the rules a validator checks before it has the transactions.

    Raises BatchInvalid: undecodable, another height, an id twice, more transactions than allowed. The caller
    still checks time, signatures, the encoded size of the transactions (`limits.block_bytes`), and whether
    an empty batch has a purpose.
    """
    batch = read_batch(payload, height)
    if batch is None:
        raise BatchInvalid(f"batch of height {height}: a gap is not proposed")
    if len(batch.tx_ids) > limits.block_txs:
        raise BatchInvalid(
            f"batch of height {height}: {len(batch.tx_ids)} transactions, at most {limits.block_txs}"
        )
    if len(set(batch.tx_ids)) != len(batch.tx_ids):
        raise BatchInvalid(f"batch of height {height}: holds a transaction twice")
    return batch


def batch_time(batch: Batch | None, parent_time: int) -> int:
    """Return the time of a height in milliseconds: the batch's, but always later than the parent's.

    A gap, or a batch that a view change moved behind a later one, takes the parent's time plus one.
    """
    return max(batch.time if batch else 0, parent_time + 1)


def check_block(
    block: Block,
    parent_time: int,
    *,
    chain_id: bytes,
    validators: Sequence[bytes],
    signatures_checked: bool,
) -> list[Candidate]:
    """Return a block's transactions if its parts belong to its certified header.

    `parent_time` is that of our own header below, in milliseconds; `validators` are those of the block's own
    height. The certificate covers the header alone: everything else a peer may have swapped. Raises
    BlockInvalid, and ProofInvalid for its skip decision.
    """
    header, what = block.header, f"block {block.header.height}"
    if not is_certified(block):
        raise BlockInvalid(f"{what}: the certificate is over another header")
    try:
        batch = read_batch(block.payload, header.height)
    except BatchInvalid as error:
        raise BlockInvalid(f"{what}: {error}") from None
    # a gap states none of it: view and base are then those of the header below, which execution compares
    stated = (batch.view, batch.base, batch.proposer) if batch else (header.view, header.base, ZERO_HASH)
    shown = (header.view, header.base, header.proposer, header.time)
    if (*stated, batch_time(batch, parent_time)) != shown:
        raise BlockInvalid(f"{what}: view, base, proposer or time of the batch are not the header's")
    ids = batch.tx_ids if batch else ()
    if batch_root(ids) != header.batch_root:
        raise BlockInvalid(f"{what}: the batch does not hash to the header's batch root")
    candidates = [Candidate.of(tx) for tx in block.transactions]
    if tuple(candidate.id for candidate in candidates) != ids:
        raise BlockInvalid(f"{what}: the transactions are not those of the batch")
    check_block_skip(block, ids, chain_id, validators)
    if not signatures_checked:
        for candidate in candidates:
            if not candidate.signature_holds:
                raise BlockInvalid(f"{what}: transaction {candidate.id.hex()}: bad signature")
    return candidates
