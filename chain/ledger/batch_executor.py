"""Batch executor: a pure function from (state, batch, runtime) to receipts, writes and subject logs.

Rules, in the order in which they are applied to each transaction of the batch:

1. a transaction past its `valid_until` is *skipped* (EXPIRED), one whose `valid_until` lies further ahead
   than the validity window is skipped (TOO_FAR_AHEAD), one that asks for more gas than the limit is
   skipped (GAS_LIMIT);
2. an id that ran before, in this batch or below it, is skipped (REPLAYED);
3. one that a quorum of validators decided to skip, since no node can execute it (`chain.ledger.skip`), is
   skipped for good (SKIPPED_BY_DECISION); its event `Refused` says the reason, too;
4. one whose gas limit no longer fits into the block's gas is skipped (BLOCK_GAS) and may come again;
5. everything else runs. What does not end `ok` leaves no writes; its receipt carries one event of ours,
   `Refused`, under the sender's organisation, so that audit trails show refused attempts.

A skipped transaction has a receipt, too, so a receipt has the position of its transaction in the batch. Rule
1 comes first so that verdicts depend on nothing older than the validity window: an id that ran before it has
expired, and a node that pruned or never held its row decides the same (`chain.ledger.validity_window` keeps
what rule 2 needs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chain.ledger.block import (
    DecodedTransaction,
    EventEntry,
    Receipt,
    TransactionBody,
    entry_hash,
    rolling_hash,
)
from chain.ledger.genesis import Genesis, Limits, init_args
from chain.ledger.replay_protection import is_replayed
from chain.ledger.signers import signer_in
from chain.ledger.state.state import Overlay
from chain.ledger.subjects import NAMESPACE, log_key, pack_log, read_log
from chain.primitives.codec import encode, max_bytes_of
from chain.primitives.errors import AssentError
from chain.primitives.kinds import REFUSED
from chain.primitives.runtimeport import (
    LIMIT,
    OK,
    OUT_OF_GAS,
    REJECTED,
    RESULT_BYTES_MAX,
    REVERTED,
    Call,
    Event,
    Outcome,
    Runtime,
    StateKey,
    StateReader,
)
from chain.primitives.values import Value, encode_value

SKIPPED = "skipped"
REPLAYED, EXPIRED, TOO_FAR_AHEAD = "REPLAYED", "EXPIRED", "TOO_FAR_AHEAD"
GAS_LIMIT, BLOCK_GAS = "GAS_LIMIT", "BLOCK_GAS"
SKIPPED_BY_DECISION = "SKIPPED_BY_DECISION"
EVENTS_MAX = 1_024
CODE_CHARS_MAX = 64

_STATUSES = frozenset({OK, REVERTED, OUT_OF_GAS, LIMIT, REJECTED, SKIPPED})
_FINAL_SKIPS = frozenset({EXPIRED, GAS_LIMIT, SKIPPED_BY_DECISION})
"""Skips that decide an id's fate, unless it was decided earlier; after the others it may come again."""


class RuntimeFault(AssentError):
    """The contract runtime broke its own contract with the executor: stop the node and report it."""

    code = "runtime_fault"


class ChainRuntime(Runtime, Protocol):
    """A runtime that can also install the system contracts."""

    def bootstrap(
        self,
        sources: dict[str, str],
        init_args: dict[str, dict[str, Value]],
        *,
        time: int,
        state: StateReader,
    ) -> Outcome:
        """Install the system contracts at height 0, in order; return all writes and events."""


@dataclass(frozen=True, slots=True)
class BatchContext:
    """What the transactions of one batch share."""

    height: int
    time: int
    """Milliseconds since the epoch."""
    limits: Limits
    is_known: Callable[[bytes], bool]
    """Whether the ledger holds a final receipt for this id."""
    skipped: frozenset[bytes] = frozenset()
    """Ids that a skip decision names."""
    skip_reason: str = ""


@dataclass(slots=True)
class BatchExecution:
    """What executing a batch did. An event position is (position in the batch, position in the receipt)."""

    receipts: list[Receipt] = field(default_factory=list)
    encoded: list[bytes] = field(default_factory=list)
    """The receipts' bytes."""
    writes: dict[StateKey, bytes | None] = field(default_factory=dict)
    final: dict[bytes, int] = field(default_factory=dict)
    """Transaction id -> position in the batch, for receipts that nothing later can replace."""
    decided: list[bytes] = field(default_factory=list)
    """Ids that may not run at a later height: those that ran, asked for more gas than the limit was, or were
    skipped by decision. What expired stays so without being remembered."""
    subjects: dict[str, SubjectLog] = field(default_factory=dict)
    events: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=dict)
    """(contract, event name) -> event positions."""

    @property
    def decided_ids(self) -> list[bytes]:
        """Ids whose fate is decided, here or below: what a pool may drop."""
        return [
            receipt.tx_id
            for receipt in self.receipts
            if receipt.tx_id in self.final or (receipt.status == SKIPPED and receipt.code == REPLAYED)
        ]

    @property
    def executed(self) -> int:
        """Transactions that ran."""
        return sum(receipt.status != SKIPPED for receipt in self.receipts)

    @property
    def failed(self) -> int:
        """Transactions that ran and did not end ok."""
        return sum(receipt.status not in (OK, SKIPPED) for receipt in self.receipts)


@dataclass(slots=True)
class SubjectLog:
    """What one batch adds to a subject's log."""

    first: int
    """Number of its first new entry; the log's entries count from 0."""
    rolling: bytes
    positions: list[tuple[int, int]] = field(default_factory=list)
    """Event positions of the new entries."""


def execute_batch(
    runtime: Runtime, state: StateReader, context: BatchContext, transactions: Sequence[DecodedTransaction]
) -> BatchExecution:
    """Run a batch's transactions in order; whatever the runtime raises is host trouble and passes."""
    overlay = Overlay(state)
    execution = BatchExecution(writes=overlay.writes)
    gas_left = context.limits.block_gas
    for index, decoded in enumerate(transactions):
        reason = _reason_to_skip(decoded, context, execution, gas_left)
        if reason == SKIPPED_BY_DECISION:
            outcome = _skipped(overlay, context, decoded)
        elif reason:
            outcome = Outcome(SKIPPED, reason)
        else:
            outcome = _run(runtime, overlay, context, decoded)
            gas_left -= outcome.gas_used
        if not reason or (reason in _FINAL_SKIPS and not _is_known(decoded.id, context, execution)):
            execution.final[decoded.id] = index
            execution.decided += [decoded.id] if reason != EXPIRED else []
        _file(execution, overlay, context.height, decoded.id, outcome)
    _write_logs(execution, overlay)
    return execution


def execute_genesis(runtime: ChainRuntime, genesis: Genesis) -> BatchExecution:
    """Install the system contracts; what they announce is the one receipt of height 0, id = chain id."""
    overlay = Overlay(_EmptyState())
    execution = BatchExecution(writes=overlay.writes)
    outcome = runtime.bootstrap(genesis.sources, init_args(genesis), time=genesis.time, state=overlay)
    if outcome.status != OK:
        raise RuntimeFault(f"genesis: the system contracts end with {outcome.status} {outcome.code}")
    overlay.writes.update(outcome.writes)
    _file(execution, overlay, 0, genesis.chain_id, outcome)
    _write_logs(execution, overlay)
    return execution


class _EmptyState:
    __slots__ = ()

    def get(self, namespace: str, key: bytes) -> bytes | None:  # noqa: ARG002
        """Return None: nothing is there before height 0."""
        return None


def _reason_to_skip(
    decoded: DecodedTransaction, context: BatchContext, execution: BatchExecution, gas_left: int
) -> str:
    body, limits = decoded.tx.body, context.limits
    if body.valid_until < context.height:
        return EXPIRED
    if body.valid_until > context.height + limits.validity_window:
        return TOO_FAR_AHEAD
    if body.gas_limit > limits.tx_gas_max:
        return GAS_LIMIT
    if _is_known(decoded.id, context, execution):
        return REPLAYED
    if context.skipped and decoded.id in context.skipped:
        return SKIPPED_BY_DECISION
    return BLOCK_GAS if body.gas_limit > gas_left else ""


def _is_known(tx_id: bytes, context: BatchContext, execution: BatchExecution) -> bool:
    return is_replayed(tx_id, execution.final, context.is_known)


def call_of(body: TransactionBody, tx_id: bytes, height: int, time: int) -> Call:
    """Return what a transaction asks of the runtime in the block of this height and time."""
    return Call(
        contract=body.contract,
        method=body.method,
        args=body.args,
        sender=body.sender,
        tx_id=tx_id,
        gas_limit=body.gas_limit,
        height=height,
        block_time=time,
        chain_id=body.chain_id,
    )


def _run(runtime: Runtime, overlay: Overlay, context: BatchContext, decoded: DecodedTransaction) -> Outcome:
    call = call_of(decoded.tx.body, decoded.id, context.height, context.time)
    outcome = runtime.execute(call, overlay)
    if outcome.status == OK:
        overlay.writes.update(outcome.writes)
        return outcome
    return Outcome(
        outcome.status,
        outcome.code,
        gas_used=outcome.gas_used,
        events=_refusal(overlay, call, outcome.code or outcome.status.upper()),
    )


def _skipped(overlay: Overlay, context: BatchContext, decoded: DecodedTransaction) -> Outcome:
    call = call_of(decoded.tx.body, decoded.id, context.height, context.time)
    events = _refusal(overlay, call, SKIPPED_BY_DECISION, reason=context.skip_reason)
    return Outcome(SKIPPED, SKIPPED_BY_DECISION, events=events)


def _refusal(state: StateReader, call: Call, code: str, **more: str) -> tuple[Event, ...]:
    member = signer_in(state, call.sender)
    if member is None:
        return ()
    fields = encode_value({"contract": call.contract, "method": call.method, "code": code, **more})
    return (Event(call.contract, REFUSED, fields, (f"org:{member.org}",)),)


def _file(execution: BatchExecution, state: StateReader, height: int, tx_id: bytes, outcome: Outcome) -> None:
    """Append the receipt of one transaction and file its events."""
    index = len(execution.receipts)
    receipt = Receipt(
        tx_id=tx_id,
        height=height,
        index=index,
        status=outcome.status,
        code=outcome.code,
        result=outcome.result,
        gas_used=outcome.gas_used,
        events=outcome.events,
    )
    encoded = encode(receipt)
    _check_bounds(receipt, encoded)
    execution.receipts.append(receipt)
    execution.encoded.append(encoded)
    for number, event in enumerate(outcome.events):
        position = (index, number)
        execution.events.setdefault((event.contract, event.name), []).append(position)
        if event.subjects:
            entry = entry_hash(EventEntry(height, tx_id, number, event))
            for subject in dict.fromkeys(event.subjects):
                log = execution.subjects.get(subject)
                if log is None:
                    log = execution.subjects[subject] = SubjectLog(
                        *read_log(state.get(NAMESPACE, log_key(subject)))
                    )
                log.rolling = rolling_hash(log.rolling, entry, height)
                log.positions.append(position)


def _check_bounds(receipt: Receipt, encoded: bytes) -> None:
    """Raise RuntimeFault for a receipt that could not be read back: no later decoder may find it first."""
    if (
        receipt.status not in _STATUSES
        or len(receipt.code) > CODE_CHARS_MAX
        or len(receipt.result) > RESULT_BYTES_MAX
        or len(receipt.events) > EVENTS_MAX
        or len(encoded) > max_bytes_of(Receipt)
    ):
        raise RuntimeFault(
            f"transaction {receipt.tx_id.hex()}: the runtime returned status {receipt.status!r}, a code of "
            f"{len(receipt.code)} characters, a result of {len(receipt.result)} bytes, {len(receipt.events)} "
            f"events, a receipt of {len(encoded)} bytes: one of them is beyond its bound"
        )


def _write_logs(execution: BatchExecution, overlay: Overlay) -> None:
    for subject, log in execution.subjects.items():
        overlay.writes[(NAMESPACE, log_key(subject))] = pack_log(log.first + len(log.positions), log.rolling)
