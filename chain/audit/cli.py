"""`assent audit`: what happened to a subject, as a list or as a file that proves it."""

from __future__ import annotations

import datetime
import shlex
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import click

from chain.audit.compare import compare
from chain.audit.expectation import Expectation
from chain.audit.freshness import stale
from chain.audit.heads import Heard, catch_up, gather_heads, reach_json, reach_text
from chain.audit.html import html_report
from chain.audit.package import build_package
from chain.audit.records import Contents
from chain.audit.report import package_rows, records_json
from chain.audit.summary import first_page
from chain.audit.text import HEADING, csv_text, json_row, text_lines, utc
from chain.audit.trail import Filters, Trail, read_trail
from chain.audit.verify import Verdict, VerificationReport, verify, verify_bytes
from chain.client.access import NodeAccess
from chain.client.client import Client
from chain.client.console import json_option, print_json, print_lines, print_text, reports_errors
from chain.client.options import NoSession, Session, run, session_options
from chain.primitives.errors import Exit, FileThere
from chain.primitives.files import write_new
from chain.primitives.words import counted

EXITS = {Verdict.VALID: 0, Verdict.INVALID: Exit.DAMAGED, Verdict.UNREADABLE: Exit.IO, Verdict.FOREIGN: 6}
"""How `audit verify` ends."""
WORDS = {
    Verdict.INVALID: "NOT VALID",
    Verdict.UNREADABLE: "UNREADABLE",
    Verdict.FOREIGN: "OF ANOTHER CHAIN",
}
STALE, INCOMPLETE = 4, 5
"""How a command ends whose answer is older, or reaches less far, than was asked for."""
DAY_MS = 86_400_000
heads_option = click.option(
    "--head",
    "heads",
    metavar="URL",
    multiple=True,
    help="Ask this node, too, how far the chain is; a quorum of validators tells how fresh the answer is.",
)
max_age_option = click.option(
    "--max-age",
    type=click.IntRange(1),
    metavar="SECONDS",
    help=f"End with {STALE} if what is shown is not known to be so fresh.",
)


@click.group()
def audit() -> None:
    """Ask what happened to a dataset, grant, job, organisation or contract, and prove it.

    A SUBJECT is dataset:OWNER/NAME, grant:REQUESTER/NAME, job:ID, org:ID, program:ID, contract:ID, node:NAME,
    proposal:N or params:KIND.
    """


@audit.command("trail")
@click.argument("subject")
@click.option("--from", "start", metavar="H|TIME", help="First height, or UTC time, 2026-01-31T12:00.")
@click.option("--to", "end", metavar="H|TIME", help="Last height, or time; a day means until its end.")
@click.option("--kind", "kinds", multiple=True, help="Only this event: Event or contract.Event.")
@click.option("--org", "orgs", multiple=True, help="Only what this organisation did or is named in.")
@heads_option
@max_age_option
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "csv"]), default="text", show_default=True
)
@json_option
@reports_errors
@session_options
def show_trail(
    subject: str,
    start: str | None,
    end: str | None,
    kinds: tuple[str, ...],
    orgs: tuple[str, ...],
    heads: tuple[str, ...],
    max_age: int | None,
    form: str,
    as_json: bool,
    session: Session,
) -> None:
    """Print every event of SUBJECT in order: when, who, what, why.

    With a genesis (--genesis, or --as) every line is proved, and so is that none is missing up to the height
    that is told. FOREIGN marks the word of a contract that does not speak for SUBJECT: any contract may write
    into any history. A node may hold less than there is: with --head, name the nodes of other validators, and
    with --max-age, how old the answer may be.

    \b
    assent audit trail dataset:bank/credit --as consortium/bank
    assent audit trail grant:bureau/g1 --as consortium/bank --from 2026-01-01 --kind GrantRevoked --format csv
    """
    filters = _filters(start, end, kinds, orgs)
    found, of, heard = run(_trail(session, subject, filters, heads))
    reach, rows = found.reach, found.rows
    stale_why = heard.stale(reach, _now(), max_age)
    if as_json or form == "json":
        told = reach_json(reach) | heard.json(reach) | {"stale": stale_why, "events": of}
        print_json({"subject": subject, **told, "rows": [json_row(row, reach.proved) for row in rows]})
    elif form == "csv":
        print_lines(csv_text(rows, reach.proved), newline=False)
    else:
        print_lines("\n".join([HEADING, *text_lines(rows)]))
    if not as_json and form != "json":
        proved = "each proved, none missing" if reach.proved else "as the node says; give --genesis for proof"
        print_text(f"{summary(len(rows), of, filters)} ({proved})", err=True)
        print_text(reach_text(reach), err=True)
        for line in heard.lines(reach):
            print_text(line, err=True)
    if stale_why:
        print_text(f"STALE: {stale_why}", err=True)
        sys.exit(STALE)


@audit.command("export")
@click.argument("subject")
@click.option("--from", "first", type=click.IntRange(0), default=0, help="First height.  [default: 0]")
@click.option("--to", "last", type=click.IntRange(0), help="Last height.  [default: the newest certified]")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write.")
@heads_option
@max_age_option
@json_option
@reports_errors
@session_options
def export(
    subject: str,
    first: int,
    last: int | None,
    output: Path,
    heads: tuple[str, ...],
    max_age: int | None,
    as_json: bool,
    session: Session,
) -> None:
    """Write SUBJECT's history with all its proofs into one file that anyone can verify offline.

    With --head the file holds the statements of validators that tell how fresh it is. Nothing is written that
    is older than --max-age allows.

    \b
    assent audit export dataset:bank/credit -o credit.audit --as consortium/bank
    """
    if session.genesis is None:
        raise NoSession("an export is checked before it is written: give --genesis FILE or --as ORGDIR")
    if output.exists():
        raise FileThere(f"{output}: exists already; evidence is never overwritten, name another file")
    data, notes = run(_export(session, subject, first, last, heads))
    report = verify_bytes(data, session.genesis)
    report.require()
    if old := _stale(report, max_age):
        for note in notes:
            print_text(note, err=True)
        print_text(f"STALE: {old}; nothing was written", err=True)
        sys.exit(STALE)
    write_new(output, data)
    shown = {"file": str(output), "bytes": len(data), **_summary(report)}
    if as_json:
        print_json(shown)
        return
    assert report.contents is not None
    print_text(f"{output}: {len(data)} bytes; {_about(report.contents)}")
    for line in [_fresh(report), *notes]:
        print_text(line)
    print_text(f"proofs: {_counts(report)}")
    print_text(f"next: assent audit verify {shlex.quote(str(output))} --genesis GENESIS")


@audit.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--genesis", type=click.Path(path_type=Path), required=True, help="Genesis file that you trust."
)
@click.option("--expect-subject", "subject", help="It must be about this subject.")
@click.option("--from", "start", metavar="H|TIME", help="It must begin at this height or time, or before.")
@click.option("--to", "end", metavar="H|TIME", help="It must reach this height or time, or beyond.")
@click.option("--min-height", type=click.IntRange(0), help="It must reach this height.")
@max_age_option
@json_option
@reports_errors
def verify_file(
    file: Path,
    genesis: Path,
    subject: str | None,
    start: str | None,
    end: str | None,
    min_height: int | None,
    max_age: int | None,
    as_json: bool,
) -> None:
    """Check every proof in FILE, with no node and no network; exit 0 only if all hold.

    Pages of jobs are traced again: plan, uses and receivers must be those on the ledger. Keys that saw an
    act before it was done are counted again from their transactions. Whoever gave you FILE chose its subject
    and its heights, so say what you expect. It ends with 65 if a proof breaks, 74 if the file is damaged, 6
    if it is of another chain, 4 if it is older than --max-age, 5 if it is about something else or reaches
    less far.

    \b
    assent audit verify credit.audit --genesis consortium/genesis.json
    assent audit verify credit.audit --genesis genesis.json --expect-subject dataset:bank/credit --from 0 \\
        --to 2026-11-30 --max-age 86400
    """
    began = time.perf_counter()
    report = verify(file, genesis)
    took = time.perf_counter() - began
    asked = Expectation(
        subject, _moment("--from", start, last=False), _moment("--to", end, last=True), min_height
    )
    short = asked.lacking(report) if report.ok else ""
    old = _stale(report, max_age) if report.ok else ""
    if as_json:
        told = {"seconds": round(took, 3), "lacking": short, "stale": old}
        print_json(_summary(report) | told | {"not_asked": asked.open(max_age)})
    else:
        _print_verdict(file, report)
        if report.ok:
            print_text(f"proofs: {_counts(report)}; {took:.2f} s")
            if unasked := asked.open(max_age):
                print_text(f"not asked, so not checked: {'; '.join(unasked)}")
        for word, why in (("NOT WHAT WAS ASKED FOR", short), ("STALE", old)):
            if why:
                print_text(f"{word}: {why}", err=True)
    sys.exit(EXITS[report.verdict] or (INCOMPLETE if short else STALE if old else 0))


@audit.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--genesis", type=click.Path(path_type=Path), required=True, help="Genesis file that you trust."
)
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "csv", "html"]), default="text", show_default=True
)
@reports_errors
def show_file(file: Path, genesis: Path, form: str) -> None:
    """Print all that FILE proves, nothing cut; nothing is printed of a file whose proofs do not hold.

    The text is a report for people, with a summary first, and the sources of contracts; HTML is the same as
    one file to print. JSON has every event and every record; CSV the events.

    \b
    assent audit show credit.audit --genesis consortium/genesis.json
    assent audit show credit.audit --genesis consortium/genesis.json --format html > credit.html
    """
    report = verify(file, genesis)
    contents = report.contents
    if contents is None:
        _print_verdict(file, report)
        sys.exit(EXITS[report.verdict])
    rows = package_rows(contents)
    if form == "json":
        print_json(
            _summary(report)
            | {"rows": [json_row(row, True) for row in rows], "records": records_json(contents)}
        )
    elif form == "csv":
        print_lines(csv_text(rows, True), newline=False)
    elif form == "html":
        first = first_page(contents, rows, report.freshness)
        title = f"Audit package: {contents.subject}"
        print_lines(html_report(title, first, rows, report.text), newline=False)
    else:
        print_lines(report.text, newline=False)


@audit.command("compare")
@click.argument("one", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path))
@click.option(
    "--genesis", type=click.Path(path_type=Path), required=True, help="Genesis file that you trust."
)
@json_option
@reports_errors
def compare_files(one: Path, other: Path, genesis: Path, as_json: bool) -> None:
    """Say whether two packages have the same content, or can be of one history.

    Both are verified first. Validators that conspire can certify two histories, and each package is valid
    then: two headers of one height show it, and end with 65.

    \b
    assent audit compare mine.audit theirs.audit --genesis consortium/genesis.json
    """
    found: list[Contents] = []
    for file in (one, other):
        report = verify(file, genesis)
        if report.contents is None:
            _print_verdict(file, report)
            sys.exit(EXITS[report.verdict])
        found.append(report.contents)
    said = compare(*found)
    if as_json:
        forks = [{"height": height, "one": a.hex(), "other": b.hex()} for height, a, b in said.forks]
        print_json(
            {"agree": said.agree, "same": said.same, "content": [item.content_hash.hex() for item in found]}
            | {"shared": said.shared, "forks": forks, "contradictions": list(said.contradictions)}
        )
    else:
        for item, name in zip(found, (one, other), strict=True):
            print_text(f"{name}: {_about(item)}")
        for line in said.lines():
            print_text(line, err=not said.agree)
    sys.exit(0 if said.agree else Exit.DAMAGED)


async def _trail(
    session: Session, subject: str, filters: Filters, heads: tuple[str, ...]
) -> tuple[Trail, int, Heard]:
    """Return the trail that the filters keep, how many events there are without them, and what was heard.

    Who else is asked is asked first: what the node shows afterwards should reach as far.
    """
    heights = Filters(first=filters.first, last=filters.last)
    async with session.client() as client:
        heard = await _hear(session, client, heads)
        if filters.last is None:
            await catch_up(client.proofs, heard)
        found = await read_trail(client.proofs, subject, heights, session.genesis)
    kept = tuple([row for row in found.rows if row.matches(filters)])
    return Trail(found.reach, kept), len(found.rows), heard


async def _hear(session: Session, client: Client, heads: tuple[str, ...]) -> Heard:
    """Ask the own node and others how far the chain is."""
    if session.genesis is None:
        return Heard((), ())
    access = NodeAccess(ca=session.access.ca)
    async with AsyncExitStack() as opened:
        others = [
            await opened.enter_async_context(Client(url, session.genesis, access=access)) for url in heads
        ]
        said, notes = await gather_heads([client, *others], session.genesis.chain_id)
    return Heard(tuple(said), tuple(notes))


def summary(kept: int, of: int, filters: Filters) -> str:
    """Say how many events a trail has; where filters leave none, what they asked for, among how many."""
    if kept or not of:
        return counted(kept, "event")
    asked = []
    if filters.kinds:
        asked.append(f"of kind {' or '.join(sorted(filters.kinds))}")
    if filters.orgs:
        asked.append(f"that {' or '.join(sorted(filters.orgs))} did or is named in")
    if filters.since or filters.until is not None:
        asked.append("of that time")
    return f"no event {', '.join(asked)} among {counted(of, 'event')}"


async def _export(
    session: Session, subject: str, first: int, last: int | None, heads: tuple[str, ...]
) -> tuple[bytes, list[str]]:
    """Return a package's bytes, and why nodes said nothing of the chain's head."""
    assert session.genesis is not None
    async with session.client() as client:
        heard = await _hear(session, client, heads)
        if last is None:
            await catch_up(client.proofs, heard)
        data = await build_package(client.proofs, session.genesis, subject, first, last, heard.said)
    return data, list(heard.notes)


def _filters(start: str | None, end: str | None, kinds: tuple[str, ...], orgs: tuple[str, ...]) -> Filters:
    first, since = _moment("--from", start, last=False)
    last, until = _moment("--to", end, last=True)
    return Filters(
        first=first or 0,
        last=last,
        since=since or 0,
        until=until,
        kinds=frozenset(kind.lower() for kind in kinds),
        orgs=frozenset(org.removeprefix("org:") for org in orgs),
    )


def _moment(option: str, text: str | None, *, last: bool) -> tuple[int | None, int | None]:
    """Return (height, None) or (None, milliseconds); a bare date means its first or last millisecond."""
    if text is None:
        return None, None
    if text.isascii() and text.isdigit() and len(text) < 20:
        return int(text), None
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r}: expected a height, or a time such as 2026-01-31T12:00", param_hint=option
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    whole_day = len(text) == len("2026-01-31")
    return None, round(moment.timestamp() * 1000) + (DAY_MS - 1 if last and whole_day else 0)


def _summary(report: VerificationReport) -> dict[str, Any]:
    contents = report.contents
    said: dict[str, Any] = {"verdict": report.verdict.value, "ok": report.ok}
    if contents is not None:
        said |= {
            "subject": contents.subject,
            "from": contents.first,
            "to": contents.last,
            "chain": contents.genesis.chain_id.hex(),
            "time": utc(contents.time(contents.last, "last")),
            "fresh_at": None if report.freshness is None else utc(report.freshness.as_of),
            "newest": None if report.freshness is None else report.freshness.newest,
            "events": len(contents.entries),
            "content": contents.content_hash.hex(),
            "proofs": dict(report.checked),
        }
    return said | {
        "failures": [{"part": failure.part, "reason": failure.reason} for failure in report.failures],
    }


def _about(contents: Contents) -> str:
    """Say what a valid package is about, and how far it reaches."""
    return (
        f"{contents.subject}, heights {contents.first}..{contents.last}: {_events(contents)}, complete up to "
        f"{utc(contents.time(contents.last, 'last'))} UTC; chain {contents.genesis.chain_id.hex()}; content "
        f"{contents.content_hash.hex()}"
    )


def _fresh(report: VerificationReport) -> str:
    """Say how fresh a valid package is, by the head statements that it has."""
    contents, fresh = report.contents, report.freshness
    assert contents is not None
    if fresh is None:
        return "it has no head statements: how much the chain held when it was made is not proved"
    if fresh.newest > contents.last:
        return f"when it was made, the chain had gone on to height {fresh.newest}, at {utc(fresh.as_of)} UTC"
    return f"at {utc(fresh.as_of)} UTC it held all there was, as a quorum of the validators stated"


def _now() -> int:
    return round(time.time() * 1_000)


def _stale(report: VerificationReport, max_age: int | None) -> str:
    """Return why a valid package is older than somebody allows, "" where it is not."""
    assert report.contents is not None
    return stale(report.freshness, report.contents.last, _now(), max_age)


def _events(contents: Contents) -> str:
    return counted(len(contents.entries), "event") if contents.entries else "no event of these heights"


def _counts(report: VerificationReport) -> str:
    return ", ".join(f"{count} {part}" for part, count in report.checked.items())


def _print_verdict(file: Path, report: VerificationReport) -> None:
    contents = report.contents
    if contents is not None:
        nothing = "" if contents.entries else ", and that the subject has no event at these heights is proved"
        print_text(f"{file}: every proof holds{nothing}")
        print_text(_about(contents))
        print_text(_fresh(report))
        return
    print_text(f"{file}: {WORDS[report.verdict]}; do not rely on it", err=True)
    for failure in report.failures:
        print_text(f"  {failure}", err=True)
