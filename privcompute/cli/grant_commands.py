"""`assent grant`: request, decide, narrow, suspend and revoke authorisations to use data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from chain.client.calls import result_of
from chain.client.client import Client
from chain.client.console import (
    json_option,
    print_folded,
    print_json,
    print_table,
    print_text,
    reports_errors,
)
from chain.client.options import Session, run, session_options
from chain.client.trust import word_line
from chain.primitives.errors import AssentError, DecodeError
from chain.primitives.jsonvalue import from_json, to_json
from chain.primitives.values import Value
from chain.primitives.visible import one_line
from chain.primitives.words import counted
from privcompute.cli.amounts import EPSILON_DIGITS, parse_amount, show_amount
from privcompute.cli.charge_words import Charges, all_left, charges_json, is_charged, print_charges
from privcompute.cli.common import UsageFault, need_state, pairs, parse_time, send, sent_json, show_time
from privcompute.cli.declarations import read_columns, version_row
from privcompute.cli.grant_requests import (
    RUN_EPSILON_MAX,
    Asked,
    asked_by_hand,
    asked_for_page,
    given_epsilon,
    judgement_lines,
    page_options,
)
from privcompute.cli.grant_usage import usage
from privcompute.cli.grant_words import may_learn
from privcompute.cli.page_needs import Judgement, judge, read_basis
from privcompute.data.declared import column_words
from privcompute.data.schema import Column
from privcompute.job.enforcement import ALLOWED_USES
from privcompute.job.profiles import RUN_WITH

SEE_LIST = "see: assent grant list"
CONSTRAINTS = tuple(ALLOWED_USES)
REQUESTED: dict[str, Any] = {
    "status": "requested",
    "approvals": [],
    "active_since": 0,
    "ended_at": 0,
    "reason": "",
    "used": 0,
    "reserved": 0,
    "revealed": 0,
}
"""The standing of a grant that has no row of it yet."""
NO_VOTES: dict[str, Any] = {"approvals": {}, "rejections": []}


class GrantTooWide(AssentError):
    """A request that asks for more than its pages need, without a reason: the text names each part."""

    code = "grant_too_wide"


def allowed_profiles() -> str:
    """Say of each profile that agents run which jobs a grant of it allows."""
    said = []
    for name, profile in RUN_WITH.items():
        fitting = [other for other, with_it in RUN_WITH.items() if with_it.rank >= profile.rank]
        refused = [other for other in RUN_WITH if other not in fitting]
        told = f"{name} allows jobs under {' and '.join(fitting)}"
        said.append(told + (f", not {' or '.join(refused)}" if refused else ""))
    return "; ".join(said) + "."


@click.group()
def grant() -> None:
    """Request, decide, narrow, suspend and revoke grants; an ID is REQUESTER/NAME, such as bank/history."""


@grant.command("request")
@click.argument("grant_id", metavar="ID")
@click.option("--dataset", "dataset_id", help="Dataset, OWNER/NAME; with --for one of the inputs.")
@click.option("--version", type=click.IntRange(1), help="Its version; by default the current one.")
@click.option("--for", "page", metavar="PAGE", help="Ask for what this page needs: a file, or a program ID.")
@page_options
@click.option(
    "--set", "parameters", multiple=True, metavar="NAME=VALUE", help="A public parameter of it. Repeat."
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME[=CONSTRAINT]",
    help=f"Column (repeat); CONSTRAINT in {', '.join(CONSTRAINTS)}; encrypted-only if not given.",
)
@click.option("--purpose", required=True, help="Purpose code, such as credit-risk-model.")
@click.option("--legal-basis", required=True, help="Why this is lawful.")
@click.option("--because", default="", help="Why it asks for more than its pages need; owners read it.")
@click.option("--program", "programs", multiple=True, help="Program that may run (repeat).")
@click.option("--receiver", "receivers", multiple=True, help="Who may learn results (repeat).")
@click.option(
    "--co-party", "co_parties", multiple=True, help="Who may take part besides owner and requester."
)
@click.option(
    "--membership", multiple=True, help="Who may learn which rows of the dataset are in a join (repeat)."
)
@click.option(
    "--profile",
    default="rep3",
    show_default=True,
    help=f"Weakest security profile: jobs run under it or a stronger one. {allowed_profiles()}",
)
@click.option("--not-before", default="0s", help="Begin: 12h or 30d from now, or a date.")
@click.option("--expires", required=True, help="End: 12h or 30d from now, or a date.")
@click.option("--runs", type=click.IntRange(1, 1_000_000), help="How many jobs may use it; 1 with --for.")
@click.option(
    "--min-group",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="Fewest rows a figure rests on.",
)
@click.option(
    "--epsilon", metavar="E", help="How much of the account one run may take by noise; as needed with --for."
)
@click.option("--policy", default="", help="Policy contract that is asked at every step.")
@json_option
@reports_errors
@session_options
def request(session: Session, grant_id: str, as_json: bool, **given: Any) -> None:
    """Request grant ID on a dataset; its approvers then decide.

    With --for it asks for what the page needs of the dataset, and no more: columns, constraints, receivers,
    and one run. Say with --input which datasets stand for those of the page. What you add needs --because.

    \b
    assent grant request bank/ages --for ages --dataset city/people --input loans=bank/loans \\
        --input people=city/people --purpose risk --legal-basis contract --expires 30d --as consortium/bank
    """
    given["columns"] = pairs(given["columns"], "--column", "encrypted-only")
    for name, constraint in given["columns"].items():
        if constraint not in CONSTRAINTS:
            raise UsageFault(
                f"--column {name}={constraint}: the constraint is one of {', '.join(CONSTRAINTS)}"
            )
    org, _, _ = grant_id.partition("/")
    asked = asked_by_hand(given) if given["page"] is None else run(_for_page(session, given, org))
    current = run(_dataset(session, asked.dataset))
    columns = dict(asked.columns)
    args: dict[str, Value] = {
        "id": grant_id,
        "dataset": asked.dataset,
        "version": asked.version or current["version"],
        "columns": columns,
        "purpose": given["purpose"],
        "legal_basis": given["legal_basis"],
        "asked_because": asked.because,
        "programs": list(asked.programs),
        "receivers": list(asked.receivers),
        "co_parties": list(asked.co_parties),
        "membership": list(asked.membership),
        "profile": given["profile"],
        "not_before": 0 if given["not_before"] == "0s" else parse_time(given["not_before"], "--not-before"),
        "expires": parse_time(given["expires"], "--expires"),
        "quota_runs": asked.runs,
        "min_group": given["min_group"],
        "run_epsilon": asked.epsilon,
        "policy": given["policy"],
    }
    receipt = send(session, "grants", "request", args)
    if as_json:
        print_json(sent_json(receipt))
        return
    print_text(
        f"requested {grant_id} on {asked.dataset} of {current['owner']} at height {receipt.height}; "
        f"{', '.join(current['approvers'])} decide{'s' if len(current['approvers']) == 1 else ''} with: "
        f"assent grant approve {grant_id}"
    )
    if asked.said:
        print_folded(asked.said, under=6)
    if asked.epsilon:
        print_text(f"a run may take epsilon {show_amount(asked.epsilon, EPSILON_DIGITS)} of the account")
    _print_columns(columns, run(_declared_of(session, args)))


async def _for_page(session: Session, given: Mapping[str, Any], org: str) -> Asked:
    async with session.client() as client:
        return await asked_for_page(client, given, org)


async def _declared_of(session: Session, grant: Any) -> dict[str, Column]:
    async with session.client() as client:
        return await _declared(client, grant)


async def _declared(client: Client, grant: Any) -> dict[str, Column]:
    """Return what the dataset's version declares of a grant's columns."""
    version = await version_row(client, grant["dataset"], grant["version"])
    return await read_columns(client, grant["dataset"], version, sorted(grant["columns"]))


def _print_columns(constraints: Any, declared: dict[str, Column]) -> None:
    rows = [
        [name, constraints[name], [column.sensitivity, *column_words(column)]]
        for name, column in declared.items()
    ]
    print_table("columns", ["column", "constraint", "declared"], rows)


def _print_learned(grant: Any) -> None:
    """Say what the requester and others will be able to learn.

    What goes on in a further line is further in than any line of ours: names of columns are anybody's words.
    """
    print_text(f"what {grant['grantee']} can learn by it, with whoever receives results:")
    for line in may_learn(grant):
        print_folded(f"- {line}", under=6)


async def _dataset(session: Session, dataset_id: str) -> Any:
    async with session.client() as client:
        return await need_state(client, "datasets", "datasets", dataset_id, "see: assent dataset list")


def _terms(text: str, given: Mapping[str, Any]) -> dict[str, Value]:
    """Return terms given as JSON and by options: times as `30d` or a date, an epsilon as people write it."""
    try:
        terms = from_json(json.loads(text, parse_float=str))
    except (ValueError, DecodeError) as error:
        raise UsageFault(f'--terms: not a JSON object ({error}); for example {{"quota_runs": 1}}') from None
    if not isinstance(terms, dict):
        raise UsageFault('--terms: give a JSON object, for example {"quota_runs": 1}')
    for name in ("expires", "not_before"):
        if isinstance(terms.get(name), str):
            terms[name] = parse_time(terms[name], f"--terms {name}")
    if type(terms.get("run_epsilon")) in (int, str):
        terms["run_epsilon"] = parse_amount(
            str(terms["run_epsilon"]), "--terms run_epsilon", EPSILON_DIGITS, RUN_EPSILON_MAX
        )
    if given["runs"] is not None:
        terms["quota_runs"] = given["runs"]
    if given["min_group"] is not None:
        terms["min_group"] = given["min_group"]
    if given["expires"] is not None:
        terms["expires"] = parse_time(given["expires"], "--expires")
    epsilon = given_epsilon(given["epsilon"])
    if epsilon is not None:
        terms["run_epsilon"] = epsilon
    return terms


_terms_help = (
    "Stricter terms as JSON: any of columns, programs, receivers, co_parties, membership, profile, "
    "not_before, expires, quota_runs, min_group, run_epsilon, partner_versions, policy."
)
_STRICTER = (
    click.option("--terms", default="{}", help=_terms_help),
    click.option("--runs", type=click.IntRange(1), help="At most so many jobs."),
    click.option("--epsilon", metavar="E", help="At most so much epsilon of the account a run."),
    click.option("--min-group", type=click.IntRange(1), help="Figures rest on so many rows, or more."),
    click.option("--expires", help="End: 12h or 30d from now, or a date."),
)


def stricter_options(command: Any) -> Any:
    """Decorate a command that takes stricter terms of a grant."""
    for option in reversed(_STRICTER):
        command = option(command)
    return command


@grant.command("approve")
@click.argument("grant_id", metavar="ID")
@stricter_options
@click.option("--as-needed", is_flag=True, help="Approve what its pages need, and no more.")
@json_option
@reports_errors
@session_options
def approve(
    session: Session, grant_id: str, terms: str, as_needed: bool, as_json: bool, **given: Any
) -> None:
    """Approve ID, as requested or on stricter terms.

    Where its programs are pages, what they need is derived here from rows of the ledger. A request for more
    that gives no reason in words is refused; --as-needed approves what is needed.
    """
    wanted = _terms(terms, given)
    found, judged, left = run(_judged(session, grant_id, wanted, as_needed=as_needed))
    if judged.refused:
        raise GrantTooWide(
            f"{grant_id} asks for more than its pages need, and gives no reason in words: "
            f"{'; '.join(judged.beyond)}. Approve what is needed with --as-needed, or reject it: "
            f"assent grant reject {grant_id} --reason TEXT"
        )
    receipt = send(session, "grants", "approve", {"id": grant_id, "terms": wanted})
    if as_json:
        print_json(
            sent_json(receipt, beyond=list(judged.beyond), takes=charges_json(_charges(found, judged), left))
        )
        return
    print_text(f"approved {grant_id} at height {receipt.height}: it is {result_of(receipt)}")
    for line in judgement_lines(judged):
        print_folded(line, under=6)
    _print_columns(found["columns"], run(_declared_of(session, found)))
    _print_learned(found)
    _print_charges(found, judged, left)


def _charges(grant: Mapping[str, Any], judged: Judgement) -> Charges:
    return [(grant["dataset"], grant["version"], one) for one in judged.charges if is_charged(one)]


def _print_charges(grant: Mapping[str, Any], judged: Judgement, left: Sequence[Mapping[str, Any]]) -> None:
    """Say what a run takes of the dataset's account, as far as its pages tell, and what is left of it."""
    epsilon, runs = grant["run_epsilon"], grant["quota_runs"]
    shown = show_amount(epsilon, EPSILON_DIGITS)
    if epsilon:
        most = show_amount(epsilon * runs, EPSILON_DIGITS)
        print_folded(f"a run takes epsilon {shown} of the account at most, {counted(runs, 'run')} {most}")
    else:
        print_folded("no figure with noise: a run takes no epsilon of the account")
    if judged.charges:
        print_charges("what its pages take", _charges(grant, judged), left, grant["grantee"])
    if judged.epsilon > epsilon:
        print_folded("its pages take more with these parameters: jobs take less by others, or are refused")


async def _judged(
    session: Session, grant_id: str, terms: dict[str, Value], *, as_needed: bool
) -> tuple[Any, Judgement, list[Mapping[str, Any]]]:
    """Hold a request on terms against what its pages need; narrow the terms to that if so asked.

    The third is what the account has left for what each page takes.
    """
    async with session.client() as client:
        found: Any = await need_state(client, "grants", "grants", grant_id, SEE_LIST)
        judged = await judge(client, found | terms)
        if as_needed:
            if not judged.judged or not judged.needed:
                raise UsageFault(
                    f"--as-needed: what {grant_id} needs is not known: {judged.said or judged.beyond}"
                )
            terms.update(judged.narrowed(found | terms))
            judged = await judge(client, found | terms)
        left = await all_left(client, found["grantee"], _charges(found, judged))
        return found | terms, judged, left


@grant.command("narrow")
@click.argument("grant_id", metavar="ID")
@stricter_options
@json_option
@reports_errors
@session_options
def narrow(session: Session, grant_id: str, terms: str, as_json: bool, **given: Any) -> None:
    """Make the terms of ID stricter, as the owner alone may."""
    wanted = _terms(terms, given)
    if not wanted:
        raise UsageFault("which terms? give --runs, --epsilon, --min-group, --expires or --terms JSON")
    receipt = send(session, "grants", "narrow", {"id": grant_id, "terms": wanted})
    if as_json:
        print_json(sent_json(receipt))
    else:
        print_text(f"narrowed {grant_id} at height {receipt.height}; see: assent grant show {grant_id}")


def _decide(method: str, help_text: str, said: str, *, reason: bool) -> click.Command:
    def act(session: Session, grant_id: str, as_json: bool, **given: str) -> None:
        receipt = send(session, "grants", method.replace("-", "_"), {"id": grant_id, **given})
        if as_json:
            print_json(sent_json(receipt))
        else:
            print_text(f"{grant_id} {said} at height {receipt.height}")

    decorated: Any = json_option(reports_errors(session_options(act)))
    if reason:
        decorated = click.option("--reason", required=True, help="Why; every member can read it.")(decorated)
    decorated = click.argument("grant_id", metavar="ID")(decorated)
    return click.command(method, help=help_text)(decorated)


for _command in (
    _decide("reject", "Vote against the request ID.", "rejected", reason=True),
    _decide(
        "retract",
        "Take this organisation's vote on the request ID back.",
        "has one vote less",
        reason=False,
    ),
    _decide("settle", "Decide the request ID whose votes suffice, or never can.", "settled", reason=False),
    _decide("withdraw", "Withdraw one's own request ID.", "withdrawn", reason=False),
    _decide("suspend", "Suspend ID until resumed: no step of any job passes.", "suspended", reason=True),
    _decide("resume", "Resume the suspended ID.", "resumed", reason=False),
    _decide("revoke", "Revoke ID for good, from the next block on.", "revoked", reason=True),
):
    grant.add_command(_command)


grant.add_command(usage)


@grant.command("list")
@click.option("--dataset", "dataset_id", help="Only grants on this dataset.")
@click.option("--status", help="Only grants in this status.")
@json_option
@reports_errors
@session_options
def list_grants(session: Session, dataset_id: str | None, status: str | None, as_json: bool) -> None:
    """List grants and requests."""

    async def work() -> tuple[list[Any], str]:
        async with session.client() as client:
            standing = {key: value async for key, value in client.entries("grants", "standing")}
            grants = [value async for _, value in client.entries("grants", "grants")]
            found = [{**item, **standing.get(item["id"], REQUESTED)} for item in grants]
            return found, await word_line(client, "assent grant show ID")

    listed, word = run(work())
    found = [
        item for item in listed if dataset_id in (None, item["dataset"]) and status in (None, item["status"])
    ]
    if as_json:
        print_json([to_json(item) for item in found])
        return
    rows = [
        [
            g["id"],
            f"{g['dataset']}@{g['version']}",
            g["grantee"],
            g["purpose"],
            g["status"],
            f"{g['used']}+{g['reserved']} of {g['quota_runs']}",
            show_time(g["expires"])[:10],
        ]
        for g in found
    ]
    print_table("grants", ["id", "dataset", "grantee", "purpose", "status", "runs", "expires"], rows)
    print_folded(word)


@grant.command("show")
@click.argument("grant_id", metavar="ID")
@json_option
@reports_errors
@session_options
def show(session: Session, grant_id: str, as_json: bool) -> None:
    """Show grant ID with all its terms; proved against the genesis if known."""

    async def work() -> tuple[Any, dict[str, Column], Judgement, list[Mapping[str, Any]]]:
        async with session.client() as client:
            found: Any = await need_state(client, "grants", "grants", grant_id, SEE_LIST)
            declared, judged = await _declared(client, found), await judge(client, found)
            left = await all_left(client, found["grantee"], _charges(found, judged))
            standing: Any = await client.state("grants", "standing", grant_id)
            if standing is not None:
                return {**found, **standing}, declared, judged, left
            ballot: Any = await client.state("grants", "ballots", grant_id) or NO_VOTES
            return {**found, **REQUESTED, **ballot}, declared, judged, left

    g, declared, judged, left = run(work())
    if as_json:
        shown: Any = to_json(g)
        more = {"beyond": list(judged.beyond), "may_learn": list(may_learn(g))}
        print_json(shown | more | {"takes": charges_json(_charges(g, judged), left)})
        return
    print_text(f"{g['id']}: {g['status']}" + (f" ({one_line(g['reason'])})" if g["reason"] else ""))
    print_text(f"  {g['grantee']} may use {g['dataset']} version {g['version']} of {g['owner']}")
    print_text(f"  for {g['purpose']} ({g['legal_basis']})")
    if g["asked_because"]:
        basis = read_basis(g["asked_because"])
        why = f"asked because: {g['asked_because']}" if basis is None else basis.said()
        print_folded(f"  {why}", under=6)
    for line in judgement_lines(judged):
        print_folded(f"  {line}", under=6)
    print_text(f"  from {show_time(g['not_before']) or 'now'} until {show_time(g['expires'])} UTC")
    print_text(f"  {g['quota_runs']} runs: {g['used']} used, {g['reserved']} reserved")
    programs, parties = ", ".join(g["programs"]), ", ".join(g["co_parties"]) or "no others"
    print_folded(f"  programs {programs}; profile {g['profile']} or stronger", under=6)
    print_folded(f"  results to {', '.join(g['receivers'])}; with {parties}", under=6)
    print_text(f"  joined with {g['partner_versions']} sets of dataset versions at most")
    print_text(f"  groups of {g['min_group']} or more; policy contract {g['policy'] or 'none'}")
    print_text(f"  approved by {', '.join(g['approvals']) or 'nobody yet'}")
    if g.get("rejections"):
        print_text(f"  against it {', '.join(g['rejections'])}")
    _print_columns(g["columns"], declared)
    _print_learned(g)
    _print_charges(g, judged, left)
