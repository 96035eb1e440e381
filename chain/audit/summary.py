"""The first page of a report: who may use what, what was computed, disputed and refused, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chain.audit.freshness import Freshness
from chain.audit.records import Contents
from chain.audit.text import whole
from chain.audit.trail import TrailRow, moment, place_of, value_of
from chain.primitives.jsonvalue import to_json
from chain.primitives.kinds import REFUSED
from chain.primitives.words import counted

Section = tuple[str, list[str]]
"""A title, and its lines."""


def first_page(contents: Contents, rows: Sequence[TrailRow], fresh: Freshness | None) -> list[Section]:
    """Return the sections of the first page; those without a line say that there is nothing."""
    sections = (
        ("In short", _facts(contents, rows, fresh)),
        ("Who may use what, for what, and under whose approval", list(_grants(contents))),
        ("What was computed, and to whom its results go", list(_jobs(contents))),
        ("What was disputed", list(_disputes(contents))),
        ("What was refused", [_refused(row) for row in rows if row.event.endswith(f".{REFUSED}")]),
    )
    return [(title, lines or ["nothing in this package"]) for title, lines in sections]


def _facts(contents: Contents, rows: Sequence[TrailRow], fresh: Freshness | None) -> list[str]:
    reached = moment(contents.time(contents.last, "last height"))
    lines = [
        f"This is the history of {whole(contents.subject)} on chain {whole(contents.genesis.chain_name)}, "
        f"from height {contents.first} up to height {contents.last}, which is of {reached}.",
        f"It has {counted(len(rows), 'event')}. All of them are shown, and every line is proved, but what an "
        "event marked FOREIGN says.",
    ]
    if fresh is None:
        lines.append("Whether the chain held more when this was made is not known.")
    elif fresh.newest > contents.last:
        lines.append(f"At {moment(fresh.as_of)} the chain had gone on to height {fresh.newest}.")
    else:
        lines.append(
            f"At {moment(fresh.as_of)} the chain held no more, as a quorum of the validators stated."
        )
    return lines


def _grants(contents: Contents) -> Iterator[str]:
    standing = dict(_records(contents, "grants", "standing"))
    for ident, terms in _records(contents, "grants", "grants"):
        stands = standing.get(ident, {})
        reason = f" ({whole(stands['reason'])})" if stands.get("reason") else ""
        approved = _names(stands.get("approvals")) or "nobody"
        status = whole(stands.get("status", "requested"))
        uses, basis = _uses(terms.get("columns")), _said(terms, "legal_basis") or "none named"
        yield (
            f"Grant {whole(ident)}, {status}{reason}: {_said(terms, 'grantee')} may use {uses} of "
            f"{_said(terms, 'dataset')}, version {_said(terms, 'version')}, for {_said(terms, 'purpose')}; "
            f"legal basis: {basis}; results may go to {_names(terms.get('receivers'))}; "
            f"{_said(stands, 'used') or 0} of {_said(terms, 'quota_runs')} runs used; approved by {approved}."
        )


def _jobs(contents: Contents) -> Iterator[str]:
    states = dict(_records(contents, "jobs", "jobs"))
    ends = dict(_records(contents, "jobs", "ends"))
    certified = dict(_records(contents, "jobs", "certificates"))
    for ident, spec in _records(contents, "jobs", "specs"):
        job, end = states.get(ident, {}), ends.get(ident, {})
        inputs = spec.get("inputs")
        used = "; ".join(
            [_input(one) for one in (inputs if type(inputs) is list else []) if isinstance(one, dict)]
        )
        cause = f", {_said(end, 'cause')}" if end else ""
        done = "its certificate is in this package" if ident in certified else "no certificate"
        height = job.get("revealed_height")
        released = f"released at height {whole(height)}" if height else "not released"
        yield (
            f"Job {whole(ident)}, {_said(job, 'state')}{cause}: asked by {_said(job, 'initiator')}, program "
            f"{_said(spec, 'program')}, for {_said(spec, 'purpose')}; uses {used}; results for "
            f"{_names(spec.get('receivers'))}: {released}; {done}."
        )


def _input(one: Mapping[str, Any]) -> str:
    return (
        f"{_uses(one.get('columns'))} of {_said(one, 'dataset')}, version {_said(one, 'version')}, under "
        f"grant {_said(one, 'grant')}"
    )


def _disputes(contents: Contents) -> Iterator[str]:
    for key, found in _records(contents, "jobs", "disputes"):
        blamed = f", blamed: {_names(found['blamed'])}" if found.get("blamed") else ""
        by = _said(found, "by") or "the contract itself"
        which = " ".join([whole(part) for part in key]) if isinstance(key, list | tuple) else whole(key)
        yield (
            f"Job and dispute {which}, {_said(found, 'status')}{blamed}: {_said(found, 'kind')}, by {by}, "
            f"against {_names(found.get('against'))}."
        )


def _refused(row: TrailRow) -> str:
    return f"{moment(row.time)}: {whole(row.org)} called {whole(row.call)}: {whole(row.why)}."


def _records(contents: Contents, contract: str, name: str) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    """Yield key and value of the records of a Map at the last height that are there, as JSON values."""
    for key, raw in contents.at_last(contract).items():
        found, at = place_of(key)
        value = to_json(value_of(raw)) if found == name else None
        if isinstance(value, dict):
            yield at, value


def _said(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return "" if value is None else whole(value)


def _names(values: Any) -> str:
    return ", ".join([whole(value) for value in values]) if type(values) is list else ""


def _uses(columns: Any) -> str:
    if not isinstance(columns, dict) or not columns:
        return "no column"
    return ", ".join([f"{whole(name)} ({whole(use)})" for name, use in columns.items()])
