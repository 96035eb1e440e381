"""The header of a block that was executed: roots and digests of what execution produced."""

from __future__ import annotations

from chain.ledger.batch_executor import BatchExecution
from chain.ledger.block import Batch, Header, batch_root, receipts_root
from chain.ledger.state.node import Ref
from chain.primitives.crypto import ZERO_HASH


def make_header(
    parent: bytes,
    below: Header | None,
    height: int,
    time: int,
    batch: Batch | None,
    execution: BatchExecution,
    root: Ref | None,
    validators: bytes,
    protocol_version: int,
    skip: bytes | None = None,
) -> Header:
    """Return the header of an executed batch; a null request has view and base of the header `below`.

    `skip` is the digest of the decision that it was executed under.
    """
    seen = batch or below
    return Header(
        height=height,
        parent=parent,
        time=time,
        view=seen.view if seen else 0,
        base=seen.base if seen else 0,
        proposer=batch.proposer if batch else ZERO_HASH,
        batch_root=batch_root(batch.tx_ids if batch else ()),
        state_root=ZERO_HASH if root is None else root[0],
        receipts_root=receipts_root(execution.encoded),
        validators_hash=validators,
        protocol_version=protocol_version,
        skip=skip,
    )
