"""Gathers what proves a subject's history: entries, who caused them, and the records they speak of."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from chain.audit import acts, pages, plans, schemas
from chain.audit.records import (
    Contents,
    LogStates,
    ReceiptAt,
    StateAt,
    TransactionAt,
    ValidatorSpan,
    strip_state,
)
from chain.audit.source import EvidenceSource
from chain.audit.trail import LOOKUPS_AT_ONCE, SubjectUnknown, check_heights, state_value
from chain.ledger import schedule
from chain.ledger.block import EventEntry
from chain.ledger.genesis import Genesis
from chain.ledger.proof.proofs import HeaderProof, ProvedReceipt, ProvedState, ProvedTransaction
from chain.primitives.errors import ProofInvalid
from chain.primitives.runtimeport import map_key
from chain.primitives.values import Value

RELATED_MAX = 512
"""Subjects, besides the one asked for, whose records are included."""
CONTRACTS_MAX = 64

RECORDS: dict[str, tuple[tuple[str, str], ...]] = {
    "org": (("orgs", "orgs"),),
    "dataset": (("datasets", "datasets"), ("accounts", "owner_caps")),
    "grant": (("grants", "grants"), ("grants", "standing")),
    "job": (("jobs", "jobs"), ("jobs", "specs"), ("jobs", "certificates"), ("accounts", "bookings")),
    "program": (("programs", "programs"),),
    "contract": (("lifecycle", "active"),),
    "library": (("lifecycle", "libraries"), ("lifecycle", "sources")),
}
"""Kind of subject -> (contract, Map) of the records about it."""

_HASH_TEXT = re.compile(r"[0-9a-f]{64}")
T = TypeVar("T")


async def gather_evidence(
    source: EvidenceSource, genesis: Genesis, subject: str, first: int, last: int | None
) -> Contents:
    """Return a package's contents, without its report; raise SubjectUnknown, LimitError, ProofInvalid.

    `last` None means the certified head. Nothing is verified here: the package is, as a whole.
    """
    head = await source.head()
    last = head if last is None else last
    check_heights(first, last, head)
    first = 0 if first == 1 else first  # the log before height 0 is empty, which needs no proof
    return await _Gatherer(source, genesis, subject, first, last).run()


class _Gatherer:
    """One export under way."""

    def __init__(self, source: EvidenceSource, genesis: Genesis, subject: str, first: int, last: int) -> None:
        self._source, self._genesis = source, genesis
        self._subject, self._first, self._last = subject, first, last
        self._headers: dict[int, HeaderProof] = {}
        self._states: dict[tuple[int, str, bytes], StateAt] = {}

    async def run(self) -> Contents:
        history = await self._source.history(self._subject, self._first, self._last)
        entries = history.entries
        if not entries and history.after.value is None:
            raise SubjectUnknown(f"{self._subject}: no event up to height {self._last} names it")
        for proved in (history.before, history.after):
            if proved is not None:
                self._note(proved.header)
        before = None if history.before is None else strip_state(history.before)
        log = LogStates(before, strip_state(history.after))
        transactions, receipts = await self._transactions(entries)
        senders = sorted({item.transaction.body.sender.hex() for item in transactions})
        await self._all(self._state, [("orgs", "keys", sender, self._last) for sender in senders])
        records = await self._records(entries)
        named = plans.proposed(entries)
        await self._schemas(
            schemas.versions_used(self._subject, entries), [used for one in named for used in one.inputs]
        )
        texts = [(pages.CONTRACT, pages.TEXTS, page) for page in pages.pages_carried(entries)]
        places = dict.fromkeys([*texts, *plans.rows_wanted(named)])
        await self._all(self._state, [(*place, self._last) for place in places])
        callers = called_contracts(entries, transactions)
        await self._sources([*callers, *_named_contracts(entries, records)], transactions)
        spans = await self._spans()
        skips = await self._all(self._source.skip, [(height,) for height in self._skipping()])
        return Contents(
            subject=self._subject,
            first=self._first,
            last=self._last,
            genesis=self._genesis,
            validators=spans,
            headers=dict(sorted(self._headers.items())),
            log=log,
            entries=entries,
            transactions=tuple(transactions),
            receipts=tuple(receipts),
            states=tuple([self._states[state_key] for state_key in sorted(self._states)]),
            skips=tuple([decision for decision in skips if decision is not None]),
            report="",
        )

    def _skipping(self) -> list[int]:
        """Return the heights of the package's headers that name a skip decision."""
        return [height for height, proof in sorted(self._headers.items()) if proof.headers[0].skip]

    async def _spans(self) -> tuple[ValidatorSpan, ...]:
        """Return every validator set that a header of the package is certified by or names.

        Each comes with the header that names it, and with the state entry that names its nodes.
        """
        window = self._genesis.limits.consensus_window
        spans = [ValidatorSpan(0, self._genesis.validator_keys)]
        while True:
            top = max([proof.headers[-1].height for proof in self._headers.values()]) + window
            found = await self._source.set_changes(spans[-1].from_height)
            changes = [item for item in found if item.first <= top]
            if not changes:
                return tuple(spans)
            for change in changes:
                self._note(change.header)
                spans.append(ValidatorSpan(change.first, change.validators))
            entries = [(schedule.NAMESPACE, schedule.SETS, change.first) for change in changes]
            await self._all(
                self._state,
                [(*state_key, first.to_bytes(8, "big"), first - window) for *state_key, first in entries],
            )

    async def _transactions(
        self, entries: Sequence[EventEntry]
    ) -> tuple[list[TransactionAt], list[ReceiptAt]]:
        caused = [entry.tx_id for entry in entries if entry.height > 0]
        ids = list(dict.fromkeys([*caused, *acts.transactions_named(entries)]))
        proved = await self._all(self._source.transaction, [(tx_id,) for tx_id in ids])
        receipts = await self._all(self._source.receipt, [(tx_id,) for tx_id in ids])
        return (
            [self._transaction(tx_id, item) for tx_id, item in zip(ids, proved, strict=True)],
            [self._receipt(tx_id, item) for tx_id, item in zip(ids, receipts, strict=True)],
        )

    def _transaction(self, tx_id: bytes, proved: ProvedTransaction | None) -> TransactionAt:
        if proved is None:
            raise ProofInvalid(
                f"transaction {tx_id.hex()[:16]}: an entry names it, the node does not have it"
            )
        self._note(proved.header)
        return TransactionAt(proved.header.headers[0].height, proved.transaction, proved.path)

    def _receipt(self, tx_id: bytes, proved: ProvedReceipt | None) -> ReceiptAt:
        if proved is None:
            raise ProofInvalid(f"receipt of {tx_id.hex()[:16]}: an entry names it, the node does not have it")
        self._note(proved.header)
        return ReceiptAt(proved.receipt, proved.path)

    async def _records(self, entries: Iterable[EventEntry]) -> list[ProvedState]:
        """Fetch the records of the subject, and of those its events name, as they stand at the end."""
        named = dict.fromkeys([self._subject, *[s for entry in entries for s in entry.event.subjects]])
        wanted = [
            state_key
            for subject in list(named)[: RELATED_MAX + 1]
            for state_key in record_keys(subject, self._last)
        ]
        return await self._all(self._state, wanted)

    async def _schemas(self, *used: Sequence[schemas.VersionUsed]) -> None:
        """Fetch what is declared of the data, row by row until nothing that the rows name is missing."""
        known = dict[bytes, Value]()
        while missing := schemas.rows_missing([one for some in used for one in some], known):
            places = [(schemas.CONTRACT, name, key, self._last) for name, key in missing]
            for (name, key), proved in zip(missing, await self._all(self._state, places), strict=True):
                known[map_key(name, key)] = state_value(proved)

    async def _sources(self, names: list[str], transactions: list[TransactionAt]) -> None:
        """Fetch the sources of contracts that were in force while the transactions ran, and at the end."""
        lowest = min([item.height for item in transactions], default=self._last)
        hashes: dict[bytes, int] = {}
        for name in list(dict.fromkeys(names))[:CONTRACTS_MAX]:
            for height, found in await self._versions(name, lowest):
                hashes.setdefault(found, height)
        await self._all(self._state, [("lifecycle", "sources", key, at) for key, at in hashes.items()])

    async def _versions(self, name: str, lowest: int) -> list[tuple[int, bytes]]:
        """Return (height, source hash) of every version of a contract at heights lowest..last.

        Sequence numbers only rise, so where both ends of a range agree nothing changed between.
        """
        found: list[tuple[int, bytes]] = []
        pending = [(lowest, self._last)]
        while pending:
            low, high = pending.pop()
            ends = [state_value(await self._state("lifecycle", "active", name, at)) for at in (low, high)]
            for at, end in zip((low, high), ends, strict=True):
                found += [(at, key) for key in source_hashes(end)]
            if _sequence(ends[0]) != _sequence(ends[1]) and high - low > 1:
                middle = (low + high) // 2
                pending += [(low, middle), (middle, high)]
        return found

    async def _state(self, contract: str, map_name: str, key: Value, height: int) -> ProvedState:
        proved = await self._source.state(contract, map_name, key, height)
        self._note(proved.header)
        item = strip_state(proved)
        self._states[(item.height, item.namespace, item.key)] = item
        return proved

    async def _all(self, ask: Callable[..., Awaitable[T]], wanted: Sequence[tuple[Any, ...]]) -> list[T]:
        """Ask for everything wanted, in order, a bounded number at once."""
        results: list[T] = []
        for at in range(0, len(wanted), LOOKUPS_AT_ONCE):
            results += await asyncio.gather(*[ask(*item) for item in wanted[at : at + LOOKUPS_AT_ONCE]])
        return results

    def _note(self, proof: HeaderProof) -> None:
        first = proof.headers[0]
        known = self._headers.setdefault(first.height, proof)
        if known.headers[0] != first:
            raise ProofInvalid(f"header {first.height}: the node shows two different ones; ask another node")


def source_hashes(record: Value) -> list[bytes]:
    """Return the source hashes of a `lifecycle.active` record: of what runs and follows, and of libraries."""
    found: list[Value] = []
    for version in _versions_of(record):
        libraries = version.get("libraries")
        found.append(version.get("source_hash"))
        found += libraries.values() if isinstance(libraries, dict) else []
    return [item for item in found if isinstance(item, bytes) and len(item) == 32]


def _sequence(record: Value) -> list[Value]:
    return [version.get("seq") for version in _versions_of(record)]


def _versions_of(record: Value) -> list[dict[str, Value]]:
    parts = [record, record.get("next")] if isinstance(record, dict) else []
    return [part for part in parts if isinstance(part, dict)]


def record_keys(subject: str, height: int) -> list[tuple[str, str, Value, int]]:
    """Return (contract, Map, key, height) of the records about a subject."""
    kind, _, ident = subject.partition(":")
    key: Value = ident
    if kind == "library":  # its records stand under the hash itself; any contract may file under another text
        if not _HASH_TEXT.fullmatch(ident):
            return []
        key = bytes.fromhex(ident)
    return [(contract, map_name, key, height) for contract, map_name in RECORDS.get(kind, ())]


def called_contracts(entries: Iterable[EventEntry], transactions: Iterable[TransactionAt]) -> list[str]:
    """Name every contract that was called or announced something, at most CONTRACTS_MAX."""
    names = dict.fromkeys(entry.event.contract for entry in entries)
    names |= dict.fromkeys(item.transaction.body.contract for item in transactions)
    return list(names)[:CONTRACTS_MAX]


def _named_contracts(entries: Iterable[EventEntry], records: Iterable[ProvedState]) -> list[str]:
    """Name the contracts that events speak of, and the policies of grants."""
    subjects = [subject for entry in entries for subject in entry.event.subjects]
    names = [subject.removeprefix("contract:") for subject in subjects if subject.startswith("contract:")]
    for proved in records:
        value = state_value(proved)
        policy = value.get("policy") if isinstance(value, dict) else None
        if isinstance(policy, str) and policy:
            names.append(policy)
    return names
