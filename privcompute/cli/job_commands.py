"""`assent job`: propose computations, follow them, read results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from chain.client.calls import RefusedByLedger, call
from chain.client.console import (
    json_option,
    print_json,
    print_table,
    print_text,
    reports_errors,
)
from chain.client.options import Session, run, session_options
from chain.client.trust import trust_line, word_line
from chain.primitives.crypto import digest
from chain.primitives.jsonvalue import to_json
from chain.primitives.values import encode_value
from privcompute.causes import CANCELLED, CAUSES, NOTE_CHARS_MAX
from privcompute.cli.account_room import with_what_is_left
from privcompute.cli.common import (
    GAS_LIMIT,
    UsageFault,
    agent_of_folder,
    find_job,
    need_state,
    sent_json,
    show_time,
)
from privcompute.cli.job_preflight import preflight
from privcompute.cli.job_results import print_figures
from privcompute.cli.job_spec import build_spec, check_before_proposing, read_request, request_options
from privcompute.cli.job_watch import watch_job
from privcompute.cli.job_why import Why, as_json_of, explain, in_short, print_why
from privcompute.data.results import ResultStore

SEE_LIST = "see: assent job list"


@click.group()
def job() -> None:
    """Propose, follow and cancel joint computations; read their results."""


@job.command("propose")
@click.option("--file", "file", type=click.Path(path_type=Path), help="Job file (TOML); options override it.")
@request_options
@click.option("--watch", is_flag=True, help="Follow the job to its end.")
@json_option
@reports_errors
@session_options
def propose(session: Session, file: Path | None, watch: bool, as_json: bool, **given: Any) -> None:
    """Propose a computation under grants; every participant's agent checks it and answers."""
    request = read_request(file, given)

    async def work() -> tuple[str, Any]:
        async with session.account() as account:
            spec = await build_spec(account.client, request)
            await check_before_proposing(account.client, spec)
            try:
                receipt = await call(account, "jobs", "propose", {"spec": spec}, GAS_LIMIT)
            except RefusedByLedger as refused:
                said = await with_what_is_left(account.client, account.signer.public, spec, str(refused))
                raise RefusedByLedger(said) from None
            return str(decode_result(receipt)), receipt

    job_id, receipt = run(work())
    if as_json:
        print_json(sent_json(receipt, job=job_id))
    else:
        print_text(f"proposed job {job_id} at height {receipt.height}")
    if watch:
        run(watch_job(session, job_id, _board_folder(), as_json, 0))
    elif not as_json:
        print_text(f"follow it with: assent job watch {job_id[:12]}")


job.add_command(preflight)


def decode_result(receipt: Any) -> Any:
    """Return what the call returned."""
    return sent_json(receipt)["result"]


def _board_folder() -> Path | None:
    folder = click.get_current_context().params.get("as_")
    if not isinstance(folder, Path) or not (folder / "agent.toml").exists():
        return None
    return agent_of_folder()[1].status


@job.command("watch")
@click.argument("job_id", metavar="JOB")
@click.option("--timeout", type=click.IntRange(0), default=0, help="Give up after so many seconds; 0: never.")
@json_option
@reports_errors
@session_options
def watch_command(session: Session, job_id: str, timeout: int, as_json: bool) -> None:
    """Follow JOB to its end: events from the ledger, progress from our own agent (with --as)."""
    folder = _board_folder()

    async def work() -> None:
        async with session.client() as client:
            found = await find_job(client, job_id)
        await watch_job(session, found, folder, as_json, timeout)

    run(work())


@job.command("list")
@click.option("--state", help="Only jobs in this state.")
@json_option
@reports_errors
@session_options
def list_jobs(session: Session, state: str | None, as_json: bool) -> None:
    """List jobs, the newest last."""

    async def work() -> tuple[list[Any], str]:
        async with session.client() as client:
            found = [value async for _, value in client.entries("jobs", "jobs")]
            return found, await word_line(client, "assent job show JOB")

    listed, word = run(work())
    found = sorted(listed, key=lambda item: (item["height"], item["id"]))
    found = [item for item in found if state in (None, item["state"])]
    if as_json:
        print_json([to_json(item) for item in found])
        return
    rows = [[j["id"][:12], j["program"], j["initiator"], j["state"], show_time(j["since"])] for j in found]
    print_table("jobs", ["job", "program", "initiator", "state", "since (UTC)"], rows)
    print_text(word)


@job.command("show")
@click.argument("job_id", metavar="JOB")
@json_option
@reports_errors
@session_options
def show(session: Session, job_id: str, as_json: bool) -> None:
    """Show JOB: its spec, its state, stages and certificate; proved against the genesis if known."""

    async def work() -> dict[str, Any]:
        async with session.client() as client:
            found = await find_job(client, job_id)
            record = await need_state(client, "jobs", "jobs", found, SEE_LIST)
            spec = await need_state(client, "jobs", "specs", found, SEE_LIST)
            heads = {
                one["org"]: await client.state("jobs", "stage_heads", (found, one["org"]))
                for one in spec["participants"]
            }
            certificate = await client.state("jobs", "certificates", found)
            end = await client.state("jobs", "ends", found)
            return {"job": record, "spec": spec, "stages": heads, "certificate": certificate, "end": end}

    found = run(work())
    if as_json:
        print_json(to_json(found))
        return
    record, spec = found["job"], found["spec"]
    print_text(f"job {record['id']}")
    print_text(f"  {spec['program']} for {spec['purpose']}, proposed by {record['initiator']}")
    print_text(f"  page {spec['page'].hex()}")
    print_text(f"  plan {spec['plan'].hex()}; the page: assent program show {spec['program']} --page")
    print_text(f"  profile {spec['profile']}; groups of {spec['min_group']} or more")
    print_text(f"  state {record['state']} since {show_time(record['since'])} UTC, height {record['height']}")
    if found["end"] is not None:
        print_text(f"  {in_short(record, spec, found['end'])}")
        print_text(f"  more: assent job why {record['id'][:12]}")
    print_text(f"  results to {', '.join(spec['receivers'])}")
    inputs = [
        [
            one["grant"],
            f"{one['dataset']}@{one['version']} as {one['name']}",
            ", ".join(f"{c} ({u})" for c, u in one["columns"].items()),
        ]
        for one in spec["inputs"]
    ]
    print_table("inputs", ["grant", "dataset", "columns (use)"], inputs)
    print_table("participants", ["org", "role", "#stages", "done"], _steps(found))
    certificate = found["certificate"]
    if certificate is not None:
        signers = ", ".join(certificate["signatures"])
        print_text(
            f"certificate {certificate['digest'].hex()}, signed by {signers}, height {certificate['height']}"
        )


def _steps(found: dict[str, Any]) -> list[list[Any]]:
    record = found["job"]
    names = ("accepted", "bound", "transcripts", "reveals", "results", "signed")
    return [
        [
            one["org"],
            one["role"],
            (found["stages"][one["org"]] or {"count": 0})["count"],
            ", ".join(name for name in names if one["org"] in record[name]),
        ]
        for one in found["spec"]["participants"]
    ]


@job.command("why")
@click.argument("job_id", metavar="JOB")
@json_option
@reports_errors
@session_options
def why(session: Session, job_id: str, as_json: bool) -> None:
    """Say why JOB ended, or for whom it waits: who, at which stage, the cause, and what to do."""

    async def work() -> tuple[Why, str]:
        async with session.client() as client:
            found = await find_job(client, job_id)
            record = await need_state(client, "jobs", "jobs", found, SEE_LIST)
            spec = await need_state(client, "jobs", "specs", found, SEE_LIST)
            end = await client.state("jobs", "ends", found)
            heads = {
                one["org"]: await client.state("jobs", "stage_heads", (found, one["org"]))
                for one in spec["participants"]
            }
            return explain(record, spec, end, heads), trust_line(client)

    told, trust = run(work())
    if as_json:
        print_json(as_json_of(told))
    else:
        print_why(told, trust)


@job.command("result")
@click.argument("job_id", metavar="JOB")
@json_option
@reports_errors
@session_options
def result(session: Session, job_id: str, as_json: bool) -> None:
    """Print the result of JOB that our agent keeps, after checking it against the hash on the ledger."""
    config, files = agent_of_folder()

    async def work() -> tuple[str, Any]:
        async with session.client() as client:
            found = await find_job(client, job_id)
            return found, await client.state("jobs", "results", (found, config.organisation))

    found, committed = run(work())
    stored = ResultStore(files.results).load(found)
    if stored is None:
        raise UsageFault(
            f"job {found[:12]}: {config.organisation} holds no result; it is not a receiver, or the job did "
            f"not reveal one: assent job show {found[:12]}"
        )
    on_ledger = committed is not None and committed["hash"] == stored.hash
    if as_json:
        print_json(
            {
                "job": found,
                "program": stored.program,
                "profile": stored.profile,
                "schema": stored.schema,
                "values": stored.values,
                "hash": stored.hash.hex(),
                "salt": stored.salt.hex(),
                "on_ledger": on_ledger,
            }
        )
        return
    print_text(f"{stored.program} under profile {stored.profile} ({stored.schema})")
    print_figures(stored.values)
    said = "as committed on the ledger" if on_ledger else "NOT (yet) committed on the ledger"
    print_text(f"hash {stored.hash.hex()}, {said}")


@job.command("cancel")
@click.argument("job_id", metavar="JOB")
@click.option("--reason", default="cancelled", show_default=True, help="Why; every member can read it.")
@json_option
@reports_errors
@session_options
def cancel(session: Session, job_id: str, reason: str, as_json: bool) -> None:
    """Abort JOB as a participant or its initiator; a run that has begun stays spent."""
    if not CAUSES[CANCELLED].fits({"note": reason}):
        raise UsageFault(f"--reason {reason!r}: give at most {NOTE_CHARS_MAX} characters on one line")

    async def work() -> tuple[str, Any]:
        async with session.account() as account:
            found = await find_job(account.client, job_id)
            evidence = digest("assent/cancelled", encode_value([found, reason]))
            detail = {"note": reason}
            args = {"job": found, "cause": CANCELLED, "detail": detail, "evidence": evidence}
            return found, await call(account, "jobs", "abort", args, GAS_LIMIT)

    found, receipt = run(work())
    if as_json:
        print_json(sent_json(receipt, job=found))
    else:
        print_text(f"aborted job {found[:12]} at height {receipt.height}")
