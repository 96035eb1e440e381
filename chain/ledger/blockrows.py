"""Rows of one executed block: everything about it in one list, for one synced write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chain.ledger.batch_executor import BatchExecution
from chain.ledger.block import (
    DecodedTransaction,
    Header,
    SkipDecision,
    header_hash,
)
from chain.ledger.schedule import Announcement
from chain.ledger.state.state import StateChange
from chain.ledger.store import rows
from chain.ledger.store.records import Row
from chain.ledger.store.rows import LedgerHead
from chain.ledger.validity_window import HeightSummary
from chain.primitives.codec import encode


@dataclass(frozen=True, slots=True)
class Step:
    """One executed height, complete and not stored yet."""

    header: Header
    payload: bytes
    transactions: Sequence[DecodedTransaction]
    execution: BatchExecution
    change: StateChange
    head: LedgerHead
    announced: Announcement
    skip: SkipDecision | None = None
    """The decision that it was executed under."""


def next_head(header: Header, entry: HeightSummary) -> LedgerHead:
    """Return the head row of a block from its header and what the state keeps of it."""
    return LedgerHead(
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
        (rows.at_position(rows.TRANSACTION, height, i), tx.raw) for i, tx in enumerate(step.transactions)
    ]
    puts += [
        (rows.at_position(rows.RECEIPT, height, i), receipt)
        for i, receipt in enumerate(step.execution.encoded)
    ]
    puts += [
        (rows.TX_INDEX + tx_id, rows.pack_tx_position(height, index))
        for tx_id, index in step.execution.final.items()
    ]
    puts += _event_rows(height, step.execution)
    puts += step.change.puts
    puts.append((rows.HEAD_KEY, encode(step.head)))
    return puts


def _event_rows(height: int, execution: BatchExecution) -> list[Row]:
    subjects = [
        (
            rows.at(rows.subject_prefix(subject), height),
            log.first.to_bytes(8, "big") + rows.pack_event_positions(log.positions),
        )
        for subject, log in execution.subjects.items()
    ]
    contracts = [
        (rows.at(rows.event_prefix(contract, name), height), rows.pack_event_positions(pairs))
        for (contract, name), pairs in execution.events.items()
    ]
    return subjects + contracts
