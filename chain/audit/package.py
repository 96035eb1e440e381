"""An audit package as bytes: written from evidence, read back whatever state the file is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from chain.audit.container import Container, PackageDamaged, cut_records, write_container
from chain.audit.evidence import gather_evidence
from chain.audit.plans import retrace
from chain.audit.records import (
    Contents,
    LogStates,
    Manifest,
    ReceiptAt,
    StateAt,
    TransactionAt,
    ValidatorSpan,
)
from chain.audit.report import write_report
from chain.audit.source import EvidenceSource
from chain.ledger.block import EventEntry, SkipDecision
from chain.ledger.genesis import Genesis
from chain.ledger.proof.proofs import HeaderProof
from chain.primitives.codec import decode, encode
from chain.primitives.errors import DecodeError

T = TypeVar("T")


async def build_package(
    source: EvidenceSource, genesis: Genesis, subject: str, first: int = 0, last: int | None = None
) -> bytes:
    """Export a subject's history at heights first..last (default: all) as one file's bytes.

    Raises SubjectUnknown, LimitError, and ProofInvalid when the source's answers do not fit together. The
    caller verifies the bytes before it hands them on (`chain.audit.verify`).
    """
    contents = await gather_evidence(source, genesis, subject, first, last)
    contents.report = write_report(contents, retrace(contents))
    return encode_package(contents)


def encode_package(contents: Contents) -> bytes:
    """Return the bytes of a package."""
    parts = {
        "genesis": [encode(contents.genesis)],
        "validators": [encode(span) for span in contents.validators],
        "headers": [encode(header) for header in contents.headers.values()],
        "history": [encode(contents.log)],
        "entries": [encode(entry) for entry in contents.entries],
        "transactions": [encode(item) for item in contents.transactions],
        "receipts": [encode(item) for item in contents.receipts],
        "states": [encode(item) for item in contents.states],
        "skips": [encode(item) for item in contents.skips],
        "report": [contents.report.encode()],
    }
    chain_id = contents.genesis.chain_id
    return write_container(chain_id, contents.subject, contents.first, contents.last, parts)


@dataclass(slots=True)
class Reading:
    """A package as far as it could be decoded; `faults` are (part, what is wrong)."""

    manifest: Manifest
    contents: Contents | None
    faults: list[tuple[str, str]] = field(default_factory=list)


def read_package(container: Container) -> Reading:
    """Decode every record of every part, going on past those that cannot be."""
    reading = Reading(container.manifest, None)
    for name in container.damaged:
        reading.faults.append((name, "its bytes do not have the hash that the manifest gives"))

    def records(name: str, read: Callable[[bytes], T]) -> list[T]:
        return _records(container, name, read, reading.faults)

    genesis = records("genesis", lambda raw: decode(Genesis, raw))
    log = records("history", lambda raw: decode(LogStates, raw))
    headers = records("headers", lambda raw: decode(HeaderProof, raw))
    report = records("report", lambda raw: raw.decode("utf-8", "replace"))
    contents_or_parts = (
        tuple(records("validators", lambda raw: decode(ValidatorSpan, raw))),
        tuple(records("entries", lambda raw: decode(EventEntry, raw))),
        tuple(records("transactions", lambda raw: decode(TransactionAt, raw))),
        tuple(records("receipts", lambda raw: decode(ReceiptAt, raw))),
        tuple(records("states", lambda raw: decode(StateAt, raw))),
        tuple(records("skips", lambda raw: decode(SkipDecision, raw))),
    )
    for name, found in (("genesis", genesis), ("history", log), ("report", report)):
        if len(found) != 1:
            reading.faults.append((name, f"{len(found)} readable records, expected 1"))
    if genesis and log:
        validators, entries, transactions, receipts, states, skips = contents_or_parts
        reading.contents = Contents(
            subject=container.manifest.subject,
            first=container.manifest.first,
            last=container.manifest.last,
            genesis=genesis[0],
            validators=validators,
            headers={proof.headers[0].height: proof for proof in headers},
            log=log[0],
            entries=entries,
            transactions=transactions,
            receipts=receipts,
            states=states,
            skips=skips,
            report=report[0] if report else "",
        )
    return reading


def _records(
    container: Container, name: str, read: Callable[[bytes], T], faults: list[tuple[str, str]]
) -> list[T]:
    try:
        raw = cut_records(name, container.parts[name])
    except PackageDamaged as error:
        faults.append((name, str(error)))
        return []
    expected = next(part.records for part in container.manifest.parts if part.name == name)
    if len(raw) != expected:
        faults.append((name, f"{len(raw)} records, the manifest says {expected}"))
    found: list[T] = []
    for number, item in enumerate(raw):
        try:
            found.append(read(item))
        except DecodeError as error:
            faults.append((name, f"record {number}: {error}"))
    return found
