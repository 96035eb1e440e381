"""Ledger records as the JSON objects that RPC answers with; `raw` fields hold canonical bytes as hex."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chain.ledger.block import (
    EventEntry,
    Header,
    Receipt,
    Skip,
    SkipDecision,
    Transaction,
    header_hash,
    transaction_id,
)
from chain.ledger.genesis import Validator
from chain.ledger.ledger import Ledger
from chain.primitives.codec import encode
from chain.primitives.errors import DecodeError
from chain.primitives.jsonvalue import to_json
from chain.primitives.kinds import foreign_subjects
from chain.primitives.runtimeport import ARGS_BYTES_MAX, RESULT_BYTES_MAX
from chain.primitives.values import decode_value


def header_json(header: Header) -> dict[str, Any]:
    """Return a header with hashes as hex."""
    return {
        "height": header.height,
        "parent": header.parent.hex(),
        "time": header.time,
        "view": header.view,
        "base": header.base,
        "proposer": header.proposer.hex(),
        "batchRoot": header.batch_root.hex(),
        "stateRoot": header.state_root.hex(),
        "receiptsRoot": header.receipts_root.hex(),
        "validatorsHash": header.validators_hash.hex(),
        "protocolVersion": header.protocol_version,
        "skip": None if header.skip is None else header.skip.hex(),
    }


def skip_json(skip: Skip, signatures: Sequence[tuple[bytes, bytes]]) -> dict[str, Any]:
    """Return a skip and who signed it."""
    return {
        "height": skip.height,
        "batch": skip.batch.hex(),
        "attempt": skip.attempt,
        "transactions": [tx_id.hex() for tx_id in skip.tx_ids],
        "reason": skip.reason,
        "signers": [key.hex() for key, _ in signatures],
    }


def decision_json(decision: SkipDecision) -> dict[str, Any]:
    """Return a decision as `skip_json` does."""
    return skip_json(decision.skip, decision.signatures)


def block_summary(ledger: Ledger, height: int) -> dict[str, Any] | None:
    """Return a height's header, its transactions' ids and who certified it; None when it is not here.

    Raises NotHeld when only the header is.
    """
    header = ledger.read.header(height)
    if header is None:
        return None
    ledger.read.pruned.require_blocks(height)
    batch, certificate = ledger.read.batch(height), ledger.read.certificate(height)
    decision = ledger.read.skip(height) if header.skip else None
    return {
        "height": height,
        "hash": header_hash(header).hex(),
        "header": header_json(header),
        "transactions": [tx_id.hex() for tx_id in (batch.tx_ids if batch else ())],
        "signers": [key.hex() for key, _ in (certificate.signatures if certificate else ())],
        "skip": None if decision is None else decision_json(decision),
    }


def transaction_json(tx: Transaction) -> dict[str, Any]:
    """Return what a transaction asks for."""
    body = tx.body
    try:
        args = to_json(decode_value(body.args, max_bytes=ARGS_BYTES_MAX))
    except DecodeError:
        args = None
    return {
        "id": transaction_id(body).hex(),
        "sender": body.sender.hex(),
        "contract": body.contract,
        "method": body.method,
        "args": args,
        "gasLimit": body.gas_limit,
        "validUntil": body.valid_until,
        "raw": encode(tx).hex(),
    }


def receipt_json(receipt: Receipt) -> dict[str, Any]:
    """Return a receipt with its result and events as JSON."""
    return {
        "id": receipt.tx_id.hex(),
        "height": receipt.height,
        "index": receipt.index,
        "status": receipt.status,
        "code": receipt.code,
        "result": _value(receipt.result),
        "gasUsed": receipt.gas_used,
        "events": [
            {
                "contract": event.contract,
                "name": event.name,
                "fields": _value(event.fields),
                "subjects": list(event.subjects),
                "foreign": foreign_subjects(event.contract, event.name, event.subjects),
            }
            for event in receipt.events
        ],
    }


def entry_json(entry: EventEntry) -> dict[str, Any]:
    """Return one event and where it happened; `foreign` are subjects that its contract does not speak for."""
    event = entry.event
    return {
        "height": entry.height,
        "txId": entry.tx_id.hex(),
        "index": entry.index,
        "contract": event.contract,
        "name": event.name,
        "fields": _value(event.fields),
        "subjects": list(event.subjects),
        "foreign": foreign_subjects(event.contract, event.name, event.subjects),
        "raw": encode(entry).hex(),
    }


def validator_json(validator: Validator) -> dict[str, Any]:
    """Return one validator."""
    return {
        "name": validator.name,
        "org": validator.org,
        "key": validator.public_key.hex(),
        "address": validator.address,
    }


def _value(data: bytes) -> Any:
    return to_json(decode_value(data, max_bytes=RESULT_BYTES_MAX)) if data else None
