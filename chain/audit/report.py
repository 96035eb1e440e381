"""The plain-language report of an audit package: a pure function of what the package proves, nothing cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chain.audit.acts import report_lines as act_lines
from chain.audit.freshness import Freshness
from chain.audit.plans import Retraced
from chain.audit.plans import report_lines as plan_lines
from chain.audit.records import Contents
from chain.audit.schemas import column_line
from chain.audit.skips import report_lines
from chain.audit.summary import first_page
from chain.audit.text import HEADING, text_lines, utc, whole
from chain.audit.trail import GENESIS, TrailRow, make_row, org_named, place_of, value_of
from chain.ledger.subjects import NAMESPACE as SUBJECTS
from chain.primitives.certificate import quorum
from chain.primitives.errors import ProofInvalid
from chain.primitives.jsonvalue import to_json
from chain.primitives.runtimeport import map_key
from chain.primitives.values import Value
from chain.primitives.visible import visible
from chain.primitives.words import counted

_ELSEWHERE = frozenset(
    {
        ("lifecycle", "sources"),
        ("orgs", "keys"),
        ("datasets", "parts"),
        ("datasets", "columns"),
    }
)
"""Entries that have a section of their own, or are used in others."""
PROVES = (
    "These are all the events of the subject at these heights, in order: none is missing, added or changed "
    "(the rolling hash of its log in the certified state, before and after).",
    "Each event was caused by the transaction shown, signed by the key shown, which the ledger listed for "
    "the organisation shown.",
    "Each transaction was ordered and executed where it is shown, under a header that a quorum of the "
    "validators signed.",
    "The records and contract sources shown are the ledger's own at the heights shown.",
    "A transaction that did not run because no node could execute its block was skipped by a quorum of the "
    "validators of that height, for the reason shown.",
    "An act that several keys saw was called by so many distinct keys of its organisation, with the same "
    "arguments, within three days: that is counted from the transactions, not taken from the contract.",
)
CANNOT_PROVE = (
    "Whether data was true. Roots and commitments prove that the same data was used as was committed to, "
    "not that it was correct, complete or lawfully collected.",
    "Whether a computation was carried out correctly, where its profile protects against semi-honest "
    "parties only: transcripts that agree show that both ends saw the same messages, no more.",
    "What happened outside the ledger: data copied, shown or used without it leaves no trace here.",
    "Who held a key. A signature shows that the key was used, not by whom, nor that it was not stolen, nor "
    "that two keys were in two hands.",
    "What an event marked FOREIGN says. Its contract does not speak for this subject: it is proved that the "
    "contract announced it, called by the key shown, not that it is so.",
    "Exact times. A block's time is the primary's clock within the bound that the validators check.",
    "Anything if more than a third of one of the sets of validators shown conspired, then or later with the "
    "keys they had: they could certify another history.",
    "The history of other subjects. Records of related subjects are shown as they stood at the last height; "
    "their own histories need their own packages.",
    "What happened after the last height.",
)


def write_report(contents: Contents, retraced: Sequence[Retraced], fresh: Freshness | None = None) -> str:
    """Return the report's text; raise ProofInvalid when the contents do not fit together.

    `retraced` is what tracing the pages again came to, `fresh` what head statements did.
    """
    rows = package_rows(contents)
    history = list(text_lines(rows, whole)) or ["No event in this range."]
    sections = (
        _head(contents, rows),
        *[_list(title, lines) for title, lines in first_page(contents, rows, fresh)],
        _list("What this package proves", PROVES),
        _list("What it cannot prove", CANNOT_PROVE),
        _parties(rows),
        ["History", "", *([HEADING] if rows else []), *history],
        report_lines(contents),
        act_lines(contents),
        _records(contents),
        _columns(contents),
        plan_lines(retraced),
        _sources(contents),
        _validators(contents),
    )
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def package_rows(contents: Contents) -> list[TrailRow]:
    """Return the trail that a package holds; raise ProofInvalid for an entry without its transaction."""
    orgs: dict[bytes, str] = {}
    rows = []
    for entry in contents.entries:
        if entry.height == 0:
            rows.append(make_row(contents.subject, entry, contents.genesis.time, GENESIS, b"", ""))
            continue
        found = contents.caused.get(entry.tx_id)
        if found is None:
            raise ProofInvalid(f"entry at height {entry.height}: its transaction is not in the package")
        if found.sender not in orgs:
            orgs[found.sender] = _org(contents, found.sender)
        time = contents.time(entry.height, f"entry at height {entry.height}")
        call = f"{found.contract}.{found.method}"
        rows.append(make_row(contents.subject, entry, time, orgs[found.sender], found.sender, call))
    return rows


def _org(contents: Contents, sender: bytes) -> str:
    place = (contents.last, "orgs", map_key("keys", sender.hex()))
    if place not in contents.states:
        raise ProofInvalid(f"key {sender.hex()[:16]}: the package does not show whose it is")
    return org_named(contents.states[place], sender)


def _head(contents: Contents, rows: list[TrailRow]) -> list[str]:
    title = f"Audit package: {whole(contents.subject)}"
    reached = utc(contents.time(contents.last, "last height"))
    lines = [
        title,
        "=" * len(title),
        "",
        f"chain      {whole(contents.genesis.chain_name)} ({contents.genesis.chain_id.hex()})",
        f"heights    {contents.first}..{contents.last}, complete up to {reached} UTC",
        f"events     {len(rows)}, caused by {counted(len(contents.caused), 'transaction')}",
        f"content    {contents.content_hash.hex()}",
    ]
    if rows:
        lines.append(f"period     {utc(rows[0].time)} .. {utc(rows[-1].time)} UTC")
    return lines


def _list(title: str, items: Sequence[str]) -> list[str]:
    return [title, "", *[f"- {item}" for item in items]]


def _parties(rows: list[TrailRow]) -> list[str]:
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        counts[(row.org, row.key)] = counts.get((row.org, row.key), 0) + 1
    lines = [
        f"- {whole(org)}: {counted(count, 'event')}, key {key or '-'}"
        for (org, key), count in sorted(counts.items())
    ]
    return ["Who acted", "", *(lines or ["- nobody"])]


def _columns(contents: Contents) -> list[str]:
    """List what owners declare of columns, under the seal of their schema."""
    lines: list[str] = []
    last = ""
    for (_, namespace, key), value in contents.states.items():
        name, at = place_of(key)
        if (namespace, name) == ("datasets", "columns") and value is not None:
            head = f"schema {at[1].hex()} of {whole(at[0])}"
            lines += [] if head == last else [head]
            lines.append(f"    {whole(column_line(to_json(value_of(value))))}")
            last = head
    return ["Declared columns", "", *lines] if lines else []


def _records(contents: Contents) -> list[str]:
    """List the records at the last height but those that have a section of their own."""
    lines = []
    for (height, namespace, key), raw in contents.states.items():
        name, at = place_of(key)
        if height != contents.last or namespace == SUBJECTS or (namespace, name) in _ELSEWHERE:
            continue
        lines.append(f"{namespace}.{name}[{whole(to_json(at))}]")
        value = to_json(value_of(raw))
        if value is None:
            lines.append("    absent")
        elif isinstance(value, dict):
            lines += [f"    {whole(field)} = {whole(part)}" for field, part in value.items()]
        else:
            lines.append(f"    {whole(value)}")
    return [f"Records at height {contents.last}", "", *(lines or ["none"])]


def records_json(contents: Contents) -> list[dict[str, Any]]:
    """Return every state entry that a package proves, as JSON values."""
    found = []
    for (height, namespace, key), raw in contents.states.items():
        if namespace != SUBJECTS:
            name, at = place_of(key)
            entry = {"height": height, "contract": namespace, "entry": name, "key": to_json(at)}
            found.append(entry | {"value": to_json(value_of(raw))})
    return found


def _sources(contents: Contents) -> list[str]:
    """List each contract's versions, one line where the version or its status changes; then their sources."""
    found: list[tuple[str, int, str]] = []
    texts: list[str] = []
    for (height, namespace, key), raw in contents.states.items():
        name, at = place_of(key)
        value = value_of(raw) if namespace == "lifecycle" else None
        if name == "active" and isinstance(value, dict):
            version = f"{_version(value)}, {whole(value.get('status'))}"
            following = value.get("next")
            if isinstance(following, dict) and following:
                version += f"; from height {whole(following.get('active_at'))} {_version(following)}"
            found.append((whole(to_json(at)), height, version))
        if name == "sources" and isinstance(value, str):
            texts += ["", f"source {at.hex()}", *[f"    {line}" for line in visible(value).split("\n")]]
    lines: list[str] = []
    last = ("", "")
    for name, height, version in sorted(found):
        if (name, version) != last:
            lines.append(f"- {name}: {version}, seen at height {height}")
        last = (name, version)
    return [
        "Contracts in force (genesis has the sources that are not shown here)",
        "",
        *(lines or ["- none"]),
        *texts,
    ]


def _version(value: dict[str, Value]) -> str:
    source = value.get("source_hash")
    text = source.hex() if isinstance(source, bytes) else "?"
    return f"version {whole(value.get('seq'))}, source {text}{_libraries(value.get('libraries'))}"


def _libraries(named: object) -> str:
    """Return the libraries of a version, each as `, library roles 3f…`."""
    found = named.items() if isinstance(named, dict) else []
    return "".join(f", library {whole(name)} {item.hex()}" for name, item in found if isinstance(item, bytes))


def _validators(contents: Contents) -> list[str]:
    lines = []
    for span in contents.spans:
        needed = quorum(len(span.nodes))
        lines.append(f"from height {span.first}: {needed} of these {len(span.nodes)} certify a header")
        lines += [f"- {whole(node.name)} ({whole(node.org)}): {node.public_key.hex()}" for node in span.nodes]
    return ["Validators", "", *lines]
