"""The plain-language report inside an audit package: a pure function of what the package proves.

Because it is recomputed from the proofs when the package is verified, its text cannot say anything else.
"""

from __future__ import annotations

from collections.abc import Sequence

from chain.audit.acts import report_lines as act_lines
from chain.audit.pages import left_out
from chain.audit.plans import Retraced
from chain.audit.plans import report_lines as plan_lines
from chain.audit.records import Contents, StateAt
from chain.audit.schemas import column_line
from chain.audit.skips import report_lines
from chain.audit.text import HEADING, shown, text_lines, utc
from chain.audit.trail import GENESIS, TrailRow, make_row, org_of
from chain.ledger import schedule
from chain.ledger.block import transaction_id
from chain.ledger.genesis import Validator
from chain.primitives.certificate import quorum
from chain.primitives.codec import decode
from chain.primitives.errors import DecodeError, ProofInvalid
from chain.primitives.jsonvalue import to_json
from chain.primitives.runtimeport import map_key
from chain.primitives.values import Value, decode_value
from chain.primitives.words import counted

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


def write_report(contents: Contents, retraced: Sequence[Retraced]) -> str:
    """Return the report's text; raise ProofInvalid when the contents do not fit together.

    `retraced` is what tracing the pages again came to.
    """
    rows = package_rows(contents)
    sections = (
        _head(contents, rows),
        _list("What this package proves", PROVES),
        _list("What it cannot prove", CANNOT_PROVE),
        _parties(rows),
        ["History", "", HEADING, *text_lines(rows)] if rows else ["History", "", "No event in this range."],
        report_lines(contents),
        act_lines(contents),
        _records(contents),
        _columns(contents),
        plan_lines(retraced),
        left_out(contents.entries),
        _sources(contents),
        _validators(contents),
    )
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def package_rows(contents: Contents) -> list[TrailRow]:
    """Return the trail that a package holds; raise ProofInvalid for an entry without its transaction."""
    placed = {transaction_id(item.transaction.body): item for item in contents.transactions}
    orgs: dict[bytes, str] = {}
    keys = {(item.namespace, item.key): item for item in contents.states}
    rows = []
    for entry in contents.entries:
        found = placed.get(entry.tx_id)
        if entry.height == 0:
            rows.append(make_row(contents.subject, entry, contents.genesis.time, GENESIS, b"", ""))
            continue
        if found is None:
            raise ProofInvalid(f"entry at height {entry.height}: its transaction is not in the package")
        body = found.transaction.body
        if body.sender not in orgs:
            orgs[body.sender] = _org(contents, keys, body.sender)
        time = contents.header(entry.height, "an entry").headers[0].time
        call = f"{body.contract}.{body.method}"
        rows.append(make_row(contents.subject, entry, time, orgs[body.sender], body.sender, call))
    return rows


def _org(contents: Contents, keys: dict[tuple[str, bytes], StateAt], sender: bytes) -> str:
    found = keys.get(("orgs", map_key("keys", sender.hex())))
    if found is None:
        raise ProofInvalid(f"key {sender.hex()[:16]}: the package does not show whose it is")
    return org_of(contents.proved_state(found), sender)


def _head(contents: Contents, rows: list[TrailRow]) -> list[str]:
    title = f"Audit package: {shown(contents.subject)}"
    lines = [
        title,
        "=" * len(title),
        "",
        f"chain      {shown(contents.genesis.chain_name)} ({contents.genesis.chain_id.hex()})",
        f"heights    {contents.first}..{contents.last}",
        f"events     {len(rows)}",
        f"callers    {counted(len(contents.transactions), 'transaction')}",
    ]
    if rows:
        lines.append(f"period     {utc(rows[0].time)} .. {utc(rows[-1].time)} UTC")
    return lines


def _list(title: str, items: tuple[str, ...]) -> list[str]:
    return [title, "", *[f"- {item}" for item in items]]


def _parties(rows: list[TrailRow]) -> list[str]:
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        counts[(row.org, row.key)] = counts.get((row.org, row.key), 0) + 1
    lines = [
        f"- {shown(org)}: {counted(count, 'event')}, key {key or '-'}"
        for (org, key), count in sorted(counts.items())
    ]
    return ["Who acted", "", *(lines or ["- nobody"])]


def _columns(contents: Contents) -> list[str]:
    """List what owners declare of columns, under the seal of their schema."""
    lines: list[str] = []
    last = ""
    for item in contents.states:
        name, key = _place(item)
        if (item.namespace, name) == ("datasets", "columns") and item.value is not None:
            head = f"schema {key[1].hex()} of {shown(key[0])}"
            lines += [] if head == last else [head]
            lines.append(f"    {shown(column_line(to_json(_value(item))))}")
            last = head
    return ["Declared columns", "", *lines] if lines else []


def _records(contents: Contents) -> list[str]:
    """List the records at the last height but those that have a section of their own."""
    lines = []
    for item in contents.states:
        name, key = _place(item)
        if item.height != contents.last or (item.namespace, name) in (
            ("lifecycle", "sources"),
            ("orgs", "keys"),
            ("datasets", "parts"),
            ("datasets", "columns"),
            (schedule.NAMESPACE, schedule.SETS),
        ):
            continue
        lines.append(f"{item.namespace}.{name}[{shown(to_json(key))}]")
        value = to_json(_value(item))
        if value is None:
            lines.append("    absent")
        elif isinstance(value, dict):
            lines += [f"    {shown(field)} = {shown(part)}" for field, part in value.items()]
        else:
            lines.append(f"    {shown(value)}")
    return [f"Records at height {contents.last}", "", *(lines or ["none"])]


def _sources(contents: Contents) -> list[str]:
    """List each contract's versions, one line where the version or its status changes."""
    found: list[tuple[str, int, str]] = []
    for item in contents.states:
        name, key = _place(item)
        value = _value(item)
        if (item.namespace, name) == ("lifecycle", "active") and isinstance(value, dict):
            version = f"{_version(value)}, {shown(value.get('status'))}"
            following = value.get("next")
            if isinstance(following, dict) and following:
                version += f"; from height {shown(following.get('active_at'))} {_version(following)}"
            found.append((shown(to_json(key)), item.height, version))
    lines: list[str] = []
    last = ("", "")
    for name, height, version in sorted(found):
        if (name, version) != last:
            lines.append(f"- {name}: {version}, seen at height {height}")
        last = (name, version)
    heading = "Contracts in force (their sources are in the part `states`, under lifecycle.sources)"
    return [heading, "", *(lines or ["- none"])]


def _version(value: dict[str, Value]) -> str:
    source = value.get("source_hash")
    text = source.hex() if isinstance(source, bytes) else "?"
    return f"version {shown(value.get('seq'))}, source {text}{_libraries(value.get('libraries'))}"


def _libraries(named: object) -> str:
    """Return the libraries of a version, each as `, library roles 3f…`."""
    found = named.items() if isinstance(named, dict) else []
    return "".join(f", library {shown(name)} {item.hex()}" for name, item in found if isinstance(item, bytes))


def _validators(contents: Contents) -> list[str]:
    lines = []
    window = contents.genesis.limits.consensus_window
    for span in contents.validators:
        nodes = (
            nodes_of_set(contents, span.from_height, span.from_height - window)
            if span.from_height
            else contents.genesis.validators
        )
        needed = quorum(len(span.validators))
        lines.append(
            f"from height {span.from_height}: {needed} of these {len(span.validators)} certify a header"
        )
        lines += [f"- {shown(node.name)} ({shown(node.org)}): {node.public_key.hex()}" for node in nodes]
    return ["Validators", "", *lines]


def nodes_of_set(contents: Contents, first: int, height: int) -> tuple[Validator, ...]:
    """Return the nodes of the set in force from `first`, as the state of the announcing height says."""
    key = map_key(schedule.SETS, first.to_bytes(8, "big"))
    for item in contents.states:
        if (item.namespace, item.key, item.height) == (schedule.NAMESPACE, key, height) and item.value:
            return decode(schedule.ValidatorSet, item.value).validators
    raise ProofInvalid(f"validators from height {first}: the package does not show whose nodes they are")


def _place(item: StateAt) -> tuple[str, Value]:
    """Return (Map, key) of a contract's state entry; ("?", raw key) when it is not a Map's."""
    name, slash, raw = item.key.partition(b"/")
    try:
        return (name.decode(), decode_value(raw, max_bytes=len(raw))) if slash else ("?", item.key)
    except (DecodeError, UnicodeDecodeError):
        return "?", item.key


def _value(item: StateAt) -> Value:
    return None if item.value is None else decode_value(item.value, max_bytes=len(item.value))
