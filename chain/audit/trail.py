"""Audit trails: every event of a subject, in order, with who acted, what happened and why."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from chain.audit.source import EvidenceSource
from chain.client.proofs import PAGE_ENTRIES, follow_sets
from chain.ledger.block import EventEntry, transaction_id
from chain.ledger.genesis import Genesis
from chain.ledger.proof.proofs import ProvedState, ProvedTransaction
from chain.ledger.proof.verifier import ProofVerifier
from chain.ledger.pruned import UnknownHeight
from chain.primitives.errors import AssentError, DecodeError, LimitError, ProofInvalid
from chain.primitives.jsonvalue import to_json
from chain.primitives.kinds import is_foreign
from chain.primitives.runtimeport import RESULT_BYTES_MAX, map_key
from chain.primitives.values import Value, decode_value

LOOKUPS_AT_ONCE = 16
GENESIS = "genesis"
_REASONS = ("reason", "code", "purpose", "legal_basis", "outcome", "kind", "phase")
"""Event fields that say why, the most telling first."""


class SubjectUnknown(AssentError):
    """A subject without a single event: check its spelling, "kind:id"."""

    code = "subject_unknown"


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters of a trail; the default keeps all. Heights and times (ms since the epoch) are inclusive."""

    first: int = 0
    last: int | None = None
    since: int = 0
    until: int | None = None
    kinds: frozenset[str] = frozenset()
    """Event names, "Event" or "contract.Event", in lower case."""
    orgs: frozenset[str] = frozenset()
    """Organisations that acted or are named by the event."""


@dataclass(frozen=True, slots=True)
class TrailRow:
    """One event of a subject, with who caused it, when and why."""

    height: int
    time: int
    """Block time, milliseconds since the epoch."""
    org: str
    """Organisation whose key signed; "genesis" at height 0."""
    key: str
    """The signing key, hex."""
    call: str
    """Transaction that caused it, "contract.method"."""
    event: str
    """"contract.Event"."""
    why: str
    foreign: bool
    """The event's contract does not speak for the subject: it is that contract's word alone."""
    fields: dict[str, Any]
    """The event's fields as JSON values."""
    subjects: tuple[str, ...]
    tx_id: str

    def matches(self, filters: Filters) -> bool:
        """Tell whether the filters by time, kind and party keep this row."""
        name = self.event.lower()
        if filters.kinds and not {name, name.partition(".")[2]} & filters.kinds:
            return False
        if self.time < filters.since or (filters.until is not None and self.time > filters.until):
            return False
        named = {subject.removeprefix("org:") for subject in self.subjects if subject.startswith("org:")}
        named |= {self.org, str(self.fields.get("by", "")).removeprefix("org:")}
        return not filters.orgs or bool(named & filters.orgs)


@dataclass(frozen=True, slots=True)
class Reach:
    """How far an answer reaches: it has all of a chain from one height to another."""

    chain_id: bytes
    """b"" where no genesis says which chain is meant."""
    first: int
    last: int
    time: int
    """Of the header of `last`, milliseconds since the epoch."""
    validators: tuple[bytes, ...]
    """Who certifies that height; nobody where nothing is proved."""

    @property
    def proved(self) -> bool:
        """Whether the genesis proves that height, and all that is shown with it."""
        return bool(self.chain_id)


@dataclass(frozen=True, slots=True)
class Trail:
    """A subject's events between two heights, and how far that reaches."""

    reach: Reach
    rows: tuple[TrailRow, ...]


async def read_trail(
    source: EvidenceSource, subject: str, filters: Filters = Filters(), genesis: Genesis | None = None
) -> Trail:
    """Return a subject's events in order; raise SubjectUnknown when it never had one.

    With a genesis everything is proved, that no entry is missing and the times included: ProofInvalid is
    raised where anything does not hold.
    """
    head = await source.head()
    last = head if filters.last is None else filters.last
    check_heights(filters.first, last, head)
    verifier = None if genesis is None else ProofVerifier(genesis)
    if verifier is not None:
        await follow_sets(source, verifier)
    reach = await _reach(source, filters.first, last, verifier)
    lookup = _Lookup(source, subject, verifier, genesis)
    rows: list[TrailRow] = []
    async for entries in _pages(source, subject, filters.first, last, verifier):
        rows += await lookup.rows(entries)
    if not rows and filters == Filters():
        proved = "that is proved" if reach.proved else "as the node says; give --genesis for proof"
        raise SubjectUnknown(
            f"{subject}: no event up to height {last}, {moment(reach.time)}, names it ({proved}); subjects "
            "are dataset:OWNER/NAME, grant:REQUESTER/NAME, job:ID (all 64 digits), org:ID, program:ID, "
            "contract:ID, node:NAME, proposal:NUMBER, params:limits, params:policy, params:terms"
        )
    return Trail(reach, tuple([row for row in rows if row.matches(filters)]))


async def _reach(source: EvidenceSource, first: int, last: int, verifier: ProofVerifier | None) -> Reach:
    proof = await source.header_proof(last)
    header = proof.headers[0]
    if header.height != last:
        raise ProofInvalid(f"header {last}: the node shows that of height {header.height} in its place")
    if verifier is None:
        return Reach(b"", first, last, header.time, ())
    verifier.check_header(proof)
    return Reach(verifier.chain_id, first, last, header.time, verifier.validators_at(last))


def moment(time: int) -> str:
    """Return milliseconds since the epoch as "2026-01-31 12:00:00.000 UTC"."""
    try:
        found = datetime.datetime.fromtimestamp(time / 1000, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return f"{time} ms"
    return found.strftime("%Y-%m-%d %H:%M:%S.") + f"{time % 1000:03} UTC"


def check_heights(first: int, last: int, head: int) -> None:
    """Raise UnknownHeight or LimitError unless 0 <= first <= last <= head, the newest certified height."""
    for option, height in (("--from", first), ("--to", last)):
        if height > head:
            raise UnknownHeight(
                f"{option} {height}: the newest certified height is {head}; ask for that or a lower one"
            )
    if first > last:
        raise LimitError(f"--from {first}: above --to {last}; name the lower height first")


async def _pages(
    source: EvidenceSource, subject: str, first: int, last: int, verifier: ProofVerifier | None
) -> AsyncIterator[tuple[EventEntry, ...]]:
    if verifier is not None:
        history = await source.history(subject, first, last)
        if (history.subject, history.last) != (subject, last) or history.first not in (first, first - 1):
            raise ProofInvalid(f"history of {subject} at heights {first}..{last}: the node shows another one")
        verifier.check_history(history)
        for at in range(0, len(history.entries), PAGE_ENTRIES):
            yield history.entries[at : at + PAGE_ENTRIES]
        return
    cursor: str | None = None
    while True:
        entries, cursor = await source.entries(subject, first, last, cursor)
        yield entries
        if cursor is None or not entries:
            return


class _Lookup:
    """Finds out who caused each entry; remembers transactions of a page and organisations for good."""

    def __init__(
        self, source: EvidenceSource, subject: str, verifier: ProofVerifier | None, genesis: Genesis | None
    ) -> None:
        self._source, self._subject = source, subject
        self._verifier, self._genesis = verifier, genesis
        self._orgs: dict[bytes, str] = {}
        self._gate = asyncio.Semaphore(LOOKUPS_AT_ONCE)

    async def rows(self, entries: Iterable[EventEntry]) -> list[TrailRow]:
        """Return one row per entry, in order."""
        page = list(entries)
        ids = list(dict.fromkeys(entry.tx_id for entry in page if entry.height > 0))
        found = dict(
            zip(ids, await asyncio.gather(*[self._transaction(tx_id) for tx_id in ids]), strict=True)
        )
        return [await self._row(entry, found.get(entry.tx_id)) for entry in page]

    async def _transaction(self, tx_id: bytes) -> ProvedTransaction:
        async with self._gate:
            proved = await self._source.transaction(tx_id)
        if proved is None:
            raise ProofInvalid(
                f"transaction {tx_id.hex()[:16]}: an entry names it, the node does not have it"
            )
        if transaction_id(proved.transaction.body) != tx_id:
            raise ProofInvalid(f"transaction {tx_id.hex()[:16]}: the node shows another one in its place")
        if self._verifier is not None:
            self._verifier.check_transaction(proved)
        return proved

    async def _row(self, entry: EventEntry, proved: ProvedTransaction | None) -> TrailRow:
        if proved is None:
            time = (
                (await self._source.header_proof(0)).headers[0].time
                if self._genesis is None
                else self._genesis.time
            )
            return make_row(self._subject, entry, time, GENESIS, b"", "")
        if proved.header.headers[0].height != entry.height:
            raise ProofInvalid(
                f"transaction {entry.tx_id.hex()[:16]}: it caused an entry of height {entry.height}, the "
                f"node shows its place at height {proved.header.headers[0].height}"
            )
        body = proved.transaction.body
        org = await self._org(body.sender, entry.height)
        call = f"{body.contract}.{body.method}"
        return make_row(self._subject, entry, proved.header.headers[0].time, org, body.sender, call)

    async def _org(self, key: bytes, height: int) -> str:
        if key not in self._orgs:
            proved = await self._source.state("orgs", "keys", key.hex(), height)
            if self._verifier is not None and self._verifier.check_state(proved).height != height:
                raise ProofInvalid(f"key {key.hex()[:16]}: the node shows its entry of another height")
            self._orgs[key] = org_of(proved, key)
        return self._orgs[key]


def org_of(proved: ProvedState, key: bytes) -> str:
    """Return the organisation that a proved entry of `orgs.keys` names for this key; raise ProofInvalid."""
    if (proved.namespace, proved.key) != ("orgs", map_key("keys", key.hex())):
        raise ProofInvalid(f"key {key.hex()[:16]}: the proof is of another state entry")
    return org_named(proved.value, key)


def org_named(row: bytes | None, key: bytes) -> str:
    """Return the organisation that an entry of `orgs.keys` names; raise ProofInvalid."""
    value = value_of(row)
    if not isinstance(value, dict) or not isinstance(value.get("org"), str):
        raise ProofInvalid(f"key {key.hex()[:16]}: the ledger lists it for no organisation")
    org: str = value["org"]
    return org


def value_of(row: bytes | None) -> Value:
    """Return the contract value of a state entry; None when absent; raise DecodeError."""
    return None if row is None else decode_value(row, max_bytes=len(row))


def place_of(state_key: bytes) -> tuple[str, Value]:
    """Return (Map, key) of a contract's state entry, or the name of its variable and None."""
    name, slash, raw = state_key.partition(b"/")
    try:
        return name.decode(), decode_value(raw, max_bytes=len(raw)) if slash else None
    except (DecodeError, UnicodeDecodeError):
        return "?", state_key


def make_row(subject: str, entry: EventEntry, time: int, org: str, key: bytes, call: str) -> TrailRow:
    """Return the row of one entry in the trail of a subject."""
    event = entry.event
    try:
        value = decode_value(event.fields, max_bytes=RESULT_BYTES_MAX)
    except DecodeError:
        value = None
    fields = to_json(value) if isinstance(value, dict) else {}
    why = next((str(fields[name]) for name in _REASONS if fields.get(name)), "")
    return TrailRow(
        height=entry.height,
        time=time,
        org=org,
        key=key.hex(),
        call=call,
        event=f"{event.contract}.{event.name}",
        why=why,
        foreign=is_foreign(event.contract, event.name, subject),
        fields=fields,
        subjects=event.subjects,
        tx_id=entry.tx_id.hex(),
    )
