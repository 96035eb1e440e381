"""Gathers what proves a subject's history: who caused its events, and the entries that they name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from chain.audit import acts
from chain.audit.closure import Closure, Wanted
from chain.audit.records import (
    ENTRIES_MAX,
    Caused,
    Contents,
    PackageParts,
    Place,
    SetProof,
    StateAt,
    TransactionAt,
    strip_state,
)
from chain.audit.source import EvidenceSource
from chain.audit.trail import LOOKUPS_AT_ONCE, SubjectUnknown, check_heights
from chain.ledger import schedule
from chain.ledger.block import EventEntry, Receipt, TransactionBody, transaction_id
from chain.ledger.genesis import Genesis
from chain.ledger.proof.proofs import HeaderProof, ProvedReceipt, ProvedState, ProvedTransaction, SetChange
from chain.primitives.acts import act_digest
from chain.primitives.errors import LimitError, ProofInvalid

T = TypeVar("T")


async def gather_evidence(
    source: EvidenceSource, genesis: Genesis, subject: str, first: int, last: int | None
) -> PackageParts:
    """Return what a package is written from; raise SubjectUnknown, LimitError, ProofInvalid.

    `last` None means the certified head. Nothing is verified here: the package is, as a whole.
    """
    head = await source.head()
    last = head if last is None else last
    check_heights(first, last, head)
    first = 0 if first == 1 else first  # the log before height 0 is empty, which needs no proof
    return await _Gatherer(source, genesis, subject, first, last).run()


def caused_by(body: TransactionBody, receipt: Receipt) -> Caused:
    """Return what a package's reader keeps of a transaction and its receipt."""
    return Caused(
        height=receipt.height,
        index=receipt.index,
        sender=body.sender,
        contract=body.contract,
        method=body.method,
        digest=act_digest(body.contract, body.method, body.args),
        status=receipt.status,
        code=receipt.code,
        gas_used=receipt.gas_used,
        kinds=frozenset([(event.contract, event.name) for event in receipt.events]),
    )


class _Gatherer:
    """One export under way."""

    def __init__(self, source: EvidenceSource, genesis: Genesis, subject: str, first: int, last: int) -> None:
        self._source, self._genesis = source, genesis
        self._subject, self._first, self._last = subject, first, last
        self._headers: dict[int, HeaderProof] = {}
        self._states: dict[Place, StateAt] = {}

    async def run(self) -> PackageParts:
        history = await self._source.history(self._subject, self._first, self._last)
        entries = history.entries
        if not entries and history.after.value is None:
            raise SubjectUnknown(f"{self._subject}: no event up to height {self._last} names it")
        if len(entries) > ENTRIES_MAX:
            raise LimitError(
                f"{self._subject}: {len(entries)} events at heights {self._first}..{self._last}, a package "
                f"holds at most {ENTRIES_MAX}; export fewer heights at once, by --from and --to"
            )
        for proved in (history.before, history.after):
            if proved is not None:
                self._keep(proved)
        transactions = await self._transactions(entries)
        told = Contents(self._subject, self._first, self._last, self._genesis, entries=list(entries))
        told.caused = {
            item.receipt.tx_id: caused_by(item.transaction.body, item.receipt) for item in transactions
        }
        await self._close(told)
        sets = await self._sets()
        skips = await self._all(self._source.skip, [(height,) for height in self._skipping()])
        return PackageParts(
            subject=self._subject,
            first=self._first,
            last=self._last,
            genesis=self._genesis,
            sets=sets,
            statements=[],
            headers=dict(sorted(self._headers.items())),
            entries=[entry for entry in entries if entry.height == 0],
            transactions=transactions,
            states=[self._states[place] for place in sorted(self._states)],
            skips=[decision for decision in skips if decision is not None],
        )

    async def _close(self, told: Contents) -> None:
        """Fetch what is named and not there, until nothing is."""
        while True:
            known = {place: item.row.value for place, item in self._states.items()}
            missing = Closure(told, known).missing
            if not missing:
                return
            await self._all(self._fetch, [(one,) for one in missing])

    async def _fetch(self, one: Wanted) -> None:
        proved = (
            await self._source.variable(one.contract, one.name, one.height)
            if one.variable
            else await self._source.state(one.contract, one.name, one.key, one.height)
        )
        place = proved.header.headers[0].height, proved.namespace, proved.key
        if place != one.place:
            raise ProofInvalid(f"{one}: the node shows another entry in its place")
        self._keep(proved)

    def _skipping(self) -> list[int]:
        """Return the heights of the package's headers that name a skip decision."""
        return [height for height, proof in sorted(self._headers.items()) if proof.headers[0].skip]

    async def _sets(self) -> list[SetProof]:
        """Return the validator sets, but the founders, that a header is certified by or names."""
        window = self._genesis.limits.consensus_window
        top = max([proof.headers[-1].height for proof in self._headers.values()]) + window
        found: list[SetProof] = []
        while True:
            changes = await self._source.set_changes(found[-1].change.first if found else 0)
            chosen = [item for item in changes if item.first <= top]
            for change in chosen:
                found.append(await self._set(change, window))
            if len(chosen) < len(changes) or not changes:
                return found

    async def _set(self, change: SetChange, window: int) -> SetProof:
        first, height = change.first, change.first - window
        key = first.to_bytes(8, "big")
        proved = await self._source.state(schedule.NAMESPACE, schedule.SETS, key, height)
        if proved.value is None:
            raise ProofInvalid(f"validators from height {first}: the node shows no nodes of theirs")
        return SetProof(change, proved.value, proved.proof)

    async def _transactions(self, entries: Sequence[EventEntry]) -> list[TransactionAt]:
        """Return those that caused entries, and those by which keys saw what was done, in order."""
        caused = [entry.tx_id for entry in entries if entry.height > 0]
        ids = list(dict.fromkeys([*caused, *acts.transactions_named(entries)]))
        proved = await self._all(self._source.transaction, [(tx_id,) for tx_id in ids])
        receipts = await self._all(self._source.receipt, [(tx_id,) for tx_id in ids])
        found = [self._placed(*item) for item in zip(ids, proved, receipts, strict=True)]
        return sorted(found, key=lambda item: (item.height, item.path.index))

    def _placed(
        self, tx_id: bytes, proved: ProvedTransaction | None, receipt: ProvedReceipt | None
    ) -> TransactionAt:
        what = f"transaction {tx_id.hex()[:16]}"
        if proved is None or receipt is None:
            raise ProofInvalid(f"{what}: an entry names it, the node does not have it or its receipt")
        if transaction_id(proved.transaction.body) != tx_id or receipt.receipt.tx_id != tx_id:
            raise ProofInvalid(f"{what}: the node shows another one in its place")
        self._note(proved.header)
        height = proved.header.headers[0].height
        return TransactionAt(height, proved.transaction, proved.path, receipt.receipt, receipt.path)

    def _keep(self, proved: ProvedState) -> None:
        self._note(proved.header)
        item = strip_state(proved)
        self._states[item.row.height, item.row.namespace, item.row.key] = item

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
