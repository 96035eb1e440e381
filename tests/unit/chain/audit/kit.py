"""A forger's workshop: takes audit packages apart and makes them again, whole in form, wrong in content."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator
from typing import Any

from chain.audit.container import RecordReader, pack_file
from chain.audit.package import encode_package
from chain.audit.records import RECORDS, PackageParts, RecordKind, StateAt, StateRow, TransactionAt
from chain.audit.verify import verify_bytes
from chain.ledger.block import SkipDecision, Transaction
from chain.ledger.genesis import Genesis
from chain.ledger.proof.proofs import HeaderProof, MerklePath
from chain.primitives.runtimeport import map_key
from chain.primitives.values import Value, encode_value

Records = list[tuple[RecordKind, Any]]


def records_of(data: bytes) -> Records:
    """Return the records of a package, decoded one by one and not checked."""

    def each() -> Iterator[tuple[RecordKind, Any]]:
        reader = RecordReader(io.BytesIO(data))
        while (kind := reader.peek()) is not None:
            yield kind, reader.take(kind, RECORDS[kind])

    return list(each())


def parts_of(data: bytes) -> PackageParts:
    """Take a package apart; `encode_package` makes the same bytes of it."""
    parts: Any = PackageParts("", 0, 0, None, [], [], {}, [], [], [], [])  # type: ignore[arg-type]
    run: list[Any] = []
    shown: list[int] = []
    records = iter(records_of(data))
    for kind, item in records:
        match kind:
            case RecordKind.HEAD:
                parts.subject, parts.first, parts.last = item.subject, item.first, item.last
            case RecordKind.GENESIS:
                parts.genesis = item
            case RecordKind.VALIDATORS:
                parts.sets.append(item)
            case RecordKind.STATEMENT:
                parts.statements.append(item)
            case RecordKind.HEADER | RecordKind.LINK:
                run.append(item)
                shown += [item.height] if kind is RecordKind.HEADER else []
            case RecordKind.CERTIFICATE:
                for at, header in enumerate(run):
                    if header.height in shown:
                        parts.headers[header.height] = HeaderProof(tuple(run[at:]), item)
                run, shown = [], []
            case RecordKind.ENTRY:
                parts.entries.append(item)
            case RecordKind.TRANSACTION:
                (_, ordered), (_, receipt), (_, executed) = next(records), next(records), next(records)
                parts.transactions.append(_transaction(item, ordered, receipt, executed))
            case RecordKind.SKIP:
                parts.skips.append(SkipDecision(item, next(records)[1].signatures))
            case RecordKind.STATE:
                parts.states.append(StateAt(item, next(records)[1]))
    found: PackageParts = parts
    return found


def _transaction(row: Any, ordered: Any, receipt: Any, executed: Any) -> TransactionAt:
    path = MerklePath(row.index, ordered.count, ordered.path)
    receipt_path = MerklePath(row.index, executed.count, executed.path)
    return TransactionAt(row.height, Transaction(row.body, ordered.signature), path, receipt, receipt_path)


def forged(data: bytes, forge: Callable[[PackageParts], object]) -> bytes:
    """Return a package after somebody changed its parts and made every hash anew."""
    parts = parts_of(data)
    forge(parts)
    return encode_package(parts)


def rearranged(data: bytes, change: Callable[[Records], Records]) -> bytes:
    """Return a package after somebody changed its records, as they stand, and made the hash anew."""
    return pack_file(change(records_of(data)))


def without_states(parts: PackageParts, drop: Callable[[StateRow], bool]) -> None:
    """Leave out state entries; fails when there are none such."""
    kept = [item for item in parts.states if not drop(item.row)]
    assert len(kept) < len(parts.states)
    parts.states = kept


def entry_of(contract: str, name: str, key: Value) -> tuple[str, bytes]:
    """Return namespace and key of a Map's entry."""
    return contract, map_key(name, key)


def with_value(parts: PackageParts, contract: str, name: str, key: Value, value: Value) -> None:
    """Give a state entry another value, whose proof is then of the former one."""
    place, raw = entry_of(contract, name, key), None if value is None else encode_value(value)
    for item in parts.states:
        if (item.row.namespace, item.row.key) == place:
            item.row = dataclasses.replace(item.row, value=raw)


def said_of(data: bytes, genesis: Genesis) -> list[str]:
    """Return what verification says against a package."""
    return [str(failure) for failure in verify_bytes(data, genesis).failures]
