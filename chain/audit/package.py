"""Writes an audit package: one order, each thing once, and of signatures a quorum and no more."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from chain.audit.container import pack_file
from chain.audit.evidence import gather_evidence
from chain.audit.heads import choose_quorum
from chain.audit.records import (
    PACKAGE_VERSION,
    ExecutedProof,
    OrderedProof,
    PackageHead,
    PackageParts,
    RecordKind,
    SetProof,
    SkipSigned,
    TransactionAt,
    TransactionRow,
)
from chain.audit.source import EvidenceSource
from chain.ledger.block import SkipDecision
from chain.ledger.genesis import Genesis
from chain.primitives.certificate import Certificate, quorum
from chain.primitives.headstatement import HeadStatement

Records = Iterator[tuple[RecordKind, Any]]


async def build_package(
    source: EvidenceSource,
    genesis: Genesis,
    subject: str,
    first: int = 0,
    last: int | None = None,
    heads: Sequence[HeadStatement] = (),
) -> bytes:
    """Export a subject's history at heights first..last (default: all) as one file's bytes.

    Of `heads`, statements that hold, the package has those of a quorum, if there is one.
    Raises SubjectUnknown, LimitError, and ProofInvalid when the source's answers do not fit together. The
    caller verifies the bytes before it hands them on (`chain.audit.verify`).
    """
    parts = await gather_evidence(source, genesis, subject, first, last)
    parts.statements = choose_quorum(heads, _keys_at(parts, parts.last))
    return encode_package(parts)


def encode_package(parts: PackageParts) -> bytes:
    """Return the bytes of a package."""
    return pack_file(package_records(parts))


def package_records(parts: PackageParts) -> Records:
    """Yield the records of a package in their order."""
    chain_id = parts.genesis.chain_id
    yield RecordKind.HEAD, PackageHead(PACKAGE_VERSION, chain_id, parts.subject, parts.first, parts.last)
    yield RecordKind.GENESIS, parts.genesis
    for item in parts.sets:
        yield RecordKind.VALIDATORS, _set(parts, item)
    for statement in sorted(parts.statements, key=lambda one: one.node):
        yield RecordKind.STATEMENT, statement
    yield from _headers(parts)
    yield from _heights(parts)


def _set(parts: PackageParts, item: SetProof) -> SetProof:
    certificate = item.change.header.certificate
    least = _least(certificate, _quorum_at(parts, certificate.height))
    return replace(item, change=replace(item.change, header=replace(item.change.header, certificate=least)))


def _headers(parts: PackageParts) -> Records:
    """Yield the headers upwards; those that follow one another to one certificate come before it."""
    covered = -1
    for height in sorted(parts.headers):
        if height <= covered:
            continue
        proof = parts.headers[height]
        for header in proof.headers:
            yield (RecordKind.HEADER if header.height in parts.headers else RecordKind.LINK), header
        covered = proof.headers[-1].height
        yield RecordKind.CERTIFICATE, _least(proof.certificate, _quorum_at(parts, covered))


def _heights(parts: PackageParts) -> Records:
    placed: list[tuple[tuple[Any, ...], Records]] = []
    for number, entry in enumerate(parts.entries):
        placed.append(((0, 0, number), iter([(RecordKind.ENTRY, entry)])))
    for item in parts.transactions:
        placed.append(((item.height, 1, item.path.index), _transaction(item)))
    for decision in parts.skips:
        placed.append(((decision.skip.height, 2), _skip(decision, _quorum_at(parts, decision.skip.height))))
    for state in parts.states:
        row = state.row
        place = (row.height, 3, row.namespace.encode(), row.key)
        placed.append((place, iter([(RecordKind.STATE, row), (RecordKind.STATE_PROVED, state.proof)])))
    for _, records in sorted(placed, key=lambda one: one[0]):
        yield from records


def _transaction(item: TransactionAt) -> Records:
    body, path, receipt = item.transaction.body, item.path, item.receipt_path
    yield RecordKind.TRANSACTION, TransactionRow(item.height, path.index, body)
    yield RecordKind.ORDERED, OrderedProof(item.transaction.signature, path.count, path.path)
    yield RecordKind.RECEIPT, item.receipt
    yield RecordKind.EXECUTED, ExecutedProof(receipt.count, receipt.path)


def _skip(decision: SkipDecision, needed: int) -> Records:
    yield RecordKind.SKIP, decision.skip
    yield RecordKind.SKIP_SIGNED, SkipSigned(decision.signatures[:needed])


def _least(certificate: Certificate, needed: int) -> Certificate:
    """Return the certificate with a quorum of its signatures, those of the lowest keys."""
    return Certificate(certificate.height, certificate.header_hash, certificate.signatures[:needed])


def _quorum_at(parts: PackageParts, height: int) -> int:
    return quorum(len(_keys_at(parts, height)))


def _keys_at(parts: PackageParts, height: int) -> Sequence[bytes]:
    at = bisect_right([item.change.first for item in parts.sets], height)
    return parts.sets[at - 1].change.validators if at else parts.genesis.validator_keys
