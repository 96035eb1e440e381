"""The rows that one executed block adds: everything about it in one list, for one synced write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chain.ledger import rows
from chain.ledger.block import Batch, Candidate, Header, SkipDecision, batch_root, header_hash, receipts_root
from chain.ledger.executor import Execution
from chain.ledger.records import Row
from chain.ledger.rows import Head
from chain.ledger.state import StateChange
from chain.ledger.statenode import Ref
from chain.ledger.window import Executed
from chain.primitives.codec import encode
from chain.primitives.crypto import ZERO_HASH


@dataclass(frozen=True, slots=True)
class Step:
    """One executed height, complete but not yet stored."""

    header: Header
    payload: bytes
    candidates: Sequence[Candidate]
    execution: Execution
    change: StateChange
    head: Head
    skip: SkipDecision | None = None
    """The decision that it was executed under."""


def make_header(
    parent: bytes,
    below: Header | None,
    height: int,
    time: int,
    batch: Batch | None,
    execution: Execution,
    root: Ref | None,
    validators: bytes,
    protocol_version: int,
    skip: bytes | None = None,
) -> Header:
    """Return the header of an executed batch; a gap has view and base of the header `below`, no proposer.

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


def next_head(header: Header, entry: Executed) -> Head:
    """Return the head row of a block from its header and what the state keeps of it."""
    return Head(
        height=header.height,
        header_hash=header_hash(header),
        transactions=entry.transactions,
        failed=entry.failed,
        events=entry.events,
    )


def block_rows(step: Step) -> list[Row]:
    """Return the rows of a step; the head row comes last."""
    height = step.header.height
    puts: list[Row] = [
        (rows.at(rows.PAYLOAD, height), step.payload),
        (rows.at(rows.HEADER, height), encode(step.header)),
        (rows.HEADER_HASH + step.head.header_hash, height.to_bytes(8, "big")),
    ]
    puts += [
        (rows.placed(rows.TRANSACTION, height, i), candidate.raw)
        for i, candidate in enumerate(step.candidates)
    ]
    puts += [
        (rows.placed(rows.RECEIPT, height, i), receipt) for i, receipt in enumerate(step.execution.encoded)
    ]
    puts += [
        (rows.TX_INDEX + tx_id, rows.place(height, index)) for tx_id, index in step.execution.final.items()
    ]
    puts += _event_rows(height, step.execution)
    puts += step.change.puts
    puts.append((rows.HEAD_KEY, encode(step.head)))
    return puts


def _event_rows(height: int, execution: Execution) -> list[Row]:
    subjects = [
        (
            rows.at(rows.subject_prefix(subject), height),
            log.first.to_bytes(8, "big") + rows.pack_positions(log.places),
        )
        for subject, log in execution.subjects.items()
    ]
    contracts = [
        (rows.at(rows.event_prefix(contract, name), height), rows.pack_positions(places))
        for (contract, name), places in execution.events.items()
    ]
    return subjects + contracts
