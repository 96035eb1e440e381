"""Following one job on the terminal: events from the ledger, progress from our own agent's status file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chain.client.console import Shower, print_json, print_text, progress_line
from chain.client.options import Session
from chain.ledger.block import EventEntry
from chain.primitives.errors import AssentError
from chain.primitives.jsonvalue import to_json
from chain.primitives.kinds import SPEAKERS
from chain.primitives.runtimeport import RESULT_BYTES_MAX
from chain.primitives.values import decode_value
from chain.primitives.visible import one_line
from privcompute.causes import CAUSES
from privcompute.cli.amounts import EPSILON_DIGITS, show_amount
from privcompute.job.store import StatusBoard

ENDS = {
    "JobCertified": "certified",
    "JobRejected": "rejected",
    "JobAborted": "aborted",
    "JobExpired": "expired",
}
BOARD_EVERY_S = 0.3


class JobNotCertified(AssentError):
    """A job that ended without a certificate: the text says how and why."""

    code = "job_not_certified"


class WatchTimeout(AssentError):
    """The job did not end in the time given; it goes on: watch it again."""

    code = "watch_timeout"


async def watch_job(session: Session, job: str, board: Path | None, as_json: bool, timeout_s: int) -> None:
    """Print a job's events until it ends; raise JobNotCertified when it ends otherwise than certified."""
    try:
        async with asyncio.timeout(timeout_s or None):
            with contextlib.nullcontext() if as_json else progress_line("waiting for our agent") as display:
                shower = asyncio.create_task(_show_board(display, board, job))
                try:
                    end, fields = await _follow(session, job, as_json)
                finally:
                    shower.cancel()
    except TimeoutError:
        raise WatchTimeout(
            f"job {job[:12]} has not ended after {timeout_s} s; watch on: assent job watch {job[:12]}"
        ) from None
    if end != "certified":
        missing = _orgs(fields.get("missing", [])) or "nobody"
        late = f"in {fields.get('phase', '?')}, missing {missing}."
        said = reason(fields) if "cause" in fields else late
        by = str(fields.get("by", "?")).removeprefix("org:")
        raise JobNotCertified(f"job {job[:12]} {end} by {by}: {said} More: assent job why {job[:12]}")


async def _follow(session: Session, job: str, as_json: bool) -> tuple[str, dict[str, Any]]:
    async with session.client() as client:
        async for entry in client.follow(subject=f"job:{job}", from_height=0):
            fields = decode_value(entry.event.fields, max_bytes=RESULT_BYTES_MAX)
            _print_event(entry, fields, as_json)
            end = ENDS.get(entry.event.name)
            if end is not None and entry.event.contract == "jobs":
                return end, fields
    raise WatchTimeout(f"job {job[:12]}: the node ended the subscription; watch again")


def _print_event(entry: EventEntry, fields: dict[str, Any], as_json: bool) -> None:
    event = entry.event
    if as_json:
        where = {"height": entry.height, "contract": event.contract, "event": event.name}
        shown = {**where, "fields": to_json(fields)}
        print_json(shown, lines=True)
        return
    # Any contract can write into a job's history; only the ledger's own say what became of the job.
    own = event.contract in SPEAKERS["job"]
    line = describe(event.name, fields) if own else f"FOREIGN: contract {event.contract} says {event.name}"
    print_text(f"  height {entry.height:>6}  {one_line(line)}")


_SAID = {
    "JobAccepted": "{by} accepted",
    "JobReady": "all participants accepted; the agents meet, then owners commit to their inputs",
    "JobBound": "{by} committed to its inputs",
    "JobRunning": "running: every owner is bound; the runs are used when data move",
    "JoinBegun": "{by} announced that data move: the join begins",
    "StageCommitted": "{by} finished stage {stage} ({kind})",
    "TranscriptCommitted": "{by} committed its transcript",
    "JobComputed": "computed; owners approve the reveal",
    "RevealApproved": "{by} approved the reveal",
    "JobRevealed": "revealed: owners release their shares",
    "JobCommitted": "results are committed; participants sign the certificate",
    "JobSigned": "{by} signed the certificate",
    "DisputeLapsed": "dispute {number} lapsed undecided: {outcome}",
    "UsesConcerned": "{cause} of {about}: {reason}",
}
"""Event -> its line, from `by` and the event's own fields."""


def describe(name: str, fields: dict[str, Any]) -> str:
    """Return one readable line for an event of a job."""
    by = str(fields.get("by", "")).removeprefix("org:")
    if name in _SAID:
        return _SAID[name].format_map({**fields, "by": by})
    match name:
        case "JobProposed":
            program = str(fields["program"]).removeprefix("program:")
            return f"{by} proposed {program} for {fields['purpose']} under {fields['profile']}"
        case "JobRejected":
            return f"{by} rejected: {reason(fields)}"
        case "JoinJudged":
            return f"{by} says that the joined rows {'suffice' if fields['suffices'] else 'are too few'}"
        case "ResultCommitted":
            return f"{by} received the result, hash {fields['hash'].hex()[:16]}…"
        case "JobCertified":
            return f"certified: {fields['digest'].hex()[:16]}…"
        case "JobAborted":
            return f"{by} aborted it while {fields['phase']}: {reason(fields)}"
        case "JobExpired":
            return f"expired while {fields['phase']}; missing: {_orgs(fields['missing']) or 'nobody'}"
        case "JobDisputed":
            found = "the ledger found" if fields["origin"] == "contract" else f"{by} reported"
            return f"{found} {fields['kind']} against {_orgs(fields['against'])}"
        case "DisputeResolved":
            blamed = _orgs(fields["blamed"]) or "nobody"
            said = f"{fields['outcome']}, {blamed} blamed; {fields['state']}"
            return f"{by} decided dispute {fields['number']}: {said}"
        case "ReleaseDisclaimed":
            returned = ", ".join(fields["returned"])
            said = f"; runs returned: {returned}" if returned else ""
            return f"{by} states that it sent nothing about its data{said}"
        case "GrantRevoked" | "GrantSuspended" | "GrantResumed" | "GrantNarrowed" | "GrantExpired":
            grant = str(fields["grant"]).removeprefix("grant:")
            return f"grant {grant}: {name.removeprefix('Grant').lower()} {fields.get('reason', '')}".rstrip()
        case "GrantUsed":
            grant = str(fields.get("grant", "")).removeprefix("grant:")
            taken = fields["used"] + fields["reserved"]
            return f"grant {grant}: {fields['phase']} ({taken} of {fields['runs']} runs taken)"
        case "AccountReserved" | "AccountCharged" | "AccountReturned":
            dataset = str(fields["dataset"]).removeprefix("dataset:")
            return f"account of {dataset}: {_charge(fields)} {_BOOKED[name]}"
    return f"{name} by {by}" if by else name


_BOOKED = {"AccountReserved": "reserved", "AccountCharged": "spent", "AccountReturned": "given back"}


def _charge(fields: Mapping[str, Any]) -> str:
    """Say what a job takes from an account: an epsilon, figures of its columns, or both."""
    epsilon, figures = fields["epsilon"], sum(fields["figures"].values())
    parts = [f"epsilon {show_amount(epsilon, EPSILON_DIGITS)}"] if epsilon else []
    parts += [f"{figures} exact figure{'s' if figures > 1 else ''}"] if figures else []
    return " and ".join(parts) or "nothing"


def reason(fields: Mapping[str, Any]) -> str:
    """Return the code of an end, and what its table says of it; the facts are a member's bytes."""
    code, by = str(fields["cause"]), str(fields["by"]).removeprefix("org:")
    cause = CAUSES.get(code)
    return f"{code}." if cause is None else f"{code}. {cause.sentence(by, fields['detail'])}"


def _orgs(subjects: list[str]) -> str:
    return ", ".join(subject.removeprefix("org:") for subject in subjects)


async def _show_board(display: Shower | None, board: Path | None, job: str) -> None:
    if display is None or board is None:
        return
    reader = StatusBoard(board)
    while True:
        seen = reader.read(job)
        if seen is not None:
            display(f"our agent: {seen.get('step', '')}", seen.get("done", 0), seen.get("total") or None)
        await asyncio.sleep(BOARD_EVERY_S)
