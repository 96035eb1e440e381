"""Plans in an audit package: the page of each job is traced again, from what the package proves alone.

What a job uses and releases follows of its page, its parameters and what its datasets declare. So an auditor
need not believe the ledger's contracts, nor whoever ran them, that they derived it as they should.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from chain.audit import pages, schemas
from chain.audit.records import Caused, Contents
from chain.audit.text import shown
from chain.audit.trail import value_of
from chain.ledger.block import EventEntry
from chain.primitives.errors import DecodeError, ProofInvalid
from chain.primitives.runtimeport import RESULT_BYTES_MAX, map_key
from chain.primitives.values import Value, decode_value, encode_value
from chain.primitives.visible import one_line
from chain.primitives.words import counted
from contracts.language.faults import OutOfGas
from contracts.pages.facts import stated_facts
from contracts.pages.faults import PageRefused
from contracts.pages.limits import Gas

TRACED_MAX = 16
"""Pages that a package has traced again, the newest of its history."""
GAS_MAX = 100_000_000
"""Gas of all pages of a package together, some 7 seconds: proposals that took more are only told of."""
STATEMENT_LINES_MAX, STATEMENT_CHARS_MAX = 64, 1_024
"""Lines of a leakage statement in the report, and characters of each."""
_CONTRACTS = frozenset({"datasets", "jobs", "programs"})
_TELLS = {"jobs.JobProposed": "job", "programs.ProgramProposed": "program"}


@dataclass(frozen=True, slots=True)
class Held:
    """What a package proves of the state at its last height, and of what transactions did."""

    rows: Mapping[tuple[str, bytes], Value]
    """(contract, state key) -> value, None for an absence that is proved."""
    declared: Mapping[bytes, Value]
    """Those of the contract `datasets`, by state key."""
    caused: Mapping[bytes, Caused]
    """By transaction."""

    def row(self, one: PageProposal, contract: str, name: str, key: Value) -> Any:
        """Return a row that a proposal is held against; raise ProofInvalid where the package lacks it."""
        place = (contract, map_key(name, key))
        if place not in self.rows:
            said = key.hex() if type(key) is bytes else str(key)
            raise ProofInvalid(f"{one.subject}: {contract}.{name}[{shown(said)}] is not in the package")
        return self.rows[place]


def held_by(contents: Contents) -> Held:
    """Return what a package shows, whose proofs its reader has checked."""
    rows = {
        (namespace, key): value_of(value)
        for (height, namespace, key), value in contents.states.items()
        if height == contents.last and namespace in _CONTRACTS
    }
    declared = {key: value for (contract, key), value in rows.items() if contract == schemas.CONTRACT}
    return Held(rows, declared, contents.caused)


@dataclass(frozen=True, slots=True)
class PageProposal:
    """A proposal that names a page and its plan: of a job, or of a program."""

    subject: str
    """"job:ID" or "program:ID"."""
    page: bytes
    plan: bytes
    by: str
    """The organisation that proposed it."""
    entry: EventEntry
    inputs: tuple[schemas.VersionUsed, ...]

    @property
    def is_job(self) -> bool:
        """Whether a job is proposed."""
        return self.subject.startswith("job:")

    @property
    def ident(self) -> str:
        """The id of the job or program."""
        return self.subject.partition(":")[2]


@dataclass(frozen=True, slots=True)
class Retraced:
    """What tracing a page again came to."""

    subject: str
    lines: tuple[str, ...]
    """For the report."""
    fault: str = ""
    """What differs from the ledger, "" for nothing."""
    traced: bool = True

    def require(self) -> None:
        """Raise ProofInvalid if something differs."""
        if self.fault:
            raise ProofInvalid(self.fault)


def proposed(entries: Iterable[EventEntry]) -> list[PageProposal]:
    """Return the newest TRACED_MAX proposals of a history that name a page; raise ProofInvalid."""
    found = [one for entry in entries if (one := _proposal(entry)) is not None]
    return found[-TRACED_MAX:]


def _proposal(entry: EventEntry) -> PageProposal | None:
    event = entry.event
    kind = _TELLS.get(f"{event.contract}.{event.name}")
    if kind is None or entry.height == 0:
        return None
    try:
        fields = decode_value(event.fields, max_bytes=RESULT_BYTES_MAX)
        subject, page, plan, by = fields[kind], fields["page"], fields["plan"], fields["by"]
        well = type(subject) is type(by) is str and subject.startswith(kind + ":")
    except (DecodeError, KeyError, TypeError):
        well = False
    if not well or type(page) is not bytes or type(plan) is not bytes:
        raise ProofInvalid(f"{event.contract}.{event.name} at height {entry.height}: not as it is told")
    if not page:
        return None
    inputs = schemas.versions_named(entry) if kind == "job" else []
    return PageProposal(subject, page, plan, by.removeprefix("org:"), entry, tuple(inputs))


def retrace(contents: Contents) -> list[Retraced]:
    """Trace the pages that a package names again; return what it came to, the oldest first.

    The newest are traced first, as long as GAS_MAX lasts. A proposal paid for its tracing, so its receipt
    bounds what tracing again may take. Raise ProofInvalid for events that are not as they are told.
    """
    found = proposed(contents.entries)
    if not found:
        return []
    held, left, results = held_by(contents), GAS_MAX, list[Retraced]()
    for one in reversed(found):
        gas = held.caused[one.entry.tx_id].gas_used
        if gas > left:
            said = f"not traced again: its proposal took {gas} gas, {left} of {GAS_MAX} were left"
            results.append(Retraced(one.subject, (f"- {shown(one.subject)}: {said}",), traced=False))
            continue
        left -= gas
        results.append(_tried(one, Gas(gas), held))
    return results[::-1]


def _tried(one: PageProposal, gas: Gas, held: Held) -> Retraced:
    try:
        return Retraced(one.subject, tuple(_lines(one, _check(one, gas, held))))
    except ProofInvalid as error:
        return Retraced(one.subject, (), str(error))
    except (AttributeError, KeyError, TypeError, ValueError) as odd:
        return Retraced(
            one.subject, (), f"{one.subject}: a row is not as its contract keeps it ({odd!r})"[:300]
        )


def _check(one: PageProposal, gas: Gas, held: Held) -> str:
    """Return the leakage statement of a plan that is the ledger's, "" for a page that left the ledger."""
    text = held.row(one, pages.CONTRACT, pages.TEXTS, one.page)
    if text is None and not one.is_job:
        return ""
    if type(text) is not str:
        raise ProofInvalid(f"{one.subject}: the ledger does not have its page {one.page.hex()[:16]}")
    spec = _spec(one, held) if one.is_job else None
    declared: Value = [] if spec is None else [_declared(one, item, held) for item in spec["inputs"]]
    try:
        if spec is None:
            facts, leakage = stated_facts(text, [], {}, gas)
        else:
            facts, leakage = stated_facts(text, declared, spec["parameters"], gas, one.by)
    except PageRefused as refused:
        raise ProofInvalid(f"{one.subject}: its page cannot be traced: {refused}"[:600]) from None
    except OutOfGas:
        raise ProofInvalid(
            f"{one.subject}: its page takes more gas to trace than its proposal took"
        ) from None
    _differs(one, "page", one.page, facts["page"])
    _differs(one, "plan", one.plan, facts["plan"])
    if spec is None:
        _check_facts(one, facts, held.row(one, "programs", "facts", one.page))
    else:
        _check_spec(one, spec, facts)
        _check_certificate(one, spec, facts, held.row(one, "jobs", "certificates", one.ident))
    return leakage


def _spec(one: PageProposal, held: Held) -> dict[str, Any]:
    spec: Any = held.row(one, "jobs", "specs", one.ident)
    if type(spec) is not dict or sha256(encode_value(spec)).hexdigest() != one.ident:
        raise ProofInvalid(f"{one.subject}: the spec in the package is of another job")
    for name, told in (("page", one.page), ("plan", one.plan)):
        _differs(one, f"{name} of its spec", spec.get(name), told)
    found: dict[str, Any] = spec
    return found


def _declared(one: PageProposal, item: dict[str, Any], held: Held) -> Value:
    """Return what tracing needs of an input, as the contract `datasets` tells it (`declared_of`)."""
    names = tuple(item["columns"])
    version = schemas.VersionUsed(item["dataset"], item["version"], names)
    schemas.check_version(version, held.declared)
    owner, seal, key = schemas.key_of(version, held.declared)
    columns: dict[str, Value] = {}
    for name in names:
        column: Any = held.declared[map_key("columns", (owner, seal, name))]
        if type(column) is not dict:
            raise ProofInvalid(f"{one.subject}: {item['dataset']} declares no column {shown(name)}")
        categories, bins = len(column["categories"]), max(len(column["edges"]) - 1, 0)
        more = categories > 0 and column["missing"] == "category"
        bounds = [column["low"], column["high"]]
        columns[name] = [column["type"], categories + more, bins, *bounds, column["missing"]]
    return {"name": item["name"], "owner": owner, "key": key, "columns": columns}


def _check_spec(one: PageProposal, spec: dict[str, Any], facts: dict[str, Any]) -> None:
    for item in spec["inputs"]:
        _differs(one, f"uses of {item['name']}", item["columns"], facts["uses"].get(item["name"]))
    _differs(one, "receivers", sorted(spec["receivers"]), facts["receivers"])
    if spec["profile"] not in facts["profiles"]:
        raise ProofInvalid(f"{one.subject}: its profile cannot run the plan: {shown(spec['profile'])}")


def _check_certificate(one: PageProposal, spec: dict[str, Any], facts: dict[str, Any], row: Any) -> None:
    if row is None:
        return
    body = row["body"]
    if sha256(encode_value(body)).digest() != row["digest"]:
        raise ProofInvalid(f"{one.subject}: its certificate has another digest than its body")
    wanted = {name: spec[name] for name in ("program", "purpose", "profile", "min_group", "receivers")}
    wanted |= {"job": one.ident, "page": one.page, "plan": facts["plan"]}
    wanted["parameters"] = sha256(encode_value(spec["parameters"])).digest()
    for name, value in wanted.items():
        _differs(one, f"{name} of its certificate", body.get(name), value)
    inputs = [[item["grant"], item["dataset"], item["version"]] for item in spec["inputs"]]
    signed = [[item["grant"], item["dataset"], item["version"]] for item in body["inputs"]]
    _differs(one, "inputs of its certificate", signed, inputs)
    _differs(one, "receivers of results", sorted(body["results"]), facts["receivers"])


def _check_facts(one: PageProposal, facts: dict[str, Any], row: Any) -> None:
    """What members voted on is what follows; a page that left the ledger took its facts along."""
    held = row if type(row) is dict else {}
    for name in ("page", "plan", "uses", "receivers", "membership", "charges"):
        _differs(one, f"{name} in the facts that members voted on", held.get(name), facts[name])


def _differs(one: PageProposal, what: str, told: object, follows: object) -> None:
    if told != follows:
        raise ProofInvalid(f"{one.subject}: {what}: {_brief(told)} on the ledger, {_brief(follows)} follows")


def _brief(value: object) -> str:
    return shown(value.hex()[:16] if type(value) is bytes else str(value))[:200]


def _lines(one: PageProposal, leakage: str) -> list[str]:
    said = leakage.splitlines()
    head = f"- {shown(one.subject)}: page {one.page.hex()}, plan {one.plan.hex()}"
    if not said:
        return [f"{head}: the page left the ledger undecided, with its facts"]
    lines = [head, *[f"    {one_line(line)[:STATEMENT_CHARS_MAX]}" for line in said[:STATEMENT_LINES_MAX]]]
    more = len(said) - STATEMENT_LINES_MAX
    return [*lines, f"    and {counted(more, 'line')} more"] if more > 0 else lines


def report_lines(results: Sequence[Retraced]) -> list[str]:
    """Return the report's section about plans; none where no proposal names a page."""
    if not results:
        return []
    return [
        "Plans",
        "",
        "Each was traced again from its page, its parameters and the declared columns: "
        "plan, uses and receivers are those on the ledger.",
        *[line for one in results for line in one.lines],
    ]
