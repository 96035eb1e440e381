"""`assent job preflight`: what would refuse a job, or end it later, as far as one can know before it runs.

For a requester it judges a spec of which the ledger knows nothing yet; for an owner, a job that is proposed,
on the owner's own data and as its agent does before it binds. It changes nothing, and costs no answer.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from chain.client.console import json_option, print_json, print_table, print_text, reports_errors
from chain.client.options import NoSession, Session, run, session_options
from chain.client.trust import trust_line
from chain.primitives.errors import AssentError, Exit
from chain.primitives.values import Value
from privcompute.cli.account_room import charges_of, room_obstacles
from privcompute.cli.charge_words import Charges, all_left, charges_json, print_charges
from privcompute.cli.common import UsageFault, find_job, need_state, show_time
from privcompute.cli.job_spec import JobRequest, build_spec, read_request, request_options
from privcompute.cli.job_why import print_part
from privcompute.cli.own_judgement import OwnJudgement, judge_own, judge_own_as_it_stands, own_agent
from privcompute.cli.proposal_facts import ask_guards, hypothetical, read_facts
from privcompute.job import steps
from privcompute.job.chain_reader import ChainReader, at_once
from privcompute.job.enforcement import JobRefusal
from privcompute.job.proposal import (
    SUFFICES,
    GrantLeft,
    Obstacle,
    ProposalFacts,
    following_obstacles,
    join_said,
    obstacle,
    proposal_obstacles,
    what_is_left,
)
from privcompute.job.size import JobSize, check_time, size_of
from privcompute.job.view import JobSpec, JobView, job_id_of, parse_spec
from privcompute.pages.derived import Following, following_of
from privcompute.pages.estimate import FACTOR

_OTHERS = "what other owners find on their own data: their agents judge it before they bind, and tell a code"
_OWN = "what is wrong with data of your own: give --as ORGDIR with agent.toml, and they are judged"
_ROWS = "how many rows join: the first job that joins these versions learns whether they suffice"
_AMONG = "what depends on which rows join, such as the sizes of classes among them"
_AGENTS = "whether other agents run and have a slot in time, and what their agent.toml refuses"
_LATER = "whether grants, datasets and members are still in force then: each step asks again"
NOTHING_FOLLOWS = Following({}, {})
GRANT_COLUMNS = ("grant", "allows it", "#runs", "#free answers", "#new joins", "until")


@dataclass(frozen=True, slots=True)
class Told:
    """What a preflight found, and how far it reaches."""

    about: str
    obstacles: Sequence[Obstacle]
    unknown: Sequence[str]
    """What no preflight can know."""
    rests_on: str
    own: OwnJudgement | None = None
    grants: Mapping[str, tuple[GrantLeft, int]] = field(default_factory=dict)
    """Grant -> what is left of it, and when it ends (ms since the epoch)."""
    charges: Charges = ()
    """What it takes of accounts, dataset by dataset."""
    left: Sequence[Mapping[str, Any]] = ()
    """What is left of each for whoever asks."""
    grantee: str = ""
    join: str = ""
    size: JobSize | None = None
    """What the job takes, as far as registrations tell."""
    limit_s: int = 0
    """How long it may run."""


@click.command("preflight")
@click.argument("what", metavar="[FILE|JOB]", required=False)
@request_options
@json_option
@reports_errors
@session_options
def preflight(session: Session, what: str | None, as_json: bool, **given: Any) -> None:
    """Say what would refuse or end a job: that of FILE and options, or JOB on the ledger.

    A requester asks before proposing: about grants and what is left of them, the join, the profile, own data.
    An owner asks about JOB, on its own data, as its agent will. It changes nothing, and others learn nothing.
    The status is 1 if anything was found.
    """
    job = _job_of(what, given)
    if job is None:
        request = read_request(None if what is None else Path(what), given)
        told = run(_of_request(session, what or "the job", request))
    else:
        told = run(_of_job(session, job))
    if as_json:
        print_json(as_json_of(told))
    else:
        print_told(told)
    if told.obstacles:
        sys.exit(Exit.REFUSED)


def _job_of(what: str | None, given: Mapping[str, Any]) -> str | None:
    """Return the digits that name a job; None where a file or options describe one."""
    if what is None or Path(what).exists():
        return None
    if not re.fullmatch("[0-9a-f]{4,64}", what):
        raise UsageFault(
            f"{what!r}: no such file, and no job: give a job file (TOML), or 4 to 64 hex digits of a job; "
            "see: assent job list"
        )
    if any(value not in (None, ()) for value in given.values()):
        raise UsageFault(f"{what}: options describe a job that is not proposed yet; leave them out")
    return what


async def _of_request(session: Session, about: str, request: JobRequest) -> Told:
    """Judge what would be proposed, by the rows of the ledger now."""
    async with session.account() as account:
        client = account.client
        sender = await client.state("orgs", "keys", account.signer.public.hex())
        if sender is None:
            raise UsageFault("the ledger lists the key that signs for no organisation; see: assent org keys")
        raw = await build_spec(client, request)
        spec, reader = parse_spec(job_id_of(raw), raw), ChainReader(client, at_once)
        facts = await read_facts(client, spec, sender["org"])
        view = hypothetical(spec, facts)
        objected, size, follows = await _of_page(reader, view)
        found = [
            *_of_key(sender),
            *proposal_obstacles(spec, facts),
            *following_obstacles(spec, facts, follows),
        ]
        denied, unsaid = await ask_guards(client, spec, facts, found, follows)
        charged = await charges_of(client, raw, facts.initiator)
        given_away = await room_obstacles(client, charged, facts.initiator)
        charges: Charges = [(one["dataset"], one["version"], one) for one in charged]
        agent = own_agent()
        own = None if agent is None else await judge_own(agent, reader, view)
        found = _distinct([*found, *denied, *objected, *given_away, *([] if own is None else own.obstacles)])
        alone = own is None and facts.initiator in view.owners
        return Told(
            about=f"{about}, as {facts.initiator} would propose it",
            obstacles=found,
            unknown=[*unsaid, *_unknown(view, facts.initiator, facts), *([_OWN] if alone else [])],
            rests_on=trust_line(client),
            own=own,
            grantee=facts.initiator,
            grants={
                name: (what_is_left(name, facts), facts.grants[name]["expires"])
                for name, row in facts.standing.items()
                if row is not None
            },
            charges=charges,
            left=await all_left(client, facts.initiator, charges),
            join=join_said(spec, facts.join) if facts.joined else "",
            size=size,
            limit_s=spec.raw["deadlines"]["run"] // 1_000,
        )


def _of_key(sender: Any) -> list[Obstacle]:
    if {"admin", "steward", "agent"} & set(sender["roles"]):
        return []
    return [obstacle("the key that signs", "KEY_ROLE_MISSING", f"its roles are {', '.join(sender['roles'])}")]


async def _of_page(reader: ChainReader, view: JobView) -> tuple[list[Obstacle], JobSize | None, Following]:
    """Return what the page objects to, in parameters, columns and sizes; the size; what grants are asked."""
    spec = view.spec
    try:
        work = await steps.job_work(reader, view)
        least = work.least_rows(spec.min_group)
    except JobRefusal as refusal:
        said = str(refusal).removeprefix(f"{refusal.reason}: ")
        return [obstacle(spec.program, refusal.reason, said)], None, NOTHING_FOLLOWS
    except AssentError as error:
        return [Obstacle(spec.program, error.code.upper(), str(error), "")], None, NOTHING_FOLLOWS
    keys = [(one.dataset, one.version) for one in spec.inputs]
    size = size_of(work, spec, view.initiator, await reader.states("datasets", "versions", keys))
    return [] if size is None else list(_of_size(size, least, spec)), size, following_of(work.plan)


def _of_size(size: JobSize, least: int, spec: JobSpec) -> Iterator[Obstacle]:
    for dataset, (_, most) in size.rows.items():
        if most < least:
            text = f"it has at most {most} rows by its registration, and the job needs {least}"
            yield obstacle(dataset, "DATA_TOO_FEW_ROWS", text)
    try:
        check_time(size, spec.raw["deadlines"]["run"] // 1_000)
    except JobRefusal as refusal:
        yield obstacle("deadline run", refusal.reason, str(refusal).removeprefix(f"{refusal.reason}: "))


async def _of_job(session: Session, digits: str) -> Told:
    """Judge our own part of a job on the ledger."""
    agent = own_agent()
    if agent is None:
        raise NoSession(
            f"job {digits}: an owner judges its own data: give --as ORGDIR, the folder with agent.toml; a "
            "requester gives the job file"
        )
    async with session.client() as client:
        found = await find_job(client, digits)
        await need_state(client, "jobs", "jobs", found, "see: assent job list")
        reader = ChainReader(client, at_once)
        judged = await judge_own_as_it_stands(agent, reader, found)
        if judged is None:
            raise UsageFault(f"job {found[:12]}: {agent.identity.org} takes no part in it: assent job show")
        view, own = judged
        _, size, _ = await _of_page(reader, view)
        charges = await _booked(reader, view, own)
        return Told(
            about=f"job {found[:12]} ({view.state}), at {own.org}",
            obstacles=_distinct(own.obstacles),
            unknown=_unknown(view, own.org, None),
            rests_on=trust_line(client),
            own=own,
            charges=charges,
            left=await all_left(client, view.initiator, charges),
            grantee=view.initiator,
            size=size,
            limit_s=min(agent.identity.policy.job_time_max_ms, view.spec.raw["deadlines"]["run"]) // 1_000,
        )


async def _booked(reader: ChainReader, view: JobView, own: OwnJudgement) -> Charges:
    """Return what a job on the ledger takes of the account of our own dataset."""
    booking: Any = await reader.state("accounts", "bookings", view.id)
    listed = [] if booking is None else booking["charges"]
    return [(one["dataset"], one["version"], one) for one in listed if one["dataset"] == own.dataset]


def _unknown(view: JobView, org: str, facts: ProposalFacts | None) -> list[str]:
    """Return what stays unknown until the job runs."""
    said: list[str] = []
    if {*view.owners} - {org}:
        said.append(_OTHERS)
    if facts is None or (facts.joined and (facts.join is None or facts.join["outcome"] != SUFFICES)):
        said.append(_ROWS)
    return [*said, _AMONG, _AGENTS, _LATER]


def _distinct(found: Sequence[Obstacle]) -> list[Obstacle]:
    """Leave out what our agent would say with a code that the ledger's rows gave already.

    Of a dataset whose own table was judged and says the same, its registered size need not say it again.
    """
    kept: list[Obstacle] = []
    for one in found:
        if not one.about.startswith("our agent") or one.code not in [other.code for other in kept]:
            kept.append(one)
    judged = {(other.about.partition("@")[0], other.code) for other in kept if "@" in other.about}
    return [one for one in dict.fromkeys(kept) if (one.about, one.code) not in judged]


# --- printing -------------------------------------------------------------------------------------


def as_json_of(told: Told) -> Value:
    """Return what `--json` prints."""
    own = told.own
    return {
        "about": told.about,
        "findings": [
            {"about": one.about, "code": one.code, "says": one.says, "do": one.do} for one in told.obstacles
        ],
        "grants": [
            {
                "grant": name,
                "allows": not _against(told, name),
                "runs": left.runs,
                "free_answers_today": left.answers_today,
                "free_answers": left.answers,
                "new_joins": left.sets,
                "expires": expires,
            }
            for name, (left, expires) in told.grants.items()
        ],
        "takes_of_accounts": charges_json(told.charges, told.left),
        "join": told.join,
        "own": None
        if own is None
        else {
            "org": own.org,
            "dataset": own.dataset,
            "version": own.version,
            "rows": own.rows,
            "joined": own.joined,
            "columns": [dict(zip(("name", "use", "type", "cells"), row, strict=True)) for row in own.columns],
        },
        "takes": None
        if told.size is None
        else {
            "seconds": [round(told.size.least.seconds, 3), round(told.size.most.seconds, 3)],
            "bytes": [told.size.least.memory, told.size.most.memory],
            "rounds": [told.size.least.rounds, told.size.most.rounds],
            "seconds_allowed": told.limit_s,
        },
        "unknown": list(told.unknown),
        "rests_on": told.rests_on,
    }


def _against(told: Told, grant: str) -> bool:
    return any(one.about == grant for one in told.obstacles)


def print_told(told: Told) -> None:
    """Print a preflight at 80 columns."""
    count = len(told.obstacles)
    verdict = "nothing is in its way" if not count else f"{count} finding{'s' if count > 1 else ''}"
    print_text(f"preflight of {told.about}: {verdict}")
    if count:
        rows = [
            [number, [one.code, one.about], [one.says, *([f"do: {one.do}"] if one.do else [])]]
            for number, one in enumerate(told.obstacles, 1)
        ]
        print_table("findings", ["#", "finding", "what, and what to do"], rows)
    if told.grants:
        print_table("what is left", list(GRANT_COLUMNS), [_grant_row(told, name) for name in told.grants])
    print_charges("what it takes of accounts", told.charges, told.left, told.grantee)
    _print_own(told.own)
    if told.join:
        print_part("join", told.join)
    if told.size is not None:
        print_part("takes", size_said(told.size, told.limit_s))
    for number, text in enumerate(told.unknown):
        print_part("" if number else "unknown", f"- {text}")
    print_part("rests on", told.rests_on)


def size_said(size: JobSize, limit_s: int) -> str:
    """Say what a job takes at each party."""
    least, most = size.least, size.most
    rounds = f"{least.rounds:,} to {most.rounds:,}" if least.rounds != most.rounds else f"{least.rounds:,}"
    return (
        f"{least.seconds:,.0f} to {most.seconds:,.0f} s of one core at each party, from the sizes that are "
        f"registered, within a factor of {FACTOR:g} where it was measured; {rounds} round trips come on top; "
        f"{least.memory / 1e6:,.0f} to {most.memory / 1e6:,.0f} MB beside one's own table; allowed are "
        f"{limit_s:,} s"
    )


def _grant_row(told: Told, name: str) -> list[Any]:
    left, expires = told.grants[name]
    answers = f"{left.answers_today} of {left.answers}"
    allows = "no" if _against(told, name) else "yes"
    return [name, allows, max(0, left.runs), answers, max(0, left.sets), show_time(expires)[:10]]


def _print_own(own: OwnJudgement | None) -> None:
    if own is None or not own.dataset:
        return
    if own.columns:
        title = f"own data: {own.dataset}@{own.version}, {own.rows:,} rows"
        print_table(title, ["column", "use", "type", "cells"], own.columns)
    joined = "none joined before" if own.joined is None else f"{own.joined:,} of them joined before"
    print_part("own data", f"{own.rows:,} rows of {own.dataset}@{own.version} were judged; {joined}")
