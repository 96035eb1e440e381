"""Closure: exactly which state entries belong to a package, as its events, calls and entries name them.

Whoever exports asks for what is missing until nothing is; whoever verifies finds in the package what is
wanted, all of it and nothing else. So nobody can leave out a grant's terms, a policy's source or a dispute,
nor pad a package. docs/audit-package.md has the same tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chain.audit import schemas
from chain.audit.records import STATES_MAX, Contents, Place
from chain.ledger.block import EventEntry
from chain.ledger.subjects import NAMESPACE as SUBJECTS
from chain.ledger.subjects import log_key
from chain.primitives.crypto import digest
from chain.primitives.errors import DecodeError, LimitError
from chain.primitives.runtimeport import RESULT_BYTES_MAX, map_key, var_key
from chain.primitives.values import Value, decode_value

Row = tuple[str, str, tuple[str, ...]]
BY_SUBJECT: tuple[Row, ...] = (
    ("org", "orgs.orgs", ("$",)),
    ("org", "orgs.eyes", ("$",)),
    ("dataset", "datasets.datasets", ("$",)),
    ("dataset", "accounts.owner_caps", ("$",)),
    ("dataset", "accounts.begun", ("$",)),
    ("grant", "grants.grants", ("$",)),
    ("grant", "grants.standing", ("$",)),
    ("grant", "grants.ballots", ("$",)),
    ("job", "jobs.jobs", ("$",)),
    ("job", "jobs.specs", ("$",)),
    ("job", "jobs.derived", ("$",)),
    ("job", "jobs.certificates", ("$",)),
    ("job", "jobs.ends", ("$",)),
    ("job", "accounts.bookings", ("$",)),
    ("program", "programs.programs", ("$",)),
    ("contract", "lifecycle.active", ("$",)),
    ("library", "lifecycle.libraries", ("$hash",)),
    ("library", "lifecycle.sources", ("$hash",)),
    ("proposal", "governance.proposals", ("$number",)),
    ("node", "governance.nodes", ()),
    ("params", "governance.limits", ()),
    ("params", "governance.terms", ()),
)
"""(kind of subject, entry, key): `$` is the subject's id; no key means a variable."""
BY_EVENT: tuple[Row, ...] = (
    ("accounts.AccountBegun", "accounts.accounts", (":dataset", "version")),
    ("accounts.AccountReserved", "accounts.accounts", (":dataset", "account")),
    ("accounts.AccountReserved", "accounts.shares", (":dataset", "account", ":grantee")),
    ("accounts.AccountCharged", "accounts.accounts", (":dataset", "account")),
    ("accounts.AccountCharged", "accounts.shares", (":dataset", "account", ":grantee")),
    ("accounts.AccountReturned", "accounts.accounts", (":dataset", "account")),
    ("accounts.AccountReturned", "accounts.shares", (":dataset", "account", ":grantee")),
    ("governance.Proposed", "governance.policies", ("payload.kind",)),
    ("governance.Committed", "governance.policies", ("payload.kind",)),
    ("governance.EvidenceReported", "governance.evidence", ("key/kind",)),
    ("jobs.JobProposed", "grants.grants", ("inputs[].grant",)),
    ("jobs.JobProposed", "grants.standing", ("inputs[].grant",)),
    ("jobs.JobProposed", "datasets.datasets", ("inputs[].dataset",)),
    ("jobs.JobProposed", "programs.pages", ("page",)),
    ("jobs.JobBound", "jobs.bindings", (":job", ":by")),
    ("jobs.JoinJudged", "jobs.joins", ("joined",)),
    ("jobs.StageCommitted", "jobs.stages", (":job", ":by", "stage")),
    ("jobs.TranscriptCommitted", "jobs.transcripts", (":job", ":by")),
    ("jobs.ResultCommitted", "jobs.results", (":job", ":by")),
    ("jobs.JobSigned", "jobs.signatures", (":job", ":by")),
    ("jobs.JobDisputed", "jobs.disputes", (":job", "number")),
    ("jobs.DisputeResolved", "jobs.disputes", (":job", "number")),
    ("jobs.DisputeLapsed", "jobs.disputes", (":job", "number")),
    ("orgs.EyesSet", "orgs.dataset_eyes", (":org", ":about[]")),
    ("orgs.ActPending", "orgs.pending", (":org", "digest")),
    ("programs.ProgramProposed", "programs.pages", ("page",)),
    ("programs.ProgramProposed", "programs.facts", ("page",)),
    ("programs.ProgramCommitted", "programs.pages", ("page",)),
)
"""(event, entry, key): names are the event's fields, `:` takes what follows the kind of a subject."""
BY_ENTRY: tuple[Row, ...] = (("jobs.jobs", "jobs.disputes", ("id", "1..disputes")),)
"""(entry at the last height, entry, key): names are fields of the former's value."""
POLICIES = "grants.grants", "policy"
"""The entry whose field names a contract that has a say."""
VARIABLES = frozenset({"governance.nodes", "governance.limits", "governance.terms"})
NAME_CHARS_MAX = 64
_HASH_TEXT = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"[1-9][0-9]{0,15}")
ACTIVE = "lifecycle.active"
SOURCES = "lifecycle.sources"
COUNT_MAX = 1_024
"""Disputes of a job that are asked for: more than a job can have."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A state entry by its contract, Map (or variable) and key."""

    height: int
    contract: str
    name: str
    key: Value = None
    variable: bool = False

    @property
    def place(self) -> Place:
        """Where it stands in the state."""
        state_key = var_key(self.name) if self.variable else map_key(self.name, self.key)
        return self.height, self.contract, state_key

    def __str__(self) -> str:
        key = "" if self.variable else f"[{self.key.hex() if type(self.key) is bytes else self.key}]"
        return f"{self.contract}.{self.name}{key} at height {self.height}"


class Closure:
    """What a package must hold, as far as the entries known so far tell."""

    def __init__(self, told: Contents, known: Mapping[Place, bytes | None]) -> None:
        """`told` has entries and transactions; of `known` only what is wanted is looked at."""
        self._told, self._known = told, known
        self._last = told.last
        self.wanted: dict[Place, Wanted] = {}
        self.logs: list[Place] = []
        """The states of the subject's log, which lead the history from its begin to its end."""
        heights = [told.last] if told.first == 0 else [told.first - 1, told.last]
        self.logs = [(height, SUBJECTS, log_key(told.subject)) for height in heights]
        self._values: dict[Place, Value] = {}
        self._contracts: dict[str, None] = {}
        self._walk()

    @property
    def missing(self) -> list[Wanted]:
        """What is wanted and not known."""
        return [one for place, one in self.wanted.items() if place not in self._known]

    def _walk(self) -> None:
        for sender in dict.fromkeys(one.sender for one in self._told.caused.values()):
            self._want(self._last, "orgs.keys", sender.hex())
        for entry in self._told.entries:
            self._contracts[entry.event.contract] = None
        for one in self._told.caused.values():
            self._contracts[one.contract] = None
        subjects = dict.fromkeys(
            [self._told.subject, *[name for entry in self._told.entries for name in entry.event.subjects]]
        )
        for subject in subjects:
            self._by_subject(subject)
        for entry in self._told.entries:
            self._by_event(entry)
        self._by_schema()
        self._by_entry()
        self._by_contract()

    def _want(self, height: int, target: str, key: Value) -> None:
        contract, name = target.split(".")
        variable = target in VARIABLES
        one = Wanted(height, contract, name, None if variable else key, variable)
        self.wanted.setdefault(one.place, one)
        if len(self.wanted) > STATES_MAX:
            raise LimitError(
                f"{self._told.subject}: its events name more than {STATES_MAX} state entries; "
                "export fewer heights at once"
            )

    def _value(self, place: Place) -> Value:
        """Return the value of an entry, None where it is absent, unknown or no value."""
        if place not in self._values:
            raw = self._known.get(place)
            try:
                self._values[place] = None if raw is None else decode_value(raw, max_bytes=len(raw))
            except DecodeError:
                self._values[place] = None
        return self._values[place]

    def _by_subject(self, subject: str) -> None:
        kind, _, ident = subject.partition(":")
        if kind == "contract":
            self._contracts[ident] = None
        for of, target, key in BY_SUBJECT:
            if of == kind:
                for made in subject_keys(key, ident):
                    self._want(self._last, target, made)

    def _by_event(self, entry: EventEntry) -> None:
        event = entry.event
        name = f"{event.contract}.{event.name}"
        rows = _EVENT_ROWS.get(name)
        if rows is None:
            return
        fields = fields_of(entry)
        for target, key in rows:
            for made in keys_of(key, fields):
                self._want(self._last, target, made)

    def _by_schema(self) -> None:
        known = _Seen(self)
        used = schemas.versions_used(self._told.subject, self._told.entries)
        for name, key in schemas.rows_named(used, known):
            self._want(self._last, f"{schemas.CONTRACT}.{name}", key)

    def _by_entry(self) -> None:
        for place, one in list(self.wanted.items()):
            value = self._value(place) if one.height == self._last else None
            if type(value) is not dict:
                continue
            entry = f"{one.contract}.{one.name}"
            for of, target, key in BY_ENTRY:
                if of == entry:
                    for made in keys_of(key, value):
                        self._want(self._last, target, made)
            policy = value.get(POLICIES[1]) if entry == POLICIES[0] else None
            if type(policy) is str:
                self._contracts[policy] = None

    def _by_contract(self) -> None:
        """Want each version of a contract that was in force while the transactions ran, and its sources.

        Versions are looked for between two heights by halves: where the numbers of both ends agree, nothing
        changed between.
        """
        lowest = min([one.height for one in self._told.caused.values()], default=self._last)
        installed = {source_hash(item.source) for item in self._told.genesis.contracts}
        seen: dict[bytes, int] = {}
        for name in self._contracts:
            if not 0 < len(name) <= NAME_CHARS_MAX:
                continue
            for height, value in self._versions(name, lowest):
                for found in source_hashes(value):
                    seen[found] = min(height, seen.get(found, height))
        if self.missing:
            return  # the lowest height at which a source was in force is known last
        for found, height in seen.items():
            if found not in installed:
                self._want(height, SOURCES, found)

    def _versions(self, name: str, lowest: int) -> Iterator[tuple[int, Value]]:
        pending = [(lowest, self._last)]
        while pending:
            low, high = pending.pop()
            places = [(height, "lifecycle", map_key("active", name)) for height in (low, high)]
            for place in places:
                self._want(place[0], ACTIVE, name)
            if any(place not in self._known for place in places):
                continue  # asked for, and looked at again when it is there
            ends = [self._value(place) for place in places]
            yield from zip((low, high), ends, strict=True)
            if sequence(ends[0]) != sequence(ends[1]) and high - low > 1:
                middle = (low + high) // 2
                pending += [(low, middle), (middle, high)]


class _Seen(Mapping[bytes, Value]):
    """The known rows of declared schemas, by state key."""

    def __init__(self, closure: Closure) -> None:
        self._closure = closure

    def __getitem__(self, key: bytes) -> Value:
        place = (self._closure._last, schemas.CONTRACT, key)
        if place not in self._closure._known:
            raise KeyError(key)
        return self._closure._value(place)

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _by_name(rows: Iterable[Row]) -> dict[str, list[tuple[str, tuple[str, ...]]]]:
    found: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for of, target, key in rows:
        found.setdefault(of, []).append((target, key))
    return found


_EVENT_ROWS = _by_name(BY_EVENT)


def fields_of(entry: EventEntry) -> dict[str, Any]:
    """Return an event's fields; none where they cannot be read."""
    try:
        value = decode_value(entry.event.fields, max_bytes=RESULT_BYTES_MAX)
    except DecodeError:
        return {}
    return value if type(value) is dict else {}


def subject_keys(key: tuple[str, ...], ident: str) -> list[Value]:
    """Return the keys that a subject's id makes; none of an id that is not of the form."""
    match key:
        case ():
            return [None]
        case ("$hash",):
            return [bytes.fromhex(ident)] if _HASH_TEXT.fullmatch(ident) else []
        case ("$number",):
            return [int(ident)] if _NUMBER.fullmatch(ident) else []
    return [ident]


def keys_of(key: tuple[str, ...], fields: Mapping[str, Any]) -> list[Value]:
    """Return the keys that fields make; none where one is missing, empty or of another type.

    A part that names several values makes a key of each.
    """
    made: list[list[Value]] = [[]]
    for part in key:
        values = [value for value in _part(part, fields) if type(value) is int or _text(value)]
        made = [[*head, value] for head in made for value in values]
    return [parts[0] if len(key) == 1 else tuple(parts) for parts in made]


def _text(value: Any) -> bool:
    return type(value) in (str, bytes) and len(value) > 0


def _part(part: str, fields: Mapping[str, Any]) -> list[Any]:
    if part.startswith(":"):
        subjects = [value for value in _part(part[1:], fields) if type(value) is str and ":" in value]
        return [subject.partition(":")[2] for subject in subjects]
    if part.startswith("1.."):
        count = fields.get(part[3:])
        return list(range(1, min(count, COUNT_MAX) + 1)) if type(count) is int else []
    if "/" in part:
        first, second = [fields.get(name) for name in part.split("/")]
        return [f"{first.hex()}/{second}"] if type(first) is bytes and type(second) is str else []
    name, many, rest = part.partition("[]")
    if many:
        items = fields.get(name)
        found = items if type(items) is list else []
        return [item.get(rest[1:]) for item in found if type(item) is dict] if rest else list(found)
    name, _, inner = part.partition(".")
    value = fields.get(name)
    if inner:
        return [value.get(inner)] if type(value) is dict else []
    return [value]


def source_hash(source: str) -> bytes:
    """Return the hash by which `lifecycle` names a source (contracts/language/ir.py)."""
    return digest("assent/source", source.encode())


def source_hashes(record: Value) -> list[bytes]:
    """Return the source hashes of a `lifecycle.active` record: of what runs and follows, and of libraries."""
    found: list[Value] = []
    for version in _versions_of(record):
        libraries = version.get("libraries")
        found.append(version.get("source_hash"))
        found += libraries.values() if isinstance(libraries, dict) else []
    return [item for item in found if isinstance(item, bytes) and len(item) == 32]


def sequence(record: Value) -> list[Value]:
    """Return the numbers of the versions that a `lifecycle.active` record names; they only rise."""
    return [version.get("seq") for version in _versions_of(record)]


def _versions_of(record: Value) -> list[dict[str, Value]]:
    parts = [record, record.get("next")] if isinstance(record, dict) else []
    return [part for part in parts if isinstance(part, dict)]
