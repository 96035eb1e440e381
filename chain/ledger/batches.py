"""Batches that consensus orders: decoding them, and the rules that a proposal keeps."""

from __future__ import annotations

from functools import lru_cache

from chain.ledger.block import Batch
from chain.ledger.genesis import Limits
from chain.primitives.codec import decode
from chain.primitives.errors import AssentError, DecodeError

FIRST_HEIGHT = 1
"""Its batch may be empty: its certificate is what proves the state of genesis."""
BATCHES_CACHED = 64
"""A batch is asked for at its proposal, its promise, its execution; two consensus windows of heights fit."""


class BatchInvalid(AssentError):
    """A batch that breaks the chain's rules: its proposer is at fault."""

    code = "batch_invalid"


@lru_cache(maxsize=BATCHES_CACHED)
def read_batch(payload: bytes) -> Batch | None:
    """Decode what consensus ordered; None for a null request (b""); raise BatchInvalid."""
    if not payload:
        return None
    try:
        return decode(Batch, payload)
    except DecodeError as error:
        raise BatchInvalid(f"batch: {error}") from None


def read_batch_of(payload: bytes, height: int) -> Batch | None:
    """Decode what consensus ordered at a height; None for a null request; raise BatchInvalid."""
    try:
        batch = read_batch(payload)
    except BatchInvalid as error:
        raise BatchInvalid(f"batch of height {height}: {error}") from None
    if batch is not None and batch.height != height:
        raise BatchInvalid(f"batch of height {height}: says that it is of height {batch.height}")
    return batch


def batch_or_none(payload: bytes) -> Batch | None:
    """Return the batch of a payload that others judge; None for a null request and for what is no batch."""
    try:
        return read_batch(payload)
    except BatchInvalid:
        return None


def batch_ids(payload: bytes) -> tuple[bytes, ...]:
    """Return the transaction ids that a payload orders; see `batch_or_none`."""
    batch = batch_or_none(payload)
    return () if batch is None else batch.tx_ids


def check_proposal(payload: bytes, height: int, limits: Limits) -> Batch:
    """Return a proposed batch that keeps the rules a validator checks before it has the transactions.

    Raises BatchInvalid: undecodable, another height, an id twice, more transactions than allowed. The caller
    still checks time, signatures, the encoded size of the transactions (`limits.block_bytes`), and whether
    an empty batch has a purpose.
    """
    batch = read_batch_of(payload, height)
    if batch is None:
        raise BatchInvalid(f"batch of height {height}: a null request is not proposed")
    if len(batch.tx_ids) > limits.block_txs:
        raise BatchInvalid(
            f"batch of height {height}: {len(batch.tx_ids)} transactions, at most {limits.block_txs}"
        )
    if len(set(batch.tx_ids)) != len(batch.tx_ids):
        raise BatchInvalid(f"batch of height {height}: holds a transaction twice")
    return batch


def batch_time(batch: Batch | None, parent_time: int) -> int:
    """Return the time of a height in milliseconds: the batch's, but always later than the parent's.

    A null request, or a batch that a view change moved behind a later one, takes the parent's time plus one.
    """
    return max(batch.time if batch else 0, parent_time + 1)
