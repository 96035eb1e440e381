"""`assent audit`: what happened to a subject, as a list or as a file that proves it."""

from __future__ import annotations

import datetime
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import click

from chain.audit.package import build_package
from chain.audit.records import Contents
from chain.audit.report import package_rows, records_json
from chain.audit.text import HEADING, csv_text, json_row, text_lines, utc
from chain.audit.trail import Filters, TrailRow, trail
from chain.audit.verify import Verdict, VerificationReport, verify, verify_bytes
from chain.client.console import json_option, print_json, print_lines, print_text, reports_errors
from chain.client.options import NoSession, Session, run, session_options
from chain.ledger.proof.verifier import ProofVerifier
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
DAY_MS = 86_400_000


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
    form: str,
    as_json: bool,
    session: Session,
) -> None:
    """Print every event of SUBJECT in order: when, who, what, why.

    With a genesis (--genesis, or --as) every line is proved, and so is that none is missing. FOREIGN marks
    the word of a contract that does not speak for SUBJECT: any contract may write into any history.

    \b
    assent audit trail dataset:bank/credit --as consortium/bank
    assent audit trail grant:bureau/g1 --as consortium/bank --from 2026-01-01 --kind GrantRevoked --format csv
    """
    filters = _filters(start, end, kinds, orgs)
    rows, of = run(_rows(session, subject, filters))
    if as_json or form == "json":
        print_json([json_row(row) for row in rows])
    elif form == "csv":
        print_lines(csv_text(rows), newline=False)
    else:
        print_lines("\n".join([HEADING, *text_lines(rows)]))
        proved = (
            "each proved, none missing" if session.genesis else "as the node says; give --genesis for proof"
        )
        print_text(f"{summary(len(rows), of, filters)} ({proved})", err=True)


@audit.command("export")
@click.argument("subject")
@click.option("--from", "first", type=click.IntRange(0), default=0, help="First height.  [default: 0]")
@click.option("--to", "last", type=click.IntRange(0), help="Last height.  [default: the newest certified]")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write.")
@json_option
@reports_errors
@session_options
def export(subject: str, first: int, last: int | None, output: Path, as_json: bool, session: Session) -> None:
    """Write SUBJECT's history with all its proofs into one file that anyone can verify offline.

    \b
    assent audit export dataset:bank/credit -o credit.audit --as consortium/bank
    """
    if session.genesis is None:
        raise NoSession("an export is checked before it is written: give --genesis FILE or --as ORGDIR")
    if output.exists():
        raise FileThere(f"{output}: exists already; evidence is never overwritten, name another file")
    data = run(_export(session, subject, first, last))
    report = verify_bytes(data, session.genesis)
    report.require()
    write_new(output, data)
    shown = {"file": str(output), "bytes": len(data), **_summary(report)}
    if as_json:
        print_json(shown)
        return
    assert report.contents is not None
    print_text(f"{output}: {len(data)} bytes; {_about(report.contents)}")
    print_text(f"proofs: {_counts(report)}")
    print_text(f"next: assent audit verify {shlex.quote(str(output))} --genesis GENESIS")


@audit.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--genesis", type=click.Path(path_type=Path), required=True, help="Genesis file that you trust."
)
@json_option
@reports_errors
def verify_file(file: Path, genesis: Path, as_json: bool) -> None:
    """Check every proof in FILE, with no node and no network; exit 0 only if all hold.

    Pages of jobs are traced again: plan, uses and receivers must be those on the ledger. Keys that saw an
    act before it was done are counted again from their transactions.

    \b
    assent audit verify credit.audit --genesis consortium/genesis.json
    """
    began = time.perf_counter()
    report = verify(file, genesis)
    took = time.perf_counter() - began
    if as_json:
        print_json(_summary(report) | {"seconds": round(took, 3)})
    else:
        _print_verdict(file, report)
        if report.ok:
            print_text(f"proofs: {_counts(report)}; {took:.2f} s")
    sys.exit(EXITS[report.verdict])


@audit.command("show")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--genesis", type=click.Path(path_type=Path), required=True, help="Genesis file that you trust."
)
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "csv"]), default="text", show_default=True
)
@reports_errors
def show_file(file: Path, genesis: Path, form: str) -> None:
    """Print all that FILE proves, nothing cut; nothing is printed of a file whose proofs do not hold.

    The text is a report for people, with the sources of contracts. JSON has every event and every record;
    CSV the events.

    \b
    assent audit show credit.audit --genesis consortium/genesis.json
    assent audit show credit.audit --genesis consortium/genesis.json --format csv
    """
    report = verify(file, genesis)
    contents = report.contents
    if contents is None:
        _print_verdict(file, report)
        sys.exit(EXITS[report.verdict])
    rows = package_rows(contents)
    if form == "json":
        print_json(
            _summary(report) | {"rows": [json_row(row) for row in rows], "records": records_json(contents)}
        )
    elif form == "csv":
        print_lines(csv_text(rows), newline=False)
    else:
        print_lines(report.text, newline=False)


async def _rows(session: Session, subject: str, filters: Filters) -> tuple[list[TrailRow], int]:
    """Return the rows that the filters keep, and how many there are at these heights without the others."""
    verifier = None if session.genesis is None else ProofVerifier(session.genesis)
    heights = Filters(first=filters.first, last=filters.last)
    async with session.client() as client:
        found = [row async for row in trail(client.proofs, subject, heights, verifier)]
    return [row for row in found if row.matches(filters)], len(found)


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


async def _export(session: Session, subject: str, first: int, last: int | None) -> bytes:
    assert session.genesis is not None
    async with session.client() as client:
        return await build_package(client.proofs, session.genesis, subject, first, last)


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
    if text.isascii() and text.isdigit():
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
